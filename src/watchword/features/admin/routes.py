"""Users over HTTP, for administrators."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from watchword.errors import FieldError, InvalidInput
from watchword.features.admin.cursors import Cursors
from watchword.features.admin.queries import PAGING, filters_of, flag
from watchword.features.admin.service import UserAdministration
from watchword.features.admin.views import SOME_METADATA, SOMEONE, AdminUserView, MetadataView, UserList
from watchword.identity.user_data import NOTHING, UserData, checked_metadata, checked_name
from watchword.identity.user_list import Wanted
from watchword.web.route import AccessToken, Call, Reply, Route

Username = Annotated[str, Meta(description="1 to 64 letters, digits, '.', '_', '-'.", examples=["grace"])]
Email = Annotated[str, Meta(description="An e-mail address.", examples=["grace@example.com"])]
Password = Annotated[str, Meta(description="At least 8 characters, not a common one.", examples=["plum-orbit-canvas"])]
Name = Annotated[str, Meta(description="What to call the user; 1 to 100 characters.", examples=["Grace Hopper"])]
Public = Annotated[dict[str, Any], Meta(description="The user may read it; at most 4,096 bytes.")]
Private = Annotated[dict[str, Any], Meta(description="For administrators only; at most 4,096 bytes.")]
Roles = Annotated[list[str], Meta(description="All the roles that the user has from now on.", examples=[["reader"]])]


class NewUser(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A username, an e-mail address or both, and a password or an invitation."""

    username: Username | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    password: Password | UnsetType = UNSET
    invite: Annotated[bool, Meta(description="Instead: mail a link to set one.", examples=[False])] | UnsetType = UNSET
    roles: Roles | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    public_metadata: Public | UnsetType = UNSET
    private_metadata: Private | UnsetType = UNSET


class ChangedUser(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """New names, where `null` removes `name`; or, alone, whether the account is disabled."""

    username: Username | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    name: Name | UnsetType | None = UNSET
    disabled: Annotated[bool, Meta(description="Alone: true ends every session.")] | UnsetType = UNSET


class NewMetadata(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Each object that is given replaces the whole of the one before."""

    public_metadata: Public | UnsetType = UNSET
    private_metadata: Private | UnsetType = UNSET


class NewRoles(msgspec.Struct, forbid_unknown_fields=True):
    """The roles that the user has from now on."""

    roles: Roles


_NEW = NewUser(username="grace", email="grace@example.com", password="plum-orbit-canvas", roles=["reader"])  # noqa: S106
_FILTERS = {
    "search": "part of a username or of an e-mail address",
    "role": "one that they have",
    "disabled": "`true` or `false`",
    "verified": "`true` or `false`: whether the address is confirmed",
}


class UserRoutes:
    """The routes of `UserAdministration`."""

    def __init__(self, users: UserAdministration, cursors: Cursors, access: AccessToken) -> None:
        self._users = users
        self._cursors = cursors
        self._access = access

    def table(self) -> tuple[Route, ...]:
        """Return the routes of users."""
        may, one, shown = self._access, "/admin/users/{id}", {200: SOMEONE}
        return (
            Route(method="GET", path="/admin/users", handler=self.list, access=may, summary="Users, oldest first",
                  answers={200: UserList}, query={**_FILTERS, **PAGING}, limits=("admin",),
                  problems=("invalid_input",), shown={200: UserList((SOMEONE,), None)}),
            Route(method="POST", path="/admin/users", handler=self.create, access=may, body=NewUser,
                  summary="Make a user, with a password or by an invitation", answers={201: AdminUserView},
                  limits=("admin", "mail"), example=_NEW, shown={201: SOMEONE},
                  problems=("username_taken", "email_taken", "mail_off", "overloaded")),
            Route(method="GET", path=one, handler=self.show, access=may, summary="One user",
                  answers={200: AdminUserView}, limits=("admin",), problems=("not_found",), shown=shown),
            Route(method="PATCH", path=one, handler=self.change, access=may, body=ChangedUser,
                  summary="Change names, or disable or enable", answers={200: AdminUserView}, limits=("admin",),
                  example=ChangedUser(username="grace2"), shown=shown,
                  problems=("not_found", "username_taken", "email_taken", "own_account")),
            Route(method="DELETE", path=one, handler=self.delete, access=may, summary="Delete a user",
                  answers={204: None}, limits=("admin",), problems=("not_found", "own_account")),
            Route(method="PUT", path=one + "/roles", handler=self.set_roles, access=may, body=NewRoles,
                  summary="Set the roles of a user", answers={200: AdminUserView}, limits=("admin",),
                  example=NewRoles(["reader"]), shown=shown, problems=("not_found", "own_account")),
            Route(method="GET", path=one + "/metadata", handler=self.metadata, access=may,
                  summary="What is kept with a user", answers={200: MetadataView}, limits=("admin",),
                  problems=("not_found",), shown={200: SOME_METADATA}),
            Route(method="PATCH", path=one + "/metadata", handler=self.set_metadata, access=may, body=NewMetadata,
                  summary="Replace what is kept with a user", answers={200: MetadataView}, limits=("admin",),
                  example=NewMetadata(public_metadata={"tenant": "acme"}), problems=("not_found",),
                  shown={200: SOME_METADATA}),
            Route(method="POST", path=one + "/invitation", handler=self.invite, access=may,
                  summary="Send a user a link to set a password", answers={204: None}, limits=("admin", "mail"),
                  problems=("not_found", "invalid_input", "mail_off", "conflict")),
        )  # fmt: skip

    async def list(self, call: Call) -> Reply:
        """`GET /admin/users`."""
        filters, cursor, limit = filters_of(call, _FILTERS)
        wanted = Wanted(
            filters.get("search", ""), filters.get("role", ""), flag(filters, "disabled"), flag(filters, "verified")
        )
        after = self._cursors.read(cursor, "users", filters)
        found = await self._users.page(call.claims, wanted, after=after, limit=limit + 1, client=call.client)
        items = tuple(AdminUserView.of(user) for user in found[:limit])
        more = self._cursors.write("users", filters, items[-1].id) if len(found) > limit else None
        return Reply(UserList(items, more))

    async def create(self, call: Call) -> Reply:
        """`POST /admin/users`."""
        body: NewUser = call.body
        if (body.invite is True) == (body.password is not UNSET):
            raise InvalidInput(FieldError("password", "required", "Give a password, or `invite`: true, not both."))
        user = await self._users.create(
            call.claims,
            username=_given(body.username),
            email=_given(body.email),
            password=_given(body.password),
            roles=() if body.roles is UNSET else tuple(body.roles),
            data=_data(body),
            client=call.client,
        )
        return Reply(AdminUserView.of(user), 201)

    async def show(self, call: Call) -> Reply:
        """`GET /admin/users/{id}`."""
        return Reply(AdminUserView.of(await self._users.show(call.claims, call.params["id"], client=call.client)))

    async def change(self, call: Call) -> Reply:
        """`PATCH /admin/users/{id}`."""
        body: ChangedUser = call.body
        user_id = call.params["id"]
        if body.disabled is not UNSET:
            if body.username is not UNSET or body.email is not UNSET or body.name is not UNSET:
                # These are two changes, and the second could fail after the first.
                raise InvalidInput(FieldError("disabled", "alone", "Send this without other fields."))
            user = await self._users.set_disabled(call.claims, user_id, disabled=body.disabled, client=call.client)
        else:
            user = await self._users.rename(
                call.claims,
                user_id,
                username=_given(body.username),
                email=_given(body.email),
                name=body.name,
                client=call.client,
            )
        return Reply(AdminUserView.of(user))

    async def delete(self, call: Call) -> Reply:
        """`DELETE /admin/users/{id}`."""
        await self._users.delete(call.claims, call.params["id"], client=call.client)
        return Reply(None, 204)

    async def set_roles(self, call: Call) -> Reply:
        """`PUT /admin/users/{id}/roles`."""
        body: NewRoles = call.body
        user = await self._users.set_roles(call.claims, call.params["id"], tuple(body.roles), client=call.client)
        return Reply(AdminUserView.of(user))

    async def metadata(self, call: Call) -> Reply:
        """`GET /admin/users/{id}/metadata`."""
        return Reply(MetadataView.of(await self._users.metadata(call.claims, call.params["id"], client=call.client)))

    async def set_metadata(self, call: Call) -> Reply:
        """`PATCH /admin/users/{id}/metadata`."""
        body: NewMetadata = call.body
        metadata = await self._users.set_metadata(
            call.claims,
            call.params["id"],
            public=_checked(body.public_metadata, "public_metadata"),
            private=_checked(body.private_metadata, "private_metadata"),
            client=call.client,
        )
        return Reply(MetadataView.of(metadata))

    async def invite(self, call: Call) -> Reply:
        """`POST /admin/users/{id}/invitation`."""
        await self._users.invite(call.claims, call.params["id"], client=call.client)
        return Reply(None, 204)


def _given(value: str | UnsetType) -> str | None:
    return None if value is UNSET else value


def _checked(value: dict[str, Any] | UnsetType, field: str) -> str | None:
    return None if value is UNSET else checked_metadata(value, field)


def _data(body: NewUser) -> UserData:
    return UserData(
        None if body.name is UNSET else checked_name(body.name),
        _checked(body.public_metadata, "public_metadata") or NOTHING,
        _checked(body.private_metadata, "private_metadata") or NOTHING,
    )

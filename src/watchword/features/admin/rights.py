"""Scopes and APIs over HTTP, for administrators, as `watchword scopes` and `watchword apis` change them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from watchword.errors import FieldError, InvalidInput
from watchword.features.admin.gate import Gate
from watchword.identity.audit import Client
from watchword.identity.granting import Operation
from watchword.identity.kernel import Kernel
from watchword.identity.rights import Api
from watchword.tokens.claims import AccessClaims
from watchword.web.route import AccessToken, Call, Reply, Route

Names = Annotated[list[str], Meta(description="Scopes.", examples=[["orders:read", "orders:write"]])]
Audience = Annotated[
    str, Meta(description="`aud` of its tokens; clients name it as `resource`.", examples=["https://orders.example"])
]


class RoleView(msgspec.Struct, frozen=True):
    """A role, or `*` for every user, and the scopes that it gives."""

    role: str
    scopes: tuple[str, ...]


class RoleList(msgspec.Struct, frozen=True):
    """Every role that gives a scope. `set_by_setting`: WATCHWORD_SCOPES says so, and nothing can be changed here."""

    items: tuple[RoleView, ...]
    set_by_setting: bool


class NewScopes(msgspec.Struct, forbid_unknown_fields=True):
    """All scopes that the role gives from now on."""

    scopes: Names


class ApiView(msgspec.Struct, frozen=True):
    """An API that tokens are issued for."""

    id: str
    name: str
    audience: str
    scopes: tuple[str, ...]

    @classmethod
    def of(cls, api: Api) -> ApiView:
        """Return the view of an API."""
        return cls(api.id, api.name, api.audience, tuple(sorted(api.scopes or ())))


class ApiList(msgspec.Struct, frozen=True):
    """Every API, by name."""

    items: tuple[ApiView, ...]


class NewApi(msgspec.Struct, forbid_unknown_fields=True):
    """An API to register."""

    name: Annotated[str, Meta(description="Letters, digits, `.`, `_` and `-`.", examples=["orders"])]
    audience: Audience
    scopes: Names


class ChangedApi(msgspec.Struct, forbid_unknown_fields=True):
    """What to change. Tokens with what is lost are refused."""

    audience: Audience | UnsetType = UNSET
    scopes: Names | UnsetType = UNSET


_ROLE = RoleView("editor", ("orders:read", "orders:write"))
_API = ApiView("0197f1a2-9a00-7def-8123-445566778899", "orders", "https://orders.example", _ROLE.scopes)
_NEW = NewApi(_API.name, _API.audience, list(_API.scopes))


class RightsAdministration:
    """Scopes and APIs, by administrators. Every method raises as `Gate.admit`, and as `Granting`."""

    def __init__(self, kernel: Kernel, gate: Gate) -> None:
        self._granting = kernel.granting
        self._rights = kernel.rights
        self._gate = gate

    async def roles(self, caller: AccessClaims, client: Client) -> RoleList:
        """Return every role with its scopes."""
        await self._gate.admit(caller, client)
        found = sorted(self._rights.table.by_role.items())
        items = tuple(RoleView(role, tuple(sorted(scopes))) for role, scopes in found)
        return RoleList(items, self._granting.given is not None)

    async def set_scopes(self, caller: AccessClaims, role: str, scopes: list[str], client: Client) -> RoleView:
        """Give a role exactly these scopes."""
        by = await self._by(caller, client)
        found = await self._granting.set_scopes(role, lambda _: frozenset(scopes), by)
        return RoleView(role, tuple(sorted(found)))

    async def apis(self, caller: AccessClaims, client: Client) -> list[Api]:
        """Return every API, by name."""
        await self._gate.admit(caller, client)
        return sorted(self._rights.table.apis.values(), key=lambda api: api.name)

    async def create(self, caller: AccessClaims, new: NewApi, client: Client) -> Api:
        """Register an API."""
        by = await self._by(caller, client)
        return await self._granting.create_api(new.name, new.audience, frozenset(new.scopes), by)

    async def change(self, caller: AccessClaims, name: str, to: ChangedApi, client: Client) -> Api:
        """Change an API."""
        by, scopes = await self._by(caller, client), to.scopes
        if to.audience is UNSET and scopes is UNSET:
            raise InvalidInput(FieldError("audience", "required", "Give an audience, scopes, or both."))
        return await self._granting.change_api(
            name,
            audience=None if to.audience is UNSET else to.audience,
            change=lambda held: held if scopes is UNSET else frozenset(scopes),
            by=by,
        )

    async def delete(self, caller: AccessClaims, name: str, client: Client) -> None:
        """Delete an API."""
        by = await self._by(caller, client)
        await self._granting.delete_api(name, by)

    async def _by(self, caller: AccessClaims, client: Client) -> Operation:
        await self._gate.admit(caller, client)
        return Operation(client, caller.sub, self._gate.check(caller))


class RightsRoutes:
    """The routes of `RightsAdministration`."""

    def __init__(self, rights: RightsAdministration, access: AccessToken) -> None:
        self._rights = rights
        self._access = access

    def table(self) -> tuple[Route, ...]:
        """Return the routes of scopes and APIs."""
        may, one, shown = self._access, "/admin/apis/{name}", {200: _API}
        return (
            Route(method="GET", path="/admin/scopes", handler=self.roles, access=may, limits=("admin",),
                  summary="Which scopes each role gives", answers={200: RoleList},
                  shown={200: RoleList((_ROLE,), set_by_setting=False)}),
            Route(method="PUT", path="/admin/scopes/{role}", handler=self.set_scopes, access=may, body=NewScopes,
                  summary="Give a role, or `*` for every user, exactly these scopes", answers={200: RoleView},
                  limits=("admin",), example=NewScopes(list(_ROLE.scopes)), shown={200: _ROLE},
                  problems=("conflict", "not_found")),
            Route(method="GET", path="/admin/apis", handler=self.apis, access=may, limits=("admin",),
                  summary="APIs that tokens are issued for", answers={200: ApiList}, shown={200: ApiList((_API,))}),
            Route(method="POST", path="/admin/apis", handler=self.create, access=may, body=NewApi, limits=("admin",),
                  summary="Register an API", answers={201: ApiView}, example=_NEW, shown={201: _API},
                  problems=("name_taken",)),
            Route(method="PATCH", path=one, handler=self.change, access=may, body=ChangedApi, limits=("admin",),
                  summary="Change an API's audience or scopes", answers={200: ApiView},
                  example=ChangedApi(scopes=["orders:read"]), shown=shown, problems=("not_found", "name_taken")),
            Route(method="DELETE", path=one, handler=self.delete, access=may, limits=("admin",),
                  summary="Delete an API: its tokens are refused, its sessions are over", answers={204: None},
                  problems=("not_found",)),
        )  # fmt: skip

    async def roles(self, call: Call) -> Reply:
        """`GET /admin/scopes`."""
        return Reply(await self._rights.roles(call.claims, call.client))

    async def set_scopes(self, call: Call) -> Reply:
        """`PUT /admin/scopes/{role}`."""
        body: NewScopes = call.body
        return Reply(await self._rights.set_scopes(call.claims, call.params["role"], body.scopes, call.client))

    async def apis(self, call: Call) -> Reply:
        """`GET /admin/apis`."""
        found = await self._rights.apis(call.claims, call.client)
        return Reply(ApiList(tuple(map(ApiView.of, found))))

    async def create(self, call: Call) -> Reply:
        """`POST /admin/apis`."""
        return Reply(ApiView.of(await self._rights.create(call.claims, call.body, call.client)), 201)

    async def change(self, call: Call) -> Reply:
        """`PATCH /admin/apis/{name}`."""
        return Reply(ApiView.of(await self._rights.change(call.claims, call.params["name"], call.body, call.client)))

    async def delete(self, call: Call) -> Reply:
        """`DELETE /admin/apis/{name}`."""
        await self._rights.delete(call.claims, call.params["name"], call.client)
        return Reply(None, 204)

"""Accounts over HTTP."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from watchword.errors import FieldError, Forbidden, InvalidInput
from watchword.features.accounts.service import Accounts
from watchword.identity.asking import Asked
from watchword.web.cookies import DeviceCookie, SessionCookies
from watchword.web.route import AccessToken, Anyone, Call, Reply, Route
from watchword.web.views import SOME_ASKED, SOME_USER, AskedView, UserView

Username = Annotated[str, Meta(description="1 to 64 letters, digits, '.', '_', '-'.", examples=["testuser"])]
Email = Annotated[str, Meta(description="An e-mail address.", examples=["test@example.com"])]
NewPassword = Annotated[
    str, Meta(description="At least 8 characters, not a common one.", examples=["plum-orbit-canvas"])
]
Name = Annotated[str, Meta(description="What to call the user; 1 to 100 characters.", examples=["Test User"])]
OwnPassword = Annotated[str, Meta(description="The current password.", examples=["plum-orbit-canvas"])]


class Register(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A username, an e-mail address or both, and a password."""

    username: Username | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    password: NewPassword
    name: Name | UnsetType = UNSET


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """What to change. A new e-mail address needs the password; `null` removes the name."""

    username: Username | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    password: OwnPassword | UnsetType = UNSET
    name: Name | UnsetType | None = UNSET


class Close(msgspec.Struct, forbid_unknown_fields=True):
    """The password, as confirmation."""

    password: OwnPassword


# The documentation fills in the account that its first step makes.
_NEW = Register(username="testuser", email="test@example.com", password="plum-orbit-canvas", name="Test User")  # noqa: S106
_RENAMED = Change(username="testuser2")
_CLOSING = Close(password="plum-orbit-canvas")  # noqa: S106


class AccountRoutes:
    """The routes of `Accounts`."""

    def __init__(self, accounts: Accounts, cookie: SessionCookies, device: DeviceCookie) -> None:
        self._accounts = accounts
        self._cookie = cookie
        self._device = device

    def table(self) -> tuple[Route, ...]:
        """Return this feature's routes."""
        bearer = AccessToken()
        return (
            Route(method="POST", path="/register", handler=self.register, access=Anyone(), body=Register,
                  summary="Make an account", answers={201: UserView, 202: AskedView},
                  limits=("register", "conflict", "mail"),
                  step=1, example=_NEW, shown={201: SOME_USER, 202: SOME_ASKED},
                  problems=("username_taken", "email_taken", "registration_closed", "mail_off", "overloaded")),
            Route(method="GET", path="/profile", handler=self.show, access=AccessToken(narrowed=True),
                  summary="The caller's own account", answers={200: UserView}, step=3, shown={200: SOME_USER}),
            Route(method="PATCH", path="/profile", handler=self.change, access=bearer, body=Change,
                  summary="Change username, name or e-mail address", answers={200: UserView},
                  limits=("login", "session", "change", "conflict"), example=_RENAMED, shown={200: SOME_USER},
                  problems=("username_taken", "email_taken", "invalid_credentials", "overloaded")),
            Route(method="DELETE", path="/profile", handler=self.close, access=bearer, body=Close,
                  summary="Close the account", answers={204: None}, limits=("login", "session"), example=_CLOSING,
                  problems=("invalid_credentials", "overloaded", "own_account", "closing_too_early")),
        )  # fmt: skip

    async def register(self, call: Call) -> Reply:
        """`POST /register`."""
        body: Register = call.body
        user = await self._accounts.register(
            username=_given(body.username),
            email=_given(body.email),
            password=body.password,
            name=_given(body.name),
            client=call.client,
        )
        reply = Reply(AskedView.of(user), 202) if isinstance(user, Asked) else Reply(UserView.of(user), 201)
        with suppress(Forbidden):  # another site's page must not say where someone has registered
            call.check_origin()
            known = self._accounts.known_device(self._device.shown(call.scope), user)
            return reply._replace(headers=(self._device.remember(known),))
        return reply

    async def show(self, call: Call) -> Reply:
        """`GET /profile`."""
        return Reply(UserView.of(await self._accounts.profile(call.claims)))

    async def change(self, call: Call) -> Reply:
        """`PATCH /profile`."""
        body: Change = call.body
        if body.email is not UNSET and body.password is UNSET:
            raise InvalidInput(FieldError("password", "required", "A new e-mail address needs the password."))
        if body.password is not UNSET and body.email is UNSET:
            # 200 would suggest that this sets a new password.
            raise InvalidInput(FieldError("password", "not_used", "POST /profile/password sets a new password."))
        user = await self._accounts.change(
            call.claims,
            username=_given(body.username),
            email=_given(body.email),
            password=_given(body.password),
            name=body.name,
            client=call.client,
            device=self._device.shown(call.scope),
        )
        return Reply(UserView.of(user))

    async def close(self, call: Call) -> Reply:
        """`DELETE /profile`."""
        body: Close = call.body
        device = self._device.shown(call.scope)
        await self._accounts.close(call.claims, password=body.password, client=call.client, device=device)
        return Reply(None, 204, self._cookie.clear())


def _given(value: str | UnsetType) -> str | None:
    return None if value is UNSET else value

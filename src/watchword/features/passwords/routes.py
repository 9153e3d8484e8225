"""Passwords over HTTP."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from watchword.errors import FieldError, InvalidInput
from watchword.features.passwords.service import Passwords
from watchword.identity.login import LoggedIn
from watchword.web.cookies import DeviceCookie, SessionCookies
from watchword.web.route import AccessToken, Browser, Call, Reply, Route
from watchword.web.views import SOME_SIGNED_IN, Resource, Scope, SignedIn


class LogIn(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A username or an e-mail address, and the password. `scope` and `resource` limit the session for good."""

    username: Annotated[str, Meta(examples=["testuser"])] | UnsetType = UNSET
    email: Annotated[str, Meta(description="Instead of `username`.")] | UnsetType = UNSET
    password: Annotated[str, Meta(examples=["plum-orbit-canvas"])]
    scope: Scope | UnsetType = UNSET
    resource: Resource | UnsetType = UNSET


class ChangePassword(msgspec.Struct, forbid_unknown_fields=True):
    """The current password and the one to set."""

    current_password: Annotated[str, Meta(examples=["plum-orbit-canvas"])]
    new_password: Annotated[
        str, Meta(description="At least 8 characters, not a common one.", examples=["quiet-harbor-lantern"])
    ]


_LOG_IN = LogIn(username="testuser", password="plum-orbit-canvas")  # noqa: S106 - an example
_CHANGE = ChangePassword(current_password="plum-orbit-canvas", new_password="quiet-harbor-lantern")  # noqa: S106


class PasswordRoutes:
    """The routes of `Passwords`."""

    def __init__(self, passwords: Passwords, cookie: SessionCookies, device: DeviceCookie) -> None:
        self._passwords = passwords
        self._cookie = cookie
        self._device = device

    def table(self) -> tuple[Route, ...]:
        """Return this feature's routes."""
        return (
            Route(method="POST", path="/login", handler=self.log_in, access=Browser(), body=LogIn,
                  summary="Log in; sets the refresh cookie", answers={200: SignedIn}, limits=("login", "session"),
                  step=2, example=_LOG_IN, shown={200: SOME_SIGNED_IN},
                  problems=("invalid_credentials", "overloaded", "too_many_roles", "invalid_scope", "invalid_target")),
            Route(method="POST", path="/profile/password", handler=self.change, access=AccessToken(),
                  body=ChangePassword, summary="Change the password; ends all sessions, opens a new one",
                  answers={200: SignedIn}, limits=("login", "session"), example=_CHANGE, shown={200: SOME_SIGNED_IN},
                  problems=("invalid_credentials", "overloaded", "too_many_roles")),
        )  # fmt: skip

    async def log_in(self, call: Call) -> Reply:
        """`POST /login`."""
        body: LogIn = call.body
        logged_in = await self._passwords.log_in(
            _one_of(body),
            body.password,
            client=call.client,
            replacing=self._cookie.read(call.scope),
            device=self._device.shown(call.scope),
            scope=None if body.scope is UNSET else body.scope,
            resource=None if body.resource is UNSET else body.resource,
        )
        return self._signed_in(logged_in, call)

    async def change(self, call: Call) -> Reply:
        """`POST /profile/password`."""
        body: ChangePassword = call.body
        logged_in = await self._passwords.change(
            call.claims,
            current=body.current_password,
            new=body.new_password,
            client=call.client,
            device=self._device.shown(call.scope),
        )
        return self._signed_in(logged_in, call)

    def _signed_in(self, logged_in: LoggedIn, call: Call) -> Reply:
        tokens = logged_in.tokens
        known = self._device.remember(self._passwords.known_device(self._device.shown(call.scope), logged_in))
        return Reply(SignedIn.of(logged_in.user, tokens), 200, (*self._cookie.write(tokens), known))


def _one_of(body: LogIn) -> str:
    if body.username is UNSET and body.email is UNSET:
        raise InvalidInput(FieldError("username", "required", "A username or an e-mail address is needed."))
    if body.username is not UNSET and body.email is not UNSET:
        raise InvalidInput(FieldError("email", "ambiguous", "Give a username or an e-mail address, not both."))
    return body.email if body.username is UNSET else body.username  # type: ignore[return-value]  # one of them is set

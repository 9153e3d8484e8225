"""Log-in by a code over HTTP."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from watchword.features.codes.service import Codes
from watchword.web.cookies import DeviceCookie, SessionCookies
from watchword.web.route import Browser, Call, Reply, Route
from watchword.web.views import SOME_ASKED, SOME_SIGNED_IN, AskedView, Resource, Scope, SignedIn


class AskCode(msgspec.Struct, forbid_unknown_fields=True):
    """The address of the account."""

    email: Annotated[str, Meta(description="An e-mail address.", examples=["test@example.com"])]


class EnterCode(msgspec.Struct, forbid_unknown_fields=True):
    """What was answered to the request, and the six digits in the mail."""

    handle: Annotated[str, Meta(examples=[SOME_ASKED.handle])]
    code: Annotated[str, Meta(examples=["123456"])]
    scope: Scope | UnsetType = UNSET
    resource: Resource | UnsetType = UNSET


class CodeRoutes:
    """The routes of `Codes`."""

    def __init__(self, codes: Codes, cookie: SessionCookies, device: DeviceCookie) -> None:
        self._codes = codes
        self._cookie = cookie
        self._device = device

    def table(self) -> tuple[Route, ...]:
        """Return this feature's routes."""
        return (
            Route(method="POST", path="/login/code", handler=self.ask, access=Browser(), body=AskCode,
                  summary="Send a code to log in", answers={202: AskedView}, limits=("mail",),
                  example=AskCode("test@example.com"), shown={202: SOME_ASKED},
                  problems=("mail_off", "email_login_off")),
            Route(method="POST", path="/login/code/confirm", handler=self.log_in, access=Browser(), body=EnterCode,
                  summary="Log in by a code; sets the refresh cookie", answers={200: SignedIn},
                  limits=("code", "session"), example=EnterCode(SOME_ASKED.handle, "123456"),
                  shown={200: SOME_SIGNED_IN},
                  problems=("invalid_credentials", "email_unverified", "email_login_off", "too_many_roles",
                            "invalid_scope", "invalid_target")),
        )  # fmt: skip

    async def ask(self, call: Call) -> Reply:
        """`POST /login/code`."""
        body: AskCode = call.body
        asked = await self._codes.ask(body.email, client=call.client, device=self._device.shown(call.scope))
        return Reply(AskedView.of(asked), 202)

    async def log_in(self, call: Call) -> Reply:
        """`POST /login/code/confirm`."""
        body: EnterCode = call.body
        done = await self._codes.log_in(
            body.handle,
            body.code,
            client=call.client,
            replacing=self._cookie.read(call.scope),
            device=self._device.shown(call.scope),
            scope=None if body.scope is UNSET else body.scope,
            resource=None if body.resource is UNSET else body.resource,
        )
        known = self._device.remember(self._codes.known_device(self._device.shown(call.scope), done))
        return Reply(SignedIn.of(done.user, done.tokens), 200, (*self._cookie.write(done.tokens), known))

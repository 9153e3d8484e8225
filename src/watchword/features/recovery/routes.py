"""Forgotten passwords over HTTP."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import msgspec
from msgspec import Meta

from watchword.errors import Forbidden
from watchword.features.recovery.service import Recovery
from watchword.web.cookies import DeviceCookie
from watchword.web.route import Anyone, Call, Reply, Route
from watchword.web.views import SOME_ASKED, SOME_LINK, AskedView, LinkOrCode, link_or_code


class Forgot(msgspec.Struct, forbid_unknown_fields=True):
    """The address of the account."""

    email: Annotated[str, Meta(description="An e-mail address.", examples=["test@example.com"])]


class Reset(LinkOrCode):
    """A link's token, or a code with its handle, and the password to set."""

    new_password: Annotated[
        str, Meta(description="At least 8 characters, not a common one.", examples=["quiet-harbor-lantern"])
    ]


_FORGOT = Forgot("test@example.com")
_RESET = Reset(token=SOME_LINK, new_password="quiet-harbor-lantern")  # noqa: S106 - an example


class RecoveryRoutes:
    """The routes of `Recovery`."""

    def __init__(self, recovery: Recovery, device: DeviceCookie) -> None:
        self._recovery = recovery
        self._device = device

    def table(self) -> tuple[Route, ...]:
        """Return this feature's routes."""
        return (
            Route(method="POST", path="/password/forgot", handler=self.forgot, access=Anyone(), body=Forgot,
                  summary="Send a link and a code to set a new password", answers={202: AskedView}, limits=("mail",),
                  example=_FORGOT, shown={202: SOME_ASKED}, problems=("mail_off",)),
            Route(method="POST", path="/password/reset", handler=self.reset, access=Anyone(), body=Reset,
                  summary="Set a new password by a link or a code; ends all sessions", answers={204: None},
                  limits=("mail_code",), example=_RESET, problems=("one_time_invalid", "overloaded")),
        )  # fmt: skip

    async def forgot(self, call: Call) -> Reply:
        """`POST /password/forgot`."""
        body: Forgot = call.body
        return Reply(AskedView.of(await self._recovery.forgot(body.email, client=call.client)), 202)

    async def reset(self, call: Call) -> Reply:
        """`POST /password/reset`."""
        body: Reset = call.body
        token, handle, code = link_or_code(body)
        who = await self._recovery.reset(
            token=token, handle=handle, code=code, new_password=body.new_password, client=call.client
        )
        with suppress(Forbidden):  # another site's page must not say where someone has logged in
            call.check_origin()
            known = self._recovery.known_device(self._device.shown(call.scope), who)
            return Reply(None, 204, (self._device.remember(known),))
        return Reply(None, 204)

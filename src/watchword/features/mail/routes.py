"""E-mail addresses over HTTP."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from watchword.errors import Forbidden
from watchword.features.mail.service import MailedAddresses
from watchword.identity.showing import Brought
from watchword.web.cookies import DeviceCookie, SessionCookies
from watchword.web.route import AccessToken, Anyone, Call, Reply, Route
from watchword.web.views import SOME_ASKED, SOME_LINK, AskedView, LinkOrCode, link_or_code

Email = Annotated[str, Meta(description="An e-mail address.", examples=["test@example.com"])]


class AskAgain(msgspec.Struct, forbid_unknown_fields=True):
    """The address to confirm."""

    email: Email


class ChangeAddress(msgspec.Struct, forbid_unknown_fields=True):
    """The new address, and the current password."""

    email: Annotated[str, Meta(description="The new address.", examples=["test@example.net"])]
    password: Annotated[str, Meta(description="The current password.", examples=["plum-orbit-canvas"])]


class Confirm(LinkOrCode):
    """What stands after `/links/` in the mail, or the code with the handle that was answered.

    `password`: that of the account, where no cookie of this browser shows it.
    """

    password: (
        Annotated[str, Meta(description="The account's password.", examples=["plum-orbit-canvas"])] | UnsetType
    ) = UNSET


class Undo(msgspec.Struct, forbid_unknown_fields=True):
    """What stands after `/links/` in the mail."""

    token: Annotated[str, Meta(examples=[SOME_LINK])]


_AGAIN = AskAgain("test@example.com")
_CHANGE = ChangeAddress("test@example.net", "plum-orbit-canvas")
_CONFIRM = Confirm(token=SOME_LINK)


class MailRoutes:
    """The routes of `MailedAddresses`."""

    def __init__(self, service: MailedAddresses, cookie: SessionCookies, device: DeviceCookie) -> None:
        self._service = service
        self._cookie = cookie
        self._device = device

    def table(self) -> tuple[Route, ...]:
        """Return this feature's routes."""
        return (
            Route(method="POST", path="/email/verification", handler=self.ask_again, access=Anyone(), body=AskAgain,
                  summary="Send a link and a code to confirm an address", answers={202: AskedView}, limits=("mail",),
                  example=_AGAIN, shown={202: SOME_ASKED}, problems=("mail_off",)),
            Route(method="POST", path="/email/verify", handler=self.confirm, access=Anyone(), body=Confirm,
                  summary="Confirm an address by a link or a code", answers={204: None}, example=_CONFIRM,
                  limits=("mail_code", "conflict", "login", "session"),
                  problems=("one_time_invalid", "invalid_credentials", "overloaded",
                            "username_taken", "email_taken", "registration_closed")),
            Route(method="POST", path="/profile/email", handler=self.change, access=AccessToken(), body=ChangeAddress,
                  summary="Change the address, once the new one is confirmed", answers={202: AskedView},
                  limits=("login", "session", "change", "mail"), example=_CHANGE, shown={202: SOME_ASKED},
                  problems=("mail_off", "invalid_credentials", "overloaded")),
            Route(method="POST", path="/email/undo", handler=self.undo, access=Anyone(), body=Undo,
                  summary="Take a change of address back", answers={204: None}, example=Undo(SOME_LINK),
                  problems=("one_time_invalid", "email_taken")),
        )  # fmt: skip

    async def ask_again(self, call: Call) -> Reply:
        """`POST /email/verification`."""
        body: AskAgain = call.body
        return Reply(AskedView.of(await self._service.ask_again(body.email, client=call.client)), 202)

    async def confirm(self, call: Call) -> Reply:
        """`POST /email/verify`."""
        token, handle, code = link_or_code(call.body)
        brought = self._brought(call)
        await self._service.confirm(token=token, handle=handle, code=code, client=call.client, brought=brought)
        return Reply(None, 204)

    def _brought(self, call: Call) -> Brought:
        """Return what shows the account. Cookies count only where no other site's page has sent them."""
        password = "" if call.body.password is UNSET else call.body.password
        with suppress(Forbidden):
            call.check_origin()
            return Brought(password, self._device.shown(call.scope), self._cookie.shown(call.scope))
        return Brought(password)

    async def change(self, call: Call) -> Reply:
        """`POST /profile/email`."""
        body: ChangeAddress = call.body
        device = self._device.shown(call.scope)
        asked = await self._service.ask_to_change(
            call.claims, body.email, password=body.password, client=call.client, device=device
        )
        return Reply(AskedView.of(asked), 202)

    async def undo(self, call: Call) -> Reply:
        """`POST /email/undo`."""
        body: Undo = call.body
        await self._service.undo(body.token, client=call.client)
        return Reply(None, 204)

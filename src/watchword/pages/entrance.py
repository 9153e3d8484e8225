"""Pages for those who are not logged in: log in, register, forgotten password, confirm an address.

Each form does what the JSON route of the same name does, by the same service under the same limits.
"""

from __future__ import annotations

from typing import Any

from watchword.errors import Forbidden, Unauthenticated, WatchwordError
from watchword.features.accounts.service import Accounts
from watchword.features.mail.service import MailedAddresses
from watchword.features.passwords.service import Passwords
from watchword.features.recovery.service import Recovery
from watchword.features.sessions.service import OwnSessions
from watchword.identity.asking import Asked
from watchword.identity.kernel import Kernel
from watchword.identity.showing import Brought
from watchword.pages.answering import Answers, asked
from watchword.pages.destination import Destination, carried, carrying
from watchword.pages.forms import AddressForm, CodeForm, LogInForm, RegisterForm
from watchword.web.pages.layout import HTML
from watchword.web.route import Call, Handler, OwnPage, Reply, Route, Speech


class Entrance:
    """The pages before a log-in."""

    def __init__(self, kernel: Kernel, answers: Answers) -> None:
        self._answers = answers
        self._accounts = Accounts(kernel)
        self._passwords = Passwords(kernel)
        self._recovery = Recovery(kernel)
        self._mail = MailedAddresses(kernel)
        self._sessions = OwnSessions(kernel)
        settings = kernel.settings
        self._registration = settings.registration == "open"
        self._sends_mail = settings.sends_mail
        self._by_code = settings.email_login
        self._needs_email = settings.email_verification == "required"
        self._confirms = settings.email_verification != "off"

    def table(self) -> tuple[Route, ...]:
        """Return these pages' routes."""
        return (
            shows("/account/login", self.show_log_in, "Log in"),
            Route(method="POST", path="/account/login", handler=self.log_in, access=OwnPage(), form=LogInForm,
                  summary="Log in by the form", limits=("login", "session"), media_type=HTML, speech=Speech.PAGE,
                  documented=False),
            shows("/account/register", self.show_register, "Make an account"),
            Route(method="POST", path="/account/register", handler=self.register, access=OwnPage(), form=RegisterForm,
                  summary="Make an account by the form", limits=("register", "conflict", "mail"), media_type=HTML,
                  speech=Speech.PAGE, documented=False),
            shows("/account/forgotten", self.show_forgotten, "Forgotten password"),
            Route(method="POST", path="/account/forgotten", handler=self.forgotten, access=OwnPage(), form=AddressForm,
                  summary="Send a mail to set a new password", limits=("mail",), media_type=HTML, speech=Speech.PAGE,
                  documented=False),
            shows("/account/reset", self.show_forgotten, "Forgotten password"),
            Route(method="POST", path="/account/reset", handler=self.reset, access=OwnPage(), form=CodeForm,
                  summary="Set a new password by a code", limits=("mail_code",), media_type=HTML, speech=Speech.PAGE,
                  documented=False),
            shows("/account/verify", self.show_verify, "Confirm an address"),
            Route(method="POST", path="/account/verify", handler=self.verify, access=OwnPage(), form=AddressForm,
                  summary="Send a mail to confirm an address", limits=("mail",), media_type=HTML, speech=Speech.PAGE,
                  documented=False),
            shows("/account/confirm", self.show_verify, "Confirm an address"),
            Route(method="POST", path="/account/confirm", handler=self.confirm, access=OwnPage(), form=CodeForm,
                  summary="Confirm an address by a code", limits=("mail_code", "conflict", "login", "session"),
                  media_type=HTML, speech=Speech.PAGE, documented=False),
        )  # fmt: skip

    async def show_log_in(self, call: Call) -> Reply:
        """`GET /account/login`; leads on at once where the browser has a session, with a new access cookie if asked."""
        leads_to = self._answers.destination(asked(call, "next"))
        if leads_to is not None and self._answers.cookie.sets_access:
            if self._answers.comes_from_elsewhere(call):
                return self._answers.page(call, "moment.html")
            # A page of the account would send a limited session back here.
            renewed = None if await self._answers.is_limited(call) else await self._renewed(call, leads_to)
            if renewed is not None:
                return renewed
        elif await self._answers.held(call) is not None:
            return self._answers.go_on(call, leads_to)
        page = self._answers.page(call, "log_in.html", note=self._answers.note(call), **self._log_in_shows(leads_to))
        return page._replace(headers=(*page.headers, *self._answers.cookie.without_a_session(call.scope)))

    async def _renewed(self, call: Call, leads_to: Destination) -> Reply | None:
        """Lead on with a new access cookie, or return None without a session.

        A page made on a server sends its visitors here when the cookie is over, and they have a session still. This is
        the only GET that changes something: the refresh token, which no other site can make a browser send.
        """
        try:
            tokens = await self._sessions.refresh(self._answers.cookie.read(call.scope), client=call.client)
        except Unauthenticated:
            return None
        # Without the cookie the page would send them here again.
        fits = self._answers.cookie.fits(tokens)
        return self._answers.go_on(call, leads_to if fits else None, *self._answers.cookie.write(tokens))

    async def log_in(self, call: Call) -> Reply:
        """`POST /account/login`."""
        form: LogInForm = call.body
        leads_to = self._answers.destination(form.next)
        try:
            logged_in = await self._passwords.log_in(
                form.username,
                form.password,
                client=call.client,
                replacing=self._answers.cookie.read(call.scope),
                device=self._answers.device(call),
            )
        except WatchwordError as error:
            typed = {"username": form.username}
            return self._answers.again(call, "log_in.html", error, typed=typed, **self._log_in_shows(leads_to))
        return self._answers.go_on(call, leads_to, *self._answers.signed_in(call, logged_in))

    async def show_register(self, call: Call) -> Reply:
        """`GET /account/register`."""
        if not self._registration:
            raise Forbidden("This service does not let people register themselves.", code="registration_closed")
        return self._answers.page(call, "register.html", **self._register_shows(asked(call, "next")))

    async def register(self, call: Call) -> Reply:
        """`POST /account/register`."""
        form: RegisterForm = call.body
        try:
            made = await self._accounts.register(
                username=form.username or None, email=form.email or None, password=form.password, client=call.client
            )
        except WatchwordError as error:
            typed = {"username": form.username, "email": form.email}
            return self._answers.again(call, "register.html", error, typed=typed, **self._register_shows(form.next))
        known = self._answers.device_of(self._accounts.known_device(self._answers.device(call), made))
        if isinstance(made, Asked):
            page = self._answers.page(call, "confirm.html", handle=made.handle)
            return page._replace(headers=(*page.headers, known))
        leads_to = self._answers.destination(form.next)
        more = "" if leads_to is None else carried(leads_to.location).replace("?", "&")
        return self._answers.go(call, f"account/login?note=registered{more}", known)

    async def show_forgotten(self, call: Call) -> Reply:
        """`GET /account/forgotten`."""
        return self._answers.page(call, "forgotten.html")

    async def forgotten(self, call: Call) -> Reply:
        """`POST /account/forgotten`."""
        form: AddressForm = call.body
        try:
            sent = await self._recovery.forgot(form.email, client=call.client)
        except WatchwordError as error:
            return self._answers.again(call, "forgotten.html", error, typed={"email": form.email})
        return self._answers.page(call, "reset.html", handle=sent.handle)

    async def reset(self, call: Call) -> Reply:
        """`POST /account/reset`. It logs no one in."""
        form: CodeForm = call.body
        try:
            who = await self._recovery.reset(
                token=None, handle=form.handle, code=form.code, new_password=form.new_password, client=call.client
            )
        except WatchwordError as error:
            return self._answers.again(call, "reset.html", error, handle=form.handle)
        return self._answers.go(call, "account/login?note=reset", self._answers.known(call, who.user_id, who.version))

    async def show_verify(self, call: Call) -> Reply:
        """`GET /account/verify`."""
        return self._answers.page(call, "verify.html")

    async def verify(self, call: Call) -> Reply:
        """`POST /account/verify`."""
        form: AddressForm = call.body
        try:
            sent = await self._mail.ask_again(form.email, client=call.client)
        except WatchwordError as error:
            return self._answers.again(call, "verify.html", error, typed={"email": form.email})
        return self._answers.page(call, "confirm.html", handle=sent.handle)

    async def confirm(self, call: Call) -> Reply:
        """`POST /account/confirm`."""
        form: CodeForm = call.body
        try:
            brought = Brought(form.password, self._answers.device(call), self._answers.cookie.shown(call.scope))
            await self._mail.confirm(
                token=None, handle=form.handle, code=form.code, client=call.client, brought=brought
            )
        except WatchwordError as error:
            return self._answers.again(call, "confirm.html", error, handle=form.handle)
        held = await self._answers.held(call)
        return self._answers.go(call, f"account{'' if held else '/login'}?note=confirmed")

    def _log_in_shows(self, leads_to: Destination | None) -> dict[str, Any]:
        return {
            **carrying(leads_to),
            "registration": self._registration,
            "mail": self._sends_mail,
            "code": self._by_code,
            "confirms": self._confirms,
        }

    def _register_shows(self, text: str) -> dict[str, Any]:
        leads_to = self._answers.destination(text)
        return {"next": "" if leads_to is None else leads_to.location, "needs_email": self._needs_email}


def shows(path: str, handler: Handler, summary: str) -> Route:
    """Return the route of a page. It changes nothing."""
    return Route(
        method="GET",
        path=path,
        handler=handler,
        access=OwnPage(),
        summary=summary,
        media_type=HTML,
        speech=Speech.PAGE,
        documented=False,
    )

"""The account: profile, sessions, password, address, closing. To open a page changes nothing.

Each change needs a form of a page of ours with the token of its session, and what gives or takes the account away the
password as well, under the limits of a log-in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

from watchword.errors import NotFound, Unauthenticated, WatchwordError
from watchword.features.accounts.service import Accounts
from watchword.features.mail.service import MailedAddresses
from watchword.features.passwords.service import Passwords
from watchword.features.sessions.service import OwnSessions
from watchword.identity.devices import kind_of
from watchword.identity.kernel import Kernel
from watchword.identity.sessions.holding import Held
from watchword.identity.sessions.sessions import SessionView
from watchword.identity.users import User
from watchword.languages import marked as _
from watchword.pages.answering import Answers, is_over
from watchword.pages.destination import carried
from watchword.pages.entrance import shows
from watchword.pages.forms import AccountForm
from watchword.web.pages.layout import HTML
from watchword.web.route import Call, Handler, OwnPage, Reply, Route, Speech

Page = Callable[[Call, Held], Awaitable[Reply]]


class AccountPages:
    """The pages of someone who is logged in."""

    def __init__(self, kernel: Kernel, answers: Answers) -> None:
        self._answers = answers
        self._accounts = Accounts(kernel)
        self._passwords = Passwords(kernel)
        self._sessions = OwnSessions(kernel)
        self._mail = MailedAddresses(kernel)
        self._sends_mail = kernel.settings.sends_mail
        self._confirms = kernel.settings.email_verification != "off"

    def table(self) -> tuple[Route, ...]:
        """Return these pages' routes."""
        return (
            self._shows("/account", self.show, "Your account"),
            self._shows("/account/password", self._form("password.html"), "Change the password"),
            self._shows("/account/email", self._form("address.html"), "Change the address"),
            self._shows("/account/close", self._form("close.html"), "Close the account"),
            self._acts("/account/password", self.change_password, "Change the password by the form",
                       "login", "session"),
            self._acts("/account/email", self.change_address, "Change the address by the form",
                       "login", "session", "change", *(("mail",) if self._confirms else ("conflict",))),
            self._acts("/account/close", self.close, "Close the account by the form", "login", "session"),
            self._acts("/account/sessions/end", self.end, "End one session, or all others"),
            self._acts("/account/logout", self.log_out, "Log out by the form"),
        )  # fmt: skip

    def _acts(self, path: str, page: Page, summary: str, *limits: str) -> Route:
        return Route(
            method="POST",
            path=path,
            handler=self._changing(page),
            access=OwnPage(),
            form=AccountForm,
            summary=summary,
            limits=limits,
            media_type=HTML,
            speech=Speech.PAGE,
            documented=False,
        )

    def _shows(self, path: str, page: Page, summary: str) -> Route:
        """Return the route of a page that is shown to the holder of a session, and leads anyone else to the log-in."""

        async def handler(call: Call) -> Reply:
            held = await self._answers.held(call)
            if held is None:
                return self._unknown(call, path)
            try:
                return await page(call, held)
            except Unauthenticated:
                return self._unknown(call, path)

        return shows(path, handler, summary)

    def _unknown(self, call: Call, path: str) -> Reply:
        """Lead to the log-in; or let the browser ask once more."""
        if self._answers.comes_from_elsewhere(call):
            return self._answers.page(call, "moment.html")
        back = self._answers.settings.path_prefix + path
        return self._answers.go(call, "account/login" + carried(back))

    def _changing(self, page: Page) -> Handler:
        """Return a handler that does something for the holder of a session, who has sent its token."""

        async def handler(call: Call) -> Reply:
            held = await self._answers.held(call)
            if held is None:
                return self._answers.go(call, "account/login")
            self._answers.require_token(held, call.body.token)
            try:
                return await page(call, held)
            except Unauthenticated as error:
                if not is_over(error):
                    raise
                return self._answers.go(call, "account/login")

        return handler

    async def show(self, call: Call, held: Held) -> Reply:
        """`GET /account`."""
        user = await self._accounts.profile(held)
        sessions = [_session(view, held) for view in await self._sessions.page(held, after="")]
        sessions.reverse()
        return self._answers.page(
            call,
            "account.html",
            user=_user(user),
            sessions=sessions,
            token=self._answers.tokens.of(held.sid),
            note=self._answers.note(call),
            mail=self._sends_mail,
        )

    def _form(self, template: str) -> Page:
        async def show(call: Call, held: Held) -> Reply:
            user = await self._accounts.profile(held)
            return self._answers.page(call, template, user=_user(user), token=self._answers.tokens.of(held.sid))

        return show

    async def change_password(self, call: Call, held: Held) -> Reply:
        """`POST /account/password`: every session ends, and a new one begins."""
        form: AccountForm = call.body
        try:
            logged_in = await self._passwords.change(
                held,
                current=form.password,
                new=form.new_password,
                client=call.client,
                device=self._answers.device(call),
            )
        except WatchwordError as error:
            return await self._again(call, held, "password.html", error)
        return self._answers.go(call, "account?note=password", *self._answers.signed_in(call, logged_in))

    async def change_address(self, call: Call, held: Held) -> Reply:
        """`POST /account/email`: at once, or when the new one is confirmed."""
        form: AccountForm = call.body
        device = self._answers.device(call)
        try:
            if self._accounts.changes_at_once(await self._accounts.profile(held)):
                await self._accounts.change(
                    held, username=None, email=form.email, password=form.password, client=call.client, device=device
                )
                return self._answers.go(call, "account?note=address")
            sent = await self._mail.ask_to_change(
                held, form.email, password=form.password, client=call.client, device=device
            )
        except WatchwordError as error:
            return await self._again(call, held, "address.html", error)
        return self._answers.page(call, "confirm.html", handle=sent.handle)

    async def close(self, call: Call, held: Held) -> Reply:
        """`POST /account/close`."""
        form: AccountForm = call.body
        try:
            await self._accounts.close(
                held, password=form.password, client=call.client, device=self._answers.device(call)
            )
        except WatchwordError as error:
            return await self._again(call, held, "close.html", error)
        about = _("Your account and its data are deleted.")
        reply = self._answers.page(call, "said.html", title=_("The account is closed"), about=about, onward="")
        return reply._replace(headers=(*reply.headers, *self._answers.cookie.clear()))

    async def end(self, call: Call, held: Held) -> Reply:
        """`POST /account/sessions/end`: the session that the form names, or all others."""
        form: AccountForm = call.body
        if not form.session:
            await self._sessions.end_others(held, client=call.client)
            return self._answers.go(call, "account?note=ended")
        with suppress(NotFound):  # it has ended already
            await self._sessions.end(held, form.session, client=call.client)
        return self._answers.go(call, "account?note=ended")

    async def log_out(self, call: Call, _: Held) -> Reply:
        """`POST /account/logout`."""
        await self._sessions.log_out(bearer=None, presented=self._answers.cookie.read(call.scope), client=call.client)
        return self._answers.go(call, "account/login?note=out", *self._answers.cookie.clear())

    async def _again(self, call: Call, held: Held, template: str, error: WatchwordError) -> Reply:
        if isinstance(error, Unauthenticated) and is_over(error):
            raise error
        user, typed = await self._accounts.profile(held), {"email": call.body.email}
        return self._answers.again(
            call,
            template,
            error,
            knows_who=True,
            typed=typed,
            user=_user(user),
            token=self._answers.tokens.of(held.sid),
        )


def _user(user: User) -> dict[str, object]:
    return {
        "username": user.username or "",
        "email": user.email or "",
        "email_verified": user.email_verified_at is not None,
        "created": datetime.fromtimestamp(user.created_at, UTC).strftime("%Y-%m-%d"),
    }


def _session(view: SessionView, held: Held) -> dict[str, object]:
    return {
        "id": view.id,
        "device": kind_of(view.agent),
        "address": view.address,
        "used": datetime.fromtimestamp(view.last_used_at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "current": view.id == held.sid,
    }

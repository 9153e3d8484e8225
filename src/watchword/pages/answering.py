"""What all pages share: who is there, the answer to a fault, and the way to the next page."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from watchword.clock import minute
from watchword.errors import (
    Forbidden,
    InvalidInput,
    Overloaded,
    TooEarly,
    TooManyAttempts,
    Unauthenticated,
    WatchwordError,
)
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.login import LoggedIn
from watchword.identity.sessions.holding import Held
from watchword.languages import marked as _
from watchword.pages.destination import Destination, destination
from watchword.pages.sentences import sentence
from watchword.pages.tokens import FormTokens
from watchword.web.cookies import DeviceCookie, SessionCookies
from watchword.web.forms import decode_form
from watchword.web.pages.layout import Look
from watchword.web.problems import answer_headers, problem_of
from watchword.web.route import Call, Header, Reply

_FIELDS = {"username_taken": "username", "email_taken": "email", "one_time_invalid": "code"}
NOTES = {
    "registered": _("The account is made. Log in to it."),
    "confirmed": _("The address is confirmed."),
    "reset": _("The new password is set. Log in with it."),
    "password": _("The new password is set, and every other session has ended."),
    "address": _("The address is changed."),
    "out": _("You are logged out."),
    "ended": _("The session has ended."),
}
"""What a page may say above the rest. An address names it by its key, so that no one else puts words there."""

TOO_EARLY = _("The e-mail address was changed lately. An administrator can close the account, and you from then on:")
_BLANK = {"username": "", "email": ""}
_MINUTE = 60


class Answers:
    """Makes replies."""

    def __init__(self, kernel: Kernel, cookie: SessionCookies, device: DeviceCookie, look: Look) -> None:
        self.settings = kernel.settings
        self.cookie = cookie
        self._device = device
        self._known_devices = kernel.known_devices
        self.tokens = FormTokens(kernel.master.keys("form"))
        self._sessions = kernel.sessions
        self._look = look

    async def held(self, call: Call) -> Held | None:
        """Return the session of the browser's cookie, unless it is limited. It is read and not rotated: to open a page
        changes nothing.
        """
        found = await self._any(call)
        return found if found is not None and found.whole else None

    async def is_limited(self, call: Call) -> bool:
        """Tell whether the cookie's session opens no page here (`narrowing`): a new log-in replaces it."""
        found = await self._any(call)
        return found is not None and not found.whole

    async def _any(self, call: Call) -> Held | None:
        presented = self.cookie.read(call.scope)
        return None if presented is None else await self._sessions.held(presented, client_id=FIRST_PARTY)

    def comes_from_elsewhere(self, call: Call) -> bool:
        """Tell whether a link on another site led here: browsers leave the cookie out, and send it the next time."""
        headers = dict(call.scope["headers"])
        return headers.get(b"sec-fetch-site") == b"cross-site" and self.cookie.read(call.scope) is None

    def require_token(self, held: Held, shown: str) -> None:
        """Refuse a form that was made for another session. Raises `Forbidden` (`form_refused`)."""
        if not self.tokens.fits(held.sid, shown):
            raise Forbidden(_("Open the page again and fill it in anew."), code="form_refused")

    def page(self, call: Call, template: str, **values: Any) -> Reply:
        """Return a page without faults."""
        return self._look.page(call, template, up=_up(call), **{"faults": (), "typed": _BLANK, "note": "", **values})

    def again(
        self,
        call: Call,
        template: str,
        error: WatchwordError,
        *,
        knows_who: bool = False,
        refused: str = "",
        **values: Any,
    ) -> Reply:
        """Return the form again, with what was wrong. What is our own fault is raised on.

        :param knows_who: the form asks for the password only, so that is what was wrong.
        :param refused: the field at which a log-in that is refused is told.
        :param values: also `typed`, what stays in the fields.
        """
        status = problem_of(error)[1].status
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Overloaded):
            raise error
        shown = {
            **values,
            "typed": {**_BLANK, **values.get("typed", {})},
            "faults": self._faults(call, error, knows_who, refused),
        }
        headers = answer_headers(error, status)
        return self._look.page(call, template, status=status, up=_up(call), headers=headers, note="", **shown)

    def go(self, call: Call, path: str, *cookies: Header) -> Reply:
        """Lead to another page of ours; the browser asks for it by GET."""
        return self.lead(_up(call) + path, *cookies)

    def lead(self, location: str, *cookies: Header) -> Reply:
        """Lead to an address that `destination` has accepted."""
        return Reply(None, HTTPStatus.SEE_OTHER, ((b"location", location.encode("ascii")), *cookies))

    def destination(self, text: str) -> Destination | None:
        """Return where a log-in with this `next` leads."""
        return destination(text, self.settings.allowed_origins)

    def go_on(self, call: Call, leads_to: Destination | None, *cookies: Header) -> Reply:
        """Lead to where someone who has logged in wanted to go; to the account by default."""
        if leads_to is None:
            return self.go(call, "account", *cookies)
        return self.lead(leads_to.location, *cookies)

    def device(self, call: Call) -> str | None:
        """Return the browser's device cookie."""
        return self._device.shown(call.scope)

    def signed_in(self, call: Call, logged_in: LoggedIn) -> tuple[Header, ...]:
        """Return the cookies of a new session, and that of a browser that is known now."""
        known = self.known(call, logged_in.user.id, logged_in.version)
        return *self.cookie.write(logged_in.tokens), known

    def known(self, call: Call, user_id: str, version: int) -> Header:
        """Return the cookie of a browser that is known from now on."""
        return self._device.remember(self._known_devices.remember(self.device(call), user_id, version))

    def device_of(self, value: str) -> Header:
        """Return `Set-Cookie` of a device cookie."""
        return self._device.remember(value)

    def note(self, call: Call) -> str:
        """Return what an address wants said, if it is one of ours."""
        return NOTES.get(asked(call, "note"), "")

    def _faults(self, call: Call, error: WatchwordError, knows_who: bool, refused: str) -> list[dict[str, str]]:
        def said(text: str) -> str:
            return self._look.said(call, text)

        if isinstance(error, InvalidInput):
            return [{"field": each.field, "message": said(sentence(each))} for each in error.errors]
        if isinstance(error, TooManyAttempts):
            minutes = max(1, -(-error.retry_after // _MINUTE))
            return [{"field": "", "message": said(_("Too many attempts. Minutes to wait:")) + f" {minutes}"}]
        if isinstance(error, TooEarly):
            return [{"field": "", "message": said(TOO_EARLY) + f" {minute(error.since)}"}]
        if knows_who and error.code == "invalid_credentials":
            return [{"field": "password", "message": said(_("The password is wrong."))}]
        field = refused if error.code == "invalid_credentials" else _FIELDS.get(error.code, "")
        return [{"field": field, "message": said(error.message)}]


def asked(call: Call, name: str) -> str:
    """Return a field of the query, "" without one. Raises `Refused` (`invalid_request`)."""
    return decode_form(call.scope["query_string"], code="invalid_request").get(name, "")


def is_over(error: Unauthenticated) -> bool:
    """Tell whether the session has ended; otherwise the password was wrong."""
    return error.code != "invalid_credentials"


def _up(call: Call) -> str:
    """Return the way from an address below `/account` to the root, which a prefix may precede."""
    path: str = call.scope["path"]
    return "../" * path[path.rindex("/account") + 1 :].count("/")

"""The account that the doctor makes, uses and deletes; or one that the operator gives it."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import NamedTuple

from watchword.cli.doctor.findings import Unseen
from watchword.cli.doctor.wire import Answer, Headers, NoAnswer, Wire
from watchword.cli.exits import USAGE, CommandError

_COOKIES = ("__Host-watchword_refresh", "watchword_refresh")
_LARGEST = 4096
GIVE_ONE = "give an account in a file of two lines, name and password: `watchword doctor URL --account FILE`"


class Credentials(NamedTuple):
    """A name and its password."""

    name: str
    password: str


class Session(NamedTuple):
    """One log-in: its access token, and its refresh cookie."""

    access: str
    lifetime: int
    cookie: str
    value: str
    set_cookie: str

    @property
    def bearer(self) -> Headers:
        """Return the header that shows the access token."""
        return (("Authorization", f"Bearer {self.access}"),)

    @property
    def shown(self) -> Headers:
        """Return the header that shows the cookie."""
        return (("Cookie", f"{self.cookie}={self.value}"),)


def read(file: str) -> Credentials:
    """Read an account from a file, or from standard input for `-`: never from the command line, which others can read.

    :raises CommandError: there are no two lines.
    """
    try:
        text = sys.stdin.read(_LARGEST) if file == "-" else Path(file).read_text("utf-8")[:_LARGEST]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise CommandError(f"cannot read {file}: {reason}", "check the path", USAGE) from None
    name, _, password = text.partition("\n")
    password = password.removesuffix("\n").removesuffix("\r")
    if not name.strip() or not password or "\n" in password:
        raise CommandError(f"{file} holds no account", "write two lines: the name, and the password", USAGE)
    return Credentials(name.strip(), password)


class Account:
    """Logs in and out, and cleans up after itself.

    :param given: an account to use, which stays.
    """

    def __init__(self, wire: Wire, given: Credentials | None) -> None:
        self._wire = wire
        self._given = given
        self.own = given is None
        self.registered: Answer | None = None
        self.credentials = given
        self._open: list[Session] = []

    def make(self) -> None:
        """Register, unless an account was given. What was answered is kept."""
        if self._given is not None:
            return
        fresh = Credentials(f"doctor-{secrets.token_hex(8)}", secrets.token_urlsafe(24))
        self.registered = self._wire.ask("POST", "/register", body={"username": fresh.name, "password": fresh.password})
        if self.registered.ok:
            self.credentials = fresh

    def tried(self, credentials: Credentials, *, headers: Headers = ()) -> Answer:
        """Try to log in. A session that this opens is ended in the end."""
        field = "email" if "@" in credentials.name else "username"
        body = {field: credentials.name, "password": credentials.password}
        answer = self._wire.ask("POST", "/login", body=body, headers=headers)
        if (opened := session_of(answer)) is not None:
            self._open.append(opened)
        return answer

    def log_in(self, *, headers: Headers = ()) -> Session:
        """Open a session. :raises Unseen: there is no account, or it may not log in."""
        if self.credentials is None:
            raise Unseen(f"there is no account to try with: {self._why()}")
        answer = self.tried(self.credentials, headers=headers)
        session = session_of(answer)
        if session is None:
            raise Unseen(f"the log-in of {self.credentials.name} was answered with {answer.said}")
        return session

    def replaced(self, old: Session, new: Session) -> None:
        """Remember that a session has other tokens now."""
        self._open = [new if each == old else each for each in self._open]

    def clean(self) -> str:
        """Delete the own account, or end the sessions in the given one. Return what is left behind, or ''."""
        if self.credentials is None:
            return ""
        self._wire.allow_seconds(60)
        try:
            return self._deleted(self.credentials) if self.own else self._ended()
        except Unseen as error:
            return f"the account {self.credentials.name} may be left: {error}"

    def _deleted(self, credentials: Credentials) -> str:
        session = session_of(self.tried(credentials)) or (self._open[-1] if self._open else None)
        if session is None:
            return f"the account {credentials.name} is left: it could not log in again"
        body = {"password": credentials.password}
        answer = self._wire.ask("DELETE", "/profile", headers=session.bearer, body=body)
        if answer.ok:
            return ""
        later = answer.header("retry-after")
        if later.isdecimal():
            return f"the account {credentials.name} is left: a limit of this address ends in {later} s"
        return f"the account {credentials.name} is left: DELETE /profile answered {answer.said}"

    def _ended(self) -> str:
        left = 0
        for session in self._open:
            try:
                headers = (*session.bearer, *session.shown)
                left += not self._wire.ask("POST", "/logout", headers=headers).ok
            except NoAnswer:
                left += 1
        return f"{left} sessions of the given account may still be open" if left else ""

    def _why(self) -> str:
        if self.registered is None:
            return "the given one was not used" if self._given is not None else "none was made"
        return f"POST /register answered {self.registered.said}"


def session_of(answer: Answer) -> Session | None:
    """Return the session that an answer opens, or None."""
    body = answer.json()
    access, lifetime = body.get("access_token"), body.get("expires_in")
    if not answer.ok or not isinstance(access, str) or not isinstance(lifetime, int):
        return None
    for line in answer.all("set-cookie"):
        name, _, rest = line.partition("=")
        if name in _COOKIES:
            return Session(access, lifetime, name, rest.partition(";")[0], line)
    return Session(access, lifetime, "", "", "")

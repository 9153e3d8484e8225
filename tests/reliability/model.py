"""What must be true after all that a journal tells: a second, simple account of users, sessions and refresh tokens.

It is held against the database and against the service. What was not answered leaves a thing unknown, never wrong.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from tests.reliability.journal import LOG_IN, LOG_OUT, REFRESH, REGISTER, Entry, Journal
from tests.reliability.stored import Stored


@dataclass
class Session:
    """A session that the service has opened.

    :param tokens: its refresh tokens, as they were answered; the last is the one that its client holds.
    :param ended: True after a log-out that was answered, None after one that was not.
    """

    user_id: str
    tokens: list[str] = field(default_factory=list)
    access_tokens: list[str] = field(default_factory=list)
    ended: bool | None = False


class Model:
    """Users by name, sessions by id."""

    def __init__(self, journal: Journal) -> None:
        self.users: dict[str, str] = {}
        self.asked_for: set[str] = set()
        self.sessions: dict[str, Session] = {}
        self.forks: list[str] = []
        """Sessions of which one token had two successors."""
        self._owner: dict[str, str] = {}  # refresh token → session
        self._successor: dict[str, str] = {}
        for entry in journal.entries:
            {REGISTER: self._register, LOG_IN: self._log_in, REFRESH: self._refresh, LOG_OUT: self._log_out}.get(
                entry.what, _nothing
            )(entry)

    def _register(self, entry: Entry) -> None:
        self.asked_for.add(entry.given["username"])
        if entry.done:
            self.users[entry.given["username"]] = entry.answer["id"]

    def _log_in(self, entry: Entry) -> None:
        if entry.done:
            claims = claims_of(entry.answer["access_token"])
            self.sessions[claims["sid"]] = Session(claims["sub"])
            self._issued(claims["sid"], entry)

    def _refresh(self, entry: Entry) -> None:
        if entry.done:
            sent, session_id = entry.given["refresh_token"], self._owner[entry.given["refresh_token"]]
            if self._successor.setdefault(sent, entry.answer["refresh_token"]) != entry.answer["refresh_token"]:
                self.forks.append(session_id)
            self._issued(session_id, entry)

    def _log_out(self, entry: Entry) -> None:
        session = self.sessions[claims_of(entry.given["access_token"])["sid"]]
        if entry.done:
            session.ended = True
        elif entry.unknown and not session.ended:
            session.ended = None

    def _issued(self, session_id: str, entry: Entry) -> None:
        session, token = self.sessions[session_id], entry.answer["refresh_token"]
        session.access_tokens.append(entry.answer["access_token"])
        self._owner[token] = session_id
        if token not in session.tokens:
            session.tokens.append(token)

    def differences(self, stored: Stored) -> list[str]:
        """Return what the database says otherwise, each as a sentence."""
        forks = [f"a token of session {each} has two successors" for each in self.forks]
        differ = [*self._users_that_differ(stored), *self._sessions_that_differ(stored)]
        return [*forks, *differ, *stored.half_written()]

    @property
    def rotated(self) -> dict[str, str]:
        """Every refresh token that has a successor, with its session."""
        return {sent: self._owner[sent] for sent in self._successor}

    def _users_that_differ(self, stored: Stored) -> list[str]:
        missing = [f"user {name} was acknowledged and is not there" for name, user_id in self.users.items()
                   if stored.users.get(name) != user_id]  # fmt: skip
        extra = [f"user {name} is there and no one asked" for name in stored.users if name not in self.asked_for]
        return missing + extra

    def _sessions_that_differ(self, stored: Stored) -> list[str]:
        found = []
        for session_id, session in self.sessions.items():
            row = stored.sessions.get(session_id)
            if row is None or row.user_id != session.user_id:
                found.append(f"session {session_id} was acknowledged and is not there")
            elif session.ended is not None and (row.ended_at is not None) != session.ended:
                found.append(f"session {session_id} should have ended: {session.ended}, and {row}")
            elif session.ended and session_id not in stored.revoked:
                found.append(f"session {session_id} has ended and no entry says so")
            elif row.generation < len(session.tokens) - 1:
                found.append(f"session {session_id} has forgotten a rotation")
        return found


def _nothing(_: Entry) -> None:
    """Take note of a request that changes nothing."""


def claims_of(access_token: str) -> dict[str, Any]:
    """Read an access token's claims without any check: the journal knows where it came from."""
    part = access_token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims

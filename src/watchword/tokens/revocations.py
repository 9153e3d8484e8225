"""Revocations in memory: refusing a token costs no I/O.

One thread (the feed's follower) writes, any number read: a look-up is one atomic `dict.get`, and dicts are replaced,
never emptied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final, Literal, Protocol

Kind = Literal["session", "user", "key"]

NEVER: Final = 2**62
_ROUND_TO: Final = 60
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def mark_of(subject: str) -> int:
    """Return 128 bits: a canonical UUID's value, or half of the text's SHA-256."""
    if _UUID.fullmatch(subject):
        return int(subject.replace("-", ""), 16)
    return int.from_bytes(sha256(subject.encode("utf-8", "surrogatepass")).digest()[:16], "big")


class Marked(Protocol):
    """A token's marks; None for what it lacks."""

    @property
    def session_mark(self) -> int | None:
        """Return its session's mark."""

    @property
    def user_mark(self) -> int:
        """Return its user's mark."""

    @property
    def key_mark(self) -> int:
        """Return its key's mark."""

    @property
    def ver(self) -> int | None:
        """Return its user's version when issued."""


class RevocationSet:
    """Revoked sessions, users and keys. One writer thread, many readers.

    An entry may outlive its tokens. A million take about 90 MB.

    Each `add` changes `state`: a token accepted under one state stays accepted until then. Read the state *before*
    asking.
    """

    __slots__ = ("_keys", "_sessions", "_shared", "_users", "state")

    def __init__(self) -> None:
        self._sessions: dict[int, tuple[int, int]] = {}
        self._users: dict[int, tuple[int, int]] = {}
        self._keys: dict[int, tuple[int, int]] = {}
        # Equal values are one object, which saves a third of the memory.
        self._shared: dict[tuple[int, int], tuple[int, int]] = {}
        self.state = object()

    def add(self, kind: Kind, subject: str, min_version: int, expires_at: int) -> None:
        """Refuse a session, a user's tokens below a version, or all that a key signed.

        An entry is only widened: larger version, later end.

        :param subject: an id, or a `kid`.
        :param min_version: a user's least acceptable `ver`.
        :param expires_at: seconds since 1970. A key's entry never ends.
        :raises ValueError: an unknown kind.
        """
        entries = self._entries(kind)
        mark = mark_of(subject)
        # Rounded up, for few different values.
        end = NEVER if kind == "key" else -(-expires_at // _ROUND_TO) * _ROUND_TO
        self._widen(entries, mark, min_version, end)
        self.state = object()  # last: readers of the new state see the entry

    def passing(self) -> Iterator[tuple[Kind, int, tuple[int, int]]]:
        """Yield the entries that end, for `add_marks`. For the writer thread."""
        yield from (("session", mark, value) for mark, value in self._sessions.items())
        yield from (("user", mark, value) for mark, value in self._users.items())

    def add_marks(self, entries: Iterable[tuple[Kind, int, tuple[int, int]]]) -> None:
        """Refuse what another set refuses."""
        for kind, mark, value in entries:
            self._widen(self._entries(kind), mark, *value)
        self.state = object()

    def refuses(self, claims: Marked) -> bool:
        """Return whether the token's key, session or user's version is revoked."""
        if claims.session_mark in self._sessions or claims.key_mark in self._keys:
            return True
        entry = self._users.get(claims.user_mark)
        # Without a version no token proves to be newer.
        return entry is not None and (claims.ver is None or claims.ver < entry[0])

    def sweep(self, now: int) -> int:
        """Drop ended entries; return how many."""
        before = len(self)
        self._sessions = {mark: entry for mark, entry in self._sessions.items() if entry[1] > now}
        self._users = {mark: entry for mark, entry in self._users.items() if entry[1] > now}
        self._shared = {value: value for value in self._shared.values() if value[1] > now}
        return before - len(self)

    def _widen(self, entries: dict[int, tuple[int, int]], mark: int, min_version: int, end: int) -> None:
        known = entries.get(mark)
        if known is not None:
            min_version, end = max(min_version, known[0]), max(end, known[1])
        value = (min_version, end)
        entries[mark] = self._shared.setdefault(value, value)

    def _entries(self, kind: str) -> dict[int, tuple[int, int]]:
        if kind == "session":
            return self._sessions
        if kind == "user":
            return self._users
        if kind == "key":
            return self._keys
        raise ValueError(f"unknown kind of revocation: {kind}")

    def __len__(self) -> int:
        return len(self._sessions) + len(self._users) + len(self._keys)

    def __bool__(self) -> bool:
        return True  # `revocations or default` must not drop an empty set

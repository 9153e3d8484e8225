"""The list of what has been revoked, held in memory so that refusing a token costs no I/O.

An entry names a session, a user or a signing key by a 128-bit integer. One thread writes (the follower of the feed),
any number read: each look-up is one `dict.get`, which the interpreter does in one step, and a dict is replaced, never
emptied, when it has become too large.
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
    """The 128-bit integer that stands for a subject: a UUID's own value, or the first half of its SHA-256.

    Only the canonical text of a UUID counts as one; anything else, however similar, is hashed.
    """
    if _UUID.fullmatch(subject):
        return int(subject.replace("-", ""), 16)
    return int.from_bytes(sha256(subject.encode("utf-8", "surrogatepass")).digest()[:16], "big")


class Marked(Protocol):
    """What the set has to know of a token. Marks of what the token does not have are None."""

    @property
    def session_mark(self) -> int | None:
        """`mark_of` its session."""

    @property
    def user_mark(self) -> int:
        """`mark_of` its user."""

    @property
    def key_mark(self) -> int:
        """`mark_of` the key that signed it."""

    @property
    def ver(self) -> int | None:
        """Its user's version when it was issued."""


class RevocationSet:
    """Revoked sessions, users and keys. One writer thread, any number of readers; no clock of its own.

    An entry is never needed for longer than the tokens it refuses, so keeping it until the next `sweep` is harmless.
    A million entries take about 90 MB, most of it the integers.

    `state` is another object after each `add`, and none of another set's: a token that was not refused under it is
    not refused while it is the same. A caller that keeps the state must have read it *before* asking.
    """

    __slots__ = ("_keys", "_sessions", "_shared", "_users", "state")

    def __init__(self) -> None:
        self._sessions: dict[int, tuple[int, int]] = {}
        self._users: dict[int, tuple[int, int]] = {}
        self._keys: dict[int, tuple[int, int]] = {}
        # Equal (min_version, expires_at) are one object: without it a million entries would take half as much again.
        self._shared: dict[tuple[int, int], tuple[int, int]] = {}
        self.state = object()

    def add(self, kind: Kind, subject: str, min_version: int, expires_at: int) -> None:
        """Refuse a session, a user's tokens below a version, or everything that a key signed.

        An entry is only ever widened: to the larger version and the later end. Repeating one changes nothing.

        :param subject: the session's or the user's id, or the key's `kid`.
        :param min_version: the least `ver` a user's token may still have; without meaning for the other kinds.
        :param expires_at: until when the entry is needed, seconds since 1970. A key's entry is kept for ever.
        :raises ValueError: an unknown kind.
        """
        entries = self._entries(kind)
        mark = mark_of(subject)
        # Rounded up, so that few different values exist; the entry stays up to a minute longer, which does no harm.
        end = NEVER if kind == "key" else -(-expires_at // _ROUND_TO) * _ROUND_TO
        self._widen(entries, mark, min_version, end)
        self.state = object()  # last: who sees the new state sees the entry

    def passing(self) -> Iterator[tuple[Kind, int, tuple[int, int]]]:
        """The entries that end some day, those of sessions and users, for `add_marks`. For the writer thread."""
        yield from (("session", mark, value) for mark, value in self._sessions.items())
        yield from (("user", mark, value) for mark, value in self._users.items())

    def add_marks(self, entries: Iterable[tuple[Kind, int, tuple[int, int]]]) -> None:
        """Refuse what another set refuses, for as long as that does."""
        for kind, mark, value in entries:
            self._widen(self._entries(kind), mark, *value)
        self.state = object()

    def refuses(self, claims: Marked) -> bool:
        """Whether the token's key, its session or its user's version has been revoked."""
        if claims.session_mark in self._sessions or claims.key_mark in self._keys:
            return True
        entry = self._users.get(claims.user_mark)
        # A token that tells no version cannot show that it is newer than the revocation.
        return entry is not None and (claims.ver is None or claims.ver < entry[0])

    def sweep(self, now: int) -> int:
        """Drop the entries that are no longer needed; give their number. Entries of keys are never dropped."""
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
        return True  # an empty set is a set: `revocations or default` must not drop it

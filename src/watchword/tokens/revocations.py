"""Revocations in memory: refusing a token costs no I/O.

One thread (the feed's follower) writes, any number read: a look-up is one atomic `dict.get`, and dicts are replaced,
never emptied.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any, Final, Literal, Protocol

Kind = Literal["session", "user", "key", "scope", "audience"]
Mark = int | str
"""A subject as the set keeps it: a scope or an audience as it is written, anything else as a number."""

NEVER: Final = 2**62
_ENDED: Final = float("-inf")
_STATES: Final = 8
"""More than threads are likely to begin in the same moment."""
_ROUND_TO: Final = 60
_BY_NAME: Final = frozenset(("scope", "audience"))
_NEVER_TAKEN: Final = (0, 0)
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

    @property
    def rver(self) -> int | None:
        """Return the version of the tables of rights when issued."""

    @property
    def actors(self) -> tuple[tuple[int, int | None], ...]:
        """Return the marks and versions of the service accounts that act with it."""

    @property
    def scopes(self) -> frozenset[str]:
        """Return its scopes."""

    @property
    def aud(self) -> tuple[str, ...]:
        """Return its audience."""


Listener = Callable[["RevocationSet", Kind, Mark], None]
"""Hears of an entry: the list, and what the entry names."""


class State:
    """One state of a list. Who passed it is relied on from `since` on and before `until`, or until the next state.

    Times of the clock by which the list's readers judge. A new one is relied on by no one.
    """

    __slots__ = ("since", "until")

    def __init__(self, since: float = 0.0, until: float = _ENDED) -> None:
        self.since, self.until = since, until

    def end(self) -> None:
        """Let no one rely on it any more."""
        self.until = _ENDED


class RevocationSet:
    """Revoked sessions, users and keys; scopes and audiences that were taken away. One writer thread, many readers.

    An entry may outlive its tokens. A million take about 90 MB.

    Each `add` ends `state` and begins one: a token accepted under a state stays accepted until then. Read the state
    *before* asking.
    """

    __slots__ = (
        *("_audiences", "_keys", "_newest", "_scopes", "_sessions", "_shared", "_states", "_users", "listeners"),
        "state",
    )

    def __init__(self) -> None:
        self._sessions: dict[int, tuple[int, int]] = {}
        self._users: dict[int, tuple[int, int]] = {}
        self._keys: dict[int, tuple[int, int]] = {}
        self._scopes: dict[str, tuple[int, int]] = {}
        self._audiences: dict[str, tuple[int, int]] = {}
        self._newest = 0  # version of rights: tokens of it, or of a later one, lost nothing
        # Equal values are one object, which saves a third of the memory.
        self._shared: dict[tuple[int, int], tuple[int, int]] = {}
        self._states: deque[State] = deque()
        self.state = self.begin_state()
        self.listeners: tuple[Listener, ...] = ()
        """Called after each `add`, by the thread that adds."""

    def add(self, kind: Kind, subject: str, min_version: int, expires_at: int) -> None:
        """Refuse a session, all that a key signed, or the tokens below a version: of a user, or with a right.

        An entry is only widened: larger version, later end.

        :param subject: an id, a `kid`, a scope, or an audience.
        :param min_version: a user's least acceptable `ver`; the least `rver` with this scope or audience.
        :param expires_at: seconds since 1970. A key's entry never ends.
        :raises ValueError: an unknown kind.
        """
        mark = subject if kind in _BY_NAME else mark_of(subject)
        # Rounded up, for few different values.
        end = NEVER if kind == "key" else -(-expires_at // _ROUND_TO) * _ROUND_TO
        self._widen(kind, mark, min_version, end)
        self.begin_state()  # last: readers of the new state see the entry
        for heard in self.listeners:
            heard(self, kind, mark)

    def begin_state(self, since: float = 0.0, until: float = _ENDED) -> State:
        """End the state, and begin one. Any thread may."""
        # No lock, which a fork could leave taken: whoever begins one ends all that are known, and a state is known
        # before anyone relies on it. Two threads at once may end each other's.
        self.state = state = State(since, until)
        states = self._states
        states.append(state)
        for each in tuple(states):
            if each is not state:
                each.end()
        while len(states) > _STATES:
            states.popleft().end()
        return state

    def passing(self) -> Iterator[tuple[Kind, Mark, tuple[int, int]]]:
        """Yield the entries that end, for `add_marks`. For the writer thread."""
        yield from (("session", mark, value) for mark, value in self._sessions.items())
        yield from (("user", mark, value) for mark, value in self._users.items())
        yield from (("scope", name, value) for name, value in self._scopes.items())
        yield from (("audience", name, value) for name, value in self._audiences.items())

    def add_marks(self, entries: Iterable[tuple[Kind, Mark, tuple[int, int]]]) -> None:
        """Refuse what another set refuses."""
        for kind, mark, value in entries:
            self._widen(kind, mark, *value)
        self.begin_state()

    def refuses(self, claims: Marked) -> bool:
        """Return whether the token's key, session, user's or actor's version, or a right that it has is revoked."""
        if claims.session_mark in self._sessions or claims.key_mark in self._keys:
            return True
        if self._is_old(claims.user_mark, claims.ver):
            return True
        if claims.actors and any(self._is_old(*each) for each in claims.actors):
            return True
        return (claims.rver or 0) < self._newest and bool(self.lost(claims))

    def refuses_key(self, kid: str) -> bool:
        """Return whether a key was revoked, by its `kid`."""
        return bool(self._keys) and mark_of(kid) in self._keys

    def _is_old(self, mark: int, version: int | None) -> bool:
        entry = self._users.get(mark)
        # Without a version no token proves to be newer.
        return entry is not None and (version is None or version < entry[0])

    def lost(self, claims: Marked) -> list[str]:
        """Return the token's scopes and audiences that were taken away since it was issued."""
        version = claims.rver or 0
        found = [each for each in claims.scopes if version < self._scopes.get(each, _NEVER_TAKEN)[0]]
        return found + [each for each in claims.aud if version < self._audiences.get(each, _NEVER_TAKEN)[0]]

    def sweep(self, now: int) -> int:
        """Drop ended entries; return how many."""
        before = len(self)
        self._sessions = {mark: entry for mark, entry in self._sessions.items() if entry[1] > now}
        self._users = {mark: entry for mark, entry in self._users.items() if entry[1] > now}
        self._scopes = {name: entry for name, entry in self._scopes.items() if entry[1] > now}
        self._audiences = {name: entry for name, entry in self._audiences.items() if entry[1] > now}
        self._shared = {value: value for value in self._shared.values() if value[1] > now}
        return before - len(self)

    def _widen(self, kind: Kind, mark: Mark, min_version: int, end: int) -> None:
        entries = self._entries(kind)
        known = entries.get(mark)
        if known is not None:
            min_version, end = max(min_version, known[0]), max(end, known[1])
        value = (min_version, end)
        entries[mark] = self._shared.setdefault(value, value)
        if kind in _BY_NAME:
            self._newest = max(self._newest, min_version)

    def _entries(self, kind: str) -> dict[Any, tuple[int, int]]:
        if kind == "session":
            return self._sessions
        if kind == "user":
            return self._users
        if kind == "key":
            return self._keys
        if kind == "scope":
            return self._scopes
        if kind == "audience":
            return self._audiences
        raise ValueError(f"unknown kind of revocation: {kind}")

    def __len__(self) -> int:
        return len(self._sessions) + len(self._users) + len(self._keys) + len(self._scopes) + len(self._audiences)

    def __bool__(self) -> bool:
        return True  # `revocations or default` must not drop an empty set

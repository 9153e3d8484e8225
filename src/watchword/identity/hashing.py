"""Password hashes: made and checked in a small pool of threads, at the same cost for everybody.

Argon2id with OWASP's first-choice small setting (19 MiB, two passes, one lane; Password Storage Cheat Sheet) or bcrypt
at cost 12; whichever is preferred, the other still verifies. The pool is as wide as this process's share of the cores
and its queue is bounded: what does not fit is refused at once, so that a storm of log-ins neither stalls refreshes nor
fills the memory.
"""

from __future__ import annotations

import asyncio
import os
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple, Unpack

import argon2
import bcrypt

from watchword.errors import Overloaded
from watchword.identity.addresses import network
from watchword.platforms import cores
from watchword.threads import Threads

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

ARGON2ID = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1, hash_len=32, salt_len=16)
BCRYPT_COST = 12
BCRYPT_MAX_BYTES = 72
PASSWORD_MAX_BYTES = 1024
_QUEUE_PER_THREAD = 64
_PLACES_PER_ADDRESS = 16
# In a crowd a log-in waits behind others anyway; two or three that go on together cost little more than one.
_HOLD_SECONDS = 0.06


def normalise(password: str) -> bytes:
    """The bytes that are hashed: NFKC, so that a password typed on another keyboard is the same.

    SP 800-63B-4 section 3.1.1.2. What is longer than any password may be is not normalised, because that takes time
    which grows with the square of the length: such a password was never set, and matches nothing either way.
    """
    if len(password) > PASSWORD_MAX_BYTES:
        return password.encode()
    return unicodedata.normalize("NFKC", password).encode()


def kind_of(password_hash: str) -> str:
    """Algorithm and parameters, which decide the cost: `$argon2id$v=19$m=19456,t=2,p=1`, `$2b$12`."""
    return "$".join(password_hash.split("$")[: 4 if password_hash.startswith("$argon2") else 3])


def make_hash(password: str, preferred: str) -> str:
    """Hash a password. Takes tens of milliseconds: call it in the pool."""
    data = normalise(password)
    if preferred == "bcrypt":
        return bcrypt.hashpw(data, bcrypt.gensalt(BCRYPT_COST)).decode()
    return ARGON2ID.hash(data)


def matches(password: str, password_hash: str) -> bool:
    """Whether the password is the one that was hashed. Always computes the hash; what is no hash matches nothing."""
    data = normalise(password)
    if password_hash.startswith("$argon2"):
        try:
            return ARGON2ID.verify(password_hash, data)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
    try:
        matched = bcrypt.checkpw(data[:BCRYPT_MAX_BYTES], password_hash.encode())
    except ValueError:
        return False
    # bcrypt cannot see past byte 72; such a password was never accepted with it, so it can match nothing.
    return matched and len(data) <= BCRYPT_MAX_BYTES


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of a password check. `upgrade` is a hash of the preferred kind, when the stored one is not."""

    ok: bool
    upgrade: str | None = None


class Hasher:
    """The pool.

    :param preferred: `argon2id` or `bcrypt`, for new hashes.
    :param width: how many threads; by default this process's share of the cores.
    """

    def __init__(self, preferred: str, *, width: int | None = None, workers: int = 1) -> None:
        self._preferred = preferred
        self._width = width or max(1, cores() // workers)
        self._threads = Threads(self._width, "watchword-hash", hold=_HOLD_SECONDS)
        self._waiting = 0
        self._by_network: Counter[str] = Counter()
        self._samples: dict[str, str] = {}

    @property
    def preferred_kind(self) -> str:
        """The kind that new hashes have."""
        if self._preferred == "bcrypt":
            return f"$2b${BCRYPT_COST}"
        return f"$argon2id$v=19$m={ARGON2ID.memory_cost},t={ARGON2ID.time_cost},p={ARGON2ID.parallelism}"

    def knows(self, kind: str) -> bool:
        """Whether a failed check already pays for this kind."""
        return kind in self._samples

    def learn(self, kind: str, sample: str) -> None:
        """From now on every failed check pays for this kind too. `sample` is a hash of a password that nobody has."""
        self._samples[kind] = sample

    async def sample(self) -> str:
        """A hash of the preferred kind, of a password that nobody has."""
        return await self._in_pool(None, make_hash, os.urandom(16).hex(), self._preferred)

    async def hash(self, password: str, *, address: str | None) -> str:
        """Hash a new password. Raises `Overloaded`."""
        return await self._in_pool(address, make_hash, password, self._preferred)

    async def check(
        self, *, password: str, password_hash: str | None, allowed: bool = True, address: str | None
    ) -> Check:
        """Check a password against a stored hash, or against nobody's when there is none.

        Every failure costs the same, whatever caused it: one hash of each kind present in the database.

        :param allowed: False fails the check whatever the password is (a disabled user), at the same cost.
        :raises Overloaded: the queue, or this address's places in it, are full.
        """
        return await self._in_pool(address, self._check, password, password_hash, allowed)

    def _check(self, password: str, password_hash: str | None, allowed: bool) -> Check:
        kind = None if password_hash is None else kind_of(password_hash)
        if password_hash is not None and matches(password, password_hash) and allowed:
            if kind == self.preferred_kind:
                return Check(ok=True)
            return Check(ok=True, upgrade=self._upgrade(password))
        for other, sample in list(self._samples.items()):
            if other != kind:
                matches(password, sample)
        return Check(ok=False)

    def _upgrade(self, password: str) -> str | None:
        if self._preferred == "bcrypt" and len(normalise(password)) > BCRYPT_MAX_BYTES:
            return None
        return make_hash(password, self._preferred)

    def require_place(self, address: str | None) -> None:
        """Raise `Overloaded` if there is no place for this address now: before any other work is done for an attempt.

        A storm costs least where it is refused first. There may still be none later, when the work is asked for.
        """
        self._require_place(None if address is None else network(address))

    def _require_place(self, place: str | None) -> None:
        if self._waiting >= self._width * _QUEUE_PER_THREAD or (
            place is not None and self._by_network[place] >= _PLACES_PER_ADDRESS
        ):
            raise Overloaded("Too many passwords are being checked right now.", retry_after=1)

    async def _in_pool(self, address: str | None, work: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> T:
        place = None if address is None else network(address)
        self._require_place(place)
        self._enter(place)
        try:
            future = self._threads.run(work, *arguments)
        except BaseException:
            self._leave(place)
            raise
        # The place is given up when the work is done, not when its requester goes away: a client that hangs up and
        # asks again would otherwise fill the queue past its bound.
        future.add_done_callback(lambda _: self._leave(place))
        return await asyncio.shield(future)

    def _enter(self, place: str | None) -> None:
        self._waiting += 1
        if place is not None:
            self._by_network[place] += 1

    def _leave(self, place: str | None) -> None:
        self._waiting -= 1
        if place is not None:
            self._by_network[place] -= 1
            if not self._by_network[place]:
                del self._by_network[place]

    def close(self) -> None:
        """Let the threads end after what they are doing."""
        self._threads.close(drop=True)

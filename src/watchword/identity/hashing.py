"""Password hashes: made and checked in a small pool of threads, at the same cost for everyone.

Argon2id with OWASP's first-choice small setting (19 MiB, two passes, one lane; Password Storage Cheat Sheet) or bcrypt
at cost 12; whichever is preferred, the other still verifies. The pool is as wide as this process's share of the cores
and its queue is bounded: what does not fit is refused at once, so that a storm of log-ins neither stalls refreshes nor
fills the memory. Networks take turns, and in a full queue a newcomer has the place of the latest of the network that
holds the most: one household or company, however many addresses it has, keeps no other out.
"""

from __future__ import annotations

import asyncio
import os
import unicodedata
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar, TypeVarTuple, Unpack

import argon2
import bcrypt

from watchword.errors import Overloaded
from watchword.identity.addresses import circles
from watchword.identity.fair_queue import FairQueue
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
_PLACES = (_PLACES_PER_ADDRESS, 24, 32)  # of a network, of the wider one around it, of the widest
_AHEAD = 3  # pieces of work given to the threads beyond those that they do, so that none waits for the loop


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


class _Job(NamedTuple):
    future: asyncio.Future[Any]
    path: tuple[str, ...]
    work: Callable[..., Any]
    arguments: tuple[Any, ...]


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
        self._threads = Threads(self._width, "watchword-hash")
        self._queue: FairQueue[_Job] = FairQueue()
        self._in_threads = 0
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
        """From now on every failed check pays for this kind too. `sample` is a hash of a password that no one has."""
        self._samples[kind] = sample

    async def sample(self) -> str:
        """A hash of the preferred kind, of a password that no one has."""
        return await self._in_pool(None, make_hash, os.urandom(16).hex(), self._preferred)

    async def hash(self, password: str, *, address: str | None) -> str:
        """Hash a new password. Raises `Overloaded`."""
        return await self._in_pool(address, make_hash, password, self._preferred)

    async def check(
        self, *, password: str, password_hash: str | None, allowed: bool = True, address: str | None
    ) -> Check:
        """Check a password against a stored hash, or against no one's when there is none.

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
        self._require_place(_path(address))

    def _require_place(self, path: tuple[str, ...]) -> None:
        narrow = zip(reversed(path), _PLACES, strict=False)
        if any(name and self._by_network[name] >= most for name, most in narrow) or (
            self._is_full and not self._may_displace(path)
        ):
            raise _overloaded()

    @property
    def _is_full(self) -> bool:
        return self._waiting >= self._width * _QUEUE_PER_THREAD

    def _may_displace(self, path: tuple[str, ...]) -> bool:
        """Whether some network has so much more in the queue that one of its places is this one's."""
        return self._queue.longest() > self._by_network[path[0]] + 1

    async def _in_pool(self, address: str | None, work: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> T:
        path = _path(address)
        self._require_place(path)
        if self._is_full:
            self._displace()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._enter(path)
        self._queue.put(path, _Job(future, path, work, arguments))
        self._feed()
        # The place is given up when the work is done, not when its requester goes away: a client that hangs up and
        # asks again would otherwise fill the queue past its bound.
        return await asyncio.shield(future)

    def _displace(self) -> None:
        job = self._queue.drop()
        self._leave(job.path)
        _fail(job.future, _overloaded())

    def _feed(self) -> None:
        """Give the threads what is next. They get little at a time, since theirs is a queue without turns."""
        while len(self._queue) and self._in_threads < self._width + _AHEAD:
            job = self._queue.take()
            try:
                done = self._threads.run(job.work, *job.arguments)
            except RuntimeError:  # closed
                self._leave(job.path)
                job.future.cancel()
                continue
            self._in_threads += 1
            done.add_done_callback(partial(self._finish, job))

    def _finish(self, job: _Job, done: asyncio.Future[Any]) -> None:
        self._in_threads -= 1
        self._leave(job.path)
        if done.cancelled():
            job.future.cancel()
        elif (failure := done.exception()) is not None:
            _fail(job.future, failure)
        else:
            job.future.set_result(done.result())
        self._feed()

    def _enter(self, path: tuple[str, ...]) -> None:
        self._waiting += 1
        self._by_network.update(path)

    def _leave(self, path: tuple[str, ...]) -> None:
        self._waiting -= 1
        for name in path:
            self._by_network[name] -= 1
            if not self._by_network[name]:
                del self._by_network[name]

    def close(self) -> None:
        """Let the threads end after what they are doing."""
        self._threads.close(drop=True)
        with suppress(IndexError, RuntimeError):  # nothing left, or a loop that is closed: no one is left to hear of it
            while True:
                self._queue.take().future.cancel()


def _path(address: str | None) -> tuple[str, ...]:
    """Where in the queue: the service's own work has a turn of its own, and no bound but the queue's."""
    return ("",) if address is None else circles(address)


def _fail(future: asyncio.Future[Any], failure: BaseException) -> None:
    future.set_exception(failure)
    future.exception()  # it counts as heard: its requester may have gone


def _overloaded() -> Overloaded:
    return Overloaded("Too many passwords are being checked right now.", retry_after=1)

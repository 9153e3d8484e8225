"""Password hashes, made and checked in a small pool of threads.

Argon2id has OWASP's smallest recommended setting (19 MiB, two passes, one lane; Password Storage Cheat Sheet); bcrypt
has cost 12. Both always verify, and so do the forms of other systems (`old_hashes`).

The queue is bounded: a storm of log-ins neither stalls refreshes nor fills the memory. Networks take turns. In a full
queue a newcomer displaces the latest item of the network that has most, so that no network keeps others out.
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

from watchword.addresses import circles
from watchword.clock import monotonic
from watchword.errors import Overloaded
from watchword.identity import hash_costs, old_hashes
from watchword.identity.fair_queue import FairQueue
from watchword.meters import HASH_REFUSALS, HASH_WAIT, UNMETERED, Meters
from watchword.platforms import cores
from watchword.threads import Threads
from watchword.tracing import UNTRACED, Tracer

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
    """Return the NFKC bytes to hash: keyboards differ (SP 800-63B-4 section 3.1.1.2).

    An overlong password is not normalised: that takes quadratic time, and such a password was never set.
    """
    if len(password) > PASSWORD_MAX_BYTES:
        return password.encode()
    return unicodedata.normalize("NFKC", password).encode()


def kind_of(password_hash: str) -> str:
    """Return algorithm and parameters, which decide the cost: `$argon2id$v=19$m=19456,t=2,p=1`, `$2b$12`."""
    if password_hash.startswith(hash_costs.MARK):
        return old_hashes.kind_of(password_hash)
    return "$".join(password_hash.split("$")[: 4 if password_hash.startswith("$argon2") else 3])


def make_hash(password: str, preferred: str) -> str:
    """Hash a password. This takes tens of milliseconds: call it in the pool."""
    data = normalise(password)
    if preferred == "bcrypt":
        return bcrypt.hashpw(data, bcrypt.gensalt(BCRYPT_COST)).decode()
    return ARGON2ID.hash(data)


def matches(password: str, password_hash: str) -> bool:
    """Return whether the password matches. The hash is always computed; a malformed one matches nothing."""
    data = normalise(password)
    if password_hash.startswith(hash_costs.MARK):
        return old_hashes.matches(password, password_hash.removeprefix(hash_costs.MARK), data)
    if password_hash.startswith("$argon2"):
        try:
            return ARGON2ID.verify(password_hash, data)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
    try:
        matched = bcrypt.checkpw(data[:BCRYPT_MAX_BYTES], password_hash.encode())
    except ValueError:
        return False
    # bcrypt ignores bytes past 72; it never accepted such a password.
    return matched and len(data) <= BCRYPT_MAX_BYTES


class _Job(NamedTuple):
    future: asyncio.Future[Any]
    path: tuple[str, ...]
    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    asked_at: float


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of a check. `upgrade` is a hash of the preferred kind, when the stored one is not."""

    ok: bool
    upgrade: str | None = None


class Hasher:
    """The pool.

    :param preferred: `argon2id` or `bcrypt`, for new hashes.
    :param width: threads; by default this process's share of the cores.
    """

    def __init__(
        self,
        preferred: str,
        *,
        width: int | None = None,
        workers: int = 1,
        meters: Meters = UNMETERED,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._preferred = preferred
        self._tracer = tracer
        self._meters = meters
        self._width = width or max(1, cores() // workers)
        self._threads = Threads(self._width, "watchword-hash")
        self._queue: FairQueue[_Job] = FairQueue()
        self._in_threads = 0
        self._waiting = 0
        self._by_network: Counter[str] = Counter()
        self._samples: dict[str, tuple[int, str]] = {}  # family → its most expensive hash

    @property
    def waiting(self) -> int:
        """Return how many passwords are being hashed or wait for it."""
        return self._waiting

    @property
    def preferred_kind(self) -> str:
        """Return the kind of new hashes."""
        if self._preferred == "bcrypt":
            return f"$2b${BCRYPT_COST}"
        return f"$argon2id$v=19$m={ARGON2ID.memory_cost},t={ARGON2ID.time_cost},p={ARGON2ID.parallelism}"

    def knows(self, kind: str) -> bool:
        """Return whether a failed check already pays for this kind."""
        family, units = hash_costs.cost_of(kind)
        return family in self._samples and self._samples[family][0] >= units

    def learn(self, kind: str, sample: str) -> None:
        """Make every failed check pay for this kind too. `sample` is the hash of an unknown password."""
        if not self.knows(kind):
            family, units = hash_costs.cost_of(kind)
            self._samples[family] = (units, sample)

    async def sample(self) -> str:
        """Return a hash, of the preferred kind, of an unknown password."""
        return await self._in_pool(None, make_hash, os.urandom(16).hex(), self._preferred)

    async def hash(self, password: str, *, address: str | None) -> str:
        """Hash a new password. Raises `Overloaded`."""
        return await self._in_pool(address, make_hash, password, self._preferred)

    async def check(
        self, *, password: str, password_hash: str | None, allowed: bool = True, address: str | None
    ) -> Check:
        """Check a password against a stored hash, or a sample when there is none.

        Every failure costs the same: the most expensive hash of each family in the database.

        :param allowed: False fails the check (a disabled user) at the same cost.
        :raises Overloaded: the queue, or this address's share of it, is full.
        """
        return await self._in_pool(address, self._check, password, password_hash, allowed)

    def _check(self, password: str, password_hash: str | None, allowed: bool) -> Check:
        kind = None if password_hash is None else kind_of(password_hash)
        if password_hash is not None and matches(password, password_hash) and allowed:
            if kind == self.preferred_kind:
                return Check(ok=True)
            return Check(ok=True, upgrade=self._upgrade(password))
        self._pay_for_others(password, kind)
        return Check(ok=False)

    def _pay_for_others(self, password: str, checked: str | None) -> None:
        """Do what remains of the work of a failure, after a hash of kind `checked`."""
        done = None if checked is None else hash_costs.cost_of(checked)
        for family, (most, sample) in list(self._samples.items()):
            if done is None or done.family != family:
                matches(password, sample)
                continue
            normal = normalise(password)
            imported = family.startswith(hash_costs.MARK)
            spellings = old_hashes.spellings(password, normal) if imported else (normal,)
            hash_costs.work_off(spellings, done, most)

    def _upgrade(self, password: str) -> str | None:
        if self._preferred == "bcrypt" and len(normalise(password)) > BCRYPT_MAX_BYTES:
            return None
        return make_hash(password, self._preferred)

    def require_place(self, address: str | None) -> None:
        """Raise `Overloaded` if this address has no place now.

        Call it before other work: early refusals are cheapest. The place is not reserved.
        """
        self._require_place(_path(address))

    def _require_place(self, path: tuple[str, ...]) -> None:
        narrow = zip(reversed(path), _PLACES, strict=False)
        if any(name and self._by_network[name] >= most for name, most in narrow) or (
            self._is_full and not self._may_displace(path)
        ):
            self._meters.count(HASH_REFUSALS)
            raise _overloaded()

    @property
    def _is_full(self) -> bool:
        return self._waiting >= self._width * _QUEUE_PER_THREAD

    def _may_displace(self, path: tuple[str, ...]) -> bool:
        """Return whether another network must yield a place."""
        return self._queue.longest() > self._by_network[path[0]] + 1

    async def _in_pool(self, address: str | None, work: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> T:
        path = _path(address)
        self._require_place(path)
        if self._is_full:
            self._displace()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._enter(path)
        self._queue.put(path, _Job(future, path, work, arguments, monotonic()))
        self._feed()
        # The work's end frees the place, not its requester's: a client that hangs up and
        # asks again would otherwise exceed the bound.
        with self._tracer.step("password hash"):
            return await asyncio.shield(future)

    def _displace(self) -> None:
        job = self._queue.drop()
        self._leave(job.path)
        self._meters.count(HASH_REFUSALS)
        _fail(job.future, _overloaded())

    def _feed(self) -> None:
        """Give the threads a little work at a time: their own queue takes no turns."""
        while len(self._queue) and self._in_threads < self._width + _AHEAD:
            job = self._queue.take()
            try:
                done = self._threads.run(_timed, job)
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
            began_at, result = done.result()
            self._meters.observe(HASH_WAIT, began_at - job.asked_at)
            job.future.set_result(result)
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
        """End the threads after their current work."""
        self._threads.close(drop=True)
        with suppress(IndexError, RuntimeError):  # nothing left, or a closed loop
            while True:
                self._queue.take().future.cancel()


def _timed(job: _Job) -> tuple[float, Any]:
    """Return when the work began in its thread, and its result."""
    began_at = monotonic()
    return began_at, job.work(*job.arguments)


def _path(address: str | None) -> tuple[str, ...]:
    """Return the place in the queue. The service's own work takes turns, bounded by the queue only."""
    return ("",) if address is None else circles(address)


def _fail(future: asyncio.Future[Any], failure: BaseException) -> None:
    future.set_exception(failure)
    future.exception()  # mark it as retrieved: its requester may have gone


def _overloaded() -> Overloaded:
    return Overloaded("Too many passwords are being checked right now.", retry_after=1)

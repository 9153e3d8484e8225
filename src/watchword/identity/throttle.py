"""Limits on attempts: counted before the work, given back unless the attempt turns out to be one that counts.

A counter is a window that the first attempt opens and later ones do not extend. Names are hashed to a fixed size, so
that what a client typed is neither stored nor able to grow the store beyond an entry per counter. Only an attempt that
goes ahead is counted at all; what is refused leaves nothing behind, however often it comes.

What counts is said by the pipeline (`Attempt.count`): a proof that was wrong, an account that was made. An attempt
that was not decided, because the database was locked or a queue was full, does not count. Until it is decided it does:
fifty at once get no more guesses than fifty in a row. When a limit is used up by attempts of this process that are not
decided yet, the next one waits a moment for them; so sixteen people behind one address who log in at once all get in.
With several processes one may be refused instead, who then tries again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import NamedTuple

from watchword.clock import Clock, monotonic
from watchword.errors import StorageUnavailable, TooManyAttempts
from watchword.identity import audit
from watchword.identity.addresses import network
from watchword.identity.audit import Peer
from watchword.settings import Limit
from watchword.storage.database import Database, Tx
from watchword.storage.ephemeral import Claim, Ephemeral, Full, Held, is_first
from watchword.tally import Log, Tally

PATIENCE = 2.0
"""Seconds that an attempt waits for others to be decided."""

MOST_WAITING = 32
"""How many wait for one counter."""

_MOST_OWED = 1000  # of counts that could not be given back yet; older ones stay counted until their window ends


class Take(NamedTuple):
    """One attempt counted against one limit: the limit's name, and whose attempt it is."""

    limit: str
    subject: str


class Attempt:
    """An attempt that is being made."""

    def __init__(self) -> None:
        self.counts = False

    def count(self) -> None:
        """Say that this attempt is one of those that are limited: it is not given back."""
        self.counts = True


class Throttle:
    """Counts attempts against the limits of the settings.

    :param limits: name → limit, or None for one that is off.
    """

    def __init__(
        self, database: Database, ephemeral: Ephemeral, limits: Mapping[str, Limit | None], clock: Clock
    ) -> None:
        self._database = database
        self._ephemeral = ephemeral
        self._limits = limits
        self._clock = clock
        self._undecided = _Undecided()
        self._owed: list[Held] = []
        log = Log("watchword.throttle")
        self._refusals = {name: Tally(log, "attempts_refused", level="info") for name in limits}

    async def take(self, *takes: Take, peer: Peer, user: str | None = None) -> None:
        """Count one attempt against each limit, or none if any is used up, whatever comes of it.

        :param user: whose account it is about, for the audit record.
        :raises TooManyAttempts: the first in this order whose limit is used up.
        """
        await self._hold(takes, peer, user, waits=False)

    @asynccontextmanager
    async def attempt(self, *takes: Take, peer: Peer, user: str | None = None) -> AsyncIterator[Attempt]:
        """`take`, for an attempt that is given back unless it says that it counts, whatever error ends it.

        A cancelled one stays counted: hanging up before the answer does not give the guess back.
        """
        held = await self._hold(takes, peer, user, waits=True)
        attempt = Attempt()
        try:
            yield attempt
        except Exception:
            if not attempt.counts:
                await self._give_back(held)
            raise
        else:
            if not attempt.counts:
                await self._give_back(held)
        finally:
            self._undecided.remove(held)

    async def _hold(self, takes: Sequence[Take], peer: Peer, user: str | None, *, waits: bool) -> list[Held]:
        """Count, and with `waits` be among the undecided."""
        active = [(take, limit) for take in takes if (limit := self._limits[take.limit]) is not None]
        claims = [Claim(_name(take), int(limit.window.total_seconds()), limit.quota) for take, limit in active]
        give_up_at = monotonic() + PATIENCE
        await self._pay()
        while True:
            outcome = await self._ephemeral.claim(claims, self._clock.now())
            if not isinstance(outcome, Full):
                if waits:
                    self._undecided.add(outcome)
                return outcome
            name, left = claims[outcome.place].name, give_up_at - monotonic()
            if not waits or not await self._undecided.wait(name, left):
                raise await self._refused(*active[outcome.place], outcome.expires_at, peer, user)

    async def _refused(
        self, take: Take, limit: Limit, expires_at: int, peer: Peer, user: str | None
    ) -> TooManyAttempts:
        """The refusal. Each is counted in the log; each window of each subject has one record in the audit trail."""
        now = self._clock.now()
        left = max(1, expires_at - now)
        self._refusals[take.limit].add(limit=take.limit, address=peer.address, request_id=peer.request_id)
        if await is_first(self._ephemeral, f"refused_{_name(take)}", lifetime=left, now=now):

            async def unit(tx: Tx) -> None:
                await audit.record(tx, "limit_reached", at=now, peer=peer, outcome=take.limit, user=user)

            await self._database.transact(unit)
        window = int(limit.window.total_seconds())
        return TooManyAttempts(limit=take.limit, quota=limit.quota, window=window, retry_after=left)

    async def _give_back(self, held: Sequence[Held]) -> None:
        self._owed += held
        # The counters may lie in the database that was just locked. That is no reason to fail what has succeeded.
        with suppress(StorageUnavailable):
            await self._pay()
            self._undecided.give_way(held)

    async def _pay(self) -> None:
        """Give back what is owed. What cannot be given back just now stays owed."""
        owed, self._owed = self._owed, []
        if not owed:
            return
        try:
            await self._ephemeral.give_back(owed, self._clock.now())
        except BaseException:
            self._owed = (owed + self._owed)[-_MOST_OWED:]
            raise


class _Undecided:
    """This process's attempts that are counted and not decided yet, and who waits for them. Of one event loop."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def add(self, held: Iterable[Held]) -> None:
        """These have been counted and begin."""
        self._counts.update(one.name for one in held)

    def remove(self, held: Iterable[Held]) -> None:
        """These are decided. Who waits is told when there is nothing left to wait for."""
        for name, _ in held:
            self._counts[name] -= 1
            if not self._counts[name]:
                del self._counts[name]
                self._wake(name)

    def give_way(self, held: Iterable[Held]) -> None:
        """These have been given back: there is a place again."""
        for name, _ in held:
            self._wake(name)

    async def wait(self, name: str, seconds: float) -> bool:
        """Wait until it may be worth asking again; False when it is not."""
        waiting = self._waiting.get(name, ())
        if seconds <= 0 or not self._counts[name] or len(waiting) >= MOST_WAITING:
            return False
        woken = asyncio.get_running_loop().create_future()
        self._waiting[name].add(woken)
        try:
            async with asyncio.timeout(seconds):
                await woken
        except TimeoutError:
            return False
        finally:
            self._leave(name, woken)
        return True

    def _wake(self, name: str) -> None:
        # All of them, since one that is woken may have gone away. Those who are too late wait again.
        for waiting in self._waiting.pop(name, ()):
            if not waiting.done():
                waiting.set_result(None)

    def _leave(self, name: str, woken: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(name)
        if waiting is not None:
            waiting.discard(woken)
            if not waiting:
                del self._waiting[name]


def log_in_takes(address: str, account: str) -> tuple[Take, ...]:
    """What one attempt to log in counts against: the address, address and account, the account."""
    place = network(address)
    return (Take("login_address", place), Take("login", f"{place} {account}"), Take("login_account", account))


def session_takes(address: str, account: str) -> tuple[Take, ...]:
    """What a proof that was right counts against: the address, the account. Each may open a session, or change one."""
    return (Take("session_address", network(address)), Take("session", account))


def change_takes(address: str, account: str) -> tuple[Take, ...]:
    """What a change of one's own account counts against: the address, the account."""
    return (Take("change_address", network(address)), Take("change", account))


def conflict_takes(address: str, account: str | None) -> tuple[Take, ...]:
    """What being told that a name is taken counts against: the address, and the account if one asks."""
    place = Take("conflict", network(address))
    return (place,) if account is None else (place, Take("conflict", f"account {account}"))


def register_takes(address: str) -> tuple[Take, ...]:
    """What one attempt to register counts against: the address."""
    return (Take("register", network(address)),)


def _name(take: Take) -> str:
    """The limit's name is the kind of the counter: those of one limit are out of reach of a flood of another's."""
    return f"{take.limit}:{sha256(take.subject.encode()).hexdigest()[:40]}"

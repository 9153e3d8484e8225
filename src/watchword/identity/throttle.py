"""Limit attempts: count each before its work, give it back when it does not matter.

The first attempt opens a window; later ones do not extend it. Names are hashed to a fixed size: what a client typed is
not stored, and cannot grow the store. A refused attempt is not counted.

An undecided attempt counts as a *failure*: fifty at once get no more guesses than fifty in a row. An attempt waits
briefly for this process's undecided ones: sixteen people behind one address can log in together. With several processes
one of them may be refused, and try again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import Any, TypeVar

from watchword.clock import Clock, monotonic
from watchword.errors import StorageUnavailable, TooManyAttempts, Unauthenticated
from watchword.identity import audit
from watchword.identity.audit import Client
from watchword.identity.takes import OCCASION_OF, Take, policies_of
from watchword.meters import LIMITED, UNMETERED, Meters
from watchword.settings import Limit
from watchword.storage.database import Database, Tx
from watchword.storage.ephemeral import Ephemeral, Exhausted, Quota, Reservation, is_first
from watchword.tally import Log, Tally

PATIENCE = 2.0
"""Seconds to wait for undecided attempts."""

MOST_WAITING = 32
"""Attempts that wait for one counter."""

LONGEST_WINDOW = 4 * 3600
"""Seconds to which a window grows, and no further: the owner on an unknown device waits as long as those who guess."""

REMEMBERED = 86_400
"""Seconds for which failures make windows grow, from the first on."""

MOST_OWED = 4096
"""Attempts to give back once the database returns."""

T = TypeVar("T")


class Attempt:
    """An attempt. Once decided, `counts` stays.

    True: it is counted, as a wrong proof is, or what a right one opens. False: it is given back.
    """

    def __init__(self) -> None:
        self.counts: bool | None = None

    @property
    def succeeded(self) -> bool:
        """Tell whether a limit of failures has nothing to count."""
        return self.counts is False

    @succeeded.setter
    def succeeded(self, succeeded: bool) -> None:
        self.counts = not succeeded

    def left_by(self, error: BaseException | None) -> bool:
        """Tell whether it counts, after ending with this error.

        `Unauthenticated` is a decision. Other errors are not the client's fault, and give it back. A cancellation, or
        no decision, counts: otherwise a guess might be free.
        """
        if self.counts is not None:
            return self.counts
        return error is None or isinstance(error, Unauthenticated) or not isinstance(error, Exception)


class Throttle:
    """Counts attempts against the limits of the settings.

    :param limits: name → limit, or None for one that is off.
    """

    def __init__(
        self,
        database: Database,
        ephemeral: Ephemeral,
        limits: Mapping[str, Limit | None],
        clock: Clock,
        meters: Meters = UNMETERED,
    ) -> None:
        self._meters = meters
        meters.declare(LIMITED, limits)
        self._database = database
        self._ephemeral = ephemeral
        self._limits = limits
        self.policies = policies_of(limits)
        self._clock = clock
        self._undecided = _Undecided()
        self._owed: deque[Sequence[Reservation]] = deque(maxlen=MOST_OWED)
        log = Log("watchword.throttle")
        self._refusals = {name: Tally(log, "attempts_refused", level="info") for name in limits}

    async def take(self, *takes: Take, client: Client, user: str | None = None) -> None:
        """Count one attempt against every limit, or none when one is used up. Nothing gives it back.

        :param user: the account, or service account, for the audit record.
        :raises TooManyAttempts: for the first used-up limit.
        """
        await self._hold(takes, client, user, waits=False)

    async def grants(self, take: Take) -> bool:
        """Count as `take`, for work that no client waits for; False where the limit is used up. No record tells."""
        limit = self._limits[take.limit]
        if limit is None:
            return True
        quota = Quota(_name(take), int(limit.window.total_seconds()), limit.quota * take.times)
        return not isinstance(await self._reserve([quota]), Exhausted)

    @asynccontextmanager
    async def attempt(self, *takes: Take, client: Client, user: str | None = None) -> AsyncIterator[Attempt]:
        """Count as `take`, and give the attempt back unless it `counts`."""
        async with self._settled(await self._hold(takes, client, user, waits=True), takes) as attempt:
            yield attempt

    async def run(
        self, work: Callable[[Attempt], Coroutine[Any, Any, T]], *takes: Take, client: Client, user: str | None = None
    ) -> T:
        """Run `attempt` around work that goes on when its requester is cancelled.

        Hanging up neither gives a guess back nor makes a right proof count.
        """
        held = await self._hold(takes, client, user, waits=True)

        async def settled() -> T:
            async with self._settled(held, takes) as attempt:
                return await work(attempt)

        working = asyncio.ensure_future(settled())
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            working.add_done_callback(_heard)
            raise

    @asynccontextmanager
    async def _settled(self, held: list[Reservation], takes: Sequence[Take]) -> AsyncIterator[Attempt]:
        attempt = Attempt()
        failure: BaseException | None = None
        try:
            yield attempt
        except BaseException as error:
            failure = error
            raise
        finally:
            try:
                if not attempt.left_by(failure):
                    await self._give_back(held)
                else:
                    await self._note_failure(takes)
            finally:
                del failure
                self._undecided.remove(held)

    async def _hold(self, takes: Sequence[Take], client: Client, user: str | None, *, waits: bool) -> list[Reservation]:
        active = [(take, limit) for take in takes if (limit := self._limits[take.limit]) is not None]
        quotas = [
            Quota(_name(take), await self._window(take, limit, takes), limit.quota * take.times)
            for take, limit in active
        ]
        give_up_at = monotonic() + PATIENCE
        if self._owed:
            await self._repay()
        while True:
            outcome = await self._reserve(quotas)
            if not isinstance(outcome, Exhausted):
                if waits:
                    self._undecided.add(outcome)
                return outcome
            name, left = quotas[outcome.place].name, give_up_at - monotonic()
            if not waits or not await self._undecided.wait(name, left):
                raise await self._refused(*active[outcome.place], outcome.expires_at, client, user)

    async def _window(self, take: Take, limit: Limit, takes: Sequence[Take]) -> int:
        """Return the seconds of a window that would open now."""
        window = int(limit.window.total_seconds())
        if not take.grows:
            return window
        counted = await self._ephemeral.count(_guessed(take), by=0, lifetime=REMEMBERED, now=self._clock.now())
        return grown(window, counted.amount // max(1, limit.quota * take.times - self._alone(takes)))

    async def _note_failure(self, takes: Sequence[Take]) -> None:
        """Count a failure by which a window grows, if it is one more than a network alone may have in a window.

        Were only windows noted that are used up, someone who stops one guess before would go on at full speed.
        """
        for take in takes:
            if take.grows and self._limits[take.limit] is not None:
                now = self._clock.now()
                with suppress(StorageUnavailable):  # the failure is answered as one
                    counted = await self._ephemeral.count(_name(take), by=0, lifetime=0, now=now)
                    if counted.amount > self._alone(takes):
                        await self._ephemeral.count(_guessed(take), lifetime=REMEMBERED, now=now)

    def _alone(self, takes: Sequence[Take]) -> int:
        """Return how many failures one network may have in a window: the least of the limits that do not grow."""
        fixed = [(take, limit) for take in takes if not take.grows and (limit := self._limits[take.limit]) is not None]
        return min((limit.quota * take.times for take, limit in fixed), default=0)

    async def _reserve(self, quotas: Sequence[Quota]) -> list[Reservation] | Exhausted:
        """Reserve quota; what a cancelled requester was granted is owed."""
        reserving = asyncio.ensure_future(self._ephemeral.reserve(quotas, self._clock.now()))
        try:
            return await asyncio.shield(reserving)
        except asyncio.CancelledError:
            reserving.add_done_callback(self._owe)
            raise

    def _owe(self, reserving: asyncio.Future[list[Reservation] | Exhausted]) -> None:
        if not reserving.cancelled() and reserving.exception() is None:
            outcome = reserving.result()
            if not isinstance(outcome, Exhausted):
                self._owed.append(outcome)

    async def _refused(
        self, take: Take, limit: Limit, expires_at: int, client: Client, user: str | None
    ) -> TooManyAttempts:
        """Log each refusal, and audit one per window and subject."""
        now = self._clock.now()
        left = max(1, expires_at - now)
        self._meters.count(LIMITED, take.limit)
        self._refusals[take.limit].add(limit=take.limit, address=client.address, request_id=client.request_id)
        if await is_first(self._ephemeral, f"refused_{_name(take)}", lifetime=left, now=now):

            async def unit(tx: Tx) -> None:
                await audit.record(tx, "limit_reached", at=now, client=client, outcome=take.limit, user=user)

            await self._database.transact(unit)
        policy = OCCASION_OF.get(take.limit, take.limit)
        told = self.policies.get(policy, limit)
        window = int(told.window.total_seconds())
        return TooManyAttempts(limit=take.limit, policy=policy, quota=told.quota, window=window, retry_after=left)

    async def _give_back(self, held: Sequence[Reservation]) -> None:
        # Owed: a failed return must not fail what has succeeded.
        try:
            await self._ephemeral.give_back(held, self._clock.now())
        except StorageUnavailable:
            self._owed.append(held)
        else:
            self._undecided.give_way(held)

    async def _repay(self) -> None:
        """Give back what is owed: no one is refused because the database was away."""
        with suppress(IndexError):
            while True:
                held = self._owed.popleft()
                owed = len(self._owed)
                await self._give_back(held)
                if len(self._owed) > owed:
                    return  # still away


def _heard(work: asyncio.Future[Any]) -> None:
    """Read a late error, or asyncio reports it as never retrieved."""
    if not work.cancelled():
        work.exception()


class _Undecided:
    """This process's undecided attempts, and their waiters. Of one event loop."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def add(self, held: Iterable[Reservation]) -> None:
        self._counts.update(one.name for one in held)

    def remove(self, held: Iterable[Reservation]) -> None:
        """Wake waiters when nothing undecided is left."""
        for name, _ in held:
            self._counts[name] -= 1
            if not self._counts[name]:
                del self._counts[name]
                self._wake(name)

    def give_way(self, held: Iterable[Reservation]) -> None:
        """Wake waiters: a place was given back."""
        for name, _ in held:
            self._wake(name)

    async def wait(self, name: str, seconds: float) -> bool:
        """Wait until asking again may help; False when it will not."""
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
        # Wake all: one may have gone away. Late ones wait again.
        for waiting in self._waiting.pop(name, ()):
            if not waiting.done():
                waiting.set_result(None)

    def _leave(self, name: str, woken: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(name)
        if waiting is not None:
            waiting.discard(woken)
            if not waiting:
                del self._waiting[name]


def grown(window: int, times: int) -> int:
    """Return the seconds of a window: twice as long each time that a day's failures would have used it up."""
    return max(window, min(window << min(times, 16), LONGEST_WINDOW))


def _name(take: Take) -> str:
    """Put the limit first: a flood of one limit cannot evict another's counters."""
    kind = take.limit if take.times == 1 else f"{take.limit}_{take.times}"
    return f"{kind}:{sha256(take.subject.encode()).hexdigest()[:40]}"


def _guessed(take: Take) -> str:
    """Name the counter of a day's failures beyond those of one network."""
    return f"guessed_{_name(take)}"

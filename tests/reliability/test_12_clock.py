"""The clock of the service, or of a guard, is set wrong and put right again: nothing that is over is good once more."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.identity.scenes import HOME, proven
from tests.reliability.conftest import Launch, on
from tests.reliability.journal import Clients, Journal, clients
from tests.reliability.model import claims_of
from tests.reliability.moved_clock import SWEEPS
from tests.reliability.rows import Row
from tests.reliability.service import Service
from watchword.clock import SystemClock
from watchword.errors import WatchwordError
from watchword.guard import Guard
from watchword.identity.granting import unchecked
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.opening import opened

JUMPS = (60, -60, 300, -3600)
AGES = (4500, 4400, 3700, 3590, 3000, 1100, 1020, 905, 895, 700, 600, 30, 0)
"""Seconds since the log-in when the clock jumps: around the life of a token, and where a jump back makes it young."""
SETTLED = 1.5
"""Seconds in which the service and the guards sweep, which they do each second."""
PATIENCE = 60
"""Seconds until everyone has read what was revoked: a busy machine may take long."""


@dataclass
class Held:
    """A token, and whether its session was ended in time."""

    token: str
    revoked: bool
    issued: int
    expires: int


class Watching:
    """Guards and the service, asked about every token again and again."""

    def __init__(self, service: Service, people: Clients, stack: ExitStack) -> None:
        self.service = service
        self.people = people
        self.asked = 0
        self.past: list[str] = []
        self.undone: list[str] = []
        self.refused: list[str] = []
        self.apart = 0
        """Seconds by which the clock of one guard is ahead of the service's."""
        self.same = self._guard(stack, service.clock.read)
        self.other = self._guard(stack, lambda: service.clock.read() + self.apart)

    def _guard(self, stack: ExitStack, read: object) -> Guard:
        guard = Guard(self.service.origin, url=self.service.origin, clock=SystemClock(read))  # type: ignore[arg-type]
        assert guard.wait_until_ready(30)
        stack.callback(guard.stop)
        return guard

    async def caught_up(self, all_of_them: list[Held]) -> None:
        """Wait until everyone has read the last revocation; the service's processes, one after the other, ten times."""
        newest = [held.token for held in all_of_them if held.revoked][-1]
        give_up_at, refused = time.monotonic() + PATIENCE, 0
        while refused < 10:
            assert time.monotonic() < give_up_at, "what was revoked is not refused"
            here = not (await self.people.verify(newest)).done
            refused = (
                refused + 1 if here and not _accepts(self.same, newest) and not _accepts(self.other, newest) else 0
            )
            await asyncio.sleep(0.05)

    async def look(self, all_of_them: list[Held], when: str) -> None:
        """Ask everyone about each token."""
        await asyncio.sleep(SETTLED)
        now = int(self.service.clock.read())
        for held in all_of_them:
            answers = [await self.people.verify(held.token) for _ in range(2)]
            self._judge(held, any(answer.done for answer in answers), now, f"service, {when}")
            good = held.issued <= now < held.expires and not held.revoked
            if good and not all(answer.done for answer in answers):
                self.refused.append(f"service, {when}: {now - held.issued} s old, {answers[0].answer}")
            self._judge(held, _accepts(self.same, held.token), now, f"guard beside it, {when}")
            self._judge(held, _accepts(self.other, held.token), now + self.apart, f"guard elsewhere, {when}")

    def _judge(self, held: Held, accepted: bool, now: int, where: str) -> None:
        self.asked += 1
        if accepted and now >= held.expires:
            self.past.append(f"{where}: {now - held.expires} s past its end")
        if accepted and held.revoked:
            self.undone.append(f"{where}: {now - held.issued} s old")


def _accepts(guard: Guard, token: str) -> bool:
    try:
        guard.verify(token)
    except WatchwordError:
        return False
    return True


@pytest.mark.experiment(12, "clock of the service or of a guard set ± 60 s, + 5 min, − 1 h, and put right")
@pytest.mark.timeout(900)
@on(("sqlite", 1), ("postgres", 2), quick=("sqlite", 1))
async def test_what_is_over_stays_over(launch: Launch, journal: Journal, row: Row) -> None:
    """No token is accepted past its end by the clock of the one who verifies, and none whose session was ended."""
    service = launch(**{SWEEPS: "1"})
    service.clock.stop()
    jumps = JUMPS if row.timed else (300,)
    names = itertools.count()
    with ExitStack() as stack:
        async with clients(service.url, journal) as people:
            watching = Watching(service, people, stack)
            for jump in jumps:
                await _jump(service, watching, jump, names, longer=row.timed)
    row.tried("jumps", 2 * len(jumps))
    row.tried("questions", watching.asked)
    row.none("accepted past its end", watching.past)
    row.none("revocations undone", watching.undone)
    row.none("good tokens that the service refused", watching.refused)


async def _jump(service: Service, watching: Watching, jump: int, names: itertools.count[int], *, longer: bool) -> None:
    """Log in at each age before, end every other session, then set the clock wrong and put it right."""
    clock, all_of_them = SystemClock(service.clock.read), list[Held]()
    async with opened(service.settings, clock=clock) as kernel:
        for age, younger in itertools.pairwise((*AGES, 0)):
            all_of_them += [await _held(kernel, f"ada{next(names)}", revoked=revoked) for revoked in (True, False)]
            service.clock.advance(age - younger)
            await asyncio.sleep(0.05)
    await watching.caught_up(all_of_them)
    await watching.look(all_of_them, "right")
    service.clock.advance(jump)
    await watching.look(all_of_them, f"{jump:+} s")
    later = 0
    if longer and jump < -600:  # it stays wrong for a while
        for _ in range(4):
            service.clock.advance(600)
            later += 600
            await watching.look(all_of_them, f"{jump:+} s for {later} s")
    service.clock.advance(-jump)
    await watching.look(all_of_them, f"right again after {jump:+} s")
    watching.apart = jump
    await watching.look(all_of_them, f"one guard {jump:+} s")
    watching.apart = 0
    await watching.look(all_of_them, f"right again after one guard had {jump:+} s")


async def _held(kernel: Kernel, name: str, *, revoked: bool) -> Held:
    await kernel.users.create(username=name, email=None, password=None, client=HOME, check=unchecked)
    came = await kernel.login.attempt(name, proven, client=HOME, client_id=FIRST_PARTY)
    claims = claims_of(came.tokens.access_token)
    if revoked:
        await kernel.sessions.log_out(claims=None, presented=came.tokens.refresh_token, client=HOME)
    return Held(came.tokens.access_token, revoked, claims["iat"], claims["exp"])

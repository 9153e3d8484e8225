"""Random schedules of honest clients and of thieves, over HTTP, while the service's clock jumps from use to use.

The oracle of `tests/identity/test_rule.py` judges each answer: it keeps the whole history of a session, where the
service keeps a row.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from tests.identity.scenes import HOME, proven
from tests.identity.test_rule import GRACE, START, Violation, first_world, judge
from tests.reliability.conftest import Launch, on
from tests.reliability.journal import Clients, Journal, clients
from tests.reliability.rows import Row
from tests.reliability.service import Service
from watchword import base64url
from watchword.clock import SystemClock
from watchword.identity.granting import unchecked
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.sessions.rule import SentKey, Verdict
from watchword.opening import opened

HONEST, THEFTS, AT_ONCE = 10_000, 1_000, 32
USES = 4
DAY = 86_400
SAID = {
    "refresh_token_reused": Verdict.REUSE,
    "refresh_superseded": Verdict.SUPERSEDED,
    "session_ended": Verdict.ENDED,
}


@dataclass
class Schedule:
    """One session, who uses it when, and what they hold.

    :param keyed: the honest client keeps a retry key beside each token, and takes its time after a lost answer; the
        thief has the token alone.
    """

    chance: random.Random
    stolen: bool
    keyed: bool
    tokens: list[str]
    minted: list[int] = field(default_factory=lambda: [0])
    keys: list[str] = field(default_factory=lambda: [""])
    ended: bool = False
    jar: int = 0
    slow: int = 0
    thief: int = 0
    left: int = USES
    found: list[str] = field(default_factory=list)

    def gap(self) -> int:
        """Seconds to the next use: within the grace, at its edge, beyond it, or days later."""
        return self.chance.choice((0, 1, 7, 29, 30, 31, 60, 900, 901, 3600, DAY, 6 * DAY))

    async def use(self, people: Clients, now: int) -> int | None:
        """Do what is due; return in how many seconds the next use is, or None after the last."""
        self.left -= 1
        if self.left < 0:
            return await self._last(people, now)
        if self.stolen:
            await self._send(people, "thief" if self.chance.random() < 0.5 else "jar", now)
            return self.gap() if self.left else GRACE + 1
        lost = self.chance.random() < 0.3
        await self._send(people, "jar", now, lost=lost)
        if lost and self.keyed:
            return self.gap()  # hours later, or days
        if lost:  # the client tries again while the grace lasts, perhaps twice at once
            again = [self._send(people, "jar", now) for _ in range(self.chance.choice((1, 2)))]
            await asyncio.gather(*again)
        elif self.chance.random() < 0.3:  # a tab that had read the jar before
            await self._send(people, "slow", now)
        return self.gap()

    async def _last(self, people: Clients, now: int) -> int | None:
        """The honest one is still logged in; of a theft, the one who is behind comes now and is caught."""
        if not self.stolen and self.jar < len(self.tokens) - 1:
            await self._send(people, "jar", now)  # its last answer was lost
        if self.stolen and self.jar == self.thief and not self.ended:
            await self._send(people, "jar", now)  # it has only used the grace so far: leave it behind
            return GRACE + 1
        if self.stolen:
            await self._send(people, "jar" if self.jar < self.thief else "thief", now)
        if self.stolen != self.ended:
            self.found.append(f"stolen: {self.stolen}, ended: {self.ended}")
        else:
            answer = await people.refresh_cookie(self.tokens[-1])
            if answer.done == self.stolen:
                self.found.append(f"the newest token of a session, stolen: {self.stolen}, got {answer.status}")
        return None

    async def _send(self, people: Clients, who: str, now: int, *, lost: bool = False) -> None:
        sent: int = getattr(self, who)
        key = base64url.encode_text(sent.to_bytes(16, "big")) if self.keyed and who != "thief" else ""
        answer = await people.refresh_cookie(self.tokens[sent], key or None)
        newest = len(self.tokens) - 1
        if answer.done:
            verdict = self._issued(answer.answer["refresh_token"], now, key)
        else:
            verdict = SAID.get(answer.answer.get("code", ""), Verdict.ROLLED_BACK)
        self._judged(sent, now, verdict, newest, SentKey(key, shared=True))
        self.ended = self.ended or verdict is Verdict.REUSE
        if answer.done and not lost:
            if who != "thief":
                self.slow, self.jar = self.jar, max(self.jar, sent + 1)
            else:
                self.thief = sent + 1

    def _issued(self, token: str, now: int, key: str) -> Verdict:
        if token in self.tokens:
            return Verdict.GRACE
        self.tokens.append(token)
        self.minted.append(now)
        self.keys.append(key)
        return Verdict.ROTATE

    def _judged(self, sent: int, now: int, verdict: Verdict, newest: int, key: SentKey) -> None:
        """Ask the oracle what may come of it; an honest schedule never ends its session."""
        world = first_world()
        row = world.row._replace(ended_at=START if self.ended else None)
        minted, keys = tuple(self.minted[: newest + 1]), tuple(self.keys[: newest + 1])
        try:
            judge(world._replace(row=row, minted=minted, keys=keys), sent, now, verdict, key)
        except Violation as violation:
            self.found.append(f"{violation} (sent {sent} of {newest}, {verdict})")
        if not self.stolen and verdict in (Verdict.REUSE, Verdict.ENDED, Verdict.ROLLED_BACK):
            self.found.append(f"false alarm: {verdict}")


@pytest.mark.experiment(2, "10,000 random honest schedules and 1,000 thefts, clock moved")
@pytest.mark.timeout(1800)
@on(("sqlite", 1), ("postgres", 2), quick=("sqlite", 1))
async def test_schedules(launch: Launch, journal: Journal, row: Row) -> None:
    """No honest client is logged out, and every theft is caught at the first use beyond the grace.

    Every other client has retry keys.
    """
    service = launch(WATCHWORD_REFRESH_IDLE="60d", WATCHWORD_SESSION_LIFETIME="365d")
    honest, thefts = row.times(HONEST, least=50), row.times(THEFTS, least=50)
    service.clock.stop()
    tokens = [token async for token in _sessions(service, honest + thefts)]
    all_of_them = [
        Schedule(random.Random(n), n >= honest, keyed=n % 2 == 1, tokens=[token]) for n, token in enumerate(tokens)
    ]
    async with clients(service.url, journal, at_once=AT_ONCE, seconds=120) as people:
        await _played(service, people, all_of_them)
    stolen = [one for one in all_of_them if one.stolen]
    row.tried("honest schedules", honest)
    row.tried("thefts", thefts)
    row.tried("refreshes", len(journal.entries))
    row.none("false alarms", [each for one in all_of_them if not one.stolen for each in one.found])
    row.none("thefts missed or noticed late", [each for one in stolen for each in one.found])
    row.none("other errors", [entry for entry in journal.entries if entry.unknown])
    row.exactly("sessions ended by thefts", sum(one.ended for one in stolen), thefts)


async def _sessions(service: Service, number: int) -> AsyncIterator[str]:
    """Open sessions by a process beside the service, so that none costs a hash; fifty for each user."""
    async with opened(service.settings, clock=SystemClock(service.clock.read)) as kernel:
        for place in range(number):
            if place % 50 == 0:
                name = f"ada{place}"
                await kernel.users.create(username=name, email=None, password=None, client=HOME, check=unchecked)
            opened_ = await kernel.login.attempt(name, proven, client=HOME, client_id=FIRST_PARTY, replacing=None)
            yield opened_.tokens.refresh_token


async def _played(service: Service, people: Clients, schedules: list[Schedule]) -> None:
    """Move the clock to the next use of any, and let all that are due do it."""
    now, order = 0, 0
    due: list[tuple[int, int, Schedule]] = []
    for schedule in schedules:
        heapq.heappush(due, (schedule.gap(), (order := order + 1), schedule))
    while due:
        at = due[0][0]
        service.clock.advance(at - now)
        now, batch = at, []
        while due and due[0][0] == at:
            batch.append(heapq.heappop(due)[2])
        for start in range(0, len(batch), AT_ONCE):
            part = batch[start : start + AT_ONCE]
            for schedule, gap in zip(part, await asyncio.gather(*(one.use(people, now) for one in part)), strict=True):
                if gap is not None:
                    heapq.heappush(due, (now + gap, (order := order + 1), schedule))

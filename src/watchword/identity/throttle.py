"""Limits on attempts: counted before the work, given back when the attempt succeeds.

A counter is a window that the first attempt opens and later ones do not extend. Names are hashed to a fixed size, so
that what a client typed is neither stored nor able to grow the store beyond a row per counter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from watchword.clock import Clock
from watchword.errors import TooManyAttempts
from watchword.identity.addresses import network
from watchword.settings import Limit
from watchword.storage.ephemeral import Ephemeral


class Take(NamedTuple):
    """One attempt counted against one limit: the limit's name, and whose attempt it is."""

    limit: str
    subject: str


class Throttle:
    """Counts attempts against the limits of the settings.

    :param limits: name → limit, or None for one that is off.
    """

    def __init__(self, ephemeral: Ephemeral, limits: Mapping[str, Limit | None], clock: Clock) -> None:
        self._ephemeral = ephemeral
        self._limits = limits
        self._clock = clock

    async def take(self, *takes: Take) -> list[tuple[str, int]]:
        """Count one attempt against each limit, given narrowest first; what to give back.

        Raises `TooManyAttempts` when any is used up; the attempt then counts against none of the others, so that
        one address hammering an account does not use up what the account's owner has elsewhere.
        """
        active = [(take, limit) for take in takes if (limit := self._limits[take.limit]) is not None]
        taken: list[tuple[str, int]] = []
        # The narrowest first and by itself: were all counted at once, a hundred attempts in flight from one address
        # would use up the account for everybody until they are given back.
        for stage in (active[:1], active[1:]):
            taken += await self._take(stage, taken)
        return taken

    async def _take(self, stage: Sequence[tuple[Take, Limit]], before: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Count on several limits at once; those and the ones before are given back when any is used up."""
        names = [(_name(take), int(limit.window.total_seconds())) for take, limit in stage]
        now = self._clock.now()
        counted = await self._ephemeral.count_all(names, now=now) if names else []
        for (take, limit), count in zip(stage, counted, strict=True):
            if count.amount > limit.quota:
                await self.give_back([*before, *names])
                raise TooManyAttempts(
                    limit=take.limit,
                    quota=limit.quota,
                    window=int(limit.window.total_seconds()),
                    retry_after=max(1, count.expires_at - now),
                )
        return names

    async def give_back(self, taken: list[tuple[str, int]]) -> None:
        """Uncount an attempt that turned out to be an honest one."""
        now = self._clock.now()
        for name, lifetime in taken:
            await self._ephemeral.count(name, by=-1, lifetime=lifetime, now=now)


def log_in_takes(address: str, account: str) -> tuple[Take, ...]:
    """What one attempt to log in counts against: address and account, the address, the account."""
    place = network(address)
    return (Take("login", f"{place} {account}"), Take("login_address", place), Take("login_account", account))


def _name(take: Take) -> str:
    return sha256(f"{take.limit} {take.subject}".encode()).hexdigest()[:40]


def register_takes(address: str) -> tuple[Take, ...]:
    """What one attempt to register counts against: the address."""
    return (Take("register", network(address)),)

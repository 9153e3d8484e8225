"""A refresh beside a change of the user, with a pause between what each wrote and its commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from tests.identity.scenes import HOME, Opener, give_roles, join, log_in
from watchword.clock import FixedClock
from watchword.errors import TokenError
from watchword.identity import sweeping
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.sessions.sessions import Tokens
from watchword.identity.users import User
from watchword.storage.database import Database, Tx, Unit
from watchword.storage.sqlite import SQLite

LONGEST_PAUSE = 0.004
Change = Callable[[Kernel, User, int], Awaitable[User]]


async def change_roles(kernel: Kernel, user: User, turn: int) -> User:
    """Give the user other roles."""
    return await give_roles(kernel, user.id, (f"role-{turn}",))


async def change_email(kernel: Kernel, user: User, turn: int) -> User:
    """Give the user another address."""

    async def check(_: Tx) -> None:
        return None

    email = f"alice-{turn}@example.org"
    return await kernel.users.change_identifiers(user, username=None, email=email, client=HOME, check=check)


class Slow:
    """A database whose units pause before their commit. SQLite's cannot: there one unit ends before the next."""

    def __init__(self, database: Database, chance: Random) -> None:
        self._database = database
        self._chance = chance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def change(self, sql: str, /, **values: Any) -> Any:
        """Run the statement as a unit, and wait inside it."""
        return await self.transact(lambda tx: tx.one(sql, **values))

    async def transact(self, unit: Unit[Any], **given: Any) -> Any:
        """Run the unit, and wait inside it."""

        async def slow(tx: Tx) -> Any:
            result = await unit(tx)
            if not isinstance(self._database, SQLite):
                await asyncio.sleep(self._chance.uniform(0, LONGEST_PAUSE))
            return result

        return await self._database.transact(slow, **given)


async def race(open_kernel: Opener, clock: FixedClock, change: Change, *, rounds: int, seed: int) -> int:
    """Let a refresh and a change begin at random distances, in two processes; how often the refresh came out older.

    No token with an older version may be accepted, by neither process, until it would have expired, whatever is swept.
    """
    chance, older = Random(seed), 0
    limits = dict.fromkeys(("change_limit", "change_address_limit"), "off")
    async with open_kernel(workers=2, **limits) as here, open_kernel(workers=2, **limits) as there:
        user = await join(here)
        tokens = (await log_in(here)).tokens
        for kernel in (here, there):
            slow = Slow(kernel.database, chance)
            kernel.sessions._refresher._database = slow
            kernel.revocations._database = slow
        for turn in range(rounds):
            refreshing = _after(chance, here.sessions.refresh(tokens.refresh_token, client_id=FIRST_PARTY, client=HOME))
            changing = _after(chance, change(there, user, turn))
            tokens, user = await asyncio.gather(refreshing, changing)
            older += await _refused_for_ever((here, there), clock, tokens, user)
    return older


async def _after(chance: Random, work: Awaitable[Any]) -> Any:
    await asyncio.sleep(chance.uniform(0, 2 * LONGEST_PAUSE))
    return await work


async def _refused_for_ever(kernels: tuple[Kernel, ...], clock: FixedClock, tokens: Tokens, user: User) -> bool:
    """Whether the token was an older one, which everyone then refuses until it has expired."""
    accepted = [await _version(kernel, tokens) for kernel in kernels]
    assert {version for version in accepted if version is not None} <= {user.token_version}
    is_older = accepted == [None, None]
    for seconds in (1, tokens.expires_in - 2, 2):  # the last second of its life, and the first after it
        clock.advance(seconds)
        await sweeping.sweep(kernels[0].database, clock.now())
        for kernel in kernels:
            kernel.revocations.sweep()
            assert await _version(kernel, tokens) in ({None} if is_older else {None, user.token_version})
    return is_older


async def _version(kernel: Kernel, tokens: Tokens) -> int | None:
    """The version in the token, or None for one that is refused."""
    await kernel.revocations.poll()
    try:
        return kernel.verifier.verify(tokens.access_token).ver
    except TokenError as refused:
        if refused.code not in {"token_revoked", "token_expired"}:
            pytest.fail(refused.code)
        return None

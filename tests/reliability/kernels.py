"""Kernels on the engine of an experiment, and a database that stops at each step to ask what should happen there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from typing import Any

from watchword import opening
from watchword.clock import Clock
from watchword.identity.kernel import Kernel
from watchword.settings import Settings
from watchword.settings.table import SETTINGS
from watchword.storage.database import Database, Tx, Unit

SECRET = "cG9zdGdyZXMgdGVzdHMgbmVlZCBhIHNlY3JldCwgdG9vIQ"
UNLIMITED = {setting.name: "off" for setting in SETTINGS if setting.name.endswith("_limit")}
Step = Callable[[], Awaitable[None]]


async def go_on() -> None:
    """Do nothing at a step."""


class Stepping:
    """What a kernel does at each step: before and after each call of the database, and each statement of a unit.

    On SQLite a step within a unit must not wait: there a unit runs to its end at once.
    """

    def __init__(self) -> None:
        self.outside: Step = go_on
        self.inside: Step = go_on

    @contextmanager
    def at(self, outside: Step, inside: Step) -> Iterator[None]:
        """Do this at each step meanwhile."""
        self.outside, self.inside = outside, inside
        try:
            yield
        finally:
            self.outside = self.inside = go_on

    def pausing(self, chance: Random, longest: float, *, inside: bool) -> AbstractContextManager[None]:
        """Pause at each step meanwhile, for some part of so many seconds."""

        async def pause() -> None:
            await asyncio.sleep(chance.uniform(0, longest))

        return self.at(pause, pause if inside else go_on)


class _Database:
    """A database with steps."""

    def __init__(self, database: Database, stepping: Stepping) -> None:
        self._database = database
        self._stepping = stepping

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._database, name)
        if name not in ("one", "all", "scan", "run", "change"):
            return found

        async def call(*given: Any, **values: Any) -> Any:
            return await self._around(found, *given, **values)

        return call

    async def transact(self, unit: Unit[Any], **given: Any) -> Any:
        """Run the unit, with a step before and after each statement."""

        async def stepwise(tx: Tx) -> Any:
            return await unit(_Tx(tx, self._stepping))  # type: ignore[arg-type]

        return await self._around(self._database.transact, stepwise, **given)

    async def _around(self, call: Callable[..., Awaitable[Any]], *given: Any, **values: Any) -> Any:
        await self._stepping.outside()
        result = await call(*given, **values)
        await self._stepping.outside()
        return result


class _Tx:
    def __init__(self, tx: Tx, stepping: Stepping) -> None:
        self._tx = tx
        self._stepping = stepping

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._tx, name)

        async def call(*given: Any, **values: Any) -> Any:
            await self._stepping.inside()
            result = await found(*given, **values)
            await self._stepping.inside()
            return result

        return call


@asynccontextmanager
async def kernel_on(
    folder: Path, database_url: str, clock: Clock, stepping: Stepping | None = None, **given: object
) -> AsyncIterator[Kernel]:
    """Open a kernel without limits, as one of two processes; its database has steps if they are wanted."""
    located: dict[str, object] = {"data_dir": folder, "workers": 2}
    if database_url:
        located.update(database_url=database_url, secret=SECRET)
    settings = Settings(**{**UNLIMITED, **located, **given})  # type: ignore[arg-type]
    plainly = opening.open_database

    async def with_steps(*given: Any, **options: Any) -> Any:
        database = await plainly(*given, **options)
        return database if stepping is None else _Database(database, stepping)

    opening.open_database = with_steps
    async with AsyncExitStack() as stack:
        try:
            kernel = await stack.enter_async_context(opening.opened(settings, clock=clock))
        finally:
            opening.open_database = plainly
        yield kernel


async def settled(kernel: Kernel) -> None:
    """Wait until what was cancelled, and may go on without its caller, is over."""
    await asyncio.sleep(0.001)
    await kernel.database.run("DELETE FROM ww_meta WHERE name = 'settled'")  # SQLite's writer comes to it last
    while kernel.settings.database_path is None and await kernel.database.all(_BUSY):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.001)


_BUSY = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
"""

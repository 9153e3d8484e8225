"""Background work. A fault is logged at most once a minute; the next turn tries again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from watchword.identity import sweeping
from watchword.identity.kernel import Kernel
from watchword.storage.ephemeral import SWEEP_ROWS
from watchword.tally import Faults, Log

FOLLOW_SECONDS = 0.25
SWEEP_SECONDS = 60
ROTATE_SECONDS = 60
FAULTS_SECONDS = 60

_log = Log("watchword.background")


@contextlib.asynccontextmanager
async def in_background(kernel: Kernel) -> AsyncIterator[None]:
    """Follow the feed, rotate keys and sweep, beside the requests."""
    faults = Faults(_log, every=FAULTS_SECONDS)
    tasks = [asyncio.create_task(each(kernel, faults)) for each in (_follow, _rotate, _sweep)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow(kernel: Kernel, faults: Faults) -> None:
    """Read what other processes changed: revocations, kinds of hash, signing keys.

    Late: this process still accepts what another one revoked, never what it revoked itself. A hint makes a
    turn early. Failed: the next turn reads the same changes.
    """
    changed = False
    while True:
        await (asyncio.sleep(FOLLOW_SECONDS) if kernel.hints is None else kernel.hints.wait(FOLLOW_SECONDS))
        try:
            # The database reports a change once: remember it until a turn succeeds.
            changed = await kernel.revocations.poll() or changed
            if changed:
                if await kernel.keys.reload():
                    kernel.feed.announce()
                changed = False
        except Exception as error:  # noqa: BLE001 - an unseen end would mean no more revocations
            faults.add("following_failed", error)


async def _rotate(kernel: Kernel, faults: Faults) -> None:
    """Apply the schedule of keys, first after the start: that makes the next key.

    Late or failed: the current key signs on.
    """
    while True:
        try:
            if await kernel.keys.follow_schedule():
                kernel.feed.announce()
        except Exception as error:  # noqa: BLE001 - an unseen end would mean one key for ever
            faults.add("rotating_failed", error)
        await asyncio.sleep(ROTATE_SECONDS)


async def _sweep(kernel: Kernel, faults: Faults) -> None:
    """Delete what has expired, in batches.

    Late or failed: expired rows take room, but never count. A failed sweep does not stop the others.
    """
    patrol = sweeping.Patrol(kernel.database)

    async def sweep_idle(kernel: Kernel) -> None:
        await patrol.turn(kernel.clock.now())

    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        for sweep in (_sweep_rows, sweep_idle, _sweep_ephemeral, _sweep_list):
            try:
                await sweep(kernel)
            except Exception as error:  # noqa: BLE001 - an unseen end would mean endless growth
                faults.add("sweeping_failed", error)


async def _sweep_rows(kernel: Kernel) -> None:
    await sweeping.sweep(kernel.database, kernel.clock.now(), audit_retention=kernel.settings.audit_retention)


async def _sweep_ephemeral(kernel: Kernel) -> None:
    await sweeping.in_batches(lambda: kernel.ephemeral.sweep(kernel.clock.now()), SWEEP_ROWS)


async def _sweep_list(kernel: Kernel) -> None:
    kernel.revocations.sweep()

"""Background work. A fault is logged at most once a minute; the next turn tries again.

Every process follows. One of them, which has the lease, applies the schedule of keys, and one sweeps.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from watchword.clock import monotonic
from watchword.identity import sweeping
from watchword.identity.kernel import Kernel
from watchword.identity.trail import erasing
from watchword.identity.trail.chain import Chain
from watchword.meters import (
    CAN_SIGN,
    DATABASE_IN_USE,
    DATABASE_WAITING,
    FEED_AGE,
    HASH_QUEUE,
    KEY_AGE,
    LOOP_LAG,
    PROCESSES,
    SAMPLED_AT,
)
from watchword.storage.ephemeral import SWEEP_ROWS
from watchword.storage.ephemeral_sql import SQLEphemeral
from watchword.tally import Faults, Log

FOLLOW_SECONDS = 0.25
SWEEP_SECONDS = 60
CHAIN_SECONDS = 10
POST_SECONDS = 1
ROTATE_SECONDS = 60
FAULTS_SECONDS = 60
TELL_SECONDS = 1
KEYS, SWEEP, AUDIT, TELL = "keys", "sweep", "audit", "webhooks"  # jobs that one process does for all
SAMPLE_SECONDS = 0.5

_log = Log("watchword.background")


@contextlib.asynccontextmanager
async def in_background(kernel: Kernel) -> AsyncIterator[None]:
    """Follow the feed, rotate keys, sweep, chain audit records, send mail and webhooks, beside the requests.

    Levels are measured if anyone reads them.
    """
    faults = Faults(_log, every=FAULTS_SECONDS)
    loops = (_follow, _rotate, _sweep, _post, _tell, _chain, *((_sample,) if kernel.meters.on else ()))
    tasks = [asyncio.create_task(each(kernel, faults)) for each in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await kernel.leases.release()


async def _follow(kernel: Kernel, faults: Faults) -> None:
    """Read what other processes changed: revocations, kinds of hash, signing keys, the tables of rights.

    Late: this process still accepts what another one revoked, never what it revoked itself. A hint makes a
    turn early, a commit here too. Failed: the next turn reads the same changes.
    """
    changed = False
    while True:
        await kernel.hints.wait(FOLLOW_SECONDS)
        try:
            # The database reports a change once: remember it until a turn succeeds.
            changed = await kernel.revocations.poll() or changed
            if changed:
                if await kernel.keys.reload():
                    kernel.feed.announce()
                await kernel.rights.catch_up()
                await kernel.users.learn_kinds()  # of users who were imported meanwhile
                changed = False
        except Exception as error:  # noqa: BLE001 - an unseen end would mean no more revocations
            faults.add("following_failed", error)


async def _rotate(kernel: Kernel, faults: Faults) -> None:
    """Apply the schedule of keys, first after the start: that makes the next key.

    Late or failed: the current key signs on, and another process may try.
    """
    while True:
        try:
            if await kernel.leases.take(KEYS, kernel.clock.now()):
                if await kernel.keys.follow_schedule():
                    kernel.feed.announce()
                if not kernel.keys.usable:  # with another master secret it does nothing
                    await kernel.leases.give_up(KEYS)
        except Exception as error:  # noqa: BLE001 - an unseen end would mean one key for ever
            faults.add("rotating_failed", error)
            await kernel.leases.give_up(KEYS)
        await asyncio.sleep(ROTATE_SECONDS)


async def _sweep(kernel: Kernel, faults: Faults) -> None:
    """Delete what has expired, in batches.

    Late or failed: expired rows take room, but never count. A failed sweep does not stop the others, and another
    process may try.
    """
    patrol = sweeping.Patrol(kernel.database)

    async def sweep_idle(kernel: Kernel) -> None:
        await patrol.turn(kernel.clock.now())

    sweeps = (
        (_sweep_rows, True),
        (_sweep_trail, True),
        (sweep_idle, True),
        (_sweep_ephemeral, kernel.ephemeral.shared),
        (_sweep_list, False),
    )
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        for sweep, for_all in sweeps:
            try:
                if not for_all or await kernel.leases.take(SWEEP, kernel.clock.now()):
                    await sweep(kernel)
            except Exception as error:  # noqa: BLE001 - an unseen end would mean endless growth
                faults.add("sweeping_failed", error)
                await kernel.leases.give_up(SWEEP)


async def _chain(kernel: Kernel, faults: Faults) -> None:
    """Chain audit records.

    Late: a record that is not chained yet can be changed without a trace. Failed: another process may try.
    """
    chain = Chain(kernel.database, kernel.master)
    while True:
        await asyncio.sleep(CHAIN_SECONDS)
        try:
            # Asked first: where nothing happens nothing is written, not even a lease.
            if await chain.waits() and await kernel.leases.take(AUDIT, kernel.clock.now()):
                await chain.extend(kernel.clock.now())
        except Exception as error:  # noqa: BLE001 - an unseen end would mean records that anyone may change
            faults.add("chaining_failed", error)
            await kernel.leases.give_up(AUDIT)


async def _post(kernel: Kernel, faults: Faults) -> None:
    """Send the outbox.

    Its turns follow the clock and not the requests: when one begins tells nothing about what it has to do. Late: mail
    arrives later. Failed: the next turn sends the same mail.
    """
    if kernel.post is None:
        return
    try:
        await kernel.post.load()
    except Exception as error:  # noqa: BLE001 - the first mails may go out all the same
        faults.add("posting_failed", error)
    while True:
        await asyncio.sleep(POST_SECONDS)
        try:
            await kernel.post.turn()
        except Exception as error:  # noqa: BLE001 - an unseen end would mean no more mail
            faults.add("posting_failed", error)


async def _tell(kernel: Kernel, faults: Faults) -> None:
    """Send webhooks.

    Late: receivers hear later. Failed: the next turn sends the same, and another process may try.
    """

    def failed(error: Exception) -> None:
        faults.add("telling_failed", error)

    try:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            try:
                # Asked first: where nothing happens nothing is written, not even a lease.
                waiting = await kernel.teller.waiting()
                if waiting and await kernel.leases.take(TELL, kernel.clock.now()):
                    await kernel.teller.turn(waiting, failed)
            except Exception as error:  # noqa: BLE001 - an unseen end would mean no more webhooks
                failed(error)
                await kernel.leases.give_up(TELL)
    finally:
        await kernel.teller.stop()


async def _sweep_rows(kernel: Kernel) -> None:
    await sweeping.sweep(kernel.database, kernel.clock.now())
    # Wherever counters are, ids that were used once are here.
    used = SQLEphemeral(kernel.database)
    await sweeping.in_batches(lambda: used.sweep(kernel.clock.now()), SWEEP_ROWS)


async def _sweep_trail(kernel: Kernel) -> None:
    now, retention = kernel.clock.now(), kernel.settings.audit_retention
    chain = Chain(kernel.database, kernel.master)
    await erasing.erase(kernel.database, now)
    await chain.sign_again()
    if retention is not None:
        await chain.cut(now, int(retention.total_seconds()))


async def _sweep_ephemeral(kernel: Kernel) -> None:
    await sweeping.in_batches(lambda: kernel.ephemeral.sweep(kernel.clock.now()), SWEEP_ROWS)


async def _sweep_list(kernel: Kernel) -> None:
    kernel.revocations.sweep()


async def _sample(kernel: Kernel, faults: Faults) -> None:
    """Measure levels, and how late this loop runs.

    Late: everything is, which is what it measures. Failed: the levels stay as they were, and their time tells.
    """
    while True:
        try:
            _measure(kernel)
        except Exception as error:  # noqa: BLE001 - an unseen end would mean levels that are never true again
            faults.add("measuring_failed", error)
        due = monotonic() + SAMPLE_SECONDS
        await asyncio.sleep(SAMPLE_SECONDS)
        kernel.meters.observe(LOOP_LAG, max(0.0, monotonic() - due))


def _measure(kernel: Kernel) -> None:
    level, now, load, since = (
        kernel.meters.level,
        kernel.clock.now(),
        kernel.database.load(),
        kernel.keys.ring.signs_since,
    )
    level(PROCESSES, 1)
    level(SAMPLED_AT, now)
    level(DATABASE_IN_USE, load.in_use)
    level(DATABASE_WAITING, load.waiting)
    level(HASH_QUEUE, kernel.hasher.waiting)
    level(FEED_AGE, kernel.revocations.silence)
    level(CAN_SIGN, kernel.keys.usable)
    level(KEY_AGE, 0 if since is None else now - since)

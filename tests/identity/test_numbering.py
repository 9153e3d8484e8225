"""Numbers are given to committed entries: without a gap, in the order in which readers could see them."""

from __future__ import annotations

import asyncio

import pytest

from tests.identity.scenes import HOME, Opener, claims_of, entries, join, log_in, recorded
from watchword.identity.feed import Cursor, read_cursor
from watchword.identity.kernel import Kernel
from watchword.identity.revocation import Entry, Place, Published, find_place
from watchword.storage.database import Tx

FAR = 2**40


async def publish(kernel: Kernel, *names: str) -> None:
    async def unit(_: Tx) -> tuple[None, Published]:
        return None, [Entry("session", name, None, FAR) for name in names]

    await kernel.revocations.commit(unit)


async def store_unnumbered(kernel: Kernel, *names: str) -> None:
    for name in names:
        await kernel.database.run(
            "INSERT INTO ww_revocations (id, kind, subject, expires_at)"
            " VALUES (:id, 'session', :id, CAST(:far AS BIGINT))",
            id=name,
            far=FAR,
        )


async def test_entries_without_a_number_get_the_next_ones(kernel: Kernel) -> None:
    """The first reader numbers them; the next reader finds nothing to do."""
    await publish(kernel, "first")
    before = await find_place(kernel.database)
    assert before.head == 1
    await store_unnumbered(kernel, "b", "a", "c")
    place = await find_place(kernel.database)
    assert place == Place(before.feed_id, 4)
    numbered = await entries(kernel)
    assert [entry["seq"] for entry in numbered] == [1, 2, 3, 4]
    assert numbered[0]["subject"] == "first"
    assert {entry["subject"] for entry in numbered[1:]} == {"a", "b", "c"}
    assert await find_place(kernel.database) == place


async def test_a_page_and_a_poll_include_what_had_no_number(kernel: Kernel) -> None:
    """A service may have ended between its commit and the numbering: the entry is in force all the same."""
    await store_unnumbered(kernel, "a")
    page = await kernel.feed.page(None, wait=False)
    assert [entry.subject for entry in page.entries] == ["a"]
    assert read_cursor(page.cursor) == Cursor(page.feed_id, 1)
    await store_unnumbered(kernel, "b")
    kernel.revocations._committed = True  # SQLite: the file has changed under another connection
    await kernel.revocations.poll()
    assert len(kernel.revocations.refused) == 2


async def test_several_number_at_once_and_no_number_is_given_twice(open_kernel: Opener) -> None:
    """Two processes publish and read as fast as they can: 1 … n at the end, and no reader missed one on its way."""
    async with open_kernel() as one, open_kernel() as other:
        done = asyncio.Event()

        async def follow(kernel: Kernel) -> list[str]:
            cursor, seen, last = None, list[str](), False
            while not last:
                last = done.is_set()
                page = await kernel.feed.page(cursor, wait=False)
                seen += [entry.subject for entry in page.entries]
                cursor = read_cursor(page.cursor)
                await asyncio.sleep(0)
            return seen

        following = [asyncio.create_task(follow(kernel)) for kernel in (one, other)]
        names = [(f"{n}", f"{n}a") for n in range(40)]
        await asyncio.gather(*(publish(one if n % 2 else other, *both) for n, both in enumerate(names)))
        done.set()
        everything = sorted(name for both in names for name in both)
        for seen in await asyncio.gather(*following):
            assert sorted(seen) == everything
        assert [entry["seq"] for entry in await entries(one)] == list(range(1, 81))
        (feed,) = await recorded(one, "ww_feed")
        assert feed["head"] == 80


@pytest.mark.postgres
async def test_a_transaction_held_open_delays_no_log_out_and_is_not_missed(open_kernel: Opener) -> None:
    """⚑ A unit has published and does not commit. Others log out meanwhile, and readers see them. Its entry, stored
    before theirs and committed after, reaches every reader as well."""
    async with open_kernel() as here, open_kernel() as there:
        await join(here)
        claims = claims_of(here, await log_in(here))
        stored, release = asyncio.Event(), asyncio.Event()

        async def slow(tx: Tx) -> None:
            await tx.run(
                "INSERT INTO ww_revocations (id, kind, subject, expires_at)"
                " VALUES ('0', 'session', 'held-open', CAST(:far AS BIGINT))",
                far=FAR,
            )
            stored.set()
            await release.wait()

        holding = asyncio.create_task(here.database.transact(slow))
        await stored.wait()
        await here.sessions.log_out(claims=claims, presented=None, client=HOME)
        page = await there.feed.page(None, wait=False)
        assert [entry.subject for entry in page.entries] == [claims.sid]
        assert not holding.done()
        release.set()
        await holding
        later = await there.feed.page(read_cursor(page.cursor), wait=False)
        assert [entry.subject for entry in later.entries] == ["held-open"]
        await there.revocations.poll()
        assert len(there.revocations.refused) == 2


@pytest.mark.postgres
async def test_a_log_out_writes_no_row_that_another_log_out_writes(kernel: Kernel) -> None:
    """⚑ Were the feed's row locked until the commit, log-outs would wait for each other's flush."""
    await join(kernel)
    claims = claims_of(kernel, await log_in(kernel))
    before = await kernel.database.one("SELECT head FROM ww_feed WHERE id = 1")
    await kernel.sessions.log_out(claims=claims, presented=None, client=HOME)
    after = await kernel.database.one("SELECT head FROM ww_feed WHERE id = 1")
    assert before is not None
    assert after is not None
    assert (before["head"], after["head"]) == (0, 0)
    (entry,) = await entries(kernel)
    assert entry["seq"] is None


@pytest.mark.postgres
async def test_an_entry_that_is_swept_while_it_is_numbered_hides_no_other(open_kernel: Opener) -> None:
    """⚑ The sweep deletes an expired entry without a number while the numbering waits for it. Numbers that were given
    beyond the head would be in no page, and would collide with the next."""
    async with open_kernel() as here, open_kernel() as there:
        await store_unnumbered(here, "a", "b")
        deleted, release = asyncio.Event(), asyncio.Event()

        async def sweep(tx: Tx) -> None:
            await tx.run("DELETE FROM ww_revocations WHERE id = 'a'")
            deleted.set()
            await release.wait()

        sweeping = asyncio.create_task(here.database.transact(sweep))
        await deleted.wait()
        numbering = asyncio.create_task(there.feed.page(None, wait=False))
        await asyncio.sleep(0.2)  # it waits for the row by then; earlier it would number what is left
        release.set()
        await sweeping
        page = await numbering
        assert [entry.subject for entry in page.entries] == ["b"]
        await store_unnumbered(here, "c")
        later = await there.feed.page(read_cursor(page.cursor), wait=False)
        assert [entry.subject for entry in later.entries] == ["c"]

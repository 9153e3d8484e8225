"""The chain of audit records: what is changed, removed, moved or put in is found and named, on both engines."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest

import watchword
from tests.identity.scenes import DAY, HOME, HOUR, Opener, Recorded, join, log_in, recorded, unproven
from watchword.clock import FixedClock, rfc3339
from watchword.errors import Unauthenticated
from watchword.identity import audit
from watchword.identity.administration import Administration, unchecked
from watchword.identity.audit import LOCAL
from watchword.identity.explaining import ENDS, explain_token
from watchword.identity.kernel import Kernel
from watchword.identity.keys.master import Master
from watchword.identity.trail import erasing, reading
from watchword.identity.trail.chain import ROWS, Chain, points_of
from watchword.identity.trail.links import GENESIS, personal_digest, record_hash
from watchword.identity.trail.reading import Wanted
from watchword.identity.trail.verifying import Known, Report, Verification
from watchword.storage.database import Tx


def chain_of(kernel: Kernel) -> Chain:
    return Chain(kernel.database, kernel.master)


async def verified(kernel: Kernel, known: Known | None = None, master: Master | None = None) -> Report:
    return await Verification(kernel.database, master or kernel.master, known).run()


async def write(kernel: Kernel, count: int, *, user: str | None = None, at: int | None = None) -> None:
    """Records in one transaction."""

    async def unit(tx: Tx) -> None:
        for _ in range(count):
            await audit.record(tx, "log_in", at=at or kernel.clock.now(), client=HOME, user=user)

    await kernel.database.transact(unit)


async def chained(kernel: Kernel) -> list[Recorded]:
    """The records by their position."""
    rows = [row for row in await recorded(kernel, "ww_audit") if row["position"] is not None]
    return sorted(rows, key=lambda row: int(row["position"]))


async def grown(kernel: Kernel, count: int = 12) -> list[Recorded]:
    """A chain of so many records and those of the start."""
    await write(kernel, count, user=(await join(kernel)).id)
    await chain_of(kernel).extend(kernel.clock.now())
    return await chained(kernel)


async def test_every_committed_record_is_chained_once(kernel: Kernel) -> None:
    """In batches, without a gap; what comes later goes on there; what is not chained yet is no fault."""
    await write(kernel, 2 * ROWS + 7)
    assert await chain_of(kernel).extend(kernel.clock.now()) == len(await recorded(kernel, "ww_audit"))
    assert not await chain_of(kernel).waits()
    await write(kernel, 3)
    assert await chain_of(kernel).waits()
    report = await verified(kernel)
    assert (report.faults, report.waiting, report.first, report.last) == ([], 3, 1, report.records)
    await chain_of(kernel).extend(kernel.clock.now())
    rows = await chained(kernel)
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
    report = await verified(kernel)
    assert (report.faults, report.waiting, report.records, report.hash) == ([], 0, len(rows), rows[-1]["hash"])


async def test_the_hash_is_that_of_the_documents(kernel: Kernel) -> None:
    """Recomputed here without our functions: anyone may do that from the columns."""
    rows = await grown(kernel, 3)
    before = GENESIS
    for row in rows:
        names = ("id", "at", "event", "outcome", "actor_id", "user_id", "session_id", "request_id", "detail")
        told = json.dumps([*(row[name] for name in names), row["personal"]], separators=(",", ":"), ensure_ascii=False)
        before = sha256(b"watchword audit record 1\n" + before.encode() + told.encode()).hexdigest()
        assert before == row["hash"]
        personal = json.dumps([row["address"], row["agent"]], separators=(",", ":"), ensure_ascii=False)
        found = sha256(b"watchword audit personal 1\n" + row["salt"].encode() + personal.encode()).hexdigest()
        assert found == row["personal"]


async def test_many_that_chain_while_many_write_make_one_chain(open_kernel: Opener) -> None:
    """Five processes without a lease, while records are committed in any order: none is lost, none twice."""
    async with open_kernel() as first, open_kernel() as second:
        kernels = [first, second, first, second, first]

        async def chain(kernel: Kernel) -> None:
            for _ in range(6):
                await chain_of(kernel).extend(kernel.clock.now())

        await asyncio.gather(*(write(first, 20) for _ in range(15)), *map(chain, kernels))
        await chain_of(first).extend(first.clock.now())
        rows = await chained(first)
        assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
        assert len(rows) >= 300
        assert (await verified(second)).faults == []


Attack = Callable[[Kernel, list[Recorded]], Awaitable[object]]


def sql(text: str, *places: int) -> Attack:
    """A statement on the record at the first place; `:other` is the one at the second."""

    async def attack(kernel: Kernel, rows: list[Recorded]) -> None:
        values = {name: rows[place]["id"] for name, place in zip(("id", "other"), places, strict=False)}
        await kernel.database.run(text, **values)

    return attack


async def _swap(kernel: Kernel, rows: list[Recorded]) -> None:
    for row, other in ((rows[4], rows[5]), (rows[5], rows[4])):
        await kernel.database.run("UPDATE ww_audit SET position = :p WHERE id = :id", p=other["position"], id=row["id"])


async def _insert(kernel: Kernel, rows: list[Recorded]) -> None:
    await write(kernel, 1)
    await kernel.database.run(
        "UPDATE ww_audit SET position = :p, hash = :h, personal = :h, salt = '' WHERE position IS NULL",
        p=rows[5]["position"],
        h=rows[5]["hash"],
    )


async def _chain_anew(kernel: Kernel, rows: list[Recorded]) -> None:
    """What someone with the database and without the master secret can do at most."""
    await kernel.database.run("UPDATE ww_audit SET outcome = 'refused' WHERE id = :id", id=rows[5]["id"])
    before = rows[4]["hash"]
    for row in (await chained(kernel))[5:]:
        before = record_hash(before, row, row["personal"])  # type: ignore[arg-type]
        await kernel.database.run("UPDATE ww_audit SET hash = :h WHERE id = :id", h=before, id=row["id"])
    await kernel.database.run("UPDATE ww_audit_head SET hash = :h", h=before)


async def _chain_anew_without_checkpoints(kernel: Kernel, rows: list[Recorded]) -> None:
    await _chain_anew(kernel, rows)
    await kernel.database.run("DELETE FROM ww_audit_checkpoints")


async def _chain_anew_and_sign(kernel: Kernel, rows: list[Recorded]) -> None:
    """With checkpoints of another secret."""
    await _chain_anew_without_checkpoints(kernel, rows)
    await kernel.database.run("UPDATE ww_audit SET position = NULL WHERE id = :id", id=rows[-1]["id"])
    await kernel.database.run("UPDATE ww_audit_head SET position = position - 1")
    await Chain(kernel.database, Master((b"x" * 32,))).extend(kernel.clock.now())


async def _claim_a_cut(kernel: Kernel, rows: list[Recorded]) -> None:
    await kernel.database.run("UPDATE ww_audit_checkpoints SET cut_at = 1, cut_mac = mac")
    await kernel.database.run("DELETE FROM ww_audit WHERE position <= 6")


LAST = -1
# Name → the attack, the kind that is named, the places in the chain that are named.
ATTACKS: dict[str, tuple[Attack, str, tuple[int, ...]]] = {
    "outcome": (sql("UPDATE ww_audit SET outcome = 'refused' WHERE id = :id", 5), "changed", (5,)),
    "time": (sql("UPDATE ww_audit SET at = at - 60 WHERE id = :id", 5), "changed", (5,)),
    "user": (sql("UPDATE ww_audit SET user_id = NULL WHERE id = :id", 5), "changed", (5,)),
    "detail": (sql("UPDATE ww_audit SET detail = '{\"a\":\"b\"}' WHERE id = :id", 5), "changed", (5,)),
    "address": (sql("UPDATE ww_audit SET address = '192.0.2.1' WHERE id = :id", 5), "changed", (5,)),
    "digest": (sql("UPDATE ww_audit SET personal = hash WHERE id = :id", 5), "changed", (5,)),
    "hash": (sql("UPDATE ww_audit SET hash = personal WHERE id = :id", 5), "changed", (5, 6)),
    "the last": (sql("UPDATE ww_audit SET outcome = 'refused' WHERE id = :id", LAST), "changed", (LAST,)),
    "the first": (sql("UPDATE ww_audit SET outcome = 'refused' WHERE id = :id", 0), "changed", (0,)),
    "erased": (
        sql("UPDATE ww_audit SET address = '', agent = '', salt = NULL WHERE id = :id", 5), "erased", (5,),
    ),
    "removed": (sql("DELETE FROM ww_audit WHERE id = :id", 5), "removed", (5,)),
    "removed first": (sql("DELETE FROM ww_audit WHERE id = :id", 0), "removed", (0,)),
    "tail": (sql("DELETE FROM ww_audit WHERE id = :id", LAST), "removed", (LAST,)),
    "unchained": (sql("UPDATE ww_audit SET position = NULL WHERE id = :id", 5), "removed", (5,)),
    "swapped": (_swap, "moved", (4, 5, 6)),
    "inserted": (_insert, "inserted", (5,)),
    "below": (sql("UPDATE ww_audit SET position = 0 WHERE id = :id", 5), "inserted", ()),
    "beyond": (sql("UPDATE ww_audit SET position = 99999 WHERE id = :id", 5), "inserted", ()),
    "chained anew": (_chain_anew, "checkpoint", (LAST,)),
    "without checkpoints": (_chain_anew_without_checkpoints, "checkpoint", (LAST,)),
    "another secret": (_chain_anew_and_sign, "checkpoint", (LAST,)),
    "a cut": (_claim_a_cut, "checkpoint", ()),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
async def test_what_someone_with_the_database_does_is_named(kernel: Kernel, name: str) -> None:
    """Without the master secret: the kind of fault and the records."""
    attack, kind, places = ATTACKS[name]
    rows = await grown(kernel)
    assert (await verified(kernel)).faults == []
    await attack(kernel, rows)
    found = [fault for fault in (await verified(kernel)).faults if fault.kind == kind]
    assert found
    assert {rows[place]["position"] for place in places} <= {fault.position for fault in found}
    if kind in ("changed", "moved", "erased"):
        assert {fault.record for fault in found} == {rows[place]["id"] for place in places}


async def test_a_gap_is_named_to_its_end(kernel: Kernel) -> None:
    """And the chain that goes on behind a removed tail does not hide it."""
    rows = await grown(kernel)
    await kernel.database.run("DELETE FROM ww_audit WHERE position > :p", p=rows[-4]["position"])
    await write(kernel, 2)
    await chain_of(kernel).extend(kernel.clock.now())
    (fault,) = (await verified(kernel)).faults
    first, last = rows[-3]["position"], rows[-1]["position"]
    assert fault.means == f"The records at positions {first} to {last} are missing."


async def test_a_database_put_back_is_seen_by_what_was_kept_elsewhere(kernel: Kernel) -> None:
    """Records and checkpoints of the last hour gone, head set back: only a hash that was kept tells."""
    rows = await grown(kernel)
    kernel.clock.advance(2 * HOUR)  # type: ignore[attr-defined]
    await write(kernel, 5)
    await chain_of(kernel).extend(kernel.clock.now())
    end = (await chained(kernel))[-1]
    known = Known(int(end["position"]), str(end["hash"]))
    assert (await verified(kernel, known)).faults == []
    last = rows[-1]
    await kernel.database.run("DELETE FROM ww_audit WHERE position > :p", p=last["position"])
    await kernel.database.run("DELETE FROM ww_audit_checkpoints WHERE position > :p", p=last["position"])
    await kernel.database.run("UPDATE ww_audit_head SET position = :p, hash = :h", p=last["position"], h=last["hash"])
    assert (await verified(kernel)).faults == []
    assert [fault.kind for fault in (await verified(kernel, known)).faults] == ["known"]
    wrong = Known(int(last["position"]), "0" * 64)
    assert [fault.kind for fault in (await verified(kernel, wrong)).faults] == ["known"]
    assert (await verified(kernel, Known(int(last["position"]), str(last["hash"])))).faults == []


async def test_a_head_that_was_set_back_is_named(kernel: Kernel) -> None:
    """The checkpoints stand behind it."""
    await grown(kernel)
    await kernel.database.run("UPDATE ww_audit_head SET position = position - 2")
    assert [fault.kind for fault in (await verified(kernel)).faults] == ["checkpoint"]


async def test_a_deleted_user_leaves_no_address_and_a_whole_chain(kernel: Kernel) -> None:
    """Chained before or after; what was done to the user by another one keeps that one's address."""
    user, other = await join(kernel), await join(kernel, "sam")
    await log_in(kernel)
    await Administration(kernel, client=HOME, actor=other.id, check=unchecked).change_roles(
        user.id, lambda _: frozenset({"a"})
    )
    await Administration(kernel, client=HOME, actor=user.id, check=unchecked).change_roles(
        other.id, lambda _: frozenset({"a"})
    )
    await chain_of(kernel).extend(kernel.clock.now())
    await log_in(kernel)
    await Administration(kernel, client=LOCAL, check=unchecked).delete(user)
    await chain_of(kernel).extend(kernel.clock.now())
    rows = await recorded(kernel, "ww_audit")
    own = [row for row in rows if user.id in (row["actor_id"], row["user_id"]) and row["actor_id"] != other.id]
    assert len(own) == 5
    assert {(row["address"], row["agent"]) for row in own} == {("", "")}
    assert [row["address"] for row in rows if row["actor_id"] == other.id and row["user_id"] == user.id] == [
        HOME.address
    ]
    report = await verified(kernel)
    assert (report.faults, report.erased) == ([], 3)
    digest = next(row["personal"] for row in own if row["salt"] is None)
    assert digest != personal_digest("", HOME.address, HOME.agent)


async def test_a_closed_account_is_erased_a_month_later(kernel: Kernel, clock: FixedClock) -> None:
    """Someone who took it over may have closed it. Late records of old tokens are erased too, and then it is done."""
    user = await join(kernel)

    async def unasked(_: Tx) -> None:
        return None

    await kernel.users.delete(user, client=HOME, check=unasked)
    await chain_of(kernel).extend(clock.now())
    clock.advance(erasing.AFTER_CLOSING - 1)
    assert await erasing.erase(kernel.database, clock.now()) == 0
    clock.advance(1)
    assert await erasing.erase(kernel.database, clock.now()) == 2
    await write(kernel, 1, user=user.id)
    assert await erasing.erase(kernel.database, clock.now()) == 0
    clock.advance(erasing.STILL_WRITTEN)
    assert await erasing.erase(kernel.database, clock.now()) == 1
    assert await recorded(kernel, "ww_audit_erasures", "user_id") == []
    assert (await verified(kernel)).faults == []


async def test_records_are_cut_at_a_checkpoint_when_their_time_is_over(kernel: Kernel, clock: FixedClock) -> None:
    """To the hour, in batches, never one that is younger; what is left is a whole chain, and a hash kept is known."""
    chain = chain_of(kernel)
    await write(kernel, ROWS + 9)
    await chain.extend(clock.now())
    old = (await chained(kernel))[-1]
    for _ in range(3):
        clock.advance(HOUR)
        await write(kernel, 2)
        await chain.extend(clock.now())
    assert len(await points_of(kernel.database)) == 4
    clock.advance(100 * DAY - 3 * HOUR - 1)
    assert await chain.cut(clock.now(), 100 * DAY) == 0
    clock.advance(1)
    assert await chain.cut(clock.now(), 100 * DAY) == old["position"]
    assert await chain.cut(clock.now(), 100 * DAY) == 0
    report = await verified(kernel)
    assert (report.faults, report.records, report.first) == ([], 6, old["position"] + 1)
    assert (await verified(kernel, Known(int(old["position"]), str(old["hash"])))).faults == []
    clock.advance(2 * HOUR)
    assert await chain.cut(clock.now(), 100 * DAY) == 4
    assert [fault.kind for fault in (await verified(kernel, Known(1, "0" * 64))).faults] == ["known"]
    clock.advance(500 * DAY)
    assert await chain.cut(clock.now(), 100 * DAY) == 2
    await write(kernel, 1)
    await chain.extend(clock.now())
    report = await verified(kernel)
    assert (report.faults, report.records) == ([], 1)


async def test_a_wrong_clock_gives_no_record_up_too_early(kernel: Kernel, clock: FixedClock) -> None:
    """Records of a clock a year behind take no later and no earlier ones along; one a year ahead holds none back."""
    chain = chain_of(kernel)
    for at in (clock.now(), clock.now() - 400 * DAY, clock.now() + 400 * DAY, clock.now() + 1):
        await write(kernel, 3, at=at)
        await chain.extend(clock.now())
    assert await chain.cut(clock.now(), 100 * DAY) == 0
    clock.advance(101 * DAY)
    assert await chain.cut(clock.now(), 100 * DAY) > 9
    assert (await verified(kernel)).faults == []
    await write(kernel, 3)
    await chain.extend(clock.now())
    assert await chain.cut(clock.now() - 400 * DAY, 100 * DAY) == 0


async def test_a_forged_checkpoint_cuts_nothing(kernel: Kernel, clock: FixedClock) -> None:
    """The sweep signs no cut for someone who wrote a checkpoint or a cut."""
    await grown(kernel)
    await kernel.database.run("UPDATE ww_audit_checkpoints SET newest_at = 1")
    assert await chain_of(kernel).cut(clock.now(), 100 * DAY) == 0
    await kernel.database.run("UPDATE ww_audit_checkpoints SET cut_at = 1, cut_mac = mac")
    assert await chain_of(kernel).cut(clock.now(), 100 * DAY) == 0


async def test_a_new_master_secret_signs_again(kernel: Kernel, clock: FixedClock) -> None:
    """Then the old one may go; what it had not signed stays unsigned."""
    old, new = b"o" * 32, b"n" * 32
    await write(kernel, 3)
    await Chain(kernel.database, Master((old,))).extend(clock.now())
    clock.advance(2 * HOUR)
    await write(kernel, 3)
    await Chain(kernel.database, Master((b"?" * 32,))).extend(clock.now())
    assert await Chain(kernel.database, Master((new, old))).sign_again() == 1
    assert await Chain(kernel.database, Master((new, old))).sign_again() == 0
    faults = (await verified(kernel, master=Master((new,)))).faults
    assert [fault.kind for fault in faults] == ["checkpoint"] * 2  # the unsigned one, which is the end
    assert len((await verified(kernel, master=Master((old,)))).faults) == 3


async def test_a_log_in_only_inserts(kernel: Kernel) -> None:
    """Neither locks nor reads anything of the chain: the head is another's, and the records have no position yet."""
    await join(kernel)
    before = await recorded(kernel, "ww_audit_head", "id")
    await log_in(kernel)
    with suppress(Unauthenticated):
        await log_in(kernel, prove=unproven)
    assert await recorded(kernel, "ww_audit_head", "id") == before
    assert {row["position"] for row in await recorded(kernel, "ww_audit")} == {None}


async def test_records_are_read_by_filter_and_by_user(kernel: Kernel, clock: FixedClock) -> None:
    """Each filter alone and all together; a page begins behind the last one of the page before."""
    user = await join(kernel)
    clock.advance(10)
    session = await log_in(kernel)
    with suppress(Unauthenticated):
        await log_in(kernel, prove=unproven, client=HOME._replace(address="192.0.2.99", request_id="that one"))
    start = clock.now()
    for wanted, found in (
        (Wanted(user=user.id), ["user_created", "log_in", "log_in"]),
        (Wanted(event="log_in"), ["log_in", "log_in"]),
        (Wanted(outcome="refused"), ["log_in"]),
        (Wanted(address="192.0.2.99"), ["log_in"]),
        (Wanted(request_id="that one"), ["log_in"]),
        (Wanted(user=user.id, since=start), ["log_in", "log_in"]),
        (Wanted(user=user.id, until=start), ["user_created"]),
        (Wanted(user.id, "log_in", "refused", "192.0.2.99", "that one", start, start + 1), ["log_in"]),
        (Wanted(user="nobody"), []),
    ):
        assert [record.event for record in await reading.page(kernel.database, wanted, limit=9)] == found, wanted
    newest = await reading.page(kernel.database, Wanted(), limit=2, newest_first=True)
    (before,) = await reading.page(
        kernel.database, Wanted(user=user.id), limit=1, newest_first=True, place=newest[1].id
    )
    assert (newest[0].outcome, newest[1].outcome, before.event) == ("refused", "ok", "user_created")
    deeds = await reading.of_user(kernel.database, user.id, before=newest[0].id, limit=9)
    assert [deed.event for deed in deeds] == ["log_in", "user_created"]
    for token in session.tokens.access_token, session.tokens.refresh_token:
        assert (await explain_token(kernel, token)).accepted
    await Administration(kernel, client=LOCAL, check=unchecked).end_sessions(user)
    for token in session.tokens.access_token, session.tokens.refresh_token:
        explained = await explain_token(kernel, token)
        assert (explained.accepted, explained.reasons) == (
            False,
            [f"Its session ended at {rfc3339(clock.now())} by an operator."],
        )


def test_every_end_of_a_session_has_its_words() -> None:
    """Each reason that the code gives is one that support staff is told."""
    sources = Path(watchword.__file__).parent
    texts = [path.read_text("utf-8") for path in (sources / "identity").rglob("*.py") if path.name != "explaining.py"]
    found = {reason for text in texts for reason in re.findall(r"(?:end_)?reason(?:=| = )[\"']([a-z_]+)[\"']", text)}
    assert found - {"nothing_pending", "too_large"} == set(ENDS)

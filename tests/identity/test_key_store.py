"""Changing the keys: each change whole and once, whoever tries, wherever it stops; emergencies log nobody out."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.identity.scenes import (
    DAY,
    Opener,
    claims_of,
    entries,
    join,
    log_in,
    meddle,
    recorded,
    refresh,
    refuse_inserts,
    statements,
    written_table,
)
from tests.identity.starting import at_once
from watchword.clock import FixedClock
from watchword.errors import Conflict, NotFound, TokenError
from watchword.identity.audit import LOCAL
from watchword.identity.granting import unchecked
from watchword.identity.kernel import Kernel
from watchword.identity.keys import store as key_store
from watchword.identity.keys.store import HEARD_SECONDS
from watchword.tokens.revocations import NEVER
from watchword.tokens.rotation import KeyState, Promote, Remove, Retire, Schedule

_PROMOTE = """
import asyncio
from watchword.opening import opened
from watchword.clock import FixedClock
from watchword.settings import Settings
async def main():
    async with opened(Settings(data_dir=sys.argv[1], workers=8), clock=FixedClock(int(sys.argv[2]))) as kernel:
        ready()
        await kernel.keys.follow_schedule()
        print(kernel.keys.ring.signing.kid, *(key.kid for key in await kernel.keys.store.published()))
asyncio.run(main())
"""
_REVOKE = _PROMOTE.replace(
    "await kernel.keys.follow_schedule()",
    "from watchword.identity.audit import LOCAL; from watchword.identity.granting import unchecked;"
    " await kernel.keys.store.revoke((sys.argv[3],), client=LOCAL, check=unchecked);"
    " await kernel.keys.reload()",
)


async def ring(kernel: Kernel) -> dict[str, list[KeyState]]:
    """The published keys by status."""
    found: dict[str, list[KeyState]] = {"active": [], "next": [], "retired": []}
    for key in await kernel.keys.store.published():
        found[key.status].append(key)
    return found


async def events(kernel: Kernel) -> list[str]:
    return [row["event"] for row in await recorded(kernel, "ww_audit") if row["event"].startswith("key_")]


# --- By schedule, by several ----------------------------------------------------------------------------------------


@pytest.mark.sqlite
async def test_b10_eight_processes_that_rotate_at_once_rotate_once(
    tmp_path: Path, open_kernel: Opener, clock: FixedClock
) -> None:
    """Real processes on one file: one key was promoted, one retired, one made; all of them sign with the same."""
    async with open_kernel() as kernel:
        await kernel.keys.follow_schedule()
        (first,), (upcoming,) = (await ring(kernel))["active"], (await ring(kernel))["next"]
    outputs = at_once(_PROMOTE, str(tmp_path), str(clock.now() + 30 * DAY), processes=8)
    assert {output.split()[0] for output in outputs} == {upcoming.kid}
    assert {len(output.split()) for output in outputs} == {4}
    async with open_kernel() as kernel:
        now = await ring(kernel)
        assert [key.kid for key in now["active"]] == [upcoming.kid]
        assert [key.kid for key in now["retired"]] == [first.kid]
        assert len(now["next"]) == 1
        assert (await events(kernel)).count("key_activated") == 1
        assert (await events(kernel)).count("key_retired") == 1


async def test_what_was_overtaken_changes_nothing(open_kernel: Opener, clock: FixedClock) -> None:
    """Every step that somebody else has done in the meantime is none: rows, feed and audit stay as they are."""
    async with open_kernel() as kernel:
        await kernel.keys.follow_schedule()
        (active,), (upcoming,) = (await ring(kernel))["active"], (await ring(kernel))["next"]
        clock.advance(30 * DAY)
        await kernel.keys.follow_schedule()
        before = await recorded(kernel, "ww_signing_keys"), await recorded(kernel, "ww_audit")
        for step in (
            Promote(upcoming.kid, active.kid),
            Promote(upcoming.kid, None),
            Promote("unknown", upcoming.kid),
            Retire(active.kid),
            Remove(upcoming.kid, "retired"),
            Remove(upcoming.kid, "next"),
        ):
            await kernel.keys.store._do(step)
        assert (await recorded(kernel, "ww_signing_keys"), await recorded(kernel, "ww_audit")) == before


async def test_promoting_and_retiring_are_one_transaction(
    open_kernel: Opener, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails between the two leaves both undone: there is never a moment without a key that signs."""
    async with open_kernel() as kernel:
        await kernel.keys.follow_schedule()
        before = await ring(kernel)
        clock.advance(30 * DAY)
        real = key_store._note

        async def killed(tx: object, event: str, *rest: object, **more: str) -> None:
            if event == "key_activated":
                raise RuntimeError("killed here")
            await real(tx, event, *rest, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(key_store, "_note", killed)
        with pytest.raises(RuntimeError, match="killed here"):
            await kernel.keys.follow_schedule()
        assert await ring(kernel) == before
        monkeypatch.undo()
        await kernel.keys.follow_schedule()
        assert (await ring(kernel))["active"] == [before["next"][0]._replace(status="active", activated_at=clock.now())]


@pytest.mark.parametrize("stop_after", range(4))
async def test_a_process_that_dies_between_two_steps_leaves_a_ring_that_works(
    open_kernel: Opener, clock: FixedClock, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    """The next process goes on from what is there: at every point there is one key that signs."""
    async with open_kernel() as kernel:
        await join(kernel)
        await kernel.keys.follow_schedule()
        clock.advance(60 * DAY)
        await kernel.keys.follow_schedule()
        clock.advance(60 * DAY)  # now a key is to be promoted, one to be made, one to be removed
        done, real = 0, kernel.keys.store._do

        async def dying(step: object) -> None:
            nonlocal done
            if done == stop_after:
                raise KeyboardInterrupt
            done += 1
            await real(step)  # type: ignore[arg-type]

        monkeypatch.setattr(kernel.keys.store, "_do", dying)
        with contextlib.suppress(KeyboardInterrupt):
            await kernel.keys.follow_schedule()
        assert len((await ring(kernel))["active"]) == 1
    async with open_kernel() as kernel:
        claims_of(kernel, await log_in(kernel))
        await kernel.keys.follow_schedule()
        now = await ring(kernel)
        assert {status: len(keys) for status, keys in now.items()} == {"active": 1, "next": 1, "retired": 1}


# --- By hand --------------------------------------------------------------------------------------------------------


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_store, "HEARD_SECONDS", 0)


@pytest.mark.usefixtures("hurry")
async def test_a_rotation_by_hand_keeps_what_was_signed_good(kernel: Kernel) -> None:
    """The next key signs; the one before stays published."""
    await join(kernel)
    tokens = (await log_in(kernel)).tokens
    await kernel.keys.follow_schedule()
    now = await ring(kernel)
    signing = await kernel.keys.store.promote(now["active"][0], now["next"][0], client=LOCAL, check=unchecked)
    await kernel.keys.reload()
    assert kernel.keys.ring.signing.kid == signing == now["next"][0].kid
    claims_of(kernel, tokens)
    with pytest.raises(Conflict):
        await kernel.keys.store.promote(now["active"][0], now["next"][0], client=LOCAL, check=unchecked)


async def test_a_key_that_was_published_just_now_waits_before_it_signs(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⚑ A key that signs before services and guards have heard of it makes good tokens look forged."""
    (active,) = (await ring(kernel))["active"]
    waits: list[tuple[float, set[str]]] = []

    own = asyncio.sleep

    async def sleep(seconds: float) -> None:
        if seconds < 1:  # the database's
            await own(seconds)
            return
        waits.append((seconds, {status for status, keys in (await ring(kernel)).items() if keys}))

    monkeypatch.setattr(asyncio, "sleep", sleep)
    signing = await kernel.keys.store.promote(active, None, client=LOCAL, check=unchecked)
    assert waits == [(HEARD_SECONDS, {"active", "next"})]
    await kernel.keys.follow_schedule()
    now = await ring(kernel)
    assert now["active"][0].kid == signing
    kernel.clock.advance(HEARD_SECONDS + 1)  # type: ignore[attr-defined]
    await kernel.keys.store.promote(now["active"][0], now["next"][0], client=LOCAL, check=unchecked)
    assert len(waits) == 1


@pytest.mark.usefixtures("hurry")
async def test_a_rotation_without_a_next_key_makes_one(kernel: Kernel) -> None:
    """As when the service has not run since the first start."""
    (active,) = (await ring(kernel))["active"]
    signing = await kernel.keys.store.promote(active, None, client=LOCAL, check=unchecked)
    assert [key.kid for key in (await ring(kernel))["active"]] == [signing] != [active.kid]
    with pytest.raises(Conflict):
        await kernel.keys.store.promote(active, None, client=LOCAL, check=unchecked)
    assert len((await ring(kernel))["active"]) == 1


# --- In an emergency ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_next", [True, False])
async def test_e7_a_revoked_key_is_refused_everywhere_and_nobody_is_logged_out(
    open_kernel: Opener, with_next: bool
) -> None:
    """⚑ Its tokens are refused by every process that follows, also those verified before; refreshing goes on."""
    async with open_kernel() as here, open_kernel() as there:
        await join(here)
        tokens = (await log_in(here)).tokens
        claims_of(there, tokens)
        if with_next:
            await here.keys.follow_schedule()
            await there.keys.reload()
        revoked = here.keys.ring.signing.kid
        upcoming = [key.kid for key in (await ring(here))["next"]]
        done = await here.keys.store.revoke((revoked,), client=LOCAL, check=unchecked)
        assert done.kids == (revoked,)
        assert len(done.signing) == 1
        assert not with_next or list(done.signing) == upcoming
        for kernel in (there, here):
            await kernel.revocations.poll()
            with pytest.raises(TokenError) as caught:  # before the key set is followed: the list alone suffices
                claims_of(kernel, tokens)
            assert caught.value.code == "token_revoked"
            assert await kernel.keys.reload() is True
            assert revoked not in kernel.keys.ring.key_set
            assert revoked.encode() not in kernel.keys.ring.published
            assert kernel.keys.ring.signing.kid == done.signing[0]
            with pytest.raises(TokenError) as caught:  # and after it the same answer
                claims_of(kernel, tokens)
            assert caught.value.code == "token_revoked"
        tokens = await refresh(there, tokens.refresh_token)
        claims_of(here, tokens)
        claims_of(there, tokens)


async def test_e7_the_entry_of_a_key_never_expires(kernel: Kernel, clock: FixedClock) -> None:
    """⚑ Not after a day, not after a century of sweeps, not in a process that starts then."""
    revoked = kernel.keys.ring.signing.kid
    await kernel.keys.store.revoke((revoked,), client=LOCAL, check=unchecked)
    (entry,) = await entries(kernel)
    assert (entry["kind"], entry["subject"], entry["expires_at"]) == ("key", revoked, None)
    await kernel.revocations.catch_up()
    assert kernel.revocations.refused._keys[next(iter(kernel.revocations.refused._keys))][1] == NEVER
    clock.advance(36_500 * DAY)
    kernel.revocations.sweep()
    assert len(kernel.revocations.refused) == 1
    assert len(await entries(kernel)) == 1


@pytest.mark.sqlite
async def test_an_emergency_is_one_transaction_that_publishes_last(kernel: Kernel) -> None:
    """⚑ Rows, record and entry together, the feed's lock last; what fails anywhere in it leaves nothing."""
    await kernel.keys.follow_schedule()
    active, upcoming = (await ring(kernel))["active"][0].kid, (await ring(kernel))["next"][0].kid
    with statements(kernel) as seen:
        await kernel.keys.store.revoke((active,), client=LOCAL, check=unchecked)
    (unit,) = seen.units
    tables = [table for table in map(written_table, unit) if table]
    assert tables == [
        "ww_signing_keys", "ww_audit", "ww_signing_keys", "ww_audit", "ww_feed", "ww_revocations",
    ]  # fmt: skip
    before = await recorded(kernel, "ww_signing_keys"), await recorded(kernel, "ww_audit"), await entries(kernel)
    refuse_inserts(kernel, "ww_revocations")
    with pytest.raises(Exception, match="injected fault"):
        await kernel.keys.store.revoke((upcoming,), client=LOCAL, check=unchecked)
    assert (
        await recorded(kernel, "ww_signing_keys"), await recorded(kernel, "ww_audit"), await entries(kernel)
    ) == before  # fmt: skip


@pytest.mark.sqlite
async def test_b10_eight_processes_that_revoke_at_once_leave_one_key_that_signs(
    tmp_path: Path, open_kernel: Opener, clock: FixedClock
) -> None:
    """In an emergency everybody runs to a terminal: one revocation, one promotion, one entry."""
    async with open_kernel() as kernel:
        await kernel.keys.follow_schedule()
        active, upcoming = (await ring(kernel))["active"][0].kid, (await ring(kernel))["next"][0].kid
    outputs = at_once(_REVOKE, str(tmp_path), str(clock.now()), active, processes=8)
    assert {output.split()[0] for output in outputs} == {upcoming}
    async with open_kernel() as kernel:
        assert len(await entries(kernel)) == 1
        assert (await events(kernel)).count("key_revoked") == 1


async def test_every_key_can_be_revoked_at_once(open_kernel: Opener, clock: FixedClock) -> None:
    """The database and the master secret were stolen: the next key and the retired one are lost as well."""
    async with open_kernel() as kernel:
        await join(kernel)
        await kernel.keys.follow_schedule()
        clock.advance(30 * DAY)
        await kernel.keys.follow_schedule()
        tokens = (await log_in(kernel)).tokens
        everything = {key.kid for keys in (await ring(kernel)).values() for key in keys}
        assert len(everything) == 3
        done = await kernel.keys.store.revoke(None, client=LOCAL, check=unchecked)
        assert set(done.kids) == everything
        assert not everything & set(done.signing)
        await kernel.revocations.poll()
        await kernel.keys.reload()
        assert [key.kid for key in kernel.keys.ring.key_set] == list(done.signing)
        assert all(not row["sealed_private"] for row in await recorded(kernel, "ww_signing_keys") if row["revoked_at"])
        claims_of(kernel, await refresh(kernel, tokens.refresh_token))


async def test_a_next_or_a_retired_key_is_revoked_without_another_in_its_place(
    open_kernel: Opener, clock: FixedClock
) -> None:
    """What signs goes on signing; a retired key's tokens are refused before they expire."""
    async with open_kernel() as kernel:
        await kernel.keys.follow_schedule()
        clock.advance(30 * DAY)
        await join(kernel)
        tokens = (await log_in(kernel)).tokens
        await kernel.keys.follow_schedule()
        signing = kernel.keys.ring.signing.kid
        for status in ("retired", "next"):
            (key,) = (await ring(kernel))[status]
            assert await kernel.keys.store.revoke((key.kid,), client=LOCAL, check=unchecked) == ((key.kid,), ())
        await kernel.revocations.poll()
        await kernel.keys.reload()
        assert kernel.keys.ring.signing.kid == signing
        with pytest.raises(TokenError):
            claims_of(kernel, tokens)
        await kernel.keys.follow_schedule()
        assert len((await ring(kernel))["next"]) == 1


async def test_revoking_twice_changes_nothing_and_an_unknown_key_is_said(kernel: Kernel) -> None:
    """Nothing of a command with an unknown key is done, also not what it said about a known one."""
    kid = kernel.keys.ring.signing.kid
    with pytest.raises(NotFound):
        await kernel.keys.store.revoke((kid, "unknown"), client=LOCAL, check=unchecked)
    assert await entries(kernel) == []
    assert (await kernel.keys.store.revoke((kid,), client=LOCAL, check=unchecked)).kids == (kid,)
    before = await recorded(kernel, "ww_signing_keys"), await entries(kernel)
    assert await kernel.keys.store.revoke((kid,), client=LOCAL, check=unchecked) == ((), ())
    assert (await recorded(kernel, "ww_signing_keys"), await entries(kernel)) == before


async def test_a_revocation_and_a_rotation_at_once_leave_one_key_that_signs(
    open_kernel: Opener, clock: FixedClock
) -> None:
    """Both want to promote the next key; whichever comes second finds it promoted, and the revoked one stays so."""
    for first in (True, False):
        async with open_kernel() as here, open_kernel() as there:
            await here.keys.follow_schedule()
            clock.advance(30 * DAY)
            (active,) = (await ring(here))["active"]
            schedule = Schedule("ES256", 30 * DAY)
            work = [
                here.keys.store.revoke((active.kid,), client=LOCAL, check=unchecked),
                there.keys.store.follow(schedule),
            ]
            await asyncio.gather(*(work if first else reversed(work)))
            now = await ring(here)
            assert len(now["active"]) == 1
            assert now["active"][0].kid != active.kid
            assert active.kid not in [key.kid for keys in now.values() for key in keys]


@pytest.mark.sqlite
async def test_the_index_refuses_a_second_active_or_next_key(kernel: Kernel) -> None:
    """B10: not by our care alone, by the database."""
    await kernel.keys.follow_schedule()
    for status in ("active", "next"):
        with pytest.raises(Exception, match="UNIQUE"):
            meddle(
                kernel,
                f"INSERT INTO ww_signing_keys VALUES ('x', 'ES256', '{status}', '{{}}', '', 1, NULL, NULL, NULL)",
            )

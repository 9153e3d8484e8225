"""A new master secret takes over: nobody is logged out, everything is sealed again, and the old one can go."""

from __future__ import annotations

import re
from hashlib import sha256
from types import SimpleNamespace

import pytest

from tests.identity.scenes import (
    DAY,
    HOUR,
    Opener,
    claims_of,
    join,
    log_in,
    meddle,
    recorded,
    refresh,
)
from watchword.clock import FixedClock
from watchword.errors import SettingsError, Unauthenticated
from watchword.identity.audit import LOCAL
from watchword.identity.granting import unchecked
from watchword.identity.kernel import Kernel
from watchword.identity.keys import resealing
from watchword.identity.keys.resealing import SEALED, Resealed
from watchword.storage.migrate import bundled

OLD, NEW, NEWEST = (sha256(name).digest() for name in (b"old", b"new", b"newest"))


async def rotate(kernel: Kernel) -> Resealed:
    return await resealing.rotate(kernel.master, kernel.database, kernel.clock)


async def sealed_by(kernel: Kernel) -> set[str]:
    rows = await recorded(kernel, "ww_signing_keys")
    return {row["sealed_private"].partition(".")[0] for row in rows if row["sealed_private"]}


async def test_a_refresh_token_from_the_previous_master_is_good(open_kernel: Opener) -> None:
    """⚑ And its successor is from the new one: it outlives the old secret."""
    async with open_kernel(secret=(OLD,)) as kernel:
        await join(kernel)
        token = (await log_in(kernel)).tokens.refresh_token
    async with open_kernel(secret=(NEW, OLD)) as kernel:
        await rotate(kernel)
        tokens = await refresh(kernel, token)
        claims_of(kernel, tokens)
    async with open_kernel(secret=(NEW,)) as kernel:
        claims_of(kernel, await refresh(kernel, tokens.refresh_token))
        with pytest.raises(Unauthenticated) as caught:
            await refresh(kernel, token)
        assert caught.value.code == "refresh_token_invalid"


@pytest.mark.sqlite
async def test_everything_sealed_is_sealed_again_and_stays_readable(open_kernel: Opener) -> None:
    """Active and next key; what has no private half is left alone; a second time there is nothing to do."""
    async with open_kernel(secret=(OLD,)) as kernel:
        await kernel.keys.follow_schedule()
        signing = kernel.keys.ring.signing.kid
        old_id = await sealed_by(kernel)
    async with open_kernel(secret=(NEW, OLD), serves=False) as kernel:
        meddle(
            kernel,
            "INSERT INTO ww_signing_keys VALUES ('gone', 'ES256', 'removed', '{}', '', 1, 1, 1, NULL)",
        )
        assert (await rotate(kernel)).values == 2
        assert (await rotate(kernel)).values == 0
        assert await sealed_by(kernel) == {kernel.master.ids[0]} != old_id
    async with open_kernel(secret=(NEW,)) as kernel:
        assert kernel.keys.ring.signing.kid == signing
    with pytest.raises(SettingsError):
        async with open_kernel(secret=(OLD,)):
            pass


@pytest.mark.sqlite
async def test_with_a_wrong_master_nothing_is_changed(open_kernel: Opener) -> None:
    """The list has the check value's secret, but one key was sealed by another: all or nothing."""
    async with open_kernel(secret=(OLD,)) as kernel:
        await kernel.keys.follow_schedule()
        (upcoming,) = [key.kid for key in await kernel.keys.store.published() if key.status == "next"]
        meddle(
            kernel,
            "UPDATE ww_signing_keys SET sealed_private = 'abcdefabcdef.AAAA' WHERE kid = '" + upcoming + "'",
        )
        before = await recorded(kernel, "ww_signing_keys"), await recorded(kernel, "ww_meta")
    async with open_kernel(secret=(NEW, OLD), serves=False) as kernel:
        with pytest.raises(SettingsError, match="sealed under another master secret"):
            await rotate(kernel)
        assert (await recorded(kernel, "ww_signing_keys"), await recorded(kernel, "ww_meta")) == before
    with pytest.raises(SettingsError, match="made under another master secret"):
        async with open_kernel(secret=(NEW, NEWEST), serves=False):
            pass


async def test_a_command_with_another_order_of_secrets_changes_nothing(open_kernel: Opener) -> None:
    """Listing users with a new secret in the shell must not keep the running service from starting again."""
    async with open_kernel(secret=(OLD,)) as kernel:
        before = await recorded(kernel, "ww_signing_keys"), await recorded(kernel, "ww_meta")
    async with open_kernel(secret=(NEW, OLD), serves=False) as kernel:
        assert (await recorded(kernel, "ww_signing_keys"), await recorded(kernel, "ww_meta")) == before
    async with open_kernel(secret=(OLD,)):
        pass


async def test_a_command_with_a_secret_that_has_not_taken_over_makes_keys_that_the_service_reads(
    open_kernel: Opener,
) -> None:
    """⚑ The shell has NEW,OLD already, the running service OLD alone: what signs from now on must open for both."""
    async with open_kernel(secret=(OLD,)) as kernel, open_kernel(secret=(NEW, OLD), serves=False) as command:
        await command.keys.store.revoke(None, client=LOCAL, check=unchecked)
        assert await kernel.keys.reload() is True
        assert kernel.keys.usable
        assert await sealed_by(kernel) == {kernel.master.ids[0]}
    async with open_kernel(secret=(NEW, OLD)) as kernel:
        assert await sealed_by(kernel) == {kernel.master.ids[0]}


async def test_an_old_secret_is_needed_as_long_as_a_session_was_not_refreshed_since(
    open_kernel: Opener, clock: FixedClock
) -> None:
    """It counts from the first call, not from the first start: others may have used the old one until then."""
    async with open_kernel(secret=(OLD,)) as kernel:
        for name in ("alice", "bob", "carol"):
            await join(kernel, name)
        tokens = [(await log_in(kernel, name)).tokens for name in ("alice", "bob", "carol")]
    async with open_kernel(secret=(NEW, OLD)) as kernel:
        clock.advance(HOUR)
        until = clock.now() + 7 * DAY - HOUR
        assert await rotate(kernel) == Resealed(0, 3, until)
        clock.advance(60)
        await refresh(kernel, tokens[0].refresh_token)
        assert await rotate(kernel) == Resealed(0, 2, until)
        await kernel.sessions.log_out(claims=None, presented=tokens[1].refresh_token, client=resealing.LOCAL)
        assert await rotate(kernel) == Resealed(0, 1, until)
        clock.advance(until - clock.now() - 1)
        assert (await rotate(kernel)).sessions == 1
        clock.advance(1)
        assert await rotate(kernel) == Resealed(0, 0, None)
    async with open_kernel(secret=(OLD, NEW)):
        pass  # in the wrong order: from then on refresh tokens are the old secret's again
    async with open_kernel(secret=(NEW, OLD)) as kernel:
        await log_in(kernel)
        assert (await rotate(kernel)).sessions == 2, "alice's, refreshed under the new secret, may be from before too"


async def test_a_list_in_the_wrong_order_does_not_take_over(
    open_kernel: Opener, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⚑ OLD,NEW after NEW has superseded OLD: it can be used, and is warned about; what is sealed stays as it is.

    It was sealed with OLD again in silence, and NEW was called superfluous: dropped, it logged people out.
    """
    warned: list[dict[str, object]] = []
    monkeypatch.setattr(resealing, "_log", SimpleNamespace(warning=lambda event, **more: warned.append(more)))
    async with open_kernel(secret=(OLD,)) as kernel:
        await join(kernel)
        token = (await log_in(kernel)).tokens.refresh_token
    async with open_kernel(secret=(NEW, OLD)) as kernel:
        assert warned == []
        token = (await refresh(kernel, token)).refresh_token
        before = await sealed_by(kernel)
        old_id, new_id = kernel.master.ids[1], kernel.master.ids[0]
    async with open_kernel(secret=(OLD, NEW)) as kernel:
        assert [(line["first"], line["in_force"]) for line in warned] == [(old_id, new_id)]
        assert await sealed_by(kernel) == before == {new_id}
        claims_of(kernel, await refresh(kernel, token))
        clock.advance(40 * DAY)
        await kernel.keys.follow_schedule()
        assert await sealed_by(kernel) == {new_id}, "no key is made that the right secret alone could not open"
        with pytest.raises(SettingsError, match="wrong order") as caught:
            await rotate(kernel)
        assert f"(id {old_id}) that another one (id {new_id})" in caught.value.faults[0].message
        assert "--go-back" in caught.value.faults[0].hint
        assert await sealed_by(kernel) == before
    async with open_kernel(secret=(NEW,)):
        assert len(warned) == 1


async def test_who_says_so_goes_back(open_kernel: Opener) -> None:
    """And then the other one is the superseded: each way it has to be said."""
    for secrets in ((OLD,), (NEW, OLD), (NEWEST, NEW, OLD)):
        async with open_kernel(secret=secrets):
            pass
    async with open_kernel(secret=(OLD, NEWEST), serves=False) as kernel:
        with pytest.raises(SettingsError, match="wrong order"):
            await rotate(kernel)
        done = await resealing.rotate(kernel.master, kernel.database, kernel.clock, go_back=True)
        assert (done.values, await sealed_by(kernel)) == (1, {kernel.master.ids[0]})
        assert await rotate(kernel) == Resealed(0, 0, None)
    async with open_kernel(secret=(NEWEST, OLD), serves=False) as kernel:
        with pytest.raises(SettingsError, match="wrong order"):
            await rotate(kernel)
    async with open_kernel(secret=(OLD,)):
        pass


async def test_a_prepared_list_supersedes_nothing(open_kernel: Opener) -> None:
    """The guide's first step lists the new secret second: only what was in force can be superseded."""
    async with open_kernel(secret=(OLD,)):
        pass
    async with open_kernel(secret=(OLD, NEW)) as kernel:
        await rotate(kernel)
    async with open_kernel(secret=(NEW, OLD)) as kernel:
        await rotate(kernel)
        assert await sealed_by(kernel) == {kernel.master.ids[0]}


async def test_taking_over_is_on_record_once(open_kernel: Opener) -> None:
    """With the id of the secret, which helps nobody to guess it."""
    async with open_kernel(secret=(OLD,)) as kernel:
        assert not [row for row in await recorded(kernel, "ww_audit") if row["event"] == "master_secret_rotated"]
    async with open_kernel(secret=(NEW, OLD)) as kernel:
        await rotate(kernel)
        rows = [row for row in await recorded(kernel, "ww_audit") if row["event"] == "master_secret_rotated"]
        assert len(rows) == 1
        assert kernel.master.ids[0] in rows[0]["detail"]


def test_every_sealed_column_of_the_schema_is_sealed_again() -> None:
    """A column that is forgotten here could not be read any more when the old secret has gone."""
    schema = "\n".join(statement for migration in bundled() for statement in migration.statements)
    columns: set[tuple[str, str]] = set()
    for table, body in re.findall(r"CREATE TABLE (\w+) \((.*?)\n?\)(?:;|$)", schema, re.DOTALL | re.MULTILINE):
        columns |= {(table, column) for column in re.findall(r"\b(sealed_\w+)", body)}
    columns |= set(re.findall(r"ALTER TABLE (\w+) ADD COLUMN (sealed_\w+)", schema))
    assert columns == {(sealed.table, sealed.column) for sealed in SEALED} != set()

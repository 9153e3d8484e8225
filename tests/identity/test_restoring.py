"""After a backup was restored nothing that was issued before is good, also what the backup does not know."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.identity.scenes import (
    DAY,
    HOME,
    Opener,
    claims_of,
    entries,
    join,
    log_in,
    operator,
    recorded,
    refresh,
    reset_password,
)
from tests.identity.test_service_accounts import made, token
from watchword.clock import FixedClock
from watchword.errors import TokenError, Unauthenticated
from watchword.identity.api_keys import NewKey
from watchword.identity.audit import LOCAL
from watchword.identity.feed import Cursor, RevocationLog
from watchword.identity.granting import unchecked
from watchword.identity.kernel import Kernel
from watchword.identity.one_time import Issued
from watchword.identity.restoring import FAR_AHEAD, Restored, StillGood, note_restored
from watchword.identity.revocation import find_place
from watchword.identity.rights import EVERYTHING
from watchword.storage.database import Tx

SECRET = "q7Zs0e1Yk2Vb9Xc4Nf6Tj8Hm3Lp5Rw-Ud"


async def note(kernel: Kernel, *, shared_secret: bool = False) -> Restored:
    return await note_restored(kernel.revocations, kernel.keys.store, kernel.clock, shared_secret=shared_secret)


def put_back(backup: Path, data: Path) -> None:
    """Restore a copy of the file that was made while nothing ran."""
    for part in data.glob("watchword.db*"):
        part.unlink()
    shutil.copy(backup, data / "watchword.db")


@pytest.mark.sqlite
async def test_what_the_backup_forgot_does_not_come_back(open_kernel: Opener, tmp_path: Path) -> None:
    """A key revoked, a session ended and a password changed since: none of them is good again."""
    backup = tmp_path / "backup"
    async with open_kernel() as kernel:
        user = await join(kernel)
        stolen = (await log_in(kernel)).tokens
        await kernel.keys.follow_schedule()

        async def unit(tx: Tx) -> Issued:
            address = kernel.asks.address("alice@example.org")
            return await kernel.asks.write(tx, "reset", address, client=HOME)

        reset = await kernel.database.transact(unit)
        link = await kernel.one_time.derive(reset.id, reset.seed)
        assert link is not None
    shutil.copy(tmp_path / "watchword.db", backup)
    async with open_kernel() as kernel:
        leaked = kernel.keys.ring.signing.kid
        await kernel.keys.store.revoke((leaked,), client=LOCAL, check=unchecked)
        await reset_password(kernel, user.id)
        later = (await log_in(kernel)).tokens
        after = await join(kernel, "bob")
        of_the_lost = (await log_in(kernel, "bob")).tokens
    put_back(backup, tmp_path)
    async with open_kernel() as kernel:
        assert kernel.keys.ring.signing.kid == leaked, "the backup brings it back as if nothing had happened"
        done = await note(kernel)
        assert (done.sessions, done.users, len(done.keys.kids), done.entries) == (1, 1, 2, 0)
        await kernel.revocations.poll()
        await kernel.keys.reload()
        assert kernel.keys.ring.signing.kid not in {leaked, *done.keys.kids}
        assert await recorded(kernel, "ww_outbox") == []
        assert await kernel.one_time.find(link.token, ("reset",)) is None
        for tokens in (stolen, later, of_the_lost):
            with pytest.raises(TokenError):
                claims_of(kernel, tokens)
            with pytest.raises(Unauthenticated) as caught:
                await refresh(kernel, tokens.refresh_token)
            assert caught.value.code == "session_ended"
        assert await kernel.users.find(after.id) is None
        restored = await kernel.users.find(user.id)
        assert restored is not None
        assert restored.token_version == user.token_version + FAR_AHEAD
        claims_of(kernel, await log_in(kernel))
        (row,) = [row for row in await recorded(kernel, "ww_audit") if row["event"] == "database_restored"]
        assert done.feed_id in row["detail"]


async def test_followers_read_the_new_list_from_the_beginning(open_kernel: Opener) -> None:
    """Those inside the service and those outside: a place in the old list is none in the new one."""
    async with open_kernel() as here, open_kernel() as there:
        await join(here)
        tokens = (await log_in(here)).tokens
        feed = RevocationLog(here.database, here.clock, lambda: here.keys.ring.version)
        before = await feed.page(None, wait=False)
        done = await note(here)
        page = await feed.page(Cursor(before.feed_id, int(before.cursor.rpartition(".")[2])), wait=False)
        assert (page.reset, page.feed_id) == (True, done.feed_id)
        assert {entry.subject for entry in page.entries if entry.kind == "key"} == set(done.keys.kids)
        await there.revocations.poll()
        with pytest.raises(TokenError) as caught:
            claims_of(there, tokens)
        assert caught.value.code == "token_revoked"


async def test_under_a_shared_secret_every_users_tokens_are_listed(open_kernel: Opener, clock: FixedClock) -> None:
    """There is no key to revoke: an entry for each user, until the longest-lived token has expired."""
    async with open_kernel(jwt_secret=SECRET) as kernel:
        people = [await join(kernel, name) for name in ("alice", "bob", "carol")]
        tokens = (await log_in(kernel)).tokens
        account, shown = await made(kernel)
        of_account = await token(kernel, shown)
        done = await note(kernel)  # the command was not told: no key signs, and that is enough
        assert done.entries == 4
        await find_place(kernel.database)  # PostgreSQL numbers what is committed when it is read
        rows = await entries(kernel)
        assert {row["subject"] for row in rows} == {account.id, *(person.id for person in people)}
        assert [row["seq"] for row in rows] == [1, 2, 3, 4]
        assert {row["expires_at"] for row in rows} == {clock.now() + DAY + 3720}
        await kernel.revocations.poll()
        with pytest.raises(TokenError) as caught:
            claims_of(kernel, tokens)
        assert caught.value.code == "token_revoked"
        with pytest.raises(TokenError):
            kernel.verifier.verify(of_account)
        claims_of(kernel, await log_in(kernel))
        kernel.verifier.verify(await token(kernel, shown))
        head = await kernel.database.one("SELECT head FROM ww_feed")
        assert head is not None
        assert head["head"] == 4


async def test_keys_that_work_again_are_counted(kernel: Kernel) -> None:
    """⚑ They are not ended, and no one can tell which were ended since; those that are refused anyway do not count."""
    for name, days in (("ada", 60), ("bob", 1), ("eve", 60)):
        user = await join(kernel, name)
        claims = claims_of(kernel, await log_in(kernel, name))
        await kernel.api_keys.create(claims, NewKey("nightly", EVERYTHING, days * DAY), client=HOME)
    await operator(kernel).disable(user.id)
    for name in ("one", "two"):
        await made(kernel, name=name)
        await kernel.guard_keys.create(name, client=HOME)
    await kernel.guard_keys.create("three", client=HOME)
    await kernel.service_accounts.disable("two", client=HOME)
    await kernel.guard_keys.revoke("two", client=HOME)
    kernel.clock.advance(2 * DAY)  # type: ignore[attr-defined]
    assert (await note(kernel)).good == StillGood(api_keys=1, accounts=1, guard_keys=2)


async def test_it_may_be_said_twice(kernel: Kernel) -> None:
    """Whoever is not sure whether it was done does it again: another new list, and the same end."""
    await join(kernel)
    first = await note(kernel)
    await log_in(kernel)
    second = await note(kernel)
    assert second.feed_id != first.feed_id
    assert second.sessions == 1
    assert second.keys.kids == first.keys.signing

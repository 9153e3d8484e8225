"""A process without the master secret that has taken over: what it still does, what it refuses, what it says."""

from __future__ import annotations

from hashlib import sha256

import pytest

from tests.identity.scenes import Opener, claims_of, join, log_in, recorded, refresh
from watchword.errors import StorageUnavailable
from watchword.identity.audit import LOCAL
from watchword.identity.granting import unchecked
from watchword.identity.issuing import AccessGrant
from watchword.identity.kernel import Kernel
from watchword.identity.keys import resealing
from watchword.identity.keys import ring as key_ring
from watchword.web.logs import REDACTED, redact

OLD, NEW = (sha256(name).digest() for name in (b"old", b"new"))
GRANT = AccessGrant("u", "s", "watchword", "", (), 1, auth_time=1, amr=("pwd",), issued_at=1, not_after=10**10)


class Log:
    """What was reported, as it is written: behind the redactor."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[dict[str, object]] = []
        monkeypatch.setattr(key_ring, "_log", self)

    def error(self, event: str, **values: object) -> None:
        self.lines.append(dict(redact(None, "", {"event": event, **values})))

    def of(self, event: str) -> list[dict[str, object]]:
        return [line for line in self.lines if line["event"] == event]


async def overtaken(stale: Kernel, fresh: Kernel) -> None:
    """What an operator does whose service runs with the old secret alone."""
    await resealing.rotate(fresh.master, fresh.database, fresh.clock)
    await fresh.keys.store.revoke(None, client=LOCAL, check=unchecked)
    await stale.revocations.poll()
    assert await stale.keys.reload() is True


async def test_a_revoked_key_signs_no_more_also_where_its_successor_cannot_be_read(open_kernel: Opener) -> None:
    """⚑ 503 and nothing changed, so that the refresh token is good again when the service has the new secret.

    Signing on with the revoked key would yield tokens that nobody accepts, the service itself included.
    """
    async with open_kernel(secret=(OLD,)) as stale, open_kernel(secret=(NEW, OLD), serves=False) as fresh:
        await join(stale)
        token = (await log_in(stale)).tokens.refresh_token
        assert stale.keys.usable
        await overtaken(stale, fresh)
        assert not stale.keys.ring.signs
        assert not stale.keys.usable
        before = await recorded(stale, "ww_sessions"), await recorded(stale, "ww_signing_keys")
        with pytest.raises(StorageUnavailable):
            await refresh(stale, token)
        with pytest.raises(StorageUnavailable):
            await log_in(stale)
        with pytest.raises(StorageUnavailable):
            stale.issuer.access_token(GRANT)
        await stale.keys.follow_schedule()
        after = await recorded(stale, "ww_sessions"), await recorded(stale, "ww_signing_keys")
        assert before == after, "no key is made that only the old secret opens, either"
    async with open_kernel(secret=(NEW, OLD)) as kernel:
        claims_of(kernel, await refresh(kernel, token))


async def test_what_is_wrong_is_readable_and_said_once_per_change(
    open_kernel: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⚑ The log hides what comes after a setting's name; and it is read four times a second."""
    async with open_kernel(secret=(OLD,)) as stale, open_kernel(secret=(NEW, OLD), serves=False) as fresh:
        log = Log(monkeypatch)
        await overtaken(stale, fresh)
        for _ in range(3):
            assert await stale.keys.reload() is False
        (unreadable,), (replaced,) = log.of("signing_key_unreadable"), log.of("master_replaced")
        active = (await fresh.keys.store.published())[0].kid
        reason = f"the database holds signing key {active} sealed under another master secret"
        assert (unreadable["reason"], unreadable["still_signing"]) == (reason, None)
        assert replaced["reason"] == key_ring._REPLACED
        assert unreadable["hint"] == replaced["hint"] == key_ring._START_AGAIN
        assert REDACTED not in str(log.lines)
        await fresh.keys.store.revoke(None, client=LOCAL, check=unchecked)
        await stale.keys.reload()
        assert [len(log.of(event)) for event in ("signing_key_unreadable", "master_replaced")] == [2, 1]


async def test_a_key_that_can_be_read_again_signs(open_kernel: Opener) -> None:
    """⚑ The secrets went back to where they were: the row has the same id and status, and another seal."""
    async with open_kernel(secret=(OLD,)) as stale, open_kernel(secret=(NEW, OLD), serves=False) as fresh:
        await join(stale)
        await overtaken(stale, fresh)
        async with open_kernel(secret=(OLD, NEW), serves=False) as back:
            await resealing.rotate(back.master, back.database, back.clock, go_back=True)
        assert await stale.keys.reload() is True
        assert stale.keys.usable
        claims_of(stale, await log_in(stale))

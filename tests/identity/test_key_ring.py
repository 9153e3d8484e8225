"""The signing keys: one active, sealed, and published without their private halves."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode
from hashlib import sha256

import msgspec
import pytest

from tests.identity.scenes import (
    DAY,
    HOUR,
    Opener,
    claims_of,
    file_contents,
    join,
    log_in,
    meddle,
    recorded,
    refresh,
    statements,
)
from watchword import base64url
from watchword.clock import FixedClock
from watchword.errors import TokenError
from watchword.identity.audit import LOCAL
from watchword.identity.granting import unchecked
from watchword.identity.kernel import Kernel
from watchword.identity.keys.master import Master
from watchword.identity.keys.store import fresh
from watchword.tokens.keys import KeySet, SigningKey
from watchword.tokens.rotation import BESIDE_EACH_OTHER, PUBLISHED_AFTER_USE, PUBLISHED_BEFORE_USE, Make

OLD, NEW = (sha256(name).digest() for name in (b"old", b"new"))


async def test_B10_keys_made_at_once_within_a_process_are_one(kernel: Kernel) -> None:
    """The row that is already active stays; a second insert changes nothing, and leaves no record either."""
    before = await recorded(kernel, "ww_signing_keys")
    audited = await recorded(kernel, "ww_audit")
    await asyncio.gather(*(kernel.keys.store._do(Make("ES256", "active")) for _ in range(8)))
    assert await recorded(kernel, "ww_signing_keys") == before
    assert await recorded(kernel, "ww_audit") == audited
    assert [row["kid"] for row in before if row["status"] == "active"] == [kernel.keys.ring.signing.kid]


@pytest.mark.sqlite
@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS256", "EdDSA", "Ed25519"])
async def test_B8_the_private_key_is_nowhere_in_clear(open_kernel: Opener, algorithm: str) -> None:
    """Search the database files for each private number, in base64url and raw; the published set has none either."""
    async with open_kernel(algorithm=algorithm) as kernel:
        private = kernel.keys.ring.signing.to_private_jwk()
        dump = file_contents(kernel)
        secret_members = [name for name in private if name in {"d", "p", "q", "dp", "dq", "qi"}]
        assert "d" in secret_members
        for name in secret_members:
            text = str(private[name])
            assert text.encode() not in dump
            assert urlsafe_b64decode(text + "=" * (-len(text) % 4)) not in dump
        assert str(private["d"]) not in repr(kernel.keys.ring.published)
        # Nor behind one more base64: the sealed value is encrypted, not just spelled otherwise.
        (row,) = await recorded(kernel, "ww_signing_keys")
        assert str(private["d"]).encode() not in base64url.decode(row["sealed_private"].partition(".")[2])
        await join(kernel)
        claims_of(kernel, await log_in(kernel))


async def test_the_key_survives_a_restart(open_kernel: Opener) -> None:
    """A token from before the restart verifies after it."""
    async with open_kernel() as kernel:
        await join(kernel)
        tokens = (await log_in(kernel)).tokens
    async with open_kernel() as kernel:
        claims_of(kernel, tokens)


async def test_changing_the_algorithm_keeps_earlier_tokens_good(open_kernel: Opener) -> None:
    """Each algorithm has its own active key; both are verified, the new one signs."""
    async with open_kernel() as kernel:
        await join(kernel)
        before = (await log_in(kernel)).tokens
    async with open_kernel(algorithm="EdDSA") as kernel:
        claims_of(kernel, before)
        assert kernel.keys.ring.signing.algorithm != "ES256"
        assert len(await recorded(kernel, "ww_signing_keys")) == 2


async def test_a_shared_secret_publishes_nothing_and_stores_no_key(open_kernel: Opener) -> None:
    """HS256: there is no public half, and the database holds no copy of the secret."""
    async with open_kernel(jwt_secret="q7Zs0e1Yk2Vb9Xc4Nf6Tj8Hm3Lp5Rw-Ud") as kernel:
        assert await recorded(kernel, "ww_signing_keys") == []
        await join(kernel)
        claims_of(kernel, await log_in(kernel))


async def test_a_revoked_key_is_neither_published_nor_accepted(open_kernel: Opener) -> None:
    """After an emergency its tokens are unknown, and another key is made to sign."""
    async with open_kernel() as kernel:
        await join(kernel)
        tokens = (await log_in(kernel)).tokens
        old = kernel.keys.ring.signing.kid
        await kernel.database.run("UPDATE ww_signing_keys SET status = 'revoked', revoked_at = 1")
    async with open_kernel() as kernel:
        assert kernel.keys.ring.signing.kid != old
        assert kernel.keys.ring.key_set.find(old) is None
        with pytest.raises(TokenError, match="unknown key"):
            claims_of(kernel, tokens)


# --- Following ----------------------------------------------------------------------------------------------------


def kids(kernel: Kernel) -> list[str]:
    """What is published."""
    return [key["kid"] for key in msgspec.json.decode(kernel.keys.ring.published)["keys"]]


async def status_of(kernel: Kernel) -> dict[str, str]:
    return {row["kid"]: row["status"] for row in await recorded(kernel, "ww_signing_keys")}


@pytest.mark.sqlite
async def test_a_reload_that_finds_nothing_new_reads_little_and_unseals_nothing(kernel: Kernel) -> None:
    """Under load it happens four times a second: two short reads, no private key, and the ring is the same object."""
    await kernel.keys.follow_schedule()
    before = kernel.keys.ring
    with statements(kernel) as seen:
        assert await kernel.keys.reload() is False
    master, statement = seen.of_the_product
    assert master == "SELECT value FROM ww_meta WHERE name = 'master_check'"
    assert statement.startswith("SELECT kid, status FROM ww_signing_keys")
    assert kernel.keys.ring is before


async def test_a_reload_keeps_the_keys_that_it_knows(kernel: Kernel) -> None:
    """Only what is new is loaded: keys are objects of another library, and cost."""
    known = list(kernel.keys.ring.key_set)
    signing = kernel.keys.ring.signing
    assert await kernel.keys.follow_schedule() is True
    assert kernel.keys.ring.signing is signing
    assert known[0] in list(kernel.keys.ring.key_set)
    assert len(kernel.keys.ring.key_set) == 2


async def test_b9_another_process_publishes_the_next_key_before_it_signs(
    open_kernel: Opener, clock: FixedClock
) -> None:
    """What one process does by the schedule the other follows; the document changes when a key comes, not when it
    begins to sign."""
    async with open_kernel() as here, open_kernel() as there:
        first = here.keys.ring.signing.kid
        assert await here.keys.follow_schedule() is True
        assert await there.keys.reload() is True
        (upcoming,) = set(kids(there)) - {first}
        version = there.keys.ring.version
        assert there.keys.ring.version == here.keys.ring.version
        clock.advance(30 * DAY)
        await join(here)
        assert await here.keys.follow_schedule() is True
        tokens = (await log_in(here)).tokens
        claims_of(there, tokens)  # it has known the key for a month, and need not have heard of the change
        assert there.keys.ring.version == version
        assert await there.keys.reload() is True
        assert there.keys.ring.signing.kid == here.keys.ring.signing.kid == upcoming
        assert {first, upcoming} < set(kids(there))
        assert (await status_of(here))[first] == "retired"


@pytest.mark.sqlite
async def test_the_private_half_is_deleted_when_a_key_signs_no_more(kernel: Kernel, clock: FixedClock) -> None:
    """Retired, removed and revoked keys have none; each change is on record, with the key and nothing secret."""
    clock.advance(30 * DAY)
    await kernel.keys.follow_schedule()
    clock.advance(PUBLISHED_BEFORE_USE)
    await kernel.keys.follow_schedule()
    clock.advance(PUBLISHED_AFTER_USE)
    await kernel.keys.follow_schedule()
    rows = await recorded(kernel, "ww_signing_keys")
    assert [row["status"] for row in rows] == ["removed", "active", "next"]
    assert [bool(row["sealed_private"]) for row in rows] == [False, True, True]
    audited = [row for row in await recorded(kernel, "ww_audit") if row["event"].startswith("key_")]
    first = [row["event"] for row in audited if rows[0]["kid"] in row["detail"]]
    assert first == ["key_created", "key_retired", "key_removed"]
    assert not any(row["sealed_private"] and row["sealed_private"] in str(audited) for row in rows)


async def test_b9_a_year_of_rotations_with_a_verifier_that_keeps_the_set_for_a_day(
    open_kernel: Opener, clock: FixedClock
) -> None:
    """Real rows, real signatures, tokens that live as long as they may: none is refused, by nobody, all year long."""
    async with open_kernel(access_lifetime="24h", refresh_idle="400d", session_lifetime="400d") as kernel:
        await join(kernel)
        tokens = (await log_in(kernel)).tokens
        cached_at, cached = 0, KeySet(())
        signers: dict[str, int] = {}
        live = [tokens.access_token]
        for _ in range(365 * 24 // 5):
            clock.advance(5 * HOUR)
            await kernel.keys.follow_schedule()
            if clock.now() - cached_at >= 24 * HOUR:
                cached_at, cached = clock.now(), kernel.keys.ring.key_set
            tokens = await refresh(kernel, tokens.refresh_token)
            live = [tokens.access_token, *live[:4]]  # the fifth is twenty hours old
            assert all(kernel.verifier.verify(token).kid in cached for token in live)
            signers.setdefault(kernel.keys.ring.signing.kid, clock.now())
        assert len(signers) == 365 // 30 + 1
        rows = {row["kid"]: row for row in await recorded(kernel, "ww_signing_keys")}
        for kid in list(signers)[1:]:
            assert rows[kid]["activated_at"] - rows[kid]["created_at"] >= PUBLISHED_BEFORE_USE
        assert [row["status"] for row in rows.values()].count("removed") >= 10


# --- Other algorithms ---------------------------------------------------------------------------------------------


async def test_the_key_of_the_algorithm_before_is_retired_and_its_tokens_run_out(
    open_kernel: Opener, clock: FixedClock
) -> None:
    """ES256 → EdDSA: tokens from before stay good, the old key loses its private half after an hour and leaves."""
    async with open_kernel() as kernel:
        await join(kernel)
        await kernel.keys.follow_schedule()
        before = (await log_in(kernel)).tokens
        old = kernel.keys.ring.signing.kid
    async with open_kernel(algorithm="EdDSA") as kernel:
        await kernel.keys.follow_schedule()
        claims_of(kernel, before)
        assert (await status_of(kernel))[old] == "active", "another process may still be signing with it"
        clock.advance(BESIDE_EACH_OTHER)
        await kernel.keys.follow_schedule()
        assert (await status_of(kernel))[old] == "retired"
        assert old in kids(kernel)
        clock.advance(PUBLISHED_AFTER_USE)
        await kernel.keys.follow_schedule()
        assert old not in kids(kernel)
        assert {row["algorithm"] for row in await recorded(kernel, "ww_signing_keys") if row["sealed_private"]} == {
            "EdDSA"
        }


async def test_two_processes_with_different_algorithms_both_go_on_signing(
    open_kernel: Opener, clock: FixedClock
) -> None:
    """While a setting spreads, and also if it never does: what either signs is good at both, at any time."""
    async with open_kernel() as here, open_kernel(algorithm="EdDSA") as there:
        await join(here)
        for _ in range(80):
            clock.advance(HOUR // 2)
            for kernel in (here, there):
                await kernel.keys.follow_schedule()
            for kernel in (here, there):
                await kernel.keys.reload()
            for kernel, other in ((here, there), (there, here)):
                claims_of(other, (await log_in(kernel)).tokens)
        assert {here.keys.ring.signing.algorithm, there.keys.ring.signing.algorithm} == {"ES256", "EdDSA"}


async def test_to_a_shared_secret_and_back_nobody_is_logged_out(open_kernel: Opener, clock: FixedClock) -> None:
    """Public keys and shared secrets are never accepted side by side, so tokens are refreshed; sessions go on.

    What signed before stays published, for those who verify with the key set, until its tokens have expired.
    """
    secret = "q7Zs0e1Yk2Vb9Xc4Nf6Tj8Hm3Lp5Rw-Ud"
    async with open_kernel() as kernel:
        await join(kernel)
        tokens = (await log_in(kernel)).tokens
        old = kernel.keys.ring.signing.kid
    async with open_kernel(jwt_secret=secret) as kernel:
        with pytest.raises(TokenError):
            claims_of(kernel, tokens)
        tokens = await refresh(kernel, tokens.refresh_token)
        claims_of(kernel, tokens)
        clock.advance(BESIDE_EACH_OTHER)
        await kernel.keys.follow_schedule()
        assert (await status_of(kernel)) == {old: "retired"}
        assert kids(kernel) == [old]
        assert secret.encode() not in kernel.keys.ring.published
        tokens = await refresh(kernel, tokens.refresh_token)
    async with open_kernel() as kernel:
        with pytest.raises(TokenError):
            claims_of(kernel, tokens)
        claims_of(kernel, await refresh(kernel, tokens.refresh_token))
        assert kernel.keys.ring.signing.kid != old, "a retired key never signs again"


# --- Trouble ---------------------------------------------------------------------------------------------------


async def test_a_command_makes_no_key_and_opens_none(open_kernel: Opener) -> None:
    """It may see other settings than the service: listing users must not make a key of the wrong algorithm."""
    async with open_kernel(serves=False) as kernel:
        assert await recorded(kernel, "ww_signing_keys") == []
    async with open_kernel(algorithm="EdDSA") as service, open_kernel(serves=False) as command:
        assert len(await recorded(command, "ww_signing_keys")) == 1
        assert command.keys.ring.signing.kid != service.keys.ring.signing.kid
        assert kids(command) == []


async def test_a_key_that_cannot_be_read_does_not_stop_the_following(open_kernel: Opener, clock: FixedClock) -> None:
    """Sealed under a secret that this process does not have: it goes on with what it has, and verifies what is new."""
    async with open_kernel(secret=(OLD,)) as stale, open_kernel(secret=(NEW, OLD)) as fresh:
        await join(fresh)
        await fresh.keys.follow_schedule()
        clock.advance(30 * DAY)
        await fresh.keys.follow_schedule()
        signing = stale.keys.ring.signing.kid
        assert await stale.keys.reload() is True
        assert stale.keys.ring.signing.kid == signing != fresh.keys.ring.signing.kid
        claims_of(stale, await log_in(fresh))
        claims_of(fresh, await log_in(stale))
        assert await stale.keys.reload() is False
        assert stale.keys.ring.signs, "the key that signed so far stays published for a day"


async def test_threads_that_verify_while_the_keys_change_never_mix_old_and_new(kernel: Kernel) -> None:
    """⚑ A host verifies in several threads: whoever sees the new ring has the verifier that was made of it."""
    await join(kernel)
    stale = kernel.verifier
    await kernel.keys.store.revoke(None, client=LOCAL, check=unchecked)
    await kernel.keys.reload()
    token = (await log_in(kernel)).tokens.access_token
    made, met = stale._made, []

    def slowly() -> object:
        """Another thread comes in the middle of the change."""
        if not met:
            met.append(None)
            met.append(stale.verify(token).kid)
        return made()

    stale._made = slowly  # type: ignore[method-assign,assignment]
    assert stale.verify(token).kid == met[1] == kernel.keys.ring.signing.kid


@pytest.mark.sqlite
async def test_an_active_key_that_disappears_is_replaced(kernel: Kernel) -> None:
    """Somebody deletes rows by hand: the service makes another key and goes on."""
    gone = kernel.keys.ring.signing.kid
    await join(kernel)
    meddle(kernel, "DELETE FROM ww_signing_keys")
    assert await kernel.keys.reload() is True
    assert kernel.keys.ring.signing.kid != gone
    claims_of(kernel, await log_in(kernel))


def test_b7_an_id_can_be_an_argument_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thumbprint in 64 begins with a hyphen, and would be taken for an option in an emergency."""
    keys = [SigningKey.generate("Ed25519") for _ in range(2)]
    while not keys[0].kid.startswith("-"):
        keys[0] = SigningKey.generate("Ed25519")
    while keys[1].kid.startswith("-"):
        keys[1] = SigningKey.generate("Ed25519")
    waiting = iter(keys)
    monkeypatch.setattr(SigningKey, "generate", lambda _: next(waiting))
    assert fresh("Ed25519", Master((b"x" * 32,))).kid == keys[1].kid

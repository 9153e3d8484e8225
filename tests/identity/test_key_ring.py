"""The signing keys: one active, sealed, and published without their private halves."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from pathlib import Path

import pytest

from tests.identity.scenes import Opener, claims_of, file_contents, join, log_in, recorded
from tests.identity.starting import at_once
from watchword.errors import TokenError
from watchword.identity import key_ring
from watchword.identity.kernel import Kernel
from watchword.identity.master import Master

_START = """
import asyncio
from watchword.app import opened
from watchword.settings import Settings
settings = Settings(data_dir=sys.argv[1], workers=8)
async def main():
    async with opened(settings) as kernel:
        print(kernel.ring.signing.kid)
ready()
asyncio.run(main())
"""


@pytest.mark.timeout(120)
def test_B10_eight_processes_on_an_empty_database_have_one_active_key(tmp_path: Path) -> None:
    """Real processes, one file: whoever loses the race for the partial unique index signs with the winner's key."""
    assert len(set(at_once(_START, str(tmp_path), processes=8))) == 1


async def test_B10_keys_made_at_once_within_a_process_are_one(kernel: Kernel) -> None:
    """The row that is already active stays; a second insert changes nothing."""
    before = await recorded(kernel, "ww_signing_keys")
    await key_ring._make(kernel.database, Master((b"x" * 32,)), "ES256", 0)
    assert await recorded(kernel, "ww_signing_keys") == before
    assert [row["kid"] for row in before if row["status"] == "active"] == [kernel.ring.signing.kid]


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS256", "EdDSA", "Ed25519"])
async def test_B8_the_private_key_is_nowhere_in_clear(open_kernel: Opener, algorithm: str) -> None:
    """Search the database files for each private number, in base64url and raw; the published set has none either."""
    async with open_kernel(algorithm=algorithm) as kernel:
        private = kernel.ring.signing.to_private_jwk()
        dump = file_contents(kernel)
        secret_members = [name for name in private if name in {"d", "p", "q", "dp", "dq", "qi"}]
        assert "d" in secret_members
        for name in secret_members:
            text = str(private[name])
            assert text.encode() not in dump
            assert urlsafe_b64decode(text + "=" * (-len(text) % 4)) not in dump
        assert str(private["d"]) not in repr(kernel.ring.published)
        # Nor behind one more base64: the sealed value is encrypted, not just spelled otherwise.
        (row,) = await recorded(kernel, "ww_signing_keys")
        assert str(private["d"]).encode() not in urlsafe_b64decode(row["sealed_private"].partition(".")[2])
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
        assert kernel.ring.signing.algorithm != "ES256"
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
        old = kernel.ring.signing.kid
        await kernel.database.run("UPDATE ww_signing_keys SET status = 'revoked', revoked_at = 1")
    async with open_kernel() as kernel:
        assert kernel.ring.signing.kid != old
        assert kernel.ring.key_set.find(old) is None
        with pytest.raises(TokenError, match="unknown key"):
            claims_of(kernel, tokens)

"""Several services on one database and one Valkey: limits hold over all of them, and revocations are heard at once."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
import structlog

from tests.identity.scenes import HOME, Opener, claims_of, join, log_in
from tests.identity.test_service_accounts import made
from tests.reliability.proxy import Proxy
from tests.storage.valkey_server import Server, free_port, url
from watchword import background
from watchword.errors import Refused, SettingsError, TooManyAttempts
from watchword.identity.factors import Candidate, Proof
from watchword.identity.kernel import Kernel
from watchword.identity.service_accounts.account import Shown
from watchword.storage.ephemeral_fallback import FallbackEphemeral
from watchword.storage.hints import Hints
from watchword.tokens import SigningKey, sign_compact

QUOTA = 10


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine is no outage."""
    monkeypatch.setattr("watchword.storage.valkey.DEADLINE", 60.0)


@pytest.fixture
async def two(
    open_kernel: Opener, valkeys: Callable[[str], Server], unhurried: None
) -> AsyncIterator[tuple[Kernel, Kernel]]:
    """Two services."""
    async with AsyncExitStack() as stack:
        url = valkeys("valkey 9").url
        first = await stack.enter_async_context(open_kernel(workers=2, redis_url=url))
        yield first, await stack.enter_async_context(open_kernel(workers=2, redis_url=url))


class Guesses:
    """Wrong passwords, each of which takes a moment."""

    def __init__(self) -> None:
        self.tried = 0

    async def prove(self, _: Candidate | None) -> Proof | None:
        self.tried += 1
        await asyncio.sleep(0.01)
        return None

    async def flood(self, *kernels: Kernel, attempts: int = 64) -> list[BaseException | object]:
        tries = [log_in(kernels[n % len(kernels)], prove=self.prove) for n in range(attempts)]
        return await asyncio.gather(*tries, return_exceptions=True)


async def test_D9_the_limit_holds_over_two_services(two: tuple[Kernel, Kernel]) -> None:
    """⚑ Sixty-four attempts at once, half of them at each: as many guesses as one service would give."""
    await join(two[0])
    guesses = Guesses()
    results = await guesses.flood(*two)
    assert guesses.tried == QUOTA
    assert sum(isinstance(result, TooManyAttempts) for result in results) == 64 - QUOTA


async def test_D9_an_outage_gives_one_more_quota(open_kernel: Opener, own_valkey: Server, unhurried: None) -> None:
    """⚑ What Valkey counted is not known in the database: twice the limit at most, however often Valkey goes."""
    async with Proxy(own_valkey.port) as proxy, open_kernel(workers=2, redis_url=url(proxy.port)) as kernel:
        assert isinstance(kernel.ephemeral, FallbackEphemeral)
        breaker = kernel.ephemeral._counters._valkey.breaker
        await join(kernel)
        guesses = Guesses()
        await guesses.flood(kernel)
        assert guesses.tried == QUOTA
        for _ in range(3):
            proxy.reset()
            await guesses.flood(kernel)
            assert breaker.is_open
            assert guesses.tried == 2 * QUOTA
            proxy.mend()
            breaker._closed_until = 0.0
            await guesses.flood(kernel)
            assert not breaker.is_open
            assert guesses.tried == 2 * QUOTA


async def test_an_empty_valkey_forgets_no_assertion(open_kernel: Opener, own_valkey: Server, unhurried: None) -> None:
    """⚑ They were counted where limits are: an assertion was good again in a Valkey that came back empty."""
    async with open_kernel(workers=2, redis_url=own_valkey.url) as kernel:
        key = SigningKey.generate("ES256")
        account, _ = await made(kernel, public_key=json.dumps(key.public_jwk()))
        said = {"iss": account.id, "sub": account.id, "jti": "1", "exp": kernel.clock.now() + 60}
        text = sign_compact(json.dumps(said | {"aud": kernel.settings.public_url}).encode(), key)
        shown = Shown(account.id, assertion=text)
        assert await kernel.proving.prove(shown, client=HOME) == account
        for change in (own_valkey.stop, own_valkey.start):
            change()
            with pytest.raises(Refused):
                await kernel.proving.prove(shown, client=HOME)


async def test_without_its_valkey_the_service_works(open_kernel: Opener) -> None:
    """It starts, says so once, and limits hold."""
    with structlog.testing.capture_logs() as lines:
        async with open_kernel(redis_url=f"redis://127.0.0.1:{free_port()}/0") as kernel:
            await join(kernel)
            await log_in(kernel)
            guesses = Guesses()
            await guesses.flood(kernel)
            assert guesses.tried == QUOTA
    told = [line for line in lines if line["event"] == "valkey_away"]
    assert ["hint" in line for line in told] == [True, False], "at the start, and when it is given up"


async def test_a_log_out_is_heard_before_the_next_poll(
    two: tuple[Kernel, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """⚑ The next poll is an hour away."""
    monkeypatch.setattr(background, "FOLLOW_SECONDS", 3600)
    here, there = two
    await join(here)
    await there.hints.wait(3600)  # that listening has begun is a hint, too
    async with background.in_background(there):
        claims = claims_of(here, await log_in(here))
        await here.sessions.log_out(claims=claims, presented=None, client=HOME)
        for _ in range(2000):
            if len(there.revocations.refused):
                break
            await asyncio.sleep(0.01)
    assert len(there.revocations.refused) == 1


async def test_a_command_asks_no_valkey(open_kernel: Opener) -> None:
    """It does not wait for a server that may be away."""
    async with open_kernel(), open_kernel(serves=False, redis_url=f"redis://127.0.0.1:{free_port()}/0") as kernel:
        assert type(kernel.hints) is Hints


async def test_without_the_package_the_start_says_what_to_install(
    open_kernel: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    import watchword.storage

    for name in ("valkey", "valkey_hints", "ephemeral_redis", "ephemeral_fallback"):
        monkeypatch.delitem(sys.modules, f"watchword.storage.{name}", raising=False)
        monkeypatch.delattr(watchword.storage, name, raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    for name in [name for name in sys.modules if name.startswith("redis.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SettingsError) as caught:
        async with open_kernel(redis_url="redis://127.0.0.1"):
            pass
    (fault,) = caught.value.faults
    assert "pip install" in fault.hint

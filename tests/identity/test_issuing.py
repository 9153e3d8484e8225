"""Access tokens: their shape (B1, B4, B5), and the service's own check of them."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest

from tests.identity.scenes import Opener, claims_of, join, log_in
from watchword.clock import FixedClock
from watchword.errors import TokenError
from watchword.identity.kernel import Kernel


def part(token: str, index: int) -> dict[str, Any]:
    text = token.split(".")[index]
    found: dict[str, Any] = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found


async def test_B1_the_token_has_these_claims_and_no_others(kernel: Kernel, clock: FixedClock) -> None:
    """RFC 9068 with session, version, roles, time and method of the log-in; nothing personal, and small (B5)."""
    user = await join(kernel, roles=("admin",))
    logged_in = await log_in(kernel)
    token = logged_in.tokens.access_token
    header, claims = part(token, 0), part(token, 1)
    assert header == {"alg": "ES256", "typ": "at+jwt", "kid": kernel.keys.ring.signing.kid}
    sid, jti = claims.pop("sid"), claims.pop("jti")
    assert claims == {
        "iss": "http://127.0.0.1:4000",
        "sub": user.id,
        "aud": "http://127.0.0.1:4000",
        "iat": clock.now(),
        "exp": clock.now() + 900,
        "client_id": "watchword",
        "roles": ["admin"],
        "ver": 1,
        "auth_time": clock.now(),
        "amr": ["pwd"],
    }
    assert sid == claims_of(kernel, logged_in).sid
    assert len(urlsafe_b64decode(jti + "==")) == 16
    assert len(token) < 1536


async def test_B4_no_two_tokens_share_an_id(kernel: Kernel) -> None:
    """Also not those of one session in one second."""
    await join(kernel)
    first = await log_in(kernel)
    assert claims_of(kernel, first).jti != claims_of(kernel, await log_in(kernel)).jti


@pytest.mark.parametrize(("later", "good"), [(899, True), (900, False)])
async def test_J15_a_token_ends_on_its_second(kernel: Kernel, clock: FixedClock, later: int, good: bool) -> None:
    """Good in its last second, expired on the next; remembered from before or not."""
    await join(kernel)
    logged_in = await log_in(kernel)
    claims_of(kernel, logged_in)
    clock.advance(later)
    if good:
        claims_of(kernel, logged_in)
    else:
        with pytest.raises(TokenError) as caught:
            claims_of(kernel, logged_in)
        assert caught.value.code == "token_expired"


async def test_E7_an_expired_token_still_says_whose_session_to_end(kernel: Kernel, clock: FixedClock) -> None:
    """Genuine is enough for logging out, and for nothing else; a forged one is not."""
    await join(kernel)
    token = (await log_in(kernel)).tokens.access_token
    sid = claims_of(kernel, await log_in(kernel)).sid
    clock.advance(10_000)
    assert kernel.verifier.verify_expired(token).sid != sid
    head, payload, signature = token.split(".")
    with pytest.raises(TokenError):
        kernel.verifier.verify_expired(f"{head}.{payload}.{'A' * len(signature)}")


async def test_the_settings_name_issuer_audience_and_life(open_kernel: Opener) -> None:
    """The public URL byte for byte, the audience that was given, the life that was given."""
    async with open_kernel(
        public_url="https://id.example.org/auth", trusted_proxies=1, audience="api", access_lifetime="5m"
    ) as kernel:
        await join(kernel)
        claims = part((await log_in(kernel)).tokens.access_token, 1)
        assert (claims["iss"], claims["aud"]) == ("https://id.example.org/auth", "api")
        assert claims["exp"] - claims["iat"] == 300


async def test_a_token_of_another_service_is_not_ours(open_kernel: Opener) -> None:
    """Same keys, another issuer or audience: refused."""
    async with open_kernel() as kernel:
        await join(kernel)
        tokens = (await log_in(kernel)).tokens
    for given in ({"public_url": "http://127.0.0.1:4001"}, {"audience": "another"}):
        async with open_kernel(**given) as kernel:
            with pytest.raises(TokenError) as caught:
                claims_of(kernel, tokens)
            assert caught.value.code == "token_invalid"

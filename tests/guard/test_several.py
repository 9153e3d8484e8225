"""Several issuers in one guard: each token is judged by its issuer's guard alone."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest

from watchword import base64url
from watchword.clock import FixedClock
from watchword.errors import TokenError
from watchword.guard import Guard, Legacy, SeveralIssuers
from watchword.testing import Issuer
from watchword.tokens.keys import KeySet, SigningKey, VerificationKey

SECRET = "Vb8uK2pQx9Zr4TnW7cYdVb3sL6hJ1mGq"
NEW, OLD = "https://auth.example", "https://old.example"


class World:
    """Two issuers with audiences of their own, and the guard that joins them."""

    def __init__(self) -> None:
        clock = FixedClock()
        self.new = Issuer(NEW, audience="shop", clock=clock)
        self.old = Issuer(OLD, audience="old-shop", clock=clock)
        self.guard = SeveralIssuers(self.new.guard(), self.old.guard())

    def refused(self, token: str) -> str:
        with pytest.raises(TokenError) as caught:
            self.guard.check(f"Bearer {token}")
        with pytest.raises(TokenError) as again:
            self.guard.verify(token)
        assert caught.value.code == again.value.code
        return caught.value.code


@pytest.fixture
def world() -> World:
    return World()


def test_tokens_of_each_are_accepted(world: World) -> None:
    for issuer in (world.new, world.old):
        token = issuer.token("ada", scopes=["read"])
        for _ in range(2):  # judged, then recalled
            assert world.guard.check(f"Bearer {token}", scopes="read").claims.iss == issuer.issuer
            assert world.guard.verify(token).user_id == "ada"
        with pytest.raises(TokenError, match="write"):
            world.guard.check(f"Bearer {token}", scopes="read write")


def test_each_has_its_own_audience(world: World) -> None:
    """⚑ The old service's tokens for another API are not let in by the new one's audience, nor the other way round."""
    for token in (
        *(world.old.token(audience="shop"), world.new.token(audience="old-shop")),
        *(world.new.token(iss=OLD), world.old.token(iss=NEW)),
        *(world.new.token(iss="https://else.example"), world.new.token(iss=...)),
    ):
        assert world.refused(token) == "token_invalid"


def test_revocations_of_one_say_nothing_of_the_other(world: World) -> None:
    ours, theirs = world.new.token("ada", session_id="s"), world.old.token("ada", session_id="s")
    for token in (ours, theirs):
        world.guard.check(f"Bearer {token}")
    world.old.revoke_session("s")
    world.old.revoke_user("ada")
    assert world.refused(theirs) == "token_revoked"
    assert world.guard.check(f"Bearer {ours}").user_id == "ada"


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_one_kid_at_two_issuers_is_two_keys(algorithm: str) -> None:
    """⚑ The key is found by issuer and kid, whichever guard comes first."""
    signing = [SigningKey.generate(algorithm) for _ in range(2)]
    named = [VerificationKey.from_jwk(each.verification_key.public_jwk() | {"kid": "one"}) for each in signing]
    clock = FixedClock()
    guards = [
        Guard.offline(url, audience="api", keys=KeySet([key]), algorithms=(algorithm,), clock=clock)
        for url, key in zip((NEW, OLD), named, strict=True)
    ]

    def token(iss: str, key: SigningKey) -> str:
        now = clock.now()
        claims = {"iss": iss, "sub": "u", "aud": "api", "exp": now + 60, "iat": now, "jti": "j", "client_id": "c"}
        parts = [_encoded({"typ": "at+jwt", "alg": algorithm, "kid": "one"}), _encoded(claims)]
        return ".".join([*parts, base64url.encode(key.sign(".".join(parts).encode())).decode()])

    for several in (SeveralIssuers(*guards), SeveralIssuers(*reversed(guards))):
        for url, own, other in ((NEW, signing[0], signing[1]), (OLD, signing[1], signing[0])):
            assert several.verify(token(url, own)).claims.iss == url
            with pytest.raises(TokenError, match="signature"):
                several.verify(token(url, other))


def _encoded(value: dict[str, Any]) -> str:
    return base64url.encode(json.dumps(value).encode()).decode()


def _payload(token: str, **claims: Any) -> str:
    head, body, signature = token.split(".")
    payload = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{head}.{_encoded(payload | claims)}.{signature}"


@pytest.mark.parametrize("iss", [None, 1, [OLD], {"a": OLD}, "", "x" * 300, True])
def test_an_issuer_of_another_type_opens_nothing(world: World, iss: object) -> None:
    """The unverified name only chooses who judges."""
    assert world.refused(_payload(world.old.token(), iss=iss)) in {"token_invalid", "token_malformed"}


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "a" * 9000, "é.é.é", "e30.e30.e30"])
def test_garbage_is_refused_as_by_one_guard(world: World, token: str) -> None:
    codes = []
    for guard in (world.guard, world.new.guard()):
        with pytest.raises(TokenError) as caught:
            guard.verify(token)
        codes.append(caught.value.code)
    assert codes[0] == codes[1]


def test_a_forged_scope_is_refused(world: World) -> None:
    """⚑ An array for `scope` is no list of scopes; a list in a genuine token is refused too."""
    assert world.refused(_payload(world.new.token(), scope=["admin"])) == "token_invalid"
    assert world.refused(world.new.token(scope=["read", "write"])) == "token_invalid"
    assert world.guard.verify(world.new.token(scope="read\twrite")).scopes == {"read\twrite"}


def test_what_cannot_be_joined_is_refused_at_the_start(world: World) -> None:
    first = world.new.guard()
    for wrong in ((first,), (first, NEW), (first, world.guard)):
        with pytest.raises(TypeError):
            SeveralIssuers(*wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="issuer"):
        SeveralIssuers(first, world.new.guard("other"))


def test_a_test_issuer_stands_in_for_all(world: World) -> None:
    """What was seen before does not pass meanwhile, and passes again afterwards."""
    tokens = [world.new.token(), world.old.token()]
    needs = world.guard.require()
    for token in tokens:
        needs.check(f"Bearer {token}")
    with Issuer().trusted_by(world.guard) as guard:
        assert guard is world.guard
        for token in tokens:
            assert needs.recall(f"Bearer {token}") is None
            assert world.refused(token) == "token_invalid"
    test = Issuer()
    with test.trusted_by(world.guard):
        assert needs.check(f"Bearer {test.token('bob')}").user_id == "bob"
        assert world.guard.issuer == test.issuer
    for token in tokens:
        needs.check(f"Bearer {token}")
    assert world.guard.issuer == NEW


def test_the_first_one_judges_tokens_of_an_application_that_was_there_before() -> None:
    """Their `iss` is whatever that application wrote."""
    clock = FixedClock()
    new, old = Issuer(NEW, clock=clock), Issuer(OLD, clock=clock)
    legacy = Legacy(
        secret=SECRET, subject="sub:external", until=datetime.fromtimestamp(clock.now() + 30 * 86_400, UTC).date()
    )
    first = Guard.offline(NEW, audience="api", keys=KeySet([new._signing.verification_key]), algorithms=("ES256",),
                          legacy=legacy, clock=clock)  # fmt: skip
    token = jwt.encode({"sub": "7", "exp": clock.now() + 60, "iss": "old"}, SECRET, algorithm="HS256")
    assert SeveralIssuers(first, old.guard()).verify(token).user_id == "external:7"


def test_readiness_is_that_of_all() -> None:
    offline = Issuer(NEW).guard()
    waiting = Guard("http://127.0.0.1:9", audience="api")
    several = SeveralIssuers(offline, waiting)
    assert not several.ready
    assert several.feed_age() is None
    assert several.why_not_ready is not None
    assert several.why_not_ready.startswith("http://127.0.0.1:9: ")
    several.stop()
    assert SeveralIssuers(offline, Issuer(OLD).guard()).ready

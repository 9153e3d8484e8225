"""Tokens that other people's libraries sign are read by us: by `verify_compact`, by a foreign policy, by a guard."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.interop import npm
from tests.interop.issued import AUDIENCE, SECRET
from tests.interop.signers import Signed, kid_of_secret, signed_with_joserfc, signed_with_pyjwt
from tests.tutorials.reading import tampered
from watchword.errors import TokenError
from watchword.guard import Guard
from watchword.tokens import KeySet, Policy, VerificationKey, Verifier, verify_compact

ISSUER = "https://elsewhere.example"
NOW = int(time.time())
CLAIMS = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "ada",
    "iat": NOW,
    "exp": NOW + 7200,  # made when this file is read, used when all others have run
    "jti": "one-of-theirs",
    "client_id": "theirs",
    "roles": ["editor"],
}
IN_NODE = {
    "jose": ("ES256", "ES384", "ES512", "RS256", "RS512", "PS256", "PS512", "EdDSA", "Ed25519", "HS256"),
    "jsonwebtoken": ("ES256", "ES384", "RS256", "PS256", "HS256"),
    "fast-jwt": ("ES256", "RS256", "PS256", "EdDSA", "HS256"),
}
IN_PYTHON = {
    "PyJWT": ("ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA", "HS256"),
    "joserfc": ("ES256", "ES384", "ES512", "RS256", "PS256", "PS512", "EdDSA", "Ed25519", "HS256"),
}
Cases = dict[tuple[str, str], Signed]


@pytest.fixture(scope="module")
def by_node(node: Path) -> Cases:
    """What the Node libraries signed."""
    given = {"claims": CLAIMS, "secret": SECRET, "secretKid": kid_of_secret(SECRET)}
    made = [Signed(**one) for one in npm.run(node / "signing.mjs", given)]
    return {(one.library, one.algorithm): one for one in made}


@pytest.fixture(scope="module")
def by_python() -> Cases:
    """What the Python libraries signed."""
    made = [*signed_with_pyjwt(CLAIMS, SECRET), *signed_with_joserfc(CLAIMS, SECRET)]
    return {(one.library, one.algorithm): one for one in made}


def listed(libraries: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(library, algorithm) for library, algorithms in libraries.items() for algorithm in algorithms]


@pytest.mark.parametrize("case", listed(IN_NODE), ids="-".join)
def test_we_read_tokens_of_node_libraries(by_node: Cases, case: tuple[str, str]) -> None:
    """Signed there, read here, whole; and not when it was changed."""
    check(by_node[case])


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # joserfc says so; PyJWT knows no other name for it
@pytest.mark.parametrize("case", listed(IN_PYTHON), ids="-".join)
def test_we_read_tokens_of_python_libraries(by_python: Cases, case: tuple[str, str]) -> None:
    """Signed there, read here, whole; and not when it was changed."""
    check(by_python[case])


def test_nothing_was_signed_that_is_not_listed(by_node: Cases) -> None:
    """The list above and the script say the same."""
    assert set(by_node) == set(listed(IN_NODE))


def check(signed: Signed) -> None:
    """As any compact JWS, and as a token of another issuer."""
    payload = json.loads(verify_compact(signed.token, signed.key))
    assert {name: payload[name] for name in CLAIMS} == CLAIMS
    for changed in tampered(signed.token):
        with pytest.raises(TokenError):
            verify_compact(changed, signed.key)
    caller = verifier(signed).verify(signed.token, now=NOW)
    assert (caller.sub, caller.roles) == ("ada", frozenset({"editor"}))
    with pytest.raises(TokenError) as late:
        verifier(signed).verify(signed.token, now=CLAIMS["exp"])
    assert late.value.code == "token_expired"


def verifier(signed: Signed) -> Verifier:
    """Trusts their key, for their issuer."""
    policy = Policy(issuer=ISSUER, audience=AUDIENCE, algorithms=(signed.algorithm,), foreign=True)
    return Verifier(policy, KeySet([VerificationKey.from_jwk(signed.key)]))


@pytest.mark.parametrize("library", ["jose", "jsonwebtoken", "fast-jwt"])
def test_a_guard_with_a_shared_secret_reads_tokens_of_node_libraries(by_node: Cases, library: str) -> None:
    """Whoever has the secret signs, as the guard's page warns."""
    check_guard(by_node[library, "HS256"])


@pytest.mark.parametrize("library", ["PyJWT", "joserfc"])
def test_a_guard_with_a_shared_secret_reads_tokens_of_python_libraries(by_python: Cases, library: str) -> None:
    """Whoever has the secret signs, as the guard's page warns."""
    check_guard(by_python[library, "HS256"])


def check_guard(signed: Signed) -> None:
    """Accepted by a guard with the secret, and not by one with another."""
    assert guard(SECRET).verify(signed.token).user_id == "ada"
    with pytest.raises(TokenError) as refused:
        guard(SECRET[::-1]).verify(signed.token)
    assert refused.value.code == "token_invalid"


def guard(secret: str) -> Any:
    """A guard that follows nothing, since there is no service."""
    return Guard.shared_secret(ISSUER, audience=AUDIENCE, secret=secret.encode(), revocations=False)

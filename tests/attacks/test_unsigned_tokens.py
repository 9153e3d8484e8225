"""`alg` = none and its spellings (CVE-2015-9235 and every year since; RFC 8725 section 3.1)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.forging import claims, forge, header, key, refuse, segment
from watchword.errors import InvalidKey, TokenError
from watchword.tokens import Policy, SigningKey, VerificationKey, verify_compact

SPELLINGS: list[Any] = [
    *("none", "None", "NONE", "nOnE", "none ", " none", "none\0", "hs256", "es256", "ES256 ", "ES-256", "ES256K"),
    *("", None, 1, True, [], ["ES256"], {}, {"ES256": 1}, ...),
]


@pytest.mark.parametrize("name", SPELLINGS)
def test_A5_no_name_but_the_listed_one_is_an_algorithm(name: Any) -> None:
    """Signed well with the right key, so that only the name can be the reason."""
    refuse(forge(header(alg=name), claims()), "token_invalid")
    with pytest.raises(TokenError):
        verify_compact(forge(header(alg=name), b"x"), key().verification_key)


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE"])
def test_A5_a_token_without_signature_is_no_token(name: str) -> None:
    head = segment({"alg": name, "typ": "at+jwt", "kid": key().kid})
    refuse(f"{head}.{segment(claims())}.", "token_malformed")
    refuse(f"{head}.{segment(claims())}", "token_malformed")


def test_A5_an_algorithm_that_the_policy_does_not_list_is_refused_though_the_key_is_known() -> None:
    from tests.attacks.forging import verifier

    both = verifier("ES256", "RS256")
    only = type(both)(Policy(both.policy.issuer, both.policy.audience, ("ES256",)), both.key_set)
    token = forge(header("RS256"), claims(), key("RS256").sign)
    assert both.verify(token, now=1_800_000_000).sub
    refuse(token, "token_invalid", only)


def test_A5_there_is_no_default_list_and_none_cannot_be_listed() -> None:
    for bad in ((), ("none",), "ES256", ("ES256", "HS256"), ["ES256"]):
        with pytest.raises(ValueError, match="policy"):
            Policy("i", "a", bad)  # type: ignore[arg-type]
    for make in (SigningKey.generate, lambda name: VerificationKey.from_jwk(key().public_jwk(), name)):
        with pytest.raises(InvalidKey):
            make("none")

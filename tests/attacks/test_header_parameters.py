"""Tokens that bring their own key or change how they are read.

CVE-2018-0114, CVE-2026-27962 (embedded JWK), CVE-2026-32597 (`crit`), RFC 7797 (`b64`), RFC 8725 section 3.10.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.attacks.forging import claims, forge, header, key, refuse
from tests.tokens.rfc_vectors import E_HEADER
from watchword.errors import TokenError
from watchword.tokens import SigningKey, sign_compact, verify_compact

PARAMETERS: list[tuple[str, Any]] = [
    ("crit", ["exp"]),
    ("crit", []),
    ("crit", ["b64"]),
    ("crit", "exp"),
    ("crit", None),
    ("crit", ["exp", "exp"]),
    ("crit", ["http://example.invalid/UNDEFINED"]),
    ("b64", False),
    ("b64", True),
    ("zip", "DEF"),
    ("jwk", {"kty": "EC"}),
    ("jwk", None),
    ("jku", "https://attacker.example/jwks.json"),
    ("x5u", "https://attacker.example/cert.pem"),
    ("x5c", ["MIIB"]),
    ("x5t", "AAAA"),
    ("x5t#S256", "AAAA"),
]


@pytest.mark.parametrize(("name", "value"), PARAMETERS)
def test_A9_A10_a_token_with_such_a_parameter_is_refused_though_its_signature_is_right(name: str, value: Any) -> None:
    refuse(forge(header(**{name: value}), claims()), "token_invalid")
    with pytest.raises(TokenError):
        verify_compact(forge({"alg": "ES256", name: value}, b"x"), key().verification_key)


def test_A9_a_key_inside_the_token_is_never_used() -> None:
    attacker = SigningKey.generate("ES256")
    for kid in (attacker.kid, key().kid):
        head = {"alg": "ES256", "typ": "at+jwt", "kid": kid, "jwk": attacker.public_jwk()}
        refuse(forge(head, claims(), attacker.sign), "token_invalid")


@pytest.mark.parametrize("parameter", ["jku", "x5u"])
def test_A9_no_connection_is_made_for_a_url_in_the_token(parameter: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/jwks.json"
        refuse(forge(header(**{parameter: url}), claims()), "token_invalid")
        with pytest.raises(TimeoutError):
            listener.accept()


def test_A10_the_example_of_rfc_7515_appendix_E_is_refused() -> None:
    with pytest.raises(TokenError):
        verify_compact(forge(E_HEADER, b"FAIL"), key().verification_key)
    with pytest.raises(TokenError):
        verify_compact(forge(E_HEADER.replace("none", "ES256"), b"FAIL"), key().verification_key)


def test_A10_we_do_not_sign_them_either() -> None:
    for name in ("crit", "b64", "jwk", "alg", "kid", "typ"):
        with pytest.raises(ValueError, match=name):
            sign_compact(b"x", key(), header={name: "x"})


def test_parameters_that_mean_nothing_here_are_ignored() -> None:
    """RFC 7515 section 4: unknown parameters that are not critical."""
    assert verify_compact(sign_compact(b"x", key(), header={"cty": "json", "x": {"y": 1}}), key().verification_key)

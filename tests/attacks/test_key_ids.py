"""`kid` as a path, a query, a command (CVE-2018-0114 family; RFC 8725 section 3.10; jwt_tool's list)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.forging import accept, claims, forge, header, key, refuse, verifier
from watchword.tokens import KeySet, VerificationKey, Verifier

KIDS: list[Any] = [
    *("../../dev/null", "/dev/null", "' OR 1=1 --", "|whoami", "$(id)", "__proto__", "__class__", "constructor", ""),
    *("x" * 65, "k" * 500, "kid\0", "é", "a b", "file:///etc/passwd", "https://attacker.example/key"),
    *(1, 1.5, True, None, [], ["k"], {}, {"kid": "k"}),
]


@pytest.mark.parametrize("kid", KIDS)
def test_A11_is_refused_and_never_looked_up_anywhere_but_in_memory(kid: Any) -> None:
    refuse(forge(header(kid=kid), claims()), "token_invalid")


def test_A11_a_null_device_as_key_opens_nothing() -> None:
    """The classic: point `kid` at an empty file and sign with the empty secret."""
    import hmac

    head = {"alg": "HS256", "typ": "at+jwt", "kid": "../../../../dev/null"}
    refuse(forge(head, claims(), lambda data: hmac.digest(b"", data, "sha256")), "token_invalid")


def test_A11_a_very_long_id_is_refused_for_the_size_of_the_header() -> None:
    refuse(forge(header(kid="k" * 10_240), claims()), "token_malformed")
    refuse(forge(header(kid="k" * 2_000), claims()), "token_malformed")


@pytest.mark.parametrize("kid", ["../../dev/null", "x" * 65, "bilbo@hobbiton.example"])
def test_A11_such_an_id_is_refused_even_if_a_key_of_ours_had_it(kid: str) -> None:
    """Own tokens have thumbprints. Another issuer may name its keys as it likes: they are names in memory only."""
    keys = KeySet([VerificationKey.from_jwk({**key().public_jwk(), "kid": kid})])
    own = Verifier(verifier().policy, keys)
    refuse(forge(header(kid=kid), claims()), "token_invalid", own)
    assert accept(forge(header(kid=kid), claims()), Verifier(verifier(foreign=True).policy, keys)).kid == kid


def test_A12_an_absent_and_an_unknown_id_are_refused() -> None:
    refuse(forge(header(kid=...), claims()), "token_invalid")
    refuse(forge(header(kid=key("RS256").kid), claims()), "token_invalid")
    refuse(forge(header(kid=key().kid.swapcase()), claims()), "token_invalid")

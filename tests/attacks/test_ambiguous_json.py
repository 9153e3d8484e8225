"""JSON that parsers read differently (PyJWT CVE-2026-102265; RFC 7515 sections 4 and 5.2; RFC 8259 section 4)."""

from __future__ import annotations

import json

import pytest

from tests.attacks.forging import claims, forge, header, key, refuse
from tests.test_strict_json import REFUSED
from watchword.errors import TokenError
from watchword.tokens import verify_compact

GOOD_HEADER = json.dumps(header())
GOOD_CLAIMS = json.dumps(claims())

HEADERS = {
    "alg twice": GOOD_HEADER[:-1] + ',"alg":"ES256"}',
    "alg twice, escaped": GOOD_HEADER[:-1] + ',"\\u0061lg":"none"}',
    "kid twice": GOOD_HEADER[:-1] + f',"kid":"{key().kid}"}}',
    "nested twice": GOOD_HEADER[:-1] + ',"x":{"y":1,"y":2}}',
    "too deep": GOOD_HEADER[:-1] + ',"x":{"x":{"x":{"x":{}}}}}',
    "NaN": GOOD_HEADER[:-1] + ',"x":NaN}',
    "Infinity": GOOD_HEADER[:-1] + ',"x":Infinity}',
    "not an object": '["alg","ES256"]',
    "a string": '"ES256"',
    "nothing": "",
    "a byte order mark": "\ufeff" + GOOD_HEADER,
    "two objects": GOOD_HEADER + GOOD_HEADER,
}


@pytest.mark.parametrize("name", HEADERS)
def test_A4_such_a_header_is_refused_though_it_is_signed(name: str) -> None:
    token = forge(HEADERS[name], claims())
    refuse(token, "token_malformed")
    with pytest.raises(TokenError):
        verify_compact(token, key().verification_key)


@pytest.mark.parametrize("name", REFUSED)
def test_A4_such_claims_and_headers_are_refused_though_they_are_signed(name: str) -> None:
    if len(REFUSED[name]) > 8_000:
        refuse(forge(header(), REFUSED[name]), "token_malformed")
        refuse(forge(header(), REFUSED[name][:5000]), "token_malformed")
    else:
        refuse(forge(header(), REFUSED[name]), "token_malformed")
    refuse(forge(REFUSED[name], claims()), "token_malformed")


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp", "scope", "roles", "ver"])
def test_A4_a_claim_twice_is_refused_whichever_a_parser_would_take(name: str) -> None:
    again = json.dumps({name: claims()[name]})[1:-1]
    refuse(forge(header(), f"{GOOD_CLAIMS[:-1]},{again}}}"), "token_malformed")
    refuse(forge(header(), f"{{{again},{GOOD_CLAIMS[1:]}"), "token_malformed")


def test_A4_other_encodings_are_refused() -> None:
    for encoding in ("utf-16", "utf-16-le", "utf-32", "utf-8-sig"):
        refuse(forge(GOOD_HEADER.encode(encoding), claims()), "token_malformed")
        refuse(forge(header(), GOOD_CLAIMS.encode(encoding)), "token_malformed")


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"1", b'"claims"', b"claims", b"\x00\xff"])
def test_A4_claims_that_are_no_object_are_refused(payload: bytes) -> None:
    refuse(forge(header(), payload), "token_malformed")

"""Everything that is not a compact JWS (python-jwt CVE-2022-39227; RFC 7515 sections 3.1 and 7.2; RFC 7516)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.attacks.forging import claims, forge, header, honest, key, refuse, segment
from watchword.errors import TokenError
from watchword.tokens import verify_compact

TOKEN = honest()
HEAD, BODY, SIGNATURE = TOKEN.split(".")

BROKEN = {
    "empty": "",
    "one part": HEAD,
    "two parts": f"{HEAD}.{BODY}",
    "an empty fourth part": f"{TOKEN}.",
    "four parts": f"{TOKEN}.foo",
    "a leading dot": f".{TOKEN}",
    "no header": f".{BODY}.{SIGNATURE}",
    "no signature": f"{HEAD}.{BODY}.",
    "only dots": "..",
    "padding": f"{HEAD}.{BODY}.{SIGNATURE}==",
    "padding in the header": f"{HEAD}=.{BODY}.{SIGNATURE}",
    "a blank before": f" {TOKEN}",
    "a newline after": f"{TOKEN}\n",
    "a blank inside": f"{HEAD}. {BODY}.{SIGNATURE}",
    "a tab inside": f"{HEAD}\t.{BODY}.{SIGNATURE}",
    "NUL": f"{TOKEN}\0",
    "standard base64": f"{HEAD}.{BODY}.{SIGNATURE.replace('-', '+').replace('_', '/')}+",
    "a question mark in the signature": f"{HEAD}.{BODY}.?{SIGNATURE}",
    "a question mark in the payload": f"{HEAD}.{BODY}?.{SIGNATURE}",
    "a question mark in the header": f"{HEAD[:-1]}?{HEAD[-1]}.{BODY}.{SIGNATURE}",
    "number signs": f"{HEAD}####.{BODY}.{SIGNATURE}",
    "a letter that looks like ASCII": f"{HEAD}.{BODY}.{SIGNATURE[:-1]}А",
    "full-width dots": TOKEN.replace(".", "．"),
    "a lone surrogate": f"{TOKEN}\ud800",
    "with the scheme": f"Bearer {TOKEN}",
    "quoted": f'"{TOKEN}"',
    "general JSON": json.dumps({"payload": BODY, "signatures": [{"protected": HEAD, "signature": SIGNATURE}]}),
    "flattened JSON": json.dumps({"payload": BODY, "protected": HEAD, "signature": SIGNATURE}),
    "a polyglot": f'{{"{HEAD}.{BODY}.{SIGNATURE}": "", "payload": "{BODY}"}}',
    "another polyglot": f'{{" {HEAD}.": "", "protected": "{HEAD}", "payload": "{BODY}", "signature": "{SIGNATURE}"}}',
}


@pytest.mark.parametrize("name", BROKEN)
def test_A1_only_three_parts_of_base64url_are_a_token(name: str) -> None:
    refuse(BROKEN[name], "token_malformed")
    with pytest.raises(TokenError):
        verify_compact(BROKEN[name], key().verification_key)


@pytest.mark.parametrize(
    "thing", [None, 1, 1.5, True, [], {}, [TOKEN], {"token": TOKEN}, (TOKEN,), object(), TOKEN.encode()]
)
def test_A1_what_is_not_text_is_not_a_token(thing: Any) -> None:
    refuse(thing, "token_malformed")


def test_A26_an_encrypted_token_is_refused() -> None:
    for algorithm in ("RSA1_5", "RSA-OAEP", "dir", "PBES2-HS256+A128KW", "ECDH-ES"):
        head = segment({"alg": algorithm, "enc": "A256GCM", "p2c": 2**31, "zip": "DEF", "kid": key().kid})
        refuse(f"{head}.{'A' * 40}.{'A' * 16}.{'A' * 64}.{'A' * 22}", "token_malformed")
        refuse(
            forge({"alg": algorithm, "enc": "A256GCM", "typ": "at+jwt", "kid": key().kid}, claims()), "token_invalid"
        )


def test_A26_a_token_inside_a_token_is_not_unwrapped() -> None:
    refuse(forge(header(cty="JWT"), honest()), "token_malformed")

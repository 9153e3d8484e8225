"""Claims that mean something else than they seem.

PyJWT CVE-2024-53861 (issuer prefix), fast-jwt CVE-2025-30144 (issuer list), jwt-go CVE-2020-26160 (audience),
golang-jwt CVE-2024-51744 (claims beside an error), RFC 9068 section 4, RFC 8725 section 3.11.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.forging import AUDIENCE, ISSUER, NOW, accept, claims, forge, header, key, refuse, verifier
from watchword.errors import TokenError
from watchword.tokens import Needs, Policy, Verifier, sign_compact


@pytest.mark.parametrize(
    "iss",
    [
        ISSUER[:-1],
        ISSUER + "/",
        ISSUER.upper(),
        ISSUER + ".attacker.example",
        "",
        [ISSUER],
        {"x": ISSUER},
        None,
        1,
        ...,
    ],
)
def test_A21_the_issuer_is_the_whole_string(iss: Any) -> None:
    refuse(forge(header(), claims(iss=iss)), "token_invalid")


@pytest.mark.parametrize(
    "aud",
    [
        *(AUDIENCE[:-1], AUDIENCE + "/x", AUDIENCE.upper(), "", None, 1, True, {"x": 1}, {AUDIENCE: 1}, ...),
        *([], [""], [None], [AUDIENCE, 1], [AUDIENCE, None], [AUDIENCE, ""], [[AUDIENCE]], [AUDIENCE[:-1]], "x" * 256),
    ],
)
def test_A22_the_audience_must_name_us_exactly(aud: Any) -> None:
    refuse(forge(header(), claims(aud=aud)), "token_invalid")


def test_A22_a_list_that_contains_us_is_accepted() -> None:
    assert accept(forge(header(), claims(aud=["other", AUDIENCE]))).aud == ("other", AUDIENCE)


@pytest.mark.parametrize("name", ["sub", "jti", "client_id"])
@pytest.mark.parametrize("value", ["", "x" * 256, None, 1, True, [], ["x"], {}, ...])
def test_A23_identifiers_are_short_non_empty_strings(name: str, value: Any) -> None:
    assert accept(forge(header(), claims(**{name: "x" * 255})))
    refuse(forge(header(), claims(**{name: value})), "token_invalid")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("sid", bad) for bad in ("", 1, None, [], "x" * 256)),
        *(("ver", bad) for bad in ("1", 1.0, True, None, -1, 2**53, [])),
        *(("scope", bad) for bad in (1, None, ["read"], {})),
        *(("roles", bad) for bad in ("admin", None, 1, [1], [None], [["admin"]], [""], {"admin": True})),
        *(("amr", bad) for bad in ("pwd", [1], None)),
        *(("auth_time", bad) for bad in ("1", 1.5, True, None, -1)),
    ],
)
def test_every_other_claim_has_its_type(name: str, value: Any) -> None:
    refuse(forge(header(), claims(**{name: value})), "token_invalid")


KINDS = ("at+jwt", "logout+jwt", "guard+jwt", "JWT")


@pytest.mark.parametrize("made", KINDS)
@pytest.mark.parametrize("wanted", KINDS)
def test_A17_only_the_diagonal_is_accepted(made: str, wanted: str) -> None:
    """Every kind of token at every consumer."""
    import msgspec

    chosen = verifier(types=(wanted,))
    token = sign_compact(msgspec.json.encode(claims()), key(), typ=made)
    if made == wanted:
        assert accept(token, chosen).sub
    else:
        refuse(token, "token_invalid", chosen)


def test_A17_the_type_may_be_written_as_a_media_type_and_in_any_case() -> None:
    for typ in ("at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"):
        assert accept(forge(header(typ=typ), claims()))


@pytest.mark.parametrize(
    "typ",
    [..., None, "", "JWT", "at+jwt ", "at", "jwt", "text/at+jwt", "application/application/at+jwt", 1, [], ["at+jwt"]],
)
def test_A17_no_other_type_is_accepted(typ: Any) -> None:
    refuse(forge(header(typ=typ), claims()), "token_invalid")


def test_A24_an_error_brings_no_claims() -> None:
    """Nothing in the error, its arguments or its causes tells what the refused token said."""
    secret = "mark-of-this-very-token"
    for changed in ({"exp": NOW}, {"iss": "x"}, {"aud": "x"}, {"sub": 1}, {"roles": [1]}):
        with pytest.raises(TokenError) as caught:
            accept(forge(header(), claims(jti=secret, **changed)))
        error: BaseException | None = caught.value
        while error is not None:
            assert secret not in repr(error) + str(vars(error))
            error = error.__cause__ or error.__context__


def test_scopes_and_roles_are_asked_for_each_time() -> None:
    token, chosen = forge(header(), claims()), verifier()
    for _ in range(2):
        assert chosen.verify(token, now=NOW, needs=Needs(frozenset({"admin"}), frozenset({"read", "write"})))
        with pytest.raises(TokenError) as caught:
            chosen.verify(token, now=NOW, needs=Needs(frozenset({"admin", "owner"})))
        assert caught.value.code == "role_missing"


def test_foreign_tokens_may_lack_what_only_ours_have() -> None:
    token = forge(header(), claims(jti=..., client_id=..., sid=..., ver=..., exp=NOW + 9.5, iat=NOW + 0.5))
    refuse(token, "token_invalid")
    policy = Policy(ISSUER, AUDIENCE, ("ES256",), foreign=True)
    read = accept(token, Verifier(policy, verifier().key_set))
    assert (read.jti, read.client_id, read.sid, read.ver, read.exp) == ("", "", None, None, NOW + 9)

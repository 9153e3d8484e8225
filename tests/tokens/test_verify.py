"""The order of verification, and what a verified token is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.forging import AUDIENCE, ISSUER, NOW, accept, claims, forge, header, honest, key, verifier
from watchword.errors import TokenError
from watchword.tokens import KeySet, Needs, Policy, RevocationSet, Verifier
from watchword.tokens.algorithms import ALGORITHMS
from watchword.tokens.revocations import mark_of


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_genuine_token_of_every_algorithm_is_accepted(name: str) -> None:
    read = accept(honest(name), verifier(name))
    assert (read.iss, read.aud, read.sub) == (ISSUER, (AUDIENCE,), claims()["sub"])
    assert (read.exp, read.iat, read.nbf, read.auth_time) == (NOW + 900, NOW, None, NOW)
    assert (read.jti, read.client_id, read.sid, read.ver) == ("8f7c6b5a49382716", "watchword", claims()["sid"], 3)
    assert (read.scopes, read.roles, read.amr) == ({"read", "write"}, {"admin"}, ("pwd",))
    assert (read.kid, dict(read.extra)) == (key(name).kid, {})
    assert (read.session_mark, read.user_mark, read.key_mark) == tuple(
        map(mark_of, (str(read.sid), read.sub, read.kid))
    )


def test_claims_that_may_be_absent() -> None:
    read = accept(honest(sid=..., ver=..., scope=..., roles=..., amr=..., auth_time=...))
    assert (read.sid, read.ver, read.scopes, read.roles, read.amr, read.auth_time) == (
        None,
        None,
        frozenset(),
        frozenset(),
        (),
        None,
    )
    assert accept(honest(scope="")).scopes == frozenset()


def test_claims_are_deeply_immutable() -> None:
    """They are shared by every request that shows the token."""
    read = accept(honest(extra={"list": [1, {"x": [2]}]}, other=[[3]]))
    assert read.extra["extra"]["list"][1]["x"] == (2,)
    assert read.extra["other"] == ((3,),)
    for change in (
        lambda: setattr(read, "sub", "x"),
        lambda: delattr(read, "sub"),
        lambda: setattr(read, "new", "x"),
        lambda: read.extra.__setitem__("x", 1),  # type: ignore[attr-defined]
        lambda: read.extra["extra"].__setitem__("x", 1),
        lambda: read.extra["extra"]["list"].append(1),
        lambda: read.scopes.add("x"),  # type: ignore[attr-defined]
        lambda: read.aud.append("x"),  # type: ignore[attr-defined]
    ):
        with pytest.raises((AttributeError, TypeError)):
            change()


# Each has all the faults of those after it as well: the first in the documented order is the one that is told.
FAULTS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"crit": ["x"]}, {}, "parameter"),
    ({"typ": "x"}, {}, "kind"),
    ({"alg": "none"}, {}, "algorithm is not accepted"),
    ({"kid": "unknown"}, {}, "unknown key"),
]


def test_the_order_of_the_header_checks() -> None:
    head: dict[str, Any] = header()
    expected: list[str] = []
    for change, _, message in reversed(FAULTS):
        head |= change
        expected.append(message)
        with pytest.raises(TokenError, match=message):
            accept(forge(head, b"not even JSON", lambda _: b"no signature"))


def test_the_order_of_the_claim_checks() -> None:
    """From the last check to the first: adding an earlier fault changes what is told."""
    chosen, revoked = verifier(max_lifetime=1000), RevocationSet()
    revoked.add("session", claims()["sid"], 0, NOW + 9000)
    changes: dict[str, Any] = {}
    for change, message in (
        ({}, "revoked"),
        ({"exp": NOW + 1001}, "longer"),
        ({"iat": NOW + 1}, "not valid yet"),
        ({"exp": NOW}, "expired"),
        ({"aud": "x"}, "audience"),
        ({"iss": "x"}, "issuer"),
        ({"ver": "3"}, "claim ver"),
    ):
        changes |= change
        with pytest.raises(TokenError, match=message):
            chosen.verify(
                forge(header(), claims(**changes)),
                now=NOW,
                revocations=revoked,
                needs=Needs(scopes=frozenset({"delete"})),
            )
    with pytest.raises(TokenError, match="signature"):
        accept(forge(header(), claims(**changes), lambda _: b"x" * 64), chosen)
    with pytest.raises(TokenError, match="signature"):
        accept(forge(header(), b"not JSON", lambda _: b"x" * 64), chosen)


def test_no_signature_is_checked_before_header_and_encoding_are_right() -> None:
    """A wrong length is refused without any arithmetic; so is everything that the header decides."""
    calls: list[bytes] = []
    good = key().verification_key
    spy = object.__new__(type(good))
    for name in ("_material", "algorithm", "kid", "mark", "signature_bytes"):
        object.__setattr__(spy, name, getattr(good, name))
    object.__setattr__(spy, "matches", lambda signature, data: calls.append(data) or True)
    chosen = Verifier(Policy(ISSUER, AUDIENCE, ("ES256",)), KeySet([spy]))
    for token in (
        forge(header(typ="x"), claims()),
        forge(header(crit=[]), claims()),
        forge(header(), claims(), lambda _: b"x" * 63),
        honest()[:-1],
        honest() + "A",
    ):
        with pytest.raises(TokenError):
            accept(token, chosen)
    assert not calls
    assert accept(forge(header(), claims(), lambda _: b"x" * 64), chosen)
    assert len(calls) == 1


def test_remembered_headers_are_those_of_genuine_tokens_only() -> None:
    chosen = verifier()
    with pytest.raises(TokenError):
        accept(forge(header(x=1), claims(), lambda _: b"x" * 64), chosen)
    assert not chosen._headers
    accept(honest(), chosen)
    assert len(chosen._headers) == 1
    for number in range(300):
        accept(forge(header(x=number), claims()), chosen)
    assert len(chosen._headers) <= 256


@pytest.mark.parametrize(
    "wrong",
    [{"issuer": ""}, {"audience": ""}, {"types": ()}, {"types": "at+jwt"}, {"algorithms": ("ES256", "HS256")}],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="policy"):
        Policy(**{"issuer": "i", "audience": "a", "algorithms": ("ES256",), **wrong})


def test_verify_genuine_looks_past_time_and_revocation_and_nothing_else() -> None:
    """For ending the session of a token that has just expired."""
    chosen = verifier()
    assert chosen.verify_genuine(honest(exp=NOW - 10, iat=NOW - 20)).sid == claims()["sid"]
    for token in (honest(iss="x"), honest(aud="x"), honest()[:-4] + "AAAA", forge(header(typ="x"), claims()), None):
        with pytest.raises(TokenError):
            chosen.verify_genuine(token)  # type: ignore[arg-type]
    assert len(chosen._cache) == 0

"""What is asked of a caller: each role, each scope, a recent log-in."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.forging import NOW, claims, forge, header, verifier
from watchword.errors import TokenError
from watchword.tokens import AccessClaims, Needs
from watchword.tokens.needs import NOTHING

ADMIN, OWNER, READ, DELETE = (frozenset({name}) for name in ("admin", "owner", "read", "delete"))


def caller(**changes: Any) -> AccessClaims:
    given = {"scope": "read write", "roles": ["admin"], "auth_time": NOW - 60, **changes}
    return verifier().verify(forge(header(), claims(**given)), now=NOW)


def code(needs: Needs, who: AccessClaims, now: int | None = NOW) -> str:
    try:
        needs.check(who, now=now)
    except TokenError as error:
        return error.code
    return "ok"


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        (NOTHING, "ok"),
        (Needs(ADMIN, READ, 60), "ok"),
        (Needs(ADMIN | OWNER), "role_missing"),
        (Needs(frozenset({"adm"})), "role_missing"),
        (Needs(scopes=READ | DELETE), "scope_missing"),
        (Needs(max_age=59), "reauthentication_required"),
        (Needs(OWNER, DELETE, 0), "scope_missing"),  # told in this order
        (Needs(OWNER, max_age=0), "role_missing"),
    ],
)
def test_each_of_them_is_needed(needs: Needs, expected: str) -> None:
    assert code(needs, caller()) == expected


def test_what_is_missing_is_named() -> None:
    """And nothing else: neither what the caller has, nor more than a line of it."""
    for needs, said in (
        (Needs(ADMIN | OWNER), "The token's user lacks these roles: owner"),
        (Needs(frozenset({"b", "a", "admin"})), "The token's user lacks these roles: a b"),
        (Needs(scopes=READ | DELETE), "The token lacks these scopes: delete"),
    ):
        with pytest.raises(TokenError) as caught:
            needs.check(caller())
        assert caught.value.message == said
    with pytest.raises(TokenError) as caught:
        Needs(frozenset({"x" * 4096})).check(caller())
    assert len(caught.value.message) < 300


def test_a_log_in_is_recent_only_where_token_and_time_say_so() -> None:
    """Where either is unknown, the answer is no, however long ago it may be."""
    assert code(Needs(max_age=10**9), caller(auth_time=...)) == "reauthentication_required"
    assert code(Needs(max_age=10**9), caller(), now=None) == "reauthentication_required"
    assert code(Needs(ADMIN, READ), caller(), now=None) == "ok"


@pytest.mark.parametrize("wrong", ["read", ("read",), ["read"]])
def test_a_forgotten_comma_does_not_open_the_door(wrong: Any) -> None:
    """Only sets are compared, so that a text is never taken for its letters."""
    with pytest.raises(TypeError):
        Needs(scopes=wrong).check(caller())
    with pytest.raises(TypeError):
        Needs(roles=wrong).check(caller(), now=NOW)

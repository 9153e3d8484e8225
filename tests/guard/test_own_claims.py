"""`Caller.claim`: an API works with what it expects, or stops."""

from __future__ import annotations

import copy
import sys
from typing import Any

import pytest

from watchword.claim_names import RESERVED_CLAIMS
from watchword.errors import ClaimError
from watchword.guard import Caller
from watchword.guard.caller_user import CallerUser
from watchword.guard.starlette import CallerUser as StarletteUser
from watchword.testing import Issuer
from watchword.tokens.frozen import FrozenMapping

ISSUER = Issuer()
VALUES: dict[type, Any] = {
    str: "acme",
    int: 3,
    float: 1.5,
    bool: True,
    list: [1, ["a"], {"b": [2]}],
    dict: {"name": "pro", "seats": [1, {"x": None}]},
}


def caller(**claims: Any) -> Caller:
    return ISSUER.caller("ada", claims=claims)


@pytest.mark.parametrize("kind", VALUES)
def test_a_claim_is_read_by_its_kind_and_no_other(kind: type) -> None:
    """`True` is no int, and a default does not cover a claim of another kind."""
    held = caller(it=VALUES[kind])
    found = held.claim("it", kind)
    assert (type(found), found) == (kind, VALUES[kind])
    for other in VALUES.keys() - {kind, *((float,) if kind is int else ())}:
        with pytest.raises(ClaimError, match="is not"):
            held.claim("it", other)
        with pytest.raises(ClaimError, match="is not"):
            held.claim("it", other, default=None)


def test_a_whole_number_is_a_number() -> None:
    """JSON does not tell them apart."""
    found = caller(it=3).claim("it", float)
    assert (type(found), found) == (float, 3.0)


def test_a_missing_claim_is_an_error_that_names_the_setting_or_the_default() -> None:
    """None is a default; so is anything else. A claim that is null is not missing."""
    with pytest.raises(ClaimError, match=r"'tenant'.*WATCHWORD_CLAIMS"):
        caller().claim("tenant", str)
    assert caller().claim("tenant", str, default=None) is None
    assert caller().claim("tenant", str, "public") == "public"
    with pytest.raises(ClaimError, match="is not text"):
        caller(tenant=None).claim("tenant", str, "public")


@pytest.mark.parametrize("name", sorted(RESERVED_CLAIMS))
def test_a_claim_of_the_protocol_is_read_elsewhere(name: str) -> None:
    """Whatever the token says: `cnf` of a foreign token is no tenant."""
    held = ISSUER.caller("ada", cnf={"jkt": "x"}, SUB="root")
    for written in (name, name.upper()):
        with pytest.raises(ValueError, match="claim of the protocol: read caller"):
            held.claim(written, str, default=None)
    assert held.own_claims == {}
    assert "x" in str(held.claims.extra)


def test_only_known_kinds_are_asked_for() -> None:
    """A tuple or an own class would never be what a token holds."""
    kinds: list[Any] = [tuple, set, bytes, object, Caller, type(None), [str]]
    for kind in kinds:
        with pytest.raises(TypeError, match="read as str"):
            caller(it=1).claim("it", kind)


def test_what_was_read_changes_nothing() -> None:
    """Requests with the same token share one caller."""
    held = caller(plan={"seats": [1]})
    held.claim("plan", dict)["seats"].append(2)
    assert held.claim("plan", dict) == {"seats": [1]}
    with pytest.raises(TypeError):
        held.own_claims["plan"] = 1  # type: ignore[index]
    assert held.to_dict()["claims"]["plan"] == {"seats": [1]}


def test_own_claims_are_all_but_the_protocols() -> None:
    """Those that the service was told to put in."""
    assert caller(tenant="acme", name="Ada").own_claims == {"tenant": "acme", "name": "Ada"}


@pytest.mark.parametrize("name", ["sub", "ROLES", "scp", "__proto__", "a b", ""])
def test_the_issuer_of_tests_refuses_what_the_service_refuses(name: str) -> None:
    """Otherwise a test would show what cannot be."""
    with pytest.raises(ValueError, match=r"protocol|no name|JavaScript"):
        ISSUER.token("ada", claims={name: 1})
    with pytest.raises(ValueError, match=r"protocol|no name|JavaScript"):
        ISSUER.headers("ada", claims={name: 1})
    with pytest.raises(ValueError, match="capitals"):
        ISSUER.token("ada", claims={"tenant": 1, "Tenant": 1})


def test_frameworks_show_the_name() -> None:
    """Where they have a place for it; the id, which stays, where they identify."""
    named, nameless, odd = caller(name="Ada"), caller(), caller(name=["Ada"])
    assert [CallerUser(each).get_full_name() for each in (named, nameless, odd)] == ["Ada", "ada", "ada"]
    assert [StarletteUser(each).display_name for each in (named, nameless, odd)] == ["Ada", "ada", "ada"]
    assert (CallerUser(named).get_username(), StarletteUser(named).identity) == ("ada", "ada")


def test_no_kind_reads_how_a_claim_is_kept() -> None:
    held = caller(it=None, row=[1], plan={"seats": 1})
    for kind in (type(None), tuple, FrozenMapping, type(...)):
        for name in ("it", "row", "plan", "none such"):
            with pytest.raises(TypeError, match="a claim is read as"):
                held.claim(name, kind)


def test_the_class_and_the_object_answer_alike() -> None:
    held = caller(tenant="acme")
    assert Caller.claim(held, "tenant", str) == held.claim("tenant", str) == held.claim("tenant", kind=str) == "acme"
    assert Caller.claim(held, "none", str, default=1) == held.claim(name="none", kind=str, default=1) == 1
    with pytest.raises(ClaimError):
        Caller.claim(held, "none", str)


def test_a_question_keeps_nothing_that_keeps_the_caller() -> None:
    """What is kept beside the fields goes with the caller, without a garbage collector."""
    held = caller(tenant="acme")
    before = sys.getrefcount(held), hash(held), copy.copy(held)
    assert held.claim("tenant", str) == "acme"
    assert (sys.getrefcount(held), hash(held), copy.copy(held)) == before

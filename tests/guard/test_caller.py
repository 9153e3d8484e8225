"""A caller as a value: equal, hashable, copied, pickled, as JSON; and never to be changed."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from typing import Any

import pytest

from watchword.guard import Caller
from watchword.testing import Issuer
from watchword.tokens.claims import AccessClaims
from watchword.tokens.frozen import FrozenMapping

ISSUER = Issuer()
TENANT = {"name": "t", "list": [1, {"deep": None}], "none": {}}


def caller(**given: Any) -> Caller:
    return ISSUER.guard().verify(ISSUER.token("ada", **given))


FULL: dict[str, Any] = {"roles": ["b", "a"], "scopes": ["y", "x"], "tenant": TENANT, "flag": None, "jti": "1"}
WAYS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle-{number}": lambda it, n=number: pickle.loads(pickle.dumps(it, n)) for number in range(6)},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("given", [FULL, {}, {"session_id": ..., "sid": ..., "auth_time": ...}])
def test_copies_are_equal(way: str, given: dict[str, Any]) -> None:
    given = {name: value for name, value in given.items() if name != "session_id"}
    found = caller(**given)
    for made in (WAYS[way](found), WAYS[way]([found, {"in": found}])[0]):
        assert type(made) is Caller
        assert type(made.claims) is AccessClaims
        assert made == found
        assert hash(made) == hash(found)
        assert made.to_dict() == found.to_dict()
    assert WAYS[way](found.claims) == found.claims


def test_equal_by_value() -> None:
    token = ISSUER.token("ada", **FULL)
    one, two = ISSUER.guard().verify(token), ISSUER.guard().verify(token)
    assert one is not two
    assert one == two
    assert {one: 1}[two] == 1
    assert len({one, two, caller(**FULL, session_id="s"), caller(**{**FULL, "roles": ["a"]})}) == 3


def test_it_goes_to_another_process_whole() -> None:
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer).to_dict())"
    found = caller(**FULL)
    asked = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(found), capture_output=True, check=True)
    assert asked.stdout.decode().strip() == str(found.to_dict())


def test_as_json() -> None:
    found = caller(**FULL, session_id="s")
    shown = json.loads(json.dumps(found.to_dict()))
    assert shown == {
        "user_id": "ada",
        "session_id": "s",
        "roles": ["a", "b"],
        "scopes": ["x", "y"],
        "expires_at": found.expires_at,
        "claims": {
            "iss": ISSUER.issuer,
            "sub": "ada",
            "aud": ["api"],
            "exp": found.expires_at,
            "iat": ISSUER.clock.now(),
            "jti": "1",
            "client_id": "watchword",
            "sid": "s",
            "scope": "x y",
            "roles": ["a", "b"],
            "ver": 1,
            "rver": 1,
            "auth_time": ISSUER.clock.now(),
            "amr": ["pwd"],
            "tenant": TENANT,
            "flag": None,
        },
    }


def test_what_comes_out_is_a_copy() -> None:
    found = caller(**FULL)
    found.to_dict()["claims"]["tenant"]["list"].clear()
    found.to_dict()["roles"].clear()
    assert found.to_dict()["claims"]["tenant"] == TENANT
    assert found.roles == {"a", "b"}


@pytest.mark.parametrize("way", ["as it is", *WAYS])
def test_nothing_of_it_can_be_changed(way: str) -> None:
    found = WAYS.get(way, lambda it: it)(caller(**FULL))
    extra: Any = found.claims.extra
    attempts: list[tuple[Any, str, Any]] = [(found, "roles", frozenset()), (found.claims, "sub", "eve")]
    attempts += [(extra, name, {}) for name in ("x", "_content", "__dict__")]
    for thing, name, value in attempts:
        with pytest.raises((AttributeError, TypeError)):
            setattr(thing, name, value)
        with pytest.raises((AttributeError, TypeError)):
            delattr(thing, name)
    for inside in (extra, extra["tenant"], extra["tenant"]["list"][1]):
        assert isinstance(inside, FrozenMapping)
        for change in (lambda it: it.__setitem__("x", 1), lambda it: it.update(x=1), lambda it: it.clear()):
            with pytest.raises(AttributeError):
                change(inside)
    with pytest.raises(AttributeError):
        extra["tenant"]["list"].append(1)


def test_a_frozen_mapping_is_one() -> None:
    content: dict[str, Any] = {"a": 1}
    frozen = FrozenMapping(content)
    content["b"] = 2
    assert (frozen, len(frozen), "a" in frozen, "b" in frozen, repr(frozen)) == ({"a": 1}, 1, True, False, "{'a': 1}")
    assert hash(frozen) == hash(FrozenMapping({"a": 1}))

"""One table of requests and answers, through every adapter on a real server."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pytest

from tests.guard.key_desk import KeyDesk
from tests.guard.service import Service, until
from tests.guard_adapters.serving import Answer, Api
from watchword.api_keys import attenuate, make
from watchword.ids import new_id

PLAIN = 'Bearer realm="watchword"'
Headers = list[tuple[str, str | bytes]]


class Tokens:
    """What a scenario puts into its headers."""

    def __init__(self, issuer: Service) -> None:
        self._issuer = issuer

    def good(self, **given: Any) -> str:
        """A genuine token of ada's."""
        return self._issuer.token(**({"user_id": "ada"} | given))

    def expired(self) -> str:
        """A genuine one whose time is over."""
        self.good()  # sets the issuer's clock
        return self._issuer.issuer.expired_token("ada")

    def forged(self) -> str:
        """The right claims and key id, signed by somebody else."""
        self.good()
        return self._issuer.issuer.forged_token("ada")

    @property
    def keys(self) -> Keys:
        """API keys of ada's."""
        return keys_of(self._issuer)

    def old(self) -> str:
        """Of a log-in an hour ago."""
        return self.good(auth_time=int(time.time()) - 3600)


class Keys:
    """API keys, each the same in every adapter, so that guards share what they learn of it."""

    def __init__(self, issuer: Service) -> None:
        self.desk = KeyDesk(issuer)
        self.good = self.desk.make("orders:read", "orders:write")
        self.lacking = self.desk.make("orders:write")
        self.weak = attenuate(self.good, scopes=["orders:read"], expires_in=3600, resource="orders")
        self.too_weak = attenuate(self.good, scopes=["orders:write"])
        self.for_another = attenuate(self.good, resource="billing")
        self.forged = make(new_id()).text
        self.mistyped = self.good[:-1] + ("A" if self.good[-1] != "A" else "B")
        self.revoked = self.desk.make("orders:read")
        self.desk.revoke(self.revoked)


keys_of = cache(Keys)


class Scenario(NamedTuple):
    """A request and its answer. `code` None: it passes, and the route sees ada (nobody, if `nobody`)."""

    name: str
    path: str
    headers: Callable[[Tokens], Headers]
    status: int
    code: str | None = None
    challenge: str | None = None
    nobody: bool = False
    method: str = "GET"
    leads_to: str = ""
    detail: str = ""


def bearer(token: str | bytes) -> Headers:
    return [("Authorization", b"Bearer " + (token if isinstance(token, bytes) else token.encode()))]


def nothing(_: Tokens) -> Headers:
    return []


def said(error: str, description: str, more: str = "") -> str:
    return f'{PLAIN}, error="{error}", error_description="{description}"{more}'


INVALID = said("invalid_token", "The access token is not accepted.")
MALFORMED = said("invalid_token", "The access token is malformed.")
EXPIRED = said("invalid_token", "The access token expired.")
HEADER = said("invalid_request", "The Authorization header is malformed.")
SCOPE = "The token lacks a scope."
ROLE = said("insufficient_scope", "The token's user lacks a role.")
STEP_UP = said("insufficient_user_authentication", "A more recent log-in is required.", ', max_age="300"')

NO_KEY = "This API key is not accepted."
NOT_HERE = "An API key is not accepted here."
IN_ADDRESS = make(new_id()).text

# fmt: off
SCENARIOS = [
    Scenario("nothing shown, nothing needed", "/open", nothing, 200, nobody=True),
    Scenario("rubbish shown, nothing needed", "/open", lambda _: bearer("x"), 200, nobody=True),
    Scenario("missing", "/needs", nothing, 401, "token_missing", PLAIN),
    Scenario("another scheme", "/needs", lambda _: [("Authorization", "Basic Og==")], 401, "token_missing", PLAIN),
    Scenario("empty header", "/needs", lambda _: [("Authorization", "")], 401, "token_missing", PLAIN),
    Scenario("token in the query", "/needs?access_token=x", nothing, 401, "token_missing", PLAIN),
    Scenario("good", "/needs", lambda t: bearer(t.good()), 200),
    Scenario("scheme in small letters", "/needs", lambda t: [("authorization", f"bearer {t.good()}")], 200),
    Scenario("expired", "/needs", lambda t: bearer(t.expired()), 401, "token_expired", EXPIRED),
    Scenario("forged", "/needs", lambda t: bearer(t.forged()), 401, "token_invalid", INVALID),
    Scenario("of another audience", "/needs", lambda t: bearer(t.good(audience="x")), 401, "token_invalid", INVALID),
    Scenario("no token at all", "/needs", lambda _: bearer("x"), 401, "token_malformed", MALFORMED),
    Scenario("9000 letters", "/needs", lambda _: bearer("a" * 9000), 401, "token_malformed", MALFORMED),
    Scenario("bytes", "/needs", lambda _: bearer(b"\xff\xfe\x80"), 400, "authorization_malformed", HEADER),
    Scenario("just the scheme", "/needs", lambda _: [("Authorization", "Bearer")], 400,
             "authorization_malformed", HEADER),
    Scenario("a word too many", "/needs", lambda t: bearer(f"{t.good()} x"), 400, "authorization_malformed", HEADER),
    Scenario("two headers", "/needs", lambda t: bearer(t.good()) * 2, 400, "invalid_request"),
    Scenario("two schemes", "/needs", lambda t: [("Authorization", "Basic Og=="), *bearer(t.good())], 400,
             "invalid_request"),
    Scenario("two headers, one of them rubbish", "/maybe", lambda t: [("Authorization", "Basic Og=="), *bearer("x")],
             400, "invalid_request"),
    Scenario("nobody where one may be", "/maybe", nothing, 200, nobody=True),
    Scenario("another scheme where one may be", "/maybe", lambda _: [("Authorization", "Basic Og==")], 200,
             nobody=True),
    Scenario("somebody where one may be", "/maybe", lambda t: bearer(t.good()), 200),
    Scenario("expired where one may be", "/maybe", lambda t: bearer(t.expired()), 401, "token_expired", EXPIRED),
    Scenario("the scope", "/scoped", lambda t: bearer(t.good(scopes=["orders:write", "x"])), 200),
    Scenario("another scope", "/scoped", lambda t: bearer(t.good(scopes=["orders:read"])), 403, "scope_missing",
             said("insufficient_scope", SCOPE, ', scope="orders:write"')),
    Scenario("a list for the scope", "/scoped", lambda t: bearer(t.good(scope=["orders:write"])), 401, "token_invalid",
             INVALID),
    Scenario("no token where a scope is needed", "/scoped", nothing, 401, "token_missing", PLAIN),
    Scenario("the role", "/admin", lambda t: bearer(t.good(roles=["admin"])), 200),
    Scenario("another role", "/admin", lambda t: bearer(t.good(roles=["Admin"])), 403, "role_missing", ROLE),
    Scenario("a scope called like the role", "/admin", lambda t: bearer(t.good(scopes=["role:admin", "admin"])), 403,
             "role_missing", ROLE),
    Scenario("logged in just now", "/recent", lambda t: bearer(t.good()), 200),
    Scenario("logged in an hour ago", "/recent", lambda t: bearer(t.old()), 401, "reauthentication_required", STEP_UP),
    Scenario("an API key", "/keys", lambda t: bearer(t.keys.good), 200),
    Scenario("a token where keys are taken", "/keys", lambda t: bearer(t.good(scopes=["orders:read"])), 200),
    Scenario("a weakened key", "/keys", lambda t: bearer(t.keys.weak), 200),
    Scenario("a key without the scope", "/keys", lambda t: bearer(t.keys.lacking), 403, "scope_missing",
             said("insufficient_scope", SCOPE, ', scope="orders:read"')),
    Scenario("a weakened key without the scope", "/keys", lambda t: bearer(t.keys.too_weak), 403, "scope_missing",
             said("insufficient_scope", SCOPE, ', scope="orders:read"')),
    Scenario("a weakened key for another API", "/keys", lambda t: bearer(t.keys.for_another), 401, "token_invalid",
             INVALID, detail=NO_KEY),
    Scenario("a forged key", "/keys", lambda t: bearer(t.keys.forged), 401, "token_invalid", INVALID, detail=NO_KEY),
    Scenario("a mistyped key", "/keys", lambda t: bearer(t.keys.mistyped), 401, "token_invalid", INVALID,
             detail="mistyped"),
    Scenario("a revoked key", "/keys", lambda t: bearer(t.keys.revoked), 401, "token_invalid", INVALID, detail=NO_KEY),
    Scenario("a key where none is taken", "/needs", lambda t: bearer(t.keys.good), 401, "token_invalid", INVALID,
             detail=NOT_HERE),
    Scenario("a key where one may be", "/maybe", lambda t: bearer(t.keys.good), 401, "token_invalid", INVALID,
             detail=NOT_HERE),
    Scenario("two keys", "/keys", lambda t: bearer(t.keys.good) * 2, 400, "invalid_request"),
    Scenario("a key in the query", f"/keys?api_key={IN_ADDRESS}", nothing, 401, "token_missing", PLAIN,
             detail="An API key in an address is not read"),
    Scenario("a key in the query of another route", f"/needs?a=b&key={IN_ADDRESS}", nothing, 401, "token_missing",
             PLAIN, detail="An API key in an address is not read"),
    Scenario("in a group, good", "/group/one", lambda t: bearer(t.good(scopes=["orders:read"])), 200),
    Scenario("in a group, missing", "/group/one", nothing, 401, "token_missing", PLAIN),
    Scenario("in a group, forbidden", "/group/one", lambda t: bearer(t.good()), 403, "scope_missing",
             said("insufficient_scope", SCOPE, ', scope="orders:read"')),
]
# fmt: on


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_table(scenario: Scenario, api: Api, issuer: Service) -> None:
    """Status, code, challenge and form are the same everywhere."""
    answer = api.ask(scenario.path, scenario.headers(Tokens(issuer)))
    assert (answer.status, answer.code) == (scenario.status, scenario.code), answer
    if scenario.code is None:
        assert answer.user() == (None if scenario.nobody else "ada")
        return
    assert answer.headers.get("www-authenticate") == scenario.challenge
    assert scenario.detail in json.loads(answer.body)["detail"]
    _is_whole(answer, issuer)


def _is_whole(answer: Answer, issuer: Service) -> None:
    problem = json.loads(answer.body)
    assert set(problem) == {"type", "title", "status", "detail", "code"}
    assert problem["type"] == f"{issuer.url}/problems/{answer.code}"
    assert problem["status"] == answer.status
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-length"] == str(len(answer.body))


def test_a_change_needs_no_CSRF_token(api: Api, issuer: Service) -> None:
    """POST with a bearer token passes, without one it is refused as GET is."""
    assert api.ask("/needs", bearer(Tokens(issuer).good()), "POST").status in {200, 201}
    assert api.ask("/needs", method="POST").code == "token_missing"


def test_HEAD_is_refused_as_GET_is_but_without_a_body(api: Api, issuer: Service) -> None:
    refused = api.ask("/needs", method="HEAD")
    assert (refused.status, refused.body, refused.headers["www-authenticate"]) == (401, b"", PLAIN)
    assert api.ask("/needs", bearer(Tokens(issuer).good()), "HEAD").status == 200


def test_what_is_revoked_is_refused_within_a_second(apis: dict[str, Api], issuer: Service) -> None:
    """Everywhere, and by every worker, since each follows the feed for itself."""
    session = str(uuid.uuid4())
    headers = bearer(issuer.token(user_id="ada", session_id=session))
    routes = [(name, path) for name in apis for path in ("/needs", "/maybe")] * 4
    assert {apis[name].ask(path, headers).status for name, path in routes} == {200}
    issuer.revoke("session", session)
    time.sleep(1)
    for name, path in routes:
        refused = apis[name].ask(path, headers)
        assert (refused.status, refused.code) == (401, "token_revoked"), name
        assert refused.headers["www-authenticate"] == said("invalid_token", "The access token was revoked.")


def test_an_API_key_that_passes_is_refused_once_it_is_revoked(apis: dict[str, Api], issuer: Service) -> None:
    """Everywhere, by every worker, and with it a weaker key that was made of it."""
    desk = keys_of(issuer).desk
    key = desk.make("orders:read")
    headers = [bearer(key), bearer(attenuate(key, expires_in=600))]
    routes = [(name, shown) for name in apis for shown in headers] * 2
    assert {apis[name].ask("/keys", shown).status for name, shown in routes} == {200}
    desk.revoke(key)
    for name, shown in routes:  # how soon is measured elsewhere
        assert until(lambda api=apis[name], sent=shown: api.ask("/keys", sent).status == 401), name  # type: ignore[misc]
    for name, shown in routes * 2:
        refused = apis[name].ask("/keys", shown)
        assert (refused.status, refused.code) == (401, "token_invalid"), name


def test_a_new_key_is_learnt_without_a_restart(apis: dict[str, Api], issuer: Service) -> None:
    """By every process, once the feed has said so."""
    issuer.rotate()
    began = time.monotonic()
    waiting = dict(apis)
    while waiting:
        assert time.monotonic() - began < 60, list(waiting)
        for name, api in list(waiting.items()):
            if api.ask("/needs", bearer(Tokens(issuer).good())).status == 200:
                del waiting[name]

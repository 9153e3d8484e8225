"""One table of requests and answers, through every adapter on a real server."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.guard.service import Service
from tests.guard_adapters.serving import Answer, Api

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

    def old(self) -> str:
        """Of a log-in an hour ago."""
        return self.good(auth_time=int(time.time()) - 3600)


class Scenario(NamedTuple):
    """A request and its answer. `code` None: it passes, and the route sees ada (nobody, if `nobody`)."""

    name: str
    path: str
    headers: Callable[[Tokens], Headers]
    status: int
    code: str | None = None
    challenge: str | None = None
    nobody: bool = False


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
    Scenario("no token where a scope is needed", "/scoped", nothing, 401, "token_missing", PLAIN),
    Scenario("the role", "/admin", lambda t: bearer(t.good(roles=["admin"])), 200),
    Scenario("another role", "/admin", lambda t: bearer(t.good(roles=["Admin"])), 403, "role_missing", ROLE),
    Scenario("a scope called like the role", "/admin", lambda t: bearer(t.good(scopes=["role:admin", "admin"])), 403,
             "role_missing", ROLE),
    Scenario("logged in just now", "/recent", lambda t: bearer(t.good()), 200),
    Scenario("logged in an hour ago", "/recent", lambda t: bearer(t.old()), 401, "reauthentication_required", STEP_UP),
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

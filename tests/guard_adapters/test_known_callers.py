"""Requests of known callers, which Starlette's `guarded` hands on in one function: they pass as all others do."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.guard_adapters.in_process import answer_of, ask_asgi, http_scope
from watchword.clock import FixedClock
from watchword.guard import Guard, SeveralIssuers
from watchword.guard.asgi import GuardMiddleware
from watchword.guard.starlette import guarded
from watchword.testing import Issuer


async def name(request: Request) -> PlainTextResponse:
    assert request.state.caller is request.scope["caller"]
    return PlainTextResponse(request.state.caller.user_id)


def application(guard: Guard) -> Starlette:
    needs: dict[str, dict[str, Any]] = {
        "/plain": {},
        "/reads": {"scopes": "read"},
        "/writes": {"scopes": "write"},
        "/recent": {"max_age": 60},
        "/maybe": {"optional": True},
    }
    return Starlette(routes=[Route(path, name, middleware=[guarded(guard, **asked)]) for path, asked in needs.items()])


async def ask(app: Starlette, path: str, headers: Sequence[str]) -> tuple[int, str]:
    answer = answer_of(await ask_asgi(app, http_scope(path, [each.encode() for each in headers])))
    return answer.status, answer.body.decode() if answer.status == 200 else ""


def joined(*issuers: Issuer) -> Guard:
    first, *others = [issuer.guard() for issuer in issuers]
    return SeveralIssuers(first, *others) if others else first


@pytest.mark.parametrize("count", [1, 2])
async def test_they_pass_until_they_may_not(count: int) -> None:
    """⚑ On several routes in turn, until their session ends."""
    clock = FixedClock()
    issuers = [Issuer(f"https://auth{n}.example", clock=clock) for n in range(count)]
    app = application(joined(*issuers))
    for issuer in issuers:
        shown = [issuer.headers("ada", scopes=["read"], session_id="s")["Authorization"]]
        for _ in range(3):
            assert await ask(app, "/plain", shown) == (200, "ada")
            assert await ask(app, "/reads", shown) == (200, "ada")
            assert await ask(app, "/recent", shown) == (200, "ada")
            assert (await ask(app, "/writes", shown))[0] == 403
            assert await ask(app, "/maybe", shown) == (200, "ada")
        for several in (shown * 2, shown * 3, ["Bearer x", *shown, "Bearer x", *shown]):
            for path in ("/plain", "/maybe"):
                assert (await ask(app, path, several))[0] == 400
        assert await ask(app, "/recent", shown) == (200, "ada")
        clock.advance(61)
        assert (await ask(app, "/recent", shown))[0] == 401
        assert await ask(app, "/plain", shown) == (200, "ada")
        issuer.revoke_session("s")
        for path in ("/plain", "/reads", "/writes", "/recent", "/maybe"):
            assert (await ask(app, path, shown))[0] == 401


@pytest.mark.parametrize("count", [1, 2])
async def test_no_one_passes_while_another_guard_stands_in(count: int) -> None:
    issuers = [Issuer(f"https://auth{n}.example") for n in range(count)]
    guard = joined(*issuers)
    app = application(guard)
    for issuer in issuers:
        shown = [issuer.headers("ada")["Authorization"]]
        assert await ask(app, "/plain", shown) == (200, "ada")
        with Issuer().trusted_by(guard):
            assert (await ask(app, "/plain", shown))[0] == 401
        assert await ask(app, "/plain", shown) == (200, "ada")


# By chance ------------------------------------------------------------------------------------------------------------

NEEDS: list[dict[str, Any]] = [
    {},
    {"optional": True},
    {"scopes": "read"},
    {"scopes": ["read", "write"], "optional": True},
    {"roles": "clerk"},
    {"max_age": 30},
    {"api_keys": True},
    {"scopes": "read", "api_keys": True},
]


async def answer(scope: Any, receive: Any, send: Any) -> None:
    caller = scope["caller"]
    assert caller is scope["state"]["caller"]
    await PlainTextResponse("nobody" if caller is None else caller.claims.jti)(scope, receive, send)


class Chance:
    """Issuers, two equal guards of theirs, and what happens to them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = FixedClock()
        self.issuers = [Issuer(f"https://auth{n}.example", clock=self.clock) for n in range(1 + seed % 2)]
        self.foreign = Issuer("https://auth0.example", clock=self.clock)
        self.guards = [joined(*self.issuers) for _ in range(2)]
        for guard in self.guards if seed % 5 == 0 else []:
            first = guard._guards[0] if isinstance(guard, SeveralIssuers) else guard
            first._judge.standing.strict = True
        self.tokens = [self.token() for _ in range(6)]
        self.inside = ExitStack()
        self.others = False

    def token(self) -> bytes:
        chosen = self.random.choice
        client = chosen(["watchword", "watchword", "watchword", "api_key", "wwc_job"])
        user = client if client == "wwc_job" else chosen(["ada", "eve"])
        now = self.clock.now()
        given: dict[str, Any] = {
            "scopes": chosen([(), ("read",), ("read", "write")]),
            "roles": chosen([(), ("clerk",)]),
            "session_id": chosen(["s1", "s2", "s3"]),
            "expires_in": chosen([-1, 5, 60, 900]),
            "auth_time": now - chosen([0, 29, 31]),
            "iat": now + chosen([0, 0, 0, 4, 7]),
            "client_id": client,
        }
        issuer = chosen([*self.issuers, *self.issuers, self.foreign])
        return chosen([issuer.token, issuer.token, issuer.forged_token])(user, **given).encode()

    def happen(self) -> None:
        issuer, chance = self.random.choice(self.issuers), self.random.random()
        if chance < 0.4:
            self.tokens[self.random.randrange(6)] = self.token()
        elif chance < 0.65:
            self.clock.advance(self.random.choice([1, 4, 6, 29, -2, -2]))
        elif chance < 0.75:
            issuer.revoke_session(self.random.choice(["s1", "s2", "s3"]))
        elif chance < 0.8:
            issuer.revoke_user(self.random.choice(["ada", "eve", "wwc_job"]))
        elif chance < 0.85:
            issuer.revoke_scope(self.random.choice(["read", "write"]))
        elif self.others:
            self.inside.close()
            self.others = False
        elif chance < 0.93:
            for guard in self.guards:
                self.inside.enter_context(self.foreign.trusted_by(guard))
            self.others = True
        else:
            issuer.rotate_key()

    def headers(self) -> list[bytes]:
        first, second = (b"Bearer " + self.random.choice(self.tokens) for _ in range(2))
        return self.random.choice([*[[first]] * 9, [], [first] * 2, [first, second], [first, second, first]])


@pytest.mark.parametrize("seed", range(20))
async def test_they_are_answered_as_by_a_guard_that_remembers_nobody(seed: int) -> None:
    """⚑ Whatever happens in between, by the function as by the middleware."""
    chance = Chance(seed)
    made = [
        (
            GuardMiddleware(answer, chance.guards[0], **needs).as_function(),
            GuardMiddleware(answer, chance.guards[1], **needs),
        )
        for needs in NEEDS
    ]
    passed = 0
    with chance.inside:
        for _ in range(120):
            if chance.random.random() < 0.3:
                chance.happen()
            number, shown = chance.random.randrange(len(NEEDS)), chance.headers()
            forgetful = chance.foreign.guard() if chance.others else joined(*chance.issuers)
            asked = [*made[number], GuardMiddleware(answer, forgetful, **NEEDS[number])]
            found = [answer_of(await ask_asgi(app, http_scope("/", shown))) for app in asked]
            passed += found[0].status == 200
            assert found[0] == found[1]
            assert found[0].status == found[2].status
            assert found[0].status != 200 or found[0].body == found[2].body
    assert passed

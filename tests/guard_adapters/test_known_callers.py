"""Requests of known callers, which Starlette's `guarded` hands on in one function: they pass as all others do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.guard_adapters.in_process import answer_of, ask_asgi, http_scope
from watchword.clock import FixedClock
from watchword.guard import Guard, SeveralIssuers
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
        assert (await ask(app, "/plain", shown * 2))[0] == 400
        assert (await ask(app, "/maybe", shown * 2))[0] == 400
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

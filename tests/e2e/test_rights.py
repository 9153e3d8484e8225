"""Rights that are taken away by a command beside the service: refused by its workers and by the guards of two APIs."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.e2e.client import PASSWORD, bearer
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED
from watchword.errors import TokenError
from watchword.guard import Guard

ORDERS = "https://orders.example"
PATIENCE = 30.0
"""Seconds. How soon it is measured elsewhere; what must come is waited for."""


def code_of(check: Callable[[], object]) -> str:
    try:
        check()
    except TokenError as error:
        return error.code
    return ""


def eventually(check: Callable[[], object], code: str) -> None:
    while code_of(check) != code:  # the time limit of every test ends what never comes
        time.sleep(0.01)


def test_what_a_command_takes_away_is_refused_everywhere(serve: Serve) -> None:
    """⚑ Also of users who were idle; each guard knows its own audience, and no token of the other."""
    server = serve("--workers", "2", **UNLIMITED)
    for command in (
        ("scopes", "add", "*", "orders:read", "orders:write", "read"),
        ("apis", "create", "orders", "--audience", ORDERS, "--scope", "orders:read", "--scope", "orders:write"),
    ):
        assert server.command(*command).returncode == 0
    with server.client() as client:
        name = client.register()["username"]
        form = {"grant_type": "password", "username": name, "password": PASSWORD}
        while (answer := client.post("/token", data=form | {"resource": ORDERS})).status_code != 200:
            time.sleep(0.01)  # each worker hears of the new API at its next poll
        at_orders, idle = answer.json(), client.post("/token", data=form | {"resource": ORDERS}).json()
        whole, narrow = (
            client.post("/token", data=form).json(),
            client.post("/token", data=form | {"scope": "read"}).json(),
        )
    own, orders = Guard(server.url), Guard(server.url, audience=ORDERS)
    try:
        for guard in (own, orders):
            assert guard.wait_until_ready(PATIENCE)
        assert orders.verify(at_orders["access_token"]).scopes == {"orders:read", "orders:write"}
        assert own.verify(whole["access_token"]).scopes == {"orders:read", "orders:write", "read"}
        for guard, other in ((own, at_orders), (orders, whole)):
            assert code_of(lambda g=guard, t=other: g.verify(t["access_token"])) == "token_invalid"  # type: ignore[misc]

        assert server.command("scopes", "remove", "*", "orders:write").returncode == 0
        for guard, one in ((orders, at_orders), (orders, idle), (own, whole)):
            eventually(lambda g=guard, t=one: g.verify(t["access_token"]), "token_revoked")  # type: ignore[misc]
        assert own.verify(narrow["access_token"]).scopes == {"read"}
        with server.client() as client:
            for _ in range(4):  # whichever worker answers
                refresh = {"grant_type": "refresh_token", "refresh_token": at_orders["refresh_token"]}
                at_orders = client.post("/token", data=refresh).json()
                assert orders.verify(at_orders["access_token"]).scopes == {"orders:read"}
                while client.get("/profile", headers=bearer(whole["access_token"])).status_code != 401:
                    time.sleep(0.01)  # each worker hears of it at its next poll

            assert server.command("apis", "delete", "orders", "--yes").returncode == 0
            eventually(lambda: orders.verify(at_orders["access_token"]), "token_revoked")
            refresh = {"grant_type": "refresh_token", "refresh_token": at_orders["refresh_token"]}
            answer = client.post("/token", data=refresh)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert own.verify(narrow["access_token"]).scopes == {"read"}
    finally:
        own.stop()
        orders.stop()

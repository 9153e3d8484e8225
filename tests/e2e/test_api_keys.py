"""API keys between processes: a fleet's guards exchange them at a real service, and hear of what ends them."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.e2e.client import PASSWORD, bearer
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED
from watchword.api_keys import attenuate
from watchword.errors import TokenError
from watchword.guard import Caller, Guard

ORDERS = "https://orders.example"
PATIENCE = 30.0
"""Seconds. How soon it is measured elsewhere; what must come is waited for."""


def eventually(holds: Callable[[], bool]) -> None:
    while not holds():  # the time limit of every test ends what never comes
        time.sleep(0.01)


def admitted(guard: Guard, key: str) -> Caller | None:
    """The caller of a key, or None where it is refused."""
    try:
        return guard.verify(key, api_keys=True)
    except TokenError:
        return None


def scopes(guard: Guard, key: str) -> frozenset[str]:
    caller = admitted(guard, key)
    return frozenset() if caller is None else caller.scopes


def test_a_key_and_a_weaker_one_at_two_apis_until_it_is_revoked(serve: Serve) -> None:
    """⚑ Each API its own audience; a scope that is taken away narrows both; a command's revocation ends both."""
    server = serve("--workers", "2", **UNLIMITED)
    for command in (
        ("scopes", "add", "*", "orders:read", "orders:write"),
        ("apis", "create", "orders", "--audience", ORDERS, "--scope", "orders:read", "--scope", "orders:write"),
    ):
        assert server.command(*command).returncode == 0
    with server.client() as client:
        name = client.register()["username"]
        form = {"grant_type": "password", "username": name, "password": PASSWORD}
        eventually(lambda: client.post("/token", data=form | {"resource": ORDERS}).status_code == 200)
        token = client.post("/token", data=form).json()["access_token"]
        eventually(lambda: client.post("/token", data=form).json()["scope"] == "orders:read orders:write")
        made = client.post("/api-keys", json={"name": "nightly"}, headers=bearer(token)).json()
    key = made["key"]
    weaker = attenuate(key, scopes=["orders:read"], expires_in=600, resource=ORDERS)
    own, orders = Guard(server.url), Guard(server.url, audience=ORDERS)
    try:
        for guard in (own, orders):
            assert guard.wait_until_ready(PATIENCE)
            assert scopes(guard, key) == {"orders:read", "orders:write"}
        assert scopes(orders, weaker) == {"orders:read"}
        assert admitted(own, weaker) is None
        assert orders.require(api_keys=True).recall(f"Bearer {key}") is None  # sent in another way
        orders.check(f"Bearer {key}", api_keys=True)
        assert orders.require(api_keys=True).recall(f"Bearer {key}") is not None

        assert server.command("scopes", "remove", "*", "orders:write").returncode == 0
        eventually(lambda: scopes(own, key) == scopes(orders, key) == {"orders:read"})
        assert scopes(orders, weaker) == {"orders:read"}

        assert server.command("api-keys", "revoke", made["about"]["id"], "--yes").returncode == 0
        eventually(lambda: not any((admitted(own, key), admitted(orders, key), admitted(orders, weaker))))
    finally:
        own.stop()
        orders.stop()

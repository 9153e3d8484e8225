"""`openid-client`, which is certified and strict, goes through a session's life with what the metadata say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.client import PASSWORD, fresh_name
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED
from tests.interop import npm


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_openid_client_finds_everything_by_itself(serve: Serve, node: Path, prefix: str) -> None:
    """Discovery in both forms, log in, call, refresh, introspect, revoke; the refusal at the end is understood."""
    server = serve(**UNLIMITED, **({"WATCHWORD_PATH_PREFIX": prefix} if prefix else {}))
    name = fresh_name()
    with server.client() as client:
        user = client.register(name)
    made = server.command("guards", "create", "interop")
    assert made.returncode == 0, made.stderr
    given = {"issuer": server.url, "username": name, "password": PASSWORD, "guardKey": made.stdout.strip()}
    told = npm.run(node / "openid.mjs", given)
    assert 600 < told.pop("expiresIn") <= 900, "it counts down"
    assert told == {
        "issuers": [server.url, server.url],
        "tokenType": "bearer",
        "username": name,
        "refreshed": True,
        "before": {"active": True, "sub": user["id"]},
        "after": {"active": False},
        "refusal": "invalid_grant",
        "challenge": {"status": 401, "scheme": "bearer", "error": "invalid_token"},
    }

"""From the end of a session to the refusal of its tokens: at once in one process, soon in several."""

from __future__ import annotations

import time

from tests.e2e.client import COOKIE, PASSWORD, Client, bearer, refused
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED, Server

PATIENCE = 60


def test_E7_after_log_out_the_old_access_token_is_refused_at_once(client: Client) -> None:
    """And the cookie's token with it; logging out again is not an error."""
    token = client.newcomer()
    cookie = client.cookies[COOKIE]
    assert client.get("/profile", headers=bearer(token)).status_code == 200
    assert client.post("/logout", headers=bearer(token)).status_code == 204
    refused(client.get("/profile", headers=bearer(token)), 401, "token_revoked")
    refused(client.post("/refresh", headers={"Cookie": f"{COOKIE}={cookie}"}), 401, "session_ended")
    assert client.post("/logout", headers=bearer(token)).status_code == 204


def _refused_on_all(server: Server, token: str) -> bool:
    """Ask on fresh connections, so on every worker, until all have refused for a second and forty times."""
    end = time.monotonic() + PATIENCE
    since, refusals = time.monotonic(), 0
    while refusals < 40 or time.monotonic() < since + 1:
        with server.client() as fresh:
            accepted = fresh.get("/profile", headers=bearer(token)).status_code == 200
        if time.monotonic() > end:
            return False
        refusals = 0 if accepted else refusals + 1
        since = time.monotonic() if accepted else since
    return True


def test_E7_with_two_workers_both_refuse(serve: Serve) -> None:
    """One worker ends the session, the other follows the list: no restart, no shared memory, no Redis."""
    server = serve("--workers", "2", **UNLIMITED)
    with server.client() as client:
        token = client.newcomer()
        for _ in range(20):  # both workers have the token in their caches
            with server.client() as fresh:
                assert fresh.get("/profile", headers=bearer(token)).status_code == 200
        assert client.post("/logout", headers=bearer(token)).status_code == 204
        assert _refused_on_all(server, token)


def test_E8_so_does_every_other_end(serve: Serve) -> None:
    """Two workers: a changed password, a user disabled by command, a closed account."""
    server = serve("--workers", "2", **UNLIMITED)
    with server.client() as client:
        name = client.register()["username"]
        changed = client.log_in(name)
        answer = client.post(
            "/profile/password",
            json={"current_password": PASSWORD, "new_password": "another-orbit-canvas"},
            headers=bearer(changed),
        )
        assert _refused_on_all(server, changed)
        after = answer.json()["access_token"]
        assert client.get("/profile", headers=bearer(after)).status_code == 200
        assert server.command("users", "disable", name).returncode == 0
        assert _refused_on_all(server, after)
        closed = client.newcomer()
        client.request("DELETE", "/profile", json={"password": PASSWORD}, headers=bearer(closed))
        assert _refused_on_all(server, closed)

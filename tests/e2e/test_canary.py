"""A whole session with marked secrets at debug level: none of them, in any spelling, is in what the process prints."""

from __future__ import annotations

import base64
import secrets

from tests.e2e import raw
from tests.e2e.canaries import Canaries, everything_stored
from tests.e2e.client import COOKIE, Client, bearer, fresh_name
from tests.e2e.fixtures import Serve
from tests.e2e.raw import request
from tests.e2e.server import UNLIMITED, Server


def test_the_canaries_are_found() -> None:
    """The search below finds a secret as it is, and in base64 wherever it begins; otherwise it would show nothing."""
    canaries = Canaries()
    secret = canaries.fresh("any")
    for hidden in (secret, f"user:{secret}", f"a{secret}b", f"ab{secret}"):
        assert canaries.found_in(f"line {hidden} end") == [secret]
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            assert canaries.found_in(encode(hidden.encode()).decode()) == [secret]
    assert canaries.found_in("nothing of the kind") == []
    code = canaries.keep_code("123456")
    assert canaries.found_in(f'{{"code": {code}}}') == canaries.found_in(f"code={code}") == [code]
    assert canaries.found_in("1234567 0123456") == []


def test_J8_no_secret_is_ever_printed(serve: Serve) -> None:
    """Passwords, tokens, guard keys and settings, right and wrong, at debug level; also what crashes on its way in.

    `test_canary_people.py` goes on with mails, administration, API keys, webhooks and old tokens.
    """
    canaries = Canaries()
    jwt_secret, master = canaries.fresh("jwt"), base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    server = serve(
        **UNLIMITED,
        WATCHWORD_LOG_LEVEL="debug",
        WATCHWORD_JWT_SECRET=jwt_secret,
        WATCHWORD_SECRET=canaries.keep(master),
    )
    with server.client() as client:
        _a_whole_session(client, canaries)
        _everything_wrong(client, canaries)
    _by_other_ways(server, canaries)
    shown = server.command("settings")
    assert shown.returncode == 0, shown.stderr
    server.stop()
    log = server.log() + shown.stdout + shown.stderr
    assert "refresh_refused" in log, "nothing was logged, so this test shows nothing"
    assert canaries.found_in(log) == []
    assert canaries.found_in(everything_stored(server)) == []


def _a_whole_session(client: Client, canaries: Canaries) -> None:
    name, first, second = fresh_name(), canaries.fresh("first"), canaries.fresh("second")
    client.register(name, first, email=f"{name}@example.com")
    token = canaries.keep(client.log_in(name, first))
    canaries.keep(client.cookies[COOKIE])
    client.get("/profile", headers=bearer(token))
    client.get("/sessions", headers=bearer(token))
    canaries.keep(client.post("/refresh").json()["access_token"])
    canaries.keep(client.cookies[COOKIE])
    granted = client.grant(name, first)
    canaries.keep(granted["access_token"])
    form = {"grant_type": "refresh_token", "refresh_token": canaries.keep(granted["refresh_token"])}
    canaries.keep(client.post("/token", data=form).json()["refresh_token"])
    answer = client.post(
        "/profile/password", json={"current_password": first, "new_password": second}, headers=bearer(token)
    )
    token = canaries.keep(answer.json()["access_token"])
    canaries.keep(client.cookies[COOKIE])
    client.patch("/profile", json={"email": f"{fresh_name()}@example.com", "password": second}, headers=bearer(token))
    client.delete("/sessions", headers=bearer(token))
    client.post("/logout", headers=bearer(token))
    token = canaries.keep(client.log_in(name, second))
    assert client.request("DELETE", "/profile", json={"password": second}, headers=bearer(token)).status_code == 204


def _everything_wrong(client: Client, canaries: Canaries) -> None:
    name = client.register(password=canaries.fresh("kept"))["username"]
    wrong = canaries.fresh("wrong")
    client.post("/login", json={"username": name, "password": wrong})
    client.post("/login", json={"username": canaries.fresh("typed-into-name"), "password": wrong})
    client.post("/login", json={"username": name, "password": wrong, canaries.fresh("field"): 1})
    client.post("/login", content=f'{{"password": "{wrong}'.encode(), headers={"Content-Type": "application/json"})
    client.post("/token", data={"grant_type": "password", "username": name, "password": wrong})
    client.post("/token", data={"grant_type": wrong, "client_secret": wrong})
    client.get("/profile", headers=bearer(canaries.fresh("token")))
    client.get("/profile", headers={"Authorization": f"Basic {base64.b64encode(wrong.encode()).decode()}"})
    client.post("/refresh", headers={"Cookie": f"{COOKIE}={canaries.fresh('cookie')}"})
    client.post("/token", data={"grant_type": "refresh_token", "refresh_token": "wwr_" + canaries.fresh("refresh")})
    client.get(f"/profile?access_token={canaries.fresh('query')}")
    client.get(f"/{canaries.fresh('path')}")
    first = token = client.grant(client.register()["username"])["refresh_token"]
    for _ in range(3):
        form = {"grant_type": "refresh_token", "refresh_token": canaries.keep(token)}
        token = client.post("/token", data=form).json()["refresh_token"]
    assert client.post("/token", data={"grant_type": "refresh_token", "refresh_token": first}).status_code == 400


def _by_other_ways(server: Server, canaries: Canaries) -> None:
    raw.send(server, request("GET", f"/{canaries.fresh('raw-path')}", f"Bad Header: {canaries.fresh('raw-header')}"))
    raw.send(server, request("GET", "/livez", f"X-Nul: {canaries.fresh('nul')}\x00"))
    _as_a_guard(server, canaries)
    with_password = canaries.fresh("stdin")
    assert server.command("users", "create", "operator", "--password-stdin", stdin=with_password).returncode == 0
    assert server.command("users", "create", "operator", "--password-stdin", stdin=with_password).returncode != 0


def _as_a_guard(server: Server, canaries: Canaries) -> None:
    """A guard key everywhere where one is read, good, revoked and wrong; tokens that are introspected and revoked."""
    key = canaries.keep(server.command("guards", "create", "orders").stdout.strip())
    wrong = canaries.keep("wwg_" + secrets.token_urlsafe(32))
    with server.client() as client:
        granted = client.grant(client.register()["username"])
        tokens = [canaries.keep(granted[name]) for name in ("access_token", "refresh_token")]
        for _ in range(2):
            for shown in (key, wrong):
                client.get("/revocations", headers=bearer(shown))
                for token in tokens:
                    client.post("/introspect", data={"token": token}, headers=bearer(shown))
                    client.post("/introspect", data={"token": token, "client_id": "orders", "client_secret": shown})
            client.get("/verify", headers=bearer(tokens[0]))
            assert client.post("/revoke", data={"token": tokens[1], "client_id": "watchword"}).status_code == 200
            server.command("guards", "list")
            server.command("guards", "revoke", "orders", "--yes")

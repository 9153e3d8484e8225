"""What mails, administrators, scripts and webhooks carry is in no log, database, metric or export."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from typing import Any, NamedTuple

import httpx2
import jwt

from tests.e2e.canaries import Canaries, everything_stored
from tests.e2e.client import COOKIE, DEVICE, Client, bearer
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED, Server, free_port
from tests.mail.mailbox import CODE, LINK, Mailbox
from tests.mail.mailbox import receiving as receiving_mail
from tests.webhooks.receiving import receiving as receiving_webhooks
from watchword.api_keys import TOKEN_TYPE, attenuate
from watchword.features.oauth.service import ACCESS_TOKEN, EXCHANGE, JWT

PRINTED = re.compile(r"wwl_[A-Za-z0-9_-]{43}")
EVE, NEW = "eve@example.org", "eve@example.net"


def test_J8_nothing_that_people_and_scripts_carry_is_left_anywhere(serve: Serve) -> None:
    """Links, codes, handles, known devices, /admin, API keys, webhooks and old tokens, after all mails are sent."""
    canaries, metrics = Canaries(), free_port()
    old = canaries.fresh("old-application")
    with receiving_mail() as box, receiving_webhooks() as receiver:
        server = serve(
            **UNLIMITED,
            WATCHWORD_LOG_LEVEL="debug",
            WATCHWORD_SMTP_URL=box.url,
            WATCHWORD_MAIL_FROM="no-reply@example.com",
            WATCHWORD_EMAIL_VERIFICATION="required",
            WATCHWORD_EMAIL_LOGIN="on",
            WATCHWORD_ADMIN="on",
            WATCHWORD_METRICS_PORT=str(metrics),
            WATCHWORD_LEGACY_JWT_SECRET=old,
            WATCHWORD_LEGACY_SUBJECT="user_id:external",
            WATCHWORD_LEGACY_UNTIL=time.strftime("%Y-%m-%d", time.gmtime(time.time() + 30 * 86_400)),
        )
        (first,) = set(PRINTED.findall(server.log()))  # what a start prints on purpose, for whoever reads the terminal
        with server.client() as client, server.client() as desk:
            administrator = _first_administrator(desk, first, canaries)
            hook = _webhook(server, desk, administrator, receiver.url, canaries)
            _by_mail(client, box, canaries)
            password = _at_the_desk(desk, box, administrator, canaries)
            _with_a_key(client, password, canaries)
            _with_an_old_token(server, client, old, canaries)
            desk.post(f"/admin/webhooks/{hook}/test", headers=bearer(administrator))
            _until_all_is_sent(server)
            seen = httpx2.get(f"http://127.0.0.1:{metrics}/metrics").text
        assert receiver.got, "no webhook was sent, so this test shows nothing of them"
        told = "\n".join(each.body.decode() for each in receiver.got)
    shown = _shown_by_commands(server)
    server.stop()
    log, stored = server.log(), everything_stored(server)
    assert all((EVE in stored, EVE in shown, "watchword_log_ins" in seen, "log_in_failed" in log)), "nothing to see"
    places = {"log": log, "database": stored, "metrics": seen, "commands": shown, "webhooks": told}
    assert {name: canaries.found_in(text) for name, text in places.items()} == {name: [] for name in places}
    assert first not in stored + seen + shown + told
    assert log.count(first) == 2  # the link, and the request that does without a browser


def _first_administrator(desk: Client, printed: str, canaries: Canaries) -> str:
    password = canaries.fresh("administrator")
    body = {"token": printed, "username": "ada", "password": password}
    assert desk.post("/admin/first", json=body).status_code == 201
    assert desk.post("/admin/first", json=body).status_code != 201
    return canaries.keep(desk.log_in("ada", password))


def _webhook(server: Server, desk: Client, administrator: str, url: str, canaries: Canaries) -> str:
    made = server.command("webhooks", "add", url, "--allow-private")
    canaries.keep(made.stdout.strip())
    (endpoint,) = desk.get("/admin/webhooks", headers=bearer(administrator)).json()["items"]
    answer = desk.post(f"/admin/webhooks/{endpoint['id']}/secret", json={}, headers=bearer(administrator))
    assert answer.status_code == 200, answer.text
    canaries.keep(answer.json()["secret"])
    return str(endpoint["id"])


def _by_mail(client: Client, box: Mailbox, canaries: Canaries) -> None:
    """Register, confirm, forget, log in by a code, change the address and take it back."""
    first, second, third = (canaries.fresh(name) for name in ("registered", "by-code", "by-link"))
    handle, mail = _asked(client, box, canaries, "/register", EVE, password=first)
    wrong = {"handle": handle, "code": "000001" if mail.code == "000000" else "000000"}
    assert client.post("/email/verify", json=wrong).status_code == 400
    assert client.post("/email/verify", json={"handle": handle, "code": mail.code}).status_code == 204
    handle, mail = _asked(client, box, canaries, "/password/forgot", EVE)
    body = {"handle": handle, "code": mail.code, "new_password": second}
    assert client.post("/password/reset", json=body).status_code == 204
    _, mail = _asked(client, box, canaries, "/password/forgot", EVE)
    body = {"token": mail.link, "new_password": third}
    assert client.post("/password/reset", json=body | {"token": "wwl_" + "A" * 43}).status_code == 400
    assert client.post("/password/reset", json=body).status_code == 204
    handle, mail = _asked(client, box, canaries, "/login/code", EVE)
    answer = client.post("/login/code/confirm", json={"handle": handle, "code": mail.code})
    assert answer.status_code == 200, answer.text
    token = canaries.keep(answer.json()["access_token"])
    canaries.keep(client.cookies[COOKIE])
    canaries.keep(client.cookies[DEVICE])
    _changed(client, box, canaries, token, third)


def _changed(client: Client, box: Mailbox, canaries: Canaries, token: str, password: str) -> None:
    """Change the address, open the page of the link that takes it back, and take it back."""
    _, mail = _asked(client, box, canaries, "/profile/email", NEW, token=token, password=password)
    before = len(box.texts(EVE))
    assert client.post("/email/verify", json={"token": mail.link}).status_code == 204
    undo = _newest(box, EVE, before, canaries).link
    assert client.get(f"/links/{undo}").status_code == 200
    assert client.post("/email/undo", json={"token": undo}).status_code == 204


class Carried(NamedTuple):
    """What a mail carries; an empty text for what it has not."""

    link: str
    code: str


def _asked(
    client: Client, box: Mailbox, canaries: Canaries, path: str, to: str, token: str = "", **more: str
) -> tuple[str, Carried]:
    """Ask for a mail and wait for it; the handle, and what the mail carries."""
    before = len(box.texts(to))
    answer = client.post(path, json={"email": to, **more}, headers=bearer(token) if token else {})
    assert answer.status_code == 202, answer.text
    return canaries.keep(str(answer.json()["handle"])), _newest(box, to, before, canaries)


def _newest(box: Mailbox, to: str, before: int, canaries: Canaries) -> Carried:
    """Wait for a mail with a link or a code: between, notices come that have neither."""
    while True:  # the time limit of every test ends what never comes
        for text in box.texts(to)[before:]:
            link, code = LINK.findall(text), CODE.findall(text)
            if link or code:
                return Carried(canaries.keep(link[0]) if link else "", canaries.keep_code(code[0]) if code else "")
        time.sleep(0.2)


def _at_the_desk(desk: Client, box: Mailbox, administrator: str, canaries: Canaries) -> str:
    """Invite someone, make someone, and look at everything; the password of who was made."""
    to = "bob@example.org"
    body: dict[str, Any] = {"email": to, "invite": True}
    assert desk.post("/admin/users", json=body, headers=bearer(administrator)).status_code == 201
    body = {"token": _newest(box, to, 0, canaries).link, "new_password": canaries.fresh("invited")}
    assert desk.post("/password/reset", json=body).status_code == 204
    password = canaries.fresh("made-for-her")
    body = {"username": "grace", "password": password}
    assert desk.post("/admin/users", json=body, headers=bearer(administrator)).status_code == 201
    for path in ("users", "sessions", "audit", "keys"):
        assert desk.get(f"/admin/{path}", headers=bearer(administrator)).status_code == 200
        desk.get(f"/admin/{path}", params={"cursor": canaries.fresh("cursor")}, headers=bearer(administrator))
    return password


def _with_a_key(client: Client, password: str, canaries: Canaries) -> None:
    wrong = {"username": "grace", "password": canaries.fresh("wrong")}
    assert client.post("/login", json=wrong).status_code == 401
    token = canaries.keep(client.log_in("grace", password))
    made = client.post("/api-keys", json={"name": "nightly"}, headers=bearer(token)).json()
    key = canaries.keep(made["key"])
    weaker = canaries.keep(attenuate(key, expires_in=600))
    for shown in (key, weaker, key[:-1] + ("A" if key[-1] != "A" else "B")):
        form = {"grant_type": EXCHANGE, "subject_token": shown, "subject_token_type": TOKEN_TYPE}
        answer = client.post("/token", data=form)
        if answer.status_code == 200:
            canaries.keep(answer.json()["access_token"])
        client.get("/profile", headers=bearer(shown))
    assert answer.status_code == 400
    rotated = client.post(f"/api-keys/{made['about']['id']}/rotate", json={}, headers=bearer(token))
    canaries.keep(rotated.json()["key"])


def _with_an_old_token(server: Server, client: Client, old: str, canaries: Canaries) -> None:
    """A user with a password hash is imported; a good token of the old application and a forged one are exchanged."""
    line = '{"external_id": "7", "username": "old.hand", "email": "hand@example.org", "email_verified": true}\n'
    (server.folder / "users.jsonl").write_text(line, encoding="utf-8")
    assert server.command("users", "import", "users.jsonl").returncode == 0
    now = int(time.time())
    claims: dict[str, Any] = {"user_id": "7", "iat": now - 60, "exp": now + 600}
    for secret, status in ((old, 200), ("x" * 32, 400)):
        shown = canaries.keep(jwt.encode(claims, secret, "HS256"))
        for kind in (ACCESS_TOKEN, JWT):
            form = {"grant_type": EXCHANGE, "subject_token": shown, "subject_token_type": kind}
            answer = client.post("/token", data=form)
            assert answer.status_code == status, answer.text
        for name in ("access_token", "refresh_token"):
            if name in answer.json():
                canaries.keep(answer.json()[name])


def _until_all_is_sent(server: Server) -> None:
    with closing(sqlite3.connect(server.data / "watchword.db")) as database:
        while database.execute("SELECT 1 FROM ww_outbox UNION ALL SELECT 1 FROM ww_deliveries").fetchone():
            time.sleep(0.1)  # the time limit of every test ends what never comes


def _shown_by_commands(server: Server) -> str:
    shown = ""
    for command in (
        "users export", "users export --csv", "users list", "users show ada", "users sessions ada", "audit export",
        "audit tail", "sessions list", "settings", "keys list", "api-keys list", "webhooks list", "mail failed",
    ):  # fmt: skip
        done = server.command(*command.split())
        assert done.returncode == 0, (command, done.stderr)
        shown += done.stdout + done.stderr
    return shown

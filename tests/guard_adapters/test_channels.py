"""Channels beyond the table: WebSockets, who the user is, paths, the guard of a test, and slips."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guard_adapters import django_site

django_site.configure(django_site.NAMED)

from asgiref.testing import ApplicationCommunicator  # noqa: E402
from channels.routing import URLRouter  # type: ignore[import-untyped]  # noqa: E402  after the settings
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.urls import path  # noqa: E402

from tests.guard.service import Service  # noqa: E402
from tests.guard_adapters.channels_app import Greet, application  # noqa: E402
from tests.guard_adapters.in_process import ask_asgi, http_scope  # noqa: E402
from tests.guard_adapters.serving import ROOT, as_process  # noqa: E402
from tests.guard_adapters.test_guides import placed  # noqa: E402
from watchword.guard import FirstMessage, Subprotocol  # noqa: E402
from watchword.guard.channels import GuardMiddleware, guarded  # noqa: E402
from watchword.guard.django import use_guard  # noqa: E402
from watchword.testing import Issuer  # noqa: E402

ISSUER = Issuer()


@pytest.fixture(autouse=True)
def guard() -> Iterator[Any]:
    with use_guard(ISSUER.guard()) as used:
        yield used


def bearer(**given: Any) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", ISSUER.headers("ada", **given)["Authorization"].encode())]


async def connect(app: Any, where: str, headers: Any = ()) -> tuple[bool, Any]:
    """Whether it was accepted, and the user that the consumer saw, or the code by which it was closed."""
    scope = http_scope(where.partition("?")[0], type="websocket", headers=list(headers), subprotocols=[])
    connection = ApplicationCommunicator(app, scope)
    await connection.send_input({"type": "websocket.connect"})
    first = await connection.receive_output(timeout=30)
    if first["type"] == "websocket.close":
        return False, first["code"]
    message = await connection.receive_output(timeout=30)
    await connection.send_input({"type": "websocket.disconnect", "code": 1000})
    await connection.wait()
    return True, json.loads(message["text"])["user"]


@pytest.mark.parametrize(
    ("where", "headers", "expected"),
    [
        ("/open", [], None),
        ("/needs", [], (False, 1008)),
        ("/needs", [(b"authorization", b"Bearer x")], (False, 1008)),
        ("/needs", bearer() * 2, (False, 1008)),
        ("/needs?access_token=x", [], (False, 1008)),
        ("/needs", bearer(), (True, "ada")),
        ("/maybe", [], (True, None)),
        ("/maybe", bearer(), (True, "ada")),
        ("/maybe", bearer(expires_in=-1), (False, 1008)),
        ("/admin", bearer(), (False, 1008)),
        ("/admin", bearer(roles=["admin"]), (True, "ada")),
        ("/group/one", bearer(), (False, 1008)),
        ("/group/one", bearer(scopes=["orders:read"]), (True, "ada")),
    ],
)
async def test_a_WebSocket(where: str, headers: Any, expected: Any) -> None:
    """It is closed before its consumer runs, unless the caller has what is needed."""
    if expected is None:  # the consumer asks for a caller that no guard has set
        with pytest.raises(KeyError, match="caller"):
            await connect(application(), where, headers)
        return
    assert await connect(application(), where, headers) == expected


async def test_a_server_that_can_answer_a_handshake_does() -> None:
    scope = http_scope("/needs", type="websocket", extensions={"websocket.http.response": {}}, subprotocols=[])
    sent = await ask_asgi(application(), scope, "websocket.connect")
    assert (sent[0]["type"], sent[0]["status"]) == ("websocket.http.response.start", 401)
    assert json.loads(sent[1]["body"])["code"] == "token_missing"


async def test_the_middleware_by_path() -> None:
    inner = URLRouter([path("ws/orders", Greet.as_asgi()), path("ws/news", Greet.as_asgi())])
    app = GuardMiddleware(inner, prefix="/ws", except_paths=["/ws/news"])
    assert await connect(app, "/ws/news") == (True, None)
    for where in ("/ws/orders", "/ws//news", "/WS/news", "/ws/unknown"):
        assert (await connect(app, where))[0] is False, where
    assert await connect(app, "/ws/orders", bearer()) == (True, "ada")


async def test_the_guard_of_a_test_counts() -> None:
    app, other = application(), Issuer()
    with use_guard(other.guard()):
        assert await connect(app, "/needs", bearer()) == (False, 1008)
    assert await connect(app, "/needs", bearer()) == (True, "ada")


async def test_an_own_user_stays_where_there_is_no_caller() -> None:
    seen: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["user"])

    app = guarded(optional=True)(inner)
    for headers in ((), [bearer()[0][1]]):
        await ask_asgi(app, http_scope("/", headers, user="session"))
    assert seen[0] == "session"
    assert seen[1].pk == "ada"


async def test_a_log_out_closes_the_WebSocket() -> None:
    connection = ApplicationCommunicator(
        application(), http_scope("/needs", type="websocket", headers=bearer(session_id="s"), subprotocols=[])
    )
    await connection.send_input({"type": "websocket.connect"})
    assert [(await connection.receive_output(timeout=30))["type"] for _ in range(2)] == [
        "websocket.accept",
        "websocket.send",
    ]
    ISSUER.revoke_session("s")
    closed = await connection.receive_output(timeout=30)
    assert (closed["code"], closed["reason"]) == (4401, "token_revoked")
    await connection.send_input({"type": "websocket.disconnect", "code": 4401})
    await connection.wait()


async def test_a_token_as_sub_protocol_or_first_message() -> None:
    """Where the guard of the settings reads those."""
    token = ISSUER.token("ada")
    with use_guard(ISSUER.guard(tokens_from=[Subprotocol(), FirstMessage()])):
        offered = ["watchword.bearer", token]
        scope = http_scope("/needs", type="websocket", subprotocols=offered, headers=[])
        connection = ApplicationCommunicator(application(), scope)
        await connection.send_input({"type": "websocket.connect"})
        assert (await connection.receive_output(timeout=30))["subprotocol"] == "watchword.bearer"
        assert json.loads((await connection.receive_output(timeout=30))["text"]) == {"user": "ada"}
        connection = ApplicationCommunicator(application(), scope | {"subprotocols": []})
        await connection.send_input({"type": "websocket.connect"})
        await connection.receive_output(timeout=30)
        await connection.send_input({"type": "websocket.receive", "text": token})
        assert json.loads((await connection.receive_output(timeout=30))["text"]) == {"user": "ada"}


def test_slips() -> None:
    with pytest.raises(TypeError, match=r"Greet is a class: write guarded\(…\)\(Greet\.as_asgi\(\)\)"):
        guarded(Greet)
    with pytest.raises(TypeError, match="Greet is a class"):
        guarded(roles="admin")(Greet)
    with pytest.raises(TypeError, match="guarded takes a consumer"):
        guarded("admin")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="optional is True or False"):
        guarded(optional="no")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="roles are empty"):
        guarded(roles=[])
    with pytest.raises(ValueError, match="would be taken as it is"):
        GuardMiddleware(Greet.as_asgi(), prefix="/ws/*")


def test_wrong_settings_raise_when_the_routes_are_made() -> None:
    from watchword.guard import django

    kept = django._made.copy()
    django._made.clear()
    try:
        with override_settings(WATCHWORD_GUARD={"issuer": "ftp://x"}), pytest.raises(ImproperlyConfigured):
            guarded(Greet.as_asgi())
    finally:
        django._made[:] = kept


HANDSHAKE = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]
GUIDE = (ROOT / "docs" / "guides" / "protect-channels.md").read_text("utf-8")


def test_the_snippet_of_the_guide(issuer: Service, tmp_path: Path) -> None:
    """As it stands, but for the address of the service: it greets a caller, and refuses others' handshakes."""
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "site_one.py").write_text(placed(code, issuer.url), "utf-8")
    command = ("uvicorn", "--app-dir", str(tmp_path), "--port", "{port}", "--log-level", "error", "--lifespan", "off",
        "--timeout-graceful-shutdown", "1")  # fmt: skip
    with as_process(tmp_path, *command, "site_one:application", issuer="", audience="") as api:

        def headers(**given: Any) -> dict[str, str]:
            return {"Authorization": f"Bearer {issuer.token(user_id='ada', audience=issuer.url, **given)}"}

        def hello(where: str, shown: dict[str, str]) -> str:
            """The first message of a WebSocket: one short frame (RFC 6455 section 5.2) after the handshake."""
            lines = [f"{name}: {value}" for name, value in [("Host", "127.0.0.1"), *HANDSHAKE, *shown.items()]]
            with socket.create_connection(("127.0.0.1", api.port), timeout=60) as line:
                line.sendall("\r\n".join([f"GET {where} HTTP/1.1", *lines, "", ""]).encode())
                heard = line.recv(4096)
                while not heard.partition(b"\r\n\r\n")[2]:
                    heard += line.recv(4096)
            assert heard.startswith(b"HTTP/1.1 101 ")
            return heard.partition(b"\r\n\r\n")[2][2:].decode()

        assert hello("/hello", headers()) == "Welcome, stranger: you are ada"
        assert hello("/admin", headers(roles=["admin"], claims={"name": "Ada"})) == "Welcome, Ada: you are ada"
        for where, shown, code in (("/hello", {}, "token_missing"), ("/admin", headers(), "role_missing")):
            assert api.ask(where, [*HANDSHAKE, *shown.items()]).code == code
        assert api.ask("/orders").code == "token_missing"
        assert json.loads(api.ask("/orders", list(headers().items())).body) == {"orders of": "ada"}

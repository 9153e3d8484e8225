"""WebSockets by sub-protocol, cookie and first message, in every ASGI framework, and the attacks on each."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.guard_adapters.sockets import APPS, Socket, ran, starlette_authentication, twice
from watchword.guard import AccessCookie, FirstMessage, Guard, Subprotocol
from watchword.testing import Issuer

ISSUER = Issuer("https://shop.test/auth", audience="orders")
OURS = (b"origin", b"https://shop.test")
EVERYWHERE = (AccessCookie(), Subprotocol(), FirstMessage(seconds=20))


def token(**given: Any) -> str:
    return ISSUER.token(**({"user_id": "ada"} | given))


def protocols(*offered: str) -> tuple[bytes, bytes]:
    return b"sec-websocket-protocol", ", ".join(offered).encode()


def bearer(sent: str) -> tuple[bytes, bytes]:
    return b"authorization", f"Bearer {sent}".encode()


def cookie(sent: str) -> tuple[bytes, bytes]:
    return b"cookie", f"__Host-watchword_access={sent}".encode()


@pytest.fixture(params=APPS)
def app(request: pytest.FixtureRequest) -> Any:
    return APPS[request.param](ISSUER.guard(tokens_from=EVERYWHERE))


def by(name: str, guard: Guard) -> Any:
    return APPS[name](guard)


async def opened(app: Any, *headers: tuple[bytes, bytes], path: str = "/ws/") -> tuple[Socket, dict[str, Any]]:
    """A socket and the first message of the application's. Starlette's routes of a mount end with a slash."""
    if type(app).__name__ != "Starlette":
        path = path.rstrip("/")
    socket = Socket(app, path, list(headers))
    return socket, await socket.hear()


async def is_ada(socket: Socket, offered: str = "") -> None:
    assert (await socket.hear())["text"] == f"ada {offered}"
    socket.say(text="hello")
    assert (await socket.hear())["text"] == "hello"
    await socket.end()


async def refused(app: Any, code: int, reason: str, *headers: tuple[bytes, bytes], path: str = "/ws/") -> None:
    socket, first = await opened(app, *headers, path=path)
    assert (first["type"], first["code"], first["reason"]) == ("websocket.close", code, reason)
    await asyncio.wait({socket.task}, timeout=30)
    assert not ran, "no code of the handler's"


# Sub-protocols --------------------------------------------------------------------------------------------------------


async def test_a_token_among_the_sub_protocols(app: Any) -> None:
    """Ours is answered, and the application sees neither it nor the token."""
    socket, first = await opened(app, protocols("watchword.bearer", token()))
    assert (first["type"], first["subprotocol"]) == ("websocket.accept", "watchword.bearer")
    await is_ada(socket)


async def test_a_server_that_hands_the_sub_protocols_over_without_their_header(app: Any) -> None:
    """As uvicorn with wsproto does."""
    path = "/ws/" if type(app).__name__ == "Starlette" else "/ws"
    socket = Socket(app, path, [protocols("chat", "watchword.bearer", token())], bare=True)
    assert (await socket.hear())["subprotocol"] == "chat"
    await is_ada(socket, "chat")


async def test_the_application_may_choose_another_sub_protocol(app: Any) -> None:
    for offered in (("chat", "watchword.bearer", token()), ("watchword.bearer", token(), "chat")):
        socket, first = await opened(app, protocols(*offered))
        assert first["subprotocol"] == "chat"
        await is_ada(socket, "chat")
    socket, first = await opened(app, protocols("other"), protocols("watchword.bearer", token()))
    assert first["subprotocol"] == "watchword.bearer"
    await is_ada(socket, "other")


async def test_tricks_with_the_list_of_sub_protocols_are_refused(app: Any) -> None:
    good = token()
    for offered in (
        ("watchword.bearer",),
        ("chat", "watchword.bearer"),
        ("watchword.bearer", good, "watchword.bearer", good),
        ("watchword.bearer", "watchword.bearer", good),
    ):
        await refused(app, 1008, "invalid_request", protocols(*offered))
    await refused(app, 1008, "invalid_request", protocols("watchword.bearer", good), protocols("watchword.bearer"))
    await refused(app, 1008, "token_malformed", protocols("watchword.bearer", "chat", good))
    await refused(app, 1008, "token_expired", protocols("watchword.bearer", ISSUER.expired_token("ada")))
    await refused(app, 1008, "role_missing", protocols("watchword.bearer", good), path="/admin/")


async def test_a_name_in_other_letters_is_another_name() -> None:
    app = by("asgi", ISSUER.guard(tokens_from=Subprotocol()))
    for offered in (("Watchword.Bearer", token()), (token(), "x"), (token(),)):
        await refused(app, 1008, "token_missing", protocols(*offered))


async def test_a_name_of_ones_own() -> None:
    app = by("asgi", ISSUER.guard(tokens_from=Subprotocol("shop.token")))
    socket, first = await opened(app, protocols("shop.token", token()))
    assert first["subprotocol"] == "shop.token"
    await is_ada(socket)
    await refused(app, 1008, "token_missing", protocols("watchword.bearer", token()))


# Two at once, and none ------------------------------------------------------------------------------------------------


async def test_two_tokens_at_once_are_refused(app: Any) -> None:
    good = token()
    sub = protocols("watchword.bearer", good)
    await refused(app, 1008, "invalid_request", bearer(good), sub)
    await refused(app, 1008, "invalid_request", cookie(good), OURS, sub)
    await refused(app, 1008, "invalid_request", cookie(good), OURS, bearer(good))
    await refused(app, 1008, "cookie_repeated", cookie(good), cookie(good), OURS)


async def test_the_header_still_counts_and_the_query_does_not(app: Any) -> None:
    socket, first = await opened(app, bearer(token()))
    assert first["type"] == "websocket.accept"
    await is_ada(socket)


@pytest.mark.parametrize("name", APPS)
async def test_a_guard_that_was_not_told_reads_the_header_only(name: str) -> None:
    """And waits for no message."""
    app = by(name, ISSUER.guard())
    for header in (protocols("watchword.bearer", token()), cookie(token())):
        await refused(app, 1008, "token_missing", header, OURS)
    await refused(app, 1008, "token_missing")


async def test_an_optional_socket(app: Any) -> None:
    """Without a token in the handshake there is no caller; the first message is then the application's."""
    socket, first = await opened(app, path="/maybe/")
    assert first["type"] == "websocket.accept"
    assert (await socket.hear())["text"] == "None "
    socket.say(text="hello")
    assert (await socket.hear())["text"] == "hello"
    await socket.end()
    await refused(app, 1008, "token_malformed", protocols("watchword.bearer", "x"), path="/maybe/")


@pytest.mark.parametrize("way", ["sub-protocol", "first message", "cookie", "header"])
@pytest.mark.parametrize("name", ["asgi", "fastapi", "fastapi, middleware", "litestar"])
async def test_two_checks_one_inside_of_the_other(name: str, way: str) -> None:
    """Each judges the token, which the outer one has taken away from the application."""
    app = twice(ISSUER.guard(tokens_from=EVERYWHERE))[name]
    for roles in (["clerk"], ["cook"]):
        good = token(roles=roles)
        sent = {
            "sub-protocol": [protocols("chat", "watchword.bearer", good)],
            "first message": [],
            "cookie": [cookie(good), OURS],
            "header": [bearer(good)],
        }[way]
        socket, first = await opened(app, *sent)
        if way == "first message":
            socket.say(text=good)
            first = await socket.hear() if roles == ["cook"] else first
        if roles == ["cook"]:
            assert (first["type"], first["reason"]) == ("websocket.close", "role_missing")
            assert not ran
            continue
        assert first["type"] == "websocket.accept"
        await is_ada(socket, "chat" if way == "sub-protocol" else "")


async def test_starlettes_own_authentication() -> None:
    """Its backend sees no messages, and so the middleware around it lets sockets in."""
    app = starlette_authentication(ISSUER.guard(tokens_from=(AccessCookie(), Subprotocol())))
    for header in (protocols("watchword.bearer", token()), bearer(token())):
        socket, first = await opened(app, header)
        assert first["type"] == "websocket.accept"
        await is_ada(socket)
    socket, first = await opened(app, cookie(token()), OURS)
    assert first["type"] == "websocket.accept"
    await is_ada(socket)
    await refused(app, 1008, "origin_refused", cookie(token()))
    socket, first = await opened(app, path="/maybe/")
    assert (await socket.hear())["text"] == "None "
    await socket.end()
    socket, first = await opened(app)
    assert first["type"] == "websocket.close"
    session = "0197f1a2-5b6c-7d8e-9f00-1122334455aa"
    socket, _ = await opened(app, bearer(token(session_id=session)))
    assert (await socket.hear())["text"].startswith("ada")
    ISSUER.revoke_session(session)
    assert (await socket.hear())["code"] == 4401


# Cross-site WebSocket hijacking ---------------------------------------------------------------------------------------


async def test_a_cookie_opens_a_socket_for_pages_of_ours_only(app: Any) -> None:
    socket, first = await opened(app, cookie(token()), OURS)
    assert first["type"] == "websocket.accept"
    await is_ada(socket)
    for origin in (b"https://evil.test", b"null", b"https://blog.shop.test", b"http://shop.test", b""):
        await refused(app, 1008, "origin_refused", cookie(token()), (b"origin", origin))
    await refused(app, 1008, "origin_refused", cookie(token()))
    await refused(app, 1008, "origin_refused", cookie(token()), (b"sec-fetch-site", b"same-origin"))
    await refused(app, 1008, "origin_refused", cookie(token()), OURS, (b"origin", b"https://evil.test"))


async def test_a_page_elsewhere_may_use_a_token_of_its_own(app: Any) -> None:
    """It proves more than a cookie: the one who sends it has it."""
    socket, first = await opened(app, protocols("watchword.bearer", token()), (b"origin", b"https://app.test"))
    assert first["type"] == "websocket.accept"
    await is_ada(socket)


# The first message ----------------------------------------------------------------------------------------------------


async def test_a_token_as_the_first_message(app: Any) -> None:
    """The guard accepts; the handler begins afterwards, as if nothing had been."""
    socket, first = await opened(app)
    assert (first["type"], first.get("subprotocol")) == ("websocket.accept", None)
    await asyncio.sleep(0)
    assert not ran
    socket.say(text=token())
    await is_ada(socket)


async def test_what_is_no_token_closes_the_socket_before_any_code_runs(app: Any) -> None:
    for message, code, reason in (
        ({"text": "x"}, 4401, "token_malformed"),
        ({"text": ""}, 4401, "token_malformed"),
        ({"text": "a" * 10_000_000}, 4401, "token_malformed"),
        ({"text": f"Bearer {token()}"}, 4401, "token_malformed"),
        ({"text": f'{{"token": "{token()}"}}'}, 4401, "token_malformed"),
        ({"bytes": token().encode()}, 4401, "token_malformed"),
        ({"text": None, "bytes": b"\xff"}, 4401, "token_malformed"),
        ({"text": ISSUER.expired_token()}, 4401, "token_expired"),
        ({"text": ISSUER.forged_token()}, 4401, "token_invalid"),
    ):
        socket, first = await opened(app)
        assert first["type"] == "websocket.accept"
        socket.say(**message)
        closed = await socket.hear()
        assert (closed["type"], closed["code"], closed["reason"]) == ("websocket.close", code, reason)
        await asyncio.wait({socket.task}, timeout=30)
        assert not ran


async def test_a_role_that_is_missing_closes_it_as_forbidden(app: Any) -> None:
    socket, _ = await opened(app, path="/admin/")
    socket.say(text=token())
    closed = await socket.hear()
    assert (closed["code"], closed["reason"]) == (4403, "role_missing")
    socket, _ = await opened(app, path="/admin/")
    socket.say(text=token(roles=["admin"]))
    await is_ada(socket)


@pytest.mark.parametrize("name", APPS)
async def test_a_message_that_never_comes_closes_the_socket(name: str) -> None:
    app = by(name, ISSUER.guard(tokens_from=FirstMessage(seconds=0.05)))
    socket, first = await opened(app)
    assert first["type"] == "websocket.accept"
    closed = await socket.hear()
    assert (closed["type"], closed["code"], closed["reason"]) == ("websocket.close", 4401, "token_missing")
    await asyncio.wait({socket.task}, timeout=30)
    assert not ran


@pytest.mark.parametrize("name", APPS)
async def test_a_client_that_leaves_before_its_message(name: str) -> None:
    socket, _ = await opened(by(name, ISSUER.guard(tokens_from=FirstMessage())))
    socket.leave()
    await asyncio.wait({socket.task}, timeout=30)
    assert socket.task.done()
    assert not ran


async def test_those_that_wait_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than may wait is sent away at once, and the place of one that has gone is free again."""
    from watchword.guard import sockets
    from watchword.guard.waiting import Waiting

    monkeypatch.setattr(sockets, "_waiting", Waiting(2))
    app = by("asgi", ISSUER.guard(tokens_from=FirstMessage(seconds=20)))
    waiting = [(await opened(app))[0] for _ in range(2)]
    await refused(app, 1008, "overloaded")
    await waiting[0].end()
    third, first = await opened(app)
    assert first["type"] == "websocket.accept"
    third.say(text=token())
    await is_ada(third)
    await waiting[1].end()


@pytest.mark.parametrize("client", [("192.0.2.1", 1), ["2001:db8:1:2::3", 1], None])
async def test_one_network_takes_no_more_than_its_share_of_the_places(client: Any) -> None:
    """By whatever the server says of the client; those of whom it says nothing count together."""
    app = by("asgi", ISSUER.guard(tokens_from=FirstMessage(seconds=20, per_network=2)))

    async def of(client: Any, path: str = "/ws") -> Socket:
        async def said(scope: Any, receive: Any, send: Any) -> None:
            await app(scope | {"client": client}, receive, send)

        return Socket(said, path, [])

    held = [await of(client) for _ in range(2)]
    assert [(await each.hear())["type"] for each in held] == ["websocket.accept"] * 2
    assert (await (await of(client)).hear())["reason"] == "overloaded"
    elsewhere = await of(("192.0.2.2", 1))
    assert (await elsewhere.hear())["type"] == "websocket.accept"
    for each in (*held, elsewhere):
        await each.end()
    again = await of(client)
    assert (await again.hear())["type"] == "websocket.accept"
    await again.end()


async def test_with_a_first_message_no_sub_protocol_can_be_chosen() -> None:
    """The guard has answered already; an application that chooses one hears of it."""
    app = by("asgi", ISSUER.guard(tokens_from=FirstMessage()))
    socket, _ = await opened(app, protocols("chat"))
    socket.say(text=token())
    with pytest.raises(RuntimeError, match="FirstMessage"):
        await socket.hear()

"""Once its caller's rights have ended a WebSocket gives no more commands, whatever its client does with the close.

Servers go on delivering what a client sends that ignores the close: hypercorn for ever, others for some seconds.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from wsproto import events

from tests.guard_adapters.deaf import APPS, DeafSocket, carried_out, on_hypercorn
from tests.guard_adapters.test_places_sockets import bearer
from tests.guard_adapters.test_watched_sockets import connected
from watchword.errors import TokenError
from watchword.guard import Guard
from watchword.guard.asgi import GuardMiddleware
from watchword.testing import Issuer

SESSION = str(uuid.uuid4())


@pytest.fixture
def issuer() -> Issuer:
    carried_out.clear()
    return Issuer("https://shop.test/auth", audience="orders")


def expire(issuer: Issuer, guard: Guard) -> None:
    issuer.clock.advance(901)
    guard._judge.standing.watches.look_at_the_time()


ENDS: dict[str, Callable[[Issuer, Guard], object]] = {
    "log-out": lambda issuer, _: issuer.revoke_session(SESSION),
    "roles": lambda issuer, _: issuer.revoke_user("ada"),
    "key": lambda issuer, _: issuer.revoke_key(),
    "expiry": expire,
}


def opened(app: Any, issuer: Issuer) -> DeafSocket:
    return DeafSocket(app, "/", [(b"host", b"shop.test"), bearer(issuer.token("ada", session_id=SESSION))])


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  of any kind
            await asyncio.sleep(0.001)


async def is_over(socket: DeafSocket, reason: str) -> None:
    """The handler has ended, and has carried out what came before only."""
    while (message := await socket.hear())["type"] not in {"websocket.close", "nothing"}:
        pass
    assert (message.get("code"), message.get("reason")) == (4401, reason)
    await asyncio.wait({socket.task}, timeout=20)
    assert socket.task.done()
    assert carried_out == ["before"]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", APPS)
async def test_a_handler_that_waits_for_a_message_hears_that_the_client_has_gone(
    name: str, end: str, issuer: Issuer
) -> None:
    guard = issuer.guard()
    before = asyncio.all_tasks()
    socket = opened(APPS[name](guard), issuer)
    socket.say(text="before")
    await until(lambda: carried_out)
    ENDS[end](issuer, guard)
    await is_over(socket, "token_expired" if end == "expiry" else "token_revoked")
    await until(lambda: asyncio.all_tasks() == before)
    assert len(guard._judge.standing.watches) == 0


@pytest.mark.parametrize("first", ["the message", "the end"])
@pytest.mark.parametrize("name", APPS)
async def test_a_message_of_the_same_turn_is_not_delivered(name: str, first: str, issuer: Issuer) -> None:
    socket = opened(APPS[name](issuer.guard()), issuer)
    socket.say(text="before")
    await until(lambda: carried_out)
    if first == "the message":
        socket.say(text="at the same time")
    issuer.revoke_session(SESSION)
    socket.say(text="after")
    await is_over(socket, "token_revoked")


@pytest.mark.parametrize("name", APPS)
async def test_a_token_that_expired_while_the_loop_was_busy_gives_no_command(name: str, issuer: Issuer) -> None:
    """No timer has told of it yet."""
    socket = opened(APPS[name](issuer.guard()), issuer)
    socket.say(text="before")
    await until(lambda: carried_out)
    issuer.clock.advance(901)
    socket.say(text="after")
    await is_over(socket, "token_expired")


@pytest.mark.parametrize("name", ["asgi", "litestar", "quart", "channels"])
async def test_on_hypercorn(name: str, issuer: Issuer) -> None:
    """Which goes on delivering for ever. It ends the connection when the handler has ended."""
    async with on_hypercorn(APPS[name](issuer.guard())) as port:
        await goes_on_after_the_close(port, issuer)


async def test_aiohttp(issuer: Issuer) -> None:
    """Whose handlers watch by themselves, as the guide says."""
    from aiohttp import web
    from aiohttp.test_utils import TestServer

    from watchword.guard.aiohttp import AiohttpGuard, get_caller

    auth = AiohttpGuard(issuer.guard())

    @auth.required()
    async def listen(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(timeout=0.1)
        await socket.prepare(request)
        try:
            async with get_caller(request).watch():
                async for message in socket:
                    carried_out.append(message.data)
        except TokenError as error:
            await socket.close(code=4401, message=error.code.encode())
        return socket

    app = web.Application()
    app.router.add_get("/", listen)
    async with TestServer(app) as server:
        await goes_on_after_the_close(server.port or 0, issuer)


async def goes_on_after_the_close(port: int, issuer: Issuer) -> None:
    """Until the server has ended the connection; and nothing of that is carried out."""
    headers = [bearer(issuer.token("ada", session_id=SESSION))]
    async with connected(port, "/", extra_headers=headers) as client:
        assert isinstance(await client.hear(), events.AcceptConnection)
        client.say(events.TextMessage("before"))
        await until(lambda: carried_out)
        after = [client._protocol.send(events.TextMessage(f"after {number}")) for number in range(20)]
        issuer.revoke_session(SESSION)
        closed = await client.hear()
        assert (closed.code, closed.reason) == (4401, "token_revoked")
        for each in after:
            client._writer.write(each)
            await asyncio.sleep(0.001)
        with suppress(ConnectionError):
            while await client._reader.read(65536):
                pass
        assert carried_out == ["before"]


# While the rights stand ----------------------------------------------------------------------------------------------


async def test_quiet_sockets_cost_no_task(issuer: Issuer) -> None:
    """Beyond the server's own."""
    guard = issuer.guard()
    app, before = APPS["asgi"](guard), asyncio.all_tasks()
    many = [opened(app, issuer) for _ in range(100)]
    for each in many:
        each.say(text="hello")
    await until(lambda: len(carried_out) == 100)
    assert asyncio.all_tasks() - before == {each.task for each in many}
    for each in many:
        await each.end()
    assert len(guard._judge.standing.watches) == 0


async def test_every_message_is_delivered_once_and_in_order(issuer: Issuer) -> None:
    socket = opened(APPS["asgi"](issuer.guard()), issuer)
    for number in range(1000):
        socket.say(text=str(number))
    await until(lambda: len(carried_out) == 1000)
    await socket.end()
    assert carried_out == [str(number) for number in range(1000)]


async def test_a_handler_that_gives_up_waiting_loses_nothing(issuer: Issuer) -> None:
    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.001)
        carried_out.append("given up")
        carried_out.append((await receive())["text"])

    socket = opened(GuardMiddleware(app, issuer.guard()), issuer)
    await until(lambda: carried_out)
    socket.say(text="hello")
    await until(lambda: len(carried_out) == 2)
    assert carried_out[1] == "hello"


@pytest.mark.parametrize("also", [False, True])
async def test_a_server_that_stops_is_still_heard(also: bool, issuer: Issuer) -> None:
    """Its cancelling is never taken for the guard's, also where both come at once."""
    socket = opened(APPS["asgi, two guards"](issuer.guard()), issuer)
    socket.say(text="before")
    await until(lambda: carried_out)
    if also:
        issuer.revoke_session(SESSION)
        await asyncio.sleep(0)  # the guard's has been asked for, and not yet heard
    socket.task.cancel()
    await asyncio.wait({socket.task}, timeout=20)
    assert socket.task.cancelled()


async def test_two_tasks_of_a_handler_may_receive_and_both_hear_of_the_end(issuer: Issuer) -> None:
    heard: list[Any] = []

    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})

        async def listen() -> None:
            while (message := await receive())["type"] == "websocket.receive":
                carried_out.append(message["text"])
            heard.append(message)

        await asyncio.gather(listen(), listen())

    socket = opened(GuardMiddleware(app, issuer.guard()), issuer)
    for text in "abcd":
        socket.say(text=text)
    await until(lambda: len(carried_out) == 4)
    assert sorted(carried_out) == list("abcd")
    issuer.revoke_session(SESSION)
    await asyncio.wait({socket.task}, timeout=20)
    assert heard == [{"type": "websocket.disconnect", "code": 4401, "reason": "token_revoked"}] * 2


async def test_a_loop_that_ignores_the_end_ends_by_an_error(issuer: Issuer) -> None:
    """Or it would run for ever."""

    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            carried_out.append((await receive())["type"])

    socket = opened(GuardMiddleware(app, issuer.guard()), issuer)
    assert (await socket.hear())["type"] == "websocket.accept"
    issuer.revoke_session(SESSION)
    await asyncio.wait({socket.task}, timeout=20)
    assert isinstance(socket.task.exception(), OSError)
    assert carried_out == ["websocket.disconnect"]

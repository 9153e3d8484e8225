"""Lets WebSockets in: by the handshake, or by the first message where the guard reads that. For ASGI frameworks.

Each is closed when its caller's rights end: code 4401, as a browser is told nothing of statuses, and the problem's code
as the reason. 1008 could mean anything; a client that reads 4401 gets a new token and connects again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from watchword.authorization import missing
from watchword.errors import Overloaded, TokenError, WatchwordError
from watchword.guard.bearer import Authorization
from watchword.guard.caller import Caller
from watchword.guard.places import FirstMessage, Found, Places, protocols_of
from watchword.guard.refusals import Refusal
from watchword.guard.requirement import Requirement
from watchword.guard.sent import OFFERED, PROTOCOLS, AsgiSent

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

POLICY_VIOLATION: Final = 1008
"""Closes a WebSocket where the server cannot answer its handshake with a status (RFC 6455 section 7.4.1)."""
TRY_AGAIN: Final = 1013
MOST_WAITING: Final = 1000
"""Open WebSockets of one process that wait for their first message."""
_PRIVATE: Final = 4000
_HEARD: Final = "watchword.first_message"

_waiting = threading.BoundedSemaphore(MOST_WAITING)


class SocketRefused(Exception):
    """Says that a WebSocket is refused.

    :param code: to close with where the connection was accepted already, else None.
    """

    def __init__(self, error: WatchwordError, refusal: Refusal, code: int | None) -> None:
        super().__init__(refusal.code)
        self.error = error
        self.refusal = refusal
        self.code = code


class RightsEnded(OSError):
    """Says that a WebSocket was closed, as servers say it of one whose client has gone."""


class Admitted(NamedTuple):
    """Holds the caller of a WebSocket, and what the application receives and sends by."""

    caller: Caller | None
    receive: Receive
    send: Send


def close_code(refusal: Refusal) -> int:
    """Return the code that closes an open WebSocket: 4401 as 401, 4403 as 403; 1013 to try again later."""
    unready = refusal.status == HTTPStatus.SERVICE_UNAVAILABLE
    return TRY_AGAIN if unready else _PRIVATE + refusal.status


async def admit(needs: Requirement, scope: Scope, receive: Receive, send: Send, *, optional: bool = False) -> Admitted:
    """Let a WebSocket in with its caller, and change what the application sees of its token.

    :param optional: whether one without a token passes, with caller None. A first message is then not read.
    :raises SocketRefused: it has no good token.
    """
    places = needs.places
    try:
        if places is None:
            caller = await _by_header(needs, scope)
            return Admitted(caller, receive, watched(needs, caller, send))
        found = places.find(AsgiSent(scope))
        caller = await needs.guard.verify_for_async(found.token, needs.asked)
    except WatchwordError as error:
        if error.code != "token_missing":
            raise SocketRefused(error, needs.refusal(error, AsgiSent(scope)), None) from error
        if optional:
            return Admitted(None, receive, send)
        if places is None or places.first_message is None:
            raise SocketRefused(error, needs.refusal(error, AsgiSent(scope)), None) from error
        return await _by_first_message(needs, places.first_message, scope, receive, send)
    return Admitted(caller, receive, watched(needs, caller, _answering(places, found, scope, send)))


def watched(needs: Requirement, caller: Caller, send: Send) -> Send:
    """Close the socket when its caller's rights end, and let the application send nothing more."""
    loop, watch = asyncio.get_running_loop(), caller.watch().begin()
    closing: list[asyncio.Task[None]] = []  # or the task could be collected

    async def close() -> None:
        refusal = needs.refusal(watch.error)
        with suppress(Exception):  # it has gone already
            await send({"type": "websocket.close", "code": close_code(refusal), "reason": refusal.code})

    def ended() -> None:
        with suppress(RuntimeError):  # the loop was closed
            loop.call_soon_threadsafe(lambda: closing.append(loop.create_task(close())))

    async def send_if_good(message: Message) -> None:
        if watch.over:
            raise RightsEnded("guard: the caller's rights have ended, and the connection with them")
        await send(message)

    watch.call_when_over(ended)
    task = asyncio.current_task()
    if task is not None:
        task.add_done_callback(lambda _: watch.leave())  # servers run each connection as a task
    return send_if_good


def authorization_of(scope: Scope) -> Authorization:
    """Return the Authorization header: its value, or all values if several."""
    found: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            if found is not None:
                return [found, value]
            found = value
    return found


async def _by_header(needs: Requirement, scope: Scope) -> Caller:
    header = authorization_of(scope)
    return needs.recall(header) or await needs.check_async(header)


def _answering(places: Places, found: Found, scope: Scope, send: Send) -> Send:
    """Take the token out of the list of sub-protocols, and answer with our name unless the application chooses."""
    if found.protocols is None or places.subprotocol is None:
        return send
    ours, rest = places.subprotocol.name, list(found.protocols)
    scope[OFFERED] = protocols_of(AsgiSent(scope))  # for another guard, further in
    scope["subprotocols"] = rest
    others = [(name, value) for name, value in scope["headers"] if name != PROTOCOLS.encode()]
    scope["headers"] = [*others, (PROTOCOLS.encode(), ", ".join(rest).encode("latin-1"))] if rest else others

    async def answer(message: Message) -> None:
        if message["type"] == "websocket.accept" and not message.get("subprotocol"):
            # Browsers fail a connection that answers none of those that they offer.
            message = {**message, "subprotocol": ours}
        await send(message)

    return answer


async def _by_first_message(
    needs: Requirement, place: FirstMessage, scope: Scope, receive: Receive, send: Send
) -> Admitted:
    if _HEARD in scope:
        return await _by_heard_message(needs, scope, receive, send)
    connect = await receive()
    if not _waiting.acquire(blocking=False):
        full = Overloaded("Too many connections wait for their first message.")
        raise SocketRefused(full, needs.refusal(full), None)
    try:
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        token = await _first_text(place, receive)
        caller = await needs.guard.verify_for_async(token, needs.asked)
    except WatchwordError as error:
        refusal = needs.refusal(error)
        raise SocketRefused(error, refusal, close_code(refusal)) from error
    finally:
        _waiting.release()
    scope[_HEARD] = token
    # A refusal by status is too late now.
    scope["extensions"] = {
        name: value for name, value in (scope.get("extensions") or {}).items() if name != "websocket.http.response"
    }
    return Admitted(caller, _replaying(connect, receive), watched(needs, caller, _accepted(send)))


async def _by_heard_message(needs: Requirement, scope: Scope, receive: Receive, send: Send) -> Admitted:
    """Judge the message that an outer guard has read already."""
    try:
        caller = await needs.guard.verify_for_async(scope[_HEARD], needs.asked)
    except WatchwordError as error:
        refusal = needs.refusal(error)
        raise SocketRefused(error, refusal, close_code(refusal)) from error
    return Admitted(caller, receive, watched(needs, caller, send))


async def _first_text(place: FirstMessage, receive: Receive) -> str:
    """Return the first message. :raises TokenError: `token_missing`: none in time; `token_malformed`: no text."""
    try:
        async with asyncio.timeout(place.seconds):
            message = await receive()
    except TimeoutError as error:
        raise missing() from error
    if message["type"] != "websocket.receive":
        raise missing()
    text: str | None = message.get("text")
    if text is None:
        raise TokenError("The first message must be an access token, as text.", code="token_malformed")
    return text


def _replaying(connect: Message, receive: Receive) -> Receive:
    """Give the application the beginning of the connection, which the guard has received."""
    pending = [connect]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


def _accepted(send: Send) -> Send:
    """Leave out the application's answer to the handshake, which the guard has given."""
    answered: list[bool] = []

    async def leave_out(message: Message) -> None:
        if message["type"] == "websocket.accept" and not answered:
            answered.append(True)
            if message.get("subprotocol"):
                raise RuntimeError("guard: with FirstMessage the guard accepts, and no sub-protocol can be chosen")
            return
        await send(message)

    return leave_out

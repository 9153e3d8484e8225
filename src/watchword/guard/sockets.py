"""Lets WebSockets in: by the handshake, or by the first message where the guard reads that. For ASGI frameworks.

Each is closed when its caller's rights end: code 4401, as a browser is told nothing of statuses, and the problem's code
as the reason. 1008 could mean anything; a client that reads 4401 gets a new token and connects again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, NamedTuple, cast

from watchword.authorization import missing
from watchword.errors import Overloaded, TokenError, WatchwordError
from watchword.guard.bearer import Authorization
from watchword.guard.caller import Caller
from watchword.guard.places import FirstMessage, Found, Places, protocols_of
from watchword.guard.refusals import Refusal
from watchword.guard.requirement import Requirement
from watchword.guard.sent import OFFERED, PROTOCOLS, AsgiSent
from watchword.guard.waiting import Waiting

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

POLICY_VIOLATION: Final = 1008
"""Closes a WebSocket where the server cannot answer its handshake with a status (RFC 6455 section 7.4.1)."""
TRY_AGAIN: Final = 1013
_PRIVATE: Final = 4000
_HEARD: Final = "watchword.first_message"

_waiting = Waiting()


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
            return watched(needs, caller, receive, send)
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
    return watched(needs, caller, receive, _answering(places, found, scope, send))


def watched(needs: Requirement, caller: Caller, receive: Receive, send: Send) -> Admitted:
    """Close the socket when its caller's rights end. The application then receives and sends nothing more."""
    socket = _Watched(needs, caller, receive, send)
    return Admitted(caller, socket.receive, socket.send)


class _Watched:
    """Stands between an application and an open WebSocket.

    A close that was sent ends nothing where the client ignores it: servers go on delivering what it sends.
    """

    def __init__(self, needs: Requirement, caller: Caller, receive: Receive, send: Send) -> None:
        self._needs = needs
        self._receive = receive
        self._send = send
        self._reading: set[asyncio.Task[Any]] = set()
        self._told: set[asyncio.Task[Any]] = set()
        self._closing: asyncio.Task[None] | None = None  # kept, or it could be collected
        self._loop = asyncio.get_running_loop()
        self._watch = caller.watch().begin()
        self._watch.call_when_over(self._over)
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(lambda _: self._watch.leave())  # servers run each connection as a task

    async def receive(self) -> Message:
        """Return what the client sends; once the rights have ended, that it has gone. :raises RightsEnded: again."""
        task, message = cast("asyncio.Task[Any]", asyncio.current_task()), None
        if not self._watch.over:
            others = task.cancelling()
            self._reading.add(task)
            try:
                message = await self._receive()
            except asyncio.CancelledError:
                if task in self._reading or task.cancelling() > others + 1:
                    raise  # someone else has cancelled it, perhaps besides
            finally:
                if task in self._reading:
                    self._reading.remove(task)
                else:
                    task.uncancel()
        if message is not None and not self._watch.over:
            return message
        self._close_soon()
        await asyncio.sleep(0)  # the close first: frameworks send nothing after this message
        if task in self._told:
            raise self._ended()
        self._told.add(task)
        refusal = self._needs.refusal(self._watch.error)
        return {"type": "websocket.disconnect", "code": close_code(refusal), "reason": refusal.code}

    async def send(self, message: Message) -> None:
        """Send a message. :raises RightsEnded: the rights have ended."""
        if self._watch.over:
            self._close_soon()
            await asyncio.sleep(0)  # the close first: servers cut off a handler that fails, and say nothing
            raise self._ended()
        await self._send(message)

    def _over(self) -> None:
        """Hear from any thread that the rights have ended."""
        with suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        """Close, and wake the tasks that wait for a message. No message is lost: none may come any more."""
        self._close_soon()
        reading, self._reading = self._reading, set()
        for each in reading:
            each.cancel()

    def _close_soon(self) -> None:
        if self._closing is None:
            self._closing = self._loop.create_task(self._close())

    async def _close(self) -> None:
        refusal = self._needs.refusal(self._watch.error)
        with suppress(Exception):  # it has gone already
            await self._send({"type": "websocket.close", "code": close_code(refusal), "reason": refusal.code})

    @staticmethod
    def _ended() -> RightsEnded:
        return RightsEnded("guard: the caller's rights have ended, and the connection with them")


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
    address = str((scope.get("client") or [""])[0])
    if not _waiting.take(address, place.per_network):
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
        _waiting.give_back(address)
    scope[_HEARD] = token
    # A refusal by status is too late now.
    scope["extensions"] = {
        name: value for name, value in (scope.get("extensions") or {}).items() if name != "websocket.http.response"
    }
    return watched(needs, caller, _replaying(connect, receive), _accepted(send))


async def _by_heard_message(needs: Requirement, scope: Scope, receive: Receive, send: Send) -> Admitted:
    """Judge the message that an outer guard has read already."""
    try:
        caller = await needs.guard.verify_for_async(scope[_HEARD], needs.asked)
    except WatchwordError as error:
        refusal = needs.refusal(error)
        raise SocketRefused(error, refusal, close_code(refusal)) from error
    return watched(needs, caller, receive, send)


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

"""Slow and oversized requests against a real uvicorn (J3), over raw sockets and with short time-outs."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Self

import pytest
import uvicorn

from tests.web.asking import ROUTES, dispatcher, route
from watchword.web.protocol import Protocol
from watchword.web.route import Call, Reply

HEAD_SECONDS = 0.4
BODY_SECONDS = 0.6
LOGIN = b'{"username": "a", "password": "b"}'


class Impatient(Protocol):
    head_seconds = HEAD_SECONDS
    body_seconds = BODY_SECONDS
    flush_seconds = 0.3


async def slow(call: Call) -> Reply:
    await asyncio.sleep(1.2)  # longer than both time-outs: they are the client's, not the handler's
    return Reply({"done": True})


async def large(call: Call) -> Reply:
    return Reply(b"x" * 20_000_000)


@pytest.fixture(scope="module")
def server() -> Iterator[uvicorn.Server]:
    app = dispatcher(*ROUTES, route("GET", "/slow", slow), route("GET", "/large", large)).app
    config = uvicorn.Config(
        app, port=0, http=Impatient, ws="none", lifespan="off", log_config=None, timeout_keep_alive=1, loop="asyncio"
    )
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    server.port = listening.getsockname()[1]  # type: ignore[attr-defined]
    yield server
    server.should_exit = True
    thread.join(5)
    listening.close()


@pytest.fixture
def port(server: uvicorn.Server) -> int:
    number: int = server.port  # type: ignore[attr-defined]
    return number


class Line:
    """A raw connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.begun = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def until_closed(self) -> bytes:
        """Everything until the server closes."""
        got = b""
        try:
            while data := self.socket.recv(65536):
                got += data
        except ConnectionResetError:
            pass
        return got

    def answer(self) -> bytes:
        """One answer of a connection that stays open."""
        got = b""
        while b"\r\n\r\n" not in got:
            data = self.socket.recv(65536)
            assert data, got
            got += data
        head, _, body = got.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += self.socket.recv(65536)
        return head

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun


def post(length: int, path: bytes = b"/register") -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (
        path,
        length,
    )


def get(path: bytes = b"/open", more: bytes = b"") -> bytes:
    return b"GET %b HTTP/1.1\r\nhost: x\r\n%b\r\n" % (path, more)


def test_j3_a_silent_connection_is_closed(port: int) -> None:
    with Line(port) as line:
        assert line.until_closed() == b""
        assert HEAD_SECONDS * 0.8 < line.seconds < HEAD_SECONDS + 0.5


def test_j3_a_head_that_trickles_is_cut_off(port: int) -> None:
    """One byte now and then does not buy time: the time-out is for the whole head (slowloris)."""
    with Line(port) as line:
        line.send(b"GET /open HTTP/1.1\r\n")
        got = _trickle(line, b"x-a: 1\r\n" * 100)
        assert got.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in got
        assert line.seconds < HEAD_SECONDS + 0.5


def test_j3_a_body_that_trickles_is_cut_off(port: int) -> None:
    with Line(port) as line:
        line.send(post(1000))
        got = _trickle(line, b"x" * 1000)
        assert got.startswith(b"HTTP/1.1 408 ")
        assert BODY_SECONDS * 0.8 < line.seconds < BODY_SECONDS + 0.6


def test_j3_a_body_nobody_reads_is_cut_off_too(port: int) -> None:
    """The answer is there long before; the connection does not stay to take the rest."""
    with Line(port) as line:
        line.send(b"POST /nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
        got = _trickle(line, b"x" * 1000)
        assert got.startswith(b"HTTP/1.1 404 ")
        assert line.seconds < BODY_SECONDS + 0.6


def test_j3_the_time_out_holds_for_the_second_request_of_a_connection(port: int) -> None:
    with Line(port) as line:
        line.send(get())
        assert line.answer().startswith(b"HTTP/1.1 200 ")
        line.begun = time.monotonic()
        line.send(b"GET /op")
        assert line.until_closed().startswith(b"HTTP/1.1 408 ")
        assert HEAD_SECONDS * 0.8 < line.seconds < HEAD_SECONDS + 0.5


def test_a_request_that_arrives_in_time_is_served_however_it_is_cut(port: int) -> None:
    whole = post(len(LOGIN)) + LOGIN
    with Line(port) as line:
        for at in (1, 17, 40, len(whole) - 5):
            line.send(whole[:at])
            time.sleep(0.05)
            line.send(whole[at:])
            assert line.answer().startswith(b"HTTP/1.1 200 ")
        time.sleep(HEAD_SECONDS + 0.2)  # idle, not slow: that is the keep-alive's time-out
        line.send(get())
        assert line.answer().startswith(b"HTTP/1.1 200 ")


def test_the_limits_are_for_each_request_and_not_for_the_connection(port: int) -> None:
    whole = get(more=b"x: " + b"a" * 10_000 + b"\r\n")
    with Line(port) as line:
        for _ in range(5):
            line.send(whole[:8000])
            time.sleep(0.02)
            line.send(whole[8000:])
            assert line.answer().startswith(b"HTTP/1.1 200 ")


def test_a_slow_handler_is_not_a_slow_client(port: int) -> None:
    with Line(port) as line:
        line.send(get(b"/slow"))
        assert line.answer().startswith(b"HTTP/1.1 200 ")
        assert line.seconds > 1


def test_pipelined_requests_are_all_served(port: int) -> None:
    with Line(port) as line:
        line.send(get(b"/slow") + get() + get(b"/open", b"connection: close\r\n"))
        assert line.until_closed().count(b"HTTP/1.1 200 ") == 3


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get(more=b"".join(b"x-%d: 1\r\n" % n for n in range(70))), b"431"),
        (get(more=b"x: " + b"a" * 20_000 + b"\r\n"), b"431"),
        (get(more=b"".join(b"x-%d: %b\r\n" % (n, b"a" * 1000) for n in range(20))), b"431"),
        (get(b"/" + b"a" * 9000), b"414"),
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET /open HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", b"400"),
        (b"GET /open HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
    ],
)
def test_j3_heads_beyond_the_limits_are_refused(port: int, data: bytes, status: bytes) -> None:
    with Line(port) as line:
        line.send(data)
        assert line.until_closed().startswith(b"HTTP/1.1 " + status)
        assert line.seconds < HEAD_SECONDS - 0.1  # at once, not by time-out


def test_j3_one_endless_header_does_not_fill_memory(port: int) -> None:
    """httptools reports a header when it ends and keeps it until then, so what is fed must be counted."""
    with Line(port) as line:
        line.send(b"GET /open HTTP/1.1\r\nx: ")
        sent = 0
        try:
            for _ in range(100):
                line.send(b"a" * 4096)
                sent += 4096
                time.sleep(0.001)
        except OSError:
            pass
        assert sent < 200_000


def test_the_largest_head_within_the_limits_is_served(port: int) -> None:
    more = b"".join(b"x-%02d: %b\r\n" % (n, b"a" * 240) for n in range(60))
    with Line(port) as line:
        line.send(get(more=more))
        assert line.answer().startswith(b"HTTP/1.1 200 ")


def test_413_ends_the_connection(port: int) -> None:
    with Line(port) as line:
        line.send(post(70_000))
        assert line.until_closed().startswith(b"HTTP/1.1 413 ")
        assert line.seconds < BODY_SECONDS


def test_a_chunked_body_is_counted(port: int) -> None:
    with Line(port) as line:
        line.send(
            b"POST /register HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        try:
            for _ in range(6):
                line.send(chunk)
        except OSError:
            pass
        assert line.until_closed().startswith(b"HTTP/1.1 413 ")


def test_an_upgrade_is_answered_over_http(port: int) -> None:
    with Line(port) as line:
        line.send(get(more=b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"))
        assert line.answer().startswith(b"HTTP/1.1 200 ")


def test_j3_a_client_that_does_not_read_is_cut_off(server: uvicorn.Server, port: int) -> None:
    with Line(port) as line:
        line.send(get(b"/large"))
        time.sleep(0.3)
        assert len(server.server_state.connections) == 1
        time.sleep(1 + Impatient.flush_seconds + 0.2)  # keep-alive, then patience
        assert not server.server_state.connections


def _trickle(line: Line, data: bytes) -> bytes:
    """Send a byte every 50 ms until the server has had enough; what it said."""
    line.socket.settimeout(0.05)
    got = b""
    for at in range(len(data)):
        try:
            line.socket.send(data[at : at + 1])
            received = line.socket.recv(65536)
            got += received
            if not received:
                return got
        except TimeoutError:
            continue
        except OSError:
            return got
        if line.seconds > 3:
            break
    return got

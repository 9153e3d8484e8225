"""Slow and oversized requests against a real uvicorn (J3), over raw sockets and with short time-outs."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, Self

import pytest
import uvicorn

from tests.web.asking import ROUTES, dispatcher, route
from watchword.web.protocol import Protocol
from watchword.web.route import Call, Reply
from watchword.web.together import Together

HEAD_SECONDS = 0.4
BODY_SECONDS = 0.6
MOMENT = 30  # seconds: what a slow machine may take for something that does happen
LOGIN = b'{"username": "a", "password": "b"}'

FIRST_PART, LAST_PART = threading.Event(), threading.Event()
"""Whether a streaming answer may go on: the one test that looks at its parts holds it."""
FIRST_PART.set()
LAST_PART.set()


async def _reaches(event: threading.Event) -> None:
    while not event.is_set():  # noqa: ASYNC110 - it is set in another thread
        await asyncio.sleep(0.005)


class Impatient(Protocol):
    head_seconds = HEAD_SECONDS
    body_seconds = BODY_SECONDS
    flush_seconds = 0.3
    flush_rate = 4_000_000


async def slow(call: Call) -> Reply:
    await asyncio.sleep(1.2)  # longer than both time-outs: they are the client's, not the handler's
    return Reply({"done": True})


async def large(call: Call) -> Reply:
    return Reply(b"x" * 20_000_000)


async def raw(scope: Any, receive: Any, send: Any) -> None:
    """Answers that the dispatcher never gives, but that a mounted application might."""

    async def head(status: int, *headers: tuple[bytes, bytes]) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def part(body: bytes, more: bool = False) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": more})

    match scope["path"]:
        case "/raw/stream":
            await head(200)
            await _reaches(FIRST_PART)
            await part(b"first", more=True)
            await part(HEAD_LOOKALIKE, more=True)
            await _reaches(LAST_PART)
            await part(b"last")
        case "/raw/counted":
            await head(200, (b"content-length", b"6"))
            await part(b"abc", more=True)
            await asyncio.sleep(0.2)
            await part(b"def")
        case "/raw/status":
            status = int(scope["query_string"])
            await head(status, *(() if status in {204, 304} else ((b"content-length", b"0"),)))
            await part(b"")
        case "/raw/stops":
            await head(200, (b"content-length", b"5"))
            raise LookupError("after the head")
        case "/raw/too-much":
            await head(200, (b"content-length", b"1"))
            await part(b"too much")
        case "/raw/read":
            body = (await receive())["body"]
            await head(200, (b"content-length", b"%d" % len(body)))
            await part(body)
        case "/raw/patient":
            await head(200, (b"content-length", b"1"))
            assert (await receive())["type"] == "http.request"
            assert (await receive())["type"] == "http.disconnect"
            await part(b"x")  # to nobody
            LEFT.set()


HEAD_LOOKALIKE = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
LEFT = threading.Event()


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest) -> Iterator[uvicorn.Server]:
    served = dispatcher(*ROUTES, route("GET", "/slow", slow), route("GET", "/large", large)).app

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (raw if scope["path"].startswith("/raw/") else served)(scope, receive, send)

    config = uvicorn.Config(
        app,
        port=0,
        http=Impatient,
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=1,
        loop=request.param,
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
        self.begun = time.monotonic()  # before the server's timer can begin
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=MOMENT)

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
        assert HEAD_SECONDS * 0.8 < line.seconds < MOMENT


def test_j3_a_head_that_trickles_is_cut_off(port: int) -> None:
    """One byte now and then does not buy time: the time-out is for the whole head (slowloris)."""
    with Line(port) as line:
        line.send(b"GET /open HTTP/1.1\r\n")
        got = _trickle(line, b"x-a: 1\r\n" * 1000)
        assert got.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in got
        assert line.seconds < MOMENT


def test_j3_a_body_that_trickles_is_cut_off(port: int) -> None:
    with Line(port) as line:
        line.send(post(1000))
        got = _trickle(line, b"x" * 999)
        assert got.startswith(b"HTTP/1.1 408 ")
        assert BODY_SECONDS * 0.8 < line.seconds < MOMENT


def test_j3_a_body_nobody_reads_is_cut_off_too(port: int) -> None:
    """The answer is there long before; the connection does not stay to take the rest."""
    with Line(port) as line:
        line.send(b"POST /nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
        got = _trickle(line, b"x" * 999)
        assert got.startswith(b"HTTP/1.1 404 ")
        assert line.seconds < MOMENT


def test_j3_the_time_out_holds_for_the_second_request_of_a_connection(port: int) -> None:
    with Line(port) as line:
        line.send(get())
        assert line.answer().startswith(b"HTTP/1.1 200 ")
        line.begun = time.monotonic()
        line.send(b"GET /op")
        assert line.until_closed().startswith(b"HTTP/1.1 408 ")
        assert HEAD_SECONDS * 0.8 < line.seconds < MOMENT


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
        assert line.until_closed().startswith(b"HTTP/1.1 413 ")  # a time-out would be a 408


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


@pytest.mark.rare
def test_j3_a_client_that_does_not_read_is_cut_off(server: uvicorn.Server, port: int) -> None:
    with Line(port) as line:
        line.send(get(b"/large"))
        time.sleep(0.3)
        assert len(server.server_state.connections) == 1
        give_up_at = time.monotonic() + 60
        while server.server_state.connections:  # keep-alive, then patience
            assert time.monotonic() < give_up_at
            time.sleep(0.05)


# --- One write for head and body ----------------------------------------------------------------------------------


class Told:
    """A transport that says what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        self.told.append(tuple(parts))

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True
        self.told.append("close")


class Started:
    """What is looked at of a cycle, and a loop that keeps what is for its next turn."""

    def __init__(self) -> None:
        self.transport = Told()
        self.response_started = False
        self.later: list[Any] = []
        self.call_soon = self.later.append
        self.closings = ["not told yet"]


@pytest.fixture
def cycle() -> Started:
    return Started()


def together(cycle: Started) -> Any:
    return Together(cycle, cycle, cycle.closings.clear)  # type: ignore[arg-type]


def test_head_and_body_leave_together(cycle: Started) -> None:
    """One write, in order; the loop's next turn finds nothing to do, and what follows is not held."""
    transport = together(cycle)
    transport.write(b"100 Continue")
    cycle.response_started = True
    transport.write(b"head")
    assert cycle.transport.told == [b"100 Continue"]
    transport.write(b"body")
    cycle.later[0]()
    transport.write(HEAD_LOOKALIKE)
    transport.write(b"")
    assert cycle.transport.told == [b"100 Continue", (b"head", b"body"), HEAD_LOOKALIKE, b""]
    assert len(cycle.later) == 1


def test_no_empty_part_is_handed_on_with_a_head(cycle: Started) -> None:
    """asyncio would keep it: a turn of the loop after another, and the connection never ends."""
    transport = together(cycle)
    cycle.response_started = True
    transport.write(b"head")
    transport.write(b"")
    cycle.later[0]()
    assert cycle.transport.told == [b"head"]


def test_a_head_waits_for_one_turn_of_the_loop_only(cycle: Started) -> None:
    transport = together(cycle)
    cycle.response_started = True
    transport.write(b"head")
    cycle.later[0]()
    transport.write(b"body")
    assert cycle.transport.told == [b"head", b"body"]


def test_closing_sends_the_head_first_and_a_closed_connection_none(cycle: Started) -> None:
    transport = together(cycle)
    cycle.response_started = True
    transport.write(b"head")
    transport.close()
    cycle.later[0]()
    assert cycle.transport.told == [b"head", "close"]
    assert transport.is_closing()
    assert not cycle.closings
    lost = Started()
    transport = together(lost)
    lost.response_started = True
    transport.write(b"head")
    lost.transport.closing = True  # the client has gone, or was too slow
    lost.later[0]()
    assert lost.transport.told == []


def test_a_streaming_answer_is_sent_as_it_is_made(port: int) -> None:
    """The head before the first part is there; a part that looks like a head is a part like any other."""
    with Line(port) as line:
        FIRST_PART.clear()
        LAST_PART.clear()
        line.send(get(b"/raw/stream", b"connection: close\r\n"))
        first = line.socket.recv(65536)
        FIRST_PART.set()
        assert first.endswith(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in first
        second = line.socket.recv(65536)
        assert second.startswith(b"5\r\nfirst\r\n")
        LAST_PART.set()
        rest = second + line.until_closed()
    assert rest == b"5\r\nfirst\r\n%x\r\n%b\r\n4\r\nlast\r\n0\r\n\r\n" % (len(HEAD_LOOKALIKE), HEAD_LOOKALIKE)


def test_an_answer_in_parts_is_whole(port: int) -> None:
    with Line(port) as line:
        line.send(get(b"/raw/counted") + get(b"/raw/counted", b"connection: close\r\n"))
        assert [answer[-6:] for answer in line.until_closed().split(b"HTTP/1.1 200 OK")[1:]] == [b"abcdef"] * 2


@pytest.mark.parametrize("status", [b"200", b"204", b"304", b"404"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_an_answer_without_a_body_is_sent_at_once(port: int, status: bytes, version: bytes) -> None:
    """Keep-alive or not: nothing is left behind, and the next answer begins where this one ends."""
    request = get(b"/raw/status?" + status).replace(b"HTTP/1.1", b"HTTP/" + version)
    with Line(port) as line:
        line.send(request)
        if version == b"1.1":
            assert _head(line).startswith(b"HTTP/1.1 " + status)
            line.send(get(b"/raw/status?" + status, b"connection: close\r\n"))
        got = line.until_closed()
        assert got.startswith(b"HTTP/1.1 " + status)
        assert got.endswith(b"\r\n\r\n")
        assert got.count(b"HTTP/") == 1


@pytest.mark.parametrize("path", [b"/open", b"/large", b"/raw/counted", b"/raw/stream"])
def test_head_has_the_head_alone(port: int, path: bytes) -> None:
    """Twice on one connection, then pipelined with a GET, whose answer comes after it."""
    head = get(path).replace(b"GET", b"HEAD")
    with Line(port) as line:
        for _ in range(2):
            line.send(head)
            assert _head(line).startswith(b"HTTP/1.1 200 ")
        line.send(head + get(b"/raw/counted", b"connection: close\r\n"))
        first, second = line.until_closed().split(b"HTTP/1.1 200 OK")[1:]
        assert first.endswith(b"\r\n\r\n")
        assert second.endswith(b"\r\n\r\nabcdef")


def test_a_body_that_waits_to_be_asked_for_is(port: int) -> None:
    """100 Continue leaves when the application reads, not with the answer."""
    with Line(port) as line:
        line.send(b"POST /raw/read HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        assert line.socket.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.send(b"abc")
        assert line.socket.recv(65536).endswith(b"\r\n\r\nabc")
        line.send(b"POST /nothing HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        assert line.socket.recv(65536).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("path", [b"/raw/stops", b"/raw/too-much"])
def test_an_application_that_fails_after_its_head_ends_the_connection(port: int, path: bytes) -> None:
    """The head that was promised is sent, no second one follows, and the body is visibly incomplete."""
    with Line(port) as line:
        line.send(get(path))
        got = line.until_closed()
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")
        assert got.endswith(b"\r\n\r\n")
        assert got.count(b"HTTP/") == 1


@pytest.mark.rare
def test_an_application_learns_that_the_client_has_gone(port: int) -> None:
    LEFT.clear()
    with Line(port) as line:
        line.send(get(b"/raw/patient"))
        assert line.socket.recv(65536).endswith(b"\r\n\r\n")
    assert LEFT.wait(5)


def test_a_large_answer_flows_as_fast_as_it_is_read(port: int) -> None:
    with Line(port) as line:
        line.send(get(b"/large", b"connection: close\r\n"))
        time.sleep(0.2)
        head, _, body = line.until_closed().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert len(body) == 20_000_000


def test_a_client_that_closes_its_side_is_answered(port: int) -> None:
    with Line(port) as line:
        line.send(get(b"/slow"))
        line.socket.shutdown(socket.SHUT_WR)
        assert line.until_closed().startswith(b"HTTP/1.1 200 ")


def test_many_pipelined_answers_come_whole_and_in_order(port: int) -> None:
    paths = [b"/raw/counted", b"/open", b"/raw/status?204", b"/nothing", b"/raw/status?304"] * 4
    with Line(port) as line:
        line.send(b"".join(get(path) for path in paths) + get(b"/open", b"connection: close\r\n"))
        got = line.until_closed()
    statuses = [answer[:3] for answer in got.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"204", b"404", b"304"] * 4 + [b"200"]


def _head(line: Line) -> bytes:
    """A head, and that nothing comes after it."""
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        data = line.socket.recv(1)
        assert data, got
        got += data
    line.socket.settimeout(0.02)
    with pytest.raises(TimeoutError):
        line.socket.recv(1)
    line.socket.settimeout(MOMENT)
    return got


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
        if line.seconds > MOMENT:
            break
    return got

"""On every connection either an answer is under way or a timer is running, whatever the client sends (J3)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.web.wire import Connection, HandLoop
from watchword.web.connections import MOST, Places, most_connections, proxies_among

ONE_DAY = 86_400


@pytest.fixture
def loop() -> Iterator[HandLoop]:
    loop = HandLoop()
    asyncio.set_event_loop(loop)
    yield loop
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.settle()
    loop.close()
    asyncio.set_event_loop(None)


async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: C901, PLR0912 -- a list of ways
    """Answers in every way that an application may: reads or does not, at once, late, at length, in parts, never."""
    headers = []

    async def answer(body: bytes = b"ok", status: int = 200) -> None:
        head = [(b"content-length", b"%d" % len(body)), *headers]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})

    async def read() -> bytes:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError
            body += message["body"]
            if not message["more_body"]:
                return body

    try:
        match scope["path"]:
            case "/read":
                await answer(await read())
            case "/early":
                await answer(status=401)
            case "/close":
                headers.append((b"connection", b"close"))
                await answer(status=413)
            case "/slow":
                await asyncio.sleep(7)
                await answer(await read())
            case "/large":
                await answer(b"x" * 200_000)
            case "/parts":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                for _ in range(3):
                    await send({"type": "http.response.body", "body": b"x" * 40_000, "more_body": True})
                    await asyncio.sleep(1)
                await send({"type": "http.response.body", "body": b""})
            case "/headers":
                await answer(b"\n".join(name for name, _ in scope["headers"]))
            case "/news":
                while (await receive())["type"] != "http.disconnect":
                    pass
            case "/fails":
                raise LookupError
            case "/fails-late":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                raise LookupError
            case _:
                await answer()
    except ConnectionError:
        return


# --- Generated -----------------------------------------------------------------------------------------------------

PATHS = ("/", "/read", "/early", "/close", "/slow", "/large", "/parts", "/fails", "/fails-late", "/headers")
METHODS = ("GET", "POST", "HEAD", "OPTIONS", "DELETE", "CONNECT")
EXTRA = (
    b"",
    b"expect: 100-continue\r\n",
    b"connection: upgrade\r\nupgrade: h2c\r\n",
    b"connection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n",
    b"connection: close\r\n",
    b"connection: keep-alive\r\n",
)
BODIES = (
    b"\r\n",
    b"content-length: 0\r\n\r\n",
    b"content-length: 5\r\n\r\nhello",
    b"content-length: 70000\r\n\r\n" + b"x" * 70_000,
    b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n",
    b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\ntrailer: 1\r\n\r\n",
    b"transfer-encoding: chunked\r\n\r\nnonsense\r\n",
    b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"transfer-encoding: gzip\r\n\r\n",
)
VERSIONS = (b"1.1", b"1.1", b"1.1", b"1.0")


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    method, path = draw(st.sampled_from(METHODS)), draw(st.sampled_from(PATHS))
    head = b"%b %b HTTP/%b\r\nhost: x\r\n" % (method.encode(), path.encode(), draw(st.sampled_from(VERSIONS)))
    return head + draw(st.sampled_from(EXTRA)) + draw(st.sampled_from(BODIES))


@st.composite
def pieces(draw: st.DrawFn) -> bytes:
    """Whole requests, halves, blank lines, noise."""
    kind = draw(st.sampled_from(("whole", "whole", "part", "blank", "noise", "several")))
    if kind == "blank":
        return draw(st.sampled_from((b"\r\n", b"\n", b"\r", b"\r\n\r\n\r\n", b"\r\n" * 20_000)))
    if kind == "noise":
        return draw(st.one_of(st.binary(min_size=1, max_size=40), st.just(b"a" * 30_000), st.just(b"x: y\r\n" * 100)))
    if kind == "several":
        return b"".join(draw(st.lists(requests(), min_size=2, max_size=4)))
    whole = draw(requests())
    return whole if kind == "whole" else whole[: draw(st.integers(1, len(whole)))]


ACTS = st.one_of(
    st.tuples(st.just("send"), pieces()),
    st.tuples(st.just("wait"), st.sampled_from((0.01, 1.0, 6.0, 9.9, 31.0, 80.0))),
    st.tuples(st.just("dribble"), requests()),
    st.tuples(st.just("take"), st.sampled_from((1, 50_000, 1_000_000))),
    st.tuples(st.just("hang up"), st.just(0)),
)


@given(st.lists(ACTS, min_size=1, max_size=8), st.booleans())
@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
def test_no_answer_under_way_means_a_timer_is_running(acts: list[tuple[str, Any]], reads: bool) -> None:
    """Held after every single thing that happens; and in the end, a client that falls silent has no connection left."""
    loop = HandLoop()
    asyncio.set_event_loop(loop)
    try:
        connection = Connection(loop, app, reads=reads)
        connection.check()
        for act, value in acts:
            _play(connection, act, value)
            connection.check()
        connection.pass_time(1000)
        connection.check()
        assert connection.wire.lost
        assert not connection.protocol.connections
        assert not asyncio.all_tasks(loop)  # nor does an application wait for it
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.settle()
        loop.close()
        asyncio.set_event_loop(None)


def _play(connection: Connection, act: str, value: Any) -> None:
    match act:
        case "send":
            connection.send(value)
        case "wait":
            connection.pass_time(value)
        case "dribble":
            for at in range(0, min(len(value), 300), 7):
                connection.send(value[at : at + 7])
                connection.check()
                connection.pass_time(0.3)
                connection.check()
        case "take":
            connection.wire.take(value)
            connection.loop.settle()
        case "hang up":
            connection.hang_up()


# --- One by one ------------------------------------------------------------------------------------------------------


def get(path: str = "/", more: bytes = b"") -> bytes:
    return b"GET %b HTTP/1.1\r\nhost: x\r\n%b\r\n" % (path.encode(), more)


def post(path: str, body: bytes, more: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n%b" % (path.encode(), more, len(body), body)


@pytest.mark.parametrize("blank", [b"\r\n", b"\n", b"\r\n" * 40])
@pytest.mark.parametrize("first", [b"", get(), post("/read", b"hello")])
def test_blank_lines_buy_no_time(loop: HandLoop, blank: bytes, first: bytes) -> None:
    """Neither on a fresh connection nor on one that was used, neither once nor every second."""
    connection = Connection(loop, app)
    connection.send(first)
    for _ in range(11):
        connection.send(blank)
        connection.check()
        connection.pass_time(1)
    assert connection.wire.lost
    assert b"408" not in connection.wire.sent  # no request was begun, so there is none to answer


def test_blank_lines_before_a_request_are_passed_over(loop: HandLoop) -> None:
    """RFC 9112 section 2.2 asks for it."""
    connection = Connection(loop, app)
    connection.send(b"\r\n\r\n" + get())
    connection.send(b"\r\n" + get())
    assert connection.wire.sent.count(b"HTTP/1.1 200 ") == 2


@pytest.mark.parametrize("offer", ["h2c", "websocket", "TLS/1.3, h2c"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("cut", [0, 1, 3, 9])
def test_an_offer_to_upgrade_is_ignored_and_the_body_read(loop: HandLoop, offer: str, framing: str, cut: int) -> None:
    """The body is the request's, wherever it is cut; never the beginning of another request."""
    body = get("/smuggled")
    more = f"Connection: Upgrade\r\nUpgrade: {offer}\r\n".encode()
    whole = post("/read", body, more)
    if framing == "chunks":
        head = b"POST /read HTTP/1.1\r\nhost: x\r\n%btransfer-encoding: chunked\r\n\r\n" % more
        whole = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    at = whole.index(b"\r\n\r\n") + 4 + cut
    connection = Connection(loop, app)
    connection.send(whole[:at])
    connection.check()
    connection.send(whole[at:] + get("/early"))
    answers = connection.wire.sent.split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"401"]
    assert answers[0].endswith(b"\r\n\r\n" + body)


def test_an_offer_whose_body_does_not_come_is_timed(loop: HandLoop) -> None:
    connection = Connection(loop, app)
    connection.send(post("/read", b"hello", b"Connection: Upgrade\r\nUpgrade: h2c\r\n")[:-2])
    connection.pass_time(11)
    assert connection.wire.sent.startswith(b"HTTP/1.1 408 ")
    assert connection.wire.lost


def test_an_offer_with_two_lengths_is_refused(loop: HandLoop) -> None:
    connection = Connection(loop, app)
    more = b"Connection: Upgrade\r\nUpgrade: h2c\r\ntransfer-encoding: chunked\r\n"
    connection.send(post("/read", b"0\r\n\r\n" + get("/smuggled"), more))
    assert connection.wire.sent.startswith(b"HTTP/1.1 400 ")
    assert connection.wire.sent.count(b"HTTP/1.1") == 1
    assert connection.wire.lost


def test_connect_is_refused(loop: HandLoop) -> None:
    connection = Connection(loop, app)
    connection.send(b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n" + get("/smuggled"))
    assert connection.wire.sent.startswith(b"HTTP/1.1 501 ")
    assert connection.wire.sent.count(b"HTTP/1.1") == 1


def test_trailers_are_no_headers(loop: HandLoop) -> None:
    """What a proxy lets through behind the body may not become `authorization` or `x-forwarded-for`."""
    connection = Connection(loop, app)
    connection.send(
        b"POST /headers HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        b"1\r\na\r\n0\r\nauthorization: Bearer x\r\nX-Forwarded-For: 192.0.2.9\r\nexpect: 100-continue\r\n\r\n"
    )
    assert connection.wire.sent.endswith(b"\r\n\r\nhost\ntransfer-encoding")


def test_an_endless_trailer_or_extension_does_not_fill_memory(loop: HandLoop) -> None:
    for end in (b"0\r\nx: ", b"1;"):
        connection = Connection(loop, app)
        connection.send(b"POST /read HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n" + end)
        for _ in range(8):
            connection.send(b"a" * 4096)
        assert connection.wire.sent.startswith(b"HTTP/1.1 431 ")
        assert connection.wire.lost


def test_a_refusal_of_the_next_request_does_not_overtake_an_answer(loop: HandLoop) -> None:
    """Nonsense after a good request: the good one is answered, as the last."""
    connection = Connection(loop, app)
    connection.send(post("/slow", b"hello") + get() + b"NONSENSE\r\n\r\n")
    connection.pass_time(8)
    assert [part[:3] for part in connection.wire.sent.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200"]
    assert connection.wire.sent.endswith(b"ok")
    assert connection.wire.lost


def test_an_incomplete_request_behind_a_slow_answer_does_not_cut_it_off(loop: HandLoop) -> None:
    """Its time begins when its turn has come; before, it is we who do not read."""
    connection = Connection(loop, app)
    connection.send(get("/slow") + get("/slow") + post("/read", b"hello")[:-2])
    connection.pass_time(13.5)
    connection.check()
    assert connection.wire.sent.count(b"HTTP/1.1 200 ") == 1
    connection.pass_time(1)
    connection.send(b"lo")
    assert connection.wire.sent.count(b"HTTP/1.1 200 ") == 3


def test_what_was_answered_is_not_answered_again(loop: HandLoop) -> None:
    """The rest of an unwanted body ends the connection in time, or by being nonsense; with no second answer."""
    late = Connection(loop, app)
    late.send(post("/early", b"hello")[:-2])
    late.pass_time(11)
    bad = Connection(loop, app)
    bad.send(b"POST /early HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    bad.send(b"nonsense\r\n")
    for connection in (late, bad):
        assert connection.wire.sent.count(b"HTTP/1.1 ") == 1
        assert connection.wire.lost


def test_a_client_that_was_not_asked_to_go_on_is_let_go(loop: HandLoop) -> None:
    """It may send the body or the next request: taking one for the other would be worse than a new connection."""
    connection = Connection(loop, app)
    connection.send(b"POST /early HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 40\r\n\r\n")
    assert b"connection: close" in connection.wire.sent
    assert connection.wire.lost


def test_a_client_that_was_asked_to_go_on_may_stay(loop: HandLoop) -> None:
    connection = Connection(loop, app)
    connection.send(b"POST /read HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
    assert connection.wire.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.send(b"hello" + get())
    assert connection.wire.sent.count(b"HTTP/1.1 200 ") == 2
    assert b"connection: close" not in connection.wire.sent


def test_pipelining_is_bounded(loop: HandLoop) -> None:
    """What may wait is answered; more than that is not kept, and the connection ends."""
    connection = Connection(loop, app)
    connection.send(get("/slow") + get() * 5000)
    assert len(connection.protocol.pipeline) == connection.protocol.max_pipelined
    connection.pass_time(8)
    assert connection.wire.sent.count(b"HTTP/1.1 200 ") == 1 + connection.protocol.max_pipelined
    assert connection.wire.lost


def test_a_client_that_sends_no_more_gets_its_answers(loop: HandLoop) -> None:
    """Such as `printf … | nc`: it closes its side with the last byte. What it left incomplete has no answer."""
    connection = Connection(loop, app)
    connection.protocol.data_received(post("/read", b"hello") + get() + get()[:-2])
    connection.hang_up()
    assert connection.wire.sent.count(b"HTTP/1.1 200 ") == 2
    assert connection.wire.lost


def test_a_client_that_is_gone_is_not_waited_for(loop: HandLoop) -> None:
    """Which looks the same: so there is an end, and the application hears of it."""
    connection = Connection(loop, app)
    connection.send(get("/news"))
    connection.hang_up()
    connection.check()
    connection.pass_time(4)
    assert connection.wire.lost
    assert not asyncio.all_tasks(loop)


@pytest.mark.parametrize("path", ["/large", "/parts"])
def test_a_client_that_never_reads_is_cut_off(loop: HandLoop, path: str) -> None:
    """Also while the answer waits for it, and while it goes on asking."""
    connection = Connection(loop, app, reads=False)
    connection.send(get(path) * 20)
    for _ in range(200):
        connection.send(b"\r\n")
        connection.check()
        connection.pass_time(1)
    assert connection.wire.lost


def test_a_slow_reader_is_given_time_in_proportion(loop: HandLoop) -> None:
    """200 kB at 20 kB a second take longer than the patience with one that takes nothing."""
    connection = Connection(loop, app, reads=False)
    connection.send(get("/large") + get("/large"))
    for _ in range(20):
        connection.pass_time(1)
        connection.wire.take(20_000)
        connection.check()
    assert not connection.wire.closing
    assert connection.wire.sent.count(b"HTTP/1.1 200 ") == 2


def test_a_queued_answer_learns_that_the_client_has_gone(loop: HandLoop) -> None:
    """Not only the newest request: the one that is being answered, too."""
    connection = Connection(loop, app)
    connection.send(get("/news") + get())
    connection.hang_up()
    connection.pass_time(4)
    assert not asyncio.all_tasks(loop)


# --- Places --------------------------------------------------------------------------------------------------------


def test_above_the_number_of_places_there_is_503(loop: HandLoop) -> None:
    """With `Retry-After`, before anything is read; a connection that ends leaves its place to another."""
    places = Places(8)
    held = [Connection(loop, app, places=places, address=f"192.0.2.{number}") for number in range(8)]
    late = Connection(loop, app, places=places, address="198.51.100.1")
    assert late.wire.sent.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: " in late.wire.sent
    assert late.wire.lost
    held[3].hang_up()
    again = Connection(loop, app, places=places, address="198.51.100.1")
    again.send(get())
    assert again.wire.sent.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["192.0.2.1"], "192.0.2.2"),
        (["::ffff:192.0.2.1", "192.0.2.1"], "::ffff:192.0.2.2"),
        ([f"2001:db8:1:{number:x}::1" for number in range(16)], "2001:db8:2::1"),
    ],
)
def test_one_network_cannot_hold_them_all(loop: HandLoop, one: list[str], other: str) -> None:
    """An address, or everything that one subscriber has, gets a quarter."""
    places = Places(40)
    held = [Connection(loop, app, places=places, address=one[n % len(one)]) for n in range(40)]
    assert sum(not connection.wire.lost for connection in held) == 10
    stranger = Connection(loop, app, places=places, address=other)
    stranger.send(get())
    assert stranger.wire.sent.startswith(b"HTTP/1.1 200 ")


def test_a_proxy_of_ours_may_hold_them_all(loop: HandLoop) -> None:
    places = Places(40, exempt=lambda address: address == "10.0.0.1")
    held = [Connection(loop, app, places=places, address="10.0.0.1") for _ in range(40)]
    assert not any(connection.wire.lost for connection in held)
    assert Connection(loop, app, places=places, address="10.0.0.1").wire.sent.startswith(b"HTTP/1.1 503 ")


def test_whom_the_setting_exempts() -> None:
    """A number means that everything that connects is a proxy; networks, those that lie in them."""
    assert proxies_among(0) is None
    everyone = proxies_among(1)
    assert everyone is not None
    assert everyone("198.51.100.1")
    named = proxies_among((ip_network("10.0.0.0/8"), ip_network("fd00::/8")))
    assert named is not None
    found = [named(each) for each in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1%eth0", "11.0.0.1", "::1", "", "unix")]
    assert found == [True, True, True, False, False, False, False]


def test_every_place_is_given_back(loop: HandLoop) -> None:
    """However the connection ended."""
    places = Places(8)
    for sent in (b"", get(), b"NONSENSE\r\n\r\n", get("/close"), get("/fails-late"), get("/news"), b"\r\n"):
        connection = Connection(loop, app, places=places)
        connection.send(sent)
        connection.pass_time(80)
        connection.hang_up()
    assert places._all == 0
    assert not places._taken


def test_connections_leave_descriptors_for_the_rest() -> None:
    assert most_connections(200) == 136
    assert most_connections(40) == 20
    assert most_connections(1 << 30) == MOST


def test_while_draining_answers_end_their_connection(loop: HandLoop) -> None:
    places = Places(8)
    connection = Connection(loop, app, places=places)
    connection.send(get())
    places.draining = True
    connection.send(get())
    assert connection.wire.sent.count(b"connection: close") == 1
    assert connection.wire.lost
    places.closed = True
    assert Connection(loop, app, places=places).wire.sent.startswith(b"HTTP/1.1 503 ")


def test_a_connection_that_is_new_when_the_server_stops_is_answered(loop: HandLoop) -> None:
    """Its request may lie in the kernel already: closing at once would answer it with a reset."""
    new = Connection(loop, app)
    new.protocol.shutdown()
    new.pass_time(new.protocol.first_seconds / 2)
    new.send(b"GET /early HTTP/1.1\r\nhost: x\r\n\r\n")
    new.pass_time(0)
    assert new.wire.sent.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nconnection: close\r\n" in new.wire.sent
    assert new.wire.lost


def test_a_connection_that_stays_silent_does_not_hold_up_the_stop(loop: HandLoop) -> None:
    silent, used = Connection(loop, app), Connection(loop, app)
    used.send(b"GET /early HTTP/1.1\r\nhost: x\r\n\r\n")
    used.pass_time(0)
    for each in (silent, used):
        each.protocol.shutdown()
    assert used.wire.closing
    assert not silent.wire.closing
    silent.pass_time(silent.protocol.first_seconds)
    assert silent.wire.lost
    assert silent.wire.sent == b""

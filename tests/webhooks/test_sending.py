"""Handing over: over TLS that is verified, to addresses that were checked, within a deadline and bounds."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.webhooks.receiving import Receiver, receiving
from watchword.webhooks.sending import HttpSender, Outcome
from watchword.webhooks.urls import Target

HEADERS = (("webhook-id", "evt_1"), ("webhook-timestamp", "1"), ("webhook-signature", "v1,x"))
Answers = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def send(url: str, *, private: bool = True, seconds: float = 20, tls: ssl.SSLContext | None = None) -> Outcome:
    """Hand one over."""
    return await HttpSender(tls=tls, seconds=seconds).send(Target(url, private), HEADERS, b'{"type":"x"}')


@asynccontextmanager
async def answering(answer: Answers, **options: Any) -> AsyncIterator[int]:
    """A server that answers each connection by a function; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the sender hung up
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def saying(text: bytes) -> Answers:
    """Answer by these bytes."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()

    return answer


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


async def test_what_is_sent(receiver: Receiver) -> None:
    """JSON by POST, with the signature's headers, and the URL as it was given."""
    assert await send(receiver.url) == Outcome()
    (got,) = receiver.got
    assert got.body == b'{"type":"x"}'
    assert got.headers["content-type"] == "application/json"
    assert {name: got.headers[name] for name, _ in HEADERS} == dict(HEADERS)
    assert got.headers["host"] == f"127.0.0.1:{receiver.url.split(':')[2].split('/')[0]}"


@pytest.mark.parametrize(
    ("status", "fault"), [(200, ""), (204, ""), (299, ""), (400, "it answered 400"), (500, "it answered 500")]
)
async def test_the_status_counts(receiver: Receiver, status: int, fault: str) -> None:
    """2xx is taken."""
    receiver.answer = lambda _: status
    assert await send(receiver.url) == Outcome(fault)


NOW = "Sun, 29 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "120"}, 120),
        (503, {"retry-AFTER": " 5 "}, 5),
        (503, {"Retry-After": "Sun, 29 Nov 2026 10:02:00 GMT", "Date": NOW}, 120),
        (503, {"Retry-After": "Sun, 29 Nov 2026 09:00:00 GMT", "Date": NOW}, 0),
        (503, {"Retry-After": "Sun, 29 Nov 2026 10:02:00", "Date": NOW}, 0),
        (503, {"Retry-After": "Sun, 29 Nov 2026 10:02:00 GMT"}, 0),
        (429, {"Retry-After": "9" * 5000}, 999_999_999),
        (429, {"Retry-After": "\xb2"}, 0),
        (429, {"Retry-After": "-1"}, 0),
        (429, {"Retry-After": ""}, 0),
        (429, {"X-Retry-After": "120"}, 0),
        (500, {"Retry-After": "120"}, 0),
    ],
)
async def test_one_that_is_busy_says_for_how_long(status: int, headers: dict[str, str], seconds: int) -> None:
    """In seconds, or as a date that counts from the answer's own. Nothing that is written there is a fault of ours."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")
    async with answering(saying(b"HTTP/1.1 %d Busy\r\n%s\r\n" % (status, lines))) as port:
        assert await send(f"http://127.0.0.1:{port}/") == Outcome(f"it answered {status}", retry_after=seconds)


async def test_gone_says_so(receiver: Receiver) -> None:
    """410: the receiver wants no more."""
    receiver.answer = lambda _: 410
    assert await send(receiver.url) == Outcome("it answered 410", gone=True)


@pytest.mark.parametrize("where", ["http://169.254.169.254/latest/meta-data/", "/elsewhere", "https://example.com/"])
async def test_J16_a_redirect_is_not_followed(where: str) -> None:
    """Neither to a metadata service nor anywhere else; where it leads is told to no one."""
    seen = 0

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        writer.write(f"HTTP/1.1 307 Moved\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())

    async with answering(answer) as port:
        assert (await send(f"http://127.0.0.1:{port}/")).fault == "it answered 307; redirects are not followed"
    assert seen == 1


PLACES = (
    ("127.0.0.1", False), ("::1", False), ("10.0.0.1", False), ("169.254.169.254", False), ("0.0.0.0", False),
    ("::ffff:127.0.0.1", False), ("::ffff:a9fe:a9fe", False), ("64:ff9b::7f00:1", False), ("fd00::1", False),
    ("169.254.169.254", True), ("::ffff:169.254.169.254", True), ("fe80::1", True), ("0.0.0.0", True), ("::", True),
    ("100.100.100.200", True), ("fd00:ec2::254", True), ("224.0.0.1", True),
)  # fmt: skip


@pytest.mark.parametrize(("address", "private"), PLACES)
async def test_J16_a_name_that_leads_astray(address: str, private: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a public name resolves to is checked, also when only one of its addresses is amiss; no byte is sent."""
    connected: list[object] = []
    loop = asyncio.get_running_loop()

    def look_up(host: str, port: int, **_: object) -> list[Any]:
        def found(one: str) -> Any:
            family = socket.AF_INET6 if ":" in one else socket.AF_INET
            return family, socket.SOCK_STREAM, 6, "", (one, port)

        return [found("93.184.216.34"), found(address)]

    async def connect(_: socket.socket, where: object) -> None:
        connected.append(where)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(loop, "sock_connect", connect)
    outcome = await send("https://hooks.example.com/x", private=private)
    assert outcome.fault == "hooks.example.com leads to an address that webhooks may not reach"
    assert connected == []


async def test_J16_a_name_that_is_bound_anew(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked up once, and the connection goes to what was checked: a second answer is never asked for."""
    loop = asyncio.get_running_loop()
    answers, connected = iter(["93.184.216.34", "127.0.0.1", "169.254.169.254"]), []

    def look_up(host: str, port: int, **_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    async def connect(_: socket.socket, where: tuple[str, int]) -> None:
        connected.append(where[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(loop, "sock_connect", connect)
    assert (await send("https://hooks.example.com/", private=False)).fault.startswith("connection refused")
    assert connected == ["93.184.216.34"]


async def test_an_address_that_never_answers_is_not_the_only_one(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⚑ As where a host names IPv6 addresses that lead nowhere: the one that works was never tried."""
    loop, connected = asyncio.get_running_loop(), list[str]()
    really, port = loop.sock_connect, int(receiver.url.split(":")[2].partition("/")[0])

    def look_up(*_: object, **__: object) -> list[Any]:
        nowhere = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (f"fd00::{each}", port, 0, 0)) for each in range(1, 9)]
        return [*nowhere, (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def connect(one: socket.socket, where: tuple[str, int]) -> None:
        connected.append(where[0])
        if where[0] != "127.0.0.1":
            await asyncio.Event().wait()
        await really(one, where)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(loop, "sock_connect", connect)
    monkeypatch.setattr("watchword.hosts.EACH_SECONDS", 0.01)
    assert await send("http://hooks.example.com/x", seconds=60) == Outcome()
    assert connected == ["fd00::1", "127.0.0.1"]


async def test_a_machine_without_IPv6_takes_the_other_address(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(receiver.url.split(":")[2].partition("/")[0])

    class IPv4Only(socket.socket):
        def __init__(self, family: int = -1, *more: Any, **named: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *more, **named)

    def look_up(*_: object, **__: object) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "socket", IPv4Only)
    assert await send("http://hooks.example.com/x") == Outcome()


async def test_J17_a_name_server_that_never_answers(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds one thread of ours: not those by which others, and drivers of databases, look up theirs."""
    look_up, answers, asked = socket.getaddrinfo, threading.Event(), list[str]()

    def stuck(host: str, *more: Any, **named: Any) -> list[Any]:
        asked.append(host)
        if host == "stuck.example":
            answers.wait()
            raise OSError
        return look_up(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    sender, headers = HttpSender(seconds=20), HEADERS
    waiting = [
        asyncio.create_task(sender.send(Target("https://stuck.example/x"), headers, b"{}"))
        for _ in range(40)  # the loop has 32 threads at most
    ]
    try:
        await asyncio.sleep(0)
        assert await sender.send(Target(receiver.url, private=True), headers, b"{}") == Outcome()
        await asyncio.get_running_loop().getaddrinfo("localhost", 80)
        waiting[0].cancel()
        await asyncio.sleep(0)
    finally:
        answers.set()
    outcomes = await asyncio.gather(*waiting[1:])
    assert set(outcomes) == {Outcome("the name stuck.example does not resolve")}
    assert asked.count("stuck.example") == 1
    await sender.send(Target("https://stuck.example/x"), headers, b"{}")
    assert asked.count("stuck.example") == 2  # the next try asks anew


@pytest.mark.parametrize(
    ("path", "asked"),
    [("", "/"), ("?x=1", "/?x=1"), ("//evil/x?", "//evil/x"), ("/a/../b?u=//c", "/a/../b?u=//c"), ("/%0dx", "/%0dx")],
)
async def test_what_is_asked_for(path: str, asked: str) -> None:
    """The path is as it was given, and begins with a slash also where a query follows the host (RFC 9112 3.2.1)."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n"))
        writer.write(b"HTTP/1.1 204 Taken\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        assert await send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{path}") == Outcome()
    finally:
        server.close()
    assert seen == [f"POST {asked} HTTP/1.1\r\n".encode()]


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost.", "0"])
async def test_J16_other_spellings_of_this_machine(host: str, receiver: Receiver) -> None:
    """Where a spelling slips through to the system's look-up, the address that it gives is refused."""
    port = receiver.url.split(":")[2].split("/")[0]
    fault = (await send(f"https://{host}:{port}/", private=False)).fault
    assert "may not reach" in fault or "does not resolve" in fault
    assert receiver.got == []


@pytest.mark.parametrize("host", ["93.184.216.34", "hooks.internal"])
async def test_plain_http_never_goes_to_a_public_address(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where private networks are allowed, nor to a name that turns out to be public."""

    def look_up(_: str, port: int, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    fault = (await send(f"http://{host}/")).fault
    assert fault == f"{host} leads to a public address, where webhooks go by https only"


BROKEN = (
    (b"HTTP/1.1 200", "closed before an answer"),
    (b"", "closed before an answer"),
    (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
    (b"HTTP/2 200 OK\r\n\r\n", "not HTTP"),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 9, "interim"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", "headers are too long"),
)


@pytest.mark.parametrize(("text", "fault"), BROKEN)
async def test_an_answer_that_is_none(text: bytes, fault: str) -> None:
    """It is a failure like any other."""
    async with answering(saying(text)) as port:
        assert fault in (await send(f"http://127.0.0.1:{port}/")).fault


async def test_an_interim_answer_is_passed_over() -> None:
    """100 and 103 come before the answer."""
    async with answering(saying(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n")) as port:
        assert await send(f"http://127.0.0.1:{port}/") == Outcome()


async def test_J17_a_huge_answer_is_not_read() -> None:
    """Its status counts; of the rest little is read, and the connection is closed."""
    written = 0

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while written < 10**9:
            writer.write(b"x" * 65_536)
            await writer.drain()
            written += 65_536

    async with answering(answer) as port:
        assert await send(f"http://127.0.0.1:{port}/") == Outcome()
        await asyncio.sleep(0)
    assert written < 10**8


async def test_J17_a_slow_answer_is_given_up() -> None:
    """One that sends a byte now and then does not hold a sender longer than the deadline."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    async with answering(answer) as port:
        assert (await send(f"http://127.0.0.1:{port}/", seconds=0.4)).fault == "no answer within 0.4 seconds"


async def test_a_slow_rest_costs_a_second_at_most() -> None:
    """The status has come: it was taken."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(60)

    async with answering(answer) as port:
        assert await send(f"http://127.0.0.1:{port}/", seconds=30) == Outcome()


async def test_nothing_listens() -> None:
    """The reason is in words of ours, without the URL."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    assert (await send(f"http://127.0.0.1:{port}/x?token=y")).fault == "connection refused: nothing listens there"


async def test_certificates_are_verified(tmp_path: Path) -> None:
    """By name and by authority; a receiver with another certificate gets nothing."""
    authority, other = Authority(), Authority("other")
    trusting = ssl.create_default_context(cadata=authority.certificate.decode())
    for signed, url_host, fault in (
        (authority.signed("127.0.0.1"), "127.0.0.1", ""),
        (authority.signed("hooks.example.com"), "127.0.0.1", "certificate is not trusted"),
        (other.signed("127.0.0.1"), "127.0.0.1", "certificate is not trusted"),
    ):
        (tmp_path / "c.pem").write_bytes(signed.certificate + signed.key)
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(tmp_path / "c.pem")
        seen: list[bytes] = []

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: list[bytes] = seen) -> None:
            seen.append(b"a request")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

        async with answering(answer, ssl=serving) as port:
            outcome = await send(f"https://{url_host}:{port}/", tls=trusting)
        assert fault in outcome.fault
        assert bool(outcome.fault) == bool(fault)
        assert bool(seen) == (not fault)


async def test_plain_where_tls_is_wanted(receiver: Receiver) -> None:
    """It says what is amiss."""
    assert (await send(receiver.url.replace("http:", "https:"))).fault.startswith("TLS failed")


async def test_it_can_be_cancelled() -> None:
    """The service stops while a receiver keeps it waiting."""
    begun = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        begun.set()
        await reader.read(10_000)
        await reader.read(1)  # until the sender hangs up

    async with answering(answer) as port:
        task = asyncio.create_task(send(f"http://127.0.0.1:{port}/"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

"""The proxy does the harm that an experiment asks for, and no other."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from tests.reliability.proxy import Proxy, in_a_thread

BIG = bytes(range(256)) * 8_192  # 2 MiB


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """The port of a server that says everything again, until its client has said all."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def proxy(echo: int) -> AsyncIterator[Proxy]:
    async with Proxy(echo) as proxy:
        yield proxy


async def say(port: int, data: bytes) -> bytes:
    """On a connection of its own; what comes back until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        writer.write_eof()
        return await reader.read(-1)
    finally:
        writer.close()


async def test_it_changes_nothing(proxy: Proxy) -> None:
    """Every byte and the end arrive, in order, on many connections at once, with and without a delay."""
    assert await asyncio.gather(*[say(proxy.port, BIG) for _ in range(4)]) == [BIG] * 4
    proxy.delay(0.02)
    assert await say(proxy.port, BIG) == BIG
    assert proxy.accepted == 5
    assert not proxy._lines


async def test_it_delays_each_piece_and_not_one_after_the_other(proxy: Proxy) -> None:
    """Ten pieces, sent 20 ms apart and each 200 ms late, take 0.4 s and not 2 s."""
    proxy.asked.delay = 0.2
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    begun = time.monotonic()
    for n in range(10):
        writer.write(bytes([n]))
        await asyncio.sleep(0.02)
    assert await reader.readexactly(10) == bytes(range(10))
    assert time.monotonic() - begun >= 0.2
    assert proxy.asked.pieces >= 5
    assert time.monotonic() - begun < proxy.asked.pieces * 0.2
    writer.close()


@pytest.mark.parametrize("way", ["asked", "answers"])
async def test_it_swallows_one_way(proxy: Proxy, way: str) -> None:
    """What was lost does not come later, and an end that was lost is a reset once there is a way again."""
    getattr(proxy, way).swallows = True
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"lost")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)
    assert proxy.answers.pieces == (way == "answers")
    writer.write_eof()
    await asyncio.sleep(0.1)
    proxy.mend()
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(reader.read(1), 5)
    writer.close()
    assert await say(proxy.port, b"again") == b"again"


async def test_it_resets_a_share(proxy: Proxy) -> None:
    """A tenth both ways, of four pieces each (data and end): about a third of the connections; then none."""
    proxy.reset(0.1)
    found = [await asyncio.gather(say(proxy.port, b"x"), return_exceptions=True) for _ in range(200)]
    broken = [one for (one,) in found if one != b"x"]
    assert all(isinstance(one, ConnectionError) for one in broken)
    assert 30 <= len(broken) <= 110
    proxy.mend()
    assert [await say(proxy.port, b"x") for _ in range(20)] == [b"x"] * 20


async def test_it_cuts_and_refuses(proxy: Proxy) -> None:
    """Those there are reset, new ones refused; afterwards it is there again, on its port."""
    port = proxy.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await say(port, b"x")
    writer.write(b"alive")
    assert await reader.readexactly(5) == b"alive"
    proxy.cut()
    with pytest.raises(ConnectionError):
        await reader.read(1)
    writer.close()
    proxy.mend()
    assert await say(port, b"x") == b"x"


async def test_it_changes_its_server(proxy: Proxy, echo: int) -> None:
    """A server that is not there is a reset; then another one answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        proxy.to = probe.getsockname()[1]
    with pytest.raises(ConnectionError):
        await say(proxy.port, b"x")
    proxy.to = echo
    assert await say(proxy.port, b"x") == b"x"


async def test_it_is_used_from_another_thread(echo: int) -> None:
    """For tests without a loop."""

    def there() -> None:
        with in_a_thread(echo) as proxy:
            line = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
            with closing(line):
                line.sendall(b"x")
                assert line.recv(1) == b"x"
                proxy.refuse()
                proxy.cut()
                with pytest.raises(ConnectionError):
                    line.recv(1)
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
                proxy.mend()
                socket.create_connection(("127.0.0.1", proxy.port), timeout=5).close()

    await asyncio.to_thread(there)

"""What can be wrong with a PostgreSQL when the service starts: one line and one hint each, from a real process."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from tests.cli.conftest import Finished, Run, anew, run
from tests.postgres import Server, free_port, running
from tests.reliability.test_postgres_service import CLAIMED, SECRET, said

__all__ = ["run"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with few connections, one user who may not make tables, and one who is asked for a password."""
    with running(18, max_connections="8", superuser_reserved_connections="1") as server:
        server.sql("CREATE ROLE poor LOGIN")
        server.sql(f"CREATE ROLE ann LOGIN PASSWORD '{CLAIMED}-right'")
        server.sql("CREATE DATABASE app")
        server.sql("CREATE DATABASE readonly")
        server.sql("ALTER DATABASE readonly SET default_transaction_read_only = on")
        server.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        hba = server.data / "pg_hba.conf"
        trusting = hba.read_text()
        hba.write_text("host all ann 127.0.0.1/32 scram-sha-256\nhost all stranger 127.0.0.1/32 reject\n" + trusting)
        server.reload()
        yield server


def refused(run: Run, url: str, *more: str) -> str:
    """What `serve` says; it has ended with an exit code for it."""
    secret = {"WATCHWORD_DATABASE_URL": url, "WATCHWORD_SECRET": SECRET}  # a bare one may be another program's
    return one_line(run("serve", "--port", str(free_port()), *more, **secret))


def one_line(ended: Finished) -> str:
    text = said(ended)
    assert ended.code in {1, 78}, text
    assert [line.partition(":")[0] for line in text.splitlines()] == ["error", "hint"], text
    return text


@pytest.mark.parametrize(
    ("url", "error", "hint"),
    [
        ("mysql://ann:{pw}@{address}/app", "'mysql' is not a database", "postgresql://user:password@host"),
        ("postgresql://ann:{pw}@no-such-host.invalid/app", "not available", "its host and port"),
        ("postgresql://ann:{pw}@127.0.0.1:1/app", "not available", "its host and port"),
        ("postgresql://ann:{pw}@127.0.0.1:http/app", "host or port", "postgresql://user"),
        ("postgresql://postgres:{pw}@{address}/absent", "does not have (absent)", "createdb absent"),
        ("postgresql://no_one:{pw}@{address}/app", 'role "no_one" does not exist', "the user and the password"),
        ("postgresql://ann:{pw}@{address}/app", "password authentication failed", "the user and the password"),
        ("postgresql://ann@{address}/app", "password", "the user and the password"),
        ("postgresql://stranger:{pw}@{address}/app", "rejects connection", "pg_hba.conf"),
        ("postgresql://postgres:{pw}@{address}/app?sslmode=require", "TLS", "switch on its ssl"),
        ("postgresql://postgres:{pw}@{address}/app?sslmode=on", "another sslmode", "verify-full"),
        ("postgresql://postgres:{pw}@{address}/latin", "in LATIN1", "createdb -E UTF8"),
        ("postgresql://postgres:{pw}@{address}/readonly", "read-only", "only reads"),
        ("postgresql://postgres:{pw}@{address},{address}/readonly", "not available", "only reads"),
        ("postgresql://poor:{pw}@{address}/app", "permission denied for schema public", "GRANT CREATE ON SCHEMA"),
    ],
)
def test_a_wrong_url(run: Run, server: Server, url: str, error: str, hint: str) -> None:
    """Each says what is wrong and what to do, and never the password."""
    text = refused(run, url.format(pw=CLAIMED, address=f"127.0.0.1:{server.port}"))
    first, second = text.splitlines()
    assert error in first
    assert hint in second


def test_several_workers_say_it_once(run: Run, server: Server) -> None:
    """Before any of them starts."""
    url = f"postgresql://postgres:{CLAIMED}@127.0.0.1:{server.port}/absent"
    assert "createdb absent" in refused(run, url, "--workers", "2")


def test_a_server_without_a_free_connection(run: Run, server: Server) -> None:
    """It names both numbers that can be changed."""

    async def full() -> str:
        held = []
        with suppress(asyncpg.TooManyConnectionsError):
            while True:
                held.append(await asyncpg.connect(server.url()))
        try:
            return await asyncio.to_thread(refused, run, server.url("app"))
        finally:
            for each in held:
                await each.close()

    text = asyncio.run(full())
    assert "max_connections" in text
    assert "pool_size" in text


@contextmanager
def answering(*messages: bytes) -> Iterator[int]:
    """A port on which everyone who says something is told this."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    stack.enter_context(connection)
                    for message in messages:
                        connection.recv(4096)
                        connection.sendall(message)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def message(kind: bytes, content: bytes) -> bytes:
    """A message of PostgreSQL's protocol."""
    return kind + struct.pack("!i", len(content) + 4) + content


def test_a_server_that_is_too_old(run: Run) -> None:
    """Told by the version with which every server greets; this one is made up."""
    greeting = (
        message(b"R", struct.pack("!i", 0))
        + message(b"S", b"server_version\x0013.23\x00")
        + message(b"S", b"client_encoding\x00UTF8\x00")
        + message(b"K", struct.pack("!ii", 1, 1))
        + message(b"Z", b"I")
    )
    with answering(b"N", greeting) as port:
        text = refused(run, f"postgresql://u:{CLAIMED}@127.0.0.1:{port}/app")
    assert "PostgreSQL 13.23" in text
    assert "14 or newer" in text


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 smtp\r\n"])
def test_a_server_of_another_kind(run: Run, answer: bytes) -> None:
    """Something else listens there."""
    with answering(answer, answer) as port:
        text = refused(run, f"postgresql://u:{CLAIMED}@127.0.0.1:{port}/app")
    assert "port" in text


def test_without_the_driver(tmp_path: Path, server: Server) -> None:
    """It says what to install."""
    program = "import sys; sys.modules['asyncpg'] = None; from watchword.cli import main; main()"
    assert "[server,postgres]" in refused(anew([sys.executable, "-c", program], tmp_path), server.url("app"))

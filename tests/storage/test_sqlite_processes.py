"""Several processes on one file, and a process that dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from watchword.storage.migrate import migrate
from watchword.storage.sqlite import SQLite

pytestmark = pytest.mark.anyio

PUT = "INSERT INTO ww_meta (name, value) VALUES (:name, 'x')"

WRITER = """
import asyncio, os, sys
from pathlib import Path
from watchword.storage.sqlite import SQLite

PUT = "INSERT INTO ww_meta (name, value) VALUES (:name, 'x')"

async def requester(database, name):
    n = 0
    while True:
        await database.run(PUT, name=f"{name}.{n}")
        os.write(1, f"{name}.{n}\\n".encode())  # the acknowledgement, unbuffered
        n += 1

async def main():
    database = await SQLite.open(Path(sys.argv[1]), processes=int(sys.argv[2]))
    await asyncio.gather(*[requester(database, f"{os.getpid()}.{n}") for n in range(16)])

asyncio.run(main())
"""


def writer(path: Path, *, processes: int) -> subprocess.Popen[bytes]:
    """A process that writes as fast as it can and prints each name once it is acknowledged."""
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(processes)], stdout=subprocess.PIPE)


def kill(child: subprocess.Popen[bytes]) -> list[str]:
    """Kill -9; the names that were acknowledged in full."""
    child.send_signal(signal.SIGKILL)
    out, _ = child.communicate(timeout=120)
    return [line.decode() for line in out.split(b"\n")[:-1]]


async def test_what_was_acknowledged_survives_a_kill(database: SQLite, path: Path) -> None:
    """Killed in the middle of its work, a process leaves every row that it had answered for, and a sound file."""
    await database.close()
    child = writer(path, processes=1)
    assert child.stdout is not None
    first = child.stdout.readline()
    await asyncio.sleep(0.4)
    acknowledged = [first.decode().strip(), *kill(child)]
    assert len(acknowledged) > 20
    reopened = await SQLite.open(path)
    stored = {row["name"] for row in await reopened.scan("SELECT name FROM ww_meta")}
    assert [name for name in acknowledged if name not in stored] == []
    assert [row[0] for row in await reopened.scan("PRAGMA integrity_check")] == ["ok"]
    await reopened.close()


async def test_two_processes_take_turns(path: Path) -> None:
    """Beside a process that never stops writing, ours is answered soon (p99), and its loop is never held up."""
    database = await SQLite.open(path, processes=2)
    await migrate(database, now=1)
    child = writer(path, processes=2)
    assert child.stdout is not None
    os.set_blocking(child.stdout.fileno(), True)
    child.stdout.readline()
    drained = asyncio.get_running_loop().run_in_executor(
        None, lambda: len(child.stdout.read() if child.stdout else b"")
    )
    stored = 0
    try:
        while stored < 30:  # each raises when the neighbour leaves no gap for as long as one waits
            await database.run(PUT, name=f"ours {stored}")
            stored += 1
            await asyncio.sleep(0.002)
    finally:
        child.kill()
        await drained
        child.wait()
        child.stdout.close()
    await database.close()


async def test_one_process_sees_what_another_committed(database: SQLite, path: Path) -> None:
    """Another's commit is there at the next read, and `changed` tells of it."""
    await database.changed()
    assert not await database.changed()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("INSERT INTO ww_meta (name, value) VALUES ('theirs', 'x')")
    assert await database.changed()
    assert await database.one("SELECT 1 FROM ww_meta WHERE name = 'theirs'") is not None


async def test_many_open_a_new_file_at_once(path: Path) -> None:
    """Eight connections make the same new file at the same moment; none finds it busy."""
    opened = await asyncio.gather(*[SQLite.open(path, processes=8) for _ in range(8)])
    await asyncio.gather(*[migrate(database, now=1) for database in opened])
    await asyncio.gather(*[database.run(PUT, name=str(n)) for n, database in enumerate(opened)])
    rows = await opened[0].all("SELECT count(*) FROM ww_meta")
    assert rows[0][0] == 8
    for database in opened:
        await database.close()

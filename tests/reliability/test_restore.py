"""A backup is restored wholly or not at all: beside a service that is being stopped, and killed at each step."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.e2e.client import PASSWORD
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED, Server
from tests.e2e.test_backup import Registering

ROUNDS = 20
PATIENCE = 60


def users(file: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(file)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {name for (name,) in database.execute("SELECT username FROM ww_users")}


def _register(server: Server, name: str) -> None:
    answer = httpx2.post(f"{server.url}/register", json={"username": name, "password": PASSWORD})
    assert answer.status_code == 201, answer.text


def _refused(port: int) -> bool:
    """Whether a connection is refused: what a script looks at that waits for a service to end."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _restored_when_the_port_is_free(server: Server, backup: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _refused(server.port):
        assert time.monotonic() < deadline
    done = server.command("restore", str(backup), "--yes")
    assert done.returncode == 0, done.stderr


def _restored_sooner_or_later(server: Server, backup: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while (done := server.command("restore", str(backup), "--yes")).returncode != 0:
        assert "is in use by another process" in done.stderr, done.stderr
        assert time.monotonic() < deadline


@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", [_restored_when_the_port_is_free, _restored_sooner_or_later])
def test_20_rounds_against_a_service_that_is_being_stopped(
    serve: Serve, tmp_path: Path, way: Callable[[Server, Path], None]
) -> None:
    """After each, the backup's users are there and no other, however much the service was writing when it was told."""
    server = serve(**UNLIMITED)
    _register(server, "ada")
    backup = tmp_path / "backup.db"
    assert server.command("backup", str(backup)).returncode == 0
    wrong = []
    for number in range(ROUNDS):
        with contextlib.suppress(AssertionError, httpx2.HTTPError), Registering(server.url) as people:
            people.wait_for(5)
        assert server._process is not None
        server._process.terminate()
        way(server, backup)
        server._process.wait(PATIENCE)
        if (there := users(server.data / "watchword.db")) != {"ada"}:
            wrong.append((number, there))
        server.start()
    assert wrong == []


def _with_a_log(file: Path) -> None:
    """A last commit that lies in the log only, as after a power cut."""
    if os.fork() == 0:
        database = sqlite3.connect(file, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("UPDATE ww_users SET username = 'eve' WHERE username = 'bob'")
        os._exit(0)
    os.wait()


def _killed_at(step: int, folder: Path, backup: Path) -> bool:
    """Restore in a process of its own that dies before its n-th access to the folder; whether it came to its end."""
    child = os.fork()
    if child == 0:
        _die_at(step, str(folder))
        from watchword.cli.program import run

        code = run(["restore", str(backup), "--yes", "--json", "--data-dir", str(folder)])
        os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 99)
    return code == 0


def _die_at(step: int, folder: str) -> None:
    import sys

    left = step

    def look(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        touched = any(isinstance(each, str | os.PathLike) and folder in os.fspath(each) for each in arguments)
        if touched or event == "fcntl.flock":
            left -= 1
            if left == 0:
                os._exit(99)

    sys.addaudithook(look)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the life of this process


@pytest.mark.timeout(900)
def test_killed_at_each_step(serve: Serve, tmp_path: Path) -> None:
    """The name stands for the whole former database or for the restored one, and the former is always there."""
    server = serve()
    backup, made = tmp_path / "backup.db", tmp_path / "made"
    _register(server, "ada")
    assert server.command("backup", str(backup)).returncode == 0
    _register(server, "bob")
    server.stop()
    shutil.copytree(server.data, made)
    _with_a_log(made / "watchword.db")
    seen = set()
    for step in range(1, 10_000):
        folder = tmp_path / "here"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made, folder)
        over = _killed_at(step, folder, backup)
        there = frozenset(users(folder / "watchword.db"))
        seen.add(there)
        if there != {"ada", "eve"}:
            assert there == {"ada"}
            (former,) = (each for each in folder.glob("watchword.db.2*") if not each.name.endswith(("-wal", "-shm")))
            assert users(former) == {"ada", "eve"}
            with contextlib.closing(sqlite3.connect(folder / "watchword.db")) as database:
                assert database.execute("SELECT 1 FROM ww_audit WHERE event = 'database_restored'").fetchone()
        if over:
            break
    assert step > 20
    assert seen == {frozenset({"ada", "eve"}), frozenset({"ada"})}
    assert not [each for each in folder.iterdir() if "restoring" in each.name]

"""A backup made while people register holds everybody who was told that he is in."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import stat
import threading
from pathlib import Path
from typing import Self

import httpx2

from tests.e2e.client import PASSWORD
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED, Server


class Registering:
    """Two clients that register one name after another, and remember who was acknowledged."""

    def __init__(self, url: str) -> None:
        self.acknowledged: dict[str, str] = {}
        self._url = url
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(2)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        with httpx2.Client(base_url=self._url, timeout=120) as client:
            count = 0
            while not self._over.is_set():
                name = f"person{number}x{count}"
                answer = client.post("/register", json={"username": name, "password": PASSWORD})
                assert answer.status_code == 201, answer.text
                self.acknowledged[name] = answer.json()["id"]
                count += 1

    def wait_for(self, more: int) -> dict[str, str]:
        """Who has been acknowledged, once there are so many more."""
        wanted = len(self.acknowledged) + more
        while len(self.acknowledged) < wanted:
            assert all(thread.is_alive() for thread in self._threads)
            self._over.wait(0.01)
        return dict(self.acknowledged)


def held(file: Path) -> dict[str, str]:
    """Every user in a backup, read from the file by SQLite alone."""
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return dict(database.execute("SELECT username, id FROM ww_users"))


def restored(backup: Path, server: Server, folder: Path) -> Path:
    """A folder with the backup and the secret in their places."""
    data = folder / "data"
    data.mkdir(parents=True)
    shutil.copy(backup, data / "watchword.db")
    shutil.copy(server.data / "master.secret", data / "master.secret")
    return folder


def test_a_backup_under_writes_holds_whoever_was_acknowledged(serve: Serve, tmp_path: Path) -> None:
    """Three in a row, each of one moment; the last is a service again, in which one logs in."""
    server = serve(**UNLIMITED)
    with Registering(server.url) as people:
        for number in range(3):
            before = people.wait_for(5)
            file = tmp_path / f"backup{number}.db"
            done = server.command("backup", str(file))
            assert done.returncode == 0, done.stderr
            assert before.items() <= held(file).items()
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert "master.secret" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"backup{number}.db" for number in range(3)]
    assert held(file).items() <= people.acknowledged.items()
    server.stop()
    again = serve(folder=restored(file, server, tmp_path / "again"))
    name = next(iter(before))
    answer = httpx2.post(f"{again.url}/login", json={"username": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text

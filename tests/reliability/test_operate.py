"""What docs/guides/operate.md tells an operator to type, typed as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.client import PASSWORD, Client, bearer
from tests.e2e.server import COMMAND, Server, clean_environment
from tests.postgres import NOBODY, binaries, running
from tests.postgres import Server as Postgres

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
SECRET = "cG9zdGdyZXMgdGVzdHMgbmVlZCBhIHNlY3JldCwgdG9vIQ"
OTHER = "YW5vdGhlciBpbnN0YWxsYXRpb24gd2l0aCBpdHMgb3duIQ"
Serve = Callable[..., Server]


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a guide in a language, also those in a list."""
    text = (GUIDES / page).read_text("utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


DUMP, BASE, RESTORE = blocks("operate.md", "sh")
(LOST,) = blocks("operate.md", "sql")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running(18, wal_level="replica", max_wal_senders="4") as one:
        yield one


@pytest.fixture
def shell(tmp_path: Path, postgres: Postgres) -> Callable[..., None]:
    """Types lines into a shell that has the programs of PostgreSQL and ours, and the variables of the guide."""

    def typed(text: str, **more: str) -> None:
        path = f"{binaries(18)}:{COMMAND.parent}:{os.environ['PATH']}"
        told = {**clean_environment(), "PATH": path, "SERVER": postgres.url(), **more}
        done = subprocess.run(
            ["sh", "-eu"], cwd=tmp_path, env=told, input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return typed


def history(client: Client) -> tuple[str, str, str]:
    """Someone whose session is alive in the backup, and ends after it: name, access token, refresh token."""
    name = client.register()["username"]
    granted = client.grant(name)
    return name, granted["access_token"], granted["refresh_token"]


def all_over_again(client: Client, known: tuple[str, str, str]) -> None:
    """Everything from before is refused, and everyone who was there logs in again."""
    name, access, refresh = known
    assert client.get("/profile", headers=bearer(access)).status_code == 401
    answer = client.post("/token", data={"grant_type": "refresh_token", "refresh_token": refresh})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    token = client.log_in(name, PASSWORD)
    assert client.get("/profile", headers=bearer(token)).json()["username"] == name


def test_dump_and_restore(serve: Serve, postgres: Postgres, shell: Callable[..., None]) -> None:
    """`pg_dump` while it runs, `pg_restore` into an empty database, and what was ended since stays ended."""
    postgres.sql("CREATE DATABASE dumped")
    restored = {"RESTORED": postgres.url("restored"), "WATCHWORD_SECRET": SECRET}
    service = serve(DATABASE_URL=postgres.url("dumped"), WATCHWORD_SECRET=SECRET)
    with service.client() as client:
        known = history(client)
        shell(DUMP, DATABASE=postgres.url("dumped"))
        assert client.post("/logout", headers=bearer(known[1])).status_code == 204
    service.stop()
    shell(RESTORE, **restored)
    again = serve(DATABASE_URL=restored["RESTORED"], WATCHWORD_SECRET=SECRET)
    with again.client() as client:
        all_over_again(client, known)


def test_a_copy_of_the_whole_server(
    serve: Serve, postgres: Postgres, shell: Callable[..., None], tmp_path: Path
) -> None:
    """`pg_basebackup` while it runs; a server on the copy; the last line of the restore."""
    postgres.sql("CREATE DATABASE copied")
    service = serve(DATABASE_URL=postgres.url("copied"), WATCHWORD_SECRET=SECRET)
    with service.client() as client:
        known = history(client)
        shell(BASE)
        assert client.post("/logout", headers=bearer(known[1])).status_code == 204
    service.stop()
    with Copied(tmp_path / "backup") as copy:
        url = copy.url("copied")
        shell(RESTORE.splitlines()[-1], RESTORED=url, WATCHWORD_SECRET=SECRET)
        again = serve(DATABASE_URL=url, WATCHWORD_SECRET=SECRET)
        with again.client() as client:
            all_over_again(client, known)
        again.stop()


class Copied:
    """A server on a copied data directory."""

    def __init__(self, data: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="watchword-copied-"))
        shutil.move(data, self._folder / "data")
        self._server = Postgres(self._folder, 18)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self._folder.chmod(0o755)
            for path in (self._server.data, *self._server.data.rglob("*")):
                os.chown(path, NOBODY, NOBODY)

    def __enter__(self) -> Postgres:
        self._server.start()
        return self._server

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_the_master_secret_is_lost(serve: Serve, postgres: Postgres, engine: str) -> None:
    """Without it nothing starts. Then the guide's statements, a new secret, and everyone logs in again."""
    name = f"lost_{time.monotonic_ns()}"
    postgres.sql(f"CREATE DATABASE {name}")
    settings = {} if engine == "sqlite" else {"DATABASE_URL": postgres.url(name), "WATCHWORD_SECRET": SECRET}
    service = serve(**settings)
    with service.client() as client:
        known = history(client)
    hook = ("webhooks", "add", "https://hooks.example.com/")
    assert service.command(*hook).returncode == 0
    service.stop()
    if engine == "sqlite":
        (service.data / "master.secret").unlink()
        with pytest.raises(AssertionError, match=r"master\.secret is missing"):
            service.start()
        with sqlite3.connect(service.data / "watchword.db") as connection:
            connection.executescript(LOST)
        connection.close()
    else:
        with pytest.raises(AssertionError, match="made under another master secret"):
            serve(folder=service.folder, **{**settings, "WATCHWORD_SECRET": OTHER})
        postgres.sql(LOST, name)
        service = Server(service.folder, **{**settings, "WATCHWORD_SECRET": OTHER}, WATCHWORD_LOG_LEVEL="info")
        service.stop()
    done = service.command("db", "restored", "--yes")
    assert done.returncode == 0, done.stderr
    service.start()
    with service.client() as client:
        all_over_again(client, known)
    assert service.command(*hook).returncode == 0, "it was taken out, and can be added again"
    service.stop()

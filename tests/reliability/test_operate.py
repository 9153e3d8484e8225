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
from contextlib import closing
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


DOCKER_BACKUP, DUMP, DOCKER_DUMP, BASE, DOCKER_RESTORE, RESTORE, DOCKER_LOAD = blocks("operate.md", "sh")
(LOST,) = blocks("operate.md", "sql")


# A container is a folder here, and PostgreSQL's is the machine: `docker compose --file FILE VERB …` as Docker does it.
DOCKER = """#!/bin/sh
test "$1 $2" = "compose --file" && test -n "$3" && shift 3
verb=$1; shift
case $verb in
    exec | run)
        while test "${1#-}" != "$1"; do shift; done
        shift; cd "$CONTAINER"; exec "$@" ;;
    cp) cp "$CONTAINER/${1#*:/var/lib/watchword/}" "$2" ;;
    stop | up) ;;
    *) exit 64 ;;
esac
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running(18, wal_level="replica", max_wal_senders="4") as one:
        one.sql("CREATE ROLE watchword LOGIN CREATEDB")
        yield one


@pytest.fixture
def shell(tmp_path: Path, postgres: Postgres) -> Callable[..., str]:
    """Types lines into a shell that has the programs of PostgreSQL and ours. The guide's server is the test's."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)

    def typed(text: str, **more: str) -> str:
        path = f"{tmp_path}/bin:{binaries(18)}:{COMMAND.parent}:{os.environ['PATH']}"
        told = {**clean_environment(), "PATH": path, "PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), **more}
        here = text.replace("@db.internal/", f"@127.0.0.1:{postgres.port}/")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eu"], cwd=tmp_path, env=told, input=here, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

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


def test_dump_and_restore(serve: Serve, postgres: Postgres, shell: Callable[..., str], tmp_path: Path) -> None:
    """`pg_dump` while it runs, `pg_restore` into an empty database, and what was ended since stays ended."""
    postgres.sql("CREATE DATABASE watchword OWNER watchword")
    service = serve(DATABASE_URL=postgres.url("watchword", "watchword"), WATCHWORD_SECRET=SECRET)
    with service.client() as client:
        known = history(client)
        shell(DUMP)
        assert (tmp_path / "watchword.dump").stat().st_mode & 0o077 == 0, "it holds password hashes"
        assert client.post("/logout", headers=bearer(known[1])).status_code == 204
    service.stop()
    shell(RESTORE, WATCHWORD_SECRET=SECRET)
    again = serve(DATABASE_URL=postgres.url("restored", "watchword"), WATCHWORD_SECRET=SECRET)
    with again.client() as client:
        all_over_again(client, known)
    again.stop()
    postgres.sql("DROP DATABASE watchword")


def test_dump_and_restore_in_docker(
    serve: Serve, postgres: Postgres, shell: Callable[..., str], tmp_path: Path
) -> None:
    """The same by `docker compose exec`: the database keeps its name, and the former one is beside it."""
    postgres.sql("CREATE DATABASE watchword OWNER watchword")
    settings = {"DATABASE_URL": postgres.url("watchword", "watchword"), "WATCHWORD_SECRET": SECRET}
    service = serve(**settings)
    told = {**settings, "CONTAINER": str(service.folder)}
    with service.client() as client:
        known = history(client)
        shell(DOCKER_DUMP, **told)
        assert (tmp_path / "watchword.dump").stat().st_mode & 0o077 == 0
        assert client.post("/logout", headers=bearer(known[1])).status_code == 204
    service.stop()
    shell(DOCKER_LOAD, **told)
    again = serve(**settings)
    with again.client() as client:
        all_over_again(client, known)
    again.stop()
    for name in ("watchword", "watchword_before"):
        postgres.sql(f"DROP DATABASE {name}")


def test_backup_and_restore_in_docker(serve: Serve, shell: Callable[..., str], tmp_path: Path) -> None:
    """Into the volume and out of it, and back by stdin, so that the service's user owns it; no copy stays there."""
    service = serve()
    inside = {"CONTAINER": str(service.data), "WATCHWORD_DATA_DIR": str(service.data)}
    with service.client() as client:
        known = history(client)
        shell(DOCKER_BACKUP, **inside)
        (copy,) = tmp_path.glob("watchword-*.db")
        assert client.post("/logout", headers=bearer(known[1])).status_code == 204
    service.stop()
    copy.rename(tmp_path / "backup.db")
    shell(DOCKER_RESTORE, **inside)
    assert not (service.data / "backup.db").exists()
    service.start()
    with service.client() as client:
        all_over_again(client, known)


def test_a_copy_of_the_whole_server(
    serve: Serve, postgres: Postgres, shell: Callable[..., str], tmp_path: Path
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
        shell("watchword db restored --yes", WATCHWORD_DATABASE_URL=url, WATCHWORD_SECRET=SECRET)
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
        with closing(sqlite3.connect(service.data / "watchword.db")) as connection, connection:
            connection.executescript(LOST)
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

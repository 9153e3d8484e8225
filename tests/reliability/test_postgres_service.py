"""The service and the commands on PostgreSQL: two that share a database, and every command."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.conftest import Finished, Run, run
from tests.e2e.client import Client, bearer
from tests.e2e.server import Server
from tests.postgres import Server as Postgres
from tests.postgres import running

__all__ = ["run"]
SECRET = "cG9zdGdyZXMgdGVzdHMgbmVlZCBhIHNlY3JldCwgdG9vIQ"
CLAIMED = "hunter2"
Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server that may be stopped."""
    with running(16, fsync="on") as server:
        yield server


@pytest.fixture
def url(postgres: Postgres) -> str:
    """An empty database."""
    name = f"app_{time.monotonic_ns()}"
    postgres.sql(f"CREATE DATABASE {name}")
    return postgres.url(name)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def given(url: str) -> dict[str, str]:
    return {"DATABASE_URL": url, "WATCHWORD_SECRET": SECRET}


def said(ended: Finished) -> str:
    assert CLAIMED not in ended.out + ended.err
    assert "Traceback" not in ended.err
    return ended.err


def test_two_services_share_one_database(serve: Serve, url: str) -> None:
    """What one has issued the other accepts and refuses, and limits are counted together, with one worker each."""
    settings = {**given(url), "WATCHWORD_PUBLIC_URL": "http://127.0.0.1:4000", "WATCHWORD_LOGIN_LIMIT": "3/15m"}
    one, two = serve(**settings), serve(**settings)
    with Client(one.origin, inspected=False) as here, Client(two.origin, inspected=False) as there:
        name = here.register()["username"]
        token = here.log_in(name)
        assert there.get("/profile", headers=bearer(token)).status_code == 200
        assert here.post("/logout", headers=bearer(token)).status_code == 204
        give_up_at = time.monotonic() + 60
        while there.get("/profile", headers=bearer(token)).status_code != 401:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        for client in (here, there):
            client.cookies.clear()  # that of a known device, for which limits are counted apart
        wrong = {"username": name, "password": "wrong-wrong-wrong"}
        answers = [client.post("/login", json=wrong).status_code for client in (here, there, here, there)]
        assert answers == [401, 401, 401, 429]


def test_commands(run: Run, url: str, postgres: Postgres) -> None:
    """They make no tables unless they are to, and do on PostgreSQL what they do on SQLite."""
    missing = run("users", "list", **given(url))
    assert missing.code == 3
    assert "there is no database at 127.0.0.1" in said(missing)
    made = run("migrate", **given(url))
    assert made.code == 0, made.err
    assert "the database is a new one, at 127.0.0.1" in said(made)
    create = run("users", "create", "ann", "--password-stdin", stdin="plum-orbit-canvas\n", **given(url))
    assert create.code == 0, create.err
    assert "ann" in run("users", "list", "--search", "AN", **given(url)).out
    assert (
        run("users", "roles", "ann", "--add", "admin", **given(url)).code
        == run("users", "disable", "ann", **given(url)).code
        == 0
    )
    assert run("keys", "list", **given(url)).code == 0
    for command in (["backup", "copy.db"], ["restore", "copy.db", "--yes"]):
        ended = run(*command, **given(url))
        assert ended.code == 2
        assert "PostgreSQL" in said(ended)
        assert "pg_" in said(ended)


def test_wrong_urls(run: Run, url: str, postgres: Postgres, tmp_path: Path) -> None:
    """One clear line with a hint each, never a traceback, and never the password."""
    address, name = f"127.0.0.1:{postgres.port}", url.rpartition("/")[2]
    for wrong, line in (
        (f"postgresql://postgres:{CLAIMED}@{address}/absent", "createdb absent"),
        (f"postgresql://postgres:{CLAIMED}@127.0.0.1:1/{name}", "check that the server runs"),
        (f"postgresql://postgres:{CLAIMED}@{address}/{name}?sslmode=require", "TLS"),
        (f"postgresql://postgres:{CLAIMED}@{address}", "names no database"),
    ):
        ended = run("migrate", **given(wrong))
        assert ended.code in {1, 78}
        assert line in said(ended)
        assert "hint:" in ended.err
        assert ended.err.count("\n") == 2
    postgres.sql("CREATE TABLE ww_schema (version BIGINT, name TEXT); INSERT INTO ww_schema VALUES (99, 'later')", name)
    ended = run("migrate", **given(url))
    assert "Install the newer version" in said(ended)

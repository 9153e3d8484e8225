"""A database that is not this installation's: one clear line with a hint, on both engines, and never a traceback."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import asyncpg
import httpx2
import pytest

from tests.cli.conftest import COMMAND, Finished, Run, Serve, environment, port, run, serve
from tests.postgres import Databases, free_port

__all__ = ["port", "run", "serve"]

ONE = "cG9zdGdyZXMgdGVzdHMgbmVlZCBhIHNlY3JldCwgdG9vIQ"
OTHER = "YW5vdGhlciBpbnN0YWxsYXRpb24gd2l0aCBpdHMgb3duIQ"
_NEWER = "INSERT INTO ww_schema (version, name, applied_at) VALUES (99, 'later', 1)"

# What was done to the database: after `watchword migrate` or before anything, then the line and the hint.
STRANGE = {
    "newer": (True, _NEWER, "Install the newer version", "put back the backup"),
    "another version table": (False, "CREATE TABLE ww_schema (id TEXT)", "another program's", "another database"),
    "its versions are no numbers": (
        False,
        "CREATE TABLE ww_schema (version TEXT, name TEXT); INSERT INTO ww_schema VALUES ('1.2', 'x')",
        "another program's",
        "another database",
    ),
    "its versions have other names": (
        False,
        "CREATE TABLE ww_schema (version BIGINT, name TEXT); INSERT INTO ww_schema VALUES (1, 'x')",
        "has not applied migration 0001_foundation",
        "another database",
    ),
    "a table of our name": (False, "CREATE TABLE ww_users (id TEXT)", "Migration 0001_foundation", "another database"),
    "a view of our name": (
        False,
        "CREATE VIEW ww_schema AS SELECT 1 AS version, 'foundation' AS name",
        "no table ww_meta",
        "whole backup",
    ),
    "restored without one table": (True, "DROP TABLE ww_sessions", "no table ww_sessions", "whole backup"),
    "restored without its secret's mark": (True, "DROP TABLE ww_meta", "no table ww_meta", "whole backup"),
    "made for another secret": (
        True,
        "UPDATE ww_meta SET value = 'x' WHERE name = 'master_check'",
        "made under another master secret",
        "start with the secret",
    ),
}


class Place:
    """A database of either engine: the settings that name it, and a way to do something to it."""

    def __init__(self, settings: dict[str, str], do: Callable[[str], None]) -> None:
        self.settings = settings
        self.do = do


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path, postgres: Callable[[int], Databases]) -> Place:
    """An empty one."""
    if request.param == "sqlite":
        folder = tmp_path / "data"
        folder.mkdir(mode=0o700)

        def in_file(text: str) -> None:
            file = folder / "watchword.db"
            with closing(sqlite3.connect(file)) as connection, connection:
                connection.executescript(text)
            file.chmod(0o600)

        return Place({"WATCHWORD_DATA_DIR": str(folder), "WATCHWORD_SECRET": ONE}, in_file)
    url = asyncio.run(postgres(18).make())
    request.addfinalizer(lambda: asyncio.run(postgres(18).drop(url)))  # noqa: PT021 - only on this engine
    return Place({"DATABASE_URL": url, "WATCHWORD_SECRET": ONE}, lambda text: asyncio.run(_executed(url, text)))


async def _executed(url: str, text: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(text)
    finally:
        await connection.close()


def one_line(ended: Finished, says: str, hint: str) -> None:
    """It failed, with a line and a hint."""
    assert ended.code in {1, 78}, ended.out + ended.err
    assert ended.err.count("\n") == 2, ended.err
    line, advice = ended.err.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert advice.startswith("hint: ")
    assert hint in advice


@pytest.mark.parametrize("case", STRANGE)
def test_the_start_refuses(place: Place, run: Run, port: int, case: str) -> None:
    """The service and the commands, and neither changes anything: a second try says the same."""
    ours, text, says, hint = STRANGE[case]
    if ours:
        assert run("migrate", **place.settings).code == 0
    place.do(text)
    for command in (["serve", "--port", str(port)], ["migrate"], ["serve", "--port", str(port)]):
        one_line(run(*command, **place.settings), says, hint)


@pytest.mark.parametrize("text", [_NEWER, "ALTER TABLE ww_schema RENAME TO gone"], ids=["newer", "gone"])
def test_readiness_tells(place: Place, serve: Serve, text: str) -> None:
    """A service that runs says so by `migrations`, and goes on answering for its process."""
    service = serve(**place.settings)
    place.do(text)
    give_up_at = time.monotonic() + 60
    while (answer := httpx2.get(f"{service.url}/readyz")).status_code == 200:
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
    checks = answer.json()["checks"]
    assert [name for name, works in checks.items() if not works] == ["migrations"]
    assert service.get("/livez") == 200
    assert "Traceback" not in service.stop().err


def test_two_installations_with_different_secrets(place: Place, run: Run, serve: Serve) -> None:
    """The second one is refused and changes nothing; the first goes on, and starts again."""
    service = serve(**place.settings)
    other = {**place.settings, "WATCHWORD_SECRET": OTHER}
    for command in (["serve", "--port", str(free_port())], ["migrate"], ["keys", "list"], ["users", "list"]):
        one_line(run(*command, **other), "made under another master secret", "start with the secret")
    assert service.get("/readyz") == 200
    assert service.stop().code == 0
    assert serve(**place.settings).get("/readyz") == 200


def test_they_start_at_once(place: Place, tmp_path: Path) -> None:
    """On an empty database one becomes the owner, and the other is refused. Six times two processes."""
    secrets = [ONE, OTHER] * 3

    def start(secret: str) -> Finished:
        told = {**environment(**place.settings), "WATCHWORD_SECRET": secret}
        done = subprocess.run(
            [*COMMAND, "migrate"], cwd=tmp_path, env=told, capture_output=True, text=True, check=False, timeout=120
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    with ThreadPoolExecutor(len(secrets)) as pool:
        ended = list(pool.map(start, secrets))
    owners = {secret for secret, each in zip(secrets, ended, strict=True) if each.code == 0}
    assert len(owners) == 1, [each.err for each in ended]
    for secret, each in zip(secrets, ended, strict=True):
        assert (each.code == 0) == (secret in owners)
        if each.code:
            assert "made under another master secret" in each.err
            assert "Traceback" not in each.err

"""Version N−1 and N side by side, as real processes of two copies of the package that differ by a migration."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests.e2e import server
from tests.e2e.client import Client, bearer
from tests.e2e.server import UNLIMITED, Server
from tests.postgres import Server as Postgres
from tests.postgres import running
from tests.reliability.walking import Walkers
from watchword.storage.migrate import bundled

SECRET = "cG9zdGdyZXMgdGVzdHMgbmVlZCBhIHNlY3JldCwgdG9vIQ"
PACKAGE = Path(server.__file__).parents[2] / "src" / "watchword"
MOST = len(bundled())
SERVES = f"-- serves: {MOST:04}\n"
ADDS = "CREATE TABLE ww_later (id TEXT PRIMARY KEY);\nALTER TABLE ww_users ADD COLUMN later TEXT;\n"
Start = Callable[..., Server]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running(18) as one:
        yield one


@pytest.fixture
def settings(postgres: Postgres) -> dict[str, str]:
    """Of both versions: an empty database that they share."""
    name = f"app_{time.monotonic_ns()}"
    postgres.sql(f"CREATE DATABASE {name}")
    url = "http://127.0.0.1:4000"
    return {**UNLIMITED, "DATABASE_URL": postgres.url(name), "WATCHWORD_SECRET": SECRET, "WATCHWORD_PUBLIC_URL": url}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the service of this version, or of one with a migration more."""
    with ExitStack() as stack:

        def started(migration: str | None, **settings: str) -> Server:
            folder = tmp_path / f"at-{time.monotonic_ns()}"
            folder.mkdir()
            service = Server(folder, **settings, PYTHONPATH=str(copied(tmp_path, migration)))
            stack.callback(lambda: service.running and service.stop())
            return service

        yield started


def copied(folder: Path, migration: str | None) -> Path:
    """A folder with a copy of the package, found before the installed one."""
    place = folder / ("now" if migration is None else "next")
    if not place.exists():
        shutil.copytree(PACKAGE, place / "watchword", ignore=shutil.ignore_patterns("__pycache__"))
        if migration is not None:
            (place / "watchword/storage/migrations" / f"{MOST + 1:04}_later.sql").write_text(migration)
    return place


def readiness(service: Server) -> dict[str, bool]:
    """The checks of a service."""
    return dict(httpx2.get(f"{service.url}/readyz", timeout=60).json()["checks"])


def test_both_serve(start: Start, settings: dict[str, str], postgres: Postgres) -> None:
    """Clients of the older one notice nothing; sessions and log-outs count on both; and one can go back to it."""
    older = start(None, **settings)
    with Walkers(older.url, None, 2) as walking:
        walking.go_on(1)
        newer = start(SERVES + ADDS, **settings)
        walking.go_on(2)
    assert walking.faults == []
    with Client(older.url, inspected=False) as here, Client(newer.url, inspected=False) as there:
        name = here.register()["username"]
        tokens = here.grant(name)
        renewed = there.post("/token", data={"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]})
        assert renewed.status_code == 200, renewed.text
        back = {"grant_type": "refresh_token", "refresh_token": renewed.json()["refresh_token"]}
        token = here.post("/token", data=back).json()["access_token"]
        assert there.get("/verify", headers=bearer(token)).status_code == 200
        assert there.post("/logout", headers=bearer(token)).status_code == 204
        give_up_at = time.monotonic() + 60
        while here.get("/verify", headers=bearer(token)).status_code != 401:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
    assert all(readiness(older).values())
    assert all(readiness(newer).values())
    older.stop()
    newer.stop()
    older.start()  # back to the version before, on the newer schema
    with older.client() as client:
        client.newcomer()


def test_the_older_one_stops(start: Start, settings: dict[str, str]) -> None:
    """Beside a migration that says nothing of it: not ready, so that balancers look away; and not started again."""
    older = start(None, **settings)
    newer = start(ADDS, **settings)
    assert [name for name, works in readiness(older).items() if not works] == ["migrations"]
    assert all(readiness(newer).values())
    assert older.stop() == 0
    with pytest.raises(AssertionError, match="Install the newer version"):
        older.start()
    assert "Traceback" not in older.log()


def test_the_copy_is_what_runs(tmp_path: Path) -> None:
    """Else the tests above would compare a version with itself."""
    code = "from watchword.storage.migrate import bundled; print(len(bundled()))"
    for migration, count in ((None, MOST), (ADDS, MOST + 1)):
        environment = {**os.environ, "PYTHONPATH": str(copied(tmp_path, migration))}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert int(done.stdout) == count

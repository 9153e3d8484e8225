"""A kernel on a real database, with a clock that stands still: on SQLite, and on PostgreSQL too."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests import tables
from tests.hashes import dear_hashes
from tests.identity.scenes import Opener
from tests.postgres import EVERYTHING, Databases
from watchword.clock import FixedClock
from watchword.identity.kernel import Kernel
from watchword.identity.own_claims import ClaimsFunction
from watchword.opening import opened
from watchword.settings import Settings
from watchword.storage.postgres import Postgres

__all__ = ["dear_hashes"]
SECRET = "cG9zdGdyZXMgdGVzdHMgbmVlZCBhIHNlY3JldCwgdG9vIQ"

# Where the engine decides most. `make reliability ARGS=--lengthy` tries all of them on both.
ON_BOTH = frozenset({
    "test_administration", "test_administrators", "test_api_keys", "test_api_key_screen",
    "test_ending", "test_granting", "test_guessing",
    "test_login", "test_moving_in", "test_own_claims",
    "test_numbering",
    "test_one_time", "test_outbox", "test_races", "test_retry_keys", "test_revocation", "test_rights",
    "test_second_factor", "test_service_accounts", "test_sessions", "test_starting",
    "test_token_exchange", "test_trail", "test_webhooks",
})  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask for each test of a kernel once more on PostgreSQL, unless it is marked to be about SQLite."""
    if "engine" not in metafunc.fixturenames:
        return
    both = metafunc.module.__name__.rpartition(".")[2] in ON_BOTH or EVERYTHING in os.environ
    only_sqlite = metafunc.definition.get_closest_marker("sqlite") is not None
    engines = ["sqlite", "postgres"] if both and not only_sqlite else ["sqlite"]
    if metafunc.definition.get_closest_marker("postgres") is not None:
        engines = ["postgres"]
    metafunc.parametrize("engine", engines, indirect=True)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def located(
    engine: str, tmp_path: Path, postgres: Callable[[int], Databases], monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, object]]:
    """The settings that say where this test's database is. A slow machine is no outage of it."""
    monkeypatch.setitem(Postgres.open.__func__.__kwdefaults__, "deadline", 120.0)  # type: ignore[attr-defined]
    if engine == "sqlite":
        tables.prepare(tmp_path)
        yield {"data_dir": tmp_path}
        return
    with postgres(18).lent() as url:
        yield {"data_dir": tmp_path, "database_url": url, "secret": SECRET}


@pytest.fixture
def open_kernel(located: dict[str, object], clock: FixedClock) -> Opener:
    """Opens a kernel on this test's database; settings may be given. May be called several times at once."""

    def open_it(
        *, serves: bool = True, function: ClaimsFunction | None = None, **given: object
    ) -> AbstractAsyncContextManager[Kernel]:
        settings = Settings(**{**located, **given})  # type: ignore[arg-type]
        return opened(settings, clock=clock, serves=serves, claims=function)

    return open_it


@pytest.fixture
async def kernel(open_kernel: Opener) -> AsyncIterator[Kernel]:
    async with open_kernel() as opened_kernel:
        yield opened_kernel

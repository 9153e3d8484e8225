"""For all tests: which event loop, and that nothing is skipped unnoticed."""

from __future__ import annotations

import gc
import os
import ssl
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.postgres import Databases
    from tests.storage.valkey_server import Server

# A process forked from one that has loaded gRPC would write of its polling into what tests read.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

settings.register_profile("any machine", deadline=None)  # by default an example may take 200 ms
settings.load_profile("any machine")

with suppress(ModuleNotFoundError):  # other packages' tests are run with this file alone, also without the server
    from tests.cheap_hashes import cheapen
    from tests.unsynced import leave_unsynced, sync

    cheapen()
    leave_unsynced()

with suppress(ModuleNotFoundError):
    import httpcore2

    _context = cache(lambda trust_env, file, folder, make=httpcore2.default_ssl_context: make(_trust_env=trust_env))

    def _made_once(*, _trust_env: bool = True) -> ssl.SSLContext:
        """Each client without a context of its own would read all authorities: 30 ms, for `http://` as well."""
        return _context(_trust_env, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))

    httpcore2.default_ssl_context = _made_once


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """With `-n auto` a process more than there are cores: many a test waits for a server, a browser or a second."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while tests are collected, nor later among them: that was half of the work."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()  # or garbage would be frozen too
        gc.freeze()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuse names that differ in each process, as of an object's address: `-n` cannot share out such tests."""
    if " at 0x" in item.nodeid:
        raise pytest.UsageError(f"{item.nodeid} needs `ids=`: its name holds an address")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Async tests run on asyncio, as the service does; trio is not supported."""
    return "asyncio", {"use_uvloop": False}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Under CI a skipped test is a failure: CI installs what tests need, so a skip there hides something."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not in_ci(os.environ.get("CI", "")):
        return
    skipped = reporter.stats.get("skipped", [])
    if skipped and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"CI: {len(skipped)} skipped, which counts as a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def in_ci(value: str) -> bool:
    """Whether `CI` says so."""
    return value.lower() in {"1", "true"}


@pytest.fixture
def synced() -> Iterator[None]:
    """Have SQLite wait for the disk, as the product does, for tests of that."""
    sync()
    yield
    leave_unsynced()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[int], Databases]]:
    """PostgreSQL servers by version, each started when a test first asks for it."""
    from tests.postgres import Databases, running  # here: other packages' tests are run with this file alone

    with ExitStack() as stack:

        @cache
        def databases(version: int) -> Databases:
            return Databases(stack.enter_context(running(version)))

        yield databases


@pytest.fixture(scope="session")
def valkeys() -> Iterator[Callable[[str], Server]]:
    """Real servers from wheels, each started when it is first asked for. Tests take a namespace of their own."""
    from tests.storage.valkey_server import served  # this file is also loaded where there is no folder of tests

    with ExitStack() as stack:

        @cache
        def named(name: str) -> Server:
            return stack.enter_context(served(name))

        yield named


@pytest.fixture
def own_valkey() -> Iterator[Server]:
    """One that a test may stop."""
    from tests.storage.valkey_server import served

    with served("valkey 9") as server:
        yield server

"""Fixtures of every folder that talks to a real process; each folder's conftest takes those that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.client import Client
from tests.e2e.server import UNLIMITED, Server

Serve = Callable[..., Server]


@contextmanager
def shared(folder: Path, kind: type[Server] = Server) -> Iterator[Server]:
    """One process for all tests of a folder, without limits, at debug level; nothing may crash in it."""
    more = {"WATCHWORD_LOG_LEVEL": "debug", "WATCHWORD_EMAIL_LOGIN": "on", "WATCHWORD_CLAIMS": "name=name"}
    running = kind(folder, **UNLIMITED, **more)
    try:
        yield running
        assert running.running, running.log()
        assert "Traceback" not in running.log(), running.log()
    finally:
        code = running.stop()
    assert code == 0, running.log()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with shared(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts processes with settings of their own: `serve("--workers", "2", WATCHWORD_PATH_PREFIX="/api")`."""
    started: list[Server] = []

    def start(*arguments: str, folder: Path | None = None, **settings: str) -> Server:
        running = Server(folder or tmp_path_factory.mktemp("server"), *arguments, **settings)
        started.append(running)
        return running

    yield start
    for running in started:
        if running.running:
            running.stop()
        assert "Traceback" not in running.log(), running.log()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client of the shared process."""
    with server.client() as one:
        yield one

"""Each example does what its first lines say: a reader's commands, word for word, against real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.server import Server
from tests.examples.example import EXAMPLES, SERVICE, running, try_as_told
from tests.interop import npm

IN_PYTHON = ("posts_fastapi.py", "profile_django.py")


@pytest.mark.parametrize("name", IN_PYTHON)
def test_a_reader_tries_it(server: Server, tmp_path: Path, name: str) -> None:
    """The service and the example run; one shell from the first command to the last."""
    with running(name, tmp_path, server.url) as application:
        try_as_told(name, tmp_path, server.url, application)


def test_a_reader_tries_the_dashboard_with_a_dotenv(server: Server, tmp_path: Path) -> None:
    """Where the service is stands in `.env` only, in the very line that the example shows."""
    name = "dashboard_flask.py"
    line = f"AUTH_URL={SERVICE}"
    assert f"\n    {line}\n" in (EXAMPLES / name).read_text("utf-8")
    with running(name, tmp_path, "", line.replace(SERVICE, server.url) + "\n") as application:
        try_as_told(name, tmp_path, server.url, application)


def test_a_reader_tries_the_application_that_carries_the_service(tmp_path: Path) -> None:
    """One process and no other."""
    name = "embedded_fastapi.py"
    with running(name, tmp_path, "") as application:
        try_as_told(name, tmp_path, application, application)


def test_a_reader_tries_express(server: Server, tmp_path: Path) -> None:
    """The packages of the lock file, then the server, then the commands."""
    npm.install(EXAMPLES / "javascript")
    name = "javascript/server.js"
    with running(name, tmp_path, server.url) as application:
        try_as_told(name, tmp_path, server.url, application)


def test_every_example_is_tried() -> None:
    """There is no other example than these."""
    there = {path.name for path in EXAMPLES.iterdir() if path.suffix == ".py" or path.is_dir()} - {"__pycache__"}
    assert there == {*IN_PYTHON, "dashboard_flask.py", "embedded_fastapi.py", "javascript"}

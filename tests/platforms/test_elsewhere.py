"""Service, commands and guard without what only Linux has: once with the names of macOS, once with those of Windows."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import environment
from tests.e2e.client import PASSWORD, Client, bearer, refused
from tests.e2e.server import free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE = 60


@pytest.fixture(params=["macos", "windows"])
def elsewhere(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of a process on that system."""
    name: str = request.param
    return environment(PYTHONPATH=f"{HERE / 'elsewhere'}:{ROOT / 'src'}", ELSEWHERE=name)


class Elsewhere:
    """A folder on that system, and commands in it."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        self.variables = variables
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str] | None = None

    def run(self, *arguments: str, code: int = 0, stdin: str = "") -> str:
        """A `watchword` command; what it printed."""
        return self.python("-m", "watchword.cli", *arguments, code=code, stdin=stdin)

    def python(self, *arguments: str, code: int = 0, stdin: str = "") -> str:
        """Any Python program."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.variables,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    def serve(self, *arguments: str) -> None:
        """Start the service, and wait until it is ready."""
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "watchword.cli", "serve", "--port", str(self.port), *arguments],
                cwd=self.folder,
                env=self.variables,
                stdout=log,
                stderr=log,
                text=True,
            )
        give_up_at = time.monotonic() + PATIENCE
        while not self._is_ready():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < give_up_at
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx2.HTTPError:
            return False

    def stop(self) -> None:
        """By the signal that exists everywhere: the interrupt."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(PATIENCE) == 0
        assert "Traceback" not in (self.folder / "log").read_text()


@pytest.fixture
def there(tmp_path: Path, elsewhere: dict[str, str]) -> Iterator[Elsewhere]:
    there = Elsewhere(tmp_path, elsewhere)
    yield there
    if there.process is not None and there.process.poll() is None:
        there.process.kill()
        there.process.wait()


def test_the_names_are_gone(there: Elsewhere) -> None:
    """The test of the test."""
    code = "import os, select; print(hasattr(os, 'sched_getaffinity') or hasattr(select, 'epoll'))"
    assert there.python("-c", code).strip() == "False"
    if there.variables["ELSEWHERE"] == "windows":
        code = "import os, signal; print(hasattr(os, 'getuid') or hasattr(signal, 'SIGHUP'))"
        assert there.python("-c", code).strip() == "False"
        code = "try:\n    import fcntl\nexcept ImportError:\n    print('gone')"
        assert there.python("-c", code).strip() == "gone"


def test_serve_register_log_in_refresh_stop(there: Elsewhere) -> None:
    """The first hour of a user, twice: with a database that is made, and with one that is there."""
    there.serve("--host", "localhost")
    with Client(there.url) as client:
        client.register("ada")
    there.stop()
    there.serve()
    with Client(there.url) as client:
        token = client.log_in("ada")
        assert client.get("/profile", headers=bearer(token)).json()["username"] == "ada"
        assert client.post("/refresh").status_code == 200
        refused(client.post("/login", json={"username": "ada", "password": "another"}), 401, "invalid_credentials")
    there.stop()


def test_the_guard_verifies(there: Elsewhere) -> None:
    """In a process of its own, following the feed."""
    there.serve()
    with Client(there.url) as client:
        token = client.newcomer()
        assert there.python(str(HERE / "guarded.py"), there.url, token).split() == ["accepted", "refused", "stopped"]
    there.stop()


@pytest.mark.rare
def test_the_commands(there: Elsewhere) -> None:
    """Each kind that touches files, the database or a terminal."""
    there.run("migrate")
    there.serve()
    there.stop()
    there.run("users", "create", "ada", "--email", "ada@example.com", "--password-stdin", stdin=PASSWORD)
    assert "ada" in there.run("users", "list")
    there.run("backup", "copy.db")
    assert (there.folder / "copy.db").stat().st_size > 0
    there.run("backup", "copy.db", code=1)
    there.run("keys", "list")
    there.run("keys", "rotate", "--yes")
    there.run("db", "restored", "--yes")
    there.run("users", "disable", "ada")
    there.run("settings")
    there.run("version")
    there.run("secret")
    there.run("guards", "create", "orders")


@pytest.mark.rare
def test_several_workers_where_there_can_be(there: Elsewhere) -> None:
    """On Windows this is refused, with what to do instead."""
    if there.variables["ELSEWHERE"] == "windows":
        there.run("serve", "--port", str(there.port), "--workers", "2", code=1)
        return
    there.serve("--workers", "2")
    with Client(there.url) as client:
        client.newcomer()
    there.stop()


def test_commits_reach_the_disk_on_macos(there: Elsewhere) -> None:
    """There, fsync alone leaves them in the drive's memory."""
    code = (
        "from pathlib import Path; from watchword.storage.sqlite_connection import connect\n"
        "connection = connect(Path('x.db'), patience=1)\n"
        "print(*(connection.execute(f'PRAGMA {each}').fetchone()[0] for each in ('fullfsync', 'checkpoint_fullfsync')))"
    )
    macos = there.variables["ELSEWHERE"] == "macos"
    assert there.python("-c", code).split() == (["1", "1"] if macos else ["0", "0"])

"""The command in a process of its own, with an environment that holds nothing of ours.

It is forked (`tests/forked.py`); worker processes are new interpreters. So are `test_as_people_run_it.py`, and tests of
terminals, processes and packages.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import forked

COMMAND = [sys.executable, "-m", "watchword.cli"]
_PATIENCE = 120
NOWHERE = Path(os.devnull)


@dataclass
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str


def environment(**extra: str) -> dict[str, str]:
    """What a process of ours sees: the machine's variables, none of Watchword's, and `extra`."""
    ours = ("WATCHWORD_", "DATABASE_URL", "REDIS_URL", "PORT")
    return {name: text for name, text in os.environ.items() if not name.startswith(ours)} | extra


Run = Callable[..., Finished]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command to its end, in an empty directory."""

    def call(*arguments: str, stdin: str = "", **extra: str) -> Finished:
        done = forked.run(arguments, folder=tmp_path, environment=environment(**extra), stdin=stdin)
        return Finished(done.returncode, done.stdout, done.stderr)

    return call


def anew(command: Sequence[str | Path], folder: Path) -> Run:
    """Runs a program to its end in a new interpreter, in a directory."""

    def call(*arguments: str, stdin: str = "", **extra: str) -> Finished:
        done = subprocess.run(
            [*command, *arguments],
            cwd=folder,
            env=environment(**extra),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def database(run: Run) -> None:
    """An empty database in the directory of `run`: commands beside the service make none."""
    assert run("migrate").code == 0


@pytest.fixture
def port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


Process = subprocess.Popen[bytes] | forked.Forked


class Service:
    """`watchword serve` in a process, once it answers. What it prints is in the two files."""

    def __init__(self, process: Process, url: str, out: Path = NOWHERE, err: Path = NOWHERE) -> None:
        self.process = process
        self.url = url
        self._out = out
        self._err = err

    def get(self, path: str) -> int:
        """The status of a GET."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=_PATIENCE) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def stop(self, how: signal.Signals = signal.SIGTERM) -> Finished:
        """Ask it to stop; answers how it ended."""
        self.process.send_signal(how)
        return self.ended()

    def ended(self) -> Finished:
        """Wait for its end; answers how it ended."""
        code = self.process.wait(_PATIENCE)
        return Finished(code, self._out.read_text("utf-8"), self._err.read_text("utf-8"))


Serve = Callable[..., Service]


@pytest.fixture
def serve(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Serve]:
    """Start the service and wait for its first answer; what still runs at the end of the test is killed."""
    started: list[Process] = []

    def start(*arguments: str, prefix: str = "", **extra: str) -> Service:
        begun = time.perf_counter()
        out, err = (tmp_path_factory.mktemp("printed") / name for name in ("out", "err"))
        process = _started(["serve", "--port", str(port), *arguments], tmp_path, environment(**extra), out, err)
        started.append(process)
        service = Service(process, f"http://127.0.0.1:{port}{prefix}", out, err)
        while time.perf_counter() - begun < _PATIENCE:
            if process.poll() is not None:
                pytest.fail(f"serve has ended: {service.ended()}")
            try:
                urllib.request.urlopen(service.url + "/livez", timeout=_PATIENCE).close()
            except OSError:
                time.sleep(0.01)
            else:
                return service
        pytest.fail("serve did not answer")

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait(_PATIENCE)


def _started(arguments: list[str], folder: Path, environment: dict[str, str], out: Path, err: Path) -> Process:
    with out.open("wb") as stdout, err.open("wb") as stderr:
        return forked.start(arguments, folder=folder, environment=environment, stdout=stdout, stderr=stderr)

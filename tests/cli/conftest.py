"""The command as people run it: a process of its own, with an environment that holds nothing of ours."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "watchword.cli"]
_PATIENCE = 120


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
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=tmp_path,
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


class Service:
    """`watchword serve` in a process, once it answers."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

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
        out, err = self.process.communicate(timeout=_PATIENCE)
        return Finished(self.process.returncode, out, err)


Serve = Callable[..., Service]


@pytest.fixture
def serve(tmp_path: Path, port: int) -> Iterator[Serve]:
    """Start the service and wait for its first answer; what still runs at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, prefix: str = "", **extra: str) -> Service:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(port), *arguments],
            cwd=tmp_path,
            env=environment(**extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        url = f"http://127.0.0.1:{port}{prefix}"
        while time.perf_counter() - begun < _PATIENCE:
            if process.poll() is not None:
                out, err = process.communicate()
                pytest.fail(f"serve ended with {process.returncode}\n{out}{err}")
            try:
                urllib.request.urlopen(url + "/livez", timeout=_PATIENCE).close()
            except OSError:
                time.sleep(0.01)
            else:
                return Service(process, url)
        pytest.fail("serve did not answer")

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()

"""`watchword` as a process of its own that starts at once, since it is forked from one that has loaded the command.

Loading is nine tenths of what a short command costs. Each kind of command is also started as people start it: see
`tests/cli/test_as_people_run_it.py`.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

from tests.nursery import LENGTH

# Read by Python itself or by a library when it is loaded.
_READ_EARLY = ("PYTHON", "LC_", "LANG", "FORCE_COLOR", "NO_COLOR", "PY_COLORS", "TERMINAL_WIDTH", "SSL_", "TZ")
_PATIENCE = 120


class Forked:
    """A running command. Its methods are those of `subprocess.Popen` that tests need.

    :param arguments: what follows `watchword`.
    :param standard: stdin, stdout, stderr.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        folder: Path,
        environment: Mapping[str, str],
        standard: Iterable[IO[bytes]],
    ) -> None:
        self.returncode: int | None = None
        order = {
            "arguments": [*map(str, arguments)],
            "folder": str(folder),
            "environment": dict(environment),
        }
        self._reports, told = os.pipe()
        _nursery().send(json.dumps(order).encode(), [*(each.fileno() for each in standard), told])
        os.close(told)
        self._said = b""
        while b"\n" not in self._said:
            assert self._hear(), "the nursery has ended"
        self.pid = int(self._said.partition(b"\n")[0])

    def _hear(self) -> bool:
        more = os.read(self._reports, 100)
        self._said += more
        return bool(more)

    def poll(self) -> int | None:
        """Its exit code, as `subprocess` has it; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its exit code."""
        if self.returncode is None:
            if not select.select([self._reports], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("watchword", timeout or 0)
            while self._hear():
                pass
            os.close(self._reports)
            self.returncode = int(self._said.partition(b"\n")[2])
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def run(
    arguments: Sequence[str | Path], *, folder: Path, environment: Mapping[str, str], stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as `subprocess.run` would.

    :param arguments: what follows `watchword`.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        command = start(arguments, folder=folder, environment=environment, stdin=given, stdout=out, stderr=err)
        try:
            code = command.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            command.kill()
            raise
        return subprocess.CompletedProcess(list(arguments), code, _text(out), _text(err))


def start(
    arguments: Sequence[str | Path],
    *,
    folder: Path,
    environment: Mapping[str, str],
    stdout: IO[bytes],
    stderr: IO[bytes],
    stdin: IO[bytes] | None = None,
) -> subprocess.Popen[bytes] | Forked:
    """Start a command, as `subprocess.Popen` would: in a new interpreter where a fork would not be as good."""
    with open(os.devnull, "rb") as nothing:
        given = stdin or nothing
        if can_fork(environment):
            return Forked(arguments, folder, environment, (given, stdout, stderr))
        command = [sys.executable, "-m", "watchword.cli", *arguments]
        return subprocess.Popen(command, cwd=folder, env=environment, stdin=given, stdout=stdout, stderr=stderr)


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether a fork is as good as a new interpreter: it is, unless a variable differs that is read early."""
    early = {name for name in {*environment, *os.environ} if name.startswith(_READ_EARLY)}
    return hasattr(os, "fork") and all(environment.get(name) == os.environ.get(name) for name in early)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")


class _Nursery:
    """The process that forks, for all tests of this one."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair()
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery", str(theirs.fileno())],
            cwd=Path(__file__).parents[1],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        theirs.close()
        atexit.register(self._end)

    def send(self, order: bytes, descriptors: Sequence[int]) -> None:
        """Have it fork."""
        with self._lock:
            socket.send_fds(self._orders, [len(order).to_bytes(LENGTH)], descriptors)
            self._orders.sendall(order)

    def _end(self) -> None:
        self._orders.close()
        self._process.wait(_PATIENCE)


@cache
def _nursery() -> _Nursery:
    return _Nursery()

"""Any server as a process of its own: started, waited for until it listens, and stopped."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 30
STOP_SECONDS = 10


@contextmanager
def listening(
    command: Sequence[str | Path],
    folder: Path,
    port: int,
    *,
    environment: Mapping[str, str] | None = None,
    where: Path | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command that listens on a port of the loopback interface; what it prints is in the folder's `log`.

    :param where: its working directory; the folder, if not given.
    """
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=where or folder, env=environment, stdout=log, stderr=log)
    try:
        _wait(process, folder, port)
        yield process
    finally:
        process.send_signal(stop)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def said(folder: Path) -> str:
    """What a command has printed so far."""
    return (folder / "log").read_text("utf-8", "replace")


def _wait(process: subprocess.Popen[bytes], folder: Path, port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(said(folder))

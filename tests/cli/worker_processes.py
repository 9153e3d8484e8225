"""The worker processes of a service, as the system lists them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 60.0


def workers_of(supervisor: int) -> set[int]:
    """The process ids of its workers, those that are starting too; the dead that are still listed are none."""
    return {pid for pid in _processes() if _parent(pid) == supervisor and b"spawn_main" in _command_line(pid)}


def until(condition: Callable[[], bool]) -> None:
    """Wait for something to come true; the test's own time limit ends what hangs."""
    while not condition():
        time.sleep(0.02)


def is_there(pid: int) -> bool:
    """Whether a process runs."""
    return _state(pid) not in ("", "Z", "X")


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return ["", "0"]


def _state(pid: int) -> str:
    return _fields(pid)[0]


def _parent(pid: int) -> int:
    return int(_fields(pid)[1]) if is_there(pid) else 0


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""

"""The machine: which core serves, which one loads, and the facts that stand beside every figure."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("watchword", "starlette", "uvicorn", "uvloop", "httptools", "msgspec", "cryptography", "argon2-cffi")


@dataclass(frozen=True)
class Cores:
    """The core of the server and the core of the load; -1: not pinned."""

    server: int
    load: int


def choose_cores() -> Cores:
    """Take the first two cores that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[1]) if len(usable) > 1 else Cores(-1, -1)


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Stay on a core meanwhile, if one is said: what is started then stays there."""
    before = os.sched_getaffinity(0)
    if core >= 0:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def facts(cores: Cores) -> dict[str, object]:
    """Describe the machine without naming it."""
    return {
        "processor": _processor(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "pinned": cores.server >= 0,
        "memory_gib": round(memory_bytes() / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "file_system": _file_system(tempfile.gettempdir()),
        "fsync_ms": round(fsync_ms(), 3),
        "load_average_at_start": round(os.getloadavg()[0], 2),
    }


def memory_bytes() -> int:
    """Return how much memory the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def versions() -> dict[str, str]:
    """Return the versions of everything that a figure depends on."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    found |= {name: version(name) for name in PACKAGES}
    found |= {name: text for name, command in _TOOLS.items() if (text := _first_line(command))}
    return found


_TOOLS = {"node": ["node", "--version"], "wrk": ["wrk", "-v"]}


def _first_line(command: list[str]) -> str:
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().partition("\n")[0].partition(" Copyright")[0]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(directory: str) -> str:
    """Return the type of the file system: on tmpfs a durable commit costs nothing, and the figures mean little."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if (directory + "/").startswith(mount.rstrip("/") + "/") and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]


def fsync_ms() -> float:
    """Return the median time of an 8 KiB append with fdatasync, in milliseconds."""
    times = []
    with tempfile.TemporaryFile() as file:
        for _ in range(50):
            started = time.perf_counter()
            file.write(b"x" * 8192)
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    return 1000 * sorted(times)[25]

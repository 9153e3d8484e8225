"""What differs between operating systems.

On Windows the guard runs, and the service for development.
"""

from __future__ import annotations

import importlib
import math
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

POSIX = hasattr(os, "getuid")  # files have owners and modes
_MANY = 16_384  # open files that are ever needed
_FEW = 10_240  # macOS: the most, whatever its limit says
_STANDARD_ERROR = 2
_UNKNOWN = 512  # Windows: what select() takes


def cores() -> int:
    """Return how many processors we may use: those of the machine, our affinity, and what a container is given."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        found = len(os.sched_getaffinity(0)) or 1
    else:
        found = os.cpu_count() or 1
    granted = _granted(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return max(1, math.ceil(min(found, granted)))


def _granted(membership: Path, root: Path) -> float:
    """Return how many processors' time our control groups allow (cgroup v2, `cpu.max`); infinity without a limit.

    :param membership: the file that names our group.
    :param root: where the groups are. In a container ours is the root, whatever its name is outside.
    """
    least = math.inf
    try:
        name = next(line[3:] for line in membership.read_text("utf-8").splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):  # not Linux, or cgroup v1
        return least
    group = root / name.strip("/")
    for folder in (group, *(each for each in group.parents if each.is_relative_to(root))):
        with suppress(OSError, ValueError):  # no such file, or "max"
            quota, period = map(int, (folder / "cpu.max").read_text("utf-8").split())
            least = min(least, quota / period)
    return least


def fill_standard_streams() -> None:
    """Open the null device where standard input, output or error is closed.

    Else a socket or a database gets its number: libuv aborts when it closes that, and what is printed goes into it.
    """
    if POSIX:
        while (found := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:  # the lowest free number
            os.set_inheritable(found, True)  # worker processes have the same
        os.close(found)


def is_journal(stream: TextIO) -> bool:
    """Return whether systemd's journal reads this stream (systemd.exec(5)).

    A program may inherit the variable and write elsewhere.
    """
    try:
        device, inode = map(int, os.environ["JOURNAL_STREAM"].split(":"))
        there = os.fstat(stream.fileno())
    except (KeyError, ValueError, OSError):  # not told, not two numbers, no file
        return False
    return (there.st_dev, there.st_ino) == (device, inode)


def mode_of(status: os.stat_result) -> int:
    """Return a file's mode, or 0600."""
    return status.st_mode & 0o777 if POSIX else 0o600


def user() -> int:
    """Return the effective user id, or -1."""
    return os.geteuid() if POSIX else -1


def is_on_read_only_mount(descriptor: int) -> bool:
    """Return whether a file is on a read-only mount."""
    return POSIX and bool(os.fstatvfs(descriptor).f_flag & os.ST_RDONLY)


def create_private(path: Path) -> int:
    """Make a file that only its owner can read; return its descriptor.

    :raises FileExistsError: the name is taken.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o600)


def sync(descriptor: int) -> None:
    """Put a file on the disk, beyond the drive's memory (macOS)."""
    if sys.platform == "darwin":
        import fcntl

        with suppress(OSError):  # a network file system
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def sync_file(path: Path) -> None:
    """Call `sync` for a file's name."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Put a directory's names on the disk; Windows opens no directories."""
    if not POSIX:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def allocate(descriptor: int, size: int) -> bool:
    """Reserve space; return False without such a call. Raises `OSError`."""
    if not hasattr(os, "posix_fallocate"):
        return False
    os.posix_fallocate(descriptor, 0, size)
    return True


def raise_descriptors() -> int:
    """Raise the limit of open files; return it."""
    try:
        import resource
    except ImportError:
        return _UNKNOWN
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    if soft == endless:
        return _MANY
    for wanted in (_MANY, _FEW):
        most = wanted if hard == endless else min(wanted, hard)
        if most <= soft:
            break
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            return most
    return soft


def lock(descriptor: int, *, alone: bool) -> bool:
    """Lock a file, alone or shared; return False if another process prevents it.

    Without such locks it is True: Windows replaces no open file, and SQLite's own locks remain.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here
        return True
    return True


def is_range_locked(descriptor: int, first: int, count: int) -> bool:
    """Return whether another process's POSIX lock is on these bytes."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, count, first)
    except (BlockingIOError, PermissionError):  # POSIX allows either
        return True
    except OSError:
        return False
    return False


def give_to_owner(descriptor: int, pattern: Path) -> None:
    """Give root's new file to the owner of `pattern`."""
    if not POSIX or os.geteuid() != 0:
        return
    with suppress(OSError):
        owner = pattern.stat()
        if os.fstat(descriptor).st_uid != owner.st_uid:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def claim_port(listener: socket.socket) -> None:
    """Let a server take its port right after a restart, but no two the same."""
    if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows: SO_REUSEADDR would let two have it
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def on_hang_up(call: Callable[[], object]) -> None:
    """Call this when the terminal is gone; keep `nohup`."""
    number = getattr(signal, "SIGHUP", None)
    if number is not None and signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, lambda _number, _frame: call())


def forks_unseen() -> bool:
    """Return whether the server forks without telling Python: uWSGI runs no `after_fork` unless asked to."""
    return _uwsgi() is not None


def threads_stand_still() -> bool:
    """Return whether threads run during requests only: uWSGI before 2.0.27, unless it was asked for threads."""
    uwsgi = _uwsgi()
    if uwsgi is None:
        return False
    version = [int(part) for part in re.findall(r"[0-9]+", str(uwsgi.version))[:3]]
    return version < [2, 0, 27] and not {"enable-threads", "threads"} & set(uwsgi.opt)


def _uwsgi() -> Any:
    # Only inside of uWSGI is there such a module.
    try:
        return importlib.import_module("uwsgi")
    except ImportError:
        return None


def after_fork(call: Callable[[], object]) -> None:
    """Call this in each forked child."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)


def durable_pragmas() -> tuple[str, ...]:
    """Return pragmas for durable commits: macOS must empty the drive's memory."""
    return ("PRAGMA fullfsync = ON", "PRAGMA checkpoint_fullfsync = ON") if sys.platform == "darwin" else ()

"""What differs between operating systems. Names that do not exist everywhere are used in this file only.

Linux and macOS have all that is asked for; on Windows the guard runs, and the service for development: there is no
mode of a file to check, no directory to sync, no hang-up, and one server process.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

POSIX = hasattr(os, "getuid")  # files have owners and modes
_MANY = 16_384  # open files; more than that is never used here
_FEW = 10_240  # what macOS gives to one process at the most, though it may say that there is no limit
_UNKNOWN = 512  # where the limit cannot be asked for: what select() takes on Windows


def cores() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def mode_of(status: os.stat_result) -> int:
    """Who may do what with a file; where files have no modes, its owner alone, as far as we can tell."""
    return status.st_mode & 0o777 if POSIX else 0o600


def user() -> int:
    """Return the id of the user whose rights this process has; -1 where users have no such ids."""
    return os.geteuid() if POSIX else -1


def is_on_read_only_mount(descriptor: int) -> bool:
    """Return whether an open file lies in a file system that is mounted for reading only."""
    return POSIX and bool(os.fstatvfs(descriptor).f_flag & os.ST_RDONLY)


def create_private(path: Path) -> int:
    """A new file that only its owner can read: its descriptor, to write bytes. No other program inherits it.

    :raises FileExistsError: there is something of this name.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o600)


def sync(descriptor: int) -> None:
    """Return when the file is on the disk, and not in the drive's memory either, where macOS would leave it."""
    if sys.platform == "darwin":
        import fcntl

        with suppress(OSError):  # a network file system may not know how
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def sync_file(path: Path) -> None:
    """The same, for a file by its name."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Return when the names in a directory are on the disk; Windows opens no directories, and keeps them by itself."""
    if not POSIX:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def allocate(descriptor: int, size: int) -> bool:
    """Keep that many bytes for an open file; return False where the system has no such call. Raises `OSError`."""
    if not hasattr(os, "posix_fallocate"):
        return False
    os.posix_fallocate(descriptor, 0, size)
    return True


def raise_descriptors() -> int:
    """Raise the number of files that may be open, as far as it is of use to us and allowed; what it is then."""
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
    """Lock an open file for this process alone or together with others; return whether that was possible.

    True where files have no such locks: on Windows no open file can be replaced, and SQLite's own locks remain.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def is_range_locked(descriptor: int, first: int, count: int) -> bool:
    """Return whether another process holds a POSIX lock on one of these bytes; False where there are none."""
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
    """Let an open file that root has made belong to the owner of another one."""
    if not POSIX or os.geteuid() != 0:
        return
    with suppress(OSError):
        owner = pattern.stat()
        if os.fstat(descriptor).st_uid != owner.st_uid:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def claim_port(listener: socket.socket) -> None:
    """Let a server take its port again at once after a restart, and no two servers take the same."""
    if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where SO_REUSEADDR would let two have it
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def on_hang_up(call: Callable[[], object]) -> None:
    """Call this instead of ending when the terminal is gone; `nohup`, which ignores that signal, is left alone."""
    number = getattr(signal, "SIGHUP", None)
    if number is not None and signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, lambda _number, _frame: call())


def after_fork(call: Callable[[], object]) -> None:
    """Call this in a process that was made by forking this one, where that is possible."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)


def durable_pragmas() -> tuple[str, ...]:
    """What SQLite has to be told so that a commit is on the disk: on macOS, to empty the drive's memory too."""
    return ("PRAGMA fullfsync = ON", "PRAGMA checkpoint_fullfsync = ON") if sys.platform == "darwin" else ()

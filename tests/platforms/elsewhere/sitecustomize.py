# ruff: noqa: F401 -- imported for what it is before names are taken away
"""Another operating system, as far as Python shows it: imported by every Python process that has it on its path.

Takes away what Linux has and the other lacks, and lets the rest behave as there. `ELSEWHERE` says which: `macos` or
`windows`.
"""

from __future__ import annotations

# The standard library of this system needs its own names, so all of it that could be used is imported first.
import asyncio
import concurrent.futures.thread
import ctypes
import ctypes.util
import getpass
import http.server
import logging.config
import logging.handlers
import multiprocessing.connection
import multiprocessing.context
import multiprocessing.spawn
import os
import pathlib
import platform
import random
import select
import selectors
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import urllib.request
import uuid
import zipfile
import zoneinfo
from typing import Any

_LINUX_ONLY = {
    "os": (
        "sched_getaffinity sched_setaffinity sched_getscheduler sched_setscheduler sched_getparam sched_setparam "
        "sched_rr_get_interval memfd_create eventfd pidfd_open copy_file_range splice pipe2 fdatasync getrandom "
        "posix_fadvise posix_fallocate getresuid getresgid setresuid setresgid O_TMPFILE O_PATH O_DIRECT O_LARGEFILE "
        "O_NOATIME O_RSYNC getxattr setxattr listxattr removexattr preadv2 pwritev2 fexecve unshare setns"
    ),
    "select": "epoll EPOLLIN EPOLLOUT",
    "signal": "sigtimedwait sigwaitinfo SIGPWR SIGSTKFLT SIGPOLL SIGRTMIN SIGRTMAX SIGCLD",
    "socket": (
        "SO_PEERCRED SO_PASSCRED TCP_QUICKACK TCP_USER_TIMEOUT TCP_DEFER_ACCEPT TCP_CORK TCP_SYNCNT SO_BINDTODEVICE "
        "SO_INCOMING_CPU SOCK_CLOEXEC SOCK_NONBLOCK AF_NETLINK AF_PACKET AF_ALG MSG_NOSIGNAL"
    ),
    "time": "pthread_getcpuclockid CLOCK_BOOTTIME CLOCK_TAI",
}
_POSIX_ONLY = {
    "os": (
        "getuid geteuid getgid getegid getgroups getresuid setuid setgid seteuid setegid setgroups initgroups chown "
        "lchown fchown fchmod chroot fchdir fork forkpty getpgid getpgrp setpgid getsid setsid killpg nice getpriority "
        "setpriority register_at_fork uname sync fdatasync statvfs fstatvfs sysconf confstr pathconf fpathconf mkfifo "
        "mknod openpty wait wait3 wait4 waitid WNOHANG WUNTRACED posix_spawn posix_spawnp pread preadv pwrite pwritev "
        "readv writev sendfile lockf getloadavg ctermid ttyname tcgetpgrp tcsetpgrp sched_yield O_CLOEXEC O_DIRECTORY "
        "O_NOFOLLOW O_NONBLOCK O_NOCTTY O_SYNC O_DSYNC O_ASYNC O_NDELAY get_blocking set_blocking"
    ),
    "select": "poll POLLIN POLLOUT POLLERR POLLHUP PIPE_BUF",
    "signal": (
        "SIGHUP SIGKILL SIGQUIT SIGUSR1 SIGUSR2 SIGCHLD SIGALRM SIGPIPE SIGTTIN SIGTTOU SIGTSTP SIGSTOP SIGCONT "
        "SIGWINCH SIGIO SIGBUS SIGPROF SIGSYS SIGTRAP SIGURG SIGVTALRM SIGXCPU SIGXFSZ alarm setitimer getitimer pause "
        "pthread_kill pthread_sigmask sigpending sigwait siginterrupt"
    ),
    "socket": "AF_UNIX SO_REUSEPORT SCM_RIGHTS CMSG_LEN CMSG_SPACE sethostname send_fds recv_fds",
    "time": "clock_gettime clock_gettime_ns clock_settime clock_getres tzset CLOCK_MONOTONIC CLOCK_REALTIME",
}
# Not posix: since Python 3.12 os.stat_result looks for it there, and crashes the process where it finds None.
_POSIX_MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "uvloop")


def _take_away(names: dict[str, str]) -> None:
    for module, words in names.items():
        for word in words.split():
            vars(sys.modules[module]).pop(word, None)
    if hasattr(os, "process_cpu_count"):  # since Python 3.13; without an affinity to ask for, it is the other one
        os.process_cpu_count = os.cpu_count


def _macos() -> None:
    import fcntl
    import resource

    _take_away(_LINUX_ONLY)
    selectors.DefaultSelector = selectors.PollSelector  # type: ignore[misc]
    limits = {resource.RLIMIT_NOFILE: (256, resource.RLIM_INFINITY)}
    get, put = resource.getrlimit, resource.setrlimit

    def setrlimit(which: int, values: tuple[int, int]) -> None:
        if which == resource.RLIMIT_NOFILE:
            if not 0 <= values[0] <= 10_240:  # OPEN_MAX, although the hard limit is none
                raise ValueError("current limit exceeds maximum limit")
            limits[which] = values
        else:
            put(which, values)

    resource.getrlimit = lambda which: limits.get(which) or get(which)  # type: ignore[assignment]
    resource.setrlimit = setrlimit  # type: ignore[assignment]
    vars(resource).pop("prlimit", None)
    fcntl.F_FULLFSYNC = fcntl.F_GETFD  # type: ignore[attr-defined]
    sysconfig.get_config_vars()  # from a file that is named after the platform, and is not here for another one
    sys.platform = "darwin"


def _windows() -> None:
    """`sys.platform` stays: libraries would look for what Windows really has, which nobody can lend them here."""
    space = shutil.disk_usage("/")  # there it has a call of its own
    shutil.disk_usage = lambda _path: space  # type: ignore[assignment]
    _take_away(_LINUX_ONLY)
    _take_away(_POSIX_ONLY)
    for name in _POSIX_MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    selectors.DefaultSelector = selectors.SelectSelector  # type: ignore[misc]
    socket.socketpair = _pair  # type: ignore[assignment]
    for loop in (asyncio.SelectorEventLoop, asyncio.BaseEventLoop, asyncio.AbstractEventLoop):
        for name in ("add_signal_handler", "remove_signal_handler"):
            setattr(loop, name, _not_implemented)
    _files_as_on_windows()


def _files_as_on_windows() -> None:
    stat, lstat, fstat, open_, rename, unlink = os.stat, os.lstat, os.fstat, os.open, os.rename, os.unlink

    def without_modes(found: os.stat_result) -> os.stat_result:
        mode = found.st_mode & ~0o777 | (0o777 if found.st_mode & 0o040000 else 0o666)
        values = list(found)
        return os.stat_result([mode, *values[1:4], 0, 0, *values[6:10]])

    def opening(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", str(path))
        return open_(path, flags, mode, dir_fd=dir_fd)

    def renaming(source: Any, target: Any, **more: Any) -> None:
        if os.path.lexists(target):
            raise FileExistsError(17, "Cannot create a file when that file already exists", str(target))
        rename(source, target, **more)

    def unlinking(path: Any, **more: Any) -> None:
        if os.path.realpath(path) in {_opened(each) for each in os.listdir("/proc/self/fd")}:
            raise PermissionError(13, "The process cannot access the file because it is being used", str(path))
        unlink(path, **more)

    os.stat = lambda path, **more: without_modes(stat(path, **more))  # type: ignore[assignment]
    os.lstat = lambda path, **more: without_modes(lstat(path, **more))  # type: ignore[assignment]
    os.fstat = lambda descriptor: without_modes(fstat(descriptor))
    os.open, os.rename, os.unlink, os.remove = opening, renaming, unlinking, unlinking


def _opened(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


def _not_implemented(*_: object) -> None:
    raise NotImplementedError


def _pair(family: int = 0, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        return one, server.accept()[0]


{"macos": _macos, "windows": _windows, "": lambda: None}[os.environ.get("ELSEWHERE", "")]()

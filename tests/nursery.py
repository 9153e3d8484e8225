"""Makes processes of the `watchword` command that need not load it: the program behind `tests/forked.py`.

It loads the command once. For each order it forks, and the child runs the command. It has no threads, no loop and no
open database, so that a child has what a new process has. `serve` ends as Python ends; a short command does not take
the modules apart, one by one, which would be a third of its work. Passwords are hashed cheaply
(`tests/cheap_hashes.py`), and SQLite waits for no disk (`tests/unsynced.py`); not so in worker processes of `serve`.

An order: four bytes with the length, with the descriptors of stdin, stdout, stderr and of a pipe for reports; then JSON
with `arguments`, `folder` and `environment`. The reports: the child's pid in a line, then its exit code.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import Any

from tests.cheap_hashes import cheapen
from tests.unsynced import leave_unsynced

LENGTH = 4
# What commands load when they run.
_MODULES = (
    "watchword.cli.program",
    "watchword.cli.serving.start",
    "watchword.opening",
    "watchword.storage.postgres",
    "dotenv",
    "jinja2",
    "rich.console",
    "uvicorn.protocols.http.httptools_impl",
)
# With all that is in them: what `serve` loads to make its routes.
_PACKAGES = ("watchword.features", "watchword.pages", "watchword.web")
_STANDARD = (0, 1, 2)


class _Nursery:
    """Takes orders until their sender is gone.

    :param orders: a Unix socket.
    """

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._reports: dict[int, int] = {}  # pid → where its end is told
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)
        signal.set_wakeup_fd(self._wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def next_child(self) -> dict[str, Any] | None:
        """Return its order in a child, and None in this process at its end."""
        while True:
            ready, _, _ = select.select([self._orders, self._woken], [], [])
            self._report()
            if self._orders not in ready:
                continue
            length, passed, _, _ = socket.recv_fds(self._orders, LENGTH, len(_STANDARD) + 1)
            if not length:
                self._end()
                return None
            order: dict[str, Any] = json.loads(self._read(int.from_bytes(length)))
            report = passed.pop()
            child = os.fork()
            if not child:
                self._leave(passed)
                return order
            os.write(report, f"{child}\n".encode())
            self._reports[child] = report
            for each in passed:
                os.close(each)

    def _read(self, length: int) -> bytes:
        read = b""
        while len(read) < length:
            read += self._orders.recv(length - len(read))
        return read

    def _report(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._woken, 4096)
        while self._reports:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                return
            report = self._reports.pop(child)
            with suppress(BrokenPipeError):  # no one waits for it
                os.write(report, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(report)

    def _end(self) -> None:
        for child in self._reports:
            os.kill(child, signal.SIGKILL)

    def _leave(self, passed: list[int]) -> None:
        """Give up, in a child, whatever is this process's own."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, each in enumerate(passed):
            os.dup2(each, number)
        self._orders.detach()
        os.closerange(len(_STANDARD), 1024)


def main() -> None:
    """Run the command that was ordered, in a child; end, in the first process."""
    for name in _MODULES:
        importlib.import_module(name)
    for package in map(importlib.import_module, _PACKAGES):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(found.name)
    cheapen()
    leave_unsynced()
    gc.collect()
    gc.freeze()  # children share these pages
    order = _Nursery(socket.socket(fileno=int(sys.argv[1]))).next_child()
    if order is None:
        return
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.path[0] = order["folder"]
    from watchword import cli

    sys.argv = [os.path.join(os.path.dirname(cli.__file__), "__main__.py"), *order["arguments"]]  # as `python -m`
    this = sys.modules["__main__"]  # worker processes, which are new interpreters, load what it says
    this.__spec__, this.__file__ = None, sys.argv[0]
    try:
        cli.main()
    except SystemExit as ended:
        if order["arguments"][:1] == ["serve"] or not isinstance(ended.code, int | None):
            raise
        threading._shutdown()  # type: ignore[attr-defined]  # as Python does: a thread that never ends is found
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.code or 0)


if __name__ == "__main__":
    main()

"""Servers as child processes: started on a free port in a directory of their own, always stopped."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parent.parent
EXPRESS = ROOT / "bench" / "peers" / "express"
WATCHWORD = Path(sys.executable).with_name("watchword")
NO_LIMITS = dict.fromkeys(
    (
        "WATCHWORD_LOGIN_LIMIT",
        "WATCHWORD_LOGIN_ADDRESS_LIMIT",
        "WATCHWORD_LOGIN_ACCOUNT_LIMIT",
        "WATCHWORD_REGISTER_LIMIT",
        "WATCHWORD_SESSION_LIMIT",
        "WATCHWORD_SESSION_ADDRESS_LIMIT",
        "WATCHWORD_CHANGE_LIMIT",
        "WATCHWORD_CHANGE_ADDRESS_LIMIT",
        "WATCHWORD_CONFLICT_LIMIT",
    ),
    "off",
)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")


class BenchError(Exception):
    """Something that stops a measure, said in one line."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, str]:
        """Return the body as an object of JSON."""
        value: dict[str, str] = json.loads(self.body)
        return value


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    started_at: float  # time.perf_counter()

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            connection.request(method, path, body or None, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers.items()), answer.read())
        finally:
            connection.close()

    def ask_json(self, path: str, value: object) -> Answer:
        """POST a JSON body."""
        return self.ask("POST", path, json.dumps(value).encode(), Content_Type="application/json")

    def ask_form(self, path: str, **fields: str) -> Answer:
        """POST a form."""
        return self.ask("POST", path, urlencode(fields).encode(), Content_Type="application/x-www-form-urlencoded")

    def memory_mb(self) -> float:
        """Return the resident memory of the process and its children, in MB of 10^6 bytes."""
        return sum(_resident(pid) for pid in (self.process.pid, *_children(self.process.pid))) / 1e6


def free_port() -> int:
    """Return a port that no one listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def express(core: int) -> Iterator[Server]:
    """Run the tutorials' application."""
    with tempfile.TemporaryDirectory(prefix="watchword-bench-") as directory:
        command = ["node", str(EXPRESS / "server.js")]
        environment = {"NODE_ENV": "production"}
        with running("express", command, Path(directory), core, environment) as server:
            wait_for(server, "/profile", 401)
            yield server


@contextmanager
def bare(application: str, core: int) -> Iterator[Server]:
    """Run `asgi` or `starlette` of `bench.peers.bare` under uvicorn."""
    command = [sys.executable, "-m", "uvicorn", f"bench.peers.bare:{application}", "--loop", "uvloop", "--http"]
    command += ["httptools", "--no-access-log", "--log-level", "warning", "--host", "127.0.0.1", "--port", "{port}"]
    with running(f"bare {application}", command, ROOT, core, {}) as server:
        wait_for(server, "/", 200)
        yield server


@contextmanager
def watchword(
    core: int, home: Path | None = None, *, wait: bool = True, extra: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run the service with its limits off, in `home` or in a directory of its own; `extra` are settings."""
    with tempfile.TemporaryDirectory(prefix="watchword-bench-") as directory:
        home = home or Path(directory)
        command = [str(WATCHWORD), "serve", "--port", "{port}", "--data-dir", str(home / "data")]
        with running("watchword", command, home, core, NO_LIMITS | dict(extra or {})) as server:
            if wait:
                wait_for(server, "/readyz", 200)
            yield server


@contextmanager
def running(name: str, command: list[str], cwd: Path, core: int, extra: Mapping[str, str]) -> Iterator[Server]:
    """Start a command on a free port and stop it whatever happens. Its output is shown only if something goes wrong."""
    port = free_port()
    environment = {key: os.environ[key] for key in KEPT if key in os.environ} | {"PORT": str(port)} | dict(extra)
    with tempfile.TemporaryFile() as output:
        started_at = time.perf_counter()
        process = subprocess.Popen(
            [part.replace("{port}", str(port)) for part in command],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: _prepare(core),  # noqa: PLW1509 - the bench has one thread
        )
        try:
            yield Server(name, port, process, started_at)
        except BenchError as error:
            raise BenchError(f"{error}\n{_tail(output.fileno())}") from error
        finally:
            stop(process)


def wait_for(server: Server, path: str, status: int, seconds: float = 20.0) -> float:
    """Wait until the path answers with that status; return the seconds since the server was spawned."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        if server.process.poll() is not None:
            raise BenchError(f"{server.name} ended with code {server.process.returncode} before it answered")
        try:
            if server.ask("GET", path).status == status:
                return time.perf_counter() - server.started_at
        except OSError:
            pass
        time.sleep(0.002)
    raise BenchError(f"{server.name} did not answer {path} with {status} within {seconds:.0f} s")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end, then make it and its group end."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _prepare(core: int) -> None:
    """In the child, before the command: stay on the core, and die with the bench even if that is killed."""
    if core >= 0:
        os.sched_setaffinity(0, {core})
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, 4000, max(0, size - 4000)).decode(errors="replace").strip()


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return 0


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []

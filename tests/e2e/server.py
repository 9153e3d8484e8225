"""The service as a process of its own: started on a free port with a data directory of its own, and always stopped.

It is forked from one that has loaded it, where no one needs a new interpreter.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests import forked
from tests.e2e.client import Client
from watchword.settings.table import SETTINGS

COMMAND = Path(sys.executable).with_name("watchword")
START_SECONDS = 120
STOP_SECONDS = 60
UNLIMITED = {setting.variable: "off" for setting in SETTINGS if setting.name.endswith("_limit")}


class Server:
    """A running `watchword serve`.

    :param folder: its working directory, with the data directory `data` and the logs in it.
    :param settings: `WATCHWORD_…` variables; nothing of the tests' own environment reaches it.
    """

    program: tuple[str | Path, ...] = ()
    """What runs it in place of a fork."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.prefix = settings.get("WATCHWORD_PATH_PREFIX", "")
        self._arguments = arguments
        self._environment = {**clean_environment(), **settings}
        self._process: subprocess.Popen[bytes] | forked.Forked | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where the routes begin."""
        return self.origin + self.prefix

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self._process = self._started(["serve", "--port", str(self.port), "--data-dir", self.data, *self._arguments])
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None:
                raise AssertionError(f"the server ended with {self._process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the server did not get ready:\n{self.log()}")
            time.sleep(0.02)

    def _started(self, arguments: list[str | Path]) -> subprocess.Popen[bytes] | forked.Forked:
        where, environment = self.folder, self._environment
        with (where / "stdout").open("ab") as out, (where / "stderr").open("ab") as err:
            if self.program:
                command = [*self.program, *arguments]
                return subprocess.Popen(command, cwd=where, env=environment, stdout=out, stderr=err)
            return forked.start(arguments, folder=where, environment=environment, stdout=out, stderr=err)

    def _is_ready(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)  # an httpx2 client would read all CAs each time
        try:
            connection.request("GET", f"{self.prefix}/readyz")
            return connection.getresponse().status == 200
        except (HTTPException, OSError):
            return False
        finally:
            connection.close()

    def stop(self) -> int:
        """Ask it to stop, as a service manager does; answers its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    @property
    def running(self) -> bool:
        """Whether it is still there."""
        return self._process is not None and self._process.poll() is None

    def client(self, **options: object) -> Client:
        """A new client with a cookie jar of its own."""
        return Client(self.url, **options)

    def log(self) -> str:
        """Everything it has printed so far."""
        return "".join(
            (self.folder / name).read_text("utf-8", "replace")
            for name in ("stdout", "stderr")
            if (self.folder / name).exists()
        )

    def command(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Another `watchword …` command beside it, on the same data directory."""
        environment = {**self._environment, "WATCHWORD_DATA_DIR": str(self.data)}
        return forked.run(arguments, folder=self.folder, environment=environment, stdin=stdin)


class Installed(Server):
    """Run by the installed program, in a new interpreter."""

    program = (COMMAND,)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    """Our environment without anything that the service would read."""
    known = ("WATCHWORD_", "DATABASE_URL", "REDIS_URL", "PORT")
    return {name: value for name, value in os.environ.items() if not name.startswith(known)}

"""The service as a process of its own: started on a free port with a data directory of its own, and always stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2

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

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.prefix = settings.get("WATCHWORD_PATH_PREFIX", "")
        self._arguments = arguments
        self._environment = {**clean_environment(), **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where the routes begin."""
        return self.origin + self.prefix

    def start(self) -> None:
        """Start it and wait until it is ready."""
        command = [COMMAND, "serve", "--port", str(self.port), "--data-dir", self.data, *self._arguments]
        with (self.folder / "stdout").open("ab") as out, (self.folder / "stderr").open("ab") as err:
            self._process = subprocess.Popen(command, cwd=self.folder, env=self._environment, stdout=out, stderr=err)
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None:
                raise AssertionError(f"the server ended with {self._process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the server did not get ready:\n{self.log()}")
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=60).status_code == 200
        except httpx2.HTTPError:
            return False

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
        return subprocess.run(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    """Our environment without anything that the service would read."""
    known = ("WATCHWORD_", "DATABASE_URL", "REDIS_URL", "PORT")
    return {name: value for name, value in os.environ.items() if not name.startswith(known)}

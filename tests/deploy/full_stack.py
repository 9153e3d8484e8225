"""What deploy/compose.full.yaml starts, without Docker: `python -m tests.deploy.full_stack`.

PostgreSQL, Valkey and Caddy are programs from wheels, each a process on 127.0.0.1. Environments and commands are read
from the compose file, and the Caddyfile is the one that Docker mounts. Names of containers become addresses here.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2

from tests.deploy.files import DEPLOY, compose
from tests.e2e.server import COMMAND, clean_environment, free_port
from tests.postgres import Server as Postgres
from tests.storage.valkey_server import Server as Valkey
from tests.storage.valkey_server import program
from watchword import base64url

FILE = compose("compose.full.yaml")
SERVICES = ("watchword-a", "watchword-b")
PASSWORD = "a-password-of-postgresql"
_START_SECONDS = 60


class Process:
    """A program that can be killed and started again."""

    def __init__(self, folder: Path, command: list[str], environment: dict[str, str]) -> None:
        folder.mkdir()
        self.folder = folder
        self.environment = environment
        self._command = command
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; what it says is in the folder's `log`."""
        with (self.folder / "log").open("ab") as log:
            self._running = subprocess.Popen(
                self._command, cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal, and wait for its end."""
        if self._running is not None:
            self._running.send_signal(number)
            self._running.wait(timeout=_START_SECONDS)
            self._running = None

    @property
    def log(self) -> str:
        """What it has said."""
        return (self.folder / "log").read_text("utf-8", "replace")


class FullStack:
    """All of it, started in the order of the compose file's `depends_on`.

    :param settings: `WATCHWORD_…` variables of both services beside those of the compose file.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self._settings = settings
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        ports = {name: free_port() for name in SERVICES}
        self.secrets = _secrets(folder / "secrets")
        self.postgres = _postgres(folder / "postgres")
        self.valkey = _valkey()
        self._addresses = {
            **{f"{name}:4000": f"127.0.0.1:{port}" for name, port in ports.items()},
            "postgres:5432": f"127.0.0.1:{self.postgres.port}",
            "valkey:6379": f"127.0.0.1:{self.valkey.port}",
        }
        (self.secrets / "pgpass").write_text(f"127.0.0.1:{self.postgres.port}:watchword:watchword:{PASSWORD}\n")
        self.services = {name: self._service(name, port) for name, port in ports.items()}
        self.caddy = self._caddy()

    def start(self) -> None:
        """Start everything and wait until each service is ready."""
        self.postgres.start()
        self.postgres.sql(f"CREATE ROLE watchword LOGIN PASSWORD '{PASSWORD}'")
        self.postgres.sql("CREATE DATABASE watchword OWNER watchword ENCODING 'UTF8' TEMPLATE template0")
        self.valkey.start()
        for service in self.services.values():
            service.start()
        for name in self.services:
            self.ready(name)
        self.caddy.start()
        give_up_at = time.monotonic() + _START_SECONDS
        while not self._answers():
            if time.monotonic() > give_up_at:  # this is a program too: one that waits for ever tells nothing
                raise TimeoutError(self.caddy.log)
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/readyz", verify=self.trusting, timeout=30).status_code == 200
        except (OSError, httpx2.TransportError):  # no certificate yet, or no one listens
            return False

    def ready(self, name: str) -> None:
        """Wait with the command of the image's HEALTHCHECK."""
        service = self.services[name]
        done = subprocess.run(
            [COMMAND, "health", "--wait", "60"], cwd=service.folder, env=service.environment, capture_output=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, service.log

    def stop(self) -> None:
        """Stop everything, in reverse."""
        with ExitStack() as stack:
            stack.callback(self.postgres.stop)
            stack.callback(self.valkey.remove)
            for service in self.services.values():
                stack.callback(service.stop)
            stack.callback(self.caddy.stop)

    @property
    def authority(self) -> Path:
        """The certificate of Caddy's own authority, which signs for localhost."""
        return self.caddy.folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"

    @property
    def trusting(self) -> ssl.SSLContext:
        """For clients: trusts that authority only."""
        return ssl.create_default_context(cafile=self.authority)

    def _service(self, name: str, port: int) -> Process:
        told = {key: self._here(value) for key, value in FILE["services"][name]["environment"].items()}
        own = {"WATCHWORD_HOST": "127.0.0.1", "WATCHWORD_PORT": str(port), "WATCHWORD_DATA_DIR": "data"}
        return Process(
            self.folder / name, [str(COMMAND), "serve"], {**clean_environment(), **told, **own, **self._settings}
        )

    def _caddy(self) -> Process:
        path = shutil.which("caddy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
        assert path is not None, "caddy is missing: make install"
        file = self.folder / "Caddyfile"
        text = self._here((DEPLOY / "Caddyfile").read_text("utf-8"))
        file.write_text(text.replace("{\n", "{\n\tauto_https disable_redirects\n", 1))  # port 80 may not be ours
        folder = self.folder / "caddy"
        told = {"AUTH_DOMAIN": self.url, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        command = [path, "run", "--config", str(file), "--adapter", "caddyfile"]
        return Process(folder, command, {**clean_environment(), **told})

    def _here(self, text: str) -> str:
        """A value of the compose file with addresses of this machine."""
        text = re.sub(r"\$\{AUTH_DOMAIN:\?[^}]*\}", f"localhost:{self.port}", str(text))
        for name, address in self._addresses.items():
            text = text.replace(name, address)
        return text.replace("/run/secrets", str(self.secrets))


def _secrets(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    (folder / "watchword_secret").write_bytes(base64url.encode(os.urandom(32)))
    (folder / "pgpass").touch()
    for path in folder.iterdir():
        path.chmod(0o600)
    return folder


def _postgres(folder: Path) -> Postgres:
    """Unlike the tests' own, it wants a password of the service."""
    folder.mkdir()
    server = Postgres(folder, 18, fsync="on")
    server.make()
    rules = server.data / "pg_hba.conf"
    ours = "host watchword watchword 127.0.0.1/32 scram-sha-256\nhost all watchword all reject\n"
    rules.write_text(ours + rules.read_text("utf-8"))
    return server


def _valkey() -> Valkey:
    path = program("valkey 9")
    assert path is not None, "no wheel of Valkey for this machine"
    _, *options = FILE["services"]["valkey"]["command"]
    return Valkey(path, *options)


@contextmanager
def running(**settings: str) -> Iterator[FullStack]:
    """The stack, for as long as it is used."""
    folder = Path(tempfile.mkdtemp(prefix="watchword-full-"))
    folder.chmod(0o755)  # PostgreSQL may run as another user
    stack = FullStack(folder, **settings)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _tell(stack: FullStack) -> None:
    parts: dict[str, Any] = {
        "open": stack.url,
        "try": f"curl --cacert {stack.authority} {stack.url}/readyz",
        "logs": f"{stack.folder}/*/log",
        "PostgreSQL": f"127.0.0.1:{stack.postgres.port}",
        "Valkey": f"127.0.0.1:{stack.valkey.port}",
        **{name: service.environment["WATCHWORD_PORT"] for name, service in stack.services.items()},
        "end": "Ctrl-C",
    }
    for name, value in parts.items():
        print(f"{name:12} {value}", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with suppress(KeyboardInterrupt), running() as one:
        _tell(one)
        signal.pause()

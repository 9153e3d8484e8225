"""The servers of `peers_http`: each registers, logs in, refreshes and has a protected route, in its own way."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from bench import needs, python_peers
from bench.drivers import post
from bench.load import Flow
from bench.servers import EXPRESS, ROOT, Answer, BenchError, Server, running, wait_for, watchword

BETTER_AUTH = ROOT / "bench" / "peers" / "better_auth"
PASSWORD = "a long horse of 42 batteries"
FORM = "application/x-www-form-urlencoded"
BCRYPT_COST = "12"  # ours, Django's and fastapi-users' by default


def _by_name(name: str) -> str:
    return json.dumps({"username": name, "password": PASSWORD})


def _by_address(name: str) -> str:
    return json.dumps({"email": f"{name}@example.org", "password": PASSWORD, "name": name})


def _log_in_form(name: str) -> str:
    return urlencode({"username": f"{name}@example.org", "password": PASSWORD})


def _cookie(answer: Answer) -> str:
    """Return the header with what the log-in has set."""
    found = next(value for name, value in answer.headers.items() if name.lower() == "set-cookie")
    return f"Cookie: {found.partition(';')[0]}\r\n"


def _bearer(name: str) -> Callable[[Answer], str]:
    return lambda answer: f"Authorization: Bearer {answer.json()[name]}\r\n"


def _same(path: str, method: str = "POST") -> Callable[[Answer], Flow]:
    """Refresh with what the log-in has set, which stays as it is."""
    end = "Content-Length: 0\r\n" if method == "POST" else ""

    def flow(answer: Answer) -> Flow:
        return Flow(requests=[f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{_cookie(answer)}{end}\r\n"])

    return flow


def _chain(path: str, kind: str, body: tuple[str, str], mark: str) -> Callable[[Answer], Flow]:
    """Refresh with the newest token each time."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: "
    name = mark.strip('":')

    def flow(answer: Answer) -> Flow:
        return Flow(token=answer.json()[name], chain_head=head, chain_body=body[0], chain_tail=body[1], mark=mark)

    return flow


@dataclass(frozen=True)
class Peer:
    """How to start one, with which hashes, and what to ask it."""

    name: str
    hashes: Sequence[str]
    start: Callable[[str, int], AbstractContextManager[Server]]
    register: tuple[str, Callable[[str], str]]
    log_in: tuple[str, Callable[[str], str], str]
    """Path, body, and content type."""
    token_door: tuple[str, Callable[[str], str], str] | None
    """Where the refresh token comes from, if not from the log-in."""
    credential: Callable[[Answer], str]
    """The header for the protected route, from the answer to the log-in."""
    refresh: Callable[[Answer], Flow] | None

    def registering(self, name: str) -> str:
        """Return the request that registers."""
        path, body = self.register
        return post(path, body(name))

    def logging_in(self, name: str) -> str:
        """Return the request that logs in."""
        path, body, kind = self.log_in
        return post(path, body(name), kind=kind)

    def log_one_in(
        self, server: Server, name: str, door: tuple[str, Callable[[str], str], str] | None = None
    ) -> Answer:
        """Log in once and return the answer."""
        path, body, kind = door or self.log_in
        return _good(server, server.ask("POST", path, body(name).encode(), Content_Type=kind))

    def register_one(self, server: Server, name: str) -> None:
        """Register once."""
        path, body = self.register
        _good(server, server.ask("POST", path, body(name).encode(), Content_Type="application/json"))


def _good(server: Server, answer: Answer) -> Answer:
    if answer.status >= 300:
        raise BenchError(f"{server.name} answered {answer.status}: {answer.body[:300].decode(errors='replace')}")
    return answer


@contextmanager
def _watchword(hashed: str, core: int) -> Iterator[Server]:
    with watchword(core, extra={"WATCHWORD_PASSWORD_HASH": hashed}) as server:
        yield server


@contextmanager
def _node(directory: Path, hashed: str, core: int) -> Iterator[Server]:
    needs.fetch(directory)
    extra = {"NODE_ENV": "production", "HASH": hashed, "BCRYPT_COST": BCRYPT_COST}
    with (
        tempfile.TemporaryDirectory(prefix="watchword-bench-") as home,
        running(directory.name, ["node", str(directory / "server.js")], Path(home), core, extra) as server,
    ):
        wait_for(server, "/profile", 401)
        yield server


@contextmanager
def _python(command: list[str], hashed: str, core: int) -> Iterator[Server]:
    python_peers.require()
    extra = {"HASH": hashed, "PYTHONPATH": str(ROOT)}
    with (
        tempfile.TemporaryDirectory(prefix="watchword-bench-") as home,
        running(command[1], [str(python_peers.PYTHON), "-m", *command], Path(home), core, extra) as server,
    ):
        wait_for(server, "/profile", 401)
        yield server


_UVICORN = ["uvicorn", "bench.peers.accounts_fastapi_users:app", "--loop", "uvloop", "--http", "httptools"]
_UVICORN += ["--no-access-log", "--log-level", "warning", "--host", "127.0.0.1", "--port", "{port}"]
_GUNICORN = ["gunicorn", "bench.peers.accounts_django:app", "--worker-class", "gthread", "--threads", "4"]
_GUNICORN += ["--log-level", "warning", "--bind", "127.0.0.1:{port}"]
_JSON = "application/json"
PEERS = (
    Peer(
        "Watchword",
        ("argon2id", "bcrypt"),
        _watchword,
        ("/register", _by_name),
        ("/login", _by_name, _JSON),
        ("/token", lambda name: urlencode({"grant_type": "password", "username": name, "password": PASSWORD}), FORM),
        _bearer("access_token"),
        _chain("/token", FORM, ("grant_type=refresh_token&refresh_token=", ""), '"refresh_token":"'),
    ),
    Peer(
        "Better Auth",
        ("scrypt", "argon2id", "bcrypt"),
        lambda hashed, core: _node(BETTER_AUTH, hashed, core),
        ("/api/auth/sign-up/email", _by_address),
        ("/api/auth/sign-in/email", _by_address, _JSON),
        None,
        _cookie,
        _same("/api/auth/get-session", "GET"),
    ),
    Peer(
        "fastapi-users",
        ("argon2id", "bcrypt"),
        lambda hashed, core: _python(_UVICORN, hashed, core),
        ("/register", _by_address),
        ("/login", _log_in_form, FORM),
        None,
        _bearer("access_token"),
        None,
    ),
    Peer(
        "Django + simplejwt",
        ("argon2id", "bcrypt"),
        lambda hashed, core: _python(_GUNICORN, hashed, core),
        ("/register", _by_name),
        ("/login", _by_name, _JSON),
        None,
        _bearer("access"),
        _chain("/refresh", _JSON, ('{"refresh":"', '"}'), '"refresh":"'),
    ),
    Peer(
        "Express",
        ("argon2id", "bcrypt"),
        lambda hashed, core: _node(EXPRESS, hashed, core),
        ("/register", _by_name),
        ("/login", _by_name, _JSON),
        None,
        _bearer("accessToken"),
        _same("/refresh"),
    ),
)

"""Fixtures: the service, a site and an application, and in front of them each proxy in turn."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.e2e.client import bearer, fresh_name
from tests.e2e.server import Server, free_port
from tests.interop.issued import expired
from tests.proxies.application import application
from tests.proxies.guide import Places
from tests.proxies.proxy import caddy, nginx

__all__ = ["behind", "late_token", "site"]

PROXIES = {"nginx": nginx, "caddy": caddy}


class Person(NamedTuple):
    """Somebody who is logged in."""

    user_id: str
    token: str


@dataclass(frozen=True)
class Behind:
    """A proxy in front of a site: where it is, the service whose tokens it wants to see, and two who have some."""

    port: int
    service: Server
    user: Person
    admin: Person

    def get(self, path: str, token: str | None = None, method: str = "GET", **options: Any) -> httpx2.Response:
        """What a client gets, showing a token or none."""
        headers = [*(bearer(token) if token else {}).items(), *options.pop("headers", ())]
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx2.request(method, url, headers=headers, timeout=120, **options)

    def seen(self, path: str, token: str, method: str = "GET", **options: Any) -> dict[str, Any]:
        """What the application saw of a request; its headers as a dictionary, of which none may be repeated."""
        answer = self.get(path, token, method, **options)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        names = [name for name, _ in told["headers"]]
        assert len(names) == len(set(names)), names
        return {**told, "headers": dict(told["headers"])}

    def raw(self, request: bytes) -> bytes:
        """What comes back for bytes that no client library would send; the connection must close behind them."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as connection:
            connection.sendall(request)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts)

    def status(self, path: str, token: str = "") -> int:
        """The status for a path that is sent as it stands, where a client library would tidy it up."""
        shown = f"Authorization: Bearer {token}\r\n" if token else ""
        answer = self.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{shown}Connection: close\r\n\r\n".encode())
        return int(answer.split()[1])


def log_in(service: Server, *, role: str = "", called: str = "") -> Person:
    """Someone new, with or without a role and a name."""
    name = fresh_name()
    with service.client() as client:
        user_id = str(client.register(name)["id"])
        if role:
            assert service.command("users", "roles", name, "--set", role).returncode == 0
        if called:
            assert service.command("users", "rename", name, "--name", called).returncode == 0
        return Person(user_id, client.log_in(name))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain files: a page for all who are logged in, one for administrators."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.html").write_text("<p>for those who are logged in</p>\n")
    (folder / "admin").mkdir()
    (folder / "admin" / "index.html").write_text("<p>for administrators</p>\n")
    return folder


@pytest.fixture(scope="session", params=PROXIES)
def behind(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    site: Path,
) -> Iterator[Behind]:
    """Each proxy in front of the site, the application and a service, which is started as the guide says."""
    name, proxy = request.param, free_port()
    service = Server(tmp_path_factory.mktemp("service"), **settings(proxy), WATCHWORD_REGISTER_LIMIT="off")
    try:
        with application() as port:
            places = Places(proxy=proxy, service=service.port, application=port, site=site)
            with PROXIES[name](tmp_path_factory.mktemp(name), places):
                yield Behind(proxy, service, log_in(service), log_in(service, role="admin"))
    finally:
        code = service.stop()
    assert code == 0, service.log()


@pytest.fixture(scope="session")
def late_token(behind: Behind) -> str:
    """A token of the service whose time is over: from another process on its data, where they last a second."""
    twin = Server(behind.service.folder, **settings(behind.port), WATCHWORD_ACCESS_LIFETIME="1s")
    try:
        return expired(twin)
    finally:
        twin.stop()


def settings(proxy: int) -> dict[str, str]:
    """What the guides tell the service."""
    return {
        "WATCHWORD_PUBLIC_URL": f"http://127.0.0.1:{proxy}/auth",
        "WATCHWORD_PATH_PREFIX": "/auth",  # which follows from it; the test's server asks there whether it is ready
        "WATCHWORD_TRUSTED_PROXIES": "1",
        "WATCHWORD_ACCESS_COOKIE": "on",
    }

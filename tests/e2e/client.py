"""A client as a reader of a tutorial has one: requests, a cookie jar, a token to show. Every answer is inspected."""

from __future__ import annotations

import itertools
import secrets
import ssl
from functools import cache
from typing import Any

import httpx2

from tests.e2e.contract import Contract

PASSWORD = "plum-orbit-canvas"
COOKIE = "watchword_refresh"
DEVICE = "ww_device"
_contracts: dict[str, Contract] = {}
_numbers = itertools.count()


class Client(httpx2.Client):
    """An HTTP client whose every answer is held against the service's own OpenAPI document.

    :param url: where the routes begin.
    :param inspected: False leaves that out, for servers that show no document.
    """

    def __init__(self, url: str, *, inspected: bool = True, **options: Any) -> None:
        super().__init__(base_url=url, timeout=120, **{"verify": trusted(), **options})
        if inspected:
            if url not in _contracts:
                _contracts[url] = Contract(httpx2.get(f"{url}/openapi.json", verify=trusted()).json())
            contract = _contracts[url]
            self.event_hooks = {"response": [contract.check]}

    def register(self, name: str | None = None, password: str = PASSWORD, **more: str) -> dict[str, Any]:
        """A new account; what the service answered."""
        body = {"username": name or fresh_name(), "password": password, **more}
        answer = self.post("/register", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def log_in(self, name: str, password: str = PASSWORD) -> str:
        """The access token; the refresh token is in the cookie jar."""
        answer = self.post("/login", json={"username": name, "password": password})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def newcomer(self) -> str:
        """Register somebody and log them in; the access token."""
        return self.log_in(self.register()["username"])

    def grant(self, name: str, password: str = PASSWORD) -> dict[str, Any]:
        """The tokens of the OAuth door."""
        answer = self.post("/token", data={"grant_type": "password", "username": name, "password": password})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@cache
def trusted() -> ssl.SSLContext:
    """The machine's certificates, read once: each client would read them anew, which takes longer than most tests."""
    return httpx2.create_ssl_context()


def bearer(token: str) -> dict[str, str]:
    """The header that shows an access token."""
    return {"Authorization": f"Bearer {token}"}


def fresh_name() -> str:
    """A username that no test has used."""
    return f"user-{next(_numbers)}-{secrets.token_hex(4)}"


def refused(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Assert that an answer is this problem; its body."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    body = dict(answer.json())
    assert body["code"] == code, body
    return body


def fields(answer: httpx2.Response) -> dict[str, str]:
    """The faulty fields of a 422, each with the code of its first fault."""
    errors = refused(answer, 422, "invalid_input")["errors"]
    return {one["field"]: one["code"] for one in reversed(errors)}

"""Makes the users and sessions that a measure works with, through the servers' own doors."""

from __future__ import annotations

from bench.servers import Answer, BenchError, Server

PASSWORD = "a long horse of 42 batteries"


def register(server: Server, count: int, **more: str) -> list[str]:
    """Register users one after the other, `more` in each body, and return their names."""
    names = [f"bencher{place:03}" for place in range(count)]
    for name in names:
        _expect(server, 201, server.ask_json("/register", {"username": name, "password": PASSWORD} | more))
    return names


def log_in(server: Server, name: str) -> Answer:
    """Log in by the browser door."""
    return _expect(server, 200, server.ask_json("/login", {"username": name, "password": PASSWORD}))


def token_pair(server: Server, name: str) -> tuple[str, str]:
    """Log in by the OAuth door of the service; return the access token and the refresh token."""
    answer = server.ask_form("/token", grant_type="password", username=name, password=PASSWORD)
    body = _expect(server, 200, answer).json()
    return body["access_token"], body["refresh_token"]


def express_access_token(server: Server, name: str) -> str:
    """Log in at the Express application; return the access token."""
    return log_in(server, name).json()["accessToken"]


def express_cookie(server: Server, name: str) -> str:
    """Log in at the Express application; return the value of the `Cookie` header."""
    return log_in(server, name).headers["Set-Cookie"].partition(";")[0]


def _expect(server: Server, status: int, answer: Answer) -> Answer:
    if answer.status != status:
        shown = answer.body[:300].decode(errors="replace")
        raise BenchError(f"{server.name} answered {answer.status} where {status} was expected: {shown}")
    return answer

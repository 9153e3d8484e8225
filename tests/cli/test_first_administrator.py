"""What `watchword serve` prints where no one administers the service yet (D15)."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request

import pytest

from tests.cli.conftest import Run, Serve, Service

ON = {"WATCHWORD_ADMIN": "on"}
TOKEN = re.compile(r"wwl_[A-Za-z0-9_-]{43}")


def printed(text: str) -> set[str]:
    """The token, which is in the link and in the request that does without a browser."""
    return set(TOKEN.findall(text))


def make(service: Service, token: str, name: str) -> int:
    """The status of `POST /admin/first`."""
    body = json.dumps({"token": token, "username": name, "password": "plum-orbit-canvas"}).encode()
    asked = urllib.request.Request(f"{service.url}/admin/first", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    ("workers", "form"),
    [
        ("1", "json"),
        ("2", "console"),
        pytest.param("1", "console", marks=pytest.mark.rare),
        pytest.param("2", "json", marks=pytest.mark.rare),
    ],
)
def test_it_is_printed_once_until_there_is_one(serve: Serve, workers: str, form: str) -> None:
    """However many processes there are. The next start prints another; both work until one was used."""
    flags = ("--workers", workers, "--log-format", form)
    first = serve(*flags, **ON).stop()
    (old,) = printed(first.out)
    assert f"/links/{old}" in first.out
    assert old not in first.err
    again = serve(*flags, **ON)
    assert again.get("/admin/users") == 401
    assert make(again, old, "ada") == 201
    assert make(again, old, "bob") == 400
    ended = again.stop()
    (new,) = printed(ended.out)
    assert new != old
    last = serve(*flags, **ON)
    assert make(last, new, "eve") == 409
    assert TOKEN.findall(last.stop().out) == []


def test_nothing_is_printed_where_it_is_off(serve: Serve) -> None:
    """Nor is there a route."""
    service = serve()
    assert make(service, "wwl_" + "A" * 43, "ada") == 404
    assert TOKEN.findall(service.stop().out) == []


def test_one_who_was_made_by_command_is_the_first(serve: Serve, run: Run) -> None:
    """Then nothing is printed."""
    made = run(
        "users", "create", "ada", "--admin", "--password-stdin", "--new-database", "--json", stdin="plum-orbit-canvas"
    )
    assert json.loads(made.out)["roles"] == ["admin"]
    assert TOKEN.findall(serve(**ON).stop().out) == []

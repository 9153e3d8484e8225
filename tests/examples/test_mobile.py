"""The code of the guide for mobile clients, as it stands, on a running service; only the address is another."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import PASSWORD, bearer, fresh_name
from tests.e2e.fixtures import server
from tests.e2e.server import Server
from tests.tutorials.reading import claims

__all__ = ["server"]
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "mobile.md"


@pytest.fixture
def app(server: Server) -> Callable[[], dict[str, Any]]:
    """Load the guide's code, with the service's address; each time as another installed application."""
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert code.count("http://127.0.0.1:4000") == 1

    def load() -> dict[str, Any]:
        loaded: dict[str, Any] = {}
        exec(code.replace("http://127.0.0.1:4000", server.url), loaded)
        return loaded

    return load


@pytest.fixture
def person(server: Server) -> dict[str, str]:
    person = {"username": fresh_name(), "password": PASSWORD}
    with server.client() as client:
        assert client.post("/register", json=person).status_code == 201
    return person


def loses(loaded: dict[str, Any], answers: int) -> None:
    """Let the next answers get lost after the service has stored their work."""
    post, left = loaded["post"], [answers]

    def lossy(path: str, form: dict[str, str]) -> Any:
        answer = post(path, form)
        if left[0]:
            left[0] -= 1
            raise TimeoutError
        return answer

    loaded["post"] = lossy


def test_log_in_refresh_and_a_lost_answer(
    app: Callable[[], dict[str, Any]], person: dict[str, str], tmp_path: Path
) -> None:
    """Each refresh stores token and key; after a lost answer nothing is lost, and the session goes on."""
    item, loaded = tmp_path / "item", app()
    first = loaded["log_in"](item, **person)
    kept = item.read_text()
    assert item.stat().st_mode & 0o777 == 0o600
    loses(loaded, 2)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            loaded["refresh"](item)
        assert item.read_text() == kept
    second = loaded["refresh"](item)
    assert claims(second)["sid"] == claims(first)["sid"]
    after = json.loads(item.read_text())
    assert not after.items() & json.loads(kept).items()
    assert claims(loaded["refresh"](item))["sid"] == claims(first)["sid"]


def test_only_an_ended_session_is_logged_out(
    app: Callable[[], dict[str, Any]], person: dict[str, str], tmp_path: Path
) -> None:
    """A copy with a key of its own ends the session; the application then learns that it is logged out."""
    item, loaded = tmp_path / "item", app()
    loaded["log_in"](item, **person)
    stolen = json.loads(item.read_text())["refresh_token"]
    loaded["refresh"](item)
    thiefs = tmp_path / "thiefs"
    loaded["keep"](thiefs, stolen)
    with pytest.raises(loaded["LoggedOut"]):
        loaded["refresh"](thiefs)
    with pytest.raises(loaded["LoggedOut"]):
        loaded["refresh"](item)


def test_log_out_ends_the_session_even_if_it_has_to_wait(
    app: Callable[[], dict[str, Any]], person: dict[str, str], tmp_path: Path, server: Server
) -> None:
    """Without a network the item is gone at once, and the next call ends the session; a third has nothing to do."""
    item, loaded = tmp_path / "item", app()
    access = loaded["log_in"](item, **person)
    token, post = json.loads(item.read_text())["refresh_token"], loaded["post"]

    def away(path: str, form: dict[str, str]) -> Any:
        raise urllib.error.URLError("there is no network")

    loaded["post"] = away
    with pytest.raises(OSError, match="no network"):
        loaded["log_out"](item)
    assert not item.exists()
    loaded["post"] = post
    with server.client() as client:
        assert client.get("/profile", headers=bearer(access)).status_code == 200
        loaded["log_out"](item)
        assert client.get("/profile", headers=bearer(access)).status_code == 401
        form = {"grant_type": "refresh_token", "refresh_token": token}
        assert client.post("/token", data=form).json()["error"] == "invalid_grant"
    loaded["log_out"](item)
    assert not any(tmp_path.iterdir())


def test_two_programs_of_one_item_end_nothing(
    app: Callable[[], dict[str, Any]], person: dict[str, str], tmp_path: Path
) -> None:
    """An application and its extension that forget the lock: both send the one key beside the token."""
    item = tmp_path / "item"
    first = app()["log_in"](item, **person)
    programs = [app(), app()]
    together, found = threading.Barrier(2), []

    def refresh(loaded: dict[str, Any]) -> None:
        post = loaded["post"]

        def at_once(path: str, form: dict[str, str]) -> Any:
            together.wait(30)
            return post(path, form)

        loaded["post"] = at_once
        found.append(loaded["refresh"](item))

    threads = [threading.Thread(target=refresh, args=(each,)) for each in programs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [claims(token)["sid"] for token in found] == [claims(first)["sid"]] * 2
    assert claims(app()["refresh"](item))["sid"] == claims(first)["sid"]

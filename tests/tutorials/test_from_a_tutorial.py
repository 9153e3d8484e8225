"""`docs/start/from-a-tutorial.md`: each row is sent to a running service, with the tutorials' own values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import httpx2

from tests.e2e.client import Client
from tests.e2e.fixtures import Serve
from tests.tutorials.reading import tampered

PAGE = Path(__file__).parents[2] / "docs" / "start" / "from-a-tutorial.md"
_SEND = re.compile(r"(?P<method>[A-Z]+) (?P<path>\S+)(?: (?P<rest>.+))?")
_GET = re.compile(r"(?P<status>\d{3})(?: `(?P<code>\w+)`)?(?::|$)")


class Row(NamedTuple):
    """What is sent, and what must come back."""

    send: str
    status: int
    code: str | None


def rows() -> list[Row]:
    table = [line.strip("| ").split(" | ") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    found = []
    for cells in table:
        if len(cells) == 4 and cells[2].startswith("`"):
            get = _GET.match(cells[3])
            assert get is not None, cells[3]
            found.append(Row(cells[2].strip("`"), int(get["status"]), get["code"]))
    return found


def test_each_row_of_the_page_is_what_happens(serve: Serve) -> None:
    sent = rows()
    assert len(sent) >= 20
    with serve().client() as browser:
        token = ""
        for row in sent:
            changed = tampered(token)[0] if token else ""
            answer = ask(browser, row.send.replace("$TOKEN", token).replace("$TAMPERED", changed))
            assert answer.status_code == row.status, (row, answer.text)
            if row.code is not None:
                assert row.code in codes(answer), (row, answer.text)
            if row.send.startswith("POST /login") and answer.status_code == 200:
                token = answer.json()["access_token"]
                assert "token" not in answer.json(), "the page says that the name differs"


def ask(browser: Client, send: str) -> httpx2.Response:
    parts = _SEND.fullmatch(send)
    assert parts is not None, send
    rest = parts["rest"] or ""
    if rest.startswith("{"):
        return browser.request(
            parts["method"], parts["path"], content=rest, headers={"Content-Type": "application/json"}
        )
    if ": " in rest:
        name, _, value = rest.partition(": ")
        return browser.request(parts["method"], parts["path"], headers={name: value})
    if rest:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return browser.request(parts["method"], parts["path"], content=rest, headers=form)
    return browser.request(parts["method"], parts["path"])


def codes(answer: httpx2.Response) -> set[str]:
    """The code of a problem, and those of its fields."""
    problem = answer.json()
    return {problem["code"], *(error["code"] for error in problem.get("errors", ()))}

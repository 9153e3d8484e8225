"""Requests made from `/openapi.json` by somebody else's program, with all of its checks (issue 10, bad input).

No answer is a 5xx, none has a status, a type or a shape that the document does not announce, no credential is ignored,
and what the document forbids is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.openapi_runs import SERVED, accounts_in, run
from tests.e2e.server import UNLIMITED, Server

pytestmark = pytest.mark.timeout(1500)
TAKE_NO_TOKEN = {"POST /login", "POST /login/code/confirm", "POST /refresh", "POST /token"}
"""Operations that answer 401 to whatever is made up: what they ask for is no access token."""


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service of its own: what is asked for ends sessions and deletes accounts."""
    running = Server(tmp_path_factory.mktemp("server"), **UNLIMITED, **SERVED)
    try:
        yield running
        assert "Traceback" not in running.log(), running.log()
    finally:
        code = running.stop()
    assert code == 0, running.log()


def require_all_tried(report: dict[str, Any], *, least: int) -> None:
    """Fail unless every operation was asked, and those that need a credential with one that counts."""
    operations = report["operations"]
    assert operations["tested"] == operations["total"] >= 60
    assert report["test_cases"]["generated"] >= least
    assert not report["auth"]["reauth_broke"]
    assert set(report["warnings"]["missing_auth"]) <= TAKE_NO_TOKEN


def test_every_operation_answers_what_the_document_says(fresh: Server) -> None:
    """The examples of the document, and each field at, below and beyond its bounds."""
    report = run(fresh, accounts_in(fresh), "--phases", "examples,coverage")
    require_all_tried(report, least=1000)


@pytest.mark.rare
def test_random_requests_one_after_the_other(fresh: Server) -> None:
    """Random ones too, and sequences, in which an answer names what the next request is about."""
    report = run(fresh, accounts_in(fresh), "--max-examples", "25")
    require_all_tried(report, least=2000)
    assert all(phase["status"] == "success" for phase in report["phases"].values()), report["phases"]

"""Express, the example and the guide's snippets: what is refused, in which words, also while the service is away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.e2e.client import bearer
from tests.e2e.fixtures import Serve
from tests.e2e.listening import listening, said
from tests.e2e.server import Server, free_port
from tests.examples.example import EXAMPLES, SERVICE, running
from tests.interop import npm
from tests.proxies.conftest import log_in
from tests.tutorials.reading import tampered

FOLDER = EXAMPLES / "javascript"
GUIDE = EXAMPLES.parent / "docs" / "guides" / "express.md"
NOTE = {"Content-Type": "application/json"}


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    npm.install(FOLDER)


def told(answer: httpx2.Response) -> tuple[int, str]:
    """Status and code of a refusal, which says nothing else."""
    body = answer.json()
    assert set(body) == {"code", "status"}, answer.text
    assert answer.status_code == body["status"]
    return answer.status_code, body["code"]


def test_refusals_of_the_example(server: Server, tmp_path: Path) -> None:
    """Other schemes are no token; what is no JSON is the client's fault; a changed token opens nothing."""
    headers = bearer(log_in(server).token)
    with running("javascript/server.js", tmp_path, server.url) as url, httpx2.Client(base_url=url) as api:
        basic = api.get("/notes", headers={"Authorization": "Basic abc"})
        assert told(basic) == (401, "token_missing")
        assert basic.headers["www-authenticate"] == "Bearer"
        for bad in tampered(headers["Authorization"].split()[1]):
            assert told(api.get("/notes", headers=bearer(bad))) == (401, "token_invalid")
        for body in (b"{", b'{"text": "\xff', b"no"):
            assert told(api.post("/notes", content=body, headers=headers | NOTE)) == (400, "invalid_input"), body
        assert told(api.post("/notes", json={"text": 1}, headers=headers)) == (422, "invalid_input")
        assert told(api.post("/notes", json={"text": "x" * 200_000}, headers=headers)) == (413, "invalid_input")
        assert api.post("/notes", json={"text": "Hello"}, headers=headers).status_code == 201
        assert api.delete("/notes", headers=headers).status_code == 204


def test_the_example_while_the_service_is_away(serve: Serve, tmp_path: Path) -> None:
    """503 and never 401 or a stack trace: without keys for every token, with them where the service is asked."""
    server = serve()
    headers = bearer(log_in(server).token)
    with running("javascript/server.js", tmp_path, server.url) as url, httpx2.Client(base_url=url) as api:
        assert server.stop() == 0
        for method in ("GET", "DELETE"):
            assert told(api.request(method, "/notes", headers=headers)) == (503, "unavailable")
        assert told(api.get("/notes")) == (401, "token_missing")
        server.start()
        assert api.get("/notes", headers=headers).status_code == 200
        assert server.stop() == 0
        assert api.get("/notes", headers=headers).status_code == 200, "the keys are there"
        assert told(api.delete("/notes", headers=headers)) == (503, "unavailable")
        assert "ECONNREFUSED" in said(tmp_path), "the cause is in the log"


@pytest.fixture
def as_printed(serve: Serve, tmp_path: Path) -> Iterator[tuple[Server, httpx2.Client]]:
    """The guide's snippets in one file, the second before the error handler of the first; the service, and a client."""
    whole, asking = re.findall(r"^ *```js\n(.*?)^ *```", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    service, port = serve(), free_port()
    for shown, actual in (
        (SERVICE, service.url),
        ("listen(8000,", f"listen({port},"),
        ("app.use((error", f"{asking}\napp.use((error"),
    ):
        assert whole.count(shown) == 1, shown
        whole = whole.replace(shown, actual)
    (tmp_path / "server.mjs").write_text(whole)
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    with (
        listening(["node", "server.mjs"], tmp_path, port),
        httpx2.Client(base_url=f"http://127.0.0.1:{port}") as api,
    ):
        yield service, api


def test_the_guides_snippets_as_printed(as_printed: tuple[Server, httpx2.Client]) -> None:
    """A good token opens; a bad one and none do not; after the log-out only what asks the service refuses."""
    service, api = as_printed
    user_id, token = log_in(service)
    headers = bearer(token)
    assert api.get("/notes", headers=headers).json() == {"user": user_id}
    assert api.delete("/notes", headers=headers).status_code == 204
    refused = api.get("/notes", headers=bearer(f"{token}x"))
    assert (refused.status_code, refused.json()) == (401, {"status": 401})
    assert refused.headers["www-authenticate"] == "Bearer"
    with service.client() as client:
        assert client.post("/logout", headers=headers).status_code == 204
    assert api.get("/notes", headers=headers).status_code == 200
    assert api.delete("/notes", headers=headers).status_code == 401
    assert service.stop() == 0
    assert api.delete("/notes", headers=headers).json() == {"status": 503}


def test_the_guides_snippet_without_keys(as_printed: tuple[Server, httpx2.Client]) -> None:
    """No key set, no verdict: 503, and no stack trace as an answer."""
    service, api = as_printed
    headers = bearer(log_in(service).token)
    assert service.stop() == 0
    answer = api.get("/notes", headers=headers)
    assert (answer.status_code, answer.json()) == (503, {"status": 503})

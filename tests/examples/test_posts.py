"""The posts API of the tutorial: the caller is the author; the author or an administrator changes, nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.client import bearer, refused
from tests.e2e.server import Server
from tests.examples.example import running
from tests.proxies.conftest import log_in
from tests.tutorials.reading import tampered

DRAFT = {"title": "Hello", "body": "From the guard."}


@pytest.fixture(scope="module")
def posts(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """The example, running."""
    folder: Path = tmp_path_factory.mktemp("posts")
    with running("posts_fastapi.py", folder, server.url) as url, httpx2.Client(base_url=url, timeout=120) as client:
        yield client


def written(posts: httpx2.Client, token: str) -> dict[str, Any]:
    answer = posts.post("/posts", json=DRAFT, headers=bearer(token))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_the_caller_is_the_author(posts: httpx2.Client, server: Server) -> None:
    """By the token; what the body says of an author counts for nothing. Everybody may read."""
    ada = log_in(server)
    post = posts.post("/posts", json={**DRAFT, "author": "somebody-else"}, headers=bearer(ada.token)).json()
    assert post == {**DRAFT, "id": post["id"], "author": ada.user_id}
    assert post in posts.get("/posts").json()


def test_only_the_author_or_an_admin_changes_a_post(posts: httpx2.Client, server: Server) -> None:
    """Updating and deleting: 403 for others, 404 for what is not there, and afterwards it is as it should be."""
    author, other, admin = log_in(server), log_in(server), log_in(server, role="admin")
    post = written(posts, author.token)
    path = f"/posts/{post['id']}"
    changed = {"title": "Changed", "body": ""}
    assert posts.put(path, json=changed, headers=bearer(other.token)).status_code == 403
    assert posts.delete(path, headers=bearer(other.token)).status_code == 403
    assert post in posts.get("/posts").json()
    assert posts.put(path, json=changed, headers=bearer(author.token)).json() == {**post, **changed}
    by_admin = posts.put(path, json=DRAFT, headers=bearer(admin.token)).json()
    assert by_admin == post, "the author stays the author"
    assert posts.delete(path, headers=bearer(admin.token)).status_code == 204
    for token in (author.token, other.token, admin.token):
        assert posts.delete(path, headers=bearer(token)).status_code == 404
        assert posts.put(path, json=DRAFT, headers=bearer(token)).status_code == 404


def test_no_id_is_used_twice(posts: httpx2.Client, server: Server) -> None:
    """A link to a post that is gone never leads to somebody else's."""
    token = log_in(server).token
    gone = written(posts, token)["id"]
    assert posts.delete(f"/posts/{gone}", headers=bearer(token)).status_code == 204
    assert written(posts, token)["id"] > gone


def test_nobody_writes_without_a_good_token(posts: httpx2.Client, server: Server) -> None:
    """No header, a tampered token, one from before the log-out; nothing is written."""
    ada = log_in(server)
    post = written(posts, ada.token)
    before = posts.get("/posts").json()
    for method, path in (("POST", "/posts"), ("PUT", f"/posts/{post['id']}"), ("DELETE", f"/posts/{post['id']}")):
        refused(posts.request(method, path), 401, "token_missing")
        for changed in tampered(ada.token):
            assert posts.request(method, path, headers=bearer(changed)).status_code == 401
    assert posts.get("/posts").json() == before


def test_input_that_does_not_fit_is_refused(posts: httpx2.Client, server: Server) -> None:
    """Never a 500: numbers no row has, halves of characters, the wrong types, too much of it."""
    headers = bearer(log_in(server).token)
    for number in ("0", "-1", str(2**63), "9" * 400, "x", "1.5"):
        assert posts.delete(f"/posts/{number}", headers=headers).status_code == 422, number
    json = {**headers, "Content-Type": "application/json"}
    for body in (b"", b"{", b"[]", b'{"title": "x"}', b'{"title": 1, "body": ""}', b'{"title": "\\ud800", "body": ""}'):
        assert posts.post("/posts", content=body, headers=json).status_code == 422, body
    assert posts.post("/posts", json={"title": "x" * 201, "body": ""}, headers=headers).status_code == 422


def test_its_documentation_knows_where_to_log_in(posts: httpx2.Client, server: Server) -> None:
    """The Authorize button of `/docs` leads to the service."""
    document = posts.get("/openapi.json").json()
    flows = [scheme.get("flows", {}) for scheme in document["components"]["securitySchemes"].values()]
    assert f"{server.url}/token" in [flow["password"]["tokenUrl"] for flow in flows if "password" in flow]
    assert document["paths"]["/posts"]["post"]["security"]
    assert "security" not in document["paths"]["/posts"]["get"]

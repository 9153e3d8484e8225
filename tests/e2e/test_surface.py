"""The surface of the service: its document, its methods, its prefix, its pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.e2e.client import Client, bearer, refused
from tests.e2e.fixtures import Serve

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")


@pytest.fixture(scope="module")
def document(server: Any) -> dict[str, Any]:
    with server.client() as client:
        return dict(client.get("/openapi.json").json())


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    """OpenAPI 3.1, checked by somebody else's validator."""
    assert [str(fault) for fault in OpenAPIV31SpecValidator(document).iter_errors()] == []
    assert document["openapi"].startswith("3.1.")


def test_the_document_says_who_may_call_what(document: dict[str, Any]) -> None:
    """Every operation has an id, a summary, a tag, its security, and says how it can fail."""
    ids = []
    for path, method, operation in _operations(document):
        ids.append(operation["operationId"])
        assert operation["summary"], (path, method)
        assert operation["tags"][0] in {
            *(
                "start",
                "accounts",
                "passwords",
                "codes",
                "recovery",
                "mail",
                "sessions",
                "oauth",
                "revocations",
                "proxy",
            ),
            *("activity", "admin", "health", "front", "api_keys"),
        }
        assert "security" in operation
        if path.startswith(("/profile", "/sessions")):
            assert {"access_token": []} in operation["security"]
            assert "401" in operation["responses"]
    assert len(ids) == len(set(ids))


def test_no_guarded_route_answers_without_a_token(client: Client, document: dict[str, Any]) -> None:
    """Default deny: every route that the document calls guarded is 401 with a challenge and no error code (C2)."""
    tried = 0
    for path, method, operation in _operations(document):
        if {"access_token": []} not in operation["security"] or {} in operation["security"]:
            continue
        answer = client.request(method.upper(), path.replace("{id}", "x"), json={})
        refused(answer, 401, "token_missing")
        assert answer.headers["www-authenticate"] == 'Bearer realm="watchword"'
        tried += 1
    assert tried >= 7


def test_C3_C11_headers_on_every_route(client: Client, document: dict[str, Any]) -> None:
    """Each answer is inspected by the client (see `contract.py`); this asks every route there is, and the pages."""
    for path, method, _ in _operations(document):
        answer = client.request(method.upper(), path.replace("{id}", "x"))
        assert answer.headers["x-content-type-options"] == "nosniff"
    for page in (
        "/",
        "/docs",
        "/problems",
        "/problems/token_expired",
        "/docs/swagger-ui.css",
        "/docs/docs.js",
        "/nowhere",
    ):
        answer = client.get(page)
        assert "unsafe" not in answer.headers["content-security-policy"]
        if answer.headers["content-type"].startswith("text/html"):
            assert answer.headers["cross-origin-opener-policy"] == "same-origin"
            assert "http://" not in answer.text.replace(str(client.base_url).rstrip("/"), "")
            assert "https://" not in answer.text, "the page names another host"


def test_every_way_to_be_refused_is_announced(client: Client, document: dict[str, Any]) -> None:
    """The document names each status that a request can earn by its shape alone; the client compares (contract.py)."""
    too_much, form = b" " * 70_000, {"Content-Type": "text/plain"}
    for path, method, _ in _operations(document):
        address = path.replace("{id}", "x")
        client.request(method, address, headers=[("Authorization", "a"), ("Authorization", "b")])
        client.request(method, address, headers={"Authorization": "Bearer"})
        client.request(method, address, headers=[("Origin", "https://a.example"), ("Origin", "https://a.example")])
        client.request(method, address, headers=form, content=b"a=b")
        client.request(method, address, headers=form, content=too_much)


@pytest.mark.parametrize("method", METHODS)
def test_methods(client: Client, document: dict[str, Any], method: str) -> None:
    """Every path answers the methods it has, OPTIONS, HEAD where it has GET, and 405 with `Allow` for the rest."""
    for path, operations in document["paths"].items():
        if path == "/verify":
            continue  # which answers every method as GET: see `test_no_method_passes_without_a_token`
        has = {name.upper() for name in operations} | {"OPTIONS"} | ({"HEAD"} if "get" in operations else set())
        answer = client.request(method, path.replace("{id}", "x"))
        if method in has:
            assert answer.status_code != 405, (path, method)
        else:
            assert answer.status_code == 405, (path, method)
        if method == "OPTIONS":
            assert answer.status_code == 204
        if answer.status_code == 405 or method == "OPTIONS":
            assert set(answer.headers["allow"].split(", ")) == has


def test_head_is_get_without_the_body(client: Client) -> None:
    """The same status and headers, also for refusals; RFC 9110 section 9.3.2."""
    token = client.newcomer()
    for path, headers in (("/livez", {}), ("/profile", bearer(token)), ("/profile", {}), ("/docs", {}), ("/x", {})):
        full, head = client.get(path, headers=headers), client.head(path, headers=headers)
        assert head.content == b""
        assert head.status_code == full.status_code
        for name in ("content-type", "content-length", "cache-control"):
            assert head.headers[name] == full.headers[name], (path, name)


def test_every_problem_has_its_page(client: Client) -> None:
    """The `type` of an error is a link that works, and the index lists them all."""
    answer = client.get("/profile")
    page = client.get(answer.json()["type"])
    assert page.status_code == 200
    assert answer.json()["title"] in page.text
    index = client.get("/problems")
    assert "token_missing" in index.text
    refused(client.get("/problems/nothing_of_this_name"), 404, "not_found")


def test_the_front_page_leads_everywhere(client: Client) -> None:
    """Every link on it answers, for people and for programs."""
    found = client.get("/").json()
    page = client.get("/", headers={"Accept": "text/html"}).text
    assert f"Watchword {found['version']}" in page
    for name in ("metadata", "health", "problems", "docs", "openapi"):
        assert f'href="{found[name]}"' in page
        assert client.get(found[name]).status_code == 200


def test_everything_moves_under_a_prefix(serve: Serve) -> None:
    """`WATCHWORD_PATH_PREFIX=/api`: routes, pages, document and links; nothing is left behind at the root."""
    server = serve(WATCHWORD_PATH_PREFIX="/api")
    with server.client() as client:
        document = client.get("/openapi.json").json()
        assert [str(fault) for fault in OpenAPIV31SpecValidator(document).iter_errors()] == []
        # RFC 8414 section 3.1: the metadata of an issuer with a path stand at the root, the path inserted.
        assert {path for path in document["paths"] if not path.startswith("/api/")} == set()
        token = client.newcomer()
        assert client.get("/profile", headers=bearer(token)).status_code == 200
        assert client.post("/refresh").status_code == 200
        problem = refused(client.get("/profile"), 401, "token_missing")
        assert problem["type"] == f"{server.origin}/api/problems/token_missing"
        assert client.get(problem["type"]).status_code == 200
        assert client.get("/docs").status_code == 200
        assert client.get("/").json()["docs"] == f"{server.origin}/api/docs"
        issuer = client.get("/.well-known/openid-configuration").json()["issuer"]
        assert issuer == f"{server.origin}/api"
        assert client.get(f"{server.origin}/api").status_code == 200
        for path in ("/", "/profile", "/livez", "/docs", "/openapi.json"):
            assert client.get(f"{server.origin}{path}").status_code == 404, path
        for name in ("oauth-authorization-server", "openid-configuration"):
            inserted = client.get(f"{server.origin}/.well-known/{name}/api")
            assert inserted.json()["issuer"] == issuer


def test_docs_can_be_off(serve: Serve) -> None:
    """With a public URL beyond loopback there is no document unless it is asked for."""
    server = serve(WATCHWORD_PUBLIC_URL="https://auth.example", WATCHWORD_TRUSTED_PROXIES="0")
    with server.client(inspected=False) as client:
        assert client.get("/docs").status_code == 404
        assert client.get("/openapi.json").status_code == 404
        assert client.get("/livez").status_code == 200

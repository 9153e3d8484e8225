"""The OpenAPI document says what the tables say, and Swagger UI is served by us alone."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import validate

from tests.web.asking import PUBLIC_URL, ROUTES, Asker, LogIn, Shown, TokenForm, dispatcher, route
from watchword.web.docs import document_routes, icon_route
from watchword.web.feature import Feature
from watchword.web.openapi import docs_routes, openapi_document
from watchword.web.problem_pages import problem_routes
from watchword.web.route import AccessToken, Browser, Credential, Route

EXTRA = (
    route("GET", "/typed/{id}", access=AccessToken(roles=("admin",), scopes=("x",)), answers={200: Shown},
          problems=("not_found",)),
    route("POST", "/made", body=LogIn, access=Browser(), answers={201: Shown, 204: None}, limits=("login",), step=1,
          problems=("username_taken", "not_found")),
    route("POST", "/out", access=Browser(), answers={204: None}, credential=Credential.ACCESS_TOKEN, step=2),
    route("GET", "/list", answers={200: list[Shown]}),
    route("GET", "/readyz", answers={200: Shown, 503: Shown}),
)  # fmt: skip
FEATURES = (
    Feature("sample", ROUTES, password_flow="/token"),
    Feature("extra", EXTRA),
    Feature("pages", problem_routes(PUBLIC_URL)),
)


def document(public_url: str = PUBLIC_URL, prefix: str = "", features: Any = FEATURES) -> dict[str, Any]:
    written: dict[str, Any] = msgspec.json.decode(
        msgspec.json.encode(openapi_document(features, prefix=prefix, public_url=public_url))
    )
    return written


@pytest.mark.parametrize(
    ("public_url", "prefix"), [(PUBLIC_URL, ""), ("http://127.0.0.1:4000", ""), ("https://a.example/api", "/api")]
)
def test_it_is_a_valid_document(public_url: str, prefix: str) -> None:
    written = document(public_url, prefix)
    assert written["openapi"].startswith("3.1")
    validate(written)


def test_every_documented_route_is_in_it_and_no_other() -> None:
    written = document(prefix="/api")
    expected = {
        (one.path if one.root else "/api" + one.path, one.method.lower()) for one in (*ROUTES, *EXTRA) if one.documented
    }
    assert {(path, method) for path, methods in written["paths"].items() for method in methods} == expected
    ids = [one["operationId"] for methods in written["paths"].values() for one in methods.values()]
    assert len(ids) == len(set(ids))


def test_what_a_route_takes_and_answers() -> None:
    written = document()
    made = written["paths"]["/made"]["post"]
    assert made["tags"] == ["start"]
    reference = made["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = written["components"]["schemas"][reference.rpartition("/")[2]]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["username"]["examples"] == ["alice"]
    assert set(made["responses"]) >= {"201", "204", "400", "403", "409", "413", "415", "422", "429", "500", "503"}
    assert "content" not in made["responses"]["204"]
    typed = written["paths"]["/typed/{id}"]["get"]
    assert [one["name"] for one in typed["parameters"]] == ["id"]
    assert set(typed["responses"]["403"]["content"]["application/problem+json"]["examples"]) == {
        "scope_missing",
        "role_missing",
        "token_narrowed",
    }
    ready = written["paths"]["/readyz"]["get"]["responses"]["503"]["content"]
    assert list(ready) == ["application/json"]  # the route's own answer, not the problem


def test_security_follows_the_guard() -> None:
    paths = document()["paths"]
    assert paths["/open"]["get"]["security"] == []
    assert paths["/profile"]["get"]["security"] == [{"access_token": []}]
    assert paths["/out"]["post"]["security"] == [{"access_token": []}, {}]  # sent where there is one
    assert "`__Host-watchword_refresh`" in paths["/refresh"]["post"]["description"]


def test_swaggers_authorize_button_finds_the_token_endpoint() -> None:
    for public_url, prefix, url in (
        (PUBLIC_URL, "", "/token"),
        ("https://a.example/api", "/api", "/api/token"),
        ("https://a.example/auth", "", "/auth/token"),  # mounted: the path is not ours
    ):
        schemes = document(public_url, prefix)["components"]["securitySchemes"]
        assert list(schemes) == ["access_token"]
        assert schemes["access_token"]["flows"]["password"]["tokenUrl"] == url
        assert schemes["access_token"]["description"]
    bare = document(features=(Feature("one", (route("GET", "/open"),)),))
    assert bare["components"]["securitySchemes"]["access_token"]["scheme"] == "bearer"


def test_reading_begins_with_the_first_steps() -> None:
    written = document()
    steps = [
        (method, path)
        for path, methods in written["paths"].items()
        for method, one in methods.items()
        if one["tags"] == ["start"]
    ]
    assert steps == [("post", "/made"), ("post", "/out")]
    assert [one["name"] for one in written["tags"]] == ["start", "sample", "extra"]
    assert list(written["paths"])[:2] == ["/made", "/out"]


def test_what_to_do_first_is_said_in_three_sentences() -> None:
    for registration, features, words in (
        (True, FEATURES, ("Make an account with `POST /register`, then press **Authorize**", "/problems")),
        (False, FEATURES, ("Ask an administrator for an account, then press **Authorize**", "/problems")),
        (True, FEATURES[1:], ("log in with `POST /login`", "paste")),
    ):
        made = openapi_document(features, prefix="", public_url=PUBLIC_URL, registration=registration)
        beginning = made["info"]["description"]
        assert len(re.findall(r"\.(?: |$)", beginning)) == 3
        assert all(word in beginning for word in words)


def test_the_oauth_door_shows_its_own_error() -> None:
    default = document()["paths"]["/token"]["post"]["responses"]["default"]
    assert default["content"]["application/json"]["schema"]["$ref"].endswith("/OAuthError")


def test_a_code_without_an_entry_is_found_when_the_document_is_made() -> None:
    with pytest.raises(KeyError):
        document(features=(Feature("one", (route("GET", "/x", problems=("no_such_code",)),)),))


def test_form_fields_are_described() -> None:
    content = document()["paths"]["/token"]["post"]["requestBody"]["content"]
    assert list(content) == ["application/x-www-form-urlencoded"]
    assert TokenForm.__name__ in content["application/x-www-form-urlencoded"]["schema"]["$ref"]


# Swagger UI


@pytest.fixture(scope="module")
def ask() -> Asker:
    routes: tuple[Route, ...] = docs_routes(FEATURES, prefix="/api", public_url="http://127.0.0.1:4000")
    return dispatcher(*routes, icon_route(), prefix="/api", public_url="http://127.0.0.1:4000")


def test_the_document_is_served(ask: Asker) -> None:
    answer = ask("GET", "/api/openapi.json")
    assert answer["content-type"] == "application/json"
    validate(answer.json)


def test_the_document_is_made_once_when_it_is_first_requested() -> None:
    """It is most of what an application takes to make, and most processes are never asked for it."""
    made: list[None] = []

    def document() -> dict[str, str]:
        made.append(None)
        return {"openapi": "3.1.0"}

    ask = dispatcher(*document_routes(document))
    assert ask("GET", "/docs").status == 200
    assert made == []
    for _ in range(2):
        assert ask("GET", "/openapi.json").json == {"openapi": "3.1.0"}
    assert made == [None]


def test_c11_the_page_runs_only_our_files(ask: Asker) -> None:
    """No CDN, no inline script or style: the policy forbids both, and the page has neither."""
    answer = ask("GET", "/api/docs")
    assert answer["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().partition(" ")[::2] for part in answer["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"
    assert policy["img-src"] == "'self' data:"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    page = answer.body.decode()
    assert "//" not in page.replace("<!doctype html>", "")
    assert not re.search(r"<script>|<style|style=| on\w+=", page)
    names = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(names) == 6
    for name in names:
        assert ask("GET", f"/api/{name}").status == 200, name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("docs.js", "text/javascript; charset=utf-8"),
        ("docs.css", "text/css; charset=utf-8"),
        ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("swagger-ui.css", "text/css; charset=utf-8"),
        ("../icon.svg", "image/svg+xml"),
    ],
)
def test_files_have_types_and_can_be_cached(ask: Asker, name: str, kind: str) -> None:
    path = f"/api/docs/{name}".replace("docs/../", "")
    answer = ask("GET", path)
    assert (answer.status, answer["content-type"]) == (200, kind)
    assert answer["cache-control"] == "public, max-age=600"
    again = ask("GET", path, [("if-none-match", answer["etag"])])
    assert (again.status, again.body) == (304, b"")
    assert ask("GET", path, [("if-none-match", '"other"')]).status == 200


def test_nobody_elses_validator_is_asked(ask: Asker) -> None:
    assert b'validatorUrl: "none"' in ask("GET", "/api/docs/docs.js").body


@pytest.mark.parametrize(
    "name", ["../__init__.py", "..%2f__init__.py", "LICENSE", "swagger-ui.js", "swagger-editor.js"]
)
def test_no_other_file_of_the_package_is_served(ask: Asker, name: str) -> None:
    assert ask("GET", f"/api/docs/{name}").status == 404

"""What the OpenAPI document shows works as it stands: its examples are sent, its schemes are what routes read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.e2e.client import bearer
from tests.features.api import Api, served
from tests.identity.scenes import HOME
from watchword.identity.audit import LOCAL
from watchword.identity.granting import Operation, unchecked

METHODS = ("get", "post", "patch", "delete", "put")
FORM = "application/x-www-form-urlencoded"


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert method in METHODS
            yield method, path, operation


async def document_of(api: Api) -> dict[str, Any]:
    return dict((await api.get("/openapi.json")).json())


async def step(api: Api, path: str) -> Any:
    """A step as the document shows it."""
    content = (await document_of(api))["paths"][path]["post"]["requestBody"]["content"]
    return await api.post(path, json=content["application/json"]["example"])


def sampled(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A body put together from the examples of the fields, as generators do it that look no further."""
    fields = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]
    return {name: field["examples"][0] for name, field in fields.items() if field.get("examples", [""])[0]}


BODIES = (
    "post /register", "post /login", "post /refresh",
    "patch /profile", "delete /profile", "post /profile/password", "post /token",
    "post /introspect", "post /revoke", "post /password/forgot", "post /password/reset", "post /login/code",
    "post /login/code/confirm", "post /email/verification", "post /email/verify", "post /email/undo",
    "post /profile/email", "post /admin/users", "patch /admin/users/{id}", "put /admin/users/{id}/roles",
    "patch /admin/users/{id}/metadata", "post /admin/first", "post /admin/keys/rotate", "post /admin/keys/revoke",
    "put /admin/scopes/{role}", "post /admin/apis", "patch /admin/apis/{name}",
    "post /api-keys", "post /api-keys/{id}/rotate",
    "post /admin/webhooks", "post /admin/webhooks/{id}/secret", "post /admin/webhooks/{id}/retry",
)  # fmt: skip


# Where an example cannot hold what only a client, or a mail, has.
REFUSED = {
    "/introspect": "invalid_client",
    "/email/verify": "one_time_invalid",
    "/email/undo": "one_time_invalid",
    "/admin/first": "one_time_invalid",
    "/password/reset": "one_time_invalid",
    "/login/code/confirm": "invalid_credentials",
}


async def test_these_are_all_bodies(api: Api) -> None:
    found = {f"{m} {p}" for m, p, one in operations(await document_of(api)) if "requestBody" in one}
    assert found == set(BODIES)


@pytest.mark.parametrize("name", BODIES)
async def test_every_example_body_is_accepted_as_it_stands(tmp_path: Path, name: str) -> None:
    """In the order of reading: the account is made first, with the document's own words, then logged in to."""
    method, path = name.split()
    for number in range(2):
        async with served(tmp_path / str(number)) as api:
            document = await document_of(api)
            operation = document["paths"][path][method]
            ((kind, content),) = operation["requestBody"]["content"].items()
            body = content["example"] if number == 0 else sampled(document, content["schema"])
            headers, address = {}, path
            if path != "/register":
                assert (await step(api, "/register")).status_code == 201
                if path.startswith("/admin"):
                    await api.kernel.database.run("UPDATE ww_users SET roles = 'admin'")
                    other = await api.kernel.users.create(
                        username="other", email=None, password=None, client=HOME, check=unchecked
                    )
                    if "{name}" in path:
                        by = Operation(HOME, None, unchecked)
                        await api.kernel.granting.create_api("billing", "urn:billing", frozenset(), by)
                    address = path.replace("{id}", other.id).replace("{role}", "editor").replace("{name}", "billing")
                if path.startswith("/admin/webhooks/"):
                    made, _ = await api.kernel.webhooks.add(
                        "https://hooks.invalid/", ("*",), by=Operation(LOCAL, None, unchecked)
                    )
                    address = path.replace("{id}", made.id)
                token = (await step(api, "/login")).json()["access_token"]
                if {"access_token": []} in operation["security"]:
                    headers = bearer(token)
                if path.startswith("/api-keys/"):
                    key = (await api.post("/api-keys", json={"name": "first"}, headers=headers)).json()
                    address = path.replace("{id}", key["about"]["id"])
            sent = {"data": body} if kind == FORM else {"json": body}
            answer = await api.request(method.upper(), address, headers=headers, **sent)
            if path in REFUSED:
                assert REFUSED[path] in (answer.json().get("code"), answer.json().get("error")), answer.text
            else:
                assert answer.status_code in {200, 201, 202, 204}, (body, answer.text)


async def test_every_answer_has_an_example_that_fits_its_schema(api: Api) -> None:
    document = await document_of(api)
    for method, path, operation in operations(document):
        for status, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items():
                if kind == "text/html":
                    continue  # a page for people
                shown = [one["value"] for one in content.get("examples", {}).values()] or [content.get("example")]
                assert shown != [None], (method, path, status, kind)
                validator = Draft202012Validator({**content["schema"], "components": document["components"]})
                for one in shown:
                    assert not list(validator.iter_errors(one)), (method, path, status)


async def test_whatever_reads_a_bearer_token_says_so(api: Api) -> None:
    """Swagger UI and generated clients send a token only where the document names the scheme."""
    document = await document_of(api)
    for method, path, operation in operations(document):
        if path == "/token":
            continue  # refuses it: a client of this endpoint has nothing to show
        content = operation.get("requestBody", {}).get("content", {})
        sent: dict[str, Any] = {}
        for kind, one in content.items():
            sent = {"data" if kind == FORM else "json": one["example"]}
        query = {"wait": "0"} if path == "/revocations" else {}
        address = re.sub(r"\{\w+\}", "x", path)
        bare = await api.request(method.upper(), address, params=query, **sent)
        shown = await api.request(method.upper(), address, params=query, headers=bearer("nonsense"), **sent)
        reads = path not in {"/register", "/login"} and shown.status_code != bare.status_code
        reads = reads or shown.headers.get("www-authenticate", "") != bare.headers.get("www-authenticate", "")
        if reads:
            assert any({"access_token", "guard_key"} & set(one) for one in operation["security"]), (method, path)
    for path in ("/logout", "/introspect", "/revoke"):
        assert document["paths"][path]["post"]["security"][-1] == {}, path


async def test_log_out_is_shown_the_token_and_ends_its_session(api: Api) -> None:
    await step(api, "/register")
    token = (await step(api, "/login")).json()["access_token"]
    api.cookies.clear()
    assert (await document_of(api))["paths"]["/logout"]["post"]["security"] == [{"access_token": []}, {}]
    assert (await api.post("/logout", headers=bearer(token))).status_code == 204
    assert (await api.get("/profile", headers=bearer(token))).status_code == 401


async def test_reading_begins_where_a_person_does(api: Api) -> None:
    document = await document_of(api)
    steps = [(m, p) for m, p, one in operations(document) if one["tags"] == ["start"]]
    assert steps == [
        ("post", "/register"), ("post", "/login"), ("get", "/profile"), ("post", "/refresh"), ("post", "/logout"),
        ("get", "/sessions"), ("delete", "/sessions"), ("delete", "/sessions/{id}"),
    ]  # fmt: skip
    assert list(document["paths"])[:6] == ["/register", "/login", "/profile", "/refresh", "/logout", "/sessions"]


async def test_a_closed_registration_is_not_where_reading_begins(tmp_path: Path) -> None:
    async with served(tmp_path, registration="closed") as api:
        assert "/register" not in (await document_of(api))["info"]["description"]

"""Every field of every route, filled with what no honest client sends: a clear 4xx each time, never a fault of ours."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.client import PASSWORD, Client, bearer, fresh_name
from tests.e2e.server import Server

MEGABYTE = 1_000_000
DEEP = 100_000
# What a field is replaced with, as JSON text, and the answers that may come of it.
WRONG_TYPES = {"number": "1", "fraction": "1.5", "true": "true", "list": "[]", "object": "{}", "list_of_text": '["a"]'}
MALFORMED = {
    "nul": '"\\u0000"',
    "nul_inside": '"plum\\u0000orbit"',
    "high_surrogate": '"\\ud800"',
    "low_surrogate": '"\\udfff"',
    "swapped_surrogates": '"\\udc00\\ud800"',
    "nan": "NaN",
    "infinity": "-Infinity",
    "huge_number": "1e999",
    "long_number": "9" * 400,
    "nested": "[" * 30_000 + "]" * 30_000,
    "nested_objects": '{"a":' * 5_000 + "1" + "}" * 5_000,
    "unfinished": "[" * 30_000,
    "long_text": json.dumps("a" * 5_000),
    "raw_control": '"a\nb"',
}
TOO_LARGE = {"megabyte": json.dumps("a" * MEGABYTE), "deep": "[" * DEEP + "]" * DEEP}
ODD = {
    "empty": '""',
    "blank": '"   "',
    "bidi": '"\\u202eadmin"',
    "zero_width": '"a\\u200bb"',
    "longest": f'"{"a" * 4096}"',
}


class Target:
    """One route that takes a JSON body, with a body that it would accept."""

    def __init__(self, method: str, path: str, fields: dict[str, str], nullable: frozenset[str]) -> None:
        self.method = method
        self.path = path
        self.fields = fields
        self.nullable = nullable

    def send(self, client: Client, body: str | bytes, token: str) -> Any:
        headers = {"Content-Type": "application/json", **bearer(token)}
        content = body.encode() if isinstance(body, str) else body
        return client.request(self.method, self.path, content=content, headers=headers)

    def with_field(self, name: str, value: str) -> str:
        """The body with one field replaced by this JSON text."""
        pairs = [f"{json.dumps(key)}: {value if key == name else json.dumps(one)}" for key, one in self.fields.items()]
        return "{" + ", ".join(pairs) + "}"


def targets(client: Client) -> list[Target]:
    """Every route with a JSON body, read from the running service's own document."""
    document = client.get("/openapi.json").json()
    found = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" not in content:
                continue
            name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
            every = document["components"]["schemas"][name]["properties"]
            properties = {field: schema for field, schema in every.items() if schema.get("type") != "integer"}
            if not properties:
                continue  # nothing in it is text
            nullable = frozenset(field for field, schema in properties.items() if {"type": "null"} in _parts(schema))
            found.append(Target(method.upper(), path, {field: _plausible(field) for field in properties}, nullable))
    return found


def _parts(schema: dict[str, Any]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = schema.get("anyOf", [schema])
    return parts


def _plausible(field: str) -> str:
    if "password" in field:
        return "another-orbit-canvas" if field.startswith("new") else PASSWORD
    sent = {
        "retry_key": "A" * 22,
        "handle": "wwh_" + "A" * 43,
        "code": "123456",
        "token": "wwl_" + "A" * 43,
        "scope": "",
        "resource": "",
    }
    return {"username": fresh_name(), "email": f"{fresh_name()}@example.com", "name": "Ada Lovelace", **sent}[field]


@pytest.fixture
def token(client: Client) -> str:
    return client.newcomer()


def _cases(client: Client, values: dict[str, str]) -> Iterator[tuple[Target, str, str, str]]:
    for target in targets(client):
        for field, (name, value) in itertools.product(target.fields, values.items()):
            yield target, field, name, value


def test_the_document_names_every_route_with_a_body(client: Client) -> None:
    """The enumeration below is of the running service: a route that is added is tried without anybody's help."""
    named = {(target.method, target.path) for target in targets(client)}
    assert named >= {
        ("POST", "/register"),
        ("POST", "/login"),
        ("PATCH", "/profile"),
        ("DELETE", "/profile"),
        ("POST", "/profile/password"),
    }


def test_null_and_wrong_types_are_named_by_their_field(client: Client, token: str) -> None:
    """A field of the wrong type is 422, and the answer says which field, in words for people."""
    for target, field, name, value in _cases(client, {"null": "null", **WRONG_TYPES}):
        if name == "null" and field in target.nullable:
            assert (target.path, field) == ("/profile", "name")  # null removes it
            continue
        answer = target.send(client, target.with_field(field, value), token)
        assert answer.status_code == 422, (target.path, field, name, answer.text)
        errors = {one["field"]: one for one in answer.json()["errors"]}
        assert errors[field]["code"] == ("null" if name == "null" else "wrong_type"), (target.path, field, name)
        assert errors[field]["message"].endswith("."), (target.path, field, name)


def test_J1_text_that_cannot_be_text_is_malformed(client: Client, token: str) -> None:
    """NUL, half surrogates, NaN, endless numbers, deep nesting and long strings are 400, wherever they stand."""
    for target, field, name, value in _cases(client, MALFORMED):
        answer = target.send(client, target.with_field(field, value), token)
        assert answer.status_code == 400, (target.path, field, name, answer.text)
        assert answer.json()["code"] == "malformed_json", (target.path, field, name)


@pytest.mark.parametrize("name", TOO_LARGE)
def test_J1_a_megabyte_and_100k_levels_are_too_large(client: Client, token: str, name: str) -> None:
    """A body beyond 64 KiB is 413 before it is read, and the connection is not left in an unknown state."""
    for target, field, _, value in _cases(client, {name: TOO_LARGE[name]}):
        answer = target.send(client, target.with_field(field, value), token)
        assert answer.status_code == 413, (target.path, field, answer.text)
        assert answer.json()["code"] == "body_too_large"
        assert answer.headers["connection"] == "close"


def test_odd_text_is_refused_or_found_by_nobody(client: Client, token: str) -> None:
    """Empty, blank, invisible and overlong values: 4xx, and never 2xx with something else than what was sent."""
    for target, field, name, value in _cases(client, ODD):
        if target.path == "/api-keys" and field in {"scope", "resource"} and name == "empty":
            continue  # a key without any scope, or for the service's own audience
        answer = target.send(client, target.with_field(field, value), token)
        assert 400 <= answer.status_code < 500, (target.path, field, name, answer.text)
        refusals = {"invalid_input", "invalid_credentials", "one_time_invalid", "invalid_scope", "invalid_target"}
        assert answer.json()["code"] in refusals, (target.path, field, name)


def test_J1_a_name_sent_twice_is_refused(client: Client, token: str) -> None:
    """Two readers of a body with equal names may see two things; also when the second is spelt with an escape."""
    for target in targets(client):
        for field, value in target.fields.items():
            for again in (field, f"\\u{ord(field[0]):04x}{field[1:]}"):
                body = target.with_field(field, json.dumps(value))[:-1] + f', "{again}": {json.dumps(value)}}}'
                answer = target.send(client, body, token)
                assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json"), (target.path, again)


def test_H12_names_that_nobody_may_set_are_refused(client: Client, token: str) -> None:
    """Mass assignment: nothing about an account can be set by naming it, at any route that takes a body."""
    names = ["is_admin", "isAdmin", "admin", "role", "roles", "scopes", "scope", "id", "sub", "verified"]
    names += ["email_verified", "email_verified_at", "created_at", "token_version", "ver", "disabled_at"]
    names += ["public_metadata", "private_metadata", "metadata", "claims"]
    names += ["password_hash", "username_key", "__proto__", "constructor", "user[roles]", ""]
    for target in targets(client):
        for name in set(names) - target.fields.keys():  # `scope` limits a log-in, and is tried above
            for value in ('["admin"]', "true", '{"tenant": "root"}', "null"):
                body = "{" + f"{json.dumps(name)}: {value}, " + target.with_field("", "")[1:]
                answer = target.send(client, body, token)
                assert answer.status_code == 422, (target.path, name, answer.text)
                errors = [(one["field"], one["code"]) for one in answer.json()["errors"]]
                assert (name or "body", "unknown_field") in errors or (name, "unknown_field") in errors, (name, errors)
    profile = client.get("/profile", headers=bearer(token)).json()
    assert (profile["roles"], profile["public_metadata"]) == ([], {})


@pytest.mark.parametrize("place", ["query", "header", "form"])
def test_H12_nor_by_another_way_in(client: Client, place: str) -> None:
    """A role in the query, in a header or in a form makes nobody an administrator."""
    name = fresh_name()
    body = {"username": name, "password": PASSWORD}
    if place == "query":
        forced = "roles=admin&is_admin=true&public_metadata=%7B%22tenant%22%3A1%7D&public_metadata[tenant]=1"
        answer = client.post(f"/register?{forced}", json=body)
        assert (answer.json()["roles"], answer.json()["public_metadata"]) == ([], {})
    elif place == "header":
        answer = client.post("/register", json=body, headers={"X-Auth-Roles": "admin", "X-Auth-User": "root"})
        assert answer.json()["roles"] == []
    else:
        answer = client.post("/register", data={**body, "roles": "admin"})
        assert answer.status_code == 415


BODIES = {
    "nothing": (b"", 400),
    "null": (b"null", 422),
    "list": (b"[]", 422),
    "text": (b'"a"', 422),
    "number": (b"1", 422),
    "true": (b"true", 422),
    "empty_object": (b"{}", 422),
    "cut_off": (b'{"username": "a"', 400),
    "two_values": (b"{} {}", 400),
    "trailing_comma": (b'{"username": "a",}', 400),
    "comment": (b'{} // {"a": 1}', 400),
    "single_quotes": (b"{'username': 'a'}", 400),
    "bom": (b"\xef\xbb\xbf{}", 400),
    "utf_16": ('{"username": "a"}'.encode("utf-16"), 400),
    "latin_1": ('{"username": "é"}'.encode("latin-1"), 400),
    "overlong_utf_8": (b'{"username": "\xc0\xaf"}', 400),
    "surrogate_in_utf_8": (b'{"username": "\xed\xa0\x80"}', 400),
    "65_names": (json.dumps({str(number): 1 for number in range(65)}).encode(), 400),
    "17_levels": (b'{"username": ' + b"[" * 16 + b"]" * 16 + b"}", 400),
    "form": (b"username=a&password=b", 400),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies_that_are_no_object(client: Client, token: str, name: str) -> None:
    """What is not one JSON object in UTF-8 is 400, what is JSON of another shape 422, at every route alike."""
    body, status = BODIES[name]
    for target in targets(client):
        answer = target.send(client, body, token)
        if name == "empty_object" and target.method == "PATCH":
            assert answer.status_code in (200, 422), answer.text
        elif name in {"nothing", "empty_object"} and target.path == "/refresh":
            assert answer.status_code == 200, answer.text  # its body is optional
        else:
            assert answer.status_code == status, (target.path, answer.text)


TOKEN_FORM = {"grant_type": "password", "username": "nobody", "password": PASSWORD}
TOKEN_FIELDS = (
    "grant_type",
    "username",
    "password",
    "refresh_token",
    "scope",
    "resource",
    "client_id",
    "client_secret",
)
TOKEN_VALUES = {
    "empty": b"",
    "nul": b"%00",
    "bad_percent": b"%zz",
    "lone_percent": b"%",
    "surrogate": b"%ED%A0%80",
    "latin_1": b"%E9",
    "raw_high": b"\xe9",
    "long": b"a" * 9_000,
    "brackets": b"[]",
    "object": b"{}",
    "crlf": b"%0d%0aSet-Cookie:%20a=b",
    "quote": b"%22%5c%22",
}


@pytest.mark.parametrize("value", TOKEN_VALUES)
@pytest.mark.parametrize("field", TOKEN_FIELDS)
def test_every_field_of_the_token_form(client: Client, field: str, value: str) -> None:
    """The OAuth door answers in the shape of RFC 6749 section 5.2, whatever is in the form."""
    form = {name: one.encode() for name, one in TOKEN_FORM.items()} | {field: TOKEN_VALUES[value]}
    body = b"&".join(name.encode() + b"=" + one for name, one in form.items())
    answer = _token(client, body)
    assert answer.status_code in (400, 401), answer.text
    assert set(answer.json()) == {"error", "error_description"}
    assert answer.headers["content-type"] == "application/json"
    own = {"scope": "invalid_scope", "resource": "invalid_target", "grant_type": "unsupported_grant_type"}
    assert answer.json()["error"] in {"invalid_request", "invalid_grant", "invalid_client", own.get(field)}


@pytest.mark.parametrize("field", TOKEN_FIELDS)
def test_no_field_of_the_token_form_may_be_sent_twice(client: Client, field: str) -> None:
    """RFC 6749 section 3.2: a parameter that is repeated makes the request invalid."""
    body = b"grant_type=password&username=a&password=b&" + f"{field}=a&{field}=a".encode()
    answer = _token(client, body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_the_token_form_ignores_what_it_does_not_know(client: Client) -> None:
    """RFC 6749 section 3.2: unknown parameters are ignored, and none of them gives anybody a role."""
    name = client.register()["username"]
    form = {"grant_type": "password", "username": name, "password": PASSWORD, "roles": "admin", "is_admin": "true"}
    answer = client.post("/token", data=form)
    assert answer.status_code == 200
    shown = client.get("/profile", headers=bearer(answer.json()["access_token"])).json()
    assert shown["roles"] == []


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"", 400, "invalid_request"),
        (b"&&&", 400, "invalid_request"),
        (b"=", 400, "invalid_request"),
        (b"grant_type", 400, "invalid_request"),
        (b"&".join(b"f%d=a" % number for number in range(21)), 400, "invalid_request"),
        (b"grant_type=" + b"a" * MEGABYTE, 413, "invalid_request"),
        (b"[" * 60_000, 400, "invalid_request"),
    ],
)
def test_forms_that_are_no_token_request(client: Client, body: bytes, status: int, error: str) -> None:
    """Empty, endless and shapeless forms are refused in the OAuth shape too."""
    answer = _token(client, body)
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text


def _token(client: Client, body: bytes) -> Any:
    return client.post("/token", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"})


@pytest.mark.parametrize(
    "session_id",
    ["a", "..", "%2e%2e", "%00", "%ff", "a%2Fb", "' OR 1=1 --", "%27%20OR%201=1", "1", "null", "a" * 4000, "é", "😀"],
)
def test_ids_in_the_path_that_name_nothing(client: Client, token: str, session_id: str) -> None:
    """An id is looked up, never interpreted: whatever is not one of one's own sessions is 404."""
    answer = client.delete(f"/sessions/{session_id}", headers=bearer(token))
    # `..` is taken away by the client itself, which leaves the path of another route.
    assert (answer.status_code, answer.json()["code"] if answer.content else "") in {
        (404, "not_found"),
        (405, "method_not_allowed"),
    }, answer.text


@pytest.mark.parametrize(
    "cursor", ["a", "%00", "%zz", "' OR 1=1", "a" * 36, "0" * 36, "%ED%A0%80", "é" * 36, "9" * 5000]
)
def test_J6_cursors_that_no_page_gave(client: Client, token: str, cursor: str) -> None:
    """A cursor is only ever a position; one that is none is refused, and one of nobody gives the rest of the list."""
    answer = client.get(f"/sessions?cursor={cursor}", headers=bearer(token))
    assert answer.status_code in (200, 400, 422), answer.text
    assert "items" in answer.json() or answer.json()["code"] in {"invalid_input", "invalid_request"}


def test_a_cursor_sent_twice_is_refused(client: Client, token: str) -> None:
    """A query parameter that is repeated leaves open which one counts."""
    answer = client.get(f"/sessions?cursor={'0' * 36}&cursor={'1' * 36}", headers=bearer(token))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


def test_routes_without_a_body_do_not_mind_one(client: Client, server: Server) -> None:
    """A body that nobody asked for is neither read nor a fault, as long as it stays within the limit."""
    token = client.newcomer()
    for method, path, expected in (("GET", "/profile", 200), ("GET", "/sessions", 200), ("DELETE", "/sessions", 204)):
        headers = {"Content-Type": "application/json", **bearer(token)}
        answer = client.request(method, path, content=b'{"roles": ["admin"]}', headers=headers)
        assert answer.status_code == expected, (method, path, answer.text)

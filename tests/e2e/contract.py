"""Every answer that a test sees, held against the OpenAPI document and against what is promised of all answers."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import httpx2
from jsonschema import Draft202012Validator

PROBLEM = "application/problem+json"
# What no answer may show (checklist C5): traces, statements, places of files.
_INSIDES = re.compile(r"Traceback|File \"|site-packages|sqlite3|SELECT |INSERT |ww_users|\.py\b")


class Contract:
    """The document of a server, as something to check answers with.

    :param document: what its `/openapi.json` answered.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._templates = [
            (re.compile(re.sub(r"\\\{[^/]+\\\}", "[^/]+", re.escape(path)) + "$"), path) for path in document["paths"]
        ]
        self._validator = cache(self._made_validator)

    def check(self, answer: httpx2.Response) -> None:
        """Fail for an answer that the document does not announce, or that breaks a promise made of all answers."""
        answer.read()
        self._check_headers(answer)
        if answer.status_code >= 400:
            self._check_refusal(answer)
        operation = self._operation(answer.request)
        if operation is None:
            return
        if answer.status_code == 304:
            return
        responses = operation["responses"]
        announced = responses.get(str(answer.status_code)) or responses.get("default")
        assert announced is not None, f"{_called(answer)} is not announced; only {sorted(responses)} are"
        content = announced.get("content")
        if content is None:
            assert answer.content == b"", f"{_called(answer)} has a body and none is announced"
        elif answer.request.method != "HEAD":
            kind = answer.headers["content-type"].partition(";")[0]
            assert kind in content, f"{_called(answer)} is {kind}, announced is {sorted(content)}"
            if kind != "text/html":
                self._validate(content[kind]["schema"], answer)

    def _check_headers(self, answer: httpx2.Response) -> None:
        """C3, C11: on every answer of every route."""
        headers, name = answer.headers, _called(answer)
        assert re.fullmatch(r"[0-9a-f-]{36}", headers["x-request-id"]), name
        assert headers["x-content-type-options"] == "nosniff", name
        assert headers["referrer-policy"] == "no-referrer", name
        assert headers["content-security-policy"].startswith("default-src 'none'"), name
        assert "frame-ancestors 'none'" in headers["content-security-policy"], name
        assert headers["cache-control"] == "no-store" or "public" in headers["cache-control"], name
        assert "server" not in headers, name
        assert "x-powered-by" not in headers, name
        document = answer.request.url.path.endswith("/openapi.json")  # its tokens are examples
        if "set-cookie" in headers or ('"eyJ' in answer.text and not document):
            assert headers["cache-control"] == "no-store", name

    def _check_refusal(self, answer: httpx2.Response) -> None:
        headers, name = answer.headers, _called(answer)
        assert answer.status_code != 500, f"{name}: {answer.text}"
        assert headers["cache-control"] == "no-store", name
        assert not _INSIDES.search(answer.text), f"{name} shows insides: {answer.text}"
        if answer.status_code == 401:
            assert headers["www-authenticate"].startswith(("Bearer", "Basic")), name
        if answer.status_code in (429, 503):
            assert int(headers["retry-after"]) > 0, name
        if answer.status_code == 429:
            assert "ratelimit" in headers, name
            assert "ratelimit-policy" in headers, name
        if answer.request.method == "HEAD":
            return
        if headers["content-type"].startswith("text/html") and self._operation(answer.request) is None:
            return  # a page for people, which no document announces
        body = answer.json()
        if headers["content-type"] == PROBLEM:
            self._validate({"$ref": "#/components/schemas/ProblemBody"}, answer)
            assert body["status"] == answer.status_code, name
            assert body["request_id"] == headers["x-request-id"], name
            assert body["type"].endswith(f"/problems/{body['code']}"), name
            assert re.fullmatch(r"[a-z_]+", body["code"]), name
        elif answer.status_code != 503:  # readiness has a shape of its own
            assert headers["content-type"] == "application/json", name
            self._validate({"$ref": "#/components/schemas/OAuthError"}, answer)

    def _operation(self, request: httpx2.Request) -> dict[str, Any] | None:
        path = request.url.raw_path.decode("ascii").partition("?")[0]
        for pattern, template in self._templates:
            if pattern.match(path):
                method = "get" if request.method == "HEAD" else request.method.lower()
                found: dict[str, Any] | None = self.document["paths"][template].get(method)
                return found
        return None

    def _validate(self, schema: dict[str, Any], answer: httpx2.Response) -> None:
        reference = schema["$ref"]
        faults = [fault.message for fault in self._validator(reference).iter_errors(answer.json())]
        assert not faults, f"{_called(answer)} is no {reference.rpartition('/')[2]}: {faults}: {answer.text}"

    def _made_validator(self, reference: str) -> Draft202012Validator:
        schema = {"$ref": reference, "components": self.document["components"]}
        return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def _called(answer: httpx2.Response) -> str:
    return f"{answer.request.method} {answer.request.url} → {answer.status_code}"

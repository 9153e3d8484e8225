"""OpenAPI 3.1, made from the route tables and the msgspec types alone, so the interface cannot drift from it."""

from __future__ import annotations

import http
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from watchword import __version__
from watchword.web.cookies import LOOPBACK_NAME, SECURE_NAME
from watchword.web.docs import document_routes
from watchword.web.feature import Feature
from watchword.web.problem_table import PROBLEMS
from watchword.web.problems import OAuthError, ProblemBody
from watchword.web.route import AccessToken, Browser, Route, Speech

_REF = "#/components/schemas/{name}"
_TOKEN_CODES = ("token_missing", "token_malformed", "token_invalid", "token_expired", "token_revoked")
_ALWAYS = ("invalid_request", "internal_error", "overloaded", "storage_unavailable")


def docs_routes(features: Sequence[Feature], *, prefix: str, public_url: str) -> tuple[Route, ...]:
    """`GET /openapi.json`, `GET /docs` and what the page loads, for the routes of these features."""
    return document_routes(openapi_document(features, prefix=prefix, public_url=public_url))


def openapi_document(features: Sequence[Feature], *, prefix: str, public_url: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these features, as what `json.dumps` takes; one tag per feature.

    The server is given as a path, so that the document is right under every name of loopback and behind every proxy.
    """
    tagged = [(feature.name, route) for feature in features for route in feature.routes if route.documented]
    documented = [route for _, route in tagged]
    schemas, components = _schemas(documented)
    password_paths = [prefix + feature.password_flow for feature in features if feature.password_flow is not None]
    write = _Writer(schemas, public_url, password=bool(password_paths))
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for tag, route in tagged:
        path = route.path if route.root else prefix + route.path
        paths[path][route.method.lower()] = write.operation(tag, route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Watchword", "version": __version__},
        "servers": [{"url": _server(public_url, prefix)}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components,
            "securitySchemes": _security_schemes(public_url, _server(public_url, prefix), password_paths),
        },
    }


def _server(public_url: str, prefix: str) -> str:
    """The path below which the application answers: what the public URL has beyond our own prefix."""
    path = urlsplit(public_url).path.rstrip("/")
    return path.removesuffix(prefix) or "/"


def _schemas(routes: Sequence[Route]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """The schema of each type, and the components that they refer to."""
    types: dict[Any, None] = {ProblemBody: None, OAuthError: None}
    bodies = [route.body for route in routes if route.body is not None]
    forms = [route.form for route in routes if route.form is not None]
    answers = [kind for route in routes for kind in route.answers.values() if kind is not None]
    types.update(dict.fromkeys([*bodies, *forms, *answers]))
    written, components = msgspec.json.schema_components(list(types), ref_template=_REF)
    schemas = dict(zip(types, written, strict=True))
    for body in bodies:  # the server refuses unknown fields, whatever the Struct says about them
        name = schemas[body]["$ref"].rpartition("/")[2]
        components[name]["additionalProperties"] = False
    return schemas, components


class _Writer:
    """Writes operations. Holds what they share: the schemas, and what the problems' types start with."""

    def __init__(self, schemas: Mapping[Any, dict[str, Any]], public_url: str, *, password: bool) -> None:
        self._schemas = schemas
        self._pages = public_url.rstrip("/") + "/problems/"
        self._password = password

    def operation(self, tag: str, route: Route) -> dict[str, Any]:
        """The Operation Object of a route."""
        written: dict[str, Any] = {
            "operationId": _operation_id(route),
            "summary": route.summary,
            "tags": [tag],
            "security": self._security(route),
            "responses": {**self._refusals(route), **self._answers(route)},
        }
        parameters = _parameters(route)
        if parameters:
            written["parameters"] = parameters
        taken = route.body or route.form
        if taken is not None:
            media_type = "application/json" if route.form is None else "application/x-www-form-urlencoded"
            written["requestBody"] = {"required": True, "content": {media_type: {"schema": self._schemas[taken]}}}
        return written

    def _security(self, route: Route) -> list[dict[str, list[str]]]:
        if isinstance(route.guard, AccessToken):
            return [{"access_token": []}, {"password": []}] if self._password else [{"access_token": []}]
        if isinstance(route.guard, Browser):
            return [{"refresh_cookie": []}, {}]  # read where there is one: log-in ends the session that it replaces
        return []

    def _answers(self, route: Route) -> dict[str, Any]:
        answers: dict[str, Any] = {}
        for status, kind in (route.answers or {200: None}).items():
            answer: dict[str, Any] = {"description": http.HTTPStatus(status).phrase, "headers": _REQUEST_ID}
            if kind is not None:
                answer["content"] = {route.media_type.partition(";")[0]: {"schema": self._schemas[kind]}}
            answers[str(status)] = answer
        return answers

    def _refusals(self, route: Route) -> dict[str, Any]:
        """One response per status, with an example per code."""
        if route.speech is Speech.OAUTH:
            content = {"application/json": {"schema": self._schemas[OAuthError]}}
            return {"default": {"description": "An error of RFC 6749 section 5.2", "content": content}}
        by_status: dict[int, list[str]] = defaultdict(list)
        for code in implied_codes(route):
            by_status[PROBLEMS[code].status].append(code)
        return {str(status): self._refusal(codes) for status, codes in sorted(by_status.items())}

    def _refusal(self, codes: list[str]) -> dict[str, Any]:
        examples = {code: {"summary": PROBLEMS[code].title, "value": self._example(code)} for code in codes}
        return {
            "description": ", ".join(f"`{code}`" for code in codes),
            "headers": _REQUEST_ID,
            "content": {"application/problem+json": {"schema": self._schemas[ProblemBody], "examples": examples}},
        }

    def _example(self, code: str) -> dict[str, Any]:
        problem = PROBLEMS[code]
        return {
            "type": self._pages + code,
            "title": problem.title,
            "status": problem.status,
            "detail": problem.about,
            "code": code,
            "request_id": "0197f1a2-5b6c-7d8e-9f00-112233445566",
        }


_REQUEST_ID = {"X-Request-Id": {"description": "Names this request in our log.", "schema": {"type": "string"}}}


def _operation_id(route: Route) -> str:
    words = route.path.replace("-", "_").replace(".", "_").split("/")
    return "_".join([route.method.lower(), *(word.strip("{}_") for word in words if word)])


def implied_codes(route: Route) -> tuple[str, ...]:
    """The codes that a route answers with: those of its guard, its body and its limit, and its own."""
    codes: list[str] = []
    if isinstance(route.guard, AccessToken):
        codes += ["authorization_malformed", *_TOKEN_CODES]
        codes += ["scope_missing"] * bool(route.guard.scopes) + ["role_missing"] * bool(route.guard.roles)
    if isinstance(route.guard, Browser):
        codes += ["origin_refused", "cookie_repeated", "unsupported_media_type", "authorization_malformed"]
    if route.method not in ("GET", "HEAD"):
        codes.append("body_too_large")
    if route.body is not None or route.form is not None:
        codes += ["malformed_json" if route.form is None else "malformed_form"]
        codes += ["unsupported_media_type", "body_too_large", "invalid_input"]
    if route.limit is not None:
        codes.append("too_many_attempts")
    return tuple(dict.fromkeys([*codes, *route.problems, *_ALWAYS]))


def _parameters(route: Route) -> list[dict[str, Any]]:
    names = [segment[1:-1] for segment in route.path.split("/") if segment[:1] == "{"]
    text = {"type": "string"}
    return [{"name": name, "in": "path", "required": True, "schema": text} for name in names] + [
        {"name": name, "in": "query", "required": False, "schema": text, "description": about}
        for name, about in route.query.items()
    ]


def _security_schemes(public_url: str, server: str, password_paths: Sequence[str]) -> dict[str, Any]:
    schemes: dict[str, Any] = {
        "access_token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "refresh_cookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": SECURE_NAME if public_url.startswith("https:") else LOOPBACK_NAME,
        },
    }
    for path in password_paths[:1]:  # what makes Swagger UI's Authorize button ask for name and password
        token_url = server.rstrip("/") + path
        schemes["password"] = {"type": "oauth2", "flows": {"password": {"tokenUrl": token_url, "scopes": {}}}}
    return schemes

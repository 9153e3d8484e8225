"""OpenAPI 3.1, made from route tables and msgspec types alone."""

from __future__ import annotations

import http
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec

from watchword import __version__
from watchword.problem_table import PROBLEMS
from watchword.web.cookies import RefreshCookie
from watchword.web.docs import document_routes
from watchword.web.feature import Feature
from watchword.web.problems import OAuthError, ProblemBody, printable
from watchword.web.route import AccessToken, Browser, Credential, Route, Speech

_REF = "#/components/schemas/{name}"
_TOKEN_CODES = ("token_missing", "token_malformed", "token_invalid", "token_expired", "token_revoked")
FIRST_STEPS = "start"  # one word: Swagger UI puts it into addresses
_LAST = 1_000  # after the first steps
_ALWAYS = ("invalid_request", "internal_error", "overloaded", "storage_unavailable")


def docs_routes(
    features: Sequence[Feature], *, prefix: str, public_url: str, registration: bool = True
) -> tuple[Route, ...]:
    """Return `GET /openapi.json`, `GET /docs` and the page's files for these features."""
    return document_routes(
        partial(openapi_document, features, prefix=prefix, public_url=public_url, registration=registration)
    )


def openapi_document(
    features: Sequence[Feature], *, prefix: str, public_url: str, registration: bool = True
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of these features, for `json.dumps`.

    First steps come first, then one tag per feature. The server is a path, so it is right for every loopback name and
    proxy.

    :param registration: whether people may make their own accounts.
    """
    tagged = _in_reading_order(features)
    schemas, components = _schemas([route for _, route in tagged])
    write = _Writer(schemas, public_url)
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for tag, route in tagged:
        path = route.path if route.root else prefix + route.path
        paths[path][route.method.lower()] = write.operation(tag, route)
    server = _server(public_url, prefix)
    password_paths = [prefix + feature.password_flow for feature in features if feature.password_flow is not None]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Watchword",
            "version": __version__,
            "description": _beginning(registration=registration, password=bool(password_paths), public_url=public_url),
        },
        "servers": [{"url": server}],
        "tags": _tags(features, {tag for tag, _ in tagged}),
        "paths": dict(paths),
        "components": {"schemas": components, "securitySchemes": _security_schemes(tagged, server, password_paths)},
    }


def _in_reading_order(features: Sequence[Feature]) -> list[tuple[str, Route]]:
    """Return every documented route with its tag: first steps by number, then by feature."""
    tagged = [(tag_of(feature, one), one) for feature in features for one in feature.routes if one.documented]
    return sorted(tagged, key=lambda each: _LAST if each[1].step is None else each[1].step)


def tag_of(feature: Feature, route: Route) -> str:
    """Return a route's heading in the documentation."""
    return feature.name if route.step is None else FIRST_STEPS


def _tags(features: Sequence[Feature], used: set[str]) -> list[dict[str, str]]:
    tags = {FIRST_STEPS: "From an account to a session and its end."}
    tags |= {feature.name: feature.about for feature in features}
    return [{"name": name, "description": about} for name, about in tags.items() if name in used]


def _beginning(*, registration: bool, password: bool, public_url: str) -> str:
    account = "Make an account with `POST /register`" if registration else "Ask an administrator for an account"
    log_in = (
        "press **Authorize** and log in with its name and password"
        if password
        else "log in with `POST /login`, press **Authorize** and paste the `access_token` of the answer"
    )
    return (
        f"{account}, then {log_in}. "
        "From then on this page shows your access token to every route that wants one: try `GET /profile`, and "
        "`POST /logout` when you are done. "
        f"What goes wrong is answered with a `code`, and [a page for each]({public_url.rstrip('/')}/problems) "
        "says what to do."
    )


def _server(public_url: str, prefix: str) -> str:
    """Return the path of the application: what the public URL has beyond our prefix."""
    path = urlsplit(public_url).path.rstrip("/")
    return path.removesuffix(prefix) or "/"


def _schemas(routes: Sequence[Route]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    types: dict[Any, None] = {ProblemBody: None, OAuthError: None}
    bodies = [route.body for route in routes if route.body is not None]
    forms = [route.form for route in routes if route.form is not None]
    answers = [kind for route in routes for kind in route.answers.values() if kind is not None]
    types.update(dict.fromkeys([*bodies, *forms, *answers]))
    written, components = msgspec.json.schema_components(list(types), ref_template=_REF)
    schemas = dict(zip(types, written, strict=True))
    for form in forms:
        shown = [msgspec.to_builtins(route.example) for route in routes if route.form is form and route.example]
        _fill_in(components[schemas[form]["$ref"].rpartition("/")[2]], {k: v for one in shown for k, v in one.items()})
    for body in bodies:  # the server refuses unknown fields, whatever the Struct says
        name = schemas[body]["$ref"].rpartition("/")[2]
        components[name]["additionalProperties"] = False
    return schemas, components


def _fill_in(form: dict[str, Any], example: Mapping[str, Any]) -> None:
    """Set a form's values to an example's, others to empty: Swagger UI would send "string"."""
    for name, field in form["properties"].items():
        field["examples"] = [example.get(name, "")]


class _Writer:
    """Writes operations; holds the schemas and the start of the problems' types."""

    def __init__(self, schemas: Mapping[Any, dict[str, Any]], public_url: str) -> None:
        self._schemas = schemas
        self._pages = public_url.rstrip("/") + "/problems/"
        self._cookie = RefreshCookie(public_url).name

    def operation(self, tag: str, route: Route) -> dict[str, Any]:
        """Return a route's Operation Object."""
        written: dict[str, Any] = {
            "operationId": operation_id(route),
            "summary": route.summary,
            "tags": [tag],
            "security": _security(route),
            "responses": {**self._refusals(route), **self._answers(route)},
        }
        parameters = _parameters(route)
        if parameters:
            written["parameters"] = parameters
        if isinstance(route.access, Browser):
            # No security scheme: browsers send the cookie themselves; no page may set it.
            written["description"] = f"Uses the cookie `{self._cookie}`, which browsers send by themselves."
        taken = route.body or route.form
        if taken is not None:
            media_type = "application/json" if route.form is None else "application/x-www-form-urlencoded"
            content = {"schema": self._schemas[taken], **_example(route.example)}
            written["requestBody"] = {"required": not route.may_be_empty, "content": {media_type: content}}
        return written

    def _answers(self, route: Route) -> dict[str, Any]:
        answers: dict[str, Any] = {}
        for status, kind in (route.answers or {200: None}).items():
            headers = {**_REQUEST_ID, **(_POLICY if route.limits else {})}
            answer: dict[str, Any] = {"description": http.HTTPStatus(status).phrase, "headers": headers}
            if kind is not None:
                content = {"schema": self._schemas[kind], **_example(route.shown.get(status))}
                answer["content"] = {route.media_type.partition(";")[0]: content, **(_PAGE if route.page else {})}
            answers[str(status)] = answer
        return answers

    def _refusals(self, route: Route) -> dict[str, Any]:
        """Return one response per status, with an example per code."""
        if route.speech is Speech.OAUTH:
            examples = {code: self._oauth_example(code) for code in route.problems}
            content = {"application/json": {"schema": self._schemas[OAuthError], "examples": examples}}
            return {"default": {"description": "An error of RFC 6749 section 5.2", "content": content}}
        by_status: dict[int, list[str]] = defaultdict(list)
        for code in implied_codes(route):
            by_status[PROBLEMS[code].status].append(code)
        return {str(status): self._refusal(codes) for status, codes in sorted(by_status.items())}

    def _oauth_example(self, code: str) -> dict[str, Any]:
        problem = PROBLEMS[code]
        said = msgspec.to_builtins(OAuthError(problem.oauth, printable(problem.about)))
        return {"summary": problem.title, "value": said}

    def _refusal(self, codes: list[str]) -> dict[str, Any]:
        examples = {code: {"summary": PROBLEMS[code].title, "value": some_problem(code, self._pages)} for code in codes}
        limited = {"headers": {**_WHEN, **_POLICY}} if "too_many_attempts" in codes else {}
        return {
            "description": ", ".join(f"`{code}`" for code in codes),
            **limited,
            "content": {"application/problem+json": {"schema": self._schemas[ProblemBody], "examples": examples}},
        }


def some_problem(code: str, pages: str) -> dict[str, Any]:
    """Return an example answer with this code.

    :param pages: start of the problems' types.
    """
    problem = PROBLEMS[code]
    shown = {
        "type": pages + code,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.about,
        "code": code,
        "request_id": "0197f1a2-5b6c-7d8e-9f00-112233445566",
    }
    if code == "invalid_input":
        shown["errors"] = [{"field": "password", "code": "required", "message": "This field is needed."}]
    return shown


_PAGE = {"text/html": {"schema": {"type": "string"}}}
_POLICY = {
    "RateLimit-Policy": {
        "description": "What is limited, how often in how many seconds: always the same.",
        "schema": {"type": "string", "examples": ['"login";q=10;w=900']},
    }
}
_WHEN = {
    "Retry-After": {"description": "Seconds until another attempt may be made.", "schema": {"type": "integer"}},
    "RateLimit": {
        "description": "What is used up, and for how many seconds.",
        "schema": {"type": "string", "examples": ['"login";r=0;t=812']},
    },
}
_REQUEST_ID = {"X-Request-Id": {"description": "Names this request in our log.", "schema": {"type": "string"}}}


def operation_id(route: Route) -> str:
    """Return a route's name in the document."""
    words = route.path.replace("-", "_").replace(".", "_").split("/")
    return "_".join([route.method.lower(), *(word.strip("{}_") for word in words if word)])


def implied_codes(route: Route) -> tuple[str, ...]:
    """Return a route's codes: those of its access, body and limits, and its own."""
    codes: list[str] = []
    if isinstance(route.access, AccessToken):
        codes += ["authorization_malformed", *_TOKEN_CODES]
        codes += ["scope_missing"] * bool(route.access.scopes) + ["role_missing"] * bool(route.access.roles)
        codes += ["token_narrowed"] * (not route.access.narrowed)
        codes += ["reauthentication_required"] * (route.access.max_age is not None)
    if isinstance(route.access, Browser):
        codes += ["origin_refused", "cookie_repeated", "unsupported_media_type", "authorization_malformed"]
    if route.method not in ("GET", "HEAD"):
        codes.append("body_too_large")
    if route.body is not None or route.form is not None:
        codes += ["malformed_json" if route.form is None else "malformed_form"]
        codes += ["unsupported_media_type", "body_too_large", "invalid_input"]
    if route.limits:
        codes.append("too_many_attempts")
    return tuple(dict.fromkeys([*codes, *route.problems, *_ALWAYS]))


def _parameters(route: Route) -> list[dict[str, Any]]:
    names = [segment[1:-1] for segment in route.path.split("/") if segment[:1] == "{"]
    text = {"type": "string"}
    return [{"name": name, "in": "path", "required": True, "schema": text} for name in names] + [
        {"name": name, "in": "query", "required": False, "schema": text, "description": about}
        for name, about in route.query.items()
    ]


def _example(value: Any) -> dict[str, Any]:
    return {} if value is None else {"example": msgspec.to_builtins(value)}


def _security(route: Route) -> list[dict[str, list[str]]]:
    """Return what a route reads from `Authorization`, with `{}` where that is optional."""
    if isinstance(route.access, AccessToken):
        return [{Credential.ACCESS_TOKEN.value: []}]
    return [] if route.credential is None else [{route.credential.value: []}, {}]


def _security_schemes(
    tagged: Sequence[tuple[str, Route]], server: str, password_paths: Sequence[str]
) -> dict[str, Any]:
    """Return the access token's scheme, by log-in where there is a password grant, and the guard key's."""
    schemes: dict[str, Any] = {Credential.ACCESS_TOKEN.value: _pasted("The `access_token` that a log-in answered.")}
    for path in password_paths[:1]:  # makes Swagger UI's Authorize button ask for name and password
        token_url = server.rstrip("/") + path
        flow = {"tokenUrl": token_url, "refreshUrl": token_url, "scopes": {}}
        about = "Log in with a username or an e-mail address and the password. There is no client to name."
        schemes[Credential.ACCESS_TOKEN.value] = {
            "type": "oauth2", "description": about, "flows": {"password": flow},
        }  # fmt: skip
    if any(route.credential is Credential.GUARD_KEY for _, route in tagged):
        schemes[Credential.GUARD_KEY.value] = _pasted("The key of a guard, made by `watchword guards create NAME`.")
    return schemes


def _pasted(about: str) -> dict[str, str]:
    return {"type": "http", "scheme": "bearer", "description": about}

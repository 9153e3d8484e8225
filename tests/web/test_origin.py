"""The origin rule and CORS (F3, F4, F5, F8, C10)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.asking import Asker, Silent, dispatcher
from watchword.web.origin import OriginRule

APP = "https://app.example"
SWAGGER = "authorization,content-type,x-requested-with"
TRACING = "baggage,sentry-trace,traceparent,tracestate,x-request-id"
LOCAL = "http://127.0.0.1:4000"
BODY = {"username": "a", "password": "b"}
Headers = list[tuple[str, str]]


@pytest.fixture
def ask() -> Asker:
    return dispatcher(allowed=[APP])


CASES: list[tuple[Headers, bool]] = [
    # no Origin
    ([], True),
    ([("sec-fetch-site", "same-origin")], True),
    ([("sec-fetch-site", "none")], True),
    ([("sec-fetch-site", "same-site")], False),
    ([("sec-fetch-site", "cross-site")], False),
    ([("sec-fetch-site", "")], False),
    ([("sec-fetch-site", "Same-Origin")], False),
    ([("sec-fetch-site", "none, cross-site")], False),
    # Origin decides alone
    ([("origin", "https://auth.example")], True),
    ([("origin", APP)], True),
    ([("origin", APP), ("sec-fetch-site", "cross-site")], True),
    ([("origin", "null")], False),
    ([("origin", "")], False),
    ([("origin", "https://evil.example")], False),
    ([("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")], False),
    ([("origin", "http://auth.example")], False),  # the scheme counts (gorilla CVE-2025-24358)
    ([("origin", "http://app.example")], False),
    ([("origin", "https://auth.example:443")], False),  # no browser writes it so
    ([("origin", "https://auth.example:8443")], False),
    ([("origin", "https://auth.example.evil.example")], False),
    ([("origin", "https://evilauth.example")], False),
    ([("origin", "https://auth.example@evil.example")], False),
    ([("origin", "https://auth.example/")], False),
    ([("origin", "HTTPS://AUTH.EXAMPLE")], False),
    ([("origin", "https://sub.app.example")], False),
    ([("origin", "https://app.example https://evil.example")], False),
    # nothing else counts instead
    ([("origin", "https://evil.example"), ("host", "evil.example")], False),
    ([("origin", "https://evil.example"), ("x-forwarded-host", "evil.example")], False),
    ([("referer", "https://evil.example/")], True),
]


@pytest.mark.parametrize("path", ["/login", "/refresh"])
@pytest.mark.parametrize(("headers", "passes"), CASES)
def test_f3_f5_who_may_use_the_cookie(ask: Asker, path: str, headers: Headers, *, passes: bool) -> None:
    """F3 the matrix; F5: log-in, which only sets the cookie, is held to it as well (login CSRF)."""
    answer = ask.post(path, BODY, headers) if path == "/login" else ask("POST", path, headers)
    if passes:
        assert answer.status == 200
    else:
        assert (answer.status, answer.code) == (403, "origin_refused")
        assert answer.every("set-cookie") == []


@pytest.mark.parametrize("origin", ["http://127.0.0.1:4000", "http://localhost:4000", "http://[::1]:4000"])
def test_on_loopback_every_name_of_loopback_with_our_port_is_ours(origin: str) -> None:
    assert dispatcher(public_url=LOCAL)("POST", "/refresh", [("origin", origin)]).status == 200


@pytest.mark.parametrize(
    "origin", ["http://localhost:4001", "http://localhost", "https://localhost:4000", "http://127.0.0.2:4000", "null"]
)
def test_on_loopback_another_port_or_scheme_is_somebody_else(origin: str) -> None:
    assert dispatcher(public_url=LOCAL)("POST", "/refresh", [("origin", origin)]).status == 403


def test_beyond_loopback_the_names_of_loopback_are_not_ours(ask: Asker) -> None:
    assert ask("POST", "/refresh", [("origin", "http://localhost")]).status == 403


def test_f8_a_bearer_token_passes_and_basic_does_not(ask: Asker) -> None:
    """F8. Browsers send Basic by themselves to `https://user:password@…`, so only Bearer proves that CORS was asked."""
    evil = ("origin", "https://evil.example")
    assert ask("POST", "/refresh", [evil, ("authorization", "Bearer a.b.c")]).status == 200
    assert ask("POST", "/refresh", [evil, ("authorization", "Basic YTpi")]).status == 403
    assert ask("POST", "/refresh", [evil, ("authorization", "Bearer ")]).status == 400


def test_the_rule_is_for_unsafe_methods_on_cookie_routes_only(ask: Asker) -> None:
    evil = [("origin", "https://evil.example")]
    assert ask("GET", "/glance", evil).status == 200
    assert ask.post("/register", BODY, evil).status == 200
    assert ask("GET", "/profile", evil).status == 401


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_f4_cookie_routes_take_json_only(ask: Asker, kind: str) -> None:
    """F4 (FastAPI CVE-2021-32677): the types that a form can send without asking are refused."""
    headers = [("content-type", kind), ("content-length", "33")]
    for path in ("/login", "/refresh"):
        answer = ask("POST", path, headers, b'{"username": "a", "password": "b"}')
        assert (answer.status, answer.code) == (415, "unsupported_media_type"), path


def test_f4_a_cookie_route_without_a_body_takes_none_or_json(ask: Asker) -> None:
    assert ask("POST", "/refresh").status == 200
    assert ask("POST", "/refresh", [("content-length", "0"), ("content-type", "text/plain")]).status == 200
    assert ask("POST", "/refresh", [("content-length", "2"), ("content-type", "application/json")], b"{}").status == 200
    chunked = [("transfer-encoding", "chunked"), ("content-type", "text/plain")]
    assert ask("POST", "/refresh", chunked, b"a").status == 415


# On loopback: pages that other programs of this machine serve


NEIGHBOURS = ["http://localhost:5173", "http://127.0.0.1:8000", "http://[::1]:3000", "https://localhost:8443",
              "http://127.0.0.2", "http://app.localhost:3000", "http://localhost"]  # fmt: skip
NO_NEIGHBOURS = ["http://192.168.1.5:8000", "http://localhost.evil.example", "http://127.0.0.1.nip.io:4000", "null", "",
                 "http://127.0.0.1:8000/", "http://LOCALHOST:8000", "http://evil@localhost", "http://localhost:80",
                 "http://localhost:99999", "http://localhost:x", "localhost", "file://", "http://[::1", "http://\u00e9",
                 "chrome-extension://localhost"]  # fmt: skip


def _cors_of(answer: Any) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in answer.headers if name.startswith(b"access-control-")}


@pytest.mark.parametrize("origin", NEIGHBOURS)
def test_on_loopback_a_neighbour_may_use_everything_but_the_cookie(origin: str) -> None:
    """FastAPI's `/docs` on another port asks for a token; what reads a cookie stays closed, and no credentials."""
    ask = dispatcher(public_url=LOCAL)
    asked = [("origin", origin), ("access-control-request-method", "POST"), ("access-control-request-headers", SWAGGER)]
    preflight = ask("OPTIONS", "/token", asked)
    assert (preflight.status, preflight["access-control-allow-origin"]) == (204, origin)
    assert set(SWAGGER.split(",")) <= set(preflight["access-control-allow-headers"].lower().split(", "))
    for answer in (preflight, ask("GET", "/open", [("origin", origin)])):
        assert _cors_of(answer)["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in _cors_of(answer)
        assert answer["vary"] == "Origin"
    for path in ("/login", "/refresh"):
        refused = ask("POST", path, [("origin", origin), ("content-type", "application/json")], b"{}")
        assert (refused.status, refused.code, refused.every("set-cookie")) == (403, "origin_refused", [])
        assert refused["access-control-allow-origin"] == origin  # so that the page can say why


@pytest.mark.parametrize("origin", NO_NEIGHBOURS)
def test_on_loopback_nobody_else_is_a_neighbour(origin: str) -> None:
    ask = dispatcher(public_url=LOCAL)
    asked = [("origin", origin.encode()), ("access-control-request-method", "POST")]
    preflight = ask("OPTIONS", "/token", asked)
    assert (preflight.status, preflight.code) == (403, "origin_refused")
    for answer in (preflight, ask("GET", "/open", [("origin", origin.encode())])):
        assert _cors_of(answer) == {}


@pytest.mark.parametrize("origin", NEIGHBOURS)
def test_beyond_loopback_no_page_of_the_users_machine_is_a_neighbour(origin: str) -> None:
    for ask in (dispatcher(), dispatcher(allowed=[APP])):
        asked = [("origin", origin), ("access-control-request-method", "POST")]
        assert ask("OPTIONS", "/token", asked).status == 403
        assert _cors_of(ask("GET", "/open", [("origin", origin)])) == {}


# What the log says


def test_a_refused_origin_is_logged_once_with_the_line_to_set() -> None:
    log = Silent()
    ask = dispatcher(allowed=[APP], log=log)
    for origin in ("https://orders.example:8443", "https://orders.example:8443", "https://b.example"):
        ask("OPTIONS", "/token", [("origin", origin), ("access-control-request-method", "POST")])
        ask.post("/login", BODY, [("origin", origin)])
    assert [name for name, _ in log.lines] == ["origin_refused", "origin_refused"]
    assert [more["origin"] for _, more in log.lines] == ["https://orders.example:8443", "https://b.example"]
    assert f"WATCHWORD_ALLOWED_ORIGINS={APP},https://orders.example:8443" in log.lines[0][1]["hint"]


def test_what_passes_is_not_logged() -> None:
    log = Silent()
    ask = dispatcher(allowed=[APP], log=log)
    evil = ("origin", "https://evil.example")
    ask("POST", "/refresh", [evil, ("authorization", "Bearer a.b.c")])
    ask("GET", "/open", [evil])
    ask("OPTIONS", "/login", [("origin", APP), ("access-control-request-method", "POST")])
    assert log.lines == []


def test_the_log_names_a_bounded_number_of_origins_and_nothing_that_is_none() -> None:
    log = Silent()
    ask = dispatcher(log=log)
    made_up = ["https://a b.example", "x" * 5000, "https://" + "a" * 5000, "https://x/\r\nforged: line", "", "\u00ff"]
    for origin in (*made_up, *(f"https://site-{number}.example" for number in range(500)), "null"):
        ask("POST", "/refresh", [("origin", origin.encode("latin-1"))])
    assert 10 <= len(log.lines) <= 60
    assert all(more["origin"].startswith("https://site-") for _, more in log.lines)


def test_a_page_without_an_origin_is_told_to_the_log_as_such() -> None:
    log = Silent()
    dispatcher(log=log)("POST", "/refresh", [("origin", "null")])
    assert "cannot be allowed" in log.lines[0][1]["hint"]


# CORS


def preflight(ask: Asker, origin: str, path: str = "/login") -> object:
    return ask("OPTIONS", path, [("origin", origin), ("access-control-request-method", "POST")])


def test_c10_an_allowed_origin_may_read_with_credentials(ask: Asker) -> None:
    for answer in (ask.post("/login", BODY, [("origin", APP)]), ask("GET", "/nothing", [("origin", APP)])):
        assert answer["access-control-allow-origin"] == APP
        assert answer["access-control-allow-credentials"] == "true"
        assert "X-Request-Id" in answer["access-control-expose-headers"]
        assert answer["vary"] == "Origin"


def test_c10_preflight_of_an_allowed_origin(ask: Asker) -> None:
    answer = ask("OPTIONS", "/login", [("origin", APP), ("access-control-request-method", "POST")])
    assert (answer.status, answer.body) == (204, b"")
    assert answer["access-control-allow-origin"] == APP
    assert answer["access-control-allow-credentials"] == "true"
    assert answer["access-control-allow-methods"] == "OPTIONS, POST"
    allowed = answer["access-control-allow-headers"].lower().split(", ")
    assert sorted(allowed) == sorted([*SWAGGER.split(","), *TRACING.split(",")])


def test_a_setting_adds_headers_to_those_that_may_be_sent() -> None:
    """Each once, whatever its letters: browsers compare without them."""
    ask = dispatcher(allowed=[APP], headers=["X-Tenant", "x-request-id", "SENTRY-TRACE"])
    asked = [("origin", APP), ("access-control-request-method", "POST"), ("access-control-request-headers", "x-tenant")]
    allowed = ask("OPTIONS", "/login", asked)["access-control-allow-headers"].lower().split(", ")
    assert sorted(allowed) == sorted(["x-tenant", *SWAGGER.split(","), *TRACING.split(",")])


@pytest.mark.parametrize(("origin", "asked", "said"), [(APP, "true", True), (APP, "yes", False), (APP, "", False)])
def test_an_allowed_page_may_reach_into_a_private_network(ask: Asker, origin: str, asked: str, *, said: bool) -> None:
    headers = [("origin", origin), ("access-control-request-method", "POST")]
    answer = ask("OPTIONS", "/login", [*headers, ("access-control-request-private-network", asked)])
    assert ((b"access-control-allow-private-network", b"true") in answer.headers) is said


def test_no_other_page_may(ask: Asker) -> None:
    """Neither a stranger's nor, as far as browsers ask at all, one of our own."""
    for origin in ("https://evil.example", "https://auth.example", "null"):
        headers = [("origin", origin), ("access-control-request-method", "POST")]
        answer = ask("OPTIONS", "/login", [*headers, ("access-control-request-private-network", "true")])
        assert not [name for name, _ in answer.headers if b"private" in name]


def test_what_a_page_may_read(ask: Asker) -> None:
    """What it needs to wait, to try again and to report."""
    exposed = ask.post("/login", BODY, [("origin", APP)])["access-control-expose-headers"].lower().split(", ")
    assert exposed == ["x-request-id", "retry-after", "ratelimit", "ratelimit-policy", "www-authenticate"]


def test_c10_swagger_ui_of_an_allowed_origin_may_ask_for_a_token(ask: Asker) -> None:
    """Its Authorize button sends X-Requested-With; a preflight that does not allow it fails in the browser."""
    asked = [("origin", APP), ("access-control-request-method", "POST"), ("access-control-request-headers", SWAGGER)]
    answer = ask("OPTIONS", "/login", asked)
    assert answer.status == 204
    assert set(SWAGGER.split(",")) <= set(answer["access-control-allow-headers"].lower().split(", "))


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "*", "http://app.example", "https://app.example.evil"]
)
def test_c10_nobody_else_is_ever_reflected(ask: Asker, origin: str) -> None:
    """C10 (Casdoor CVE-2024-41657)."""
    asked = [("origin", origin), ("access-control-request-method", "POST")]
    for answer in (ask("GET", "/open", [("origin", origin)]), ask("OPTIONS", "/login", asked)):
        assert not [name for name, _ in answer.headers if name.startswith(b"access-control-")]
        assert answer["vary"] == "Origin"
    assert ask("OPTIONS", "/login", asked).status == 403


def test_c10_no_answer_ever_says_star(ask: Asker) -> None:
    for origin in (APP, "https://evil.example", "null"):
        assert (b"access-control-allow-origin", b"*") not in ask("GET", "/open", [("origin", origin)]).headers


def test_without_allowed_origins_there_is_no_cors_at_all() -> None:
    answer = dispatcher()("GET", "/open", [("origin", APP)])
    assert not [name for name, _ in answer.headers if name.startswith(b"access-control-") or name == b"vary"]


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "https://app.example/",
        "https://APP.example",
        "app.example",
        "https://app.example:443",
        "https://app.example/x",
        "ftp://a",
    ],
)
def test_c10_an_allowed_origin_is_written_as_browsers_write_it(origin: str) -> None:
    with pytest.raises(ValueError, match=r"origin|URL"):
        OriginRule("https://auth.example", [origin])

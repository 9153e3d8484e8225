"""The pipeline: what is found, what every answer carries, and that nothing escapes it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from tests.web.asking import ROUTES, Answer, Asker, Silent, dispatcher, raising, route
from watchword.web.route import Call, Reply

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture
def ask() -> Asker:
    return dispatcher()


def test_a_static_and_a_parametrised_path_are_found(ask: Asker) -> None:
    assert ask("GET", "/open").status == 200
    assert ask("GET", "/sessions/abc").json["params"] == {"id": "abc"}
    assert ask("GET", "/users/u1/sessions/s2").json["params"] == {"id": "u1", "sid": "s2"}


@pytest.mark.parametrize(
    "path",
    [
        "//open", "/open/", "/open//", "/open.", "/open;x=1", "/open;", "/OPEN", "/Open", "/./open", "/x/../open",
        "/open/..", "/../open", "/open\x00", "/open\n", "/open%2e", "/%2e%2e/open", "/open?x", "/open#x", "\\open",
        "", "open", "/sessions/", "/sessions", "/sessions/a/b", "/sessions//", "//sessions/a", "/profile/../open",
        "/open ", " /open", "/open\u200b", "/ｏpen", "http://evil/open", "*",
    ],
)  # fmt: skip
def test_j4_a_path_that_is_not_written_exactly_so_is_not_there(ask: Asker, path: str) -> None:
    """J4: no normalisation, so there is nothing that a proxy and we could do differently."""
    answer = ask("GET", path)
    assert (answer.status, answer.code) == (404, "not_found")


def test_a_slash_too_many_is_named() -> None:
    """Where the address without it exists; no request is led there."""
    ask = dispatcher()
    assert "Leave out the slash" in ask("GET", "/open/").json["detail"]
    for path in ("/open//", "/nothing/", "/"):
        assert ask("GET", path).json["detail"] == "There is nothing at this address.", path


@pytest.mark.parametrize("host", ["a/?x=", "evil.example", "a@b", "", "[::1", "auth.example:99999"])
def test_j4_the_host_header_decides_nothing(ask: Asker, host: str) -> None:
    """J4 (CVE-2026-48710): the guard stands on scope["path"], whatever Host says."""
    assert ask("GET", "/profile", [("host", host)]).status == 401
    assert b"evil" not in ask("GET", "/nothing", [("host", host)]).body


def test_the_query_string_never_reaches_the_route(ask: Asker) -> None:
    assert ask("GET", "/open", query_string=b"/../profile").status == 200


def test_head_answers_like_get_without_a_body(ask: Asker) -> None:
    get, head = ask("GET", "/open"), ask("HEAD", "/open")
    assert head.status == 200
    assert head.body == b""
    assert int(head["content-length"]) == len(get.body)
    assert ask("HEAD", "/profile").status == 401  # the guard is the same


def test_405_names_the_methods_there_are(ask: Asker) -> None:
    answer = ask("POST", "/profile")
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH"
    assert ask("GET", "/login")["allow"] == "OPTIONS, POST"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "get", "BREW", "", "OPTIONS\r\n"])
def test_strange_methods_are_405(ask: Asker, method: str) -> None:
    assert ask(method, "/open").status == 405


def test_options_without_a_preflight_lists_the_methods(ask: Asker) -> None:
    answer = ask("OPTIONS", "/profile")
    assert (answer.status, answer.body) == (204, b"")
    assert answer["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH"
    assert ask("OPTIONS", "/nothing").status == 404


def test_two_routes_of_one_method_and_path_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two routes for GET /open"):
        dispatcher(route("GET", "/open"), route("GET", "/open"))


def test_the_prefix_stands_before_all_but_root_routes() -> None:
    ask = dispatcher(prefix="/api")
    assert ask("GET", "/api/open").status == 200
    assert ask("GET", "/open").status == 404
    assert ask("GET", "/api/sessions/1").status == 200
    assert ask("GET", "/.well-known/jwks.json").status == 200
    assert ask("GET", "/api/.well-known/jwks.json").status == 404


@pytest.mark.parametrize(
    ("root", "path", "status"),
    [
        ("/auth", "/auth/open", 200),  # what mounting does
        ("/auth", "/open", 200),  # servers that leave the root out of the path
        ("/auth", "/authopen", 404),
        ("/auth", "/auth", 404),
        ("/auth", "/auth/auth/open", 404),
    ],
)
def test_below_a_mount_point(ask: Asker, root: str, path: str, status: int) -> None:
    assert ask("GET", path, root_path=root).status == status


def test_mounted_in_a_starlette_application() -> None:
    app = Starlette(routes=[Mount("/auth", app=dispatcher().app)])
    with TestClient(app) as client:
        assert client.get("/auth/open").status_code == 200
        assert client.get("/auth/profile").headers["www-authenticate"] == 'Bearer realm="watchword"'
        assert client.get("/open").status_code == 404
        assert client.post("/auth/register", json={"username": "a", "password": "b"}).status_code == 200


def test_a_websocket_is_turned_away() -> None:
    sent: list[str] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(str(message["type"]))

    with pytest.raises(StopIteration):
        dispatcher().app({"type": "websocket", "path": "/open"}, None, send).send(None)
    assert sent == ["websocket.close"]


def test_every_answer_names_its_request_and_believes_no_incoming_name(ask: Asker) -> None:
    seen = set()
    for path in ("/open", "/nothing", "/profile", "/crash"):
        answer = ask("GET", path, [("x-request-id", "mine\r\nset-cookie: a=b")])
        assert UUID7.fullmatch(answer["x-request-id"])
        seen.add(answer["x-request-id"])
        if answer.status != 200:
            assert answer.json["request_id"] == answer["x-request-id"]
    assert len(seen) == 4
    assert ask("GET", "/open").json["request_id"] not in seen


@pytest.mark.parametrize("path", ["/open", "/nothing", "/profile", "/crash", "/sessions/1"])
def test_c3_c11_security_headers_are_on_every_answer(ask: Asker, path: str) -> None:
    """C3: no-store unless a handler says otherwise. C11: nosniff, no-referrer, a closed CSP, HSTS of a year or more."""
    answer = ask("GET", path)
    assert answer["cache-control"] == "no-store"
    assert answer["x-content-type-options"] == "nosniff"
    assert answer["referrer-policy"] == "no-referrer"
    assert answer["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    age = int(answer["strict-transport-security"].split(";")[0].removeprefix("max-age="))
    assert age >= 365 * 24 * 3600


def test_c11_hsts_only_where_people_reach_us_by_https() -> None:
    assert dispatcher(public_url="http://127.0.0.1:4000")("GET", "/open").every("strict-transport-security") == []


def test_c11_html_carries_opener_and_resource_policies() -> None:
    async def page(call: Call) -> Reply:
        return Reply(b"<!doctype html>")

    answer = dispatcher(route("GET", "/page", page, media_type="text/html; charset=utf-8"))("GET", "/page")
    assert answer["content-type"] == "text/html; charset=utf-8"
    assert answer["cross-origin-opener-policy"] == "same-origin"
    assert answer["cross-origin-resource-policy"] == "same-origin"


def test_a_handler_may_replace_a_default_header_and_it_is_then_there_once() -> None:
    async def public(call: Call) -> Reply:
        return Reply(b"{}", headers=((b"cache-control", b"public, max-age=300"),))

    assert dispatcher(route("GET", "/x", public))("GET", "/x")["cache-control"] == "public, max-age=300"


@pytest.mark.parametrize(("status", "length"), [(204, []), (200, ["0"]), (304, [])])
def test_an_answer_without_content(status: int, length: list[str]) -> None:
    async def nothing(call: Call) -> Reply:
        return Reply(None, status)

    answer = dispatcher(route("GET", "/x", nothing))("GET", "/x")
    assert (answer.status, answer.body, answer.every("content-length")) == (status, b"", length)
    assert answer.every("content-type") == []


@pytest.mark.parametrize("path", ["/crash", "/unencodable"])
def test_j10_what_nobody_foresaw_is_a_generic_500_and_a_log_line(path: str) -> None:
    """J10, C5: the caller learns nothing of the cause; the log has it, under the same request id; we live on."""
    log = Silent()
    ask = dispatcher(log=log)
    answer = ask("GET", path)
    assert (answer.status, answer.code) == (500, "internal_error")
    assert not re.search(rb"SELECT|passwd|Runtime|Type|object|Traceback|\.py", answer.body)
    ((event, line),) = log.lines
    assert event == "request_crashed"
    assert line["request_id"] == answer["x-request-id"]
    assert isinstance(line["exc_info"], (RuntimeError, TypeError))
    assert line["route"] == path
    assert ask("GET", "/open").status == 200


def test_a_cancelled_request_stays_cancelled() -> None:
    """A server that shuts down cancels; that is not an error to answer."""
    cancelled = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        dispatcher(route("GET", "/x", raising(cancelled)))("GET", "/x")


def test_a_client_that_hangs_up_while_it_sends_is_not_answered_and_not_logged() -> None:
    log = Silent()
    ask = dispatcher(log=log)
    headers = [(b"content-type", b"application/json")]
    half: dict[str, Any] = {"type": "http.request", "body": b"{", "more_body": True}
    gone: dict[str, Any] = {"type": "http.disconnect"}
    for messages in ([gone], [half, gone]):
        assert ask.exchange("POST", "/register", headers, messages) == Answer()
    assert log.lines == []


ADDRESSES = [
    # hops, socket, X-Forwarded-For, what counts
    (0, "192.0.2.7", [], "192.0.2.7"),
    (0, "192.0.2.7", ["203.0.113.9"], "192.0.2.7"),
    (0, "::ffff:192.0.2.7", [], "192.0.2.7"),
    (0, "2001:DB8:0:0::1", [], "2001:db8::1"),
    (0, "fe80::1%eth0", [], "fe80::1"),
    (1, "10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
    (1, "10.0.0.1", ["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
    (1, "10.0.0.1", ["1.1.1.1", "203.0.113.9"], "203.0.113.9"),  # two headers count as one list
    (2, "10.0.0.1", ["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
    (2, "10.0.0.1", ["203.0.113.9"], "10.0.0.1"),  # too short: it did not come through both
    (1, "10.0.0.1", [], "10.0.0.1"),
    (1, "10.0.0.1", ["unknown"], "10.0.0.1"),
    (1, "10.0.0.1", ["1.1.1.1, <script>"], "10.0.0.1"),
    (1, "10.0.0.1", ["1.1.1.1,"], "10.0.0.1"),
    (1, "10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
    (1, "10.0.0.1", ["[2001:db8::5]:4711"], "2001:db8::5"),
    (1, "10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
    (1, "10.0.0.1", ["203.0.113.009"], "10.0.0.1"),  # no octal guessing
]


@pytest.mark.parametrize(("hops", "socket", "forwarded", "counts"), ADDRESSES)
def test_j5_the_client_address(hops: int, socket: str, forwarded: list[str], counts: str) -> None:
    """J5: the socket, or the N-th from the right of X-Forwarded-For; never what the client wrote further left."""
    headers = [("x-forwarded-for", value) for value in forwarded]
    assert dispatcher(proxies=hops)("GET", "/open", headers, client=(socket, 1)).json["address"] == counts


def test_j5_without_a_socket_address_it_is_unknown(ask: Asker) -> None:
    assert ask("GET", "/open", client=None).json["address"] == "unknown"


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (b"curl/8", "curl/8"),
        (b"a\x1b[31mb\rc\nd\x00e\x85", "a[31mbcde"),
        (b"x" * 1000, "x" * 256),
        (b"\xff\xfe", "ÿþ"),
        (b"", ""),
    ],
)
def test_the_agent_is_short_and_cannot_forge_a_log_line(ask: Asker, sent: bytes, seen: str) -> None:
    assert ask("GET", "/open", [("user-agent", sent)]).json["agent"] == seen


@pytest.mark.parametrize("name", ["authorization", "content-type", "origin", "sec-fetch-site", "host"])
def test_c1_a_header_that_decides_may_be_sent_only_once(ask: Asker, name: str) -> None:
    """C1: two of them leave open which one counts, here and in the proxy before us."""
    answer = ask("GET", "/open", [(name, "a"), (name, "a")])
    assert (answer.status, answer.code) == (400, "invalid_request")


def test_every_sample_route_answers_something(ask: Asker) -> None:
    for one in ROUTES:
        answer = ask(one.method, one.path.replace("{id}", "1").replace("{sid}", "2"))
        assert answer.status in {200, 401, 415, 500}, one

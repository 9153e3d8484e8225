"""Headers that are broken, doubled or absurd: a 4xx with a code, and the next request on a fresh connection works."""

from __future__ import annotations

import json

import pytest

from tests.e2e import raw
from tests.e2e.client import COOKIE, PASSWORD, Client
from tests.e2e.raw import RawAnswer, request
from tests.e2e.server import Server

JSON = "Content-Type: application/json"
BODY = json.dumps({"username": "nobody", "password": PASSWORD}).encode()
GARBAGE = {
    "empty": ("Authorization: ", 401, "token_missing"),
    "no_scheme": ("Authorization: abc", 401, "token_missing"),
    "bearer_only": ("Authorization: Bearer", 400, "authorization_malformed"),
    "bearer_blank": ("Authorization: Bearer ", 400, "authorization_malformed"),
    "two_spaces": ("Authorization: Bearer  a.b.c", 400, "authorization_malformed"),
    "tab": ("Authorization: Bearer\ta.b.c", 400, "authorization_malformed"),
    "two_tokens": ("Authorization: Bearer a.b.c d.e.f", 400, "authorization_malformed"),
    "comma": ("Authorization: Bearer a.b.c, Bearer a.b.c", 400, "authorization_malformed"),
    "quoted": ('Authorization: Bearer "a.b.c"', 400, "authorization_malformed"),
    "high_bytes": ("Authorization: Bearer \xff\xfe", 400, "authorization_malformed"),
    "not_a_token": ("Authorization: Bearer abc", 401, "token_malformed"),
    "dots": ("Authorization: Bearer ..", 401, "token_malformed"),
    "no_padding": ("Authorization: Bearer YQ==.YQ==.YQ==", 400, "authorization_malformed"),
    "basic": ("Authorization: Basic Og==", 401, "token_missing"),
    "digest": ("Authorization: Digest username=a", 401, "token_missing"),
    "other_case": ("authorization: BEARER abc", 401, "token_malformed"),
    "long": ("Authorization: Bearer " + "a" * 12_000, 401, "token_malformed"),
}


def problem(answer: RawAnswer, status: int, code: str) -> None:
    """Assert that an answer is this problem."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code


@pytest.mark.parametrize("name", GARBAGE)
def test_C2_garbage_in_authorization(server: Server, name: str) -> None:
    """A header that cannot be read is 400, a token that cannot be is 401; only then is there an `error` to name."""
    line, status, code = GARBAGE[name]
    answer = raw.send(server, request("GET", "/profile", line))
    problem(answer, status, code)
    if status == 401:
        shown = code != "token_missing"
        assert ('error="invalid_token"' in answer.headers["www-authenticate"]) is shown
    else:
        assert 'error="invalid_request"' in answer.headers["www-authenticate"]


def test_C1_two_authorization_headers(server: Server, client: Client) -> None:
    """RFC 6750 section 3.1: with two sets of credentials it is unclear who asks, also when they are the same."""
    line = f"Authorization: Bearer {client.newcomer()}"
    problem(raw.send(server, request("GET", "/profile", line, line)), 400, "invalid_request")
    problem(raw.send(server, request("POST", "/logout", line, line)), 400, "invalid_request")
    answer = raw.send(server, request("POST", "/token", "Authorization: Basic Og==", "Authorization: Basic Og=="))
    assert answer.status == 400
    assert answer.json()["error"] == "invalid_request", "the OAuth door answers in its own shape"


@pytest.mark.parametrize("place", ["query", "form", "cookie"])
def test_C1_a_token_anywhere_else_is_not_looked_at(client: Client, place: str) -> None:
    """A token in a query string ends up in logs and histories; it counts as none at all."""
    token = client.newcomer()
    if place == "query":
        answer = client.get(f"/profile?access_token={token}")
    elif place == "form":
        answer = client.request("GET", "/profile", data={"access_token": token})
    else:
        answer = client.get("/profile", headers={"Cookie": f"access_token={token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")


@pytest.mark.parametrize(
    "lines",
    [
        (f"Cookie: {COOKIE}=a; {COOKIE}=b",),
        (f"Cookie: {COOKIE}=a", f"Cookie: {COOKIE}=b"),
        (f"Cookie: {COOKIE}=a; {COOKIE}=a",),
        (f"Cookie: other=1; {COOKIE}=; {COOKIE}=b",),
    ],
)
@pytest.mark.parametrize("path", ["/refresh", "/logout"])
def test_F2_the_cookie_twice(server: Server, lines: tuple[str, ...], path: str) -> None:
    """Two cookies of our name: one was put there by somebody else, and we cannot know which."""
    problem(raw.send(server, request("POST", path, *lines)), 400, "cookie_repeated")


@pytest.mark.parametrize(
    "cookie",
    [
        f"{COOKIE.upper()}=wwr_a",
        f"__Host-{COOKIE}=wwr_a",
        "watchword%5Frefresh=wwr_a",
        f"{COOKIE} =wwr_a",
        f"x{COOKIE}=wwr_a",
        f'other="{COOKIE}=wwr_a"',
        "",
        ";;;",
        "=",
    ],
)
def test_F2_names_like_ours_are_other_cookies(server: Server, cookie: str) -> None:
    """The name is compared byte for byte: no case folding, no percent signs, no other prefix."""
    problem(raw.send(server, request("POST", "/refresh", f"Cookie: {cookie}")), 401, "refresh_token_missing")


@pytest.mark.parametrize(
    "value", ["a", "wwr_", "wwr_" + "A" * 55, "wwr_" + "A" * 3000, "\xff\xfe", '"wwr_a"', "wwr_%41", "null", "eyJ.a.b"]
)
def test_garbage_in_the_cookie(server: Server, value: str) -> None:
    """What is no refresh token is refused without asking the database, and clears nobody's cookie."""
    answer = raw.send(server, request("POST", "/refresh", f"Cookie: {COOKIE}={value}"))
    problem(answer, 401, "refresh_token_invalid")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=a",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/jsonp",
        "application/json, text/plain",
        "text/json",
        "application/problem+json",
        "\xff",
    ],
)
@pytest.mark.parametrize("path", ["/login", "/register"])
def test_F4_other_media_types(server: Server, kind: str | None, path: str) -> None:
    """A form or plain text can be sent by any web page without asking; only JSON is read."""
    lines = [] if kind is None else [f"Content-Type: {kind}"]
    problem(raw.send(server, request("POST", path, *lines, body=BODY)), 415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json", "APPLICATION/JSON", "application/json ; charset=UTF-8"])
def test_media_types_that_are_json(server: Server, kind: str) -> None:
    """Case and a charset of UTF-8 make no difference."""
    answer = raw.send(server, request("POST", "/login", f"Content-Type: {kind}", body=BODY))
    problem(answer, 401, "invalid_credentials")


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip"])
def test_compressed_bodies_are_refused(server: Server, coding: str) -> None:
    """What is unpacked may be larger than any limit on what was sent."""
    lines = (JSON, f"Content-Encoding: {coding}")
    problem(raw.send(server, request("POST", "/login", *lines, body=BODY)), 415, "unsupported_media_type")


@pytest.mark.parametrize("name", ["Content-Type", "Origin", "Host", "Sec-Fetch-Site"])
def test_deciding_headers_sent_twice(server: Server, name: str) -> None:
    """A header by which something is decided may not say two things."""
    value = {"Content-Type": "application/json", "Origin": server.origin, "Host": "a", "Sec-Fetch-Site": "none"}[name]
    lines = (f"{name}: {value}", f"{name}: {value}") if name != "Host" else (f"Host: {value}",)
    if name != "Content-Type":
        lines = (JSON, *lines)
    problem(raw.send(server, request("POST", "/login", *lines, body=BODY)), 400, "invalid_request")


@pytest.mark.parametrize("length", ["65537", "1000000", "99999999999", "9223372036854775807"])
def test_J1_a_length_beyond_the_limit_is_refused_at_once(server: Server, length: str) -> None:
    """Nothing of the body is waited for."""
    answer = raw.send(server, request("POST", "/login", JSON, length=length))
    problem(answer, 413, "body_too_large")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    "length", ["-1", "+5", "0x10", "1e3", "5, 5", "5 5", "", "abc", "18446744073709551616", "9" * 200]
)
def test_lengths_that_are_none(server: Server, length: str) -> None:
    """A length that is no number leaves open where the next request begins: 400, and the connection ends."""
    answer = raw.send(server, request("POST", "/login", JSON, length=length))
    assert answer.status in (400, 413), answer
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: identity",),
        ("Transfer-Encoding: gzip, chunked, gzip",),
        ("Transfer-Encoding: xchunked",),
    ],
)
def test_lengths_that_contradict(server: Server, lines: tuple[str, ...]) -> None:
    """Request smuggling lives on two opinions about where a body ends; there is no second opinion here."""
    answer = raw.send(server, request("POST", "/login", JSON, *lines) + b"0\r\n\r\n")
    assert answer.status in (400, 501), answer
    assert answer.headers["connection"] == "close"


def _chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_chunked_bodies_work(server: Server) -> None:
    """A body in pieces, even byte by byte, is the same body."""
    pieces = _chunked(*(BODY[index : index + 1] for index in range(len(BODY))))
    answer = raw.send(server, request("POST", "/login", JSON, "Transfer-Encoding: chunked") + pieces)
    problem(answer, 401, "invalid_credentials")


def test_J1_chunked_bodies_are_counted(server: Server) -> None:
    """Without a length the limit is found while reading."""
    pieces = _chunked(*[b" " * 4096] * 17)
    answer = raw.send(server, request("POST", "/login", JSON, "Transfer-Encoding: chunked") + pieces)
    problem(answer, 413, "body_too_large")


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"-1\r\n", b"fffffffffffffffff\r\n"])
def test_broken_chunks(server: Server, chunk: bytes) -> None:
    """A piece that is none ends the connection, with an answer where there is still one to give."""
    answer = raw.send(server, request("POST", "/login", JSON, "Transfer-Encoding: chunked") + chunk + b"\r\n\r\n")
    assert 400 <= answer.status < 500, answer


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([f"X-{number}: a" for number in range(100)], 431),
        (["X-Long: " + "a" * 40_000], 431),
        (["Bad Header: a"], 400),
        (["X-Nul: a\x00b"], 400),
        ([": a"], 400),
    ],
)
def test_J3_heads_beyond_the_limits(server: Server, lines: list[str], status: int) -> None:
    """Too many headers, too long ones, and what is no header at all."""
    assert raw.send(server, request("GET", "/livez", *lines)).status == status


@pytest.mark.parametrize(
    "start",
    [b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"{}\r\n\r\n"],
)
def test_what_is_not_http(server: Server, start: bytes) -> None:
    """TLS spoken to a plain port, other protocols, other versions: 400 and an end."""
    answer = raw.send(server, start + b"\r\n\r\n")
    assert answer.status in (400, 505), answer


@pytest.mark.parametrize(
    "target",
    [
        "/profile/",
        "//profile",
        "/./profile",
        "/x/../profile",
        "/profile;a",
        "/Profile",
        "/profile.",
        "/%70rofile%2f",
        "*",
    ],
)
def test_J4_other_spellings_of_a_path_are_no_path(server: Server, target: str) -> None:
    """A path is compared as it is; what a proxy in front might read otherwise matches nothing here."""
    problem(raw.send(server, request("GET", target)), 404, "not_found")


@pytest.mark.parametrize("host", ["evil.example", "a/?x=", "127.0.0.1:1", "", "\xff"])
def test_J4_H3_the_host_header_decides_nothing(server: Server, host: str) -> None:
    """Links and problem types come from the public URL, whatever the client calls us."""
    line = f"POST /refresh HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: evil.example\r\n\r\n"
    answer = raw.send(server, line.encode("latin-1"))
    problem(answer, 401, "refresh_token_missing")
    assert answer.json()["type"] == f"{server.origin}/problems/refresh_token_missing"


def test_after_all_this_it_still_serves(client: Client) -> None:
    """None of the above has harmed anybody else."""
    assert client.get("/readyz").json()["status"] == "ok"
    assert client.newcomer()

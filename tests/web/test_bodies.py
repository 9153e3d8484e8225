"""Bodies: bounded while they are read, decoded strictly (J1, J2)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.web.asking import Asker, dispatcher
from watchword.errors import Refused
from watchword.web.bodies import MAX_BODY, decode_json
from watchword.web.forms import decode_form

JSON = ("content-type", "application/json")
FORM = ("content-type", "application/x-www-form-urlencoded")


@pytest.fixture
def ask() -> Asker:
    return dispatcher()


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "blank": b"  ",
    "not json": b"username=a",
    "half": b'{"username": "a"',
    "two values": b"{} {}",
    "trailing comma": b'{"a": 1,}',
    "comment": b"{} // x",
    "single quotes": b"{'a': 1}",
    "bom": b"\xef\xbb\xbf{}",
    "utf-16": '{"a": 1}'.encode("utf-16"),
    "latin-1": b'{"a": "\xe9"}',
    "overlong utf-8": b'{"a": "\xc0\xaf"}',
    "surrogate in utf-8": b'{"a": "\xed\xa0\x80"}',
    "lone surrogate": b'{"a": "\\ud800"}',
    "lone low surrogate": b'{"a": "\\udc00x"}',
    "lone surrogate in a name": b'{"\\ud800": 1}',
    "raw newline in a string": b'{"a": "\n"}',
    "escaped nul": b'{"a": "\\u0000"}',
    "escaped nul in a name": b'{"a\\u0000": 1}',
    "nan": b'{"a": NaN}',
    "infinity": b'{"a": Infinity}',
    "minus infinity": b'{"a": -Infinity}',
    "1e400": b'{"a": 1e400}',
    "huge integer": b'{"a": ' + b"9" * 5000 + b"}",
    "2^63": b'{"a": 9223372036854775808}',
    "leading zero": b'{"a": 01}',
    "same name twice": b'{"a": 1, "a": 2}',
    "same name twice, escaped": b'{"a": 1, "\\u0061": 2}',
    "same name twice, below": b'{"a": [{"b": 1, "b": 1}]}',
    "17 levels": deep(17),
    "17 levels of both": b'{"a":[' * 8 + b'{"a":1}' + b"]}" * 8,
    "17 levels, last one empty": b'{"a":' * 16 + b"{}" + b"}" * 16,
    "30,000 levels": deep(30_000),
    "30,000 opened": b"[" * 30_000,
    "30,000 objects": b'{"a":' * 10_000,
    "65 names": json.dumps({str(n): n for n in range(65)}).encode(),
    "65 names below": json.dumps([{str(n): n for n in range(65)}]).encode(),
    "long string": json.dumps({"a": "x" * 4097}).encode(),
    "long name": json.dumps({"x" * 4097: 1}).encode(),
    "long string deep down": json.dumps([[[["x" * 4097]]]]).encode(),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_j1_what_is_not_strict_json_is_400(ask: Asker, body: bytes) -> None:
    """J1: two readers can never see two things in what we accept, and nothing makes us work hard."""
    answer = ask("POST", "/register", [JSON], body)
    assert (answer.status, answer.code) == (400, "malformed_json")


FINE: dict[str, Any] = {
    "16 levels": json.loads(deep(16)),
    "16 levels and a value": json.loads(b'{"a":' * 16 + b"1" + b"}" * 16),
    "64 names": {str(n): n for n in range(64)},
    "a string of 4096": "x" * 4096,
    "a pair of surrogates": "😀",
    "all of unicode's corners": "\ufffe\u2028\u202e\x7f",
    "largest integer": 2**63 - 1,
    "smallest integer": -(2**63 - 1),
    "wide": list(range(2000)),
    "scalars": [None, True, False, 0, -1, 1.5, ""],
}


@pytest.mark.parametrize("value", FINE.values(), ids=FINE.keys())
def test_j1_what_is_within_the_limits_is_read_exactly(value: Any) -> None:
    assert decode_json(json.dumps(value).encode()) == value
    assert decode_json(json.dumps(value, ensure_ascii=False).encode()) == value


def test_j1_the_refusal_never_repeats_what_was_sent(ask: Asker) -> None:
    answer = ask("POST", "/register", [JSON], b'{"password": "hunter2-secret", "password": "x"}')
    assert b"hunter2" not in answer.body


TOO_LARGE = [[b"x" * MAX_BODY, b"x"], [b"x" * 1000] * 66, [b"x" * (MAX_BODY + 1)], [b"", b"x" * 70_000]]


@pytest.mark.parametrize("body", TOO_LARGE)
@pytest.mark.parametrize("length", [None, "5", "0"])
def test_j1_the_limit_counts_what_arrives_and_not_what_was_said(
    ask: Asker, body: list[bytes], length: str | None
) -> None:
    headers = [JSON] if length is None else [JSON, ("content-length", length)]
    answer = ask("POST", "/register", headers, body)
    assert (answer.status, answer.code, answer["connection"]) == (413, "body_too_large", "close")


@pytest.mark.parametrize("path", ["/register", "/token", "/refresh"])
@pytest.mark.parametrize("length", [str(MAX_BODY + 1), "9" * 400])
def test_j1_a_body_that_announces_itself_as_too_large_is_not_read(ask: Asker, path: str, length: str) -> None:
    kind = FORM if path == "/token" else JSON
    answer = ask.exchange("POST", path, [(b"content-type", kind[1].encode()), (b"content-length", length.encode())], [])
    assert answer.status == 413  # and not silence, which is what reading on would have led to


def test_j1_reading_stops_at_the_limit(ask: Asker) -> None:
    pieces = [{"type": "http.request", "body": b"x" * 16_384, "more_body": True} for _ in range(100)]
    assert ask.exchange("POST", "/register", [(b"content-type", b"application/json")], pieces).status == 413
    assert len(pieces) == 95


def test_a_body_of_exactly_the_limit_is_read(ask: Asker) -> None:
    body = b'{"username": "a", "password": "b"}'
    assert ask("POST", "/register", [JSON], [body, b" " * (MAX_BODY - len(body))]).status == 200


@pytest.mark.parametrize("length", ["-1", "1.5", "abc", "", "1, 1", "٣"])
def test_a_content_length_that_is_no_number_is_400(ask: Asker, length: str) -> None:
    assert ask("POST", "/register", [JSON, ("content-length", length)], b"{}").status == 400


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("Application/JSON", 200),
        ("application/json; charset=utf-8", 200),
        ('application/json;charset="UTF-8"', 200),
        ("application/json ; charset=utf8", 200),
        ("application/json; charset=utf-16", 415),
        ("application/json; charset=latin-1", 415),
        ("application/json; charset=", 415),
        ("application/json, text/plain", 415),
        ("application/problem+json", 415),
        ("application/jsonx", 415),
        ("text/json", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
        (None, 415),
    ],
)
def test_j2_only_json_is_json(ask: Asker, kind: str | None, status: int) -> None:
    headers = [] if kind is None else [("content-type", kind)]
    assert ask("POST", "/register", headers, b'{"username": "a", "password": "b"}').status == status


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip", ""])
def test_j2_compressed_bodies_are_refused(ask: Asker, coding: str) -> None:
    assert ask("POST", "/register", [JSON, ("content-encoding", coding)], b"{}").status == 415


# Forms


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a=x+y%20z", {"a": "x y z"}),
        (b"a=%C3%A9%2B%26", {"a": "é+&"}),
        (b"a=b=c", {"a": "b=c"}),
        (b"%61=1", {"a": "1"}),
        (b"a=&b=2", {"b": "2"}),  # RFC 6749 section 3.2: without a value it counts as left out
        (b"a", {}),
        (b"", {}),
        (b"a=1&", {"a": "1"}),
        (b"a=1;b=2", {"a": "1;b=2"}),
        (b"&".join(b"f%d=1" % n for n in range(20)), {f"f{n}": "1" for n in range(20)}),
    ],
)
def test_forms_are_read(body: bytes, fields: dict[str, str]) -> None:
    assert decode_form(body) == fields


@pytest.mark.parametrize(
    "body",
    [
        b"a=1&a=2",
        b"a=1&%61=2",
        b"a=&a=1",
        b"a=%",
        b"a=%1",
        b"a=%zz",
        b"a=%u0041",
        b"a=% 41",
        b"a=%+1",
        b"%=1",
        b"a=%ff",
        b"a=\xff",
        b"a=%00",
        b"a=\x00",
        b"%00=1",
        b"a=%ed%a0%80",
        b"a=" + b"x" * 8193,
        b"&".join(b"f%d=1" % n for n in range(21)),
        b"&" * 20,
    ],
)
def test_j2_what_is_not_a_strict_form_is_refused(ask: Asker, body: bytes) -> None:
    """J2: our own parser, small enough to read, and nothing is guessed."""
    with pytest.raises(Refused):
        decode_form(body)
    answer = ask.form("/token", b"grant_type=password&" + body)
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"resource=a&resource=b", "The field resource was sent twice. Send it once."),
        (b"scope=%ff", "The field scope is not UTF-8."),
        (b"client_id=%00", "The field client_id holds a NUL character."),
        (b"password=50%", "The field password has a `%` that is not followed by two hexadecimal digits."),
        (b"token=" + b"x" * 8193, "The field token is longer than 8192 characters."),
        (b"<b>=1&<b>=2", "A field was sent twice. Send it once."),
        (b"a%ff=1", "A field is not UTF-8."),
    ],
)
def test_the_field_at_fault_is_named(body: bytes, said: str) -> None:
    """Nothing else that was sent is repeated."""
    with pytest.raises(Refused) as caught:
        decode_form(body)
    assert caught.value.message == said


def test_a_form_ignores_what_it_does_not_know(ask: Asker) -> None:
    """RFC 6749 section 3.2, even for a type that forbids unknown fields."""
    answer = ask.form("/token", b"grant_type=password&resource=x&username=al")
    assert answer.status == 200
    assert answer.json["body"] == {"grant_type": "password", "username": "al", "password": None}


def test_a_form_without_a_needed_field_is_an_oauth_error(ask: Asker) -> None:
    answer = ask.form("/token", b"username=al")
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")
    assert "grant_type" in answer.json["error_description"]


def test_an_oauth_endpoint_does_not_take_json(ask: Asker) -> None:
    answer = ask.post("/token", {"grant_type": "password"})
    assert (answer.status, answer.json["error"]) == (415, "invalid_request")


# Anything at all

ASK = dispatcher()
SOME_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
)
ALMOST = st.fixed_dictionaries(
    {},
    optional={
        "username": SOME_JSON,
        "password": SOME_JSON,
        "device": SOME_JSON,
    },
)
BODIES = (
    st.binary(max_size=300)
    | SOME_JSON.map(lambda v: json.dumps(v).encode())
    | ALMOST.map(lambda v: json.dumps(v).encode())
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=BODIES, path=st.sampled_from(["/register", "/login"]))
def test_no_json_body_is_ever_our_fault(body: bytes, path: str) -> None:
    """For every body: accepted or refused with 4xx, never a 5xx (J10)."""
    answer = ASK("POST", path, [JSON], body)
    assert answer.status in {200, 400, 413, 422}
    if answer.status == 422:
        assert answer.json["errors"]


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=300) | st.text(alphabet="a=&%+1é\0", max_size=30).map(str.encode))
def test_no_form_is_ever_our_fault(body: bytes) -> None:
    assert ASK("POST", "/token", [FORM], body).status in {200, 400}


@settings(max_examples=300, deadline=None)
@given(
    path=st.text(max_size=40).map(lambda t: "/" + t),
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                ["authorization", "cookie", "origin", "content-type", "content-length", "x-forwarded-for", "user-agent"]
            ),
            st.binary(max_size=40),
        ),
        max_size=6,
    ),
    method=st.sampled_from(["GET", "POST", "PUT", "OPTIONS", "HEAD"]),
)
def test_no_request_head_is_ever_our_fault(path: str, headers: list[tuple[str, bytes]], method: str) -> None:
    for place in (path, "/login", "/profile", "/sessions/" + path):
        assert ASK(method, place, headers).status < 500

"""The refresh cookie (F1, F2)."""

from __future__ import annotations

import pytest

from tests.web.asking import dispatcher
from watchword.errors import Refused
from watchword.web.cookies import RefreshCookie

HTTPS = RefreshCookie("https://auth.example/base")
LOCAL = RefreshCookie("http://127.0.0.1:4000")


def read(cookie: RefreshCookie, *headers: bytes) -> str | None:
    return cookie.read({"headers": [(b"cookie", value) for value in headers]})


def test_f1_under_https_it_is_bound_to_the_host() -> None:
    name, line = HTTPS.write("wwr_abc", 60)
    assert name == b"set-cookie"
    first, *flags = line.decode().split("; ")
    assert first == "__Host-watchword_refresh=wwr_abc"
    assert set(flags) == {"Max-Age=60", "Path=/", "HttpOnly", "Secure", "SameSite=Strict"}  # and no Domain


def test_f1_on_loopback_it_is_the_same_but_secure() -> None:
    first, *flags = LOCAL.write("wwr_abc", 60)[1].decode().split("; ")
    assert first == "watchword_refresh=wwr_abc"
    assert set(flags) == {"Max-Age=60", "Path=/", "HttpOnly", "SameSite=Strict"}


@pytest.mark.parametrize(
    "url", ["http://auth.example", "http://127.0.0.1.evil.example", "http://127.evil.example", "http://10.0.0.1"]
)
def test_f1_plain_http_beyond_loopback_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        RefreshCookie(url)


def test_clearing_names_the_same_cookie_with_the_same_flags() -> None:
    first, *flags = HTTPS.clear()[1].decode().split("; ")
    assert first == "__Host-watchword_refresh="
    assert set(flags) == {"Max-Age=0", "Path=/", "HttpOnly", "Secure", "SameSite=Strict"}


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (b"__Host-watchword_refresh=abc", "abc"),
        (b"a=1; __Host-watchword_refresh=abc; b=2", "abc"),
        (b"a=1;__Host-watchword_refresh=abc", "abc"),
        (b"__Host-watchword_refresh=a=b==", "a=b=="),
        (b"__Host-watchword_refresh=", ""),
        (b"__Host-watchword_refresh=%61", "%61"),  # as it is
        (b'__Host-watchword_refresh="a"', '"a"'),
        (b"__Host-watchword_refresh", None),
        (b"__host-watchword_refresh=abc", None),
        (b"__host-watchword_refresh=evil; __Host-watchword_refresh=abc", "abc"),
        (b"__HOST-WATCHWORD_REFRESH=abc", None),
        (b"__Host-watchword%5Frefresh=abc", None),
        (b"%5F%5FHost-watchword_refresh=abc", None),  # Rack CVE-2020-8184
        (b"watchword_refresh=abc", None),  # the loopback name counts for nothing under https
        (b"x__Host-watchword_refresh=abc", None),
        (b"__Host-watchword_refreshx=abc", None),
        (b"__Host-watchword_refresh =abc", None),
        (b"a=__Host-watchword_refresh=abc", None),
        (b"a=1, __Host-watchword_refresh=abc", None),
        (b"", None),
        (b"\xff=\xfe; __Host-watchword_refresh=\xff", "ÿ"),
    ],
)
def test_f2_the_name_is_matched_byte_for_byte(header: bytes, value: str | None) -> None:
    assert read(HTTPS, header) == value


def test_f2_on_loopback_the_secure_name_is_ignored() -> None:
    assert read(LOCAL, b"__Host-watchword_refresh=a; watchword_refresh=b") == "b"


@pytest.mark.parametrize(
    "headers",
    [
        [b"__Host-watchword_refresh=a; __Host-watchword_refresh=b"],
        [b"__Host-watchword_refresh=a; x=1; __Host-watchword_refresh=a"],
        [b"__Host-watchword_refresh=a", b"__Host-watchword_refresh=b"],
        [b"__Host-watchword_refresh=; __Host-watchword_refresh=b"],
    ],
)
def test_f2_two_of_ours_are_refused(headers: list[bytes]) -> None:
    with pytest.raises(Refused) as refused:
        read(HTTPS, *headers)
    assert refused.value.code == "cookie_repeated"
    answer = dispatcher()("POST", "/refresh", [("cookie", header) for header in headers])
    assert (answer.status, answer.code) == (400, "cookie_repeated")


@pytest.mark.parametrize("value", ["a b", "a;b", "a\r\nb", "a,b", 'a"b', "a\\b", "\x7f", "x" * 5000])
def test_what_no_cookie_may_hold_is_never_written(value: str) -> None:
    with pytest.raises(ValueError, match="cookie"):
        HTTPS.write(value, 60)

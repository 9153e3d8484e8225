"""How each kind of setting is written: what is read, and what is refused with a hint."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network

import pytest

from watchword import base64url
from watchword.errors import SettingsError
from watchword.settings import Limit, Settings, values
from watchword.settings.values import Unfit

SECRET = "Rz8dMNeWv0-1cPjgB2nJm4XqTkYhLsUa9vE3wOi7xQ0"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45", 45), ("30s", 30), ("15m", 900), ("12h", 43200), ("7d", 604800), (" 15m ", 900), ("0", 0), ("00015m", 900)],
)
def test_durations(text: str, seconds: int) -> None:
    """Whole seconds, or a number with one unit."""
    assert values.duration(0, 10**9)(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["15 m", "m", "-1", "1.5h", "15min", "1h30m", "٣m", "9999999999", "1e3", "15M", "∞", "0x10"]
)
def test_malformed_durations(text: str) -> None:
    """Anything else is refused, and the hint shows how to write it."""
    with pytest.raises(Unfit) as refused:
        values.duration(0, 10**9)(text)
    assert "15m" in refused.value.hint


def test_durations_have_bounds() -> None:
    """Out of bounds is refused with the bounds in the hint."""
    with pytest.raises(Unfit) as refused:
        values.duration(1, 86400)("25h")
    assert refused.value.hint == "choose a duration from 1s to 1d"


@pytest.mark.parametrize("seconds", [1, 59, 60, 900, 3600, 86400, 90061, 604800, 0])
def test_a_duration_is_read_as_it_is_written(seconds: int) -> None:
    """The text of a duration reads back as the same duration."""
    written = values.duration_text(timedelta(seconds=seconds))
    assert values.duration(0, 10**9)(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("10/15m", Limit(10, timedelta(minutes=15))),
        ("20/1h", Limit(20, timedelta(hours=1))),
        ("1/60", Limit(1, timedelta(seconds=60))),
        ("off", None),
        ("OFF", None),
    ],
)
def test_limits(text: str, limit: Limit | None) -> None:
    """How many per how long, or off."""
    assert values.limit(text) == limit


@pytest.mark.parametrize(
    "text", ["10", "10/", "/15m", "10/15m/2", "0/15m", "-1/15m", "10 / 15m", "10/0", "on", "10/99999d"]
)
def test_malformed_limits(text: str) -> None:
    """Anything else is refused; so is a limit that allows nothing."""
    with pytest.raises(Unfit):
        values.limit(text)


@pytest.mark.parametrize(
    ("text", "on"), [("on", True), ("off", False), ("TRUE", True), ("no", False), ("1", True), ("0", False)]
)
def test_switches(text: str, on: bool) -> None:
    """On and off, in the spellings people use."""
    assert values.switch(text) is on


@pytest.mark.parametrize("text", ["2", "enabled", "y", "o n"])
def test_malformed_switches(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(Unfit):
        values.switch(text)


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "[::1]", "0.0.0.0", "localhost", "auth-1.internal", "Auth"])
def test_hosts(text: str) -> None:
    """Addresses and names to listen on."""
    assert values.host(text) == text.strip("[]")


@pytest.mark.parametrize("text", ["127.0.0.1:4000", "http://x", "a b", "-x", "a" * 300, "*", "x/y", "ä"])
def test_malformed_hosts(text: str) -> None:
    """A port, a URL or a pattern is no host."""
    with pytest.raises(Unfit):
        values.host(text)


@pytest.mark.parametrize(
    "url",
    [
        "https://auth.example.com",
        "https://auth.example.com:8443",
        "https://example.com/auth",
        "http://localhost:4000",
        "http://127.0.0.1:4000/api/v1",
        "http://[::1]:4000",
        "http://app.localhost:4000",
        "https://xn--bcher-kva.example",
    ],
)
def test_public_urls(url: str) -> None:
    """Kept byte for byte: it is the issuer."""
    assert values.public_url(url) == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://auth.example.com/", "ends in a slash"),
        ("https://auth.example.com/api/", "ends in a slash"),
        ("https://auth.example.com?x=1", "query"),
        ("https://auth.example.com/#x", "fragment"),
        ("https://auth.example.com?", "query"),
        ("http://auth.example.com", "in the clear"),
        ("http://127.0.0.1.example.com", "in the clear"),
        ("http://0.0.0.0:4000", "in the clear"),
        ("http://localhost.evil.com", "in the clear"),
        ("ftp://auth.example.com", "not an http"),
        ("HTTPS://auth.example.com", "not an http"),
        ("auth.example.com", "not an http"),
        ("https://", "not an http"),
        ("https://user:password@auth.example.com", "user name"),
        ("https://Auth.Example.com", "capitals"),
        ("https://auth.example.com:443", "leave out"),
        ("http://localhost:80", "leave out"),
        ("https://auth.example.com:", "leave out"),
        ("https://auth.example.com:0", "leave out"),
        ("https://auth.example.com:99999", "not a URL"),
        ("https://auth.example.com/a//b", "path"),
        ("https://auth.example.com/../b", "path"),
        ("https://auth.example.com/a%2fb", "path"),
        ("https://auth example.com", "characters"),
        ("https://auth.example.com\\@evil.com", "characters"),
        ("https://bücher.example", "characters"),
        ("https://auth.example.com\nx", "characters"),
        ("https://-.example..com", "valid host"),
    ],
)
def test_malformed_public_urls(url: str, said: str) -> None:
    """Whatever browsers or other libraries would write otherwise is refused, and so is http beyond loopback (J12)."""
    with pytest.raises(Unfit) as refused:
        values.public_url(url)
    assert said in refused.value.message + refused.value.hint
    assert refused.value.hint


@pytest.mark.parametrize(("text", "prefix"), [("/api", "/api"), ("/auth/v1", "/auth/v1"), ("/", ""), ("off", "")])
def test_path_prefixes(text: str, prefix: str) -> None:
    """A path without a slash at its end."""
    assert values.url_path(text) == prefix


@pytest.mark.parametrize("text", ["api", "/api/", "//api", "/a b", "/../x", "/a?b", "/.well-known", "https://x/api"])
def test_malformed_path_prefixes(text: str) -> None:
    """Nothing that a router or a proxy would read differently."""
    with pytest.raises(Unfit):
        values.url_path(text)


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("https://a.example", ("https://a.example",)),
        ("https://a.example, http://localhost:5173", ("https://a.example", "http://localhost:5173")),
        ("https://a.example,https://a.example,", ("https://a.example",)),
        ("off", ()),
    ],
)
def test_origins(text: str, origins: tuple[str, ...]) -> None:
    """A comma list, each as a browser sends it."""
    assert values.origins(text) == origins


@pytest.mark.parametrize(
    "text", ["*", "null", "https://a.example/", "https://a.example/x", "a.example", "https://*.a.example"]
)
def test_malformed_origins(text: str) -> None:
    """No pattern, no path, nothing that any page could claim."""
    with pytest.raises(Unfit):
        values.origins(text)


def test_secrets() -> None:
    """One, or a comma list with the current one first; padding is tolerated."""
    other = base64url.encode_text(bytes(range(40)))
    assert values.secrets(SECRET) == values.secrets(SECRET + "=")
    assert values.secrets(f"{SECRET}, {other}") == (*values.secrets(SECRET), bytes(range(40)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("password", "6 bytes"),
        ("not base64!", "not base64url"),
        (SECRET[:-1] + "1", "not base64url"),  # other spare bits
        (SECRET.replace("-", "+"), "not base64url"),
        (base64url.encode_text(bytes(32)), "not random"),
        (base64url.encode_text(b"ab" * 16), "not random"),
        (base64url.encode_text(bytes(range(31))), "31 bytes"),
        (f"{SECRET},{SECRET}", "twice"),
        (",".join(base64url.encode_text(bytes(range(i, i + 32))) for i in range(4)), "4 secrets"),
        (f"{SECRET},short", "not base64url"),
    ],
)
def test_weak_secrets(text: str, said: str) -> None:
    """Weak master keys are refused (J12); the hint makes a good one, and neither repeats the secret."""
    with pytest.raises(Unfit) as refused:
        values.secrets(text)
    assert said in refused.value.message
    assert text not in refused.value.message + refused.value.hint


@pytest.mark.parametrize("text", [",", " , ,", " "])
def test_a_list_without_a_secret(text: str) -> None:
    """⚑ Given and empty is a slip, of a template for one; taken for not given, another secret would be made."""
    with pytest.raises(Unfit, match="lists no secret"):
        values.secrets(text)
    with pytest.raises(SettingsError):
        Settings(secret=text)


def test_short_jwt_secret() -> None:
    """HS256 needs 32 bytes (RFC 7518 section 3.2); the hint prints the command that makes them."""
    assert values.shared_secret(SECRET[:32]) == SECRET[:32].encode()
    assert values.shared_secret("äöüßéèêëñçåøæðîï") == "äöüßéèêëñçåøæðîï".encode()
    with pytest.raises(Unfit) as refused:
        values.shared_secret("x" * 31)
    assert "watchword secret" in refused.value.hint


def test_what_was_typed_is_shown_safely() -> None:
    """A fault shows what was typed without letting it steer the terminal."""
    with pytest.raises(Unfit) as refused:
        values.switch("\x1b[31m" + "x" * 1000)
    assert "\x1b" not in refused.value.message
    assert len(refused.value.message) < 120


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("off", 0),
        ("2", 2),
        ("10.0.0.0/8, fd00::/8", (IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8"))),
        ("192.0.2.1,192.0.2.1,", (IPv4Network("192.0.2.1/32"),)),
        ("::ffff:10.0.0.0/104", (IPv4Network("10.0.0.0/8"),)),
        ("::1", (IPv6Network("::1/128"),)),
    ],
)
def test_trusted_proxies_are_a_number_or_networks(text: str, expected: values.Proxies) -> None:
    """IPv4 that is written as IPv6 is IPv4; one address is a network of one."""
    assert values.proxies(text) == expected
    settings = Settings(trusted_proxies=expected)
    assert settings.trusted_proxies == expected
    assert values.proxies(settings.shown()["trusted_proxies"] or "off") == expected


@pytest.mark.parametrize(
    "text",
    ["17", "-1", "1,2", "1,10.0.0.0/8", "0.0.0.0/0", "::/0", "0.0.0.0/1,128.0.0.0/1", "::/1,8000::/1",
     "::ffff:0:0/96", "10.0.0.1/8", "10.0.0.0/33", "*", "nginx",
     "10.0.0.0/255.0.0.0", "fe80::1%eth0", ",", "10.0.0.0-10.0.0.9", "010.0.0.0/8", "10.0.0.0:80", "[::1]"],
)  # fmt: skip
def test_proxies_that_are_neither_are_refused(text: str) -> None:
    """A mask, a name, half a network, or the whole world: whose word would count is left to no guess."""
    with pytest.raises(Unfit) as caught:
        values.proxies(text)
    assert caught.value.hint

"""Making a guard and waiting for it: wrong values, clocks that differ, private networks, and why it is not ready."""

from __future__ import annotations

import inspect
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import pytest

from tests.guard.conftest import MakeGuard
from tests.guard.service import FEED, METADATA, Service, serving, until
from watchword.clock import FixedClock
from watchword.errors import TokenError
from watchword.guard import Guard
from watchword.guard.following import follow as following
from watchword.guard.options import AllOptions
from watchword.testing import Issuer
from watchword.tokens.issuers import compared
from watchword.tokens.keys import KeySet

LOG = "watchword.guard"
SECRET = sha256(b"a secret of this test").digest()


# Values --------------------------------------------------------------------------------------------------------------


def unchecked_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("issuer", value) for value in (None, b"https://a", " https://a", "https://a\n", ["https://a"], "", "a")),
        *(("audience", value) for value in (None, ["orders"], {"orders"}, b"x", "", " orders")),
        *(("url", value) for value in ("", b"https://a", "https://a ", 7, True)),
        *(("guard_key", value) for value in ("", " ", b"key", 7, "two words")),
        *(("algorithms", value) for value in ("ES256", None, (), ["none"], [b"ES256"], {"ES256": 1})),
        *(("leeway", value) for value in ("5", 5.0, True, None, -1, 61)),
        *(("revocations", value) for value in (None, "off", "false", 0, 1)),
        *(("max_stale", value) for value in ("30", None, True, 0, -1, 14.9, 86_401, float("inf"), float("nan"))),
        *(("stale", value) for value in (None, "close", True, "")),
        *(("allow_private_networks", value) for value in (None, "no", 0)),
        *(("plain_http", value) for value in (None, "no", 1)),
        *(("tls", value) for value in (True, "ca.pem", unchecked_tls())),
        *(("clock", value) for value in (7, "now", object())),
        *(("on_event", value) for value in ("print", 7)),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_when_the_guard_is_made(name: str, value: Any) -> None:
    """By each way of making one that takes it; and a secret is not shown."""
    given: dict[str, Any] = {"issuer": "https://auth.example", "audience": "orders"} | {name: value}
    issuer = given.pop("issuer")
    with pytest.raises((TypeError, ValueError)) as caught:
        Guard(issuer, **given)
    assert name in str(caught.value) or "polic" in str(caught.value)
    assert "two words" not in str(caught.value)
    if name != "algorithms":
        with pytest.raises((TypeError, ValueError)):
            Guard.shared_secret(issuer, secret=SECRET, **given)


@pytest.mark.parametrize("name", ["auidence", "guardkey", "plain", "max_age", "secret", "roles"])
def test_a_misspelt_option_is_named(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        Guard("https://auth.example", audience="orders", **{name: "x"})
    if name != "secret":
        with pytest.raises(TypeError, match=name):
            Guard.shared_secret("https://auth.example", secret=SECRET, **{name: "x"})


def test_a_shared_secret_leaves_no_choice_of_algorithm() -> None:
    with pytest.raises(TypeError, match="algorithms"):
        Guard.shared_secret("https://auth.example", secret=SECRET, algorithms=("ES256",))  # type: ignore[call-arg]


def test_each_parameter_is_an_option_whose_kind_is_checked() -> None:
    parameters = inspect.signature(Guard).parameters
    assert set(parameters) == set(AllOptions.__annotations__)


# Clocks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_a_clock_that_is_a_little_behind_refuses_no_fresh_token(claim: str, caplog: pytest.LogCaptureFixture) -> None:
    """Five seconds for the beginning by default; more is refused, and the log names the difference."""
    issuer, events = Issuer(), []
    guard = issuer.guard()
    guard._events._on_event = lambda name, fields: events.append((name, dict(fields)))
    now = issuer.clock.now()
    assert guard.verify(issuer.token("ada", **{claim: now + 5})).user_id == "ada"
    with caplog.at_level(logging.WARNING, LOG), pytest.raises(TokenError) as caught:
        guard.verify(issuer.token("ada", **{claim: now + 6}))
    assert caught.value.code == "token_not_yet_valid"
    assert "begins in 6 s by this machine's clock, of which 5 s are forgiven" in caplog.text
    assert events == [("clock_behind", {"seconds": 6, "leeway": 5, "failures": 1})]


def test_a_token_that_was_seen_before_the_clock_went_back_names_the_difference_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    issuer = Issuer()
    guard, token = issuer.guard(), issuer.token("ada")
    guard.verify(token)
    issuer.clock.advance(-3600)
    with caplog.at_level(logging.WARNING, LOG):
        for _ in range(9):
            with pytest.raises(TokenError, match="not valid yet"):
                guard.verify(token)
    assert caplog.text.count("begins in 3600 s") == 4, "the 1st, 2nd, 4th and 8th"


@pytest.mark.parametrize("leeway", [0, 5, 60])
def test_the_end_of_a_token_is_never_forgiven(leeway: int) -> None:
    issuer = Issuer()
    guard, token = issuer.guard(leeway=leeway), issuer.token("ada", expires_in=60)
    issuer.clock.advance(59)
    assert guard.verify(token).user_id == "ada"
    issuer.clock.advance(1)
    for made in (guard, issuer.guard(leeway=leeway)):
        with pytest.raises(TokenError) as caught:
            made.verify(token)
        assert caught.value.code == "token_expired"


def test_what_is_no_question_of_clocks_is_not_logged_as_one(caplog: pytest.LogCaptureFixture) -> None:
    issuer = Issuer()
    with caplog.at_level(logging.WARNING, LOG):
        for token in (issuer.expired_token(), issuer.forged_token(iat=2**40, exp=2**40 + 9), "x"):
            with pytest.raises(TokenError):
                issuer.guard().verify(token)
    assert caplog.text == ""


# Private networks ----------------------------------------------------------------------------------------------------


def test_plain_http_beyond_this_machine_is_for_those_who_say_so(caplog: pytest.LogCaptureFixture) -> None:
    following._warned.clear()
    with pytest.raises(ValueError, match=r"url must be https .*plain_http=True"):
        Guard("https://auth.example", audience="x", url="http://watchword:4000")
    with pytest.raises(ValueError, match=r"issuer must be https .*add url=… and plain_http=True"):
        Guard("http://watchword:4000", audience="x", plain_http=True)
    with caplog.at_level(logging.WARNING, LOG):
        for _ in range(3):
            Guard("https://auth.example", audience="x", url="http://watchword:4000", plain_http=True)
        Guard("https://auth.example", audience="x", url="https://watchword", plain_http=True)
        Guard("https://auth.example", audience="x", url="http://127.0.0.1:1", plain_http=True)
    assert caplog.text.count("without TLS") == 1
    assert "http://watchword:4000" in caplog.text


def test_keys_and_feed_come_by_plain_http_from_a_private_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service has its public https name in everything that it says, and is reached by another."""
    import socket

    found = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more, **how: found(
        "127.0.0.1" if host == "watchword.internal" else host, *more, **how))  # fmt: skip
    with serving() as service:
        public = "https://auth.example"
        metadata = {
            "issuer": public,
            "jwks_uri": f"{public}/.well-known/jwks.json",
            "token_endpoint": f"{public}/token",
        }
        service.misbehave[METADATA] = lambda handler: handler.say(metadata)
        service.issuer.issuer = public
        guard = Guard(public, audience="orders", url=f"http://watchword.internal:{service.port}", plain_http=True)
        try:
            assert guard.wait_until_ready(10), guard.why_not_ready
            assert guard.verify(service.token(user_id="ada")).user_id == "ada"
        finally:
            guard.stop()


@pytest.mark.parametrize(
    ("named", "expected", "words"),
    [
        ("https://a.example/", "https://a.example", "the slash at the end"),
        ("https://a.example", "https://a.example/", "the slash at the end"),
        ("http://localhost:4000", "http://127.0.0.1:4000", "localhost against 127.0.0.1"),
        ("http://127.0.0.1:4000/", "http://localhost:4000", "127.0.0.1 against localhost and by the slash"),
        ("http://[::1]:4000", "http://localhost:4000", "::1 against localhost"),
        ("https://A.example", "https://a.example", "capital letters"),
        ("https://a.example:443", "https://a.example", "the usual one"),
        ("http://a.example", "https://a.example", "http against https"),
        ("http://localhost:4001", "http://localhost:4000", "the port"),
        (" https://a.example", "https://a.example", "white space"),
    ],
)
def test_issuers_that_differ_by_a_slip_are_told_apart_in_words(named: str, expected: str, words: str) -> None:
    assert words in compared(named, expected)
    if named != named.strip():
        return  # no guard is made of such a one
    issuer = Issuer(named)
    other = Guard.offline(expected, audience="api", keys=KeySet(issuer._keys), clock=issuer.clock)
    with pytest.raises(TokenError) as caught:
        other.verify(issuer.token())
    assert f"{named!a}" in str(caught.value)
    assert f"{expected!a}" in str(caught.value)


@pytest.mark.parametrize(
    "named", ["https://b.example", "https://a.example/x", "", "x", "https://[", None, 7, "a" * 9999]
)
def test_issuers_that_have_nothing_in_common_are_not_compared(named: Any) -> None:
    assert compared(named, "https://a.example") == ""


# Why it is not ready -------------------------------------------------------------------------------------------------


@contextmanager
def not_ready(*args: Any, **options: Any) -> Iterator[tuple[Guard, str]]:
    """A guard that cannot become ready, when it has said why."""
    guard = Guard(*args, **({"audience": "orders"} | options))
    try:
        assert guard.why_not_ready is not None
        guard.start()
        assert until(lambda: "no answer yet" not in str(guard.why_not_ready), 20)
        assert guard.wait_until_ready(0.05) is False
        yield guard, str(guard.why_not_ready)
    finally:
        guard.stop()


def test_why_a_guard_is_not_ready(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """In the log and as an attribute; what to write is in it."""
    port = service.port
    with caplog.at_level(logging.WARNING, LOG):
        with not_ready("http://127.0.0.1:9") as (_, why):
            assert "connection refused: nothing listens at 127.0.0.1:9" in why
        assert "The guard of http://127.0.0.1:9 is not ready: no keys: connection refused" in caplog.text
    with not_ready("https://nowhere.invalid") as (_, why):
        assert "the name nowhere.invalid does not resolve" in why
    with not_ready(f"https://localhost:{port}") as (_, why):
        assert "TLS failed with localhost" in why
    with not_ready(f"http://localhost:{port}") as (_, why):
        assert "differ by 127.0.0.1 against localhost" in why
    with not_ready(f"{service.url}/") as (_, why):
        assert "differ by the slash at the end; write the issuer as it is named there" in why
    with not_ready(service.url, url=f"{service.url}/elsewhere") as (_, why):
        assert f"status 404: there is no Watchword service at {service.url}" in why


@pytest.mark.parametrize("status", [401, 403])
def test_a_guard_key_that_is_missing_or_wrong_is_named(service: Service, status: int) -> None:
    service.misbehave[FEED] = lambda handler: handler.send(b"", status=status)
    with not_ready(service.url) as (_, why):
        missing = f"status {status}: the guard key is missing; make one with `watchword guards create`"
        assert why == f"no list of revocations: {missing}"
    with not_ready(service.url, guard_key="old") as (_, why):
        assert "the guard key was not accepted" in why


def test_a_guard_that_is_ready_has_no_reason(guarded: MakeGuard) -> None:
    assert guarded().why_not_ready is None
    assert Issuer().guard().why_not_ready is None
    waiting = Guard("http://127.0.0.1:9", audience="x", clock=FixedClock())
    assert waiting.why_not_ready == "no keys: not started, and no list of revocations: not started"

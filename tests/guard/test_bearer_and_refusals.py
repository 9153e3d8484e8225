"""Headers in, answers out: the same as the service itself gives, so that clients need one set of rules (C1, C2)."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from watchword.errors import Refused, StorageUnavailable, TokenError, WatchwordError
from watchword.guard import Guard, Unready
from watchword.guard import refusals as refusals_module
from watchword.guard.refusals import refusal_of
from watchword.testing import Issuer
from watchword.web import access
from watchword.web.route import AccessToken

ISSUER = Issuer()
GUARD = ISSUER.guard()
TOKEN = ISSUER.token(user_id="ada")

MALFORMED = {"invalid_request", "authorization_malformed"}
HEADERS: list[tuple[Any, str]] = [
    (None, "token_missing"),
    ([], "token_missing"),
    ((), "token_missing"),
    ("", "token_missing"),
    ("Basic Og==", "token_missing"),
    (TOKEN, "token_missing"),
    ("Bearerx y", "token_missing"),
    (f"Bearer {TOKEN}", "ok"),
    (f"bearer {TOKEN}", "ok"),
    (f"BEARER {TOKEN}", "ok"),
    (f"Bearer {TOKEN}".encode(), "ok"),
    ([f"Bearer {TOKEN}"], "ok"),
    ([f"Bearer {TOKEN}".encode()], "ok"),
    ([f"Bearer {TOKEN}", f"Bearer {TOKEN}"], "invalid_request"),
    (["", ""], "invalid_request"),
    (f"Bearer {TOKEN},Bearer {TOKEN}", "authorization_malformed"),
    (f"Bearer  {TOKEN}", "authorization_malformed"),
    (f"Bearer {TOKEN} ", "authorization_malformed"),
    (f"Bearer\t{TOKEN}", "authorization_malformed"),
    ("Bearer", "authorization_malformed"),
    ("Bearer ", "authorization_malformed"),
    ("Bearer =", "authorization_malformed"),
    ('Bearer "x"', "authorization_malformed"),
    (b"Bearer \xff\xfe", "authorization_malformed"),
    ("Bearer \udcff", "authorization_malformed"),
    ("Bearer a\nb", "authorization_malformed"),
    (f"Bearer {TOKEN}\n", "authorization_malformed"),
    (f"Bearer {TOKEN}=", "token_malformed"),
    ("Bearer x", "token_malformed"),
    ("Bearer a.b.c", "token_malformed"),
    ("Bearer " + "a" * 100_000, "token_malformed"),
    (f"Bearer {TOKEN[:-4]}AAAA", "token_invalid"),
]


@pytest.mark.parametrize(("header", "code"), HEADERS)
def test_C1_headers(header: Any, code: str) -> None:
    """Each is a clean answer, garbage included; and the same when looked at twice."""
    for _ in range(2):
        refused = None
        try:
            GUARD.check(header)
        except WatchwordError as error:
            refused = error
        assert (refused.code if refused else "ok") == code
        if refused:
            assert GUARD.refusal(refused).status == (400 if code in MALFORMED else 401)


@pytest.mark.parametrize("kind", [str, bytes])
def test_A2_ten_megabytes_are_refused_at_once(kind: type) -> None:
    """Neither hashed nor copied nor searched."""
    text = "Bearer " + "é" * 10_485_760
    header = text if kind is str else text.encode()
    best = 1.0
    for _ in range(5):
        began = time.perf_counter()
        with pytest.raises(WatchwordError):
            GUARD.check(header)
        best = min(best, time.perf_counter() - began)
    assert best < 0.5


@pytest.mark.parametrize("code", sorted(refusals_module._RAISED - {"token_missing"}))
def test_C2_the_challenge_is_the_services(code: str) -> None:
    refused = not code.startswith(("token_", "scope_", "role_", "reauth"))
    error = (Refused if refused else TokenError)("x", code=code)
    named = dict(refusal_of(error, issuer="https://a", scopes={"b", "a"}).headers).get("www-authenticate")
    expected = access.challenge(error, AccessToken(scopes=("a", "b")))
    assert named == (expected[1].decode() if expected else None)
    plain = {"invalid_request", "cookie_repeated", "origin_refused"}
    assert (named is None) == (code in {"guard_not_ready", "revocations_stale", "overloaded"} | plain)


def test_C2_the_whole_answer() -> None:
    refusal = GUARD.require(scopes="write read").refusal(TokenError("Lacks one.", code="scope_missing"))
    assert refusal.status == 403
    assert json.loads(refusal.body) == {
        "type": "https://auth.test/problems/scope_missing",
        "title": "Scope missing",
        "status": 403,
        "detail": "Lacks one.",
        "code": "scope_missing",
    }
    headers = dict(refusal.headers)
    assert headers == {
        "content-type": "application/problem+json",
        "content-length": str(len(refusal.body)),
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "www-authenticate": 'Bearer realm="watchword", error="insufficient_scope", '
        'error_description="The token lacks a scope.", scope="read write"',
    }


def test_C2_no_error_code_where_no_token_was_shown() -> None:
    refusal = GUARD.refusal(TokenError("x", code="token_missing"))
    assert dict(refusal.headers)["www-authenticate"] == 'Bearer realm="watchword"'


def test_a_step_up_is_asked_for_as_RFC_9470_says() -> None:
    refusal = GUARD.require(max_age=300).refusal(TokenError("x", code="reauthentication_required"))
    assert refusal.status == 401
    assert dict(refusal.headers)["www-authenticate"] == (
        'Bearer realm="watchword", error="insufficient_user_authentication", '
        'error_description="A more recent log-in is required.", max_age="300"'
    )


@pytest.mark.parametrize("code", ["guard_not_ready", "revocations_stale"])
def test_C7_faults_of_ours_are_503_with_a_time(code: str) -> None:
    refusal = GUARD.refusal(Unready("x", code=code, retry_after=3))
    headers = dict(refusal.headers)
    assert (refusal.status, headers["retry-after"], "www-authenticate" in headers) == (503, "3", False)


def test_C5_an_error_of_another_kind_shows_nothing_of_itself() -> None:
    refusal = refusal_of(StorageUnavailable("/var/lib/db is gone"), issuer="")
    assert refusal.status == 500
    assert b"/var/lib" not in refusal.body
    assert json.loads(refusal.body)["type"] == "about:blank"


def test_a_guard_says_what_it_is_made_of() -> None:
    assert Guard.local(_Service(), issuer="https://x").issuer == "https://x"


class _Service:
    def verify(self, token: str) -> Any:
        raise TokenError("no")

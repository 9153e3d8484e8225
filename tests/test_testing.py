"""The issuer for other people's tests: real tokens, real checks, a clock that moves, no network."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import tomllib
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest

from watchword.errors import TokenError, WatchwordError
from watchword.guard import Guard
from watchword.testing import FixedClock, Issuer


def code(guard: Guard, token: str) -> str:
    try:
        guard.verify(token)
    except WatchwordError as error:
        return error.code
    return "ok"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one socket. A guard that another test has left may go on in its thread."""
    real, here = socket.socket, threading.current_thread()

    def opened(*given: Any, **named: Any) -> socket.socket:
        if threading.current_thread() is here:
            pytest.fail("opened a socket")
        return real(*given, **named)

    monkeypatch.setattr(socket, "socket", opened)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "HS256"])
def test_tokens_are_good_until_they_expire(algorithm: str) -> None:
    issuer = Issuer(algorithm=algorithm)
    guard = issuer.guard()
    token = issuer.token("ada", roles=["admin"], scopes=["read"], tenant="t1")
    caller = guard.check(f"Bearer {token}", roles=frozenset({"admin"}), scopes=frozenset({"read"}))
    assert (caller.user_id, caller.claims.extra["tenant"]) == ("ada", "t1")
    issuer.clock.advance(899)
    assert code(guard, token) == "ok"
    issuer.clock.advance(1)
    assert code(guard, token) == "token_expired"


def test_bad_tokens() -> None:
    """Each with the code that an API's own test would look for."""
    issuer = Issuer()
    guard = issuer.guard("orders")
    assert code(guard, issuer.expired_token(audience="orders")) == "token_expired"
    assert code(guard, issuer.forged_token(audience="orders")) == "token_invalid"
    assert code(guard, issuer.token(audience="billing")) == "token_invalid"
    assert code(guard, issuer.token(audience="orders", iss="https://evil.test")) == "token_invalid"
    assert code(guard, issuer.token(audience="orders", nbf=issuer.clock.now() + 6)) == "token_not_yet_valid"
    assert code(guard, Issuer().token(audience="orders")) == "token_invalid"
    assert issuer.headers(audience="orders")["Authorization"].startswith("Bearer ey")


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "sid", "ver"])
def test_any_claim_can_be_left_out(claim: str) -> None:
    """⚑ So that somebody can see his API refuse a token that never expires."""
    issuer = Issuer()
    token = issuer.token(**{claim: ...})
    payload = token.split(".")[1]
    assert claim not in json.loads(urlsafe_b64decode(payload + "=="))
    needed = claim not in {"sid", "ver"}
    assert (code(issuer.guard(), token) == "token_invalid") is needed


def test_revocations_are_known_at_once() -> None:
    issuer = Issuer(clock=FixedClock(1_700_000_000))
    guard = issuer.guard()
    token, other = issuer.token("ada", session_id="s"), issuer.token("ada")
    issuer.revoke_session("s")
    assert (code(guard, token), code(guard, other)) == ("token_revoked", "ok")
    issuer.revoke_user("ada")
    assert (code(guard, other), code(guard, issuer.token("ada"))) == ("token_revoked", "ok")
    old = issuer.token()
    issuer.rotate_key()
    assert (code(guard, old), code(guard, issuer.token())) == ("ok", "ok")
    newest = issuer.token()
    issuer.revoke_key()
    assert (code(guard, newest), code(guard, old), code(guard, issuer.token())) == ("token_revoked", "ok", "ok")


def test_the_fixture(tmp_path: Path) -> None:
    """As a plug-in of somebody else's test run: a new issuer for each test."""
    (tmp_path / "test_api.py").write_text(
        "seen = []\n"
        "def test_one(watchword_issuer):\n"
        "    guard = watchword_issuer.guard()\n"
        "    assert guard.verify(watchword_issuer.token('ada')).user_id == 'ada'\n"
        "    seen.append(watchword_issuer)\n"
        "def test_two(watchword_issuer):\n"
        "    assert watchword_issuer is not seen[0]\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "watchword.testing", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert run.returncode == 0, run.stdout
    assert "2 passed" in run.stdout


def test_pytest_finds_the_fixture_by_itself() -> None:
    """The entry point is named like the module, so that `-p watchword.testing` does not load it twice."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"watchword.testing": "watchword.testing"}


def test_errors_are_token_errors() -> None:
    with pytest.raises(TokenError):
        Issuer().guard().verify("nonsense")


def test_a_scope_that_was_taken_away_is_refused_in_tokens_from_before() -> None:
    issuer = Issuer()
    guard, token, other = issuer.guard(), issuer.token(scopes=["read", "write"]), issuer.token(scopes=["read"])
    guard.verify(token)
    issuer.revoke_scope("write")
    with pytest.raises(TokenError, match="revoked"):
        guard.verify(token)
    guard.verify(other)
    guard.verify(issuer.token(scopes=["write"]))

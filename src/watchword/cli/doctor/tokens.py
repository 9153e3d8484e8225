"""Attacks on the verification of access tokens."""

from __future__ import annotations

import time
from typing import Any

from watchword.cli.doctor import forged
from watchword.cli.doctor.findings import Seen, failed, passed, skipped
from watchword.cli.doctor.visit import ANOTHER, Visit, refuses
from watchword.clock import SystemClock
from watchword.tokens.sign import sign_access_unchecked

_SHORT = 20  # seconds that an expiry is waited for


def unsigned(visit: Visit) -> Seen:
    """Send tokens without a signature."""
    return refuses(visit, forged.unsigned(visit.token()), "unsigned tokens")


def confused(visit: Visit) -> Seen:
    """Send tokens signed by HMAC with the public key."""
    key_set = visit.wire.ask("GET", "/.well-known/jwks.json").json()
    return refuses(visit, forged.confused(visit.token(), key_set), "tokens signed with the public key")


def guessed(visit: Visit) -> Seen:
    """Compare a real signature with every known secret, and send tokens under the best known."""
    secret = forged.known_secret(visit.token())
    if secret is not None:
        return failed(f"tokens are signed with the secret {secret!r}, which is published")
    return refuses(visit, forged.guessed(visit.token()), "tokens under known secrets")


def self_signed(visit: Visit) -> Seen:
    """Send tokens that bring their own key."""
    return refuses(visit, forged.self_signed(visit.token()), "tokens with a key of their own")


def expired(visit: Visit) -> Seen:
    """Send an expired token: one that the deployment's own key signs, or a real one after a short life."""
    if visit.signing is None:
        return _waited(visit)
    parts = visit.token()
    if visit.signing.verification_key.symmetric and not forged.is_signed_by(visit.signing, parts):
        return failed(f"its tokens are signed with another secret: {ANOTHER}")
    real = parts.claims
    now = SystemClock().now()
    old: dict[str, Any] = {"iat": now - 7200, "exp": now - 3600, "auth_time": now - 7200}
    names: dict[str, dict[str, Any]] = {"expired an hour ago": old, "issued for another audience": {"aud": "https://other.example"},
             "of another issuer": {"iss": "https://other.example"}}  # fmt: skip
    made = [(how, sign_access_unchecked(real | changed, visit.signing)) for how, changed in names.items()]
    return refuses(visit, made, "tokens with a good signature (expired, other audience, other issuer)")


def _waited(visit: Visit) -> Seen:
    session = visit.session
    ends = visit.token().claims.get("exp")
    left = ends - SystemClock().now() + 1 if isinstance(ends, int) else _SHORT + 1
    if left > _SHORT:
        return skipped(
            f"no key to make one with, and a real token lives {session.lifetime} s. Run the doctor where the settings"
            " and the master secret are",
        )
    time.sleep(max(left, 0))
    answer = visit.shows(session.access)
    visit.keep(visit.account.log_in())
    if answer.ok:
        return failed("a token was accepted after its expiry")
    return passed(f"a real token was refused after its expiry ({answer.said})")

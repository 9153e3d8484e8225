"""A guard that accepts the tokens of the application that was there before, until its day."""

from __future__ import annotations

import logging
from typing import Any

import jwt
import pytest

from watchword.clock import FixedClock
from watchword.errors import TokenError, WatchwordError
from watchword.guard import Guard, Legacy
from watchword.testing import Issuer
from watchword.tokens import KeySet, RevocationSet

OLD = "Vb8uK2pQx9Zr4TnW7cYdVn3sLq6wHe5m"
NOW = FixedClock().now()
UNTIL = "2027-02-14"
DAY = 1_802_563_200


def legacy(subject: str = "user_id:id", **given: Any) -> Legacy:
    return Legacy(**{"secret": OLD, "until": UNTIL, "subject": subject, **given})


class Scene:
    """A guard of given keys, its clock, its list, and the service whose tokens it verifies."""

    def __init__(self, old: Legacy | None = None) -> None:
        self.clock, self.revocations = FixedClock(NOW), RevocationSet()
        self.issuer = Issuer(clock=self.clock)
        self.guard = Guard.offline(
            self.issuer.issuer,
            audience=self.issuer.audience,
            keys=KeySet(self.issuer._keys),
            revocations=self.revocations,
            legacy=old or legacy(),
            clock=self.clock,
        )

    def judged(self, token: str, **needs: Any) -> str:
        """The caller's id, or why there is none; the same by header and by bare token, the first time and again."""
        found = set()
        for _ in range(2):
            for check, shown in ((self.guard.verify, token), (self.guard.check, f"Bearer {token}")):
                try:
                    found.add(check(shown, **needs).user_id)  # type: ignore[operator]
                except WatchwordError as error:
                    found.add(error.code)
        (only,) = found
        return only


def old_token(secret: str = OLD, **claims: Any) -> str:
    return jwt.encode({"user_id": 7, "iat": NOW - 100, "exp": NOW + 900, **claims}, secret, "HS256")


def test_the_caller_of_an_old_token() -> None:
    """Without session, scopes and roles; the old claims are there to be read."""
    caller = Scene().guard.verify(old_token(user={"name": "Ada"}, roles=["admin"]))
    assert (caller.user_id, caller.session_id, caller.expires_at) == ("7", None, NOW + 900)
    assert (caller.roles, caller.scopes) == (frozenset(), frozenset())
    assert caller.claims.extra["legacy"]["user"] == {"name": "Ada"}
    assert caller.to_dict()["claims"]["legacy"]["user_id"] == 7


def test_roles_only_where_a_claim_is_named() -> None:
    scene = Scene(legacy(roles="user.roles"))
    assert scene.judged(old_token(user={"roles": ["admin"]}), roles="admin") == "7"
    assert scene.judged(old_token(user={"roles": []}), roles="admin") == "role_missing"
    assert scene.judged(old_token(user={"roles": "admin"})) == "token_invalid"
    assert scene.judged(old_token()) == "token_invalid"
    assert Scene().judged(old_token(roles=["admin"]), roles="admin") == "role_missing"


def test_no_old_token_is_a_recent_log_in() -> None:
    assert Scene().judged(old_token(auth_time=NOW), max_age=3600) == "reauthentication_required"


@pytest.mark.parametrize(
    ("subject", "claims", "user_id"),
    [
        ("user_id:id", {}, "7"),
        ("user_id:external", {}, "external:7"),
        ("sub:username", {"sub": "Ada"}, "username:Ada"),
        ("user.id:id", {"user": {"id": "64ac"}}, "64ac"),
    ],
)
def test_what_is_no_id_does_not_look_like_one(subject: str, claims: dict[str, Any], user_id: str) -> None:
    assert Scene(legacy(subject)).judged(old_token(**claims)) == user_id


def test_the_service_s_tokens_are_judged_as_before() -> None:
    """Each token has one judge, which its header names."""
    scene = Scene()
    token = scene.issuer.token("u1")
    assert scene.judged(token) == "u1"
    with pytest.raises(TokenError):
        legacy().verify(token, now=NOW)
    assert not legacy().concerns(token)
    assert legacy().concerns(old_token())
    assert scene.judged(old_token("x" + OLD)) == "token_invalid"


def test_nothing_is_remembered_beyond_the_day() -> None:
    """A token that never expires, and has just been seen."""
    scene, token = Scene(), jwt.encode({"user_id": 7}, OLD, "HS256")
    assert scene.judged(token) == "7"
    scene.clock.advance(DAY - NOW - 1)
    assert scene.judged(token) == "7"
    scene.clock.advance(1)
    assert scene.guard.recall(f"Bearer {token}") is None
    assert scene.judged(token) == "token_invalid"
    with pytest.raises(TokenError, match="application that was here before"):
        scene.guard.verify(token)


def test_an_expired_one_is_told_so() -> None:
    scene = Scene()
    assert scene.judged(old_token()) == "7"
    scene.clock.advance(900)
    assert scene.judged(old_token()) == "token_expired"


def test_a_revoked_user_is_refused_at_once_where_ids_were_kept() -> None:
    """Whatever the version: an old token has none. Where ids were not kept, no entry can name the user."""
    kept, other = Scene(), Scene(legacy("user_id:external"))
    for scene in (kept, other):
        scene.judged(old_token())
        scene.revocations.add("user", "7", 2, NOW + 1000)
    assert kept.judged(old_token()) == "token_revoked"
    assert kept.judged(old_token(user_id=8)) == "8"
    assert other.judged(old_token()) == "external:7"


def test_without_legacy_an_old_token_is_no_token() -> None:
    issuer = Issuer()
    with pytest.raises(TokenError):
        issuer.guard().verify(old_token())


def test_slips_are_told_where_they_are_written(caplog: pytest.LogCaptureFixture) -> None:
    clock = FixedClock(NOW)
    with pytest.raises(TypeError, match="legacy"):
        Guard("https://auth.example", legacy={"secret": OLD})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="180 days"):
        Guard("https://auth.example", legacy=legacy(until="2029-01-01"), clock=clock)
    with pytest.raises(ValueError, match="must not be"):
        Guard.shared_secret("https://auth.example", secret=OLD.encode(), legacy=legacy(), clock=clock)
    for wrong in ({"subject": "user_id"}, {"subject": "a:email"}, {"until": "soon"}, {"keys": 1}, {"secret": None}):
        with pytest.raises((ValueError, TypeError)):
            legacy(**wrong)
    with caplog.at_level(logging.WARNING, "watchword.guard"):
        Guard("https://auth.example", legacy=legacy(until="2026-01-01"), clock=clock)
    assert "take legacy= away" in caplog.text

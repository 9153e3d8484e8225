"""Service accounts at a guard: let in where scopes are asked for, and nowhere else."""

from __future__ import annotations

import pytest

from watchword.errors import TokenError
from watchword.testing import Issuer

ACCOUNT = "wwc_0197f1a2-8d00-7123-9abc-334455667788"


def header(issuer: Issuer, *scopes: str) -> str:
    token = issuer.token(ACCOUNT, scopes=scopes, client_id=ACCOUNT, auth_time=..., amr=...)  # type: ignore[arg-type]
    return f"Bearer {token}"


def test_a_route_that_asks_for_nothing_is_for_people() -> None:
    """⚑ Also for an account that the guard has let in elsewhere, and remembers."""
    issuer = Issuer()
    guard, shown = issuer.guard(), header(issuer, "read")
    plain, reads = guard.require(), guard.require(scopes="read")
    for _ in range(2):
        caller = reads.check(shown)
        assert (caller.is_client, caller.user_id) == (True, ACCOUNT)
        assert reads.recall(shown) is caller
        assert plain.recall(shown) is None
        for refuses in (plain.check, plain.check_optional, guard.check):
            with pytest.raises(TokenError) as caught:
                refuses(shown)
            assert caught.value.code == "token_invalid"


@pytest.mark.parametrize("asked", [{"roles": "admin"}, {"max_age": 60}, {"scopes": "read", "roles": "admin"},
                                   {"scopes": "write"}, {"scopes": "read", "max_age": 60}])  # fmt: skip
def test_an_account_has_no_role_and_never_logged_in(asked: dict[str, object]) -> None:
    issuer = Issuer()
    with pytest.raises(TokenError):
        issuer.guard().require(**asked).check(header(issuer, "read"))  # type: ignore[arg-type]


def test_a_person_is_no_client() -> None:
    issuer = Issuer()
    assert not issuer.guard().check(f"Bearer {issuer.token()}").is_client


def test_an_account_that_is_disabled_is_refused() -> None:
    issuer = Issuer()
    guard, shown = issuer.guard(), header(issuer, "read")
    reads = guard.require(scopes="read")
    reads.check(shown)
    issuer.revoke_user(ACCOUNT)
    with pytest.raises(TokenError) as caught:
        reads.check(shown)
    assert caught.value.code == "token_revoked"


def acting(issuer: Issuer, *versions: int) -> str:
    """A user's token with which accounts act: the last one in the list outside."""
    act: dict[str, object] | None = None
    for number, version in enumerate(versions):
        act = {"sub": f"{ACCOUNT[:-1]}{number}", "ver": version} | ({} if act is None else {"act": act})
    return issuer.token("ada", client_id=f"{ACCOUNT[:-1]}{len(versions) - 1}", act=act)


@pytest.mark.parametrize("revoked", [0, 1])
def test_an_account_that_is_disabled_acts_for_no_one(revoked: int) -> None:
    """⚑ Its user's own token goes on; who watches a socket hears of it."""
    issuer = Issuer()
    guard, token, plain = issuer.guard(), acting(issuer, 1, 1), issuer.token("ada")
    caller = guard.verify(token)
    assert (caller.user_id, caller.actor, caller.is_client) == ("ada", f"{ACCOUNT[:-1]}1", False)
    with caller.watch() as watch:
        issuer.revoke_user(f"{ACCOUNT[:-1]}7")
        assert not watch.over
        issuer.revoke_user(f"{ACCOUNT[:-1]}{revoked}")
        assert watch.code == "token_revoked"
    with pytest.raises(TokenError) as caught:
        guard.verify(token)
    assert caught.value.code == "token_revoked"
    guard.verify(plain)


@pytest.mark.parametrize("act", [
    "wwc_1", None, [], {}, {"sub": ""}, {"sub": 1}, {"sub": "a", "ver": "1"}, {"sub": "a", "ver": True},
    {"sub": "a", "act": None}, {"sub": "a", "act": {"ver": 1}},
])  # fmt: skip
def test_an_actor_that_cannot_be_read_is_refused(act: object) -> None:
    """⚑ No entry could refuse it."""
    issuer = Issuer()
    with pytest.raises(TokenError) as caught:
        issuer.guard().verify(issuer.token("ada", act=act))
    assert caught.value.code == "token_invalid"

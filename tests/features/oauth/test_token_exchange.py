"""RFC 8693: a token of the application that was there before becomes a session, until the day."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bcrypt
import httpx2
import jwt
import pytest

from tests.e2e.client import PASSWORD, bearer
from tests.features.api import Api, served
from tests.identity.scenes import HOME, give_roles, operator, recorded
from tests.identity.test_rights import ORDERS, define
from tests.tutorials.reading import claims
from watchword.clock import FixedClock
from watchword.errors import SettingsError, TokenError
from watchword.guard import Guard, Legacy
from watchword.identity.administration import Administration, unchecked
from watchword.identity.arrivals import Record, arrival_of
from watchword.identity.factors import SecondFactor
from watchword.identity.login import LogIn, SecondFactorNeeded
from watchword.identity.moving_in import MovingIn, State
from watchword.tokens import KeySet, SigningKey, public_key_set, sign_compact

OLD = "Vb8uK2pQx9Zr4TnW7cYdVn3sLq6wHe5m"
NOW = FixedClock().now()
BEFORE = NOW - 1000
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
KIND = "urn:ietf:params:oauth:token-type:access_token"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
LEGACY = {"legacy_jwt_secret": OLD, "legacy_subject": "user_id:external", "legacy_until": "2027-02-14"}
DAY = 1_802_563_200
"""The beginning of that day, a month after the clock's."""


@asynccontextmanager
async def moved(folder: Path, *, keep_ids: bool = False, **given: Any) -> AsyncIterator[Api]:
    """A service with two users of the old application, and one of its own."""
    async with served(folder, **{**LEGACY, **given}) as api:
        await take_in(api, "7", "ada", keep_ids=keep_ids)
        await take_in(api, "8", "bob", keep_ids=keep_ids)
        await api.register("newcomer")
        yield api


async def take_in(api: Api, number: str, name: str, *, keep_ids: bool = False, **given: Any) -> None:
    run = MovingIn(api.kernel.database, api.kernel.clock, source="file")
    await run.begin()
    record = Record(
        external_id=number, username=name, email=f"{name}@example.com", password_hash=HASH, created_at=BEFORE - 1000,
        roles=("editor",), **given,
    )  # fmt: skip
    (outcome,) = await run.take([arrival_of(record, now=NOW, keep_ids=keep_ids)])
    assert outcome.state is State.NEW, outcome


def old_token(secret: str = OLD, **claims: Any) -> str:
    """What the old application signed."""
    return jwt.encode({"iat": BEFORE, "exp": NOW + 900, **claims}, secret, algorithm="HS256")


async def exchange(api: Api, token: str, **more: str) -> httpx2.Response:
    form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": KIND, **more}
    return await api.post("/token", data=form)


async def user_of(api: Api, name: str) -> dict[str, Any]:
    return next(row for row in await recorded(api.kernel, "ww_users") if row["username"] == name)


async def refused(api: Api, token: str) -> None:
    answer = await exchange(api, token)
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "invalid_request", "error_description": "This token is not accepted. Log in with your password."},
    )


async def test_an_old_token_becomes_a_session(tmp_path: Path) -> None:
    """With the user's id here and roles; the audit trail says how; refreshing and the password go on from there."""
    async with moved(tmp_path) as api:
        answer = await exchange(api, old_token(user_id=7))
        assert answer.status_code == 200, answer.text
        said, user = answer.json(), await user_of(api, "ada")
        assert (said["issued_token_type"], said["token_type"]) == (KIND, "Bearer")
        held = claims(said["access_token"])
        assert (held["sub"], held["roles"], held["amr"]) == (user["id"], ["editor"], ["legacy_token"])
        assert (await api.get("/profile", headers=bearer(said["access_token"]))).json()["username"] == "ada"
        (row,) = [each for each in await recorded(api.kernel, "ww_audit") if each["event"] == "log_in"]
        assert (row["outcome"], row["user_id"], row["detail"]) == ("ok", user["id"], '{"by":"legacy_token"}')
        form = {"grant_type": "refresh_token", "refresh_token": said["refresh_token"]}
        again = await api.post("/token", data=form)
        assert again.status_code == 200
        assert "issued_token_type" not in again.json()
        assert await api.log_in("ada")


async def test_a_session_for_one_api(tmp_path: Path) -> None:
    """⚑ It is for the API that is named, by either name of RFC 8693, or there is none."""
    async with moved(tmp_path) as api:
        await define(api.kernel, ("*", "read"), apis=(("orders", ORDERS, "read"),))
        for said in ({"resource": ORDERS}, {"audience": ORDERS}):
            answer = await exchange(api, old_token(user_id=7), **said)
            assert claims(answer.json()["access_token"])["aud"] == ORDERS
        answer = await exchange(api, old_token(user_id=7), audience="https://bills.example")
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")


async def test_it_is_never_a_recent_log_in(tmp_path: Path) -> None:
    """The token does not say when its user logged in: what asks for that (RFC 9470) asks for the password."""
    async with moved(tmp_path) as api:
        token = (await exchange(api, old_token(user_id=7, iat=NOW))).json()["access_token"]
        assert claims(token)["auth_time"] == 0


@pytest.mark.parametrize(("subject", "named"), [("user_id:id", {"user_id": 7}), ("user.id:id", {"user": {"id": "7"}})])
async def test_kept_ids(tmp_path: Path, subject: str, named: dict[str, Any]) -> None:
    """The old id is the user's id, whether it was a number or a text."""
    async with moved(tmp_path, keep_ids=True, legacy_subject=subject) as api:
        assert claims((await exchange(api, old_token(**named))).json()["access_token"])["sub"] == "7"


async def test_ids_that_were_not_kept_are_not_said_to_be(tmp_path: Path) -> None:
    """A setting for guards that is wrong here is found here."""
    async with moved(tmp_path, legacy_subject="user_id:id") as api:
        await refused(api, old_token(user_id=7))


async def test_a_username(tmp_path: Path) -> None:
    """As it is written in the old application, to the letter."""
    async with moved(tmp_path, legacy_subject="sub:username") as api:
        answer = await exchange(api, old_token(sub="ada"))
        assert claims(answer.json()["access_token"])["sub"] == (await user_of(api, "ada"))["id"]


async def test_tokens_without_an_end_or_a_beginning(tmp_path: Path) -> None:
    """Until the day; after it they are refused, and the answer says since when."""
    async with moved(tmp_path) as api:
        for token in (
            jwt.encode({"user_id": 7}, OLD, "HS256"),
            jwt.encode({"user_id": 7, "iat": BEFORE}, OLD, "HS256"),
        ):
            assert (await exchange(api, token)).status_code == 200
        api.clock.advance(DAY - NOW - 1)
        assert (await exchange(api, token)).status_code == 200
        api.clock.advance(1)
        answer = await exchange(api, token)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        assert "since 2027-02-14" in answer.json()["error_description"]


async def test_who_changed_the_password_has_ended_the_old_tokens(tmp_path: Path) -> None:
    """Also those that do not say when they were made, and those made since by the old application."""
    async with moved(tmp_path) as api:
        new = {"current_password": PASSWORD, "new_password": "quiet-marble-lantern"}
        answer = await api.as_bearer("POST", "/profile/password", await api.log_in("ada"), json=new)
        assert answer.status_code == 200, answer.text
        for token in (old_token(user_id=7), jwt.encode({"user_id": 7}, OLD, "HS256"), old_token(user_id=7, iat=NOW)):
            await refused(api, token)
        assert (await exchange(api, old_token(user_id=8))).status_code == 200


async def test_a_password_set_in_the_old_application_since(tmp_path: Path) -> None:
    """As the import says."""
    async with moved(tmp_path) as api:
        await take_in(api, "9", "eve", password_set_at=BEFORE + 10)
        await refused(api, old_token(user_id=9))
        assert (await exchange(api, old_token(user_id=9, iat=BEFORE + 11))).status_code == 200


@pytest.mark.parametrize("act", ["disable", "roles", "delete"])
async def test_what_an_operator_took_away(tmp_path: Path, act: str) -> None:
    """And what was given back has to be logged in for again."""
    async with moved(tmp_path) as api:
        user = await user_of(api, "ada")
        if act == "disable":
            await operator(api.kernel).disable(user["id"])
            await refused(api, old_token(user_id=7))
            await operator(api.kernel).enable(user["id"])
        elif act == "roles":
            await give_roles(api.kernel, user["id"], ())
        else:
            await api.as_bearer("DELETE", "/profile", await api.log_in("ada"), json={"password": PASSWORD})
        await refused(api, old_token(user_id=7))


async def test_sessions_for_one_token_are_bounded(tmp_path: Path) -> None:
    """By user, from any client and any address."""
    async with moved(tmp_path, legacy_limit="3/1h") as api:
        token = old_token(user_id=7)
        for number in range(3):
            assert (await exchange(api.elsewhere(f"198.51.100.{number}"), token)).status_code == 200
        assert (await exchange(api.elsewhere("198.51.100.9"), token)).status_code == 429
        assert (await exchange(api, old_token(user_id=8))).status_code == 200


async def test_forgeries_count_as_failed_log_ins_of_their_address(tmp_path: Path) -> None:
    async with moved(tmp_path, login_address_limit="3/15m") as api:
        for _ in range(3):
            await refused(api, old_token("not-the-secret-of-any-application", user_id=7))
        assert (await exchange(api, old_token("not-the-secret-of-any-application", user_id=7))).status_code == 429
        assert (await exchange(api.elsewhere(), old_token(user_id=7))).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
        {"subject_token": ""},
        {"requested_token_type": "urn:ietf:params:oauth:token-type:id_token"},
        {"actor_token": "x"},
    ],
)
async def test_requests_that_mean_something_else(tmp_path: Path, change: dict[str, str]) -> None:
    async with moved(tmp_path) as api:
        answer = await exchange(api, old_token(user_id=7), **change)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_without_the_setting_no_old_token_counts(tmp_path: Path) -> None:
    """The grant is there for API keys, and says so in the metadata."""
    async with served(tmp_path) as api:
        answer = await exchange(api, old_token(user_id=7))
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        metadata = (await api.get("/.well-known/oauth-authorization-server")).json()
        assert EXCHANGE in metadata["grant_types_supported"]


async def test_a_page_of_another_site_exchanges_nothing(tmp_path: Path) -> None:
    async with moved(tmp_path) as api:
        form = {"grant_type": EXCHANGE, "subject_token": old_token(user_id=7), "subject_token_type": KIND}
        answer = await api.post("/token", data=form, headers={"Origin": "https://evil.example"})
        assert (answer.status_code, answer.json()["error"]) == (403, "access_denied")


@pytest.mark.parametrize("by", ["operator", "user"])
async def test_ended_sessions_end_old_tokens_too(tmp_path: Path, by: str) -> None:
    """⚑ A thief with an old token would open the next session at once. Of users who never came from there nothing else
    is refused.
    """
    async with moved(tmp_path, keep_ids=True, legacy_subject="user_id:id") as api:
        guard = Guard.offline(
            "http://127.0.0.1:4000",
            keys=KeySet(),
            revocations=api.kernel.revocations.refused,
            legacy=Legacy(secret=OLD, subject="user_id:id", until="2027-02-14"),
            clock=api.clock,
        )
        token = old_token(user_id=7)
        assert guard.verify(token).user_id == "7"
        for name in ("ada", "newcomer"):  # ada has no other session: the thief has not exchanged the token yet
            held = await api.log_in(name)
            if by == "user":
                assert (await api.request("DELETE", "/sessions", headers=bearer(held))).status_code == 204
            else:
                user = await api.kernel.users.find((await user_of(api, name))["id"])
                ending = Administration(api.kernel, client=HOME, check=unchecked)
                assert await ending.end_sessions(user) == 1
                assert await ending.end_sessions(user) == 0
        await refused(api, token)
        with pytest.raises(TokenError) as caught:
            guard.verify(token)
        assert caught.value.code == "token_revoked"
        assert [(await user_of(api, name))["token_version"] for name in ("ada", "bob", "newcomer")] == [2, 1, 1]
        assert (await exchange(api, old_token(user_id=8))).status_code == 200


async def test_with_no_old_tokens_ended_sessions_refuse_nothing_else(tmp_path: Path) -> None:
    """The session in which an imported user ends the others keeps its access token."""
    async with served(tmp_path) as api:
        await take_in(api, "7", "ada")
        held = await api.log_in("ada")
        body = {"username": "ada", "password": PASSWORD}
        assert (await api.elsewhere("198.51.100.7").post("/login", json=body)).status_code == 200
        assert (await api.request("DELETE", "/sessions", headers=bearer(held))).status_code == 204
        assert (await api.get("/profile", headers=bearer(held))).status_code == 200


async def _listed(api: Api) -> list[tuple[str, int]]:
    rows = await recorded(api.kernel, "ww_revocations")
    return [(row["subject"], row["expires_at"]) for row in rows if row["kind"] == "user"]


async def test_guards_hear_of_a_user_until_the_day(tmp_path: Path) -> None:
    """An entry that ended with the last access token would let an old token through again."""
    async with moved(tmp_path, keep_ids=True) as api:
        await give_roles(api.kernel, "7", ())
        ((subject, until),) = await _listed(api)
        assert (subject, until >= DAY) == ("7", True)


async def test_who_was_refused_before_the_day_was_set_is_listed_again(tmp_path: Path) -> None:
    """Once for each day: by a role that was changed, and by an account that came disabled."""
    async with served(tmp_path) as api:
        await take_in(api, "7", "ada", keep_ids=True)
        await take_in(api, "8", "bob", keep_ids=True)
        await take_in(api, "9", "eve", keep_ids=True, disabled=True)
        await give_roles(api.kernel, "7", ())
        await api.kernel.database.run("DELETE FROM ww_revocations")  # as when they have expired
    for _ in range(2):
        async with served(tmp_path, **LEGACY) as api:
            assert sorted(name for name, until in await _listed(api) if until >= DAY) == ["7", "9"]
    async with served(tmp_path, **{**LEGACY, "legacy_until": "2027-02-15"}) as api:
        assert len(await _listed(api)) == 4


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"legacy_until": "2028-02-14"}, "LEGACY_UNTIL"),
        ({"legacy_until": "14.02.2027"}, "LEGACY_UNTIL"),
        ({"legacy_until": None}, "LEGACY_UNTIL"),
        ({"legacy_subject": None}, "LEGACY_SUBJECT"),
        ({"legacy_subject": "user_id"}, "LEGACY_SUBJECT"),
        ({"legacy_subject": "user_id:email"}, "LEGACY_SUBJECT"),
        ({"legacy_jwks": "{}"}, "LEGACY_JWKS"),
        ({"legacy_jwt_secret": None, "legacy_jwks": "{}"}, "LEGACY_JWKS"),
        ({"legacy_jwt_secret": None, "legacy_jwks": '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'}, "LEGACY_JWKS"),
        ({"legacy_jwt_secret": None}, "LEGACY_UNTIL"),
    ],
)
async def test_what_cannot_be_meant_does_not_start(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        async with served(tmp_path, **{**LEGACY, **change}):
            pytest.fail("it started")
    assert any(fault.setting == f"WATCHWORD_{named}" and fault.hint for fault in caught.value.faults), caught.value


async def test_public_keys(tmp_path: Path) -> None:
    """A set of them; a token names its key, or there is one only for its algorithm."""
    pair = SigningKey.generate("RS256")
    given = {**LEGACY, "legacy_jwt_secret": None, "legacy_jwks": public_key_set([pair]).decode()}
    async with served(tmp_path, **given) as api:
        await take_in(api, "7", "ada")
        signed = sign_compact(b'{"user_id":7}', pair, typ="JWT")
        assert (await exchange(api, signed)).status_code == 200
        await refused(api, old_token(user_id=7))


async def test_a_second_factor_is_asked_for(tmp_path: Path) -> None:
    """An old token is one factor, and half a log-in opens nothing."""

    async def needed(_: object) -> bool:
        return True

    async with moved(tmp_path) as api:
        kernel = api.kernel
        parts = (kernel.database, kernel.sessions, kernel.throttle, kernel.revocations, kernel.ephemeral, kernel.clock)
        login = LogIn(*parts, kernel.notices, kernel.known_devices, second_factors=(SecondFactor("otp", needed),))
        assert kernel.legacy is not None
        named, factor = kernel.legacy.read(old_token(user_id=7))
        with pytest.raises(SecondFactorNeeded):
            await login.attempt(named, factor, client=HOME, client_id="watchword")
        assert await recorded(kernel, "ww_sessions") == []
        (row,) = [each for each in await recorded(kernel, "ww_audit") if each["event"] == "log_in_pending"]
        assert row["detail"] == '{"by":"legacy_token"}'

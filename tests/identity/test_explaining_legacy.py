"""`watchword token explain` on tokens of the application that was there before: it says what `POST /token` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.features.api import Api, served
from tests.features.oauth.test_token_exchange import BEFORE, DAY, NOW, OLD, exchange, moved, old_token, user_of
from tests.identity.scenes import give_roles, operator
from watchword.identity.explained import Explained
from watchword.identity.explaining import explain_token

OTHER = OLD[::-1]


async def explained(api: Api, token: str) -> Explained:
    """What is said of a token, which is what the exchange does with it; the token itself is never repeated."""
    found = await explain_token(api.kernel, f"Bearer {token}\n")
    assert (found.kind, found.accepted) == ("legacy", (await exchange(api, token)).status_code == 200), found
    assert found.accepted is (not found.reasons) is (found.code is None)
    assert token.rpartition(".")[2] not in str(found)
    return found


async def test_one_that_is_accepted(tmp_path: Path) -> None:
    """Whose it is, and until when such tokens count."""
    async with moved(tmp_path) as api:
        found = await explained(api, old_token(user_id=7))
        assert (found.accepted, found.facts["user"], found.facts["claim user_id"]) == (True, "ada", "7")
        assert found.facts["accepted_until"] == "2027-02-14"


@pytest.mark.parametrize(
    ("token", "code", "why"),
    [
        (old_token(OTHER, user_id=7), "token_invalid", "WATCHWORD_LEGACY_JWT_SECRET"),
        (old_token(user=7), "token_invalid", "claim user_id is missing"),
        (old_token(user_id=7, aud="shop"), "token_invalid", "WATCHWORD_LEGACY_AUDIENCE"),
        (old_token(user_id=7, token_type="refresh"), "token_invalid", "no access token"),
        (old_token(user_id=7, exp=BEFORE + 1), "token_expired", "has expired"),
        (old_token(user_id=99), "invalid_request", "No user here has this id"),
        (jwt.encode({"user_id": 7}, OLD * 2, "HS512"), "token_invalid", "WATCHWORD_LEGACY_JWKS"),
    ],
)
async def test_what_is_wrong_with_a_token(tmp_path: Path, token: str, code: str, why: str) -> None:
    """In words, with the setting that decides it."""
    async with moved(tmp_path) as api:
        found = await explained(api, token)
        assert found.code == code
        assert why in " ".join(found.reasons)


async def test_what_happened_to_its_user_since(tmp_path: Path) -> None:
    """A disabled account; what an operator took away."""
    async with moved(tmp_path) as api:
        token = old_token(user_id=7)
        user = await user_of(api, "ada")
        await operator(api.kernel).disable(user["id"])
        assert "disabled" in (await explained(api, token)).reasons[0]
        await operator(api.kernel).enable(user["id"])
        assert "Since the import" in (await explained(api, token)).reasons[0]
        await give_roles(api.kernel, (await user_of(api, "bob"))["id"], ())
        assert "Since the import" in (await explained(api, old_token(user_id=8))).reasons[0]


@pytest.mark.parametrize(
    ("given", "named", "why"),
    [
        ({"legacy_subject": "user_id:id"}, {"user_id": 7}, "The ids were not kept"),
        ({"legacy_subject": "sub:username"}, {"sub": "ADA"}, "written otherwise"),
        ({"legacy_subject": "sub:username"}, {"sub": "newcomer"}, "made here"),
        ({"legacy_subject": "sub:username"}, {"sub": "no-one"}, "No user here has this username"),
    ],
)
async def test_a_subject_that_names_someone_else(
    tmp_path: Path, given: dict[str, str], named: dict[str, Any], why: str
) -> None:
    """Ids that were not kept; names that only look alike; someone who came later."""
    async with moved(tmp_path, **given) as api:
        assert why in (await explained(api, old_token(**named))).reasons[0]


async def test_from_the_day_on(tmp_path: Path) -> None:
    """It says since when."""
    async with moved(tmp_path) as api:
        token = old_token(user_id=7, exp=DAY + 900)
        api.clock.advance(DAY - NOW)
        found = await explained(api, token)
        assert (found.code, "since 2027-02-14" in found.reasons[0]) == ("token_invalid", True)


async def test_without_the_settings_it_says_where_they_are(tmp_path: Path) -> None:
    """The token is explained as one that should be ours."""
    async with served(tmp_path) as api:
        found = await explain_token(api.kernel, old_token(user_id=7))
        assert (found.kind, found.accepted) == ("access", False)
        assert "WATCHWORD_LEGACY_UNTIL" in found.reasons[0]

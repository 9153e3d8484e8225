"""What one client can make the service store, hash or tell has an end, on every route (B6, B7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.bounds import tries
from tests.bounds.table import BOUNDS, Bound, Try, page
from tests.features.api import Api, served
from watchword.app import features
from watchword.identity.keys import store
from watchword.identity.takes import OCCASION_OF, OCCASIONS
from watchword.settings.row import CountedBy
from watchword.settings.table import LIMITS
from watchword.storage.ephemeral import Exhausted, Quota, Reservation
from watchword.web.route import Route

LOW = {row.name: "3/1h" for row in LIMITS}
TIMES = 12
TABLES = (
    *(
        "ww_users",
        "ww_sessions",
        "ww_revocations",
        "ww_audit",
        "ww_guard_keys",
        "ww_outbox",
        "ww_one_time",
        "ww_devices",
        "ww_api_keys",
        "ww_clients",
    ),
)
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def heard_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a new key sign without the seconds in which others learn of it: no one else is there."""
    monkeypatch.setattr(store, "HEARD_SECONDS", 0)


class Counts:
    """What the service has stored, hashed and told since."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._hashes = self._told = 0
        in_pool = api.kernel.hasher._in_pool

        async def counting(*given: object) -> object:
            self._hashes += 1
            return await in_pool(*given)  # type: ignore[arg-type]

        api.kernel.hasher._in_pool = counting  # type: ignore[method-assign, assignment]

    def saw(self, answer: object) -> None:
        """An answer that says that something is taken."""
        self._told += getattr(answer, "status_code", 0) == 409

    async def now(self) -> dict[str, int]:
        """All of it."""
        found = {"hashes": self._hashes, "told": self._told}
        for table in TABLES:
            (row,) = await self._api.kernel.database.scan(f"SELECT COUNT(*) AS n FROM {table}")
            found[table] = row["n"]
        return found


@pytest.mark.parametrize(
    ("bound", "attempt"),
    [
        pytest.param(bound, attempt, id=f"{bound.route} {attempt.__name__}")
        for bound in BOUNDS
        for attempt in bound.tries
    ],
)
async def test_whatever_is_done_over_and_over_comes_to_an_end(tmp_path: Path, bound: Bound, attempt: Try) -> None:
    """Every limit is three; after a dozen attempts another dozen stores, hashes and tells nothing more."""
    async with served(tmp_path, **LOW, **_beside(bound)) as api:
        for number in range(2 * TIMES if attempt.__name__.endswith("_many") else 0):
            await tries.person(api, f"one-of-many-{number}")
        counts = Counts(api)
        for number in range(TIMES):
            counts.saw(await attempt(api, number))
        before = await counts.now()
        for number in range(TIMES, 2 * TIMES):
            counts.saw(await attempt(api, number))
        assert await counts.now() == before


def _beside(bound: Bound) -> dict[str, str]:
    """What a route does more where addresses are confirmed, or tokens of an old application count."""
    if bound.route == "POST /token":
        return tries.OLD_APPLICATION
    registers = bound.route in ("POST /register", "POST /account/register")
    return {"email_verification": "optional"} if registers else {}


def _named(bound: Bound) -> set[str]:
    """The limits in the cells of a route."""
    cells = " ".join((*bound.writes, *bound.hashes, *bound.tells))
    return {f"{word}_limit" for word in cells.split("`")[1::2]}


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.route)
async def test_C6_a_route_answers_429_for_the_limits_that_it_names(
    tmp_path: Path, bound: Bound, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one limit used up for everyone, a try meets it exactly where `Route.limits` and the table say so."""
    async with served(tmp_path, **dict.fromkeys(LOW, "1000/1h"), **_beside(bound)) as api:
        used_up = UsedUp(api, monkeypatch)
        for number, row in enumerate(LIMITS):
            met = [await used_up.meets(row.limit, attempt, number) for attempt in bound.tries]
            route = next(each for each in _routes(api) if f"{each.method} {each.path}" == bound.route)
            named = row.name in _named(bound)
            assert any(met) == named, row.limit
            # Of those that count an attempt at all, the table says which know devices.
            # Mails for an account that is there are counted as they are sent, after the answer.
            elsewhere = CountedBy.DEVICE in row.counted_by or row.name == "mail_limit"
            assert named == (row.occasion in route.limits) or (not named and elsewhere)
        assert set(route.limits) <= OCCASIONS.keys()


class UsedUp:
    """One limit is used up, for everyone; what the tries themselves prepare meets none."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        self._api = api
        self._limit: str | None = None
        reserve = api.kernel.ephemeral.reserve

        async def reserving(quotas: Sequence[Quota], now: int) -> list[Reservation] | Exhausted:
            kinds = [quota.name.partition(":")[0] for quota in quotas]
            return Exhausted(kinds.index(self._limit), now + 60) if self._limit in kinds else await reserve(quotas, now)

        monkeypatch.setattr(api.kernel.ephemeral, "reserve", reserving)
        for preparing in (
            tries.person,
            tries.fresh_token,
            tries.cookie,
            tries.known_device,
            tries.administrator,
            tries.account_with_token,
        ):
            monkeypatch.setattr(tries, preparing.__name__, self._sparing(preparing))

    def _sparing(self, prepare: Callable[..., Awaitable[str]]) -> Callable[..., Awaitable[str]]:
        async def preparing(*given: Any) -> str:
            limit, self._limit = self._limit, None
            try:
                return await prepare(*given)
            finally:
                self._limit = limit

        return preparing

    async def meets(self, limit: str, attempt: Try, number: int) -> bool:
        """Whether a try is answered 429, which then names this limit."""
        self._limit = limit
        for left in ("cookie", "old"):
            self._api.__dict__.pop(left, None)  # of a session that an earlier try ended
        try:
            answer = await attempt(self._api, number)
        finally:
            self._limit = None
        if getattr(answer, "status_code", 0) != HTTPStatus.TOO_MANY_REQUESTS:
            return False
        assert isinstance(answer, httpx2.Response)
        assert answer.headers["ratelimit"].startswith(f'"{OCCASION_OF[limit]}";r=0')
        assert f'"{OCCASION_OF[limit]}";q=' in answer.headers["ratelimit-policy"]
        return True


def _routes(api: Api) -> list[Route]:
    return [route for each in features(api.kernel) for route in each.routes if route.method != "*"]


async def test_every_route_stands_in_the_table(tmp_path: Path) -> None:
    """A new route says what ends it."""
    async with served(tmp_path) as api:
        routes = [f"{route.method} {route.path}" for route in _routes(api)]
    assert sorted(routes) == sorted(bound.route for bound in BOUNDS)


def test_every_limit_that_is_named_is_a_setting() -> None:
    """And every limit that there is stands somewhere; no route asks for a second factor yet."""
    assert set().union(*map(_named, BOUNDS)) == set(LOW) - {"second_factor_limit"}


def test_the_page_is_the_table() -> None:
    """`docs/security/bounds.md` is what the table says."""
    assert (ROOT / "docs" / "security" / "bounds.md").read_text("utf-8") == page(), "write page() into it"

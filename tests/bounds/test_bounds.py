"""What one client can make the service store, hash or tell has an end, on every route (B6, B7)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.bounds import tries
from tests.bounds.table import BOUNDS, Bound, Try, page
from tests.features.api import Api, served
from watchword.app import features
from watchword.settings.table import LIMITS as ROWS

LIMITS = {row.name: "3/1h" for row in ROWS}
TIMES = 12
ROOT = Path(__file__).parents[2]


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
        for table in ("ww_users", "ww_sessions", "ww_revocations", "ww_audit", "ww_guard_keys"):
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
    async with served(tmp_path, **LIMITS) as api:
        for number in range(2 * TIMES if attempt.__name__.endswith("_many") else 0):
            await tries.person(api, f"one-of-many-{number}")
        counts = Counts(api)
        for number in range(TIMES):
            counts.saw(await attempt(api, number))
        before = await counts.now()
        for number in range(TIMES, 2 * TIMES):
            counts.saw(await attempt(api, number))
        assert await counts.now() == before


def _route_limits() -> dict[str, str | None]:
    """Each route of the table, and the limit that it names."""
    named: dict[str, str | None] = {}

    async def ask() -> None:
        with TemporaryDirectory() as folder:
            async with served(Path(folder)) as api:
                for feature in features(api.kernel):
                    named.update({f"{route.method} {route.path}": route.limit for route in feature.routes})

    asyncio.run(ask())
    return named


ROUTE_LIMITS = _route_limits()


@pytest.mark.parametrize("bound", [bound for bound in BOUNDS if ROUTE_LIMITS.get(bound.route)], ids=lambda b: b.route)
async def test_a_route_answers_429_by_the_limit_that_it_names(tmp_path: Path, bound: Bound) -> None:
    """With no other limit in force: so the service takes from this one."""
    limit = ROUTE_LIMITS.get(bound.route)
    met = set()
    for attempt in bound.tries:
        async with served(tmp_path / attempt.__name__, **{f"{limit}_limit": "3/1h"}) as api:
            for number in (*range(5), *[9] * 5):  # from other places, and from one
                answer = await attempt(api, number)
                if getattr(answer, "status_code", 0) == 429:
                    met.add(answer.headers["ratelimit-policy"].split('"')[1])  # type: ignore[attr-defined]
    assert met == {limit}


@pytest.mark.parametrize(
    "bound", [bound for bound in BOUNDS if not ROUTE_LIMITS.get(bound.route)], ids=lambda b: b.route
)
async def test_a_route_that_names_no_limit_never_answers_429(tmp_path: Path, bound: Bound) -> None:
    """Also with every limit at three."""
    for attempt in bound.tries:
        async with served(tmp_path / attempt.__name__, **LIMITS) as api:
            for number in range(TIMES):
                assert getattr(await attempt(api, number), "status_code", 0) != 429


async def test_every_route_stands_in_the_table(tmp_path: Path) -> None:
    """A new route says what ends it."""
    async with served(tmp_path) as api:
        routes = [
            f"{route.method} {route.path}"
            for each in features(api.kernel)
            for route in each.routes
            if route.method != "*"
        ]
    assert sorted(routes) == sorted(bound.route for bound in BOUNDS)


def test_every_limit_that_is_named_is_a_setting() -> None:
    """And every limit that there is stands somewhere."""
    cells = " ".join(cell for bound in BOUNDS for cell in (*bound.writes, *bound.hashes, *bound.tells))
    named = {f"{word}_limit" for word in cells.split("`")[1::2]}
    assert named == set(LIMITS)


def test_the_page_is_the_table() -> None:
    """`docs/security/bounds.md` is what the table says."""
    assert (ROOT / "docs" / "security" / "bounds.md").read_text("utf-8") == page(), "write page() into it"

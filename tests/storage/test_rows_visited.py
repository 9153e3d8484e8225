"""A sweep visits no more rows than a batch has, however many rows stay: counted by PostgreSQL itself.

So does the claim of what is sent.

SQLite's plans are read in tests/identity/test_query_plans.py.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest

from tests.postgres import Databases
from tests.storage.conftest import NOW
from watchword.identity import outbox, sweeping
from watchword.identity.queue import AT_ONCE
from watchword.identity.trail import chain, erasing
from watchword.identity.webhooks import deliveries
from watchword.storage import ephemeral_sql
from watchword.storage.postgres_sql import numbered

pytestmark = pytest.mark.anyio

LIVE, DEAD = 10_000, 1_500
DAY = 86_400
HOURS = 100
"""Of which there are records that are past their retention: a sweep that has not run for so long has them."""
# In each table the dead rows are few among many that stay, and lie anywhere.
FILL = (
    f"""INSERT INTO ww_sessions SELECT 's' || lpad(CAST(n * 7919 % {LIVE + DEAD} AS TEXT), 8, '0'), 'h' || n, 'u' || n,
        '', '', '', 1, 1, 1, 1, NULL, {NOW}, CASE WHEN n <= {DEAD} / 2 THEN {NOW - 3 * DAY} ELSE {NOW + DAY} + n END, 1,
        0, CASE WHEN n BETWEEN {DEAD} / 2 AND {DEAD} THEN {NOW - 3 * DAY} END, NULL, '', ''
        FROM generate_series(1, {LIVE + DEAD}) AS n""",
    f"""INSERT INTO ww_revocations (id, seq, kind, subject, min_version, expires_at)
        SELECT 'r' || n, n, 'session', 's' || n, NULL, CASE WHEN n <= {DEAD} THEN {NOW - 1} ELSE {NOW + DAY} + n END
        FROM generate_series(1, {LIVE + DEAD}) AS n""",
    f"""INSERT INTO ww_ephemeral (name, value, amount, expires_at)
        SELECT 'n' || n, '', 1, CASE WHEN n <= {DEAD} THEN {NOW - 1} ELSE {NOW + DAY} + n END
        FROM generate_series(1, {LIVE + DEAD}) AS n""",
    # Many of one user wait behind the first, many were given up lately, few long ago.
    f"""INSERT INTO ww_deliveries SELECT 'w', 'e' || lpad(CAST(n * 7919 % {LIVE + DEAD} AS TEXT), 8, '0'),
        'u' || (n % 100), n, 'user.changed', 1, '{{}}', 1, CASE WHEN n > {LIVE} THEN {NOW} END, 1,
        CASE WHEN n % 14 = 0 THEN {NOW - 3 * DAY} WHEN n <= {LIVE} / 2 THEN {NOW} + n END, NULL
        FROM generate_series(1, {LIVE + DEAD}) AS n""",
    # Nineteen users did most of it to each other, each a little more than a batch, so that no planner reads the whole
    # table for one of them. The oldest records are past their retention, the newest not chained.
    f"""INSERT INTO ww_audit (id, at, event, outcome, actor_id, user_id, address, agent, request_id, detail, position)
        SELECT 'a' || lpad(CAST(n AS TEXT), 8, '0'), {NOW}, '', '', 'u' || (n / 19 % 19),
        'u' || (n % 19), 'x', '', '', '', CASE WHEN n <= {LIVE} THEN n END
        FROM generate_series(1, {LIVE + DEAD}) AS n""",
    f"""INSERT INTO ww_audit_checkpoints
        SELECT n, '', 1, CASE WHEN n <= {HOURS} THEN {NOW - 3 * DAY} ELSE {NOW} END,
        CASE WHEN n % 100 = 0 THEN 'former' ELSE 'current' END, '', NULL, NULL
        FROM generate_series(1, {LIVE}) AS n""",
    f"""INSERT INTO ww_audit_erasures
        SELECT 'u' || lpad(CAST(n * 7919 % {LIVE + DEAD} AS TEXT), 8, '0'),
        CASE WHEN n <= {DEAD} THEN {NOW - 1} ELSE {NOW + DAY} + n END, {NOW + 3 * DAY}
        FROM generate_series(1, {LIVE + DEAD}) AS n""",
    f"""INSERT INTO ww_one_time
        SELECT 'l' || lpad(CAST(n * 7919 % {LIVE + DEAD} AS TEXT), 8, '0'), '', '', 'u' || n, '', 'h' || n, 't' || n,
        '', 1, 1, 1, CASE WHEN n <= {DEAD} THEN {NOW - 1} ELSE {NOW + DAY} + n END, NULL
        FROM generate_series(1, {LIVE + DEAD}) AS n""",
    # Many wait, some of them for long; many were given up lately.
    f"""INSERT INTO ww_outbox
        SELECT 'm' || lpad(CAST(n * 7919 % {LIVE + DEAD} AS TEXT), 8, '0'), '', '', '', '', NULL, NULL, 1, {NOW - 1},
        {NOW + DAY}, 1, CASE WHEN n <= {DEAD} THEN {NOW - 3 * DAY} WHEN n <= {LIVE} / 2 THEN {NOW} + n END, NULL
        FROM generate_series(1, {LIVE + DEAD}) AS n""",
    f"""INSERT INTO ww_devices
        SELECT 'u' || n, 'd', 1, CASE WHEN n <= {DEAD} THEN {NOW - 3 * DAY} ELSE {NOW} + n END
        FROM generate_series(1, {LIVE + DEAD}) AS n""",
    "INSERT INTO ww_users (id, roles, token_version, created_at, updated_at) VALUES ('u', '', 1, 1, 1)",
    f"""INSERT INTO ww_api_keys
        SELECT 'k' || lpad(CAST(n * 7919 % {LIVE + DEAD} AS TEXT), 8, '0'), 'u', '', '', '', '', NULL, 1, 1,
        CASE WHEN n <= {DEAD} THEN {NOW - 3 * DAY} ELSE {NOW + DAY} + n END, NULL, NULL
        FROM generate_series(1, {LIVE + DEAD}) AS n""",
)
BATCH: dict[str, Any] = {
    "now": NOW,
    "rows": sweeping.ROWS,
    "retention": DAY,
    "at": -1,
    "after": "",
    "most": ephemeral_sql.SWEEP_ROWS,
    "webhook": "w",
    "part": "w",
    "until": NOW - DAY,
    "cut": DEAD,
    "user": "u1",
    "signer": "former",
    "before": HOURS + 1,
    "place": -1,
}
SWEEPS = {
    "sessions that have ended": sweeping._FIND_ENDED,
    "sessions that have expired": sweeping._FIND_EXPIRED,
    "the patrol": sweeping._WALK,
    "revocations": sweeping._FIND_REVOCATIONS,
    "events that were given up": sweeping._FIND_DELIVERIES,
    "events that are due": deliveries._QUEUE._due,
    "values that are used once, and counters": ephemeral_sql._FIND_ENDED,
    "links and codes": sweeping._FIND_LINKS,
    "mail that was given up": sweeping._FIND_MAIL,
    "mail that is due": outbox._QUEUE._due,
    "devices": sweeping._FIND_DEVICES,
    "API keys": sweeping._FIND_API_KEYS,
    "users whose records are erased": erasing._DUE,
    "records of a user": erasing._OF_USER,
    "what a user did to others": erasing._DONE_TO_OTHERS,
    "the first checkpoint that stays": chain._YOUNG,
    "the last checkpoint that goes": chain._LAST_OLD,
    "checkpoints that go": chain._FIND_POINTS,
    "checkpoints of another master secret": chain._SIGNED_BY,
    "records past their retention": chain._FIND_CUT,
    "records that are not chained": chain._UNCHAINED,
}
CLAIMS = {"mail": outbox._QUEUE._claim, "events": deliveries._QUEUE._claim}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One loop for all: the tables are filled once."""
    return "asyncio"


@pytest.fixture(scope="module", params=[15, 18])
async def connection(
    request: pytest.FixtureRequest, postgres: Callable[[int], Databases]
) -> AsyncIterator[asyncpg.Connection]:
    """A database with large tables."""
    databases = postgres(request.param)
    url = await databases.borrow()
    connection = await asyncpg.connect(url)
    for statement in FILL:
        await connection.execute(statement)
    await connection.execute("ANALYZE")  # as autovacuum does by itself
    yield connection
    await connection.close()
    await databases.drop(url)


@pytest.mark.parametrize("what", SWEEPS)
async def test_a_sweep_visits_what_a_batch_has(connection: asyncpg.Connection, what: str) -> None:
    """Those that stay are never walked through; a few more that go may be, where that is cheaper."""
    text = numbered(SWEEPS[what])
    assert 0 < await visited(connection, text.sql, text.values(BATCH)) <= 2 * max(BATCH["rows"], BATCH["most"])


@pytest.mark.parametrize("what", CLAIMS)
async def test_a_claim_visits_what_it_takes(connection: asyncpg.Connection, what: str) -> None:
    """Though thousands are due."""
    text = numbered(CLAIMS[what])
    assert 0 < await visited(connection, text.sql, text.values({**BATCH, "rows": AT_ONCE})) <= 4 * AT_ONCE


DELETES = {
    "a session": (sweeping._FORGET_ENDED, {"id": "s00000001"}),
    "a revocation": (sweeping._FORGET_REVOCATION, {"id": "r1"}),
    "a value": (ephemeral_sql._FORGET_ENDED, {"name": "n1"}),
    "a link": (sweeping._FORGET_LINK, {"id": "l00000001"}),
    "a mail": (sweeping._FORGET_MAIL, {"id": "m00000001"}),
    "an event": (sweeping._FORGET_DELIVERY, {"webhook_id": "w", "id": "e00000001"}),
    "a device": (sweeping._FORGET_DEVICE, {"user_id": "u1", "device": "d"}),
    "an API key": (sweeping._FORGET_API_KEY, {"id": "k00000001"}),
    "a checkpoint": (chain._FORGET_POINT, {"position": 1}),
    "a record": (chain._FORGET, {"id": "a00000001"}),
    "a user whose records were erased": (erasing._DONE, {"user": "u00000001"}),
}


@pytest.mark.parametrize("what", DELETES)
async def test_what_was_found_is_deleted_by_its_key(connection: asyncpg.Connection, what: str) -> None:
    """One row is looked at for each."""
    sql, key = DELETES[what]
    text = numbered(sql)
    assert await visited(connection, text.sql, text.values({**BATCH, **key})) <= 1


async def test_a_delete_of_what_a_query_finds_walks(connection: asyncpg.Connection) -> None:
    """Why a sweep is two statements: this one visits the rows that stay."""
    sql = "DELETE FROM ww_revocations WHERE id IN (SELECT id FROM ww_revocations WHERE expires_at <= $1 LIMIT 500)"
    assert await visited(connection, sql, [NOW]) > LIVE


async def test_a_walk_is_noticed(connection: asyncpg.Connection) -> None:
    """What looks for a few rows among many without an index visits them all."""
    sql = "SELECT id FROM ww_sessions WHERE idle_expires_at < $1 LIMIT 500"
    assert await visited(connection, sql, [NOW - DAY]) >= LIVE


async def visited(connection: asyncpg.Connection, sql: str, values: list[Any]) -> int:
    """How many rows of tables and indexes a statement looks at. It is undone."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        found = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *values)
    finally:
        await transaction.rollback()
    return _visited(json.loads(found)[0]["Plan"])


def _visited(node: dict[str, Any]) -> int:
    removed = sum(count for name, count in node.items() if name.startswith("Rows Removed"))
    scans = "Scan" in node["Node Type"] and "Relation Name" in node
    own = (node["Actual Rows"] + removed) * node["Actual Loops"] if scans else 0
    return int(own) + sum(_visited(each) for each in node.get("Plans", []))

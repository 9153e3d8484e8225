"""Connections to PostgreSQL, and what stands around each statement: directly, or through PgBouncer.

PgBouncer in transaction mode gives a transaction a server connection and takes it away after COMMIT. So there every
statement runs in a transaction, settings are set inside it, and no prepared statement is kept by name.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from watchword.settings.postgres_url import PostgresUrl
from watchword.storage import postgres_faults as faults
from watchword.storage.postgres_hosts import Hosts

OLDEST = 14
STATEMENT_MS = 3_000
"""The server gives up a statement after that. Those who asked for it have been answered before: `postgres.DEADLINE`."""

SCAN_MS = 30_000
IDLE_MS = 5_000
_STATEMENTS = 512  # prepared ones that a connection keeps: more than the program has
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
_ASK = (
    "SELECT pg_backend_pid() AS pid, current_setting('server_encoding') AS encoding,"
    " current_setting('synchronous_commit') AS durable"
)


class Frame(NamedTuple):
    """How statements are sent.

    :param begin: starts a unit.
    :param begin_scan: starts a reading that may take longer.
    :param begin_upkeep: starts a unit that may take as long as it needs.
    :param always: whether a single statement needs a transaction as well.
    :param settings: what the server is told when a connection is made.
    """

    begin: str
    begin_scan: str
    begin_upkeep: str
    always: bool
    settings: dict[str, str]


def direct(*, durable: bool) -> Frame:
    """Frame statements for a server that is talked to directly.

    :param durable: whether the server waits for the disk by itself; where it does not, it is told to.
    """
    settings = {
        "statement_timeout": str(STATEMENT_MS),
        "idle_in_transaction_session_timeout": str(IDLE_MS),
        "default_transaction_isolation": "read committed",
        **({} if durable else {"synchronous_commit": "on"}),
    }
    return Frame(
        _BEGIN,
        f"{_BEGIN}; SET LOCAL statement_timeout = {SCAN_MS}",
        f"{_BEGIN}; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0",
        False,
        settings,
    )


def through_pgbouncer(*, durable: bool) -> Frame:
    """Frame statements for PgBouncer in transaction mode."""
    begin = _BEGIN if durable else f"{_BEGIN}; SET LOCAL synchronous_commit = on"
    idle = f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_MS}"
    return Frame(
        f"{begin}; SET LOCAL statement_timeout = {STATEMENT_MS}; {idle}",
        f"{begin}; SET LOCAL statement_timeout = {SCAN_MS}; {idle}",
        f"{begin}; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0",
        True,
        {},
    )


async def examine(url: PostgresUrl, hosts: Hosts) -> Frame:
    """Connect once, and find out what stands behind the URL.

    :raises SettingsError: the server refuses the user, has no such database, is too old, or has no UTF-8.
    :raises StorageUnavailable:
    """
    try:
        connection = await hosts.connect(statement_cache_size=0)
        try:
            if connection.get_server_version().major < OLDEST:
                raise faults.too_old(str(connection.get_settings().server_version))
            await connection.execute(_BEGIN)  # PgBouncer gives the two halves of a statement to one server only then
            found = await connection.fetchrow(_ASK)
            pid = connection.get_server_pid()
        finally:
            connection.terminate()
    except Exception as error:
        if not faults.is_of_driver(error):
            raise
        raise faults.refused_at_start(error, url) from error
    assert found is not None, "a SELECT without FROM has a row"
    if found["encoding"] != "UTF8":
        raise faults.no_unicode(str(found["encoding"]), url)
    # PgBouncer makes up the number of the process that it names to its clients.
    pooled = found["pid"] != pid if url.pgbouncer is None else url.pgbouncer
    durable = found["durable"] != "off"
    return through_pgbouncer(durable=durable) if pooled else direct(durable=durable)


async def connect(url: PostgresUrl, hosts: Hosts, frame: Frame) -> Any:
    """Open a connection."""
    return await hosts.connect(
        statement_cache_size=0 if frame.always else _STATEMENTS,
        max_cached_statement_lifetime=0,
        server_settings={"application_name": url.application, **frame.settings},
    )

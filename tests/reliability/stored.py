"""What a database holds, read with nothing of ours in between."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

QUERIES = {
    "users": "SELECT id, username FROM ww_users",
    "registered": "SELECT user_id FROM ww_audit WHERE event = 'user_created'",
    "sessions": "SELECT id, user_id, generation, ended_at FROM ww_sessions",
    "started": "SELECT session_id FROM ww_audit WHERE event = 'log_in' AND outcome = 'ok'",
    "revoked": "SELECT subject FROM ww_revocations WHERE kind = 'session'",
}
Rows = dict[str, list[tuple[Any, ...]]]


class SessionRow(NamedTuple):
    """A session as it is stored."""

    user_id: str
    generation: int
    ended_at: int | None


class Stored:
    """Users by name, sessions by id, and what belongs to them in other tables."""

    def __init__(self, rows: Rows) -> None:
        self.ids = {user_id for user_id, _ in rows["users"]}
        self.users = {name: user_id for user_id, name in rows["users"] if name is not None}
        self.sessions = {row[0]: SessionRow(*row[1:]) for row in rows["sessions"]}
        self.revoked = {row[0] for row in rows["revoked"]}
        self._registered = [row[0] for row in rows["registered"]]
        self._started = [row[0] for row in rows["started"]]

    def half_written(self) -> list[str]:
        """Return what is there without the other rows of its transaction."""
        users, sessions = self.ids, set(self.sessions)
        pairs = (
            ("user without audit record", users - set(self._registered)),
            ("audit record without user", set(self._registered) - users),
            ("session without audit record", sessions - set(self._started)),
            ("audit record without session", set(self._started) - sessions),
        )
        found = [f"{what}: {each}" for what, those in pairs for each in those]
        found += ["a user was registered twice"] * (len(self._registered) - len(set(self._registered)))
        return found


def stored_at(url: str | Path) -> Stored:
    """Read the database: the URL of one in PostgreSQL, or SQLite's file, whose integrity is checked."""
    return Stored(_of_sqlite(url) if isinstance(url, Path) else asyncio.run(_of_postgres(url)))


def _of_sqlite(file: Path) -> Rows:
    with contextlib.closing(sqlite3.connect(file)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {name: database.execute(sql).fetchall() for name, sql in QUERIES.items()}


async def _of_postgres(url: str) -> Rows:
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        return {name: [tuple(row) for row in await connection.fetch(sql)] for name, sql in QUERIES.items()}
    finally:
        await connection.close()

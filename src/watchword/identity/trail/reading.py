"""Reads audit records: the newest, those that fit a filter, those of one user."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from watchword.storage.database import Database, Row

_COLUMNS = (
    "ww_audit.id AS id, at, event, outcome, actor_id, user_id, session_id, address, agent, request_id, detail,"
    " position, hash, personal, username, email"
)
_FROM = f"SELECT {_COLUMNS} FROM ww_audit LEFT JOIN ww_users ON ww_users.id = ww_audit.user_id"
_FITS = """
(:event = '' OR event = :event) AND (:outcome = '' OR outcome = :outcome)
    AND (:address = '' OR ww_audit.address = :address) AND (:request = '' OR request_id = :request)
    AND (:user = '' OR user_id = :user OR actor_id = :user) AND at >= :since AND at < :until
"""
_OLDEST_FIRST = f"{_FROM} WHERE ww_audit.id > :place AND {_FITS} ORDER BY ww_audit.id LIMIT :limit"
_NEWEST_FIRST = f"{_FROM} WHERE ww_audit.id < :place AND {_FITS} ORDER BY ww_audit.id DESC LIMIT :limit"
_OF_USER = """
SELECT id, at, event, outcome, actor_id, user_id, session_id, address, agent FROM ww_audit
WHERE user_id = :user AND id < :before ORDER BY id DESC LIMIT :limit
"""

BEHIND_ALL: Final = "~"
"""A place behind every id."""

_NO_END = 2**62


class Wanted(NamedTuple):
    """Which records; an empty text leaves open.

    :param user: the id of the user that it is about, or who did it.
    :param since: seconds since 1970 UTC.
    :param until: the first second that is too late.
    """

    user: str = ""
    event: str = ""
    outcome: str = ""
    address: str = ""
    request_id: str = ""
    since: int = 0
    until: int = _NO_END


class Record(msgspec.Struct, frozen=True):
    """An audit record. `user` is the name the user has now; the hashes are null until it is chained."""

    id: str
    at: int
    event: str
    outcome: str
    actor_id: str | None
    user_id: str | None
    user: str | None
    session_id: str | None
    address: str
    agent: str
    request_id: str
    detail: dict[str, str]
    position: int | None
    hash: str | None
    personal: str | None


class Deed(NamedTuple):
    """A record as its user sees it: nothing of another user's device."""

    id: str
    at: int
    event: str
    outcome: str
    session_id: str | None
    address: str
    agent: str


async def page(
    database: Database, wanted: Wanted, *, limit: int, place: str = "", newest_first: bool = False
) -> list[Record]:
    """Return up to `limit` records behind `place`, an id. It looks at each record there: for an operator's command."""
    rows = await database.scan(
        _NEWEST_FIRST if newest_first else _OLDEST_FIRST,
        place=place or (BEHIND_ALL if newest_first else ""),
        limit=limit,
        user=wanted.user,
        event=wanted.event,
        outcome=wanted.outcome,
        address=wanted.address,
        request=wanted.request_id,
        since=wanted.since,
        until=wanted.until,
    )
    return [_record(row) for row in rows]


async def of_user(database: Database, user_id: str, *, before: str, limit: int) -> list[Deed]:
    """Return what a user did and what was done to them, newest first.

    :param before: an id, or empty.
    """
    rows = await database.all(_OF_USER, user=user_id, before=before or BEHIND_ALL, limit=limit)
    return [_deed(row) for row in rows]


def _record(row: Row) -> Record:
    return Record(
        row["id"],
        row["at"],
        row["event"],
        row["outcome"],
        row["actor_id"],
        row["user_id"],
        row["username"] or row["email"],
        row["session_id"],
        row["address"],
        row["agent"],
        row["request_id"],
        _detail(row["detail"]),
        row["position"],
        row["hash"],
        row["personal"],
    )


def _detail(text: str) -> dict[str, str]:
    try:
        found: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:  # changed behind our back: it is shown all the same
        return {"unreadable": text}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {"unreadable": text}


def _deed(row: Row) -> Deed:
    anothers = row["actor_id"] is not None and row["actor_id"] != row["user_id"]
    address, agent = ("", "") if anothers else (row["address"], row["agent"])
    return Deed(row["id"], row["at"], row["event"], row["outcome"], row["session_id"], address, agent)

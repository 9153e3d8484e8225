"""Lists users: for commands, and for administrators."""

from __future__ import annotations

from typing import NamedTuple

from watchword.identity.user_row import COLUMNS, User
from watchword.storage.database import Database

_WHOLE_NAME = "' ' || roles || ' '"
_LIST = f"""
SELECT {COLUMNS} FROM ww_users WHERE id > :after
    AND (:search = '' OR COALESCE(username_key, '') LIKE :pattern ESCAPE '!'
        OR COALESCE(email_key, '') LIKE :pattern ESCAPE '!')
    AND (:role = '' OR REPLACE({_WHOLE_NAME}, ' ' || :role || ' ', '') <> {_WHOLE_NAME})
    AND (:disabled = '' OR (:disabled = 'true') = (disabled_at IS NOT NULL))
    AND (:verified = '' OR (:verified = 'true') = (email_verified_at IS NOT NULL))
ORDER BY id LIMIT :limit
"""


class Wanted(NamedTuple):
    """Which users.

    :param search: stands in the username or in the e-mail address, in any case; empty: everyone.
    :param role: one that they have, exactly as written; empty: any or none.
    :param disabled: None: both.
    :param verified: whether the address is confirmed; None: both.
    """

    search: str = ""
    role: str = ""
    disabled: bool | None = None
    verified: bool | None = None


async def page(database: Database, wanted: Wanted, *, after: str = "", limit: int) -> list[User]:
    """Return up to `limit` users after an id, oldest first."""
    rows = await database.scan(
        _LIST,
        after=after,
        search=wanted.search,
        pattern=f"%{_escape_like(wanted.search.casefold())}%",
        role=wanted.role,
        disabled=_text(wanted.disabled),
        verified=_text(wanted.verified),
        limit=limit,
    )
    return [User.of(row) for row in rows]


def _text(flag: bool | None) -> str:
    return "" if flag is None else str(flag).lower()


def _escape_like(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")

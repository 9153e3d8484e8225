"""Who is an administrator now. The token says who it was; the database says who it is.

A list of revocations in memory may be a moment late. An administrator whose role was taken away a moment ago is
refused all the same: each request reads the user and the session, and each change does so in its own transaction.
"""

from __future__ import annotations

from typing import Final

from watchword.errors import Conflict, TokenError, Unauthenticated
from watchword.identity.narrowing import narrowed
from watchword.identity.sessions.row import IS_LIVE
from watchword.identity.sessions.sessions import require_live
from watchword.storage.database import Database, Row, Tx
from watchword.tokens.claims import AccessClaims

ADMIN: Final = "admin"
"""The role. It is compared byte for byte."""

_STANDING = f"""
SELECT roles, scope AS limited FROM ww_sessions JOIN ww_users ON ww_users.id = ww_sessions.user_id
WHERE ww_sessions.id = :id AND user_id = :user AND {IS_LIVE}
    AND disabled_at IS NULL AND token_version <= CAST(:version AS BIGINT)
"""
_LOCKED = """
SELECT roles, (SELECT scope FROM ww_sessions WHERE ww_sessions.id = :session) AS limited FROM ww_users WHERE id = :id
"""
# As in the index `ww_users_admin`, of which it looks at a few: without it this would look at every user.
_ANY = f"""
SELECT id FROM ww_users
WHERE id > '' AND REPLACE(' ' || roles || ' ', ' {ADMIN} ', '') <> ' ' || roles || ' ' LIMIT 1
"""


async def look_at(database: Database, caller: AccessClaims, now: int) -> None:
    """Check that the caller is an administrator, for a request that changes nothing.

    :raises Unauthenticated: the session has ended, or the account was disabled or has changed.
    :raises TokenError: `role_missing`, `token_narrowed`.
    """
    row = await database.one(_STANDING, id=caller.sid, user=caller.sub, version=caller.ver, now=now)
    if row is None:
        raise Unauthenticated("This session has ended or this token was revoked.", code="token_revoked")
    _check(row)


async def require(tx: Tx, caller: AccessClaims, target: str, now: int) -> None:
    """Check the same in the unit of a change. It locks the caller, who then stays one until the commit.

    :param target: the user that it changes, or "". Both are locked in the order of their ids, so that two
        administrators who change each other wait for each other once only.
    """
    for user_id in sorted({caller.sub, target} - {""}):
        await tx.run("UPDATE ww_users SET updated_at = updated_at WHERE id = :id", id=user_id)
    await require_live(tx, caller, now)
    _check(await tx.one(_LOCKED, id=caller.sub, session=caller.sid))


async def refuse_to_close(tx: Tx, user_id: str) -> None:
    """Keep an administrator from closing their own account, in the unit that has locked it. Raises `Conflict`."""
    row = await tx.one("SELECT roles FROM ww_users WHERE id = :id", id=user_id)
    if row is not None and ADMIN in row["roles"].split():
        raise own_account()


def own_account() -> Conflict:
    """Return the refusal of an administrator who would take away their own rights."""
    message = "Another administrator does this to your account, so that one remains."
    return Conflict(message, code="own_account")


def _check(row: Row | None) -> None:
    if row is None or ADMIN not in row["roles"].split():
        raise TokenError("The token's user lacks a role.", code="role_missing")
    if row["limited"]:
        raise narrowed()


async def any_there(database: Database | Tx) -> bool:
    """Tell whether anyone has the role, disabled or not: who disables the last one must not make a link revive."""
    return await database.one(_ANY) is not None

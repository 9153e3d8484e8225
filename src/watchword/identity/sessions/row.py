"""A session's row: what is asked of it when it is refreshed, and what its columns mean."""

from __future__ import annotations

from typing import NamedTuple

from watchword.identity.addresses import neighbourhood
from watchword.identity.audit import Client
from watchword.identity.issuing import AccessGrant
from watchword.identity.roles import granted
from watchword.identity.sessions.rule import SessionState
from watchword.opaque import RefreshToken
from watchword.storage.database import Row
from watchword.tokens.keys import SigningKey

_USER = "SELECT {} FROM ww_users WHERE ww_users.id = ww_sessions.user_id"
LIVE = f"""id, user_id, client_id, scope, amr, auth_time, generation, rotated_at, idle_expires_at,
    CASE WHEN expires_at < access_until THEN expires_at ELSE access_until END AS not_after,
    ({_USER.format("token_version")}) AS version, ({_USER.format("roles")}) AS roles"""
# A statement is stored when it has been executed, so what no token can hold is refused in it: `most` roles.
ROTATE = f"""
UPDATE ww_sessions SET generation = generation + 1, prev_rotated_at = rotated_at, rotated_at = :now,
    idle_expires_at = CASE WHEN expires_at < :idle THEN expires_at ELSE :idle END,
    access_until = CASE WHEN access_until > :until THEN access_until ELSE :until END,
    grace_elsewhere = 0, address = :address, agent = :agent
WHERE handle_hash = :handle AND generation = :generation AND client_id = :client
    AND ended_at IS NULL AND expires_at > :now AND idle_expires_at > :now
    AND EXISTS ({_USER.format("1")} AND disabled_at IS NULL AND LENGTH(roles) - LENGTH(REPLACE(roles, ' ', '')) < :most)
RETURNING {LIVE}
"""
READ = f"""
SELECT {LIVE}, prev_rotated_at, expires_at, ended_at, grace_elsewhere, address, agent,
    EXISTS ({_USER.format("1")} AND disabled_at IS NULL) AS user_active
FROM ww_sessions WHERE handle_hash = :handle
"""


class Live(NamedTuple):
    """A session that has just been opened or refreshed; `tokens` are signed from it, outside the unit.

    :param key: what signs them, known to be there before anything was stored.
    """

    grant: AccessGrant
    refresh: RefreshToken
    idle_expires_at: int
    key: SigningKey


def is_elsewhere(row: Row, client: Client) -> bool:
    """Whether the client is on another network *and* calls itself something else than the last ordinary rotation's."""
    return row["agent"] != client.agent and neighbourhood(row["address"]) != neighbourhood(client.address)


def state_of(row: Row) -> SessionState:
    """What the refresh rule needs to know, from a row of `READ`."""
    return SessionState(
        generation=row["generation"],
        rotated_at=row["rotated_at"],
        prev_rotated_at=row["prev_rotated_at"],
        ended_at=row["ended_at"],
        expires_at=row["expires_at"],
        idle_expires_at=row["idle_expires_at"],
        grace_elsewhere=row["grace_elsewhere"],
        user_active=bool(row["user_active"]),
    )


def live_of(row: Row, handle: bytes, key: SigningKey) -> Live:
    """From a row's first twelve columns, those of `LIVE`. Raises `Forbidden` for roles that no token can hold."""
    grant = AccessGrant(
        row[1], row[0], row[2], row[3], granted(row[11]), row[10], row[5], tuple(row[4].split()), row[7], row[9]
    )
    return Live(grant, RefreshToken(handle, row[6]), row[8], key)

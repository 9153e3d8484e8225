"""A session's row: the statements of a refresh, and its columns."""

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

IS_LIVE = "ended_at IS NULL AND expires_at > :now AND idle_expires_at > :now"
"""The condition on a usable session at `:now`. Whether the user is active is asked beside it."""

_USER = "SELECT {} FROM ww_users WHERE ww_users.id = ww_sessions.user_id"
COLUMNS = f"""id, user_id, client_id, scope, amr, auth_time, generation, rotated_at, idle_expires_at,
    CASE WHEN expires_at < access_until THEN expires_at ELSE access_until END AS not_after,
    ({_USER.format("token_version")}) AS version, ({_USER.format("roles")}) AS roles"""
# It is stored once executed, so it refuses more roles than a token holds: `:most`.
ROTATE = f"""
UPDATE ww_sessions SET generation = generation + 1, prev_rotated_at = rotated_at, rotated_at = :now,
    idle_expires_at = CASE WHEN expires_at < :idle THEN expires_at ELSE :idle END,
    access_until = CASE WHEN access_until > :until THEN access_until ELSE :until END,
    grace_elsewhere = 0, address = :address, agent = :agent
WHERE handle_hash = :handle AND generation = :generation AND client_id = :client
    AND {IS_LIVE}
    AND EXISTS ({_USER.format("1")} AND disabled_at IS NULL AND LENGTH(roles) - LENGTH(REPLACE(roles, ' ', '')) < :most)
RETURNING {COLUMNS}
"""
READ = f"""
SELECT {COLUMNS}, prev_rotated_at, expires_at, ended_at, grace_elsewhere, address, agent,
    EXISTS ({_USER.format("1")} AND disabled_at IS NULL) AS user_active
FROM ww_sessions WHERE handle_hash = :handle
"""


class Live(NamedTuple):
    """A session just opened or refreshed; its tokens are signed outside the unit.

    :param key: the signing key, found before anything was stored.
    """

    grant: AccessGrant
    refresh: RefreshToken
    idle_expires_at: int
    key: SigningKey


def is_elsewhere(row: Row, client: Client) -> bool:
    """Tell whether network *and* agent differ from those of the last rotation."""
    return row["agent"] != client.agent and neighbourhood(row["address"]) != neighbourhood(client.address)


def state_of(row: Row) -> SessionState:
    """Read a row of `READ` for the rule."""
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
    """Read a row that begins with `COLUMNS`. Raises `Forbidden` for roles that no token can hold."""
    # Every refresh runs this: a look-up by name would cost it one to two microseconds.
    (session_id, user_id, client_id, scope, amr, auth_time, generation, rotated_at, idle_expires_at,
     not_after, version, roles, *_) = row  # fmt: skip
    grant = AccessGrant(
        user_id,
        session_id,
        client_id,
        scope,
        granted(roles),
        version,
        auth_time,
        tuple(amr.split()),
        rotated_at,
        not_after,
    )
    return Live(grant, RefreshToken(handle, generation), idle_expires_at, key)

"""A session's row: the statements of a refresh, and its columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from watchword.addresses import neighbourhood
from watchword.identity.audit import Client
from watchword.identity.issuing import AccessGrant
from watchword.identity.own_claims import OwnClaims
from watchword.identity.rights import EVERYTHING, Asked
from watchword.identity.roles import granted
from watchword.identity.sessions.rule import SessionState
from watchword.opaque import RefreshToken
from watchword.storage.database import Row
from watchword.tokens.keys import SigningKey

IS_LIVE = "ended_at IS NULL AND expires_at > :now AND idle_expires_at > :now"
"""The condition on a usable session at `:now`. Whether the user is active is asked beside it."""

_API_IS_THERE = "(api IS NULL OR api = '' OR EXISTS (SELECT 1 FROM ww_apis WHERE ww_apis.id = ww_sessions.api))"
_USER = "SELECT {} FROM ww_users WHERE ww_users.id = ww_sessions.user_id"
COLUMNS = f"""id, user_id, client_id, scope, amr, auth_time, generation, rotated_at, idle_expires_at,
    CASE WHEN expires_at < access_until THEN expires_at ELSE access_until END AS not_after,
    ({_USER.format("token_version")}) AS version, ({_USER.format("roles")}) AS roles, api,
    (SELECT ww_rights.version FROM ww_rights WHERE ww_rights.id = 1) AS rights"""
# It is stored once executed, so it refuses more roles than a token holds: `:most`.
_ROTATE = f"""
UPDATE ww_sessions SET generation = generation + 1, prev_rotated_at = rotated_at, rotated_at = :now,
    idle_expires_at = CASE WHEN expires_at < :idle THEN expires_at ELSE :idle END,
    access_until = CASE WHEN access_until > :until THEN access_until ELSE :until END,
    grace_elsewhere = 0, address = :address, agent = :agent, retry_mac = :retry, retry_generation = generation + 1
WHERE handle_hash = :handle AND generation = :generation AND client_id = :client
    AND (:retry = '' OR retry_mac <> :retry)
    AND {IS_LIVE} AND {_API_IS_THERE}
    AND EXISTS ({_USER.format("1")} AND disabled_at IS NULL AND LENGTH(roles) - LENGTH(REPLACE(roles, ' ', '')) < :most)
RETURNING """
READ = f"""
SELECT {COLUMNS}, prev_rotated_at, expires_at, ended_at, grace_elsewhere, address, agent, retry_mac, retry_generation,
    EXISTS ({_USER.format("1")} AND disabled_at IS NULL) AS user_active, {_API_IS_THERE} AS api_is_there
FROM ww_sessions WHERE handle_hash = :handle
"""


class Texts(NamedTuple):
    """The statements of a refresh, where tokens carry data of the user.

    :param columns: what `live_of` reads.
    :param rotate: the exchange.
    :param read: the row of a token that was not exchanged.
    """

    columns: str
    rotate: str
    read: str


def texts(of_user: Sequence[str]) -> Texts:
    """Return the statements that also read these columns of `ww_users`, right behind `COLUMNS`.

    One statement reads them and the version, so that a token with an old value has an old version too.
    """
    columns = COLUMNS + "".join(f", ({_USER.format(name)}) AS {name}" for name in of_user)
    return Texts(columns, _ROTATE + columns, READ.replace(COLUMNS, columns, 1))


class Live(NamedTuple):
    """A session just opened or refreshed; its tokens are signed outside the unit.

    :param grant: its `scope` is what the session is limited to: `Rights` says what of it a token gets, and for whom.
    :param key: the signing key, found before anything was stored.
    :param api: the session's: its id, empty for the service's own audience, None for any.
    :param rights: the version of the tables of rights in the database.
    :param asked: what the token is to be narrowed to.
    """

    grant: AccessGrant
    refresh: RefreshToken
    idle_expires_at: int
    key: SigningKey
    api: str | None
    rights: int
    asked: Asked = EVERYTHING


class Current(NamedTuple):
    """What introspection tells of a refresh token that would be accepted."""

    id: str
    user_id: str
    client_id: str
    scope: str
    rotated_at: int
    idle_expires_at: int


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
        active=bool(row["user_active"]) and bool(row["api_is_there"]),
        retry_mac=row["retry_mac"],
        retry_generation=row["retry_generation"],
    )


def live_of(row: Row, handle: bytes, key: SigningKey, own: OwnClaims) -> Live:
    """Read a row of `texts(own.columns)`.

    Raises `Forbidden` for roles that no token can hold, and `ClaimsFault`.
    """
    # Every refresh runs this: a look-up by name would cost it one to two microseconds.
    (session_id, user_id, client_id, scope, amr, auth_time, generation, rotated_at, idle_expires_at,
     not_after, version, roles, api, rights, *rest) = row  # fmt: skip
    held = granted(roles)
    grant = AccessGrant(
        user_id,
        session_id,
        client_id,
        scope,
        held,
        version,
        auth_time,
        tuple(amr.split()),
        rotated_at,
        not_after,
        claims=own.of(user_id, held, rest[: len(own.columns)]),
    )
    return Live(grant, RefreshToken(handle, generation), idle_expires_at, key, api, rights)

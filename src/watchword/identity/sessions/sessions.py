"""Open, refresh, list and end sessions. One row each, no row per token."""

from __future__ import annotations

import os
from typing import NamedTuple

from watchword import opaque
from watchword.clock import Clock
from watchword.errors import NotFound, Unauthenticated
from watchword.identity import audit, revocation
from watchword.identity.audit import Client
from watchword.identity.issuing import AccessGrant, TokenIssuer
from watchword.identity.keys.master import Master
from watchword.identity.narrowing import is_whole
from watchword.identity.notices import Notices
from watchword.identity.revocation import Published, Revocations
from watchword.identity.rights import EVERYTHING, Asked, Rights
from watchword.identity.sessions.holding import Held, Holder
from watchword.identity.sessions.refreshing import Refresher
from watchword.identity.sessions.retrying import RetryKey
from watchword.identity.sessions.row import IS_LIVE, READ, Current, Live, state_of
from watchword.identity.sessions.rule import is_live
from watchword.ids import new_id
from watchword.meters import UNMETERED, Meters
from watchword.opaque import RefreshToken
from watchword.settings import Settings
from watchword.storage.database import Database, Row, Tx
from watchword.storage.ephemeral import Ephemeral
from watchword.tokens.claims import AccessClaims

_INSERT = """
INSERT INTO ww_sessions (id, handle_hash, user_id, client_id, scope, api, amr, auth_time, generation, created_at,
    rotated_at, idle_expires_at, expires_at, access_until, grace_elsewhere, address, agent)
VALUES (:id, :handle, :user, :client, :scope, :api, :amr, :auth, 0, :now, :now, :idle, :expires, :until, 0, :address,
    :agent)
"""
_ANOTHER = f"""SELECT id FROM ww_sessions WHERE user_id = :user AND ended_at IS NULL AND id <> :keep UNION ALL SELECT id
FROM ww_users WHERE id = :user AND imported_at IS NOT NULL AND token_version = {revocation.UNTOUCHED} LIMIT 1"""
_LIVE_CALLER = f"""
SELECT ww_sessions.id FROM ww_sessions JOIN ww_users ON ww_users.id = ww_sessions.user_id
WHERE ww_sessions.id = :id AND user_id = :user AND {IS_LIVE}
    AND disabled_at IS NULL AND token_version <= CAST(:version AS BIGINT)
"""

MAX_SESSIONS = 100
"""Live sessions per user; the next log-in ends the oldest."""

_SURPLUS_AT_ONCE = 10


class Tokens(NamedTuple):
    """What a client receives. Lifetimes are seconds from now."""

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    scope: str


class Opening(NamedTuple):
    """A session to be opened: who, how, from where, for what.

    :param scope: the scopes that it is limited to; empty: whatever the user's roles give.
    :param api: the only API: its id, empty for the service's own audience, None for any.
    :param auth_time: when the user logged in, if that is not now; 0 if it is unknown, which is never recent.
    """

    user_id: str
    client_id: str
    scope: str
    api: str | None
    amr: tuple[str, ...]
    client: Client
    auth_time: int | None = None


class SessionView(NamedTuple):
    """A session as its owner sees it. The id is no credential."""

    id: str
    created_at: int
    last_used_at: int
    expires_at: int
    address: str
    agent: str


class Sessions:
    """The sessions of one database."""

    def __init__(
        self,
        database: Database,
        ephemeral: Ephemeral,
        master: Master,
        issuer: TokenIssuer,
        rights: Rights,
        revocations: Revocations,
        settings: Settings,
        clock: Clock,
        notices: Notices,
        meters: Meters = UNMETERED,
    ) -> None:
        self._database = database
        self._keys = master.keys("refresh")
        self._issuer = issuer
        self.rights = rights
        self._revocations = revocations
        self._clock = clock
        self._idle = int(settings.refresh_idle.total_seconds())
        self._lifetime = int(settings.session_lifetime.total_seconds())
        self._refresher = Refresher(
            database, ephemeral, self._keys, issuer, rights, revocations, settings, clock, notices, meters
        )
        self.rotate = self._refresher.rotate  # `refresh` without signing

    async def tokens(self, live: Live) -> Tokens:
        """Sign what the client receives. The access token's times are the row's, its rights are those of now.

        Raises `Unauthenticated` and `StorageUnavailable`, as `Rights.grant`.
        """
        await self.rights.reach(live.rights)
        return self.sign(live)

    def sign(self, live: Live) -> Tokens:
        """Sign by the tables of rights that this process knows."""
        given = self.rights.grant(live.grant.roles, live.grant.scope, live.api, live.asked, version=live.rights)
        limited = bool(live.grant.scope) or live.asked.scopes is not None
        grant = live.grant._replace(scope=given.scope, audience=given.audience, rights=given.version, narrowed=limited)
        now = self._clock.now()
        return Tokens(
            self._issuer.access_token(grant, live.key),
            # A grace answer may carry a token that has just expired; its refresh token counts.
            max(0, self._issuer.expires_at(grant) - now),
            opaque.encode_refresh(live.refresh, self._keys[0]),
            max(0, live.idle_expires_at - now),
            grant.scope,
        )

    async def open(
        self, tx: Tx, opening: Opening, *, version: int, roles: tuple[str, ...], user: Row, now: int
    ) -> Live:
        """Insert a session, in the log-in's unit: always a new id and a new secret handle.

        :param user: the row with `FIELDS` and the version of rights, read in this unit.
        :raises StorageUnavailable: without a signing key; `ClaimsFault`.
        """
        key = self._issuer.require_key()
        refresh = RefreshToken(os.urandom(opaque.HANDLE_BYTES), 0)
        session_id = new_id()
        expires_at = now + self._lifetime
        idle_expires_at = min(now + self._idle, expires_at)
        auth_time = now if opening.auth_time is None else opening.auth_time
        await tx.run(
            _INSERT,
            id=session_id,
            handle=opaque.fingerprint(refresh.handle),
            user=opening.user_id,
            client=opening.client_id,
            scope=opening.scope,
            api=opening.api,
            amr=" ".join(opening.amr),
            auth=auth_time,
            now=now,
            idle=idle_expires_at,
            expires=expires_at,
            until=now + self._issuer.lifetime,
            address=opening.client.address,
            agent=opening.client.agent,
        )
        grant = AccessGrant(
            opening.user_id,
            session_id,
            opening.client_id,
            opening.scope,
            roles,
            version,
            auth_time=auth_time,
            amr=opening.amr,
            issued_at=now,
            not_after=min(now + self._issuer.lifetime, expires_at),
            claims=self._issuer.claims_of(opening.user_id, roles, user),
        )
        return Live(grant, refresh, idle_expires_at, key, opening.api, user["rights"])

    async def end_surplus(self, tx: Tx, user_id: str, now: int) -> list[revocation.Entry]:
        """End a user's oldest sessions beyond a hundred, in the log-in's unit; return what to publish.

        Otherwise one account could grow its list, and the feed, without bound.
        """
        rows = await tx.all(
            "SELECT id FROM ww_sessions WHERE user_id = :user AND ended_at IS NULL"
            " ORDER BY id DESC LIMIT :some OFFSET :most",
            user=user_id,
            some=_SURPLUS_AT_ONCE,
            most=MAX_SESSIONS,
        )
        entries = []
        for row in rows:
            entries += await revocation.end_session(tx, row["id"], reason="too_many", now=now)
        return entries

    async def refresh(
        self,
        presented: str,
        *,
        client_id: str,
        client: Client,
        asked: Asked = EVERYTHING,
        retry_key: RetryKey | None = None,
    ) -> Tokens:
        """Exchange a refresh token for its successor and an access token.

        :param asked: what this access token is narrowed to. The session, and its next refresh, stay as they are.

        Raises `Unauthenticated` with the codes of `Refresher.rotate`; `Refused` as `rights.narrows`.
        """
        live = await self.rotate(presented, client_id=client_id, client=client, asked=asked, retry_key=retry_key)
        return await self.tokens(live)

    async def is_live(self, session_id: str) -> bool:
        """Tell whether the session has neither ended nor expired."""
        now = self._clock.now()
        row = await self._database.one(
            f"SELECT id FROM ww_sessions WHERE id = :id AND {IS_LIVE}", id=session_id, now=now
        )
        return row is not None

    async def find_current(self, presented: str) -> Current | None:
        """Return the live session with this newest refresh token, or None."""
        row = await self._current(presented)
        if row is None:
            return None
        await self.rights.reach(row["rights"])
        scope = self.rights.grant(tuple(row["roles"].split()), row["scope"], row["api"], version=row["rights"]).scope
        return Current(row["id"], row["user_id"], row["client_id"], scope, row["rotated_at"], row["idle_expires_at"])

    async def _current(self, presented: str) -> Row | None:
        token = opaque.decode_refresh(presented, self._keys)
        if token is None:
            return None
        row = await self._database.one(READ, handle=opaque.fingerprint(token.handle))
        if row is None or not is_live(state_of(row), self._clock.now()) or row["generation"] != token.generation:
            return None
        return row

    async def held(self, presented: str, *, client_id: str) -> Held | None:
        """Return the live session of this client with this newest refresh token, or None. Nothing is written."""
        row = await self._current(presented)
        if row is None or row["client_id"] != client_id:
            return None
        whole = is_whole(row["scope"], row["api"], self.rights.table)
        return Held(row["user_id"], row["id"], row["version"], row["client_id"], whole)

    def session_handle(self, presented: str) -> str | None:
        """Return the handle hash of a genuine refresh token, of any generation; None for anything else."""
        token = opaque.decode_refresh(presented, self._keys)
        return None if token is None else opaque.fingerprint(token.handle)

    async def end_by_handle(self, tx: Tx, handle: str, *, reason: str, now: int) -> list[revocation.Entry]:
        """End the session of a refresh token, in the caller's unit; return what to publish."""
        row = await tx.one("SELECT id FROM ww_sessions WHERE handle_hash = :handle", handle=handle)
        return [] if row is None else await revocation.end_session(tx, row["id"], reason=reason, now=now)

    async def log_out(self, *, claims: AccessClaims | None, presented: str | None, client: Client) -> None:
        """End the sessions of an access token and of a refresh token. Idempotent."""
        handle = None if presented is None else self.session_handle(presented)
        now = self._clock.now()

        async def unit(tx: Tx) -> tuple[None, Published]:
            entries = []
            if claims is not None and claims.sid is not None:
                entries += await revocation.end_session(tx, claims.sid, reason="logged_out", now=now)
            if handle is not None:
                entries += await self.end_by_handle(tx, handle, reason="logged_out", now=now)
            await record_ends(tx, "logged_out", entries, client=client, now=now)
            return None, entries

        await self._revocations.commit(unit, ends=True)

    async def page(self, user_id: str, *, after: str = "", limit: int = 100) -> list[SessionView]:
        """Return the user's live sessions, oldest first."""
        now = self._clock.now()
        rows = await self._database.all(
            "SELECT id, created_at, rotated_at, idle_expires_at, address, agent FROM ww_sessions"
            f" WHERE user_id = :user AND id > :after AND {IS_LIVE} ORDER BY id LIMIT :limit",
            user=user_id,
            after=after,
            now=now,
            limit=limit,
        )
        return [
            SessionView(
                row["id"], row["created_at"], row["rotated_at"], row["idle_expires_at"], row["address"], row["agent"]
            )
            for row in rows
        ]

    async def end(self, caller: Holder, session_id: str, *, client: Client) -> None:
        """End a session of the caller. Raises `NotFound` for another user's, or an ended one."""
        now = self._clock.now()

        async def unit(tx: Tx) -> tuple[None, Published]:
            await require_live(tx, caller, now)
            row = await tx.one(
                "SELECT id FROM ww_sessions WHERE id = :id AND user_id = :user", id=session_id, user=caller.sub
            )
            entries = [] if row is None else await revocation.end_session(tx, session_id, reason="ended", now=now)
            if not entries:
                raise NotFound("There is no such session.")
            await audit.record(
                tx, "session_ended", at=now, client=client, actor=caller.sub, user=caller.sub, session=session_id
            )
            return None, entries

        await self._revocations.commit(unit, ends=True)

    async def end_others(self, caller: Holder, *, client: Client) -> int:
        """End the caller's other sessions, and refuse old applications' tokens; return how many sessions ended."""
        now = self._clock.now()
        if await self._database.one(_ANOTHER, user=caller.sub, keep=caller.sid or "") is None:
            await self._look_at(caller, now)
            return 0

        async def unit(tx: Tx) -> tuple[int, Published]:
            await require_live(tx, caller, now)
            old = await revocation.refuse_old_tokens(tx, caller.sub, now=now)
            ended = await revocation.end_sessions(tx, caller.sub, reason="ended", now=now, keep=caller.sid)
            if not ended and not old:
                return 0, ()
            who, detail = caller.sub, {"count": str(len(ended))}
            await audit.record(
                tx,
                "other_sessions_ended",
                at=now,
                client=client,
                actor=who,
                user=who,
                session=caller.sid,
                detail=detail,
            )
            # Sessions last used days ago have no token left to refuse.
            return len(ended), [*old, *(entry for entry in ended if (entry.expires_at or 0) > now)]

        return await self._revocations.commit(unit, ends=True)

    async def _look_at(self, caller: Holder, now: int) -> None:
        """Check as `require_live`, without a write. Raises `Unauthenticated`."""
        found = await self._database.one(_LIVE_CALLER, id=caller.sid, user=caller.sub, version=caller.ver, now=now)
        if found is None:
            raise _over()


async def record_ends(
    tx: Tx, event: str, entries: list[revocation.Entry], *, client: Client, now: int, reason: str | None = None
) -> None:
    """Record the end of each of these sessions, in the unit that ended them."""
    detail = None if reason is None else {"reason": reason}
    for entry in entries:
        # Ask for the owner: a cookie may belong to another user than the access token beside it.
        owner = await tx.one("SELECT user_id FROM ww_sessions WHERE id = :id", id=entry.subject)
        user = None if owner is None else owner["user_id"]
        await audit.record(
            tx, event, at=now, client=client, actor=user, user=user, session=entry.subject, detail=detail
        )


async def require_live(tx: Tx, caller: Holder, now: int) -> None:
    """Lock the caller's user and session, in a unit that changes state.

    A list of revocations in memory may be late; a change does not rely on it. Raises `Unauthenticated`.
    """
    user = await tx.one(
        "UPDATE ww_users SET updated_at = updated_at WHERE id = :id AND disabled_at IS NULL"
        " AND token_version <= CAST(:version AS BIGINT) RETURNING id",
        id=caller.sub,
        version=caller.ver,
    )
    session = (
        None
        if user is None
        else await tx.one(
            "UPDATE ww_sessions SET access_until = access_until"
            f" WHERE id = :id AND user_id = :user AND {IS_LIVE} RETURNING id",
            id=caller.sid,
            user=caller.sub,
            now=now,
        )
    )
    if session is None:
        raise _over()


def _over() -> Unauthenticated:
    return Unauthenticated("This session has ended or this token was revoked.", code="token_revoked")

"""Refresh: one conditional UPDATE; when it changes no row, apply `rule`.

A worthless token can be sent for ever. So each kind of refusal, and grace elsewhere, has one audit record per session
and hour. The log has one line a second, and an unknown handle is not recorded.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from watchword import opaque
from watchword.clock import Clock
from watchword.errors import StorageUnavailable, Unauthenticated
from watchword.identity import audit, revocation
from watchword.identity.audit import Client
from watchword.identity.issuing import TokenIssuer
from watchword.identity.notices import Notices
from watchword.identity.revocation import Published, Revocations
from watchword.identity.rights import EVERYTHING, Asked, Rights, narrows
from watchword.identity.roles import MOST_ROLES
from watchword.identity.sessions.retrying import RetryKey, as_sent, repeated
from watchword.identity.sessions.row import Live, is_elsewhere, live_of, state_of, texts
from watchword.identity.sessions.rule import SentKey, Verdict, decide, proves_rotation
from watchword.meters import REFRESHES, UNMETERED, Meters
from watchword.opaque import RefreshToken
from watchword.settings import Settings
from watchword.storage.database import Database, Row, Tx, Value
from watchword.storage.ephemeral import Ephemeral, is_first
from watchword.tally import Log, Tally
from watchword.tokens.keys import SigningKey

_log = Log("watchword.sessions")

RECORD_EVERY = 3600
"""Seconds between audit records of the same refusal and session."""

_ELSEWHERE = "grace_elsewhere"


class _Refused(NamedTuple):
    """A refusal as the unit's *result*: raising it would undo the end of the session.

    :param recorded: the unit ended the session, and recorded that.
    """

    code: str
    message: str
    recorded: bool = False
    user_id: str | None = None
    session_id: str | None = None


class _Served(NamedTuple):
    """An answer. One of grace elsewhere is recorded after its commit.

    :param how: `rotated`, `grace`, `grace_elsewhere` or `rolled_back`.
    """

    live: Live
    how: str


class Refresher:
    """Exchanges refresh tokens for the state of their session.

    :param keys: the MAC keys of refresh tokens, current first.
    """

    def __init__(
        self,
        database: Database,
        ephemeral: Ephemeral,
        keys: tuple[bytes, ...],
        issuer: TokenIssuer,
        rights: Rights,
        revocations: Revocations,
        settings: Settings,
        clock: Clock,
        notices: Notices,
        meters: Meters = UNMETERED,
    ) -> None:
        self._meters = meters
        self._rights = rights
        self._notices = notices
        self._database = database
        self._ephemeral = ephemeral
        self._keys = keys
        self._issuer = issuer
        self._own = issuer.own_claims
        self._texts = texts(self._own.columns)
        self._revocations = revocations
        self._clock = clock
        self._idle = int(settings.refresh_idle.total_seconds())
        self._grace = int(settings.refresh_grace.total_seconds())
        self._refusals = {refused.code: Tally(_log, "refresh_refused", level="info") for refused in _REFUSALS}

    async def rotate(
        self,
        presented: str,
        *,
        client_id: str,
        client: Client,
        asked: Asked = EVERYTHING,
        retry_key: RetryKey | None = None,
    ) -> Live:
        """Return the session after this exchange, to be signed; count how it ended.

        :param asked: what the access token is narrowed to. What the session was not given is refused before the refresh
            token is used up (`Refused`: `invalid_scope`, `invalid_target`).

        Raises `Unauthenticated`: `refresh_token_invalid` (not one of ours, or another client's), `session_ended`,
        `refresh_superseded` (a slow tab; the session lives), `refresh_token_reused` (it was ended). Raises
        `StorageUnavailable` without a signing key, `Forbidden` for more roles than a token holds, and `InvalidInput`
        for a retry key that was used before; these change nothing.
        """
        try:
            live, how = await self._exchanged(presented, client_id, client, asked, retry_key)
        except Unauthenticated as error:
            self._meters.count(REFRESHES, error.code)
            raise
        except BaseException:
            self._meters.count(REFRESHES, "failed")
            raise
        self._meters.count(REFRESHES, how)
        return live if asked is EVERYTHING else live._replace(asked=asked)

    async def _check_narrows(self, asked: Asked, handle: str) -> None:
        """Compare what is asked for with what the session was given, which never changes. Raises `Refused`."""
        row = await self._database.one(self._texts.read, handle=handle)
        if row is not None:
            narrows(asked, row["scope"], row["api"], self._rights.table)

    async def _exchanged(
        self, presented: str, client_id: str, client: Client, asked: Asked, retry_key: RetryKey | None
    ) -> _Served:
        token = opaque.decode_refresh(presented, self._keys)
        if token is None:
            raise Unauthenticated("This is not a refresh token of this service.", code="refresh_token_invalid")
        key = self._issuer.require_key()
        handle = opaque.fingerprint(token.handle)
        sent = as_sent(retry_key, token.handle)
        if asked is not EVERYTHING:
            await self._check_narrows(asked, handle)
        now = self._clock.now()

        live = await self._rotated(
            token,
            key,
            now=now,
            idle=now + self._idle,
            until=now + self._issuer.lifetime,
            handle=handle,
            generation=token.generation,
            client=client_id,
            address=client.address,
            agent=client.agent,
            most=MOST_ROLES,
            retry=sent.mac,
        )
        if live is not None:
            return _Served(live, "rotated")

        async def unit(tx: Tx) -> tuple[_Served | _Refused, Published]:
            return await self._not_rotated(tx, token, handle, client_id, client, now, key, sent)

        outcome = await self._revocations.commit(unit)
        if isinstance(outcome, _Served):
            if outcome.how == _ELSEWHERE:
                await self._note(outcome.live, client, now)
            return outcome
        self._refusals[outcome.code].add(code=outcome.code, address=client.address, request_id=client.request_id)
        if not outcome.recorded:
            await self._record(outcome.code, outcome.user_id, outcome.session_id, client, now)
        raise Unauthenticated(outcome.message, code=outcome.code)

    async def _rotated(self, token: RefreshToken, key: SigningKey, **values: Value) -> Live | None:
        """Exchange the token; None where the UPDATE changed no row.

        Where own claims may fail, they are made in the unit: a failure uses up no refresh token.
        """
        if not self._own.may_fail:
            row = await self._database.change(self._texts.rotate, **values)
            return None if row is None else live_of(row, token.handle, key, self._own)

        async def unit(tx: Tx) -> Live | None:
            row = await tx.one(self._texts.rotate, **values)
            return None if row is None else live_of(row, token.handle, key, self._own)

        return await self._database.transact(unit)

    async def _note(self, live: Live, client: Client, now: int) -> None:
        """Record a grace answer elsewhere. A failure must not keep it from the client."""
        with suppress(StorageUnavailable):
            await self._record(_ELSEWHERE, live.grant.user_id, live.grant.session_id, client, now)

    async def _record(
        self, outcome: str, user_id: str | None, session_id: str | None, client: Client, now: int
    ) -> None:
        """Record a refusal, unless its hour has a record."""
        if session_id is None:
            return
        name = f"refresh_refused:{session_id} {outcome}"
        if not await is_first(self._ephemeral, name, lifetime=RECORD_EVERY, now=now):
            return

        async def unit(tx: Tx) -> None:
            await audit.record(
                tx,
                "refresh",
                at=now,
                client=client,
                outcome=outcome,
                user=user_id,
                session=session_id,
            )

        await self._database.transact(unit)

    async def _not_rotated(
        self,
        tx: Tx,
        token: RefreshToken,
        handle: str,
        client_id: str,
        client: Client,
        now: int,
        key: SigningKey,
        sent: SentKey,
    ) -> tuple[_Served | _Refused, Published]:
        """Read the row, in this unit, and apply the rule."""
        row = await tx.one(self._texts.read, handle=handle)
        if row is None:
            return _ENDED, ()
        if row["client_id"] != client_id:
            return _refused(_OTHER_CLIENT, row), ()
        state = state_of(row)
        elsewhere = is_elsewhere(row, client) and not proves_rotation(state, sent)
        step = decide(state, token.generation, now, grace=self._grace, elsewhere=elsewhere, key=sent)
        match step:
            case Verdict.GRACE:
                live = live_of(row, token.handle, key, self._own)
                return await _grace(tx, row, live, elsewhere=elsewhere), ()
            case Verdict.ROLLED_BACK:
                return await self._serve_after_rollback(tx, row, token, client, now, key, sent), ()
            case Verdict.REUSE:
                return await self._end_reused(tx, row, token, client, now)
            case Verdict.SUPERSEDED:
                return _refused(_SUPERSEDED, row), ()
            case Verdict.ENDED:
                return _refused(_ENDED, row), ()
            case Verdict.KEY_REPEATED:
                raise repeated()
            case Verdict.ROTATE:
                live_of(
                    row, token.handle, key, self._own
                )  # raises `Forbidden` for more roles than fit, as the UPDATE refused
                # What the UPDATE refused has changed since: another try will find it so.
                raise StorageUnavailable("The session could not be refreshed just now.")

    async def _serve_after_rollback(
        self, tx: Tx, row: Row, token: RefreshToken, client: Client, now: int, key: SigningKey, sent: SentKey
    ) -> _Served:
        """Serve the newest holder after the database was restored to an older state."""
        until = now + self._issuer.lifetime
        restored = await tx.one(
            f"UPDATE ww_sessions SET generation = :next, prev_rotated_at = NULL, rotated_at = :now,"
            " idle_expires_at = CASE WHEN expires_at < :idle THEN expires_at ELSE :idle END,"
            " access_until = CASE WHEN access_until > :until THEN access_until ELSE :until END, grace_elsewhere = 0,"
            " retry_mac = :retry, retry_generation = :next"
            " WHERE id = :id AND generation < :presented AND ended_at IS NULL"
            f" RETURNING {self._texts.columns}",
            next=token.generation + 1,
            presented=token.generation,
            now=now,
            idle=now + self._idle,
            until=until,
            id=row["id"],
            retry=sent.mac,
        )
        if restored is None:
            raise StorageUnavailable("The session could not be refreshed just now.")
        await audit.record(
            tx,
            "storage_rollback",
            at=now,
            client=client,
            user=row["user_id"],
            session=row["id"],
            detail={"stored": str(row["generation"]), "presented": str(token.generation)},
        )
        _log.warning("storage_rollback", session_id=row["id"], stored=row["generation"], presented=token.generation)
        return _Served(live_of(restored, token.handle, key, self._own), "rolled_back")

    async def _end_reused(
        self, tx: Tx, row: Row, token: RefreshToken, client: Client, now: int
    ) -> tuple[_Refused, Published]:
        entries = await revocation.end_session(tx, row["id"], reason="refresh_reuse", now=now)
        behind = "one_behind" if row["generation"] - token.generation == 1 else "stale"
        await audit.record(
            tx,
            "refresh",
            at=now,
            client=client,
            outcome=_REUSED.code,
            user=row["user_id"],
            session=row["id"],
            detail={"class": behind},
        )
        await self._notices.stopped(tx, row["user_id"], client)
        return _REUSED, entries


_ENDED = _Refused("session_ended", "This session has ended. Log in again.")
_OTHER_CLIENT = _Refused("refresh_token_invalid", "This is not a refresh token of this client.")
_SUPERSEDED = _Refused("refresh_superseded", "A newer refresh token of this session is in use. Use that one.")
_REUSED = _Refused(
    "refresh_token_reused", "This refresh token was used before; its session has been ended. Log in again.", True
)


_REFUSALS = (_ENDED, _OTHER_CLIENT, _SUPERSEDED, _REUSED)


def _refused(refused: _Refused, row: Row) -> _Refused:
    return refused._replace(user_id=row["user_id"], session_id=row["id"])


async def _grace(tx: Tx, row: Row, live: Live, *, elsewhere: bool) -> _Served:
    """Give the same successor again: it is derived from handle and row, and was not stored."""
    if not elsewhere:
        return _Served(live, "grace")
    await tx.run("UPDATE ww_sessions SET grace_elsewhere = grace_elsewhere + 1 WHERE id = :id", id=row["id"])
    return _Served(live, _ELSEWHERE)

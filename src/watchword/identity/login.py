"""The log-in pipeline: the only place where a proof becomes a session.

Every factor comes through here, so none can forget the limits, the version check or the audit record. What a failure
was (unknown user, wrong password, disabled) is known to the audit trail alone: the answer, the queries and the time
are the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec

from watchword.clock import Clock
from watchword.errors import TooManyAttempts, Unauthenticated
from watchword.identity import audit, identifiers
from watchword.identity.audit import Client
from watchword.identity.identifiers import Identifier
from watchword.identity.revocation import Published, Revocations
from watchword.identity.roles import granted
from watchword.identity.sessions.row import Live
from watchword.identity.sessions.sessions import Opening, Sessions, Tokens, record_ends, require_live
from watchword.identity.throttle import Attempt, Throttle, log_in_takes, session_takes
from watchword.identity.users import User, Users
from watchword.storage.database import Database, Tx
from watchword.tally import Log, Sample
from watchword.tokens.claims import AccessClaims

_SEEN = """
UPDATE ww_users SET last_login_at = :now
WHERE id = :id AND disabled_at IS NULL AND token_version = :seen
RETURNING token_version, roles
"""


class Candidate(NamedTuple):
    """Who is trying: what a factor checks against. `token_version` is as it was when the attempt began."""

    user: User
    password_hash: str | None

    @property
    def allowed(self) -> bool:
        """Whether any proof could be enough. A factor does its whole work even when not."""
        return self.user.disabled_at is None


class Proof(NamedTuple):
    """What a factor answers when it is satisfied.

    :param method: RFC 8176 name of what was proven (`pwd`).
    :param upgrade: a stronger hash to keep in place of the one that was checked, if the stored one is weaker.
    """

    method: str
    upgrade: str | None = None


Prove = Callable[[Candidate | None], Awaitable[Proof | None]]


class LoggedIn(NamedTuple):
    """A finished log-in."""

    user: User
    tokens: Tokens


class LogIn:
    """The pipeline."""

    def __init__(
        self,
        database: Database,
        users: Users,
        sessions: Sessions,
        throttle: Throttle,
        revocations: Revocations,
        clock: Clock,
    ) -> None:
        self._database = database
        self._users = users
        self._sessions = sessions
        self._throttle = throttle
        self._revocations = revocations
        self._clock = clock
        self._failures = Sample(Log("watchword.login"), "log_in_failed")

    async def attempt(
        self, typed: str, prove: Prove, *, client: Client, client_id: str, replacing: str | None = None
    ) -> LoggedIn:
        """Try to log in as the user that `typed` names.

        :param prove: the factor; called once, also for no one (None).
        :param replacing: a refresh token that came with the request; the session behind it ends, if this succeeds.
        :raises Unauthenticated: `invalid_credentials`, whatever the cause.
        :raises TooManyAttempts: before the factor has done any work.
        """
        identifier = identifiers.typed(typed)
        candidate = await self._candidate(identifier)
        # One account has one counter, by whichever of its names it is tried.
        account = candidate.user.id if candidate is not None else identifier.key
        takes, user = log_in_takes(client.address, account), None if candidate is None else candidate.user.id

        async def work(attempt: Attempt) -> LoggedIn:
            proven, proof = await self._proven("log_in", candidate, prove, attempt, client)
            async with self._counted(proven, attempt, client):
                live = await self._open(proven, proof, client, client_id, replacing)
            if live is None:
                attempt.succeeded = False  # what was shown is no longer a proof
                raise _refused()
            return self._logged_in(proven.user, live)

        return await self._throttle.run(work, *takes, client=client, user=user)

    async def confirm(self, user_id: str, prove: Prove, *, client: Client) -> Candidate:
        """Ask a logged-in user for a factor again, under the limits of a log-in; no session comes of it.

        Raises `Unauthenticated` (`invalid_credentials`), `TooManyAttempts`.
        """

        async def work(attempt: Attempt) -> Candidate:
            candidate = await self._candidate(Identifier("id", user_id, user_id))
            proven, _ = await self._proven("confirm", candidate, prove, attempt, client)
            async with self._counted(proven, attempt, client):
                return proven

        return await self._throttle.run(work, *log_in_takes(client.address, user_id), client=client, user=user_id)

    async def _proven(
        self, event: str, candidate: Candidate | None, prove: Prove, attempt: Attempt, client: Client
    ) -> tuple[Candidate, Proof]:
        """Ask for the factor, and decide whether this attempt counts. Raises `Unauthenticated`."""
        proof = await prove(candidate)
        attempt.succeeded = proof is not None and candidate is not None
        if proof is None or candidate is None:
            self._failures.add(
                during=event, reason=_reason(candidate), address=client.address, request_id=client.request_id
            )
            await self._failed(event, candidate, client)
            raise _refused()
        return candidate, proof

    @asynccontextmanager
    async def _counted(self, candidate: Candidate, attempt: Attempt, client: Client) -> AsyncIterator[None]:
        """Limit what a right proof leads to as well: it is hashed for, and stored, each time.

        Asked after the proof, so that a full limit tells nothing to those who do not have it. An attempt that meets a
        full one counts, so that going on all the same uses up the limits of attempts. Raises `TooManyAttempts`.
        """
        user = candidate.user.id
        try:
            async with self._throttle.attempt(
                *session_takes(client.address, user), client=client, user=user
            ) as opening:
                yield
                opening.counts = True
        except TooManyAttempts:
            attempt.succeeded = False
            raise

    async def _candidate(self, identifier: Identifier) -> Candidate | None:
        column = "id" if identifier.kind == "id" else f"{identifier.kind}_key"
        row = await self._database.one(
            "SELECT id, username, email, email_verified_at, roles, token_version, created_at, updated_at,"
            f" last_login_at, disabled_at, password_hash FROM ww_users WHERE {column} = :key",
            key=identifier.key,
        )
        return None if row is None else Candidate(User.of(row), row["password_hash"])

    async def _failed(self, event: str, candidate: Candidate | None, client: Client) -> None:
        user = None if candidate is None else candidate.user.id
        now = self._clock.now()

        async def unit(tx: Tx) -> None:
            await audit.record(tx, event, at=now, client=client, outcome="refused", user=user)

        await self._database.transact(unit)

    async def _open(
        self, candidate: Candidate, proof: Proof, client: Client, client_id: str, replacing: str | None
    ) -> Live | None:
        """One transaction: the user is still who was checked, then the session.

        A log-in whose check waited in a queue while the password was reset, or the user disabled, yields nothing but
        the record of its refusal: None, since raising would undo that.
        """
        user = candidate.user
        now = self._clock.now()
        replaced = None if replacing is None else self._sessions.session_handle(replacing)
        opening = Opening(user.id, client_id, "", (proof.method,), client)

        async def unit(tx: Tx) -> tuple[Live | None, Published]:
            seen = await tx.one(_SEEN, id=user.id, now=now, seen=user.token_version)
            if seen is None:
                await audit.record(tx, "log_in", at=now, client=client, outcome="refused", user=user.id)
                return None, ()
            if proof.upgrade is not None:
                await _upgrade(tx, candidate, proof.upgrade)
            live = await self._sessions.open(
                tx, opening, version=seen["token_version"], roles=granted(seen["roles"]), now=now
            )
            entries = await self._sessions.end_surplus(tx, user.id, now)
            await record_ends(tx, "session_ended", entries, client=client, now=now, reason="too_many")
            if replaced is not None:
                ended = await self._sessions.end_by_handle(tx, replaced, reason="replaced", now=now)
                await record_ends(tx, "session_ended", ended, client=client, now=now, reason="replaced")
                entries += ended
            await audit.record(
                tx, "log_in", at=now, client=client, actor=user.id, user=user.id, session=live.grant.session_id
            )
            return live, entries

        return await self._revocations.commit(unit)

    async def change_password(
        self, caller: AccessClaims, candidate: Candidate, password_hash: str, *, client: Client, client_id: str
    ) -> LoggedIn:
        """Set a new password, end every session, and open a new one for the caller: one transaction.

        Raises `Unauthenticated` when the caller's session ended, or the user changed, meanwhile.
        """
        user = candidate.user
        now = self._clock.now()
        opening = Opening(user.id, client_id, "", ("pwd",), client)

        async def unit(tx: Tx) -> tuple[Live, Published]:
            await require_live(tx, caller, now)
            seen = await tx.one(_SEEN, id=user.id, now=now, seen=user.token_version)
            if seen is None:
                raise _refused()
            entries = await self._users.set_password(tx, user.id, password_hash, now=now, reason="password_changed")
            live = await self._sessions.open(
                tx, opening, version=seen["token_version"] + 1, roles=granted(seen["roles"]), now=now
            )
            await audit.record(
                tx,
                "password_changed",
                at=now,
                client=client,
                actor=user.id,
                user=user.id,
                session=live.grant.session_id,
            )
            return live, entries

        return self._logged_in(user, await self._revocations.commit(unit))

    def _logged_in(self, user: User, live: Live) -> LoggedIn:
        seen = msgspec.structs.replace(user, last_login_at=live.grant.auth_time)
        return LoggedIn(seen, self._sessions.tokens(live))


async def _upgrade(tx: Tx, candidate: Candidate, password_hash: str) -> None:
    """Replace a weaker hash, unless someone else just did. Not a change of credential: the password is the same."""
    await tx.run(
        "UPDATE ww_users SET password_hash = :new WHERE id = :id AND password_hash = :old",
        id=candidate.user.id,
        new=password_hash,
        old=candidate.password_hash,
    )


def _reason(candidate: Candidate | None) -> str:
    """Why a proof was not enough; for the log, never for the answer."""
    if candidate is None:
        return "unknown_user"
    return "wrong_password" if candidate.allowed else "user_disabled"


def _refused() -> Unauthenticated:
    return Unauthenticated("The username, e-mail address or password is wrong.", code="invalid_credentials")

"""The log-in pipeline: the only place where a proof becomes a session.

Every factor comes through here, so none can forget the limits, the version check or the audit record. The pipeline
knows nothing of any factor: what one checks, what it is called and what it says are its own. What a failure was
(unknown user, wrong proof, disabled) is known to the log and the audit trail alone: the answer, the queries and the
time are the same.
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
from watchword.identity.user_row import COLUMNS, User
from watchword.storage.database import Database, Tx, Unit
from watchword.tally import Log, Sample
from watchword.tokens.claims import AccessClaims

_SEEN = """
UPDATE ww_users SET last_login_at = :now
WHERE id = :id AND disabled_at IS NULL AND token_version = :seen
RETURNING token_version, roles
"""


class Candidate(NamedTuple):
    """Who is trying. `token_version` is as it was when the attempt began: what a factor reads later is not older."""

    user: User

    @property
    def allowed(self) -> bool:
        """Whether any proof could be enough. A factor does its whole work even when not."""
        return self.user.disabled_at is None


class Proof(NamedTuple):
    """What a factor answers when it is satisfied.

    :param method: RFC 8176 name of what was proven, for the claim `amr`.
    :param also: what the factor wants done in the log-in's own transaction, such as storing a better hash. It is run
        once the user is known to be the one who was checked, and undone with the log-in.
    """

    method: str
    also: Unit[None] | None = None


Prove = Callable[[Candidate | None], Awaitable[Proof | None]]


class Factor(NamedTuple):
    """One factor, ready to be asked about one attempt.

    :param prove: called once, also for no one (None); does the same work whether or not it can succeed.
    :param refusal: the sentence that answers every failure alike.
    :param wrong: the log's word for a proof that is not right.
    """

    prove: Prove
    refusal: str = "This is not enough to log in."
    wrong: str = "wrong_proof"


class Confirmed(NamedTuple):
    """A logged-in user who has been asked for a factor again, and what it proved."""

    user: User
    proof: Proof
    refusal: str


Change = Callable[[Tx, int], Awaitable[Published]]
"""Changes a credential in a unit, at a time: raises the version by one, ends all sessions, returns what to publish."""


class LoggedIn(NamedTuple):
    """A finished log-in."""

    user: User
    tokens: Tokens


class LogIn:
    """The pipeline."""

    def __init__(
        self,
        database: Database,
        sessions: Sessions,
        throttle: Throttle,
        revocations: Revocations,
        clock: Clock,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._throttle = throttle
        self._revocations = revocations
        self._clock = clock
        self._failures = Sample(Log("watchword.login"), "log_in_failed")

    async def attempt(
        self, typed: str, factor: Factor, *, client: Client, client_id: str, replacing: str | None = None
    ) -> LoggedIn:
        """Try to log in as the user that `typed` names.

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
            proven, proof = await self._proven("log_in", candidate, factor, attempt, client)
            async with self._counted(proven, attempt, client):
                live = await self._open(proven, proof, client, client_id, replacing)
            if live is None:
                attempt.succeeded = False  # what was shown is no longer a proof
                raise Unauthenticated(factor.refusal)
            return self._logged_in(proven.user, live)

        return await self._throttle.run(work, *takes, client=client, user=user)

    async def confirm(self, user_id: str, factor: Factor, *, client: Client) -> Confirmed:
        """Ask a logged-in user for a factor again, under the limits of a log-in; no session comes of it.

        Raises `Unauthenticated` (`invalid_credentials`), `TooManyAttempts`.
        """

        async def work(attempt: Attempt) -> Confirmed:
            candidate = await self._candidate(Identifier("id", user_id, user_id))
            proven, proof = await self._proven("confirm", candidate, factor, attempt, client)
            async with self._counted(proven, attempt, client):
                return Confirmed(proven.user, proof, factor.refusal)

        return await self._throttle.run(work, *log_in_takes(client.address, user_id), client=client, user=user_id)

    async def _proven(
        self, event: str, candidate: Candidate | None, factor: Factor, attempt: Attempt, client: Client
    ) -> tuple[Candidate, Proof]:
        """Ask for the factor, and decide whether this attempt counts. Raises `Unauthenticated`."""
        proof = await factor.prove(candidate)
        attempt.succeeded = proof is not None and candidate is not None
        if proof is None or candidate is None:
            self._failures.add(
                during=event, reason=_reason(candidate, factor), address=client.address, request_id=client.request_id
            )
            await self._failed(event, candidate, client)
            raise Unauthenticated(factor.refusal)
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
        row = await self._database.one(f"SELECT {COLUMNS} FROM ww_users WHERE {column} = :key", key=identifier.key)
        return None if row is None else Candidate(User.of(row))

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
            if proof.also is not None:
                await proof.also(tx)
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

    async def renew(
        self, caller: AccessClaims, confirmed: Confirmed, change: Change, *, event: str, client: Client, client_id: str
    ) -> LoggedIn:
        """Change a credential, which ends every session, and open a new one for the caller: one transaction.

        Raises `Unauthenticated` when the caller's session ended, or the user changed, meanwhile.
        """
        user = confirmed.user
        now = self._clock.now()
        opening = Opening(user.id, client_id, "", (confirmed.proof.method,), client)

        async def unit(tx: Tx) -> tuple[Live, Published]:
            await require_live(tx, caller, now)
            seen = await tx.one(_SEEN, id=user.id, now=now, seen=user.token_version)
            if seen is None:
                raise Unauthenticated(confirmed.refusal)
            entries = await change(tx, now)
            live = await self._sessions.open(
                tx, opening, version=seen["token_version"] + 1, roles=granted(seen["roles"]), now=now
            )
            await audit.record(
                tx,
                event,
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


def _reason(candidate: Candidate | None, factor: Factor) -> str:
    """Why a proof was not enough; for the log, never for the answer."""
    if candidate is None:
        return "unknown_user"
    return factor.wrong if candidate.allowed else "user_disabled"

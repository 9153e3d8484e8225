"""Turn a proof into a session: the only place that does.

No factor can skip the limits, the version check or the audit record. Only log and audit trail tell why a log-in failed:
answer, queries and time are the same for an unknown user, a wrong proof and a disabled account.
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
from watchword.identity.pending import PendingLogIns
from watchword.identity.revocation import Published, Revocations
from watchword.identity.roles import granted
from watchword.identity.sessions.row import Live
from watchword.identity.sessions.sessions import Opening, Sessions, Tokens, record_ends, require_live
from watchword.identity.throttle import Attempt, Throttle, takes_of
from watchword.identity.user_row import COLUMNS, User
from watchword.storage.database import Database, Tx, Unit
from watchword.storage.ephemeral import Ephemeral
from watchword.tally import Log, Sample
from watchword.tokens.claims import AccessClaims

_SEEN = """
UPDATE ww_users SET last_login_at = :now
WHERE id = :id AND disabled_at IS NULL AND token_version = :seen
RETURNING token_version, roles
"""
_UNCHANGED = "SELECT id FROM ww_users WHERE id = :id AND disabled_at IS NULL AND token_version = :seen"


class Candidate(NamedTuple):
    """A user who tries to log in. `token_version` is read first: nothing a factor reads is older."""

    user: User

    @property
    def allowed(self) -> bool:
        """Tell whether a proof can succeed. A factor does its whole work anyway."""
        return self.user.disabled_at is None


class Proof(NamedTuple):
    """What a satisfied factor returns.

    :param method: RFC 8176 name, for `amr`.
    :param also: work inside the log-in's transaction, such as storing a better hash.
    """

    method: str
    also: Unit[None] | None = None


Prove = Callable[[Candidate | None], Awaitable[Proof | None]]


class Factor(NamedTuple):
    """One factor for one attempt.

    :param prove: called once, with None for an unknown user; does the same work in any case.
    :param refusal: the answer to every failure.
    :param wrong: the log's word for a wrong proof.
    """

    prove: Prove
    refusal: str = "This is not enough to log in."
    wrong: str = "wrong_proof"


class SecondFactor(NamedTuple):
    """A factor that some users must pass after another.

    :param needed: whether a user must pass it. Enrolling or removing one raises the user's version.
    """

    method: str
    needed: Callable[[User], Awaitable[bool]]


class SecondFactorNeeded(Unauthenticated):
    """The first proof was right; `LogIn.complete` needs a second.

    A caller that knows no second factor refuses it as `Unauthenticated`.

    :param handle: opens one session at most, within five minutes and five tries, for the same client.
    :param wanted: the methods, one of which must follow.
    """

    def __init__(self, message: str, *, handle: str, wanted: tuple[str, ...]) -> None:
        super().__init__(message)
        self.handle = handle
        self.wanted = wanted


class Confirmed(NamedTuple):
    """A logged-in user who passed a factor again."""

    user: User
    proof: Proof
    refusal: str


Change = Callable[[Tx, int], Awaitable[Published]]
"""Changes a credential in a unit, at a time: raises the version, ends all sessions, returns what to publish."""


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
        ephemeral: Ephemeral,
        clock: Clock,
        second_factors: tuple[SecondFactor, ...] = (),
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._throttle = throttle
        self._revocations = revocations
        self._clock = clock
        self._pending = PendingLogIns(ephemeral, clock)
        self._second_factors = second_factors
        self._failures = Sample(Log("watchword.login"), "log_in_failed")

    async def attempt(
        self, typed: str, factor: Factor, *, client: Client, client_id: str, replacing: str | None = None
    ) -> LoggedIn:
        """Log in the user that `typed` names.

        :param replacing: a refresh token; a successful log-in ends its session.
        :raises Unauthenticated: `invalid_credentials`, whatever the cause.
        :raises SecondFactorNeeded: the proof was right.
        :raises TooManyAttempts: before the factor does any work.
        """
        identifier = identifiers.typed(typed)
        candidate = await self._candidate(identifier)
        # All names of an account share one counter.
        account = candidate.user.id if candidate is not None else identifier.key
        takes, user = takes_of("login", client.address, account), None if candidate is None else candidate.user.id

        async def work(attempt: Attempt) -> LoggedIn:
            proven, proof = await self._proven("log_in", candidate, factor, attempt, client)
            wanted = tuple([each.method for each in self._second_factors if await each.needed(proven.user)])
            live = handle = None
            async with self._counted(proven, attempt, client):
                if wanted:
                    handle = await self._wait(proven, proof, wanted, client, client_id)
                else:
                    live = await self._open(proven, proof, (proof.method,), client, client_id, replacing)
            if handle is not None:
                raise SecondFactorNeeded(factor.refusal, handle=handle, wanted=wanted)
            return self._opened(proven, live, factor, attempt)

        return await self._throttle.run(work, *takes, client=client, user=user)

    async def complete(
        self, handle: str, factor: Factor, *, client: Client, client_id: str, replacing: str | None = None
    ) -> LoggedIn:
        """Log in with a second factor, under the limits of `attempt`.

        A handle opens one session at most. A wrong proof uses up a try. A changed user is refused.

        :raises Unauthenticated: also for a handle that is unknown, used, expired or another client's.
        """
        found = await self._pending.find(handle)
        if found is None or found.client_id != client_id:
            self._failures.add(
                during="log_in", reason="nothing_pending", address=client.address, request_id=client.request_id
            )
            raise Unauthenticated(factor.refusal)

        async def work(attempt: Attempt) -> LoggedIn:
            pending = await self._pending.take(handle)
            if pending is None:
                attempt.counts = False  # another request took it: nothing was guessed
                raise Unauthenticated(factor.refusal)
            candidate = await self._candidate(Identifier("id", pending.user_id, pending.user_id))
            if candidate is None or not candidate.allowed or candidate.user.token_version != pending.version:
                await self._failed("log_in", candidate, client)
                raise Unauthenticated(factor.refusal)
            try:
                proven, proof = await self._proven("log_in", candidate, factor, attempt, client)
            except Exception:
                await self._pending.give_back(handle, pending)
                raise
            if proof.method not in pending.wanted:
                raise RuntimeError(f"{proof.method} is none of the second factors that were asked for")
            amr = (pending.method, proof.method, "mfa")
            return self._opened(
                proven, await self._open(proven, proof, amr, client, client_id, replacing), factor, attempt
            )

        takes = takes_of("login", client.address, found.user_id)
        return await self._throttle.run(work, *takes, client=client, user=found.user_id)

    def _opened(self, candidate: Candidate, live: Live | None, factor: Factor, attempt: Attempt) -> LoggedIn:
        if live is None:
            attempt.succeeded = False  # the user changed: the proof no longer counts
            raise Unauthenticated(factor.refusal)
        return self._logged_in(candidate.user, live)

    async def _wait(
        self, candidate: Candidate, proof: Proof, wanted: tuple[str, ...], client: Client, client_id: str
    ) -> str | None:
        """Keep what was proven, and return its handle; None for a changed user."""
        user, now = candidate.user, self._clock.now()

        async def unit(tx: Tx) -> bool:
            if await tx.one(_UNCHANGED, id=user.id, seen=user.token_version) is None:
                await audit.record(tx, "log_in", at=now, client=client, outcome="refused", user=user.id)
                return False
            if proof.also is not None:
                await proof.also(tx)
            await audit.record(tx, "log_in_pending", at=now, client=client, user=user.id)
            return True

        if not await self._database.transact(unit):
            return None
        return await self._pending.begin(
            user_id=user.id, version=user.token_version, client_id=client_id, method=proof.method, wanted=wanted
        )

    async def confirm(self, user_id: str, factor: Factor, *, client: Client) -> Confirmed:
        """Ask a logged-in user for a factor again, under the limits of a log-in.

        Raises `Unauthenticated` (`invalid_credentials`), `TooManyAttempts`.
        """

        async def work(attempt: Attempt) -> Confirmed:
            candidate = await self._candidate(Identifier("id", user_id, user_id))
            proven, proof = await self._proven("confirm", candidate, factor, attempt, client)
            async with self._counted(proven, attempt, client):
                return Confirmed(proven.user, proof, factor.refusal)

        return await self._throttle.run(work, *takes_of("login", client.address, user_id), client=client, user=user_id)

    async def _proven(
        self, event: str, candidate: Candidate | None, factor: Factor, attempt: Attempt, client: Client
    ) -> tuple[Candidate, Proof]:
        """Ask for the factor. Raises `Unauthenticated`."""
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
        """Limit successes too: each costs a hash and a row.

        Asked after the proof, the limit tells nothing to anyone without one. A full limit makes the attempt count as
        failed.
        Raises `TooManyAttempts`.
        """
        user = candidate.user.id
        try:
            async with self._throttle.attempt(
                *takes_of("session", client.address, user), client=client, user=user
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
        self,
        candidate: Candidate,
        proof: Proof,
        amr: tuple[str, ...],
        client: Client,
        client_id: str,
        replacing: str | None,
    ) -> Live | None:
        """Open a session; for a user changed since the check, record the refusal and return None.

        The check may have waited while the password was reset. Raising would undo the record.
        """
        user = candidate.user
        now = self._clock.now()
        replaced = None if replacing is None else self._sessions.session_handle(replacing)
        opening = Opening(user.id, client_id, "", amr, client)

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
        """Change a credential, which ends every session, and open a new session, in one transaction.

        Raises `Unauthenticated` when the caller's session has ended or the user has changed.
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
    """Return the log's reason, never sent."""
    if candidate is None:
        return "unknown_user"
    return factor.wrong if candidate.allowed else "user_disabled"

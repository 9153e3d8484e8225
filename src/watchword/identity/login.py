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
from watchword.errors import Forbidden, Refused, TooManyAttempts, Unauthenticated
from watchword.identity import audit, identifiers
from watchword.identity.audit import Client
from watchword.identity.factors import Candidate, Confirmed, Factor, Proof, SecondFactor, reason_of
from watchword.identity.failures import Failures
from watchword.identity.identifiers import Identifier
from watchword.identity.known_devices import KnownDevices
from watchword.identity.notices import Notices
from watchword.identity.pending import Pending, PendingLogIns
from watchword.identity.pending import SecondFactorNeeded as SecondFactorNeeded  # noqa: PLC0414 - re-exported
from watchword.identity.results import counted
from watchword.identity.revocation import Published, Revocations
from watchword.identity.rights import EVERYTHING, Asked, listed
from watchword.identity.roles import granted
from watchword.identity.sessions.holding import Holder
from watchword.identity.sessions.row import Live
from watchword.identity.sessions.sessions import Opening, Sessions, Tokens, record_ends, require_live
from watchword.identity.takes import Take, takes_of
from watchword.identity.throttle import Attempt, Throttle
from watchword.identity.user_row import LOOK_UP, User
from watchword.meters import LOG_INS, UNMETERED, Meters
from watchword.settings.claims import FIELDS
from watchword.storage.database import Database, Tx
from watchword.storage.ephemeral import Ephemeral

_SEEN = f"""
UPDATE ww_users SET last_login_at = :now
WHERE id = :id AND disabled_at IS NULL AND token_version = :seen
RETURNING token_version, roles, (SELECT ww_rights.version FROM ww_rights WHERE ww_rights.id = 1) AS rights,
    {", ".join(FIELDS)}
"""
_GIVEN = "SELECT scope, api FROM ww_sessions WHERE id = :id"
_UNCHANGED = "SELECT id FROM ww_users WHERE id = :id AND disabled_at IS NULL AND token_version = :seen"


Change = Callable[[Tx, int], Awaitable[Published]]
"""Changes a credential in a unit, at a time: raises the version, ends all sessions, returns what to publish."""


class _Door(NamedTuple):
    client: Client
    client_id: str
    replacing: str | None
    asked: Asked


class LoggedIn(NamedTuple):
    """A finished log-in. `version` is the user's after it."""

    user: User
    tokens: Tokens
    version: int


class LogIn:
    """The pipeline. `needs_verified` refuses unconfirmed e-mail addresses, after the right proof only."""

    def __init__(
        self,
        database: Database,
        sessions: Sessions,
        throttle: Throttle,
        revocations: Revocations,
        ephemeral: Ephemeral,
        clock: Clock,
        notices: Notices,
        known_devices: KnownDevices,
        second_factors: tuple[SecondFactor, ...] = (),
        *,
        needs_verified: bool = False,
        meters: Meters = UNMETERED,
    ) -> None:
        self._meters = meters
        self._notices = notices
        self._known_devices = known_devices
        self._needs_verified = needs_verified
        self._database = database
        self._sessions = sessions
        self._rights = sessions.rights
        self._throttle = throttle
        self._revocations = revocations
        self._clock = clock
        self._pending = PendingLogIns(ephemeral, clock)
        self._second_factors = second_factors
        self._failures = Failures(database, clock)

    async def attempt(
        self,
        typed: str | Identifier,
        factor: Factor,
        *,
        client: Client,
        client_id: str,
        replacing: str | None = None,
        device: str | None = None,
        asked: Asked = EVERYTHING,
    ) -> LoggedIn:
        """Log in the user that `typed` names.

        :param typed: what a person typed, or an identifier that is looked up as what it is.
        :param replacing: a refresh token; a successful log-in ends its session.
        :param device: the device cookie: a known device has limits of its own.
        :param asked: what the session is limited to. What the user does not have is left out.
        :raises Unauthenticated: `invalid_credentials`, whatever the cause.
        :raises Refused: `invalid_scope`: the user has nothing of what is asked for; the proof was right.
        :raises SecondFactorNeeded: the proof was right.
        :raises Forbidden: `email_unverified`; the proof was right.
        :raises TooManyAttempts: before the factor does any work.
        """
        identifier = identifiers.typed(typed) if isinstance(typed, str) else typed
        candidate = await self._candidate(identifier)
        user = None if candidate is None else candidate.user.id
        takes = self._takes(candidate, identifier.key, factor, client, device)
        door = _Door(client, client_id, replacing, asked)

        async def work(attempt: Attempt) -> LoggedIn:
            proven, proof = await self._proven("log_in", candidate, factor, attempt, client)
            await self._require_verified(proven, proof, factor, attempt, client)
            await self._require_scopes(proven, factor, attempt, door)
            wanted = tuple([each.method for each in self._second_factors if await each.needed(proven.user)])
            if wanted:
                # Half a log-in counts, or a stolen password alone would buy handles, and guesses with them.
                attempt.succeeded = False
                handle = await self._wait(proven, proof, factor, wanted, door)
                if handle is None:
                    raise Unauthenticated(factor.refusal)
                raise SecondFactorNeeded(factor.refusal, handle=handle, wanted=wanted)
            async with self._counted(proven, factor, attempt, client):
                live = await self._open(proven, proof, factor, (proof.method,), door)
            return await self._opened(proven, live, factor, attempt)

        with counted(self._meters, LOG_INS):
            return await self._throttle.run(work, *takes, client=client, user=user)

    def _takes(
        self, candidate: Candidate | None, typed: str, factor: Factor, client: Client, device: str | None
    ) -> tuple[Take, ...]:
        """Return what the attempt counts against. All names of an account share its counters."""
        account, version = (typed, -1) if candidate is None else (candidate.user.id, candidate.user.token_version)
        if factor.handle is not None:
            return takes_of("code", client.address, account or factor.handle, handle=factor.handle)
        known = self._known_devices.recognise(device, account, version)
        return takes_of("login", client.address, account, device=known)

    async def complete(
        self,
        handle: str,
        factor: Factor,
        *,
        client: Client,
        client_id: str,
        replacing: str | None = None,
        device: str | None = None,
    ) -> LoggedIn:
        """Log in with a second factor, under the limits of `attempt` and one of its own.

        A handle opens one session at most. A wrong proof uses up a try; a fault of ours does not. A changed user is
        refused.

        :raises Unauthenticated: also for a handle that is unknown, used, expired or another client's.
        """
        found = await self._pending.find(handle)
        if found is None or found.client_id != client_id:
            self._meters.count(LOG_INS, "refused")
            self._failures.log("log_in", "nothing_pending", client)
            raise Unauthenticated(factor.refusal)

        door = _Door(client, client_id, replacing, found.asked)

        async def work(attempt: Attempt) -> LoggedIn:
            pending = await self._pending.take(handle)
            if pending is None:
                attempt.counts = False  # another request took it: nothing was guessed
                raise Unauthenticated(factor.refusal)
            async with self._keeping(handle, pending):
                candidate = await self._candidate(Identifier("id", pending.user_id, pending.user_id))
            if candidate is None or not candidate.allowed or candidate.user.token_version != pending.version:
                await self._failures.record("log_in", candidate, factor, client)
                raise Unauthenticated(factor.refusal)
            async with self._keeping(handle, pending):
                proven, proof = await self._proven("log_in", candidate, factor, attempt, client)
            if proof.method not in pending.wanted:
                raise RuntimeError(f"{proof.method} is none of the second factors that were asked for")
            amr = (pending.method, proof.method, "mfa")
            async with self._keeping(handle, pending), self._counted(proven, factor, attempt, client):
                live = await self._open(proven, proof, factor, amr, door._replace(asked=pending.asked))
            return await self._opened(proven, live, factor, attempt)

        known = self._known_devices.recognise(device, found.user_id, found.version)
        takes = [
            *takes_of("login", client.address, found.user_id, device=known),
            *takes_of("second_factor", client.address, found.user_id),
        ]
        with counted(self._meters, LOG_INS):
            return await self._throttle.run(work, *takes, client=client, user=found.user_id)

    @asynccontextmanager
    async def _keeping(self, handle: str, pending: Pending) -> AsyncIterator[None]:
        """Keep the handle for another try where this fails."""
        try:
            yield
        except Exception as error:
            await self._pending.give_back(handle, pending, used=isinstance(error, Unauthenticated))
            raise

    async def _opened(self, candidate: Candidate, live: Live | None, factor: Factor, attempt: Attempt) -> LoggedIn:
        if live is None:
            attempt.succeeded = False  # the user changed: the proof no longer counts
            raise Unauthenticated(factor.refusal)
        return await self._logged_in(candidate.user, live)

    async def _wait(
        self, candidate: Candidate, proof: Proof, factor: Factor, wanted: tuple[str, ...], door: _Door
    ) -> str | None:
        """Keep what was proven, and return its handle; None for a changed user."""
        user, client, now = candidate.user, door.client, self._clock.now()

        async def unit(tx: Tx) -> bool:
            if await tx.one(_UNCHANGED, id=user.id, seen=user.token_version) is None:
                await self._failures.overtaken(tx, user, factor, client, now)
                return False
            if proof.also is not None:
                await proof.also(tx)
            await audit.record(tx, "log_in_pending", at=now, client=client, user=user.id, detail=factor.detail)
            return True

        if not await self._database.transact(unit):
            return None
        return await self._pending.begin(
            user_id=user.id,
            version=user.token_version,
            client_id=door.client_id,
            method=proof.method,
            wanted=wanted,
            asked=door.asked,
        )

    async def confirm(self, user_id: str, factor: Factor, *, client: Client, device: str | None = None) -> Confirmed:
        """Ask a logged-in user for a factor again, under the limits of a log-in.

        :param device: the device cookie, as at a log-in.
        :raises Unauthenticated: `invalid_credentials`.
        :raises TooManyAttempts: before the factor does any work.
        """
        candidate = await self._candidate(Identifier("id", user_id, user_id))

        async def work(attempt: Attempt) -> Confirmed:
            proven, proof = await self._proven("confirm", candidate, factor, attempt, client)
            async with self._counted(proven, factor, attempt, client):
                return Confirmed(proven.user, proof, factor.refusal)

        takes = self._takes(candidate, user_id, factor, client, device)
        return await self._throttle.run(work, *takes, client=client, user=user_id)

    async def _proven(
        self, event: str, candidate: Candidate | None, factor: Factor, attempt: Attempt, client: Client
    ) -> tuple[Candidate, Proof]:
        """Ask for the factor. Raises `Unauthenticated`."""
        proof = await factor.prove(candidate)
        attempt.succeeded = proof is not None and candidate is not None
        if proof is None or candidate is None:
            self._failures.log(event, reason_of(candidate, factor), client)
            await self._failures.record(event, candidate, factor, client)
            raise Unauthenticated(factor.refusal)
        return candidate, proof

    async def _require_verified(
        self, candidate: Candidate, proof: Proof, factor: Factor, attempt: Attempt, client: Client
    ) -> None:
        """Refuse an unconfirmed address. It counts as a failure: each costs a hash, and opens nothing."""
        if self._needs_verified and not proof.verifies and candidate.unverified:
            attempt.succeeded = False
            await self._failures.record("log_in", candidate, factor, client, outcome="unverified")
            raise Forbidden("The e-mail address of this account is not confirmed yet.", code="email_unverified")

    async def _require_scopes(self, candidate: Candidate, factor: Factor, attempt: Attempt, door: _Door) -> None:
        """Refuse a user who has nothing of what is asked for. It counts as a failure, as above."""
        asked = door.asked
        if asked.scopes is not None and not self._rights.limit(candidate.user.roles, asked):
            attempt.succeeded = False
            await self._failures.record("log_in", candidate, factor, door.client, outcome="no_scope")
            message = f"This account has none of the scopes that were asked for: {listed(asked.scopes)}."
            raise Refused(message, code="invalid_scope")

    @asynccontextmanager
    async def _counted(
        self, candidate: Candidate, factor: Factor, attempt: Attempt, client: Client
    ) -> AsyncIterator[None]:
        """Limit successes too: each costs a hash and a row.

        Asked after the proof, the limit tells nothing to anyone without one. A full limit makes the attempt count as
        failed.
        Raises `TooManyAttempts`.
        """
        user = candidate.user.id
        takes = [take for each in ("session", *factor.counted) for take in takes_of(each, client.address, user)]
        try:
            async with self._throttle.attempt(*takes, client=client, user=user) as opening:
                yield
                opening.counts = True
        except TooManyAttempts:
            attempt.succeeded = False
            raise

    async def _candidate(self, identifier: Identifier) -> Candidate | None:
        row = await self._database.one(LOOK_UP[identifier.kind], key=identifier.key)
        return None if row is None else Candidate(User.of(row))

    async def _open(
        self, candidate: Candidate, proof: Proof, factor: Factor, amr: tuple[str, ...], door: _Door
    ) -> Live | None:
        """Open a session; for a user changed since the check, record the refusal and return None.

        The check may have waited while the password was reset.
        """
        user, client, asked, now = candidate.user, door.client, door.asked, self._clock.now()
        replaced = None if door.replacing is None else self._sessions.session_handle(door.replacing)
        verifies = proof.verifies and user.email_verified_at is None

        async def unit(tx: Tx) -> tuple[Live | None, Published]:
            seen = await tx.one(_SEEN, id=user.id, now=now, seen=user.token_version)
            roles = () if seen is None else granted(seen["roles"])
            limit = self._rights.limit(roles, asked)
            # An empty limit would be none: what is asked for may have been taken away meanwhile.
            if seen is None or (asked.scopes is not None and not limit):
                await self._failures.overtaken(tx, user, factor, client, now)
                return None, ()
            if proof.also is not None:
                await proof.also(tx)
            opening = Opening(user.id, door.client_id, limit, asked.api, amr, client, None if proof.fresh else 0)
            live = await self._sessions.open(
                tx, opening, version=seen["token_version"], roles=roles, user=seen, now=now
            )
            await self._notices.device(tx, user, client, now=now)
            entries = await self._sessions.end_surplus(tx, user.id, now)
            await record_ends(tx, "session_ended", entries, client=client, now=now, reason="too_many")
            if replaced is not None:
                ended = await self._sessions.end_by_handle(tx, replaced, reason="replaced", now=now)
                await record_ends(tx, "session_ended", ended, client=client, now=now, reason="replaced")
                entries += ended
            await audit.record(
                tx,
                "log_in",
                at=now,
                client=client,
                actor=user.id,
                user=user.id,
                session=live.grant.session_id,
                detail={**(factor.detail or {}), **(audit.CONFIRMED if verifies else {})},
            )
            return live, entries

        return await self._revocations.commit(unit)

    async def renew(
        self, caller: Holder, confirmed: Confirmed, change: Change, *, event: str, client: Client, client_id: str
    ) -> LoggedIn:
        """Change a credential, which ends every session, and open a new session, in one transaction.

        Raises `Unauthenticated` when the caller's session has ended or the user has changed.
        """
        user = confirmed.user
        now = self._clock.now()

        async def unit(tx: Tx) -> tuple[Live, Published]:
            await require_live(tx, caller, now)
            seen = await tx.one(_SEEN, id=user.id, now=now, seen=user.token_version)
            if seen is None:
                raise Unauthenticated(confirmed.refusal)
            entries = await change(tx, now)
            given = await tx.one(_GIVEN, id=caller.sid)
            assert given is not None, "this unit has locked the session"
            # What the caller's session was limited to limits its successor.
            opening = Opening(user.id, client_id, given["scope"], given["api"], (confirmed.proof.method,), client)
            version, roles = seen["token_version"] + 1, granted(seen["roles"])
            live = await self._sessions.open(tx, opening, version=version, roles=roles, user=seen, now=now)
            session = live.grant.session_id
            await audit.record(tx, event, at=now, client=client, actor=user.id, user=user.id, session=session)
            return live, entries

        return await self._logged_in(user, await self._revocations.commit(unit))

    async def _logged_in(self, user: User, live: Live) -> LoggedIn:
        seen = msgspec.structs.replace(user, last_login_at=live.grant.issued_at)
        return LoggedIn(seen, await self._sessions.tokens(live), live.grant.version)

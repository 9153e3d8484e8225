"""Signing keys as rows. Each change is one transaction, done once across all processes.

`tokens.rotation` decides when. A key that stops signing loses its sealed private half: it cannot sign again.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

from watchword.clock import Clock
from watchword.errors import Conflict, NotFound, UniqueViolation
from watchword.identity import audit
from watchword.identity.audit import LOCAL, Client
from watchword.identity.keys.master import Master
from watchword.identity.revocation import Entry, Published, Revocations
from watchword.storage.database import Database, Row, Tx, Unit
from watchword.tokens.keys import SigningKey
from watchword.tokens.rotation import PUBLISHED, Change, KeyState, Make, Promote, Remove, Retire, Schedule, due

ABOUT = "signing key {}"
"""Binds a sealed private key to its row's `kid`."""

OF_THE_PUBLISHED = f"FROM ww_signing_keys WHERE status IN {PUBLISHED} ORDER BY created_at, kid"
_STATE = "kid, algorithm, status, created_at, activated_at, retired_at"
_MOST_ROUNDS = 4

_INSERT = """
INSERT INTO ww_signing_keys (kid, algorithm, status, public_jwk, sealed_private, created_at, activated_at)
VALUES (:kid, :algorithm, :status, :public, :sealed, :now, CAST(:activated AS BIGINT)) ON CONFLICT DO NOTHING
"""
_RETIRE = """
UPDATE ww_signing_keys SET status = 'retired', retired_at = :now, sealed_private = ''
WHERE kid = :kid AND status = 'active' RETURNING algorithm
"""
_PROMOTE = """
UPDATE ww_signing_keys SET status = 'active', activated_at = :now
WHERE kid = :kid AND status = 'next' RETURNING algorithm
"""
# A next key that never signed keeps its private half until here.
_REMOVE = """
UPDATE ww_signing_keys SET status = 'removed', sealed_private = ''
WHERE kid = :kid AND status = :status RETURNING algorithm
"""
_REVOKE = """
UPDATE ww_signing_keys SET status = 'revoked', revoked_at = :now, sealed_private = ''
WHERE kid = :kid AND status <> 'revoked' RETURNING algorithm, activated_at, retired_at
"""


class By(NamedTuple):
    """Who changes keys: the id of an administrator; None for a command and for the schedule."""

    client: Client
    actor: str | None = None


SERVICE = By(LOCAL)


class StoredKey(NamedTuple):
    """A key without its private half. Times are seconds since 1970 UTC."""

    state: KeyState
    revoked_at: int | None


HEARD_SECONDS = 3
"""Within these, a published key is known to every service that polls and every guard that follows the feed."""


class SealedKey(NamedTuple):
    """A key without a row yet."""

    kid: str
    algorithm: str
    public_jwk: str
    sealed_private: str


class Revoked(NamedTuple):
    """The keys revoked in an emergency, and those that now sign."""

    kids: tuple[str, ...]
    signing: tuple[str, ...]


class _Overtaken(Exception):
    """The keys have changed since they were read: the unit stores nothing."""


class KeyStore:
    """The signing keys of one database."""

    def __init__(self, database: Database, revocations: Revocations, master: Master, clock: Clock) -> None:
        self._database = database
        self._revocations = revocations
        self._master = master
        self._clock = clock

    async def published(self) -> list[KeyState]:
        """Return the next, active and retired keys, oldest first."""
        rows = await self._database.all(f"SELECT {_STATE} {OF_THE_PUBLISHED}")
        return [state_of(row) for row in rows]

    async def all(self) -> list[StoredKey]:
        """Return every key ever made, oldest first."""
        rows = await self._database.scan(f"SELECT {_STATE}, revoked_at FROM ww_signing_keys ORDER BY created_at, kid")
        return [StoredKey(state_of(row), row["revoked_at"]) for row in rows]

    async def follow(self, schedule: Schedule) -> bool:
        """Do what is due; tell whether anything was. Raises `StorageUnavailable`."""
        for turn in range(_MOST_ROUNDS):
            steps = due(await self.published(), self._clock.now(), schedule)
            if not steps:
                return turn > 0
            for step in steps:
                await self._do(step)
        return True

    async def _do(self, step: Change) -> None:
        """Do one step, if it is still due."""
        now = self._clock.now()
        match step:
            case Make(algorithm, status):
                key = await self._fresh(algorithm)
                await self._once(lambda tx: _make(tx, key, status, now, SERVICE))
            case Promote(kid, retiring):
                await self._once(lambda tx: _promote(tx, kid, retiring, now, SERVICE))
            case Retire(kid):
                await self._once(lambda tx: _retire(tx, kid, now, SERVICE))
            case Remove(kid, status):
                await self._once(lambda tx: _remove(tx, kid, status, now))

    async def _once(self, unit: Unit[None]) -> bool:
        try:
            await self._database.transact(unit)
        except (_Overtaken, UniqueViolation):
            return False
        return True

    async def make_active(self, algorithm: str) -> None:
        """Make or promote a key of an algorithm that has no active one."""
        steps = due(await self.published(), self._clock.now(), Schedule(algorithm, None))
        for step in steps:
            if isinstance(step, Make) and step.status == "next":
                continue  # this can wait until the service runs
            if isinstance(step, Make | Promote):
                await self._do(step)

    async def promote(
        self,
        active: KeyState,
        upcoming: KeyState | None,
        *,
        client: Client,
        actor: str | None = None,
        check: Unit[None],
    ) -> str:
        """Let the next key sign now, or else a new one; return its kid.

        A key that was published less than `HEARD_SECONDS` ago signs only then: services and guards learn of it first.

        :param actor: the administrator who does it; None for a command.
        :param check: awaited first, in each unit.
        Raises `Conflict` when the active or the next key has changed.
        """
        by = By(client, actor)
        known = None if upcoming is None else (upcoming.kid, upcoming.created_at)
        kid, published_at = known or await self._make_next(active, by, check)
        await asyncio.sleep(min(max(published_at + HEARD_SECONDS - self._clock.now(), 0), HEARD_SECONDS))

        async def unit(tx: Tx) -> None:
            await check(tx)
            await _promote(tx, kid, active.kid, self._clock.now(), by)

        if not await self._once(unit):
            raise Conflict("The keys were changed just now.")
        return kid

    async def _make_next(self, active: KeyState, by: By, check: Unit[None]) -> tuple[str, int]:
        """Make the next key; return its kid, and when."""
        key, now = await self._fresh(active.algorithm), self._clock.now()

        async def unit(tx: Tx) -> None:
            await check(tx)
            await _make(tx, key, "next", now, by)

        if not await self._once(unit):
            raise Conflict("The keys were changed just now.")
        return key.kid, now

    async def revoke(
        self,
        kids: tuple[str, ...] | None,
        *,
        client: Client,
        actor: str | None = None,
        check: Unit[None],
    ) -> Revoked:
        """Refuse keys for ever, and let others sign; no one is logged out. `actor` and `check` as in `promote`.

        :param kids: None for every published key.
        :raises NotFound: there is no such key.
        """
        spares = await self.spares()
        now = self._clock.now()

        async def unit(tx: Tx) -> tuple[Revoked, Published]:
            await check(tx)
            return await revoke_in(tx, kids, spares, now, client, actor)

        try:
            return await self._revocations.commit(unit)
        except (_Overtaken, UniqueViolation) as error:
            raise Conflict("The keys were changed just now.") from error

    async def spares(self) -> tuple[SealedKey, ...]:
        """Make a key for each signing algorithm, for `revoke_in` to use where there is no next key."""
        algorithms = sorted({key.algorithm for key in await self.published() if key.status == "active"})
        return tuple([await self._fresh(algorithm) for algorithm in algorithms])

    async def _fresh(self, algorithm: str) -> SealedKey:
        # In a thread: an RSA key takes a tenth of a second.
        return await asyncio.to_thread(fresh, algorithm, self._master)


def fresh(algorithm: str, master: Master) -> SealedKey:
    """Make a key, with its private half sealed."""
    key = SigningKey.generate(algorithm)
    while key.kid.startswith("-"):  # a leading "-" would read as an option of `watchword keys revoke`
        key = SigningKey.generate(algorithm)
    private = master.seal(msgspec.json.encode(key.to_private_jwk()), about=ABOUT.format(key.kid))
    return SealedKey(key.kid, algorithm, msgspec.json.encode(key.public_jwk()).decode(), private)


def state_of(row: Row) -> KeyState:
    """Read a row of `ww_signing_keys` with the columns of `KeyState`."""
    return KeyState(*(row[column] for column in KeyState._fields))


async def revoke_in(
    tx: Tx,
    kids: tuple[str, ...] | None,
    spares: tuple[SealedKey, ...],
    now: int,
    client: Client,
    actor: str | None = None,
) -> tuple[Revoked, list[Entry]]:
    """Revoke keys, in the caller's unit, and let others sign; return what to publish. Raises `NotFound`."""
    if kids is None:
        rows = await tx.all(f"SELECT kid {OF_THE_PUBLISHED}")
        kids = tuple(row["kid"] for row in rows)
    by, revoked = By(client, actor), list[str]()
    unmanned: set[str] = set()
    for kid in kids:
        row = await tx.one(_REVOKE, kid=kid, now=now)
        if row is None:
            await _must_exist(tx, kid)
            continue
        revoked.append(kid)
        if row["activated_at"] is not None and row["retired_at"] is None:
            unmanned.add(row["algorithm"])
        await _note(tx, "key_revoked", kid, row["algorithm"], now, by)
    signing = [await _replace(tx, algorithm, spares, now, by) for algorithm in sorted(unmanned)]
    entries = [Entry("key", kid, None, None) for kid in revoked]
    return Revoked(tuple(revoked), tuple(signing)), entries


async def _replace(tx: Tx, algorithm: str, spares: tuple[SealedKey, ...], now: int, by: By) -> str:
    """Let the next key sign, or a new one, after the active one was revoked."""
    upcoming = await tx.one(
        "SELECT kid FROM ww_signing_keys WHERE algorithm = :algorithm AND status = 'next'", algorithm=algorithm
    )
    if upcoming is not None:
        await _promote(tx, upcoming["kid"], None, now, by)
        return str(upcoming["kid"])
    spare = next((key for key in spares if key.algorithm == algorithm), None)
    if spare is None:
        raise _Overtaken
    await _make(tx, spare, "active", now, by)
    return spare.kid


async def _must_exist(tx: Tx, kid: str) -> None:
    if await tx.one("SELECT kid FROM ww_signing_keys WHERE kid = :kid", kid=kid) is None:
        raise NotFound("There is no such signing key.")


async def _make(tx: Tx, key: SealedKey, status: str, now: int, by: By) -> None:
    made = await tx.run(
        _INSERT,
        kid=key.kid,
        algorithm=key.algorithm,
        status=status,
        public=key.public_jwk,
        sealed=key.sealed_private,
        now=now,
        activated=now if status == "active" else None,
    )
    if not made:
        raise _Overtaken
    await _note(tx, "key_created", key.kid, key.algorithm, now, by, status=status)


async def _promote(tx: Tx, kid: str, retiring: str | None, now: int, by: By) -> None:
    """Do both or neither: an algorithm always has one active key."""
    if retiring is not None:
        await _retire(tx, retiring, now, by)
    row = await tx.one(_PROMOTE, kid=kid, now=now)
    if row is None:
        raise _Overtaken
    await _note(tx, "key_activated", kid, row["algorithm"], now, by)


async def _retire(tx: Tx, kid: str, now: int, by: By) -> None:
    row = await tx.one(_RETIRE, kid=kid, now=now)
    if row is None:
        raise _Overtaken
    await _note(tx, "key_retired", kid, row["algorithm"], now, by)


async def _remove(tx: Tx, kid: str, status: str, now: int) -> None:
    row = await tx.one(_REMOVE, kid=kid, status=status)
    if row is None:
        raise _Overtaken
    await _note(tx, "key_removed", kid, row["algorithm"], now, SERVICE)


async def _note(tx: Tx, event: str, kid: str, algorithm: str, now: int, by: By, **more: str) -> None:
    detail = {"kid": kid, "algorithm": algorithm} | more
    await audit.record(tx, event, at=now, client=by.client, actor=by.actor, detail=detail)

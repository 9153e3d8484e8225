"""Guard keys, by which an API may follow the feed, introspect and revoke.

A key is 256 random bits behind a prefix that secret scanners know. The database holds its SHA-256: a fast hash is
enough for random bits.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec

from watchword import opaque
from watchword.clock import Clock
from watchword.errors import Conflict, FieldError, InvalidInput, NotFound, StorageUnavailable, UniqueViolation
from watchword.identity import audit
from watchword.identity.audit import Client
from watchword.ids import new_id
from watchword.storage.database import Database, Row, Tx

_NAME_MAX = 64
_HOUR = 3600
_COLUMNS = "id, name, created_at, last_used_at, revoked_at"


class GuardKey(msgspec.Struct, frozen=True):
    """A key's record, without the key. Times are seconds since 1970 UTC."""

    id: str
    name: str
    created_at: int
    last_used_at: int | None
    revoked_at: int | None

    @classmethod
    def of(cls, row: Row) -> GuardKey:
        """Read a row with these columns in order."""
        return cls(row[0], row[1], row[2], row[3], row[4])


class GuardKeys:
    """The guard keys of one database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, name: str, *, client: Client) -> tuple[GuardKey, str]:
        """Make a key for the named API; return the key itself, which is not stored.

        Raises `InvalidInput`, and `Conflict` (`name_taken`) while another key of that name is in use.
        """
        if not 1 <= len(name) <= _NAME_MAX or not all(c.isalnum() or c in "._-" for c in name) or not name.isascii():
            message = f"A guard's name has letters, digits, '.', '_' and '-'; at most {_NAME_MAX}."
            raise InvalidInput(FieldError("name", "characters", message))
        secret = opaque.make_secret(opaque.GUARD_PREFIX)
        now = self._clock.now()
        key = GuardKey(new_id(), name, now, None, None)

        async def unit(tx: Tx) -> None:
            await tx.run(
                "INSERT INTO ww_guard_keys (id, name, key_hash, created_at) VALUES (:id, :name, :hash, :now)",
                id=key.id,
                name=name,
                hash=opaque.fingerprint(secret.encode()),
                now=now,
            )
            await audit.record(tx, "guard_key_created", at=now, client=client, detail={"guard": key.id, "name": name})

        try:
            await self._database.transact(unit)
        except UniqueViolation as error:
            raise Conflict(f"There is a guard key named {name} already; revoke it first.", code="name_taken") from error
        return key, secret

    async def all(self) -> list[GuardKey]:
        """Return every key, also revoked ones, oldest first."""
        rows = await self._database.scan(f"SELECT {_COLUMNS} FROM ww_guard_keys ORDER BY id")
        return [GuardKey.of(row) for row in rows]

    async def revoke(self, name: str, *, client: Client) -> GuardKey:
        """Refuse a key from now on. Raises `NotFound`."""
        now = self._clock.now()

        async def unit(tx: Tx) -> GuardKey:
            row = await tx.one(
                "UPDATE ww_guard_keys SET revoked_at = :now WHERE name = :name AND revoked_at IS NULL"
                f" RETURNING {_COLUMNS}",
                now=now,
                name=name,
            )
            if row is None:
                raise NotFound("There is no such guard key in use.")
            key = GuardKey.of(row)
            await audit.record(tx, "guard_key_revoked", at=now, client=client, detail={"guard": key.id, "name": name})
            return key

        return await self._database.transact(unit)

    async def find(self, secret: str) -> GuardKey | None:
        """Return the key in use, or None. A malformed one costs no database call."""
        if not opaque.looks_like(secret, opaque.GUARD_PREFIX):
            return None
        row = await self._database.one(
            f"SELECT {_COLUMNS} FROM ww_guard_keys WHERE key_hash = :hash AND revoked_at IS NULL",
            hash=opaque.fingerprint(secret.encode()),
        )
        if row is None:
            return None
        key = GuardKey.of(row)
        await self._note_use(key)
        return key

    async def _note_use(self, key: GuardKey) -> None:
        """Store the last use, to the hour: a write for each poll would be waste."""
        now = self._clock.now()
        if key.last_used_at is not None and now - key.last_used_at < _HOUR:
            return
        # A full disk must not stop reads of revocations.
        with suppress(StorageUnavailable):
            await self._database.run("UPDATE ww_guard_keys SET last_used_at = :now WHERE id = :id", now=now, id=key.id)

"""API keys: what a user's scripts hold in place of a password, and exchange for short access tokens.

A row keeps a hash of the secret and a public key (`watchword.api_keys`). Each exchange reads the owner as they are now:
the token gets what the key was made with, what the owner still has, and what a weakened key allows, whichever is least.
A key's tokens have its id as `sid`, by which the feed refuses them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec

from watchword import api_keys as written
from watchword import base64url
from watchword.clock import Clock
from watchword.errors import Conflict, FieldError, InvalidInput, NotFound, Refused, StorageUnavailable, Unauthenticated
from watchword.identity import audit, revocation
from watchword.identity.api_key_screen import KeyIds, KeyScreen, not_accepted
from watchword.identity.audit import Client
from watchword.identity.identifiers import is_blank
from watchword.identity.issuing import AccessGrant, TokenIssuer
from watchword.identity.narrowing import check_api, require_api, require_whole_session
from watchword.identity.notices import Notices
from watchword.identity.revocation import Published, Revocations
from watchword.identity.rights import Asked, Rights, listed
from watchword.identity.sessions.sessions import require_live
from watchword.identity.takes import takes_of
from watchword.identity.throttle import Throttle
from watchword.storage.database import Database, Row, Tx, Unit
from watchword.tokens.claims import AccessClaims
from watchword.tokens.needs import KEY_CLIENT

MOST_KEYS: Final = 50
"""Keys of one user at a time, former ones in their overlap too."""
MOST_SECONDS: Final = 400 * 86_400
"""The longest life of a key."""
MOST_OVERLAP: Final = 30 * 86_400
_MINUTE: Final = 60
_NAME_MAX: Final = 64
_MOST_PAST: Final = 200
"""Expired keys of one user that are kept, the newest: or many short-lived ones would hide a live one from its owner."""
_COLUMNS: Final = "id, user_id, name, scopes, api, created_at, expires_at, last_used_at, replaced_by"
_READ: Final = """
SELECT ww_api_keys.id AS id, user_id, secret_hash, public_key, scopes, api, expires_at, last_used_at, roles,
    disabled_at, token_version AS version, (SELECT ww_rights.version FROM ww_rights WHERE ww_rights.id = 1) AS rights{}
FROM ww_api_keys JOIN ww_users ON ww_users.id = user_id
WHERE ww_api_keys.id = :id
"""
_INSERT: Final = """
INSERT INTO ww_api_keys (id, user_id, name, secret_hash, public_key, scopes, api, created_at, lifetime,
    expires_at)
VALUES (:id, :user, :name, :hash, :public, :scopes, :api, :now, :life, :expires)
"""
_FORGET: Final = """
DELETE FROM ww_api_keys WHERE id IN (SELECT id FROM ww_api_keys WHERE user_id = :user AND expires_at <= :now
    ORDER BY id DESC LIMIT 1000 OFFSET :kept)
"""


class KeyRecord(msgspec.Struct, frozen=True):
    """A key without its secret. Times are seconds since 1970 UTC.

    :param api: the only API: its id, empty for the service's own audience, None for any.
    """

    id: str
    user_id: str
    name: str
    scopes: tuple[str, ...]
    api: str | None
    created_at: int
    expires_at: int
    last_used_at: int | None
    replaced_by: str | None

    @classmethod
    def of(cls, row: Row) -> KeyRecord:
        """Read a row with these columns in order."""
        return cls(row[0], row[1], row[2], tuple(row[3].split()), row[4], row[5], row[6], row[7], row[8])


class NewKey(NamedTuple):
    """What a new key is to be.

    :param asked: its scopes, None for all that the owner has now, and its only API.
    :param seconds: its life.
    """

    name: str
    asked: Asked
    seconds: int


class Exchanged(NamedTuple):
    """What a key is exchanged for; the lifetime is in seconds."""

    access_token: str
    expires_in: int
    scope: str


class ApiKeys:
    """The API keys of one database."""

    def __init__(
        self,
        database: Database,
        issuer: TokenIssuer,
        rights: Rights,
        revocations: Revocations,
        throttle: Throttle,
        notices: Notices,
        ids: KeyIds,
        clock: Clock,
    ) -> None:
        self._database = database
        self._issuer = issuer
        self._rights = rights
        self._revocations = revocations
        self._throttle = throttle
        self._notices = notices
        self._screen = KeyScreen(ids)
        self._clock = clock
        self._read = _READ.format("".join(f", ww_users.{name} AS {name}" for name in issuer.own_claims.columns))

    # By its owner -----------------------------------------------------------------------------------------------------

    async def create(self, caller: AccessClaims, wanted: NewKey, *, client: Client) -> tuple[KeyRecord, str]:
        """Make a key for the caller; return the key itself, which is not stored.

        Raises `InvalidInput`; `Refused` (`invalid_scope`, `invalid_target`) for more than user or session has;
        `TokenError` (`token_narrowed`), `Conflict` (`too_many_keys`), `Unauthenticated`, `TooManyAttempts`.
        """
        _check_name(wanted.name)
        if not 1 <= wanted.seconds <= MOST_SECONDS:
            message = f"A key lives 1 to {MOST_SECONDS} seconds."
            raise InvalidInput(FieldError("expires_in", "range", message))
        await self._count(caller, client)
        now = self._clock.now()

        async def unit(tx: Tx) -> tuple[KeyRecord, str]:
            await require_live(tx, caller, now)
            of_session = await require_whole_session(tx, caller)
            row = await tx.one("SELECT roles FROM ww_users WHERE id = :id", id=caller.sub)
            assert row is not None, "this unit has locked the row"
            scopes, api = self._given(tuple(row["roles"].split()), wanted.asked, of_session)
            key_id, ends = self._screen.ids.make(), now + wanted.seconds
            key = KeyRecord(key_id, caller.sub, wanted.name, scopes, api, now, ends, None, None)
            text = await _insert(tx, key)
            await _record(tx, "api_key_created", key, now, client, actor=caller.sub)
            await self._notices.key_made(tx, caller.sub, client)
            return key, text

        return await self._database.transact(unit)

    async def rotate(
        self, caller: AccessClaims, key_id: str, *, overlap: int, client: Client
    ) -> tuple[KeyRecord, KeyRecord, str]:
        """Put a new key in the place of one; return both records and the new key. Its life begins anew.

        :param overlap: seconds for which the former one goes on; 0 ends it at once. A shorter one than the life of an
            access token is refused: the former key's tokens would outlive it.
        :raises NotFound: not one of the caller's that was not rotated before; `Conflict` (`too_many_keys`).
        :raises Refused: it is for more than the session's API, or for an API that is no more; `TokenError`
            (`token_narrowed`).
        """
        least = self._issuer.lifetime
        if overlap and not least <= overlap <= MOST_OVERLAP:
            message = f"The overlap is 0, or {least} to {MOST_OVERLAP} seconds."
            raise InvalidInput(FieldError("overlap", "range", message))
        await self._count(caller, client)
        now = self._clock.now()

        async def unit(tx: Tx) -> tuple[tuple[KeyRecord, KeyRecord, str], Published]:
            await require_live(tx, caller, now)
            of_session = await require_whole_session(tx, caller)
            fresh_id = self._screen.ids.make()
            row = await tx.one(
                "UPDATE ww_api_keys SET replaced_by = :fresh, expires_at = CASE WHEN expires_at < :until THEN"
                " expires_at ELSE :until END WHERE id = :id AND user_id = :user AND expires_at > :now"
                f" AND replaced_by IS NULL RETURNING {_COLUMNS}, lifetime",
                fresh=fresh_id, until=now + overlap, id=key_id, user=caller.sub, now=now,
            )  # fmt: skip
            if row is None:
                raise NotFound("There is no such key, or it was rotated before.")
            former = KeyRecord.of(row)
            require_api(former.api, self._rights.table)
            check_api(former.api, of_session, self._rights.table)
            ends = now + int(row["lifetime"])
            fresh = KeyRecord(fresh_id, caller.sub, former.name, former.scopes, former.api, now, ends, None, None)
            text = await _insert(tx, fresh)
            await _record(tx, "api_key_rotated", former, now, client, actor=caller.sub, by=fresh_id)
            await self._notices.key_made(tx, caller.sub, client)
            entries = [] if overlap else await revocation.refuse_api_key(tx, key_id, now=now)
            return (former, fresh, text), entries

        return await self._revocations.commit(unit)

    async def of(self, user_id: str) -> list[KeyRecord]:
        """Return a user's keys, oldest first, with those that expired in the last days."""
        rows = await self._database.all(
            f"SELECT {_COLUMNS} FROM ww_api_keys WHERE user_id = :user ORDER BY id", user=user_id
        )
        return [KeyRecord.of(row) for row in rows]

    async def revoke(self, caller: AccessClaims, key_id: str, *, client: Client) -> None:
        """Delete one of the caller's keys, and refuse its tokens. Raises `NotFound`, `Refused` as `rotate`."""
        now = self._clock.now()

        async def check(tx: Tx) -> str | None:
            await require_live(tx, caller, now)
            return await require_whole_session(tx, caller)

        await self._delete(key_id, caller.sub, check, now, client, actor=caller.sub)

    # By an operator ---------------------------------------------------------------------------------------------------

    async def page(self, *, user_id: str = "", after: str = "", limit: int) -> list[KeyRecord]:
        """Return keys of one user or of all, oldest first."""
        rows = await self._database.scan(
            f"SELECT {_COLUMNS} FROM ww_api_keys WHERE id > :after AND (:user = '' OR user_id = :user)"
            " ORDER BY id LIMIT :limit",
            user=user_id, after=after, limit=limit,
        )  # fmt: skip
        return [KeyRecord.of(row) for row in rows]

    async def revoke_any(
        self, key_id: str, *, check: Unit[None], client: Client, actor: str | None = None
    ) -> KeyRecord:
        """Delete any user's key, and refuse its tokens. Raises `NotFound`.

        :param check: awaited first in the unit; raises when they may not.
        """
        return await self._delete(key_id, "", check, self._clock.now(), client, actor=actor)

    # By the key -------------------------------------------------------------------------------------------------------

    async def exchange(
        self, text: str, asked: Asked, *, client: Client, guard: Callable[[], Awaitable[None]] | None = None
    ) -> Exchanged:
        """Return an access token for a key, with no more than key, owner and the key's own limits allow.

        It has no roles: a key is for its scopes. A made-up one is refused without a read (`KeyScreen`). Only a good one
        counts, or who has seen a key's id in a token could use up its owner's limit. Each key has less than its owner:
        one that leaked, or was weakened, does not stop the others.

        :param guard: checks the guard key of who asks. A guard asks for all its callers, so its address is not counted:
            some of them would use it up for the others.

        Raises `Refused`: `invalid_request` alike for every key that is not accepted (RFC 8693 section 2.2.2),
        `invalid_scope`, `invalid_target`. Raises `TooManyAttempts`, `Overloaded`, `StorageUnavailable`, and as `guard`.
        """
        signer, now = self._issuer.require_key(), self._clock.now()
        key, limits = self._screen.read(text, now)
        if guard is not None:
            await guard()
        row = await self._database.one(self._read, id=key.id)
        if row is None or row["expires_at"] <= now:
            raise self._screen.absent(key, now)
        limits = self._screen.found(key, row, now) if limits is None else limits
        if not _is_live(row, now):
            raise not_accepted()
        owner = row["user_id"]
        takes = takes_of("api_key", client.address if guard is None else None, owner, handle=row["id"])
        await self._throttle.take(*takes, client=client, user=owner)
        await self._rights.reach(row["rights"])
        grant = self._grant(row, limits, asked, now)
        await self._note_use(row, now)
        return Exchanged(
            self._issuer.access_token(grant, signer), max(0, self._issuer.expires_at(grant) - now), grant.scope
        )

    async def is_live(self, key_id: str) -> bool:
        """Tell whether the key is in use, and its owner enabled."""
        row = await self._database.one(self._read, id=key_id)
        return row is not None and _is_live(row, self._clock.now())

    def _grant(self, row: Row, limits: written.Limits, asked: Asked, now: int) -> AccessGrant:
        api = self._api(row["api"], limits.resource, asked)
        allowed = frozenset(row["scopes"].split())
        if limits.scopes is not None:
            allowed &= limits.scopes
        if asked.scopes is not None:
            beyond = asked.scopes - allowed
            if beyond:
                raise Refused(f"This key was not given these scopes: {listed(beyond)}.", code="invalid_scope")
            allowed = asked.scopes
        try:
            # A set, also where it is empty: no limit at all would be all that the owner has.
            given = self._rights.grant(tuple(row["roles"].split()), "", api, Asked(allowed), version=row["rights"])
        except Unauthenticated:
            raise Refused("The API that this key was for is no more.", code="invalid_target") from None
        ends = [row["expires_at"], now + self._issuer.lifetime] + ([] if limits.until is None else [limits.until])
        return AccessGrant(
            row["user_id"], row["id"], KEY_CLIENT, given.scope, (), row["version"], auth_time=0, amr=(KEY_CLIENT,),
            issued_at=now, not_after=min(ends), audience=given.audience, rights=given.version,
            claims=self._issuer.claims_of(row["user_id"], (), row),
        )  # fmt: skip

    def _api(self, api: str | None, resource: str | None, asked: Asked) -> str | None:
        """Return the API of a token; None for the service's own audience. Each that is named must be the same."""
        named = [] if resource is None else [self._rights.asked(None, resource).api]
        found = [each for each in (api, asked.api, *named) if each is not None]
        if not all(self._rights.table.is_same(found[0], each) for each in found):
            raise Refused("This key is for another API.", code="invalid_target")
        return found[0] if found else None

    async def _note_use(self, row: Row, now: int) -> None:
        """Store the last use, to the minute. A full disk must not stop exchanges."""
        if row["last_used_at"] is not None and now - row["last_used_at"] < _MINUTE:
            return
        with suppress(StorageUnavailable):
            await self._database.run(
                "UPDATE ww_api_keys SET last_used_at = :now WHERE id = :id"
                " AND (last_used_at IS NULL OR last_used_at <= :until)",
                now=now, until=now - _MINUTE, id=row["id"],
            )  # fmt: skip

    def _given(
        self, roles: tuple[str, ...], asked: Asked, of_session: str | None
    ) -> tuple[tuple[str, ...], str | None]:
        """Return the scopes and the API of a new key: no more than session and user have."""
        table = self._rights.table
        target = of_session if asked.api is None else asked.api
        api = require_api(target, table)
        check_api(target, of_session, table)
        had = table.of(roles, api)
        if asked.scopes is None:
            return tuple(sorted(had)), target
        beyond = asked.scopes - had
        if beyond:
            raise Refused(f"You do not have these scopes: {listed(beyond)}.", code="invalid_scope")
        return tuple(sorted(asked.scopes)), target

    async def _count(self, caller: AccessClaims, client: Client) -> None:
        await self._throttle.take(*takes_of("change", client.address, caller.sub), client=client, user=caller.sub)

    async def _delete(
        self, key_id: str, user_id: str, check: Unit[str | None], now: int, client: Client, *, actor: str | None
    ) -> KeyRecord:
        async def unit(tx: Tx) -> tuple[KeyRecord, Published]:
            of_session = await check(tx)
            row = await tx.one(
                f"DELETE FROM ww_api_keys WHERE id = :id AND (:user = '' OR user_id = :user) RETURNING {_COLUMNS}",
                id=key_id,
                user=user_id,
            )
            if row is None:
                raise NotFound("There is no such key.")
            key = KeyRecord.of(row)
            check_api(key.api, of_session, self._rights.table)
            await _record(tx, "api_key_revoked", key, now, client, actor=actor)
            return key, await revocation.refuse_api_key(tx, key_id, now=now)

        return await self._revocations.commit(unit, ends=True)


async def forget_keys(tx: Tx, user_id: str) -> None:
    """Delete a user's keys, in a unit that refuses all of the user's tokens."""
    await tx.run("DELETE FROM ww_api_keys WHERE user_id = :user", user=user_id)


async def _insert(tx: Tx, key: KeyRecord) -> str:
    """Store a new key, and return its text. Raises `Conflict` (`too_many_keys`). The owner's row is locked."""
    row = await tx.one(
        "SELECT COUNT(*) AS found FROM ww_api_keys WHERE user_id = :user AND expires_at > :now",
        user=key.user_id,
        now=key.created_at,
    )
    if row is not None and row["found"] >= MOST_KEYS:
        raise Conflict(f"You have {MOST_KEYS} API keys. Delete one first.", code="too_many_keys")
    await tx.run(_FORGET, user=key.user_id, now=key.created_at, kept=_MOST_PAST)
    made = written.make(key.id)
    await tx.run(
        _INSERT, id=key.id, user=key.user_id, name=key.name, hash=made.secret_hash,
        public=base64url.encode_text(made.public), scopes=" ".join(key.scopes), api=key.api, now=key.created_at,
        life=key.expires_at - key.created_at, expires=key.expires_at,
    )  # fmt: skip
    return made.text


async def _record(
    tx: Tx, event: str, key: KeyRecord, now: int, client: Client, *, actor: str | None, by: str = ""
) -> None:
    detail = {"key": key.id, "name": key.name} | ({"replaced_by": by} if by else {})
    await audit.record(tx, event, at=now, client=client, actor=actor, user=key.user_id, detail=detail)


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= _NAME_MAX or not name.isprintable() or name != name.strip() or is_blank(name):
        message = f"A key's name is one line of 1 to {_NAME_MAX} characters, of which something is seen."
        raise InvalidInput(FieldError("name", "characters", message))


def _is_live(row: Row, now: int) -> bool:
    return bool(row["expires_at"] > now and row["disabled_at"] is None)

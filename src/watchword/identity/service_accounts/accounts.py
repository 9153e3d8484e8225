"""Make, list and change service accounts. What takes rights away goes through the list of revocations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from watchword import opaque
from watchword.clock import Clock
from watchword.errors import Conflict, FieldError, InvalidInput, NotFound, UniqueViolation
from watchword.identity import audit, scopes
from watchword.identity.audit import Client
from watchword.identity.issuing import NO_ACCOUNTS
from watchword.identity.revocation import Published, Revocations, refuse_user
from watchword.identity.rights import Rights
from watchword.identity.service_accounts.account import COLUMNS, SECRET_PREFIX, Account, new_account_id
from watchword.identity.service_accounts.assertion import read_public_key
from watchword.storage.database import Database, Row, Tx
from watchword.tokens.needs import ACCOUNT_PREFIX

MOST_ACCOUNTS: Final = 500
MOST_OVERLAP: Final = 30 * 86_400
"""Seconds for which a former secret goes on at most."""
_NAME_MAX: Final = 64
_INSERT: Final = """
INSERT INTO ww_clients (id, name, scopes, apis, serves, exchanges, introspects, secret_hash, former_until, public_key,
    version, created_at)
VALUES (:id, :name, :scopes, :apis, :serves, :exchanges, :introspects, :hash, 0, :key, 1, :now)
"""
_ROTATE: Final = f"""
UPDATE ww_clients SET former_hash = secret_hash, former_until = :until, secret_hash = :hash, version = version + :more
WHERE name = :name AND secret_hash IS NOT NULL RETURNING {COLUMNS}
"""
_DISABLE: Final = f"""
UPDATE ww_clients SET disabled_at = :now, version = version + 1 WHERE name = :name AND disabled_at IS NULL
RETURNING {COLUMNS}
"""
_ENABLE: Final = f"""
UPDATE ww_clients SET disabled_at = NULL WHERE name = :name AND disabled_at IS NOT NULL RETURNING {COLUMNS}
"""


class NewAccount(NamedTuple):
    """What a new account is to be; APIs by name.

    :param scopes: those that its tokens may have, at least one.
    :param apis: which it gets tokens for; none: those with the service's own audience.
    :param serves: the API that it is; None: what has the service's own audience.
    :param exchanges: the APIs that it may call on a user's behalf.
    :param public_key: PEM or JWK, in place of a secret; `algorithm` pins what signs.
    """

    name: str
    scopes: Sequence[str]
    apis: Sequence[str] = ()
    serves: str | None = None
    exchanges: Sequence[str] = ()
    introspects: bool = False
    public_key: str | None = None
    algorithm: str | None = None


class ServiceAccounts:
    """The service accounts of one database."""

    def __init__(self, database: Database, rights: Rights, revocations: Revocations, clock: Clock) -> None:
        self._database = database
        self._rights = rights
        self._revocations = revocations
        self._clock = clock

    async def create(self, wanted: NewAccount, *, client: Client) -> tuple[Account, str | None]:
        """Make an account; return it and its secret, which is not stored, or None where it has a key.

        Raises `InvalidInput`, `NotFound` for an API, `Conflict` (`name_taken`).
        """
        _check_name(wanted.name)
        given = scopes.checked(tuple(wanted.scopes))
        if not given:
            raise InvalidInput(FieldError("scopes", "missing", "A service account has at least one scope."))
        key = None if wanted.public_key is None else read_public_key(wanted.public_key, wanted.algorithm)
        secret = None if key is not None else opaque.make_secret(SECRET_PREFIX)
        apis, exchanges = self._ids(wanted.apis), self._ids(wanted.exchanges)
        serves = "" if wanted.serves is None else self._ids((wanted.serves,))[0]
        now, account_id = self._clock.now(), new_account_id()

        async def unit(tx: Tx) -> Account:
            row = await tx.one("SELECT COUNT(*) AS found FROM ww_clients")
            if row is not None and row["found"] >= MOST_ACCOUNTS:
                message = f"There are {MOST_ACCOUNTS} service accounts at most."
                raise InvalidInput(FieldError("name", "too_many", message))
            await tx.run(
                _INSERT, id=account_id, name=wanted.name, scopes=" ".join(sorted(given)), apis=" ".join(apis),
                serves=serves, exchanges=" ".join(exchanges), introspects=int(wanted.introspects),
                hash=None if secret is None else opaque.fingerprint(secret.encode()), key=key, now=now,
            )  # fmt: skip
            await _record(tx, "client_created", account_id, wanted.name, now, client)
            made = await tx.one(f"SELECT {COLUMNS} FROM ww_clients WHERE id = :id", id=account_id)
            assert made is not None, "this unit has inserted it"
            return Account.of(made)

        try:
            return await self._database.transact(unit), secret
        except UniqueViolation as error:
            raise Conflict("There is a service account of this name already.", code="name_taken") from error

    async def all(self) -> list[Account]:
        """Return every account by name."""
        rows = await self._database.scan(f"SELECT {COLUMNS} FROM ww_clients ORDER BY name")
        return [Account.of(row) for row in rows]

    async def rotate_secret(self, name: str, *, overlap: int, client: Client) -> tuple[Account, str]:
        """Give an account a new secret; return both.

        :param overlap: seconds for which the former secret goes on; 0 ends it at once, and refuses the tokens so far.
        :raises NotFound: there is none of this name with a secret. :raises InvalidInput: the overlap.
        """
        if not 0 <= overlap <= MOST_OVERLAP:
            raise InvalidInput(FieldError("overlap", "range", f"The overlap is 0 to {MOST_OVERLAP} seconds."))
        secret, now = opaque.make_secret(SECRET_PREFIX), self._clock.now()

        async def unit(tx: Tx) -> tuple[Account, Published]:
            found = await tx.one(
                _ROTATE, hash=opaque.fingerprint(secret.encode()), until=now + overlap, more=int(not overlap), name=name
            )
            account = await _recorded(tx, found, "client_secret_rotated", now, client)
            return account, () if overlap else await refuse_user(tx, account.id, account.version, now=now)

        return await self._revocations.commit(unit), secret

    async def disable(self, name: str, *, client: Client) -> Account:
        """Refuse an account and its tokens. Raises `NotFound`: none of this name is enabled."""
        now = self._clock.now()

        async def unit(tx: Tx) -> tuple[Account, Published]:
            account = await _recorded(tx, await tx.one(_DISABLE, now=now, name=name), "client_disabled", now, client)
            return account, await refuse_user(tx, account.id, account.version, now=now)

        return await self._revocations.commit(unit, ends=True)

    async def enable(self, name: str, *, client: Client) -> Account:
        """Let an account in again; its tokens from before stay refused. Raises `NotFound`: none is disabled."""
        now = self._clock.now()

        async def unit(tx: Tx) -> Account:
            return await _recorded(tx, await tx.one(_ENABLE, name=name), "client_enabled", now, client)

        return await self._database.transact(unit)

    async def delete(self, name: str, *, client: Client) -> Account:
        """Delete an account, and refuse its tokens. Its id is never given again. Raises `NotFound`."""
        now = self._clock.now()

        async def unit(tx: Tx) -> tuple[Account, Published]:
            found = await tx.one(f"DELETE FROM ww_clients WHERE name = :name RETURNING {COLUMNS}", name=name)
            account = await _recorded(tx, found, "client_deleted", now, client)
            return account, await refuse_user(tx, account.id, account.version + 1, now=now)

        return await self._revocations.commit(unit, ends=True)

    def names_of(self, ids: Sequence[str]) -> list[str]:
        """Return the names of APIs; those that are no more are left out."""
        apis = self._rights.table.apis
        return [apis[each].name for each in ids if each in apis]

    def _ids(self, names: Sequence[str]) -> list[str]:
        known = {api.name: api.id for api in self._rights.table.apis.values()}
        missing = next((name for name in names if name not in known), None)
        if missing is not None:
            raise NotFound(f"There is no API {missing!a:.80}.")
        return sorted({known[name] for name in names})


async def _recorded(tx: Tx, row: Row | None, event: str, now: int, client: Client) -> Account:
    if row is None:
        raise NotFound("There is no such service account.")
    account = Account.of(row)
    await _record(tx, event, account.id, account.name, now, client)
    return account


async def _record(tx: Tx, event: str, account_id: str, name: str, now: int, client: Client) -> None:
    await audit.record(tx, event, at=now, client=client, detail={"client": account_id, "name": name})


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= _NAME_MAX or not name.isascii() or not all(c.isalnum() or c in "._-" for c in name):
        message = f"A service account's name has letters, digits, '.', '_' and '-'; at most {_NAME_MAX}."
        raise InvalidInput(FieldError("name", "characters", message))
    if name.lower() in NO_ACCOUNTS or name.lower().startswith(ACCOUNT_PREFIX):
        raise InvalidInput(FieldError("name", "reserved", "Tokens and audit records mean something else by this name."))

"""Users: found, made, changed, disabled, deleted.

What touches a credential or a right also refuses the tokens that went before it. In every unit the lock order is
users → sessions → feed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from watchword.clock import Clock
from watchword.errors import Conflict, FieldError, InvalidInput, NotFound, UniqueViolation
from watchword.identity import audit, identifiers, password_policy, revocation
from watchword.identity.audit import LOCAL, Client
from watchword.identity.hashing import Hasher, kind_of
from watchword.identity.identifiers import Identifier
from watchword.identity.revocation import Entry, Published, Revocations
from watchword.identity.roles import checked as checked_roles
from watchword.identity.throttle import Throttle, takes_of
from watchword.identity.user_row import COLUMNS, insert
from watchword.identity.user_row import User as User  # noqa: PLC0414 - others take it from here
from watchword.ids import new_id
from watchword.settings import Settings
from watchword.storage.database import Database, Tx, Unit

T = TypeVar("T")

_TAKEN = {"ww_users_username": ("username_taken", "username"), "ww_users_email": ("email_taken", "e-mail address")}


class Users:
    """The users of one database."""

    def __init__(
        self,
        database: Database,
        hasher: Hasher,
        revocations: Revocations,
        throttle: Throttle,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._throttle = throttle
        self._database = database
        self._hasher = hasher
        self._revocations = revocations
        self._settings = settings
        self._clock = clock

    async def find(self, user_id: str) -> User | None:
        """The user with that id, or None."""
        row = await self._database.one(f"SELECT {COLUMNS} FROM ww_users WHERE id = :id", id=user_id)
        return None if row is None else User.of(row)

    async def find_by(self, identifier: Identifier) -> User | None:
        """The user with that username or e-mail address, or None."""
        row = await self._database.one(
            f"SELECT {COLUMNS} FROM ww_users WHERE {identifier.kind}_key = :key", key=identifier.key
        )
        return None if row is None else User.of(row)

    async def password_hash(self, user_id: str) -> str | None:
        """The stored hash of a user's password; None without one, and for no one."""
        row = await self._database.one("SELECT password_hash FROM ww_users WHERE id = :id", id=user_id)
        return None if row is None else row["password_hash"]

    async def page(self, *, limit: int = 50, after: str = "", search: str = "") -> list[User]:
        """At most `limit` users in the order in which they were made: those after an id, whose names hold `search`."""
        rows = await self._database.scan(
            f"SELECT {COLUMNS} FROM ww_users WHERE id > :after AND (:search = ''"
            " OR COALESCE(username_key, '') LIKE :pattern ESCAPE '!'"
            " OR COALESCE(email_key, '') LIKE :pattern ESCAPE '!')"
            " ORDER BY id LIMIT :limit",
            after=after,
            search=search,
            pattern=f"%{_escape_like(search.casefold())}%",
            limit=limit,
        )
        return [User.of(row) for row in rows]

    async def create(
        self,
        *,
        username: str | None,
        email: str | None,
        password: str | None,
        client: Client,
        roles: tuple[str, ...] = (),
        actor: str | None = None,
    ) -> User:
        """Make a user.

        :param password: None makes a user whom no password can log in.
        :raises InvalidInput: with every field that is not acceptable.
        :raises Conflict: `username_taken` or `email_taken`.
        :raises TooManyAttempts: when that was answered too often already, whatever would be answered now.
        """
        named = self._named(username, email, password)
        now = self._clock.now()
        user = User(
            new_id(),
            named["username"].text if "username" in named else None,
            named["email"].text if "email" in named else None,
            None,
            checked_roles(roles),
            1,
            now,
            now,
            None,
            None,
        )

        async with self._may_tell(client, None):
            password_hash = None if password is None else await self._hasher.hash(password, address=client.address)

            async def unit(tx: Tx) -> tuple[User, Published]:
                await insert(tx, user, named, password_hash)
                await audit.record(tx, "user_created", at=now, client=client, actor=actor or user.id, user=user.id)
                return user, ()

            return await self._named_uniquely(unit)

    def _named(self, username: str | None, email: str | None, password: str | None) -> dict[str, Identifier]:
        """The identifiers, normalised; raises with every fault of any field at once."""
        errors: list[FieldError] = []
        named: dict[str, Identifier] = {}
        for kind, text in (("username", username), ("email", email)):
            if text is None:
                continue
            try:
                named[kind] = self._identifier(kind, text)
            except InvalidInput as error:
                errors.extend(error.errors)
        if username is None and email is None:
            errors.append(FieldError("username", "required", "A username or an e-mail address is needed."))
        if password is not None:
            errors.extend(self._password_faults(password, tuple(t for t in (username, email) if t), "password"))
        if errors:
            raise InvalidInput(*errors)
        return named

    def _identifier(self, kind: str, text: str) -> Identifier:
        if kind == "username":
            return identifiers.username(text)
        return identifiers.email(text, private=self._settings.private_email)

    def _password_faults(self, password: str, names: tuple[str, ...], field: str) -> list[FieldError]:
        return password_policy.faults(
            password,
            identifiers=names,
            policy=self._settings.password_policy,
            hash_kind=self._settings.password_hash,
            field=field,
        )

    async def hash_new_password(self, user: User, password: str, *, field: str, address: str | None) -> str:
        """Check a new password against the policy and hash it. Raises `InvalidInput`, `Overloaded`."""
        errors = self._password_faults(password, user.identifiers, field)
        if errors:
            raise InvalidInput(*errors)
        return await self._hasher.hash(password, address=address)

    async def set_password(self, tx: Tx, user_id: str, password_hash: str, *, now: int, reason: str) -> list[Entry]:
        """Set a password, in the caller's unit: the one place that does.

        Raises the version and ends every session. Returns what the caller's unit publishes.
        Raises `NotFound` when the user is gone or disabled.
        """
        row = await tx.one(
            "UPDATE ww_users SET password_hash = :hash, password_set_at = :now, updated_at = :now,"
            " token_version = token_version + 1 WHERE id = :id AND disabled_at IS NULL RETURNING token_version",
            hash=password_hash,
            now=now,
            id=user_id,
        )
        if row is None:
            raise NotFound("There is no such user.")
        # Ended first, which locks them: no refresh can move `access_until` after it has been read.
        await revocation.end_sessions(tx, user_id, reason=reason, now=now)
        return await revocation.refuse_user(tx, user_id, row["token_version"], now=now)

    async def change_identifiers(
        self, user: User, *, username: str | None, email: str | None, client: Client, check: Unit[None]
    ) -> User:
        """Change the username, the e-mail address or both; None leaves one as it is.

        A new address is unverified and refuses the tokens issued before it; sessions are kept. What is so already is
        no change, and with nothing to change nothing is written.

        :param check: awaited with the unit's `tx` first; raises when the caller's session is no longer live.
        :raises Conflict: `username_taken` or `email_taken`.
        :raises TooManyAttempts: too many changes, or too often was something taken.
        """
        named = self._named_change(user, username, email)
        if not named:
            return user
        await self._throttle.take(*takes_of("change", client.address, user.id), client=client, user=user.id)
        now = self._clock.now()
        renewed = "email" in named

        async def unit(tx: Tx) -> tuple[User, Published]:
            await check(tx)
            changes = ["updated_at = :now"]
            values: dict[str, str | int | None] = {"now": now, "id": user.id}
            for kind, identifier in named.items():
                changes.append(f"{kind} = :{kind}, {kind}_key = :{kind}_key")
                values |= {kind: identifier.text, f"{kind}_key": identifier.key}
            if renewed:
                changes.append("email_verified_at = NULL, token_version = token_version + 1")
            row = await tx.one(f"UPDATE ww_users SET {', '.join(changes)} WHERE id = :id RETURNING {COLUMNS}", **values)
            if row is None:
                raise NotFound("There is no such user.")
            changed = User.of(row)
            await audit.record(
                tx,
                "user_changed",
                at=now,
                client=client,
                actor=user.id,
                user=user.id,
                detail={"fields": " ".join(named)},
            )
            if not renewed:
                return changed, ()
            return changed, await revocation.refuse_user(tx, user.id, changed.token_version, now=now)

        async with self._may_tell(client, user.id):
            return await self._named_uniquely(unit)

    def _named_change(self, user: User, username: str | None, email: str | None) -> dict[str, Identifier]:
        """What differs from what is stored, normalised. A name of an older version's rules may be said again."""
        old = {"username": user.username, "email": user.email}
        wanted = {
            kind: text
            for kind, text in (("username", username), ("email", email))
            if text is not None and identifiers.tidy(text) != old[kind]
        }
        named = self._named(wanted.get("username"), wanted.get("email"), None) if wanted else {}
        return {kind: identifier for kind, identifier in named.items() if identifier.text != old[kind]}

    async def disable(self, user_id: str, *, client: Client, actor: str | None = None) -> User:
        """Disable a user: every session ends, every token is refused. Raises `NotFound`."""
        return await self._revise(
            user_id, "disabled_at = COALESCE(disabled_at, :now)", "user_disabled", client, actor, end_reason="disabled"
        )

    async def enable(self, user_id: str, *, client: Client, actor: str | None = None) -> User:
        """Let a disabled user log in again. Raises `NotFound`."""
        return await self._revise(user_id, "disabled_at = NULL", "user_enabled", client, actor)

    async def set_roles(
        self, user_id: str, roles: tuple[str, ...], *, client: Client, actor: str | None = None
    ) -> User:
        """Give a user exactly these roles; sessions are kept and carry them after their next refresh.

        Raises `NotFound`, `InvalidInput`.
        """
        text = " ".join(checked_roles(roles))
        return await self._revise(user_id, "roles = :roles", "roles_changed", client, actor, roles=text)

    async def _revise(
        self,
        user_id: str,
        change: str,
        event: str,
        client: Client,
        actor: str | None,
        *,
        end_reason: str | None = None,
        **values: str,
    ) -> User:
        now = self._clock.now()

        async def unit(tx: Tx) -> tuple[User, Published]:
            row = await tx.one(
                f"UPDATE ww_users SET {change}, updated_at = :now, token_version = token_version + 1"
                f" WHERE id = :id RETURNING {COLUMNS}",
                id=user_id,
                now=now,
                **values,
            )
            if row is None:
                raise NotFound("There is no such user.")
            user = User.of(row)
            if end_reason is not None:
                await revocation.end_sessions(tx, user_id, reason=end_reason, now=now)
            entries = await revocation.refuse_user(tx, user_id, user.token_version, now=now)
            await audit.record(tx, event, at=now, client=client, actor=actor, user=user_id)
            return user, entries

        return await self._revocations.commit(unit, ends=end_reason is not None)

    async def delete(self, user: User, *, client: Client, check: Unit[None]) -> None:
        """Delete a user and end all sessions; the id is never used again. `check` as in `change_identifiers`.

        The sessions that ever were are swept as all that have ended: however many, they hold up no one here.
        """
        now = self._clock.now()

        async def unit(tx: Tx) -> tuple[None, Published]:
            await check(tx)
            await revocation.end_sessions(tx, user.id, reason="deleted", now=now)
            entries = await revocation.refuse_user(tx, user.id, user.token_version + 1_000_000, now=now)
            await tx.run("DELETE FROM ww_users WHERE id = :id", id=user.id)
            await audit.record(tx, "user_deleted", at=now, client=client, actor=user.id, user=user.id)
            return None, entries

        await self._revocations.commit(unit)

    async def learn_kinds(self) -> None:
        """Tell the hasher which kinds of hash the database holds; the preferred kind is always among them."""
        if await self._kind_is_missing(self._hasher.preferred_kind):
            sample = await self._hasher.sample()
            await self._database.run(_KNOW_KIND, kind=kind_of(sample), sample=sample)
        for row in await self._database.all("SELECT kind, sample FROM ww_password_kinds"):
            self._hasher.learn(row["kind"], row["sample"])

    async def _kind_is_missing(self, kind: str) -> bool:
        return await self._database.one("SELECT kind FROM ww_password_kinds WHERE kind = :kind", kind=kind) is None

    @asynccontextmanager
    async def _may_tell(self, client: Client, account: str | None) -> AsyncIterator[None]:
        """Around what may answer "this is taken": how often that is told has one limit, for every way to ask.

        It is asked first: once it is used up free names are refused too, else that would be the answer. Commands on
        this machine are the operator's, and not limited.
        """
        if client is LOCAL:
            yield
            return
        async with self._throttle.attempt(
            *takes_of("conflict", client.address, account), client=client, user=account
        ) as attempt:
            attempt.counts = False  # nothing was told, whatever else becomes of it
            try:
                yield
            except Conflict:
                attempt.counts = True
                raise

    async def _named_uniquely(self, unit: Unit[tuple[T, Published]]) -> T:
        try:
            return await self._revocations.commit(unit)
        except UniqueViolation as error:
            code, what = _TAKEN.get(error.index, ("conflict", "value"))
            raise Conflict(f"This {what} is taken.", code=code) from error


_KNOW_KIND = "INSERT INTO ww_password_kinds (kind, sample) VALUES (:kind, :sample) ON CONFLICT (kind) DO NOTHING"


def _escape_like(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")

"""Find, create, change, disable and delete users.

A change of a credential or a right refuses older tokens. Every unit locks users, then sessions, then the feed.
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
from watchword.identity.user_row import User as User  # noqa: PLC0414 - re-exported
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
        """Return the user with that id, or None."""
        row = await self._database.one(f"SELECT {COLUMNS} FROM ww_users WHERE id = :id", id=user_id)
        return None if row is None else User.of(row)

    async def find_by(self, identifier: Identifier) -> User | None:
        """Return the user with that username or e-mail address, or None."""
        row = await self._database.one(
            f"SELECT {COLUMNS} FROM ww_users WHERE {identifier.kind}_key = :key", key=identifier.key
        )
        return None if row is None else User.of(row)

    async def password_hash(self, user_id: str) -> str | None:
        """Return the stored password hash; None without a password or a user."""
        row = await self._database.one("SELECT password_hash FROM ww_users WHERE id = :id", id=user_id)
        return None if row is None else row["password_hash"]

    async def page(self, *, limit: int = 50, after: str = "", search: str = "") -> list[User]:
        """Return up to `limit` users after an id, oldest first; `search` matches inside their names."""
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
        """Create a user.

        :param password: None: no password can log this user in.
        :raises InvalidInput: with every faulty field.
        :raises Conflict: `username_taken` or `email_taken`.
        :raises TooManyAttempts: too many such conflicts; then free names are refused too.
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
        """Normalise the identifiers; raise with every fault of every field at once."""
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
        """Set a password, in the caller's unit; the only place that does.

        Raises the version, ends every session, and returns what to publish.
        Raises `NotFound` for a missing or disabled user.
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
        # Ending the sessions locks them: no refresh can move `access_until` after it is read.
        await revocation.end_sessions(tx, user_id, reason=reason, now=now)
        return await revocation.refuse_user(tx, user_id, row["token_version"], now=now)

    async def change_identifiers(
        self, user: User, *, username: str | None, email: str | None, client: Client, check: Unit[None]
    ) -> User:
        """Change username, e-mail address or both; None keeps one. Without a change nothing is written.

        A new address is unverified, and refuses tokens issued before it; sessions stay.

        :param check: awaited first, with the unit's `tx`; raises when the caller's session has ended.
        :raises Conflict: `username_taken` or `email_taken`.
        :raises TooManyAttempts: too many changes or conflicts.
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
        """Return what differs, normalised. A name stored under an older version's rules may stay."""
        old = {"username": user.username, "email": user.email}
        wanted = {
            kind: text
            for kind, text in (("username", username), ("email", email))
            if text is not None and identifiers.tidy(text) != old[kind]
        }
        named = self._named(wanted.get("username"), wanted.get("email"), None) if wanted else {}
        return {kind: identifier for kind, identifier in named.items() if identifier.text != old[kind]}

    async def disable(self, user_id: str, *, client: Client, actor: str | None = None) -> User:
        """Disable a user: end every session, refuse every token. Raises `NotFound`."""
        return await self._revise(
            user_id, "disabled_at = COALESCE(disabled_at, :now)", "user_disabled", client, actor, end_reason="disabled"
        )

    async def enable(self, user_id: str, *, client: Client, actor: str | None = None) -> User:
        """Let a disabled user log in again. Raises `NotFound`."""
        return await self._revise(user_id, "disabled_at = NULL", "user_enabled", client, actor)

    async def set_roles(
        self, user_id: str, roles: tuple[str, ...], *, client: Client, actor: str | None = None
    ) -> User:
        """Give a user exactly these roles; tokens carry them from the next refresh.

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

        The sweep deletes the sessions' rows: many of them must not delay this.
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
        """Teach the hasher every kind of hash in the database, and the preferred kind."""
        if await self._kind_is_missing(self._hasher.preferred_kind):
            sample = await self._hasher.sample()
            await self._database.run(_KNOW_KIND, kind=kind_of(sample), sample=sample)
        for row in await self._database.all("SELECT kind, sample FROM ww_password_kinds"):
            self._hasher.learn(row["kind"], row["sample"])

    async def _kind_is_missing(self, kind: str) -> bool:
        return await self._database.one("SELECT kind FROM ww_password_kinds WHERE kind = :kind", kind=kind) is None

    @asynccontextmanager
    async def _may_tell(self, client: Client, account: str | None) -> AsyncIterator[None]:
        """Limit how often anything answers "this is taken", with one limit for all.

        The limit is asked first, and refuses free names too: otherwise the refusal would be the answer. Local commands
        are not limited.
        """
        if client is LOCAL:
            yield
            return
        async with self._throttle.attempt(
            *takes_of("conflict", client.address, account), client=client, user=account
        ) as attempt:
            attempt.counts = False  # nothing was told
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

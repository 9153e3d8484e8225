"""Find, create, change, disable and delete users.

A change of a credential or a right refuses older tokens. Every unit locks users, then sessions, then the feed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from watchword.clock import Clock, minute
from watchword.errors import Conflict, InvalidInput, NotFound, StorageUnavailable, TooEarly, UniqueViolation
from watchword.identity import audit, one_time, outbox, revocation, sweeping
from watchword.identity.api_keys import forget_keys
from watchword.identity.audit import LOCAL, Client, Operator
from watchword.identity.changing import write
from watchword.identity.hashing import Hasher, kind_of
from watchword.identity.identifiers import Identifier
from watchword.identity.notices import Notices
from watchword.identity.own_claims import OwnClaims
from watchword.identity.requirements import Requirements
from watchword.identity.revocation import Entry, Published, Revocations
from watchword.identity.roles import checked as checked_roles
from watchword.identity.takes import takes_of
from watchword.identity.throttle import Throttle
from watchword.identity.trail import erasing
from watchword.identity.user_data import NO_DATA, UserData, checked_name
from watchword.identity.user_row import COLUMNS, LOOK_UP, insert, require_free_address
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
        notices: Notices,
        own_claims: OwnClaims,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._notices = notices
        self._own_claims = own_claims
        self._throttle = throttle
        self._database = database
        self._hasher = hasher
        self._revocations = revocations
        self._requirements = Requirements(settings)
        self._clock = clock

    async def find(self, user_id: str) -> User | None:
        """Return the user with that id, or None."""
        row = await self._database.one(LOOK_UP["id"], key=user_id)
        return None if row is None else User.of(row)

    async def find_by(self, identifier: Identifier) -> User | None:
        """Return the user with that username or e-mail address, or None."""
        row = await self._database.one(LOOK_UP[identifier.kind], key=identifier.key)
        return None if row is None else User.of(row)

    async def find_external(self, external_id: str) -> User | None:
        """Return the user with this id in another system, or None. Only operators' commands give such ids."""
        row = await self._database.one(LOOK_UP["external"], key=external_id)
        return None if row is None else User.of(row)

    async def password_hash(self, user_id: str) -> str | None:
        """Return the stored password hash; None without a password or a user."""
        row = await self._database.one("SELECT password_hash FROM ww_users WHERE id = :id", id=user_id)
        return None if row is None else row["password_hash"]

    async def create(
        self,
        *,
        username: str | None,
        email: str | None,
        password: str | None,
        client: Client,
        roles: tuple[str, ...] = (),
        data: UserData = NO_DATA,
        by: Operator | None = None,
        check: Unit[None],
        also: Callable[[Tx, User], Awaitable[None]] | None = None,
    ) -> User:
        """Create a user.

        :param password: None: no password can log this user in.
        :param data: checked, as `user_data` does.
        :param by: the administrator who does it; none of these limits counts what they do.
        :param check: awaited first in the unit; `unchecked` where no one is asked, as for people who register.
        :param also: work in the same unit, such as a mail to the new address.
        :raises InvalidInput: with every faulty field.
        :raises Conflict: `username_taken` or `email_taken`.
        :raises TooManyAttempts: too many such conflicts; then free names are refused too.
        """
        named = self._requirements.named(username, email, password)
        now = self._clock.now()
        texts = {kind: identifier.text for kind, identifier in named.items()}
        names = (texts.get("username"), texts.get("email"))
        made = User(new_id(), *names, None, checked_roles(roles), 1, now, now, None, None)
        user = msgspec.structs.replace(made, name=data.name, public_metadata=data.public_metadata)
        self._own_claims.require_fit(user)

        async with self.may_tell(client, None, by):
            password_hash = None if password is None else await self._hasher.hash(password, address=client.address)

            async def unit(tx: Tx) -> tuple[User, Published]:
                await check(tx)
                await insert(tx, user, named, password_hash, private_metadata=data.private_metadata)
                actor = user.id if by is None else by.user_id
                await audit.record(tx, "user_created", at=now, client=client, actor=actor, user=user.id)
                if also is not None:
                    await also(tx, user)
                return user, ()

            return await self.named_uniquely(unit)

    async def prepare(
        self, *, username: str | None, email: str | None, password: str, client: Client
    ) -> tuple[dict[str, Identifier], str]:
        """Check what a new user would have, and hash the password; whether the address is taken is not asked.

        Raises as `create`, but for `email_taken`.
        """
        named = self._requirements.named(username, email, password)
        async with self.may_tell(client, None, None):
            if "username" in named and await self.find_by(named["username"]) is not None:
                raise Conflict("This username is taken.", code="username_taken")
            return named, await self._hasher.hash(password, address=client.address)

    async def hash_new_password(self, user: User, password: str, *, field: str, address: str | None) -> str:
        """Check a new password against the policy and hash it. Raises `InvalidInput`, `Overloaded`."""
        errors = self._requirements.faults(password, user.identifiers, field)
        if errors:
            raise InvalidInput(*errors)
        return await self._hasher.hash(password, address=address)

    def require_fit(self, password: str, *, field: str) -> None:
        """Refuse a password that is too short, too long or common, for anyone. Raises `InvalidInput`."""
        errors = self._requirements.faults(password, (), field)
        if errors:
            raise InvalidInput(*errors)

    async def set_password(
        self, tx: Tx, user_id: str, password_hash: str, *, now: int, reason: str, language: str = ""
    ) -> list[Entry]:
        """Set a password, in the caller's unit; the only place that does.

        Raises the version, ends every session, refuses links and codes, tells the user, and returns what to publish.
        Raises `NotFound` for a missing or disabled user.

        :param language: of the notice, an `Accept-Language`.
        """
        row = await tx.one(
            "UPDATE ww_users SET password_hash = :hash, password_set_at = :now, updated_at = :now,"
            " token_version = token_version + 1 WHERE id = :id AND disabled_at IS NULL"
            " RETURNING token_version, email, email_verified_at",
            hash=password_hash,
            now=now,
            id=user_id,
        )
        if row is None:
            raise NotFound("There is no such user.")
        await one_time.forget_all(tx, user_id)
        if reason != "password_changed":  # a thief may have made keys; a user who knows the password looks after theirs
            await forget_keys(tx, user_id)
        verified = row["email_verified_at"] is not None
        await self._notices.tell(tx, "password_changed", user_id, row["email"] if verified else None, language)
        # Ending the sessions locks them: no refresh can move `access_until` after it is read.
        await revocation.end_sessions(tx, user_id, reason=reason, now=now)
        return await revocation.refuse_user(tx, user_id, row["token_version"], now=now)

    async def change_identifiers(
        self,
        user: User,
        *,
        username: str | None,
        email: str | None,
        name: str | UnsetType | None = UNSET,
        client: Client,
        check: Unit[None],
        by: Operator | None = None,
    ) -> User:
        """Change username, e-mail address or both, where None keeps one, and the name.

        Without a change nothing is written. A new address is unverified. It refuses tokens issued before it, as does
        what tokens carry; sessions stay.

        :param name: None removes it.
        :param check: awaited first, with the unit's `tx`; raises when the caller's session has ended.
        :param by: the operator who does it in place of the user; not limited here.
        :raises Conflict: `username_taken` or `email_taken`.
        :raises TooManyAttempts: too many changes or conflicts.
        """
        named = self._requirements.changed(user, username, email)
        values: dict[str, str | None] = {}
        for kind, identifier in named.items():
            values |= {kind: identifier.text, f"{kind}_key": identifier.key}
        if name is not UNSET:
            values["name"] = None if name is None else checked_name(name)
        if _with(user, values) == user:
            return user
        self._own_claims.require_fit(_with(user, values), values)
        if by is None:
            await self._throttle.take(*takes_of("change", client.address, user.id), client=client, user=user.id)
        now = self._clock.now()
        renewed = "email" in named

        async def unit(tx: Tx) -> tuple[User, Published]:
            await check(tx)
            if renewed:
                await require_free_address(tx, named["email"].key, user.id)
                await tx.run("UPDATE ww_users SET email_verified_at = NULL WHERE id = :id", id=user.id)
            changed, entries = await write(tx, user.id, values, now=now, raises=renewed)
            if renewed:
                await self._forget_address(tx, user, by)
            await audit.record(
                tx,
                "user_changed",
                at=now,
                client=client,
                actor=user.id if by is None else by.user_id,
                user=user.id,
                detail={"fields": " ".join(each for each in values if not each.endswith("_key"))},
            )
            return changed, entries

        async with self.may_tell(client, user.id, by):
            return await self.named_uniquely(unit)

    async def _forget_address(self, tx: Tx, user: User, by: Operator | None) -> None:
        """Refuse links to the former address, and tell it what an operator has done.

        An operator may be taking the account back from a thief: then no link from before undoes a change. A user who
        comes here had no confirmed address, or no mail is sent.
        """
        await one_time.forget_all(tx, user.id, undo_too=by is not None)
        if by is not None and user.email_verified_at is not None:
            await self._notices.tell(tx, "address_changed_for_you", user.id, user.email, "")

    async def disable(self, user_id: str, *, client: Client, actor: str | None = None, check: Unit[None]) -> User:
        """Disable a user: end every session, refuse every token. `check` is awaited first. Raises `NotFound`."""
        change = "disabled_at = COALESCE(disabled_at, :now)"
        return await self._revise(user_id, change, "user_disabled", client, actor, check, end_reason="disabled")

    async def enable(self, user_id: str, *, client: Client, actor: str | None = None, check: Unit[None]) -> User:
        """Let a disabled user log in again. Raises `NotFound`. `check` as in `disable`."""
        return await self._revise(user_id, "disabled_at = NULL", "user_enabled", client, actor, check)

    async def _revise(
        self,
        user_id: str,
        change: str,
        event: str,
        client: Client,
        actor: str | None,
        check: Unit[None],
        *,
        end_reason: str | None = None,
    ) -> User:
        now = self._clock.now()

        async def unit(tx: Tx) -> tuple[User, Published]:
            await check(tx)
            row = await tx.one(
                f"UPDATE ww_users SET {change}, updated_at = :now, token_version = token_version + 1"
                f" WHERE id = :id RETURNING {COLUMNS}",
                id=user_id,
                now=now,
            )
            if row is None:
                raise NotFound("There is no such user.")
            user = User.of(row)
            if end_reason is not None:
                # The owner's way back stays. It is refused until the account is enabled.
                await one_time.forget_all_but_the_oldest_undo(tx, user_id, now=now)
                await revocation.end_sessions(tx, user_id, reason=end_reason, now=now)
            entries = await revocation.refuse_user(tx, user_id, user.token_version, now=now)
            await audit.record(tx, event, at=now, client=client, actor=actor, user=user_id)
            return user, entries

        return await self._revocations.commit(unit, ends=end_reason is not None)

    async def delete(
        self,
        user: User,
        *,
        client: Client,
        check: Unit[None],
        by: Operator | None = None,
        erase_after: int = erasing.AFTER_CLOSING,
    ) -> None:
        """Delete a user and end all sessions; the id is never used again. Parameters as in `change_identifiers`.

        A user who does it is told by mail. Links that anyone asked for to the address, and mails that were given up, go
        with the user. The sweep deletes the sessions' rows, and erases addresses from the audit records: many must not
        delay this.

        :param check: locks the user's row, where no operator does it.
        :raises TooEarly: `closing_too_early`, but for operators.
        """
        now = self._clock.now()

        async def unit(tx: Tx) -> tuple[str | None, Published]:
            await check(tx)
            if by is None:
                await self._require_no_way_back(tx, user.id, now)
                row = await tx.one(_CONFIRMED, id=user.id)
                stored = None if row is None else row["email"]
                await self._notices.tell(tx, "account_closed", user.id, stored, client.language)
            await revocation.end_sessions(tx, user.id, reason="deleted", now=now)
            entries = await revocation.refuse_user(tx, user.id, user.token_version + 1_000_000, now=now)
            row = await tx.one("DELETE FROM ww_users WHERE id = :id RETURNING email_key", id=user.id)
            await one_time.forget_all(tx, user.id, undo_too=True)
            await outbox.forget_given_up(tx, user.id)
            await erasing.ask(tx, user.id, now=now, after=erase_after)
            actor = user.id if by is None else by.user_id
            await audit.record(tx, "user_deleted", at=now, client=client, actor=actor, user=user.id)
            return None if row is None else row["email_key"], entries

        address_key = await self._revocations.commit(unit)
        if address_key is not None:
            with suppress(StorageUnavailable):  # the user is deleted, and these links end within a day
                await sweeping.forget_address(self._database, address_key)

    async def _require_no_way_back(self, tx: Tx, user_id: str, now: int) -> None:
        """Refuse to close an account that a former address can take back: it may be a thief who closes it.

        The notice would go to the thief's address, and the owner's link would lead to nothing.
        """
        undo = await one_time.open_undo(tx, user_id, now=now)
        if undo is not None:
            since = minute(undo.expires_at)
            message = f"The e-mail address was changed lately. You can close the account from {since} on."
            raise TooEarly(message, code="closing_too_early", since=undo.expires_at)

    async def learn_kinds(self) -> None:
        """Teach the hasher every kind of hash in the database, and the preferred kind."""
        known = "SELECT kind FROM ww_password_kinds WHERE kind = :kind"
        if await self._database.one(known, kind=self._hasher.preferred_kind) is None:
            sample = await self._hasher.sample()
            await self._database.run(_KNOW_KIND, kind=kind_of(sample), sample=sample)
        for row in await self._database.all("SELECT kind, sample FROM ww_password_kinds"):
            self._hasher.learn(row["kind"], row["sample"])

    @asynccontextmanager
    async def may_tell(self, client: Client, account: str | None, by: Operator | None = None) -> AsyncIterator[None]:
        """Limit how often anything answers "this is taken", with one limit for all.

        The limit is asked first, and refuses free names too: otherwise the refusal would be the answer. Operators, who
        may list everyone, are not limited.
        """
        if client is LOCAL or by is not None:
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

    async def named_uniquely(self, unit: Unit[tuple[T, Published]]) -> T:
        """Commit a unit that names a user. Raises `Conflict`: `username_taken` or `email_taken`."""
        try:
            return await self._revocations.commit(unit)
        except UniqueViolation as error:
            code, what = _TAKEN.get(error.index, ("conflict", "value"))
            raise Conflict(f"This {what} is taken.", code=code) from error


def _with(user: User, values: dict[str, str | None]) -> User:
    return msgspec.structs.replace(user, **{each: value for each, value in values.items() if not each.endswith("_key")})


_CONFIRMED = "SELECT email FROM ww_users WHERE id = :id AND email_verified_at IS NOT NULL"
_KNOW_KIND = "INSERT INTO ww_password_kinds (kind, sample) VALUES (:kind, :sample) ON CONFLICT (kind) DO NOTHING"

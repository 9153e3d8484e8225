"""What an operator does to an account or a session. No HTTP; who may is asked before."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from watchword.errors import Conflict, FieldError, InvalidInput, NotFound
from watchword.identity import audit, one_time, revocation
from watchword.identity.audit import LOCAL, Client, Operator
from watchword.identity.changing import write
from watchword.identity.granting import unchecked as unchecked  # noqa: PLC0414 - re-exported
from watchword.identity.kernel import Kernel
from watchword.identity.revocation import Published
from watchword.identity.roles import checked
from watchword.identity.sessions.row import IS_LIVE
from watchword.identity.trail import erasing
from watchword.identity.user_data import NO_DATA, UserData
from watchword.identity.user_row import COLUMNS, User
from watchword.storage.database import Row, Tx, Unit

_LIVE = f"""
SELECT ww_sessions.id AS id, user_id, username, email, ww_sessions.created_at AS created_at, rotated_at,
    idle_expires_at, address, agent
FROM ww_sessions LEFT JOIN ww_users ON ww_users.id = ww_sessions.user_id
WHERE ww_sessions.id > :after AND {IS_LIVE} AND (:user = '' OR user_id = :user) ORDER BY ww_sessions.id LIMIT :limit
"""


class Metadata(NamedTuple):
    """What operators keep with a user, both as stored text."""

    public: str
    private: str


class Invited(NamedTuple):
    """A link that was sent: the seconds that it works, and whether the user has a password until then."""

    expires_in: int
    has_password: bool


class Administration:
    """Changes accounts and ends sessions for an operator.

    :param client: from where; each change is recorded with it.
    :param actor: the id of the user who does it; None for a command.
    :param check: awaited first in the unit of each change; raises when they may not, or not any more. Commands, whose
        user has the database, give `unchecked`.
    """

    def __init__(self, kernel: Kernel, *, client: Client, actor: str | None = None, check: Unit[None]) -> None:
        self._kernel = kernel
        self._client = client
        self._actor = actor
        self._check = check

    async def create(
        self,
        *,
        username: str | None,
        email: str | None,
        password: str | None,
        roles: tuple[str, ...] = (),
        data: UserData = NO_DATA,
    ) -> User:
        """Make a user. Without a password an invitation goes to the address, in the same unit.

        Raises as `Users.create`; `Forbidden` (`mail_off`), `InvalidInput` where an invitation has no address.
        """
        asks, address = self._kernel.asks, None
        if password is None:
            asks.require_mail()
            if email is None:
                raise InvalidInput(FieldError("email", "required", "An invitation needs an e-mail address."))
            address = asks.new_address(email)
            await asks.count_network(self._client)

        async def also(tx: Tx, user: User) -> None:
            if address is not None:
                await asks.write(tx, "invite", address, client=self._client, user_id=user.id)
                await self._record(tx, "user_invited", user.id, user.created_at)

        return await self._kernel.users.create(
            username=username,
            email=email,
            password=password,
            roles=roles,
            data=data,
            client=self._client,
            by=Operator(self._actor),
            check=self._check,
            also=also,
        )

    async def disable(self, user_id: str) -> User:
        """Disable a user; every session ends. Raises `NotFound`."""
        return await self._kernel.users.disable(user_id, client=self._client, actor=self._actor, check=self._check)

    async def enable(self, user_id: str) -> User:
        """Let a disabled user log in again. Raises `NotFound`."""
        return await self._kernel.users.enable(user_id, client=self._client, actor=self._actor, check=self._check)

    async def set_password(self, user: User, password: str) -> None:
        """Set a password; every session ends. Raises `InvalidInput`, `Conflict` (`disabled`), `Overloaded`."""
        _require_enabled(user)
        hashed = await self._kernel.users.hash_new_password(user, password, field="password", address=None)
        now = self._kernel.clock.now()

        async def unit(tx: Tx) -> tuple[None, Published]:
            await self._check(tx)
            entries = await self._kernel.users.set_password(tx, user.id, hashed, now=now, reason="password_set")
            await one_time.forget_all(tx, user.id, undo_too=True)  # someone who took the account over may have one
            await self._record(tx, "password_set", user.id, now)
            return None, entries

        await self._kernel.revocations.commit(unit)

    async def invite(self, user: User) -> Invited:
        """Send the user a link by which to set a password.

        It replaces earlier invitations. A user who has a password gets the shorter link to set a new one.

        Raises `Forbidden` (`mail_off`), `InvalidInput` without an address, `Conflict` (`disabled`), and, but for a
        command, `TooManyAttempts`: a network asks for only so many mails.
        """
        asks, now = self._kernel.asks, self._kernel.clock.now()
        asks.require_mail()
        _require_enabled(user)
        if user.email is None:
            raise InvalidInput(FieldError("email", "required", "This user has no e-mail address to send a link to."))
        address = asks.address(user.email)
        if self._client is not LOCAL:
            await asks.count_network(self._client)

        async def unit(tx: Tx) -> Invited:
            await self._check(tx)
            row = await tx.one("SELECT password_hash FROM ww_users WHERE id = :id", id=user.id)
            purpose = "invite" if row is None or row["password_hash"] is None else "reset"
            await one_time.forget_invitations(tx, user.id)
            await asks.write(tx, purpose, address, client=self._client, user_id=user.id)
            await self._record(tx, "user_invited", user.id, now)
            return Invited(one_time.LIFETIMES[purpose], has_password=purpose == "reset")

        return await self._kernel.database.transact(unit)

    async def rename(
        self, user: User, *, username: str | None, email: str | None, name: str | UnsetType | None = UNSET
    ) -> User:
        """Change username, e-mail address or name. Raises as `Users.change_identifiers`."""
        return await self._kernel.users.change_identifiers(
            user,
            username=username,
            email=email,
            name=name,
            client=self._client,
            check=self._check,
            by=Operator(self._actor),
        )

    async def metadata(self, user_id: str) -> Metadata:
        """Return a user's metadata. Raises `NotFound`."""
        row = await self._kernel.database.one(
            "SELECT public_metadata, private_metadata FROM ww_users WHERE id = :id", id=user_id
        )
        if row is None:
            raise NotFound("There is no such user.")
        return Metadata(row["public_metadata"], row["private_metadata"])

    async def set_metadata(self, user: User, *, public: str | None = None, private: str | None = None) -> Metadata:
        """Replace one object of metadata or both, as whole texts that `user_data` has checked; None keeps one.

        Where tokens carry some of what changed, earlier ones are refused. Raises `NotFound`, `InvalidInput`.
        """
        values = {
            name: text
            for name, text in (("public_metadata", public), ("private_metadata", private))
            if text is not None
        }
        if public is not None:
            self._kernel.own_claims.require_fit(msgspec.structs.replace(user, public_metadata=public))
        now = self._kernel.clock.now()

        async def unit(tx: Tx) -> tuple[None, Published]:
            await self._check(tx)
            _, entries = await write(tx, user.id, values, now=now)
            await self._record(tx, "metadata_changed", user.id, now, detail={"fields": " ".join(values)})
            return None, entries

        if values:
            await self._kernel.revocations.commit(unit)
        return await self.metadata(user.id)

    async def change_roles(self, user_id: str, change: Callable[[frozenset[str]], frozenset[str]]) -> User:
        """Change the roles by a function of those there are: of two changes at once neither is lost.

        Earlier tokens are refused. Without a change nothing is written. Raises `NotFound`, `InvalidInput`.
        """
        now = self._kernel.clock.now()

        async def unit(tx: Tx) -> tuple[User, Published]:
            await self._check(tx)
            # This locks the row, so that the roles are still those.
            row = await tx.one(f"UPDATE ww_users SET roles = roles WHERE id = :id RETURNING {COLUMNS}", id=user_id)
            if row is None:
                raise NotFound("There is no such user.")
            held = User.of(row)
            roles = checked(tuple(change(frozenset(held.roles))))
            if roles == held.roles:
                return held, ()
            row = await tx.one(
                "UPDATE ww_users SET roles = :roles, updated_at = :now, token_version = token_version + 1"
                f" WHERE id = :id RETURNING {COLUMNS}",
                roles=" ".join(roles),
                now=now,
                id=user_id,
            )
            assert row is not None, "this unit has locked the row"
            changed = User.of(row)
            await self._record(tx, "roles_changed", user_id, now)
            return changed, await revocation.refuse_user(tx, user_id, changed.token_version, now=now)

        return await self._kernel.revocations.commit(unit)

    async def delete(self, user: User) -> None:
        """Delete the user, end all sessions, and erase addresses and agents from the audit records.

        The sweep goes on with that if this process ends meanwhile.
        """
        await self._kernel.users.delete(
            user, client=self._client, check=self._check, by=Operator(self._actor), erase_after=0
        )
        await erasing.erase(self._kernel.database, self._kernel.clock.now())

    async def end_sessions(self, user: User) -> int:
        """End every session of a user, and what an old application's tokens open; return how many sessions.

        Without any of these nothing is written.
        """
        now = self._kernel.clock.now()

        async def unit(tx: Tx) -> tuple[int, Published]:
            await self._check(tx)
            old = await revocation.refuse_old_tokens(tx, user.id, now=now)
            ended = await revocation.end_sessions(tx, user.id, reason="operator", now=now)
            if ended or old:
                await self._record(tx, "sessions_ended", user.id, now, detail={"count": str(len(ended))})
            return len(ended), [*old, *(entry for entry in ended if (entry.expires_at or 0) > now)]

        return await self._kernel.revocations.commit(unit, ends=True)

    async def end_session(self, session_id: str) -> str:
        """End a session; return its user's id. Raises `NotFound`."""
        now = self._kernel.clock.now()

        async def unit(tx: Tx) -> tuple[str, Published]:
            await self._check(tx)
            entries = await revocation.end_session(tx, session_id, reason="operator", now=now)
            owner = await tx.one("SELECT user_id FROM ww_sessions WHERE id = :id", id=session_id)
            if not entries or owner is None:
                raise NotFound("There is no such session.")
            user = str(owner["user_id"])
            await self._record(tx, "session_ended", user, now, session=session_id, detail={"reason": "operator"})
            return user, entries

        return await self._kernel.revocations.commit(unit, ends=True)

    async def live_sessions(self, *, user_id: str = "", after: str = "", limit: int) -> list[Row]:
        """Return live sessions of one user or of all, oldest first, with their users' names."""
        return await self._kernel.database.scan(
            _LIVE, user=user_id, after=after, limit=limit, now=self._kernel.clock.now()
        )

    async def _record(
        self,
        tx: Tx,
        event: str,
        user: str,
        now: int,
        *,
        session: str | None = None,
        detail: dict[str, str] | None = None,
    ) -> None:
        await audit.record(
            tx, event, at=now, client=self._client, actor=self._actor, user=user, session=session, detail=detail
        )


def _require_enabled(user: User) -> None:
    if user.disabled_at is not None:
        raise Conflict("This account is disabled.", code="conflict")

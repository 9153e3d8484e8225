"""Does what a link or a code is for: once, and only for the user and the address that it was made for.

Each unit changes the user's row before it uses the link up, as every unit that locks both.
"""

from __future__ import annotations

from watchword.clock import Clock
from watchword.errors import Forbidden, Refused
from watchword.identity import audit, one_time, revocation
from watchword.identity.api_keys import forget_keys
from watchword.identity.audit import Client
from watchword.identity.identifiers import Identifier
from watchword.identity.known_devices import Shown
from watchword.identity.notices import Notices
from watchword.identity.one_time import Found, OneTime
from watchword.identity.revocation import Published, Revocations
from watchword.identity.showing import NOTHING, Brought, Showing, is_held, password_needed
from watchword.identity.takes import takes_of
from watchword.identity.throttle import Throttle
from watchword.identity.user_row import COLUMNS, User, insert, require_free_address
from watchword.identity.users import Users
from watchword.ids import new_id
from watchword.storage.database import Row, Tx

CONFIRMS = ("verify", "register", "change")
"""The purposes of links that confirm an address."""

# The value is the same: this locks the row.
_ADDRESS = """
UPDATE ww_users SET updated_at = updated_at WHERE id = :id AND email_verified_at IS NOT NULL RETURNING email, email_key
"""
_MINE = "id = :id AND email_key = :key AND disabled_at IS NULL"


def worthless() -> Refused:
    """Return the refusal of a link or a code: wrong, used, expired, or of an account that has changed."""
    message = "This link or code is wrong, was used before, or has expired. Ask for another one."
    return Refused(message, code="one_time_invalid")


def closed() -> Forbidden:
    """Return the refusal of a registration where only an operator makes accounts."""
    return Forbidden("This service does not let people register themselves.", code="registration_closed")


class Addresses:
    """Confirms, changes and restores addresses, and sets passwords, by links and codes.

    :param registers: whether people make accounts themselves.
    """

    def __init__(
        self,
        one_time_: OneTime,
        notices: Notices,
        users: Users,
        revocations: Revocations,
        throttle: Throttle,
        showing: Showing,
        clock: Clock,
        *,
        registers: bool,
    ) -> None:
        self._registers = registers
        self._one_time = one_time_
        self._notices = notices
        self._users = users
        self._revocations = revocations
        self._throttle = throttle
        self._showing = showing
        self._clock = clock

    async def found(
        self,
        purposes: tuple[str, ...],
        *,
        token: str | None = None,
        handle: str | None = None,
        code: str | None = None,
        client: Client,
    ) -> Found:
        """Return what a link, or a handle with its code, is for.

        A code takes one of its tries, and a wrong one counts for the network: else one client could guess at the mails
        of everyone at once. A link cannot be guessed.

        :raises Refused: `one_time_invalid`.
        :raises TooManyAttempts: too many wrong codes from this network.
        """
        if token is not None:
            found = await self._one_time.find(token, purposes)
        else:
            takes = takes_of("mail_code", client.address, None)
            async with self._throttle.attempt(*takes, client=client) as attempt:
                found = await self._one_time.try_code(handle or "", code or "", purposes)
                attempt.succeeded = found is not None
        if found is None:
            raise worthless()
        return found

    async def confirm(self, found: Found, *, client: Client, brought: Brought = NOTHING) -> None:
        """Confirm an address: of an account, of a registration, or of a change.

        :param brought: what shows the account too. Without that only an account is confirmed that no one can be in.
        :raises Refused: `one_time_invalid`.
        :raises InvalidInput: nothing shows the account; the link is not used up.
        :raises Unauthenticated: the password that was brought is wrong.
        :raises Conflict: `username_taken` or `email_taken` meanwhile; the link is not used up.
        :raises Forbidden: `registration_closed` meanwhile; the link is not used up.
        :raises TooManyAttempts: too many such conflicts.
        """
        if found.purpose == "register" and not self._registers:
            raise closed()
        work = {"verify": self._verify, "register": self._register, "change": self._change}[found.purpose]
        shown = await self._showing.by(found, brought, client=client)

        async def unit(tx: Tx) -> tuple[None, Published]:
            held = found.purpose != "verify" or await is_held(tx, found.user_id or "")
            published = await work(tx, found, client)
            if held and not shown:
                raise password_needed(found.purpose)
            return None, published

        async with self._users.may_tell(client, found.user_id):
            await self._users.named_uniquely(unit)

    async def _verify(self, tx: Tx, found: Found, client: Client) -> Published:
        now = self._clock.now()
        row = await tx.one(
            f"UPDATE ww_users SET email_verified_at = :now, updated_at = :now WHERE {_MINE} RETURNING id",
            now=now,
            id=found.user_id,
            key=found.address_key,
        )
        await self._use(tx, found, row)
        await audit.record(tx, "email_verified", at=now, client=client, actor=found.user_id, user=found.user_id)
        return ()

    async def _register(self, tx: Tx, found: Found, client: Client) -> Published:
        now, detail = self._clock.now(), found.detail
        if not await self._one_time.use(tx, found):
            raise worthless()
        named = {"email": Identifier("email", detail["email"], found.address_key)}
        if "username" in detail:
            named["username"] = Identifier("username", detail["username"], detail["username_key"])
        name = detail.get("name")
        user = User(new_id(), detail.get("username"), detail["email"], now, (), 1, now, now, None, None, name=name)
        await insert(tx, user, named, detail["password_hash"])
        await audit.record(
            tx, "user_created", at=now, client=client, actor=user.id, user=user.id, detail=audit.CONFIRMED
        )
        return ()

    async def _change(self, tx: Tx, found: Found, client: Client) -> Published:
        """Give an account its new address, if it still has the one that it had when it asked."""
        now = self._clock.now()
        before = await tx.one(f"SELECT {COLUMNS} FROM ww_users WHERE id = :id", id=found.user_id)
        row = await tx.one(
            "UPDATE ww_users SET email = :email, email_key = :key, email_verified_at = :now, updated_at = :now,"
            " token_version = token_version + 1"
            " WHERE id = :id AND COALESCE(email_key, '') = :old AND disabled_at IS NULL RETURNING id, token_version",
            email=found.detail["email"],
            key=found.address_key,
            now=now,
            id=found.user_id,
            old=found.detail["old_key"],
        )
        row = await self._use(tx, found, row)
        await require_free_address(tx, found.address_key, row["id"])
        assert before is not None, "it was changed"
        await one_time.forget_all(tx, row["id"])
        await self._notices.address_changed(tx, User.of(before), client.language)
        await audit.record(
            tx,
            "user_changed",
            at=now,
            client=client,
            actor=row["id"],
            user=row["id"],
            detail={"fields": "email"},
        )
        return await revocation.refuse_user(tx, row["id"], row["token_version"], now=now)

    async def undo(self, found: Found, *, client: Client) -> None:
        """Give an account its former address back, end every session, and remove the password.

        Anyone who changed the address without being its owner may know the password. The owner sets a new one by mail.
        The address that goes is told, if it was confirmed: it may be that of someone who has used the account since.

        :raises Refused: `one_time_invalid`.
        :raises Conflict: `email_taken`: another account has confirmed the address.
        """
        now = self._clock.now()

        async def unit(tx: Tx) -> tuple[None, Published]:
            released = await self._released(tx, found, client)
            before = await tx.one(_ADDRESS, id=found.user_id)
            row = await tx.one(
                "UPDATE ww_users SET email = :email, email_key = :key, email_verified_at = :now, updated_at = :now,"
                " password_hash = NULL, token_version = token_version + 1"
                " WHERE id = :id AND disabled_at IS NULL RETURNING id, token_version",
                email=found.detail["email"],
                key=found.address_key,
                now=now,
                id=found.user_id,
            )
            row = await self._use(tx, found, row)
            await require_free_address(tx, found.address_key, row["id"])
            await one_time.forget_all(tx, row["id"])
            await one_time.forget_undos(tx, row["id"], since=found.id)
            await forget_keys(tx, row["id"])
            await revocation.end_sessions(tx, row["id"], reason="email_change_undone", now=now)
            await audit.record(tx, "email_change_undone", at=now, client=client, actor=row["id"], user=row["id"])
            if before is not None and before["email_key"] != found.address_key:
                await self._notices.tell(tx, "account_taken_back", row["id"], before["email"], client.language)
            entries = await revocation.refuse_user(tx, row["id"], row["token_version"], now=now)
            return None, [*released, *entries]

        # Without `may_tell`: a thief who is in the account must not be able to use the owner's way back up.
        await self._users.named_uniquely(unit)

    async def _released(self, tx: Tx, found: Found, client: Client) -> Published:
        """Take the address from an account that never confirmed it: a thief who registers it must not stop the owner.

        That account goes on under its username. Without one it is disabled: nothing but the address named it, and it
        never showed that the address is its own. An operator can name and enable it.
        """
        now = self._clock.now()
        row = await tx.one(
            "UPDATE ww_users SET email = NULL, email_key = NULL, updated_at = :now, token_version = token_version + 1,"
            " disabled_at = CASE WHEN username_key IS NULL THEN COALESCE(disabled_at, :now) ELSE disabled_at END"
            " WHERE email_key = :key AND id <> :id AND email_verified_at IS NULL"
            " RETURNING id, token_version, username_key",
            now=now,
            key=found.address_key,
            id=found.user_id,
        )
        if row is None:
            return ()
        await one_time.forget_all(tx, row["id"])
        detail = {"fields": "email"}
        await audit.record(
            tx, "user_changed", at=now, client=client, actor=found.user_id, user=row["id"], detail=detail
        )
        if row["username_key"] is None:
            await revocation.end_sessions(tx, row["id"], reason="disabled", now=now)
            await audit.record(tx, "user_disabled", at=now, client=client, actor=found.user_id, user=row["id"])
        return await revocation.refuse_user(tx, row["id"], row["token_version"], now=now)

    async def reset_password(self, found: Found, password: str, *, client: Client, field: str) -> Shown:
        """Set a new password, which ends every session; no one is logged in by it.

        :param field: the password's name in the request.
        :raises Refused: `one_time_invalid`.
        :raises InvalidInput: the password is not acceptable; the link is not used up.
        """
        user = None if found.user_id is None else await self._users.find(found.user_id)
        if user is None:
            raise worthless()
        password_hash = await self._users.hash_new_password(user, password, field=field, address=client.address)
        now = self._clock.now()

        async def unit(tx: Tx) -> tuple[Shown, Published]:
            # The mail arrived: the address is the user's.
            row = await tx.one(
                f"UPDATE ww_users SET email_verified_at = COALESCE(email_verified_at, :now) WHERE {_MINE}"
                " RETURNING id, token_version",
                now=now,
                id=found.user_id,
                key=found.address_key,
            )
            row = await self._use(tx, found, row)
            entries = await self._users.set_password(
                tx, row["id"], password_hash, now=now, reason="password_reset", language=client.language
            )
            detail = audit.CONFIRMED if user.email_verified_at is None else None
            await audit.record(
                tx, "password_reset", at=now, client=client, actor=row["id"], user=row["id"], detail=detail
            )
            return Shown(row["id"], row["token_version"] + 1), entries

        return await self._revocations.commit(unit)

    async def _use(self, tx: Tx, found: Found, row: Row | None) -> Row:
        """Use it up for the user who was changed, or undo that change."""
        if row is None or not await self._one_time.use(tx, found):
            raise worthless()
        return row

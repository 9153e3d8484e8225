"""Whether a request that confirms an address also shows the account that gets it.

Anyone can make an account with a stranger's address, set its password, stay logged in, and wait for the owner of the
mailbox to press the button. So both are shown together: the mailbox by the link or the code, and the account by what
came with it. Someone who has the mailbox and does not know the account sets a new password by mail, which ends
everything from before. (Sudhodanan and Paverd, Pre-hijacked accounts, 2022.)
"""

from __future__ import annotations

from typing import Final, NamedTuple

from watchword.errors import FieldError, InvalidInput, Unauthenticated
from watchword.identity.audit import Client
from watchword.identity.hashing import Hasher
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.known_devices import REGISTERED, KnownDevices
from watchword.identity.login import LogIn
from watchword.identity.one_time import Found
from watchword.identity.password_factor import REFUSAL, PasswordFactor
from watchword.identity.revocation import UNTOUCHED
from watchword.identity.sessions.sessions import Sessions
from watchword.identity.takes import takes_of
from watchword.identity.throttle import Throttle
from watchword.identity.users import Users
from watchword.storage.database import Tx

_ASKED_BY_ITS_USER: Final = ("register", "change")
"""Purposes whose handle is given to someone who knows the account. Anyone may ask for another mail."""

_HELD = """
SELECT id FROM ww_users WHERE id = :id AND email_verified_at IS NULL AND (password_hash IS NOT NULL
    OR EXISTS (SELECT id FROM ww_sessions WHERE user_id = ww_users.id AND ended_at IS NULL)
    OR EXISTS (SELECT id FROM ww_api_keys WHERE user_id = ww_users.id))
"""
_NEEDED: Final = (
    "Enter the password of the account. If you do not know it, set a new one, as someone who has forgotten it."
)
_NOT_YOURS: Final = (
    "Enter the password that was chosen with it. If you did not choose one, do nothing: nothing is done."
)


class Brought(NamedTuple):
    """What came with a link or a code, besides it.

    :param password: as it was typed; "" without one.
    :param device: the device cookie, of a browser in which the user has registered or logged in.
    :param session: the refresh cookie.
    """

    password: str = ""
    device: str | None = None
    session: str | None = None


NOTHING: Final = Brought()


class Press(NamedTuple):
    """What the button of a page behind a link sends.

    :param new_password: to set; "" where the page asks for none.
    :param username: of a new account; "" likewise.
    """

    token: str
    new_password: str
    brought: Brought
    client: Client
    username: str = ""


class Showing:
    """Finds out whether an account is shown."""

    def __init__(
        self,
        login: LogIn,
        sessions: Sessions,
        known_devices: KnownDevices,
        hasher: Hasher,
        users: Users,
        throttle: Throttle,
    ) -> None:
        self._login = login
        self._sessions = sessions
        self._known_devices = known_devices
        self._hasher = hasher
        self._users = users
        self._throttle = throttle
        self._factor = PasswordFactor(hasher, users)

    async def by(self, found: Found, brought: Brought, *, client: Client) -> bool:
        """Tell whether the account is shown.

        :raises Unauthenticated: a password was sent, and it is wrong.
        :raises TooManyAttempts: a password counts as at a log-in.
        :raises Overloaded: no place to hash.
        """
        if found.by_code and found.purpose in _ASKED_BY_ITS_USER:
            return True
        if found.purpose == "register":
            return await self._registration(found, brought, client)
        return await self._account(found, brought, client)

    async def _registration(self, found: Found, brought: Brought, client: Client) -> bool:
        if self._known_devices.recognise(brought.device, found.id, REGISTERED) is not None:
            return True
        if not brought.password:
            return False
        self._hasher.require_place(client.address)
        async with self._throttle.attempt(*takes_of("login", client.address, found.id), client=client) as attempt:
            attempt.succeeded = False
            checked = await self._hasher.check(
                password=brought.password, password_hash=found.detail["password_hash"], address=client.address
            )
            if not checked.ok:
                raise Unauthenticated(REFUSAL)
            # A right one is limited too, as at a log-in: each costs a hash, and the name may be taken.
            await self._throttle.take(*takes_of("session", client.address, found.id), client=client)
            attempt.succeeded = True
        return True

    async def _account(self, found: Found, brought: Brought, client: Client) -> bool:
        user = None if found.user_id is None else await self._users.find(found.user_id)
        if user is None or user.disabled_at is not None:
            return False
        versions = (user.token_version, REGISTERED) if user.token_version == UNTOUCHED else (user.token_version,)
        if any(self._known_devices.recognise(brought.device, user.id, each) is not None for each in versions):
            return True
        if brought.session is not None:
            held = await self._sessions.held(brought.session, client_id=FIRST_PARTY)
            if held is not None and held.whole and held.sub == user.id:
                return True
        if not brought.password:
            return False
        factor = self._factor.prove(brought.password, client.address)
        await self._login.confirm(user.id, factor, client=client, device=brought.device)
        return True


async def is_held(tx: Tx, user_id: str) -> bool:
    """Tell whether anyone may be in an account whose address is not confirmed: by a password, a session, an API key."""
    return await tx.one(_HELD, id=user_id) is not None


def password_needed(purpose: str) -> InvalidInput:
    """Return the refusal of a link or a code with which nothing shows the account."""
    return InvalidInput(FieldError("password", "required", _NEEDED if purpose == "verify" else _NOT_YOURS))

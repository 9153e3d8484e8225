"""The password as a factor: for logging in, changing it and closing an account."""

from __future__ import annotations

from watchword.identity.audit import Client
from watchword.identity.factors import Candidate, Confirmed, Factor, Proof
from watchword.identity.hashing import Hasher, kind_of
from watchword.identity.login import LoggedIn, LogIn
from watchword.identity.revocation import Published
from watchword.identity.sessions.holding import Holder
from watchword.identity.users import Users
from watchword.storage.database import Tx, Unit

METHOD = "pwd"
"""RFC 8176."""

REFUSAL = "The username, e-mail address or password is wrong."


class PasswordFactor:
    """Checks passwords in the hash pool."""

    def __init__(self, hasher: Hasher, users: Users) -> None:
        self._hasher = hasher
        self._users = users

    def prove(self, password: str, address: str) -> Factor:
        """Return the factor for one attempt. Its work is the same for unknown and disabled users.

        Raises `Overloaded` when the pool is full, before any look-up or count: the same for every name.
        """
        self._hasher.require_place(address)

        async def prove(candidate: Candidate | None) -> Proof | None:
            user_id = "" if candidate is None else candidate.user.id
            stored = await self._users.password_hash(user_id)  # for an unknown user too: the same queries
            if stored is not None and not self._hasher.knows(kind_of(stored)):
                # Another process, with other settings, made this hash: failures pay for its kind from now on.
                await self._users.learn_kinds()
            check = await self._hasher.check(
                password=password,
                password_hash=stored,
                allowed=candidate is not None and candidate.allowed,
                address=address,
            )
            if not check.ok:
                return None
            better = None if check.upgrade is None else keep_better(user_id, stored, check.upgrade)
            return Proof(METHOD, better)

        return Factor(prove, refusal=REFUSAL, wrong="wrong_password")


def keep_better(user_id: str, checked: str | None, better: str) -> Unit[None]:
    """Replace a weaker hash, unless it has changed. The password, and so the credential, is the same."""

    async def unit(tx: Tx) -> None:
        await tx.run(
            "UPDATE ww_users SET password_hash = :new WHERE id = :id AND password_hash = :old",
            id=user_id,
            new=better,
            old=checked,
        )

    return unit


async def change_password(
    login: LogIn,
    users: Users,
    caller: Holder,
    confirmed: Confirmed,
    password_hash: str,
    *,
    client: Client,
    client_id: str,
) -> LoggedIn:
    """Set a new password, end every session, and open a new one. Raises as `LogIn.renew`."""

    async def change(tx: Tx, now: int) -> Published:
        return await users.set_password(
            tx, confirmed.user.id, password_hash, now=now, reason="password_changed", language=client.language
        )

    return await login.renew(caller, confirmed, change, event="password_changed", client=client, client_id=client_id)

"""The password as a factor: what logging in, changing it, and closing an account ask for alike."""

from __future__ import annotations

from watchword.identity.hashing import Hasher, kind_of
from watchword.identity.login import Candidate, Proof, Prove
from watchword.identity.users import Users

METHOD = "pwd"
"""RFC 8176."""


class PasswordFactor:
    """Checks passwords in the hash pool."""

    def __init__(self, hasher: Hasher, users: Users) -> None:
        self._hasher = hasher
        self._users = users

    def prove(self, password: str, address: str) -> Prove:
        """The factor for one attempt. Does the same work whether there is such a user, and whether they may log in.

        Raises `Overloaded` here and now when the pool has no place: no one has been looked up and nothing counted by
        then, so a storm that is turned away costs little, and it is the same for every name.
        """
        self._hasher.require_place(address)

        async def prove(candidate: Candidate | None) -> Proof | None:
            stored = None if candidate is None else candidate.password_hash
            if stored is not None and not self._hasher.knows(kind_of(stored)):
                # Another process, with other settings, made this one: from now on failures pay for its kind too.
                await self._users.learn_kinds()
            check = await self._hasher.check(
                password=password,
                password_hash=stored,
                allowed=candidate is not None and candidate.allowed,
                address=address,
            )
            return Proof(METHOD, check.upgrade) if check.ok else None

        return prove

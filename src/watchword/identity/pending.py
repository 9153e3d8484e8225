"""Keep log-ins that wait for a second factor, each under a handle that opens one session at most.

A handle alone opens no session. It is stored hashed, for five minutes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from watchword import opaque
from watchword.clock import Clock
from watchword.errors import Unauthenticated
from watchword.identity.rights import EVERYTHING, Asked
from watchword.storage.ephemeral import Ephemeral

LIFETIME: Final = 300
"""Seconds between first and second proof."""

TRIES: Final = 5
"""Second proofs per handle."""

_PREFIX = "wwp_"


class SecondFactorNeeded(Unauthenticated):
    """The first proof was right; `LogIn.complete` needs a second.

    A caller that knows no second factor refuses it as `Unauthenticated`.

    :param handle: opens one session at most, within five minutes and five tries, for the same client.
    :param wanted: the methods, one of which must follow.
    """

    def __init__(self, message: str, *, handle: str, wanted: tuple[str, ...]) -> None:
        super().__init__(message)
        self.handle = handle
        self.wanted = wanted


class Pending(msgspec.Struct, frozen=True):
    """What the first factor proved.

    :param version: the user's `token_version`; its change refuses the log-in.
    :param client_id: the only client that can go on.
    :param method: as in `Proof`.
    :param wanted: the second factors to ask for.
    :param tries: second proofs left.
    :param asked: what the session will be limited to.
    """

    user_id: str
    version: int
    client_id: str
    method: str
    wanted: tuple[str, ...]
    tries: int
    expires_at: int
    asked: Asked = EVERYTHING


class PendingLogIns:
    """The waiting log-ins. Every method may raise `StorageUnavailable`."""

    def __init__(self, ephemeral: Ephemeral, clock: Clock) -> None:
        self._ephemeral = ephemeral
        self._clock = clock

    async def begin(
        self, *, user_id: str, version: int, client_id: str, method: str, wanted: tuple[str, ...], asked: Asked
    ) -> str:
        """Keep what was proven, and return its handle."""
        handle = opaque.make_secret(_PREFIX)
        expires_at = self._clock.now() + LIFETIME
        await self._keep(handle, Pending(user_id, version, client_id, method, wanted, TRIES, expires_at, asked))
        return handle

    async def find(self, handle: str) -> Pending | None:
        """Return what a handle keeps, without using it up."""
        if not opaque.looks_like(handle, _PREFIX):
            return None
        return _read(await self._ephemeral.get(_name(handle), self._clock.now()))

    async def take(self, handle: str) -> Pending | None:
        """Take what a handle keeps: of several requests one gets it."""
        return _read(await self._ephemeral.take(_name(handle), self._clock.now()))

    async def give_back(self, handle: str, pending: Pending, *, used: bool) -> None:
        """Keep it again with the same expiry; with one try less if that was `used`, and not after the last one."""
        left = pending.tries - used
        if left:
            await self._keep(handle, msgspec.structs.replace(pending, tries=left))

    async def _keep(self, handle: str, pending: Pending) -> None:
        now = self._clock.now()
        if now < pending.expires_at:
            await self._ephemeral.put(
                _name(handle), msgspec.json.encode(pending).decode(), pending.expires_at - now, now
            )


def _name(handle: str) -> str:
    return f"pending_log_in:{opaque.fingerprint(handle.encode())}"


def _read(value: str | None) -> Pending | None:
    return None if value is None else msgspec.json.decode(value, type=Pending)

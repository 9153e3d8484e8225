"""Keep log-ins that wait for a second factor, each under a handle that opens one session at most.

A handle alone opens no session. It is stored hashed, for five minutes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from watchword import opaque
from watchword.clock import Clock
from watchword.storage.ephemeral import Ephemeral

LIFETIME: Final = 300
"""Seconds between first and second proof."""

TRIES: Final = 5
"""Second proofs per handle."""

_PREFIX = "wwp_"


class Pending(msgspec.Struct, frozen=True):
    """What the first factor proved.

    :param version: the user's `token_version`; its change refuses the log-in.
    :param client_id: the only client that can go on.
    :param method: as in `Proof`.
    :param wanted: the second factors to ask for.
    :param tries: second proofs left.
    """

    user_id: str
    version: int
    client_id: str
    method: str
    wanted: tuple[str, ...]
    tries: int
    expires_at: int


class PendingLogIns:
    """The waiting log-ins. Every method may raise `StorageUnavailable`."""

    def __init__(self, ephemeral: Ephemeral, clock: Clock) -> None:
        self._ephemeral = ephemeral
        self._clock = clock

    async def begin(self, *, user_id: str, version: int, client_id: str, method: str, wanted: tuple[str, ...]) -> str:
        """Keep what was proven, and return its handle."""
        handle = opaque.make_secret(_PREFIX)
        expires_at = self._clock.now() + LIFETIME
        await self._keep(handle, Pending(user_id, version, client_id, method, wanted, TRIES, expires_at))
        return handle

    async def find(self, handle: str) -> Pending | None:
        """Return what a handle keeps, without using it up."""
        if not opaque.looks_like(handle, _PREFIX):
            return None
        return _read(await self._ephemeral.get(_name(handle), self._clock.now()))

    async def take(self, handle: str) -> Pending | None:
        """Take what a handle keeps: of several requests one gets it."""
        return _read(await self._ephemeral.take(_name(handle), self._clock.now()))

    async def give_back(self, handle: str, pending: Pending) -> None:
        """Keep it again with one try less and the same expiry; not after the last try."""
        if pending.tries > 1:
            await self._keep(handle, msgspec.structs.replace(pending, tries=pending.tries - 1))

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

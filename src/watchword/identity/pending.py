"""Log-ins that wait for a second factor: what the first one proved, kept under a handle that can be used once.

A handle is worth nothing by itself: no session and no cookie comes of it before the second proof. It is kept hashed,
for five minutes, and a wrong second proof uses up one of its few tries.
"""

from __future__ import annotations

from typing import Final

import msgspec

from watchword import opaque
from watchword.clock import Clock
from watchword.storage.ephemeral import Ephemeral

LIFETIME: Final = 300
"""Seconds from the first proof in which the second one must follow."""

TRIES: Final = 5
"""Second proofs that may be tried with one handle."""

_PREFIX = "wwp_"


class Pending(msgspec.Struct, frozen=True):
    """What the first factor proved.

    :param version: the user's `token_version` at that time: whatever changes it refuses this log-in.
    :param client_id: the client that began; no other can go on.
    :param method: what was proven first, as in `Proof`.
    :param wanted: the methods of the second factors that the user may be asked for.
    :param tries: how many second proofs may still be tried.
    """

    user_id: str
    version: int
    client_id: str
    method: str
    wanted: tuple[str, ...]
    tries: int
    expires_at: int


class PendingLogIns:
    """The log-ins that wait. Every method may raise `StorageUnavailable`."""

    def __init__(self, ephemeral: Ephemeral, clock: Clock) -> None:
        self._ephemeral = ephemeral
        self._clock = clock

    async def begin(self, *, user_id: str, version: int, client_id: str, method: str, wanted: tuple[str, ...]) -> str:
        """Keep what was proven; the handle under which it can be taken."""
        handle = opaque.make_secret(_PREFIX)
        expires_at = self._clock.now() + LIFETIME
        await self._keep(handle, Pending(user_id, version, client_id, method, wanted, TRIES, expires_at))
        return handle

    async def find(self, handle: str) -> Pending | None:
        """What is kept under a handle, and stays there; None for anything else."""
        if not opaque.looks_like(handle, _PREFIX):
            return None
        return _read(await self._ephemeral.get(_name(handle), self._clock.now()))

    async def take(self, handle: str) -> Pending | None:
        """What is kept under a handle, which is gone with this: of several at once, one gets it."""
        return _read(await self._ephemeral.take(_name(handle), self._clock.now()))

    async def give_back(self, handle: str, pending: Pending) -> None:
        """Keep it again after a proof that was not right, with a try less and no more time; not after the last try."""
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

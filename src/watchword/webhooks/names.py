"""Looks up where the name of a host leads.

A name server that never answers holds a thread for as long as the system waits. The event loop's own threads look up
the database's name too, so they are not used here. Of each name there is one look-up at a time, however many ask.
"""

from __future__ import annotations

import asyncio
import socket

from watchword.hosts import Found
from watchword.threads import Threads


class Names:
    """Looks up names, for one event loop."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, int], asyncio.Future[Found]] = {}

    async def find(self, host: str, port: int) -> Found:
        """Return the addresses of a name. Raises `OSError`."""
        place = host, port
        asked = self._asked.get(place)
        if asked is None:
            asked = self._asked[place] = _begun(host, port)
            asked.add_done_callback(lambda done: self._ended(place, done))
        return await asyncio.shield(asked)  # others may wait for it too

    def _ended(self, place: tuple[str, int], asked: asyncio.Future[Found]) -> None:
        self._asked.pop(place, None)
        if not asked.cancelled():
            asked.exception()  # perhaps no one waits any more


def _begun(host: str, port: int) -> asyncio.Future[Found]:
    thread = Threads(1, "webhook-name")
    try:
        return thread.run(_look_up, host, port)
    finally:
        thread.close()


def _look_up(host: str, port: int) -> Found:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))

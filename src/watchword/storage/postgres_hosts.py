"""The servers that a URL names, of which one takes writes: it is found, and found again after a fail-over.

The driver tries several hosts too, but gives all of them together one deadline: a first host that answers nothing
(switched off, or cut off) would use it up each time, and the second would never be asked.
"""

from __future__ import annotations

import ssl
from typing import Any

import asyncpg

from watchword.settings.postgres_url import PostgresUrl
from watchword.storage.postgres_faults import is_of_driver, only_reads, state_of

ALONE_SECONDS = 5.0
"""To connect, where there is one host."""

EACH_SECONDS = 1.5
"""To connect to each of several. The second is then reached within `postgres.DEADLINE`."""


class Hosts:
    """Where connections are made to. The host that was right last is tried first."""

    def __init__(self, url: PostgresUrl) -> None:
        self._urls = list(url.dsns)
        self._seconds = ALONE_SECONDS if len(url.dsns) == 1 else EACH_SECONDS
        self._tls = {"ssl": ssl.create_default_context()} if url.trusts_system else {}

    async def connect(self, **how: Any) -> Any:
        """Connect to the first host that is as the URL asks for. Raises what tells most of why none was.

        :param how: given to the driver.
        """
        failures = []
        for url in tuple(self._urls):
            try:
                connection = await asyncpg.connect(url, timeout=self._seconds, **self._tls, **how)
            except Exception as error:
                if not is_of_driver(error):
                    raise
                failures.append(error)
            else:
                self._prefer(url)
                return connection
        raise max(failures, key=_tells)

    def _prefer(self, url: str) -> None:
        if self._urls[0] != url:
            self._urls = [url, *(each for each in self._urls if each != url)]


def _tells(error: Exception) -> int:
    """How much an error tells: what a server said, then that it only reads, then that it was not reached."""
    return 2 if state_of(error) else int(only_reads(error))

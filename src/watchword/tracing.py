"""Where the time of a request goes, told in spans. No tracing library is known here.

A span's name and attributes are ours: never a path with its values, a query, a header, an address, SQL with values, or
the message of an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Ended = Callable[[str, int], None]
"""Takes the route's path, or an empty text, and the status; 0 when the client hung up before its answer."""


class Tracer(Protocol):
    """Makes spans. Nothing here waits or raises."""

    @property
    def on(self) -> bool:
        """Tell whether spans go anywhere."""
        ...

    def request(self, method: str, headers: Mapping[bytes, bytes]) -> AbstractContextManager[Ended]:
        """Trace one request, as part of the caller's trace if it sends a `traceparent`."""
        ...

    def step(self, name: str) -> AbstractContextManager[object]:
        """Trace a part of the request at hand; outside of requests nothing is traced."""
        ...


class Untraced:
    """Makes no span."""

    on = False

    def request(self, method: str, headers: Mapping[bytes, bytes]) -> AbstractContextManager[Ended]:  # noqa: ARG002
        """Trace nothing."""
        return nullcontext(_ended)

    def step(self, name: str) -> AbstractContextManager[object]:  # noqa: ARG002
        """Trace nothing."""
        return _NOTHING


def _ended(route: str, status: int) -> None:
    """Take no notice."""


_NOTHING = nullcontext()
UNTRACED: Tracer = Untraced()

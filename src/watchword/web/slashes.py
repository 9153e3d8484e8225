"""Pages answer with a slash behind their address too, as people type it and some proxies write it: they lead on.

This is for pages alone. A path for programs is compared as it is, so that no proxy and we read it differently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from http import HTTPStatus

from watchword.web.route import Anyone, Call, Reply, Route

_PRINTABLE = range(0x21, 0x7F)


def slashed(routes: Sequence[Route]) -> Iterator[Route]:
    """Return for each page a route with a slash behind its path, which leads to the page."""
    for route in routes:
        is_page = route.method == "GET" and route.media_type.startswith("text/html")
        if is_page and "{" not in route.path and not route.path.endswith("/"):
            yield replace(route, path=f"{route.path}/", handler=_lead_on, access=Anyone(), documented=False)


async def _lead_on(call: Call) -> Reply:
    """Lead to the same address without its slash: a relative one, which holds under every prefix and mount point."""
    name = call.scope["path"].rstrip("/").rpartition("/")[2]
    query: bytes = call.scope["query_string"]
    location = b"../" + name.encode("ascii")
    if query and all(byte in _PRINTABLE for byte in query):
        location += b"?" + query
    return Reply(None, HTTPStatus.PERMANENT_REDIRECT, ((b"location", location),))

"""One request, as each kind of server hands it over: what places read (`watchword.browsers.Sent`)."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import quote

from watchword.guard.bearer import from_wsgi

PROTOCOLS: Final = "sec-websocket-protocol"
OFFERED: Final = "watchword.offered"
"""Where a scope keeps the sub-protocols as the client offered them."""
# As RFC 3986 writes a path; what is quoted already stays out of it, since servers decode.
_PLAIN: Final = "/~!$&'()*+,;=:@"


def method_of(method: str, upgrade: str | None, key: str | None) -> str:
    """Return a method, or nothing for the handshake of a WebSocket, where a server hands it over as a request.

    :param key: the header `Sec-WebSocket-Key`.
    """
    return "" if key is not None or "websocket" in (upgrade or "").lower() else method


class AsgiSent:
    """Is a request or handshake of an ASGI server."""

    __slots__ = ("_scope",)

    def __init__(self, scope: MutableMapping[str, Any]) -> None:
        self._scope = scope

    @property
    def method(self) -> str:
        """Return the method in capitals; nothing for a handshake."""
        method: str = self._scope.get("method", "") if self._scope["type"] == "http" else ""
        return method

    def values(self, name: str) -> list[bytes]:
        """Return all values of a header, by its name in small letters."""
        if name == PROTOCOLS:
            # An outer guard has taken the token out of the list. Some servers put it here and nowhere else.
            listed = self._scope.get(OFFERED) or self._scope.get("subprotocols")
            if listed:
                return [each.encode("latin-1", "replace") for each in listed]
        wanted = name.encode("latin-1")
        return [value for key, value in self._scope["headers"] if key == wanted]

    def target(self) -> str:
        """Return path and query as a client writes them."""
        raw = self._scope.get("raw_path")
        path = quote(self._scope["path"], safe=_PLAIN) if raw is None else raw.decode("latin-1")
        query: str = self._scope.get("query_string", b"").decode("latin-1")
        return f"{path}?{query}" if query else path


class WsgiSent:
    """Is a request of a WSGI server, which joins repeated headers."""

    __slots__ = ("_environ",)

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ = environ

    @property
    def method(self) -> str:
        """Return the method in capitals; nothing for the handshake of a WebSocket, which Flask may serve."""
        environ = self._environ
        method: str = environ["REQUEST_METHOD"]
        return method_of(method, environ.get("HTTP_UPGRADE"), environ.get("HTTP_SEC_WEBSOCKET_KEY"))

    def values(self, name: str) -> list[bytes]:
        """Return all values of a header, by its name in small letters."""
        value = self._environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        several = value if name == "cookie" else from_wsgi(value)
        if several is None:
            return []
        listed = [several] if isinstance(several, str) else several
        return [each.encode("latin-1", "replace") for each in listed]  # type: ignore[union-attr]  # texts

    def target(self) -> str:
        """Return path and query as a client writes them."""
        decoded = f"{self._environ.get('SCRIPT_NAME', '')}{self._environ.get('PATH_INFO', '')}"
        path = quote(decoded.encode("latin-1", "replace"), safe=_PLAIN)  # WSGI holds bytes in a text
        query = self._environ.get("QUERY_STRING", "")
        return f"{path}?{query}" if query else path

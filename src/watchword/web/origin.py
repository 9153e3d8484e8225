"""Which web pages may use the cookie: the origin rule, and CORS for exactly the same list.

Why not Starlette's CORSMiddleware: it decides per application, not per route; it answers every OPTIONS request with
an Access-Control-Request-Method itself, also for paths that do not exist; and the two lists (who passes the origin
rule, who is told so by CORS) must be one, or they drift apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from watchword.errors import Forbidden
from watchword.settings import is_loopback
from watchword.web.route import Header

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_EXPOSED = b"X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate"
# X-Requested-With, because Swagger UI (FastAPI's /docs) sends it to the token URL: without it the Authorize button
# fails. It may be allowed, since nothing here takes it for proof of anything.
_ALLOWED = b"Authorization, Content-Type, X-Requested-With"
_PREFLIGHT_LIFE = b"600"
VARY: Header = (b"vary", b"Origin")


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL as browsers write them in `Origin` (RFC 6454 section 6.2).

    :raises ValueError: for anything that is no http(s) URL with a host.
    """
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        raise ValueError(f"no http or https URL with a host: {url!r}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _own(public_url: str) -> frozenset[bytes]:
    """Our own origin; on loopback every name of loopback, since people type whichever they like."""
    own = origin_of(public_url)
    parts = urlsplit(own)
    if not is_loopback(parts.hostname or ""):
        return frozenset({own.encode()})
    port = "" if parts.port is None else f":{parts.port}"
    return frozenset({own.encode(), *(f"{parts.scheme}://{name}{port}".encode() for name in _LOOPBACK)})


class OriginRule:
    """Who may send what reads or sets a cookie (OWASP CSRF sheet; checklist F3, F5, C10).

    :param public_url: where people reach us.
    :param allowed_origins: other origins of ours, `https://app.example`, compared byte for byte.
    :raises ValueError: for an allowed origin that is no origin (a path, `*`, `null`).
    """

    def __init__(self, public_url: str, allowed_origins: Iterable[str] = ()) -> None:
        allowed = tuple(allowed_origins)
        for origin in allowed:
            if origin != origin_of(origin):
                raise ValueError(f"not an origin as browsers write it: {origin!r}; meant {origin_of(origin)!r}?")
        self._own = _own(public_url)
        self._accepted = self._own | {origin.encode() for origin in allowed}
        self._cors = {origin.encode(): _cors_headers(origin.encode()) for origin in allowed}
        self.varies = bool(allowed)  # whether answers differ by Origin at all

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Let pass our own pages, allowed ones, and what is no browser; for unsafe methods on cookie routes.

        :raises Forbidden: `origin_refused`.
        """
        origin = headers.get(b"origin")
        if origin is not None:
            if origin in self._accepted:
                return
            raise Forbidden("This request comes from a web page of another origin.", code="origin_refused")
        site = headers.get(b"sec-fetch-site")
        if site is not None and site not in (b"same-origin", b"none"):
            raise Forbidden("This request comes from a web page of another site.", code="origin_refused")

    def cors(self, headers: Mapping[bytes, bytes]) -> tuple[Header, ...]:
        """The CORS headers of an answer: who may read it, and `Vary` whenever that depends on the asker."""
        if not self.varies:
            return ()
        return self._cors.get(headers.get(b"origin", b""), (VARY,))

    def preflight(self, headers: Mapping[bytes, bytes], methods: bytes) -> tuple[Header, ...]:
        """The headers of the answer to a preflight.

        :param methods: of this path, comma separated.
        :raises Forbidden: `origin_refused`, for an origin that is neither ours nor allowed.
        """
        self.check(headers)
        if headers.get(b"origin") not in self._cors:
            return ()
        return (
            (b"access-control-allow-methods", methods),
            (b"access-control-allow-headers", _ALLOWED),
            (b"access-control-max-age", _PREFLIGHT_LIFE),
        )


def _cors_headers(origin: bytes) -> tuple[Header, ...]:
    return (
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", _EXPOSED),
        VARY,
    )

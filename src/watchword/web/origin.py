"""The pages that may use the cookie: the origin rule, and CORS for the same list.

Starlette's CORSMiddleware decides per application and answers preflights for unknown paths. Two lists would drift
apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from watchword.browsers import is_own_page, origin_of, own_origins
from watchword.clock import monotonic
from watchword.errors import Forbidden
from watchword.hosts import is_loopback
from watchword.tally import Log
from watchword.web.route import Header

_EXPOSED = b"X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate"
# X-Requested-With: Swagger UI (FastAPI's /docs) sends it to the token URL. Then tracing headers. None proves anything.
_ALLOWED = (
    "Authorization",
    "Content-Type",
    "X-Requested-With",
    "X-Request-ID",
    "traceparent",
    "tracestate",
    "baggage",
    "sentry-trace",
)
_ASKS_PRIVATE = b"access-control-request-private-network"
_PREFLIGHT_LIFE = b"600"
_MOST_TOLD = 50  # an hour: anyone can invent more
_TOLD_SECONDS = 3600.0
_LONGEST = 300  # a host name has at most 253
_WRITTEN = re.compile(rb"https?://[a-z0-9._\[\]:-]+")
VARY: Header = (b"vary", b"Origin")


def _host(origin: bytes) -> str | None:
    if len(origin) > _LONGEST or not _WRITTEN.fullmatch(origin):
        return None
    text = origin.decode("ascii")
    try:
        return urlsplit(text).hostname if origin_of(text) == text else None
    except ValueError:
        return None


class OriginRule:
    """Decides which pages may use the cookie (OWASP CSRF sheet; checklist F3, F5, C10).

    :param allowed_origins: other origins of ours, `https://app.example`, compared byte for byte.
    :param allowed_headers: more request headers for their pages.
    :raises ValueError: an allowed origin is none (a path, `*`, `null`).
    """

    def __init__(
        self,
        public_url: str,
        allowed_origins: Iterable[str] = (),
        allowed_headers: Iterable[str] = (),
        log: Any = None,
    ) -> None:
        allowed = tuple(allowed_origins)
        for origin in allowed:
            if origin != origin_of(origin):
                raise ValueError(f"not an origin as browsers write it: {origin!r}; meant {origin_of(origin)!r}?")
        self._accepted = own_origins(public_url) | {origin.encode() for origin in allowed}
        self._cors = {origin.encode(): _cors_headers(origin.encode(), cookie=True) for origin in allowed}
        self._own = own_origins(public_url)
        names = {name.lower(): name for name in (*allowed_headers, *_ALLOWED)}
        self._headers = ", ".join(names.values()).encode()
        self._neighbours = is_loopback(urlsplit(public_url).hostname or "")
        self.varies = bool(allowed) or self._neighbours  # whether answers differ by Origin
        self._refused = _RefusedOrigins(allowed, Log("watchword.web") if log is None else log)

    def accepts(self, origin: bytes, *, cookie: bool) -> bool:
        """Return whether pages of this origin may use us.

        On loopback all of this machine's may, except where a `cookie` decides: browsers send cookies to every port, so
        another program's page could act for the user.
        """
        if origin in self._accepted:
            return True
        return not cookie and self._neighbours and is_loopback(_host(origin) or "")

    def passes(self, headers: Mapping[bytes, bytes], *, cookie: bool = True) -> bool:
        """Return whether no foreign page is asking."""
        return self._fault(headers, cookie=cookie) is None

    def check(self, headers: Mapping[bytes, bytes], *, cookie: bool = True) -> None:
        """Refuse foreign pages; for unsafe methods on cookie routes.

        :param cookie: False where no cookie counts.
        :raises Forbidden: `origin_refused`.
        """
        fault = self._fault(headers, cookie=cookie)
        if fault is not None:
            self._refused.add(headers.get(b"origin"))
            raise Forbidden(fault, code="origin_refused")

    def check_own_page(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse what no page of ours has sent; for forms, which any page may send without asking first.

        :raises Forbidden: `origin_refused`.
        """
        if not is_own_page(headers.get(b"origin"), headers.get(b"sec-fetch-site"), self._own):
            raise Forbidden("This form does not come from a page of ours.", code="origin_refused")

    def _fault(self, headers: Mapping[bytes, bytes], *, cookie: bool) -> str | None:
        origin = headers.get(b"origin")
        if origin is not None:
            accepted = self.accepts(origin, cookie=cookie)
            return None if accepted else "This request comes from a web page of another origin."
        site = headers.get(b"sec-fetch-site")
        if site is not None and site not in (b"same-origin", b"none"):
            return "This request comes from a web page of another site."
        return None

    def cors(self, headers: Mapping[bytes, bytes]) -> tuple[Header, ...]:
        """Return an answer's CORS headers, with `Vary` where needed."""
        if not self.varies:
            return ()
        origin = headers.get(b"origin")
        if origin is None:
            return _ONLY_VARY
        known = self._cors.get(origin)
        if known is not None:
            return known
        if self.accepts(origin, cookie=False):
            return _cors_headers(origin, cookie=False)
        return _ONLY_VARY

    def preflight(self, headers: Mapping[bytes, bytes], methods: bytes) -> tuple[Header, ...]:
        """Return a preflight's headers.

        :param methods: the path's, comma separated.
        :raises Forbidden: `origin_refused`.
        """
        self.check(headers, cookie=False)
        if b"origin" not in headers:
            return ()
        return (
            (b"access-control-allow-methods", methods),
            (b"access-control-allow-headers", self._headers),
            (b"access-control-max-age", _PREFLIGHT_LIFE),
            *self._private(headers),
        )

    def _private(self, headers: Mapping[bytes, bytes]) -> tuple[Header, ...]:
        """Let a listed origin's page reach into a private network: the operator trusts it."""
        if headers.get(b"origin") in self._cors and headers.get(_ASKS_PRIVATE) == b"true":
            return ((b"access-control-allow-private-network", b"true"),)
        return ()


class _RefusedOrigins:
    """Logs each refused origin once, with the setting to allow it."""

    def __init__(self, allowed: tuple[str, ...], log: Any) -> None:
        self._allowed = allowed
        self._log = log
        self._told: set[bytes] = set()
        self._since = 0.0

    def add(self, origin: bytes | None) -> None:
        if origin is None or origin in self._told:
            return
        hint = self._hint(origin)
        if hint is None:
            return
        if len(self._told) >= _MOST_TOLD:
            if monotonic() - self._since < _TOLD_SECONDS:
                return
            self._told.clear()
        if not self._told:
            self._since = monotonic()
        self._told.add(origin)
        self._log.warning("origin_refused", origin=origin.decode("ascii"), hint=hint)

    def _hint(self, origin: bytes) -> str | None:
        """Return advice, or None for what no browser sends."""
        if origin == b"null":
            return "this page has no origin (a file, a sandboxed frame) and cannot be allowed: serve it from an address"
        if _host(origin) is None:
            return None
        allowed = ",".join((*self._allowed, origin.decode("ascii")))
        return f"if this page is yours, set WATCHWORD_ALLOWED_ORIGINS={allowed}"


_ONLY_VARY: tuple[Header, ...] = (VARY,)


def _cors_headers(origin: bytes, *, cookie: bool) -> tuple[Header, ...]:
    """Without `cookie`, no page reads what was asked for with cookies."""
    credentials: tuple[Header, ...] = ((b"access-control-allow-credentials", b"true"),) if cookie else ()
    return (
        (b"access-control-allow-origin", origin),
        *credentials,
        (b"access-control-expose-headers", _EXPOSED),
        VARY,
    )

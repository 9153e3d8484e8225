"""What browsers send by themselves, and what it proves: cookies, the page that asks, and where a log-in may lead.

The service and guards decide by these functions alike (checklist F2, F3, F5).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

from watchword.errors import Forbidden, Refused
from watchword.hosts import is_loopback

ACCESS_COOKIE: Final = "watchword_access"
"""The bare name of the cookie that holds an access token for pages made on a server."""
RETURNING_COOKIE: Final = "watchword_returning"
LONGEST_PATH: Final = 2000

_SECURE: Final = "__Host-"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# No backslash, which browsers read as a slash; no control character or space, which they leave out; ASCII only.
_PATH: Final = re.compile(r"/(?!/)[A-Za-z0-9._~!$&'()*+,;=:@%/?#\[\]-]*")
_CURED_BY_A_LOG_IN: Final = frozenset({"token_missing", "token_expired", "token_revoked"})


class Sent(Protocol):
    """Is one request, of whatever framework."""

    @property
    def method(self) -> str:
        """Return the method in capitals; nothing for the handshake of a WebSocket."""

    def values(self, name: str) -> list[bytes]:
        """Return all values of a header, by its name in small letters."""

    def target(self) -> str:
        """Return path and query as a client writes them, percent-encoded."""


# Origins --------------------------------------------------------------------------------------------------------------


def origin_of(url: str) -> str:
    """Return a URL's origin as browsers write it (RFC 6454 section 6.2).

    :raises ValueError: no http(s) URL with a host.
    """
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        raise ValueError(f"no http or https URL with a host: {url!r}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def own_origins(url: str) -> frozenset[bytes]:
    """Return the origin of an address of ours, on loopback under each name."""
    own = origin_of(url)
    parts = urlsplit(own)
    if not is_loopback(parts.hostname or ""):
        return frozenset({own.encode()})
    port = "" if parts.port is None else f":{parts.port}"
    return frozenset({own.encode(), *(f"{parts.scheme}://{name}{port}".encode() for name in _LOOPBACK)})


def is_own_page(origin: bytes | None, site: bytes | None, own: Collection[bytes]) -> bool:
    """Tell whether the headers `Origin` and `Sec-Fetch-Site` prove that a page of ours has sent a request.

    A page that sends no referrer writes `Origin: null`, as a sandboxed page of anyone does. Then `Sec-Fetch-Site`
    decides, which no page can write. Without either nothing is proved.
    """
    same = site == b"same-origin" if site is not None else origin in own
    return same and (origin is None or origin == b"null" or origin in own)


# Cookies --------------------------------------------------------------------------------------------------------------


def cookie_name(bare: str, url: str) -> str:
    """Return the name of a cookie of this host alone: `__Host-` before it under https, bare for http on loopback.

    :raises ValueError: http beyond loopback, where others could read the cookie.
    """
    parts = urlsplit(url)
    if parts.scheme == "https":
        return _SECURE + bare
    if not is_loopback(parts.hostname or ""):
        raise ValueError(f"the cookies need https beyond loopback, and the address is {url!r}")
    return bare


def returning_cookie(rule: AccessCookieRule) -> str:
    """Return the name of the cookie that counts how often a browser was led to the log-in page."""
    return _SECURE + RETURNING_COOKIE if is_secure(rule.name) else RETURNING_COOKIE


def is_secure(name: str) -> bool:
    """Tell whether a cookie of this name needs `Secure`."""
    return name.startswith(_SECURE)


def cookie_in(lines: Iterable[bytes], name: bytes) -> str | None:
    """Return a cookie's value, or None.

    :param lines: the values of the header `Cookie`.
    :raises Refused: `cookie_repeated`.
    """
    found: bytes | None = None
    for line in lines:
        if name not in line:
            continue
        for pair in line.split(b";"):
            key, equals, content = pair.strip(b" \t").partition(b"=")
            if key != name or not equals:
                continue
            if found is not None:
                raise Refused(f"The cookie {name.decode()} was sent twice.", code="cookie_repeated")
            found = content
    return None if found is None else found.decode("latin-1")


# Where a log-in leads -------------------------------------------------------------------------------------------------


def is_local_path(text: str) -> bool:
    """Tell whether a text leads to this host whatever reads it (OWASP Unvalidated Redirects sheet).

    Nothing is parsed: two readers of a URL differ, and the browser is one of them.
    """
    return len(text) <= LONGEST_PATH and _PATH.fullmatch(text) is not None


def returning(log_in: str, destination: str) -> str:
    """Return the address of a log-in page that leads on to a destination; none if that is empty."""
    return f"{log_in}?next={quote(destination, safe='')}" if destination else log_in


class AccessCookieRule:
    """Decides when the access cookie counts, and who is led to the log-in page.

    :param own: the address under which browsers see what the cookie opens.
    :param log_in: the log-in page's address; None: no one is led there.
    :raises ValueError: plain http beyond loopback.
    """

    def __init__(self, own: str, log_in: str | None) -> None:
        self.name = cookie_name(ACCESS_COOKIE, own)
        if log_in is not None:
            cookie_name(ACCESS_COOKIE, log_in)  # the same is asked of its address
        self._name = self.name.encode()
        self._own = own_origins(own)
        self._log_in = log_in
        here = log_in is None or origin_of(log_in).encode() in self._own
        self._before = "" if here else origin_of(own)
        self._log_in_path = urlsplit(log_in).path if log_in is not None and here else None

    def token(self, sent: Sent) -> str | None:
        """Return the cookie's token, or None.

        :raises Refused: `cookie_repeated`.
        :raises Forbidden: `origin_refused`: no page of ours is known to have sent the request.
        """
        token = cookie_in(sent.values("cookie"), self._name)
        if token is not None and not self._counts(sent):
            raise Forbidden("The access cookie opens this to pages of the same origin only.", code="origin_refused")
        return token

    def way_to_log_in(self, sent: Sent, code: str) -> str | None:
        """Return where to lead someone whose page was refused, or None.

        :param code: why. A new log-in helps against a missing, expired or revoked token only.
        """
        if self._log_in is None or code not in _CURED_BY_A_LOG_IN or not _opens_a_page(sent):
            return None
        target = sent.target()
        if target.partition("?")[0] == self._log_in_path:
            return None
        return returning(self._log_in, self._before + target if is_local_path(target) else "")

    def _counts(self, sent: Sent) -> bool:
        origin, site = _only(sent.values("origin")), _only(sent.values("sec-fetch-site"))
        if not sent.method:
            # A WebSocket opens by GET, acts like POST, and always says its origin (RFC 6455 section 10.2).
            return is_own_page(origin, None, self._own)
        if sent.method in _SAFE:
            # From elsewhere a link may lead to a page, but no other page may load, show or read one.
            if site is None:
                return origin is None or origin in self._own  # an older browser names who would read
            return site in (b"same-origin", b"none") or _opens_by_itself(sent)
        return is_own_page(origin, site, self._own)


def _opens_a_page(sent: Sent) -> bool:
    """Tell whether a browser opens a page for someone to see, as far as it says so."""
    if sent.method not in {"GET", "HEAD"}:
        return False
    mode = _only(sent.values("sec-fetch-mode"))
    if mode is not None:
        return mode == b"navigate"
    return any(b"text/html" in accepted for accepted in sent.values("accept"))


def _opens_by_itself(sent: Sent) -> bool:
    """Tell whether a link opens a page in a window of its own: not in a frame, nor as an object, of another page."""
    mode, place = _only(sent.values("sec-fetch-mode")), _only(sent.values("sec-fetch-dest"))
    return mode == b"navigate" and place in (None, b"document")


def _only(values: list[bytes]) -> bytes | None:
    """Return the header's value; several prove nothing."""
    return None if not values else values[0] if len(values) == 1 else b""

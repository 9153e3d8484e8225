"""The cookies: a session's, and where users have logged in before (RFC 6265bis; checklist F1, F2)."""

from __future__ import annotations

from typing import ClassVar

from watchword.browsers import ACCESS_COOKIE, cookie_in, cookie_name, is_secure
from watchword.errors import Refused
from watchword.identity.devices import DEVICE_SECONDS
from watchword.identity.sessions.sessions import Tokens
from watchword.tally import Log
from watchword.web.route import Header, Scope

_MAX_COOKIE = 4096  # bytes; browsers drop larger ones
_MAX_AGE = len("=; Max-Age=31536000")
_COOKIE_OCTETS = frozenset(range(0x21, 0x7F)) - frozenset(b'",;\\')


class HostCookie:
    """Reads, sets and clears a cookie of this host alone.

    :param public_url: https: `__Host-` before the name, Secure; http on loopback: the bare name. Each ignores the
        other's name: a cookie written over http must not choose an https session.
    :raises ValueError: http beyond loopback, where others could read the cookie.
    """

    bare_name: ClassVar[str]
    same_site: ClassVar[str] = "Strict"

    def __init__(self, public_url: str) -> None:
        self.name = cookie_name(self.bare_name, public_url)
        self.secure = is_secure(self.name)
        self._name = self.name.encode()
        flags = f"; Path=/; HttpOnly; SameSite={self.same_site}" + ("; Secure" if self.secure else "")
        self._flags = flags.encode()

    def read(self, scope: Scope) -> str | None:
        """Return the cookie's value, or None.

        :raises Refused: `cookie_repeated`.
        """
        return cookie_in([value for _, value in _cookies(scope)], self._name)

    def shown(self, scope: Scope) -> str | None:
        """Return the cookie's value, or None: one that was sent twice tells nothing, and refuses nothing."""
        try:
            return self.read(scope)
        except Refused:
            return None

    def named_in(self, line: bytes) -> bool:
        """Tell whether a header `Cookie` may hold it."""
        return self._name in line

    def write(self, value: str, max_age: int) -> Header:
        """Return `Set-Cookie` for `max_age` seconds."""
        raw = value.encode("ascii")
        if not _COOKIE_OCTETS.issuperset(raw):
            raise ValueError("a cookie value with characters that no cookie may hold")
        line = b"%b=%b; Max-Age=%d%b" % (self._name, raw, max_age, self._flags)
        if len(line) > _MAX_COOKIE:
            raise ValueError("a cookie larger than browsers keep")
        return b"set-cookie", line

    def fits(self, value: str) -> bool:
        """Tell whether browsers keep a cookie of this value."""
        return len(self.name) + len(value) + len(self._flags) + _MAX_AGE <= _MAX_COOKIE

    def clear(self) -> Header:
        """Return `Set-Cookie` that deletes the cookie."""
        return b"set-cookie", b"%b=; Max-Age=0%b" % (self._name, self._flags)


def _cookies(scope: Scope) -> list[Header]:
    return [header for header in scope["headers"] if header[0] == b"cookie"]


class RefreshCookie(HostCookie):
    """Holds the refresh token."""

    bare_name = "watchword_refresh"


class _AccessCookie(HostCookie):
    """Holds the access token. A link from elsewhere may lead to a page, so it is sent with that."""

    bare_name = ACCESS_COOKIE
    same_site = "Lax"


class SessionCookies:
    """A session's cookies: the refresh token, and where the setting says so the access token.

    They are written and cleared together, here only: no route can set one and forget the other.

    :param access: the setting.
    """

    def __init__(self, public_url: str, *, access: bool) -> None:
        self._refresh = RefreshCookie(public_url)
        self._access = _AccessCookie(public_url) if access else None
        self._log = Log("watchword.web")

    @property
    def sets_access(self) -> bool:
        """Tell whether the access token is set as a cookie too."""
        return self._access is not None

    def read(self, scope: Scope) -> str | None:
        """Return the refresh token, or None. :raises Refused: `cookie_repeated`."""
        return self._refresh.read(scope)

    def shown(self, scope: Scope) -> str | None:
        """Return the refresh token where it only shows who is there, or None: also for one that was sent twice."""
        return self._refresh.shown(scope)

    def write(self, tokens: Tokens, *, narrowed: bool = False) -> tuple[Header, ...]:
        """Return `Set-Cookie` for each, as long as the token lives.

        :param narrowed: the access token is a narrower one for a script; that of the pages stays.
        """
        refresh = self._refresh.write(tokens.refresh_token, tokens.refresh_expires_in)
        return (refresh,) if self._access is None or narrowed else (refresh, self._shown(self._access, tokens))

    def _shown(self, cookie: HostCookie, tokens: Tokens) -> Header:
        if cookie.fits(tokens.access_token):
            return cookie.write(tokens.access_token, tokens.expires_in)
        # The log-in goes on, and an older cookie must not.
        self._log.warning("access_cookie_too_large", size=len(tokens.access_token))
        return cookie.clear()

    def fits(self, tokens: Tokens) -> bool:
        """Tell whether browsers keep the access token as a cookie."""
        return self._access is not None and self._access.fits(tokens.access_token)

    def without_a_session(self, scope: Scope) -> tuple[Header, ...]:
        """Return `Set-Cookie` that deletes an access token which outlived its session, if the browser sends one."""
        shown = self._access is not None and any(self._access.named_in(value) for _, value in _cookies(scope))
        return (self._access.clear(),) if shown and self._access is not None else ()

    def clear(self) -> tuple[Header, ...]:
        """Return `Set-Cookie` that deletes each."""
        cookies = (self._refresh,) if self._access is None else (self._refresh, self._access)
        return tuple(each.clear() for each in cookies)


class DeviceCookie(HostCookie):
    """Tells that users have logged in here before; `identity.known_devices` writes it. No log-out ends it."""

    bare_name = "ww_device"

    def remember(self, value: str) -> Header:
        """Return `Set-Cookie` for as long as a device stays known."""
        return self.write(value, DEVICE_SECONDS)

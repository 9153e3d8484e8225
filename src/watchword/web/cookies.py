"""The one cookie: the refresh token (RFC 6265bis; checklist F1, F2)."""

from __future__ import annotations

from urllib.parse import urlsplit

from watchword.errors import Refused
from watchword.settings import is_loopback
from watchword.web.route import Header, Scope

SECURE_NAME = "__Host-watchword_refresh"
LOOPBACK_NAME = "watchword_refresh"
_MAX_COOKIE = 4096  # bytes; browsers drop larger ones
_COOKIE_OCTETS = frozenset(range(0x21, 0x7F)) - frozenset(b'",;\\')


class RefreshCookie:
    """Reads, sets and clears the refresh cookie.

    :param public_url: https: `__Host-watchword_refresh`, Secure; http on loopback: `watchword_refresh`. Each ignores
        the other's name: a cookie written over http must not choose an https session.
    :raises ValueError: http beyond loopback, where others could read the cookie.
    """

    def __init__(self, public_url: str) -> None:
        parts = urlsplit(public_url)
        self.secure = parts.scheme == "https"
        if not self.secure and not is_loopback(parts.hostname or ""):
            raise ValueError(f"the refresh cookie needs https beyond loopback, and the public URL is {public_url!r}")
        self.name = SECURE_NAME if self.secure else LOOPBACK_NAME
        self._name = self.name.encode()
        flags = "; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if self.secure else "")
        self._flags = flags.encode()

    def read(self, scope: Scope) -> str | None:
        """Return the cookie's value, or None.

        :raises Refused: `cookie_repeated`.
        """
        found: bytes | None = None
        for name, value in scope["headers"]:
            if name != b"cookie" or self._name not in value:
                continue
            for pair in value.split(b";"):
                key, equals, content = pair.strip(b" \t").partition(b"=")
                if key != self._name or not equals:
                    continue
                if found is not None:
                    raise Refused(f"The cookie {self.name} was sent twice.", code="cookie_repeated")
                found = content
        return None if found is None else found.decode("latin-1")

    def write(self, value: str, max_age: int) -> Header:
        """Return `Set-Cookie` for `max_age` seconds."""
        raw = value.encode("ascii")
        if not _COOKIE_OCTETS.issuperset(raw):
            raise ValueError("a cookie value with characters that no cookie may hold")
        line = b"%b=%b; Max-Age=%d%b" % (self._name, raw, max_age, self._flags)
        if len(line) > _MAX_COOKIE:
            raise ValueError("a cookie larger than browsers keep")
        return b"set-cookie", line

    def clear(self) -> Header:
        """Return `Set-Cookie` that deletes the cookie."""
        return b"set-cookie", b"%b=; Max-Age=0%b" % (self._name, self._flags)

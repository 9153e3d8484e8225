"""The URL of a mail server: read into its parts. No message repeats any of it: it may hold a password."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from watchword.hosts import is_address, is_loopback
from watchword.settings.values import Unfit

FORM = "smtp://user:password@mail.example.com:587"
_PORTS = {"smtp": 587, "smtps": 465}
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_-]{1,63})*\.?")
_LONGEST_HOST = 253
_HIGHEST_PORT = 65_535


class SmtpServer(NamedTuple):
    """Where mail is handed over.

    :param tls: `implicit` (smtps), `starttls` (required) or `off`.
    """

    host: str
    port: int
    tls: str
    user: str | None
    password: str | None


def url(text: str) -> str:
    """Check the URL of a mail server, and return it."""
    read(text.strip())
    return text.strip()


def read(text: str) -> SmtpServer:
    """Return the parts. Raises `Unfit`.

    `smtp://` uses STARTTLS and refuses to go on without it; `?starttls=off` is for a relay that has none.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise Unfit("is not a URL", f"write it like {FORM}, with %-signs for special characters") from None
    host = parts.hostname or ""
    if parts.scheme not in _PORTS:
        raise Unfit("does not begin with smtp:// or smtps://", f"write it like {FORM}")
    if not (is_address(host) or (len(host) <= _LONGEST_HOST and _HOST.fullmatch(host))):
        raise Unfit("names no mail server", f"write it like {FORM}")
    if parts.path.strip("/") or parts.fragment:
        raise Unfit("has something after the host", "write a / or # in a password as %2F or %23")
    if port is not None and not 1 <= port <= _HIGHEST_PORT:
        raise Unfit("has a port that does not exist", f"write it like {FORM}")
    user, password = _login(parts.username, parts.password)
    tls = _tls(parts.scheme, parts.query)
    if tls == "off" and password is not None and not is_loopback(host):
        raise Unfit("would send the password in the clear", "leave out starttls=off")
    return SmtpServer(host, port or _PORTS[parts.scheme], tls, user, password)


def _login(user: str | None, password: str | None) -> tuple[str | None, str | None]:
    if not user and not password:
        return None, None
    if not user or not password:
        raise Unfit("has a user without a password, or the reverse", f"write it like {FORM}")
    found = unquote(user), unquote(password)
    if any(character < " " for text in found for character in text):
        raise Unfit("has control characters in its user or password", "write only what the mail server expects")
    return found


def _tls(scheme: str, query: str) -> str:
    options = dict(parse_qsl(query, keep_blank_values=True))
    starttls = options.pop("starttls", "on")
    if options or starttls not in ("on", "off") or (scheme == "smtps" and "starttls" in query):
        raise Unfit("has a parameter that is not known", "the only one is ?starttls=off, for smtp://")
    if scheme == "smtps":
        return "implicit"
    return "off" if starttls == "off" else "starttls"

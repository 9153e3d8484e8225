"""The URL of a Redis or Valkey. It may hold a password, so no message repeats any of it but the name of a parameter."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

from watchword.settings.values import Unfit

_SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss", "unix": "unix"}
# Others could switch off time-outs or the check of a certificate.
_PARAMETERS = {"redis": frozenset[str](), "rediss": frozenset({"ssl_ca_certs"}), "unix": frozenset({"db"})}


def read(url: str) -> str:
    """Return a URL with the scheme that the driver knows. Raises `Unfit`."""
    scheme, _, rest = url.partition("://")
    found = _SCHEMES.get(scheme.lower())
    if found is None or not rest or not _is_sound(found, f"{found}://{rest}"):
        raise Unfit(
            "is not the URL of a Redis or Valkey",
            "write redis://user:password@host:6379/0, rediss:// for TLS, or unix:///path/to.sock",
        )
    query = urlsplit(f"{found}://{rest}").query
    unknown = {name for name, _ in parse_qsl(query, keep_blank_values=True)} - _PARAMETERS[found]
    if unknown:
        raise Unfit(
            f"has a parameter{_named(min(unknown), query)} that is not known here",
            "leave it out: only rediss:// has one, ssl_ca_certs, and unix:// has db; time-outs are the service's own",
        )
    return f"{found}://{rest}"


def _is_sound(scheme: str, url: str) -> bool:
    try:
        parts = urlsplit(url)
        parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        if scheme == "unix":
            return bool(parts.path.strip("/")) and not parts.fragment
        number = parts.path.removeprefix("/")
        sound = parts.port != 0 and (not number or (number.isascii() and number.isdecimal())) and not parts.fragment
    except ValueError:
        return False
    return bool(parts.hostname) and sound


def _named(name: str, query: str) -> str:
    """Name a parameter, unless it may be the end of a password that has a ? in it."""
    return f" {name}" if "@" not in query and re.fullmatch("[a-z_]{1,40}", name) else ""

"""Issuers that differ byte for byte but were meant to be the same."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

_PORTS = {"http": 80, "https": 443}
_HERE = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|::1")


def compared(named: object, expected: str) -> str:
    """Return how two similar issuers differ, as the end of a sentence, or ''."""
    found = _differences(named, expected) if isinstance(named, str) else []
    return f"; the two differ by {' and by '.join(found)}" if found else ""


def _differences(named: str, expected: str) -> list[str]:
    try:
        one, other = urlsplit(named.strip()), urlsplit(expected)
        hosts = one.hostname or "", other.hostname or ""
        ports = one.port or _PORTS.get(one.scheme), other.port or _PORTS.get(other.scheme)
    except ValueError:
        return []
    here = all(map(_HERE.fullmatch, hosts))
    if (hosts[0] != hosts[1] and not here) or one.path.strip("/") != other.path.strip("/"):
        return []
    slips = {
        "white space": named != named.strip(),
        "http against https": one.scheme != other.scheme,
        f"{hosts[0]} against {hosts[1]}": hosts[0] != hosts[1],
        "the port": one.scheme == other.scheme and ports[0] != ports[1] and here,
        "the port, which is the usual one": one.scheme == other.scheme and _explicit(one) != _explicit(other)
        and ports[0] == ports[1],
        "the slash at the end": one.path.endswith("/") != other.path.endswith("/"),
        "capital letters": hosts[0] == hosts[1] and _text_host(one) != _text_host(other),
    }  # fmt: skip
    return [words for words, differ in slips.items() if differ]


def _explicit(parts: SplitResult) -> bool:
    return parts.port is not None


def _text_host(parts: SplitResult) -> str:
    return re.sub(r":[0-9]*\Z", "", parts.netloc)

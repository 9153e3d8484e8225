"""The client of a request: its address, agent and headers."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from watchword.addresses import is_in
from watchword.errors import Refused
from watchword.languages import LONGEST_ACCEPTED
from watchword.settings import Proxies
from watchword.web.route import Scope

MAX_AGENT = 256  # characters
UNKNOWN = "unknown"
_MOST_PROXIES = 16  # in a row
_PORT = re.compile(r"(:[0-9]{0,5})?")
# Repeated, these would be ambiguous; RFC 6750 section 3.1 refuses two sets of credentials.
_SINGLE = frozenset(
    {b"authorization", b"content-type", b"content-length", b"host", b"origin", b"sec-fetch-site", b"content-encoding"}
)


def header_map(raw: Iterable[tuple[bytes, bytes]]) -> Mapping[bytes, bytes]:
    """Return headers by lower-case name; repeated ones are joined (RFC 9110 section 5.3, cookies: 9113).

    :raises Refused: `invalid_request`, for a repeated header that decides something.
    """
    merged: dict[bytes, bytes] = {}
    for name, value in raw:
        if name not in merged:
            merged[name] = value
        elif name in _SINGLE:
            raise Refused(f"The header {name.decode('latin-1').title()} may be sent only once.", code="invalid_request")
        else:
            merged[name] += (b"; " if name == b"cookie" else b", ") + value
    return merged


class ClientAddresses:
    """Finds each client's address; warns once of an untrusted proxy.

    :param trusted: how many proxies are ours, or their networks.
    """

    def __init__(self, trusted: Proxies, log: Any) -> None:
        self._trusted = trusted
        self._log = log
        self._warned = False

    def of(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        """Return the client's address; IPv4 inside IPv6 becomes IPv4 (checklist J5)."""
        client = scope.get("client")
        socket = (_normal(client[0]) if client else "") or UNKNOWN
        forwarded = headers.get(b"x-forwarded-for")
        found = "" if forwarded is None or not self._trusted else _forwarded_for(forwarded, socket, self._trusted)
        if not found and not self._warned and (forwarded is not None or b"forwarded" in headers):
            self._warned = True
            self._log.warning("forwarded_address_ignored", peer=socket, hint=_hint(self._trusted, socket))
        return found or socket


def _forwarded_for(header: bytes, socket: str, trusted: Proxies) -> str:
    """Return the last address that a proxy of ours reported, or ''.

    Each proxy appends to X-Forwarded-For what it saw. N hops: the N-th from the right counts; networks: the first from
    the right that is in none. Entries further left may be forged.
    """
    if isinstance(trusted, int):
        entries = header.rsplit(b",", trusted)
        return _entry(entries[-trusted]) if len(entries) >= trusted else ""
    if not is_in(socket, trusted):
        return ""
    found = ""
    for entry in reversed(header.rsplit(b",", _MOST_PROXIES)[-_MOST_PROXIES:]):
        address = _entry(entry)
        if not address:
            break
        found = address
        if not is_in(address, trusted):
            break
    return found


def _entry(raw: bytes) -> str:
    return _normal(raw.decode("latin-1").strip(" \t"))


def _hint(trusted: Proxies, socket: str) -> str:
    if isinstance(trusted, int) and trusted:
        return (
            f"X-Forwarded-For has fewer than {trusted} usable entries; set WATCHWORD_TRUSTED_PROXIES to the number of "
            "proxies that add to it"
        )
    if not isinstance(trusted, int) and is_in(socket, trusted):
        return "this proxy is believed, and sends no usable X-Forwarded-For: let it send one"
    if socket == UNKNOWN:
        return "if this is a proxy of yours, set WATCHWORD_TRUSTED_PROXIES=1"
    known = "" if isinstance(trusted, int) else "".join(f"{network}," for network in trusted)
    other = " or =1" if isinstance(trusted, int) else ""
    return f"if this is a proxy of yours, set WATCHWORD_TRUSTED_PROXIES={known}{socket}{other}"


@lru_cache(maxsize=4096)
def _normal(text: str) -> str:
    """Return an address's shortest form without port, brackets or zone, or ''."""
    if text.startswith("["):
        text, bracket, rest = text[1:].partition("]")
        if not bracket or not _PORT.fullmatch(rest):
            return ""
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _PORT.fullmatch(f":{port}"):
            return ""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def client_agent(headers: Mapping[bytes, bytes]) -> str:
    """Return the client's User-Agent: at most 256 printable characters."""
    value = headers.get(b"user-agent")
    return "" if value is None else _agent(value[:MAX_AGENT])


def client_language(headers: Mapping[bytes, bytes]) -> str:
    """Return the client's `Accept-Language`: at most 100 printable characters."""
    value = headers.get(b"accept-language")
    return "" if value is None else _agent(value[:LONGEST_ACCEPTED])


@lru_cache(maxsize=1024)
def _agent(value: bytes) -> str:
    text = value.decode("latin-1")
    return text if text.isprintable() else "".join(letter for letter in text if letter.isprintable())

"""Who is at the other end: client address, agent, and request headers as one mapping."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache

from watchword.errors import Refused
from watchword.web.route import Scope

MAX_AGENT = 256  # characters
UNKNOWN = "unknown"
# Sent twice, these would leave it open which one counts; two sets of credentials are refused by RFC 6750 section 3.1.
_SINGLE = frozenset(
    {b"authorization", b"content-type", b"content-length", b"host", b"origin", b"sec-fetch-site", b"content-encoding"}
)


def header_map(raw: Iterable[tuple[bytes, bytes]]) -> Mapping[bytes, bytes]:
    """Request headers by lower-case name; what may be repeated is joined as RFC 9110 section 5.3 (cookies: 9113) says.

    :raises Refused: `invalid_request`, when a header that decides something is repeated.
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


def client_address(scope: Scope, headers: Mapping[bytes, bytes], hops: int) -> str:
    """The client's address in its normal form; IPv4 inside IPv6 is folded to IPv4 (checklist J5).

    :param hops: how many proxies in front are ours. Each adds the address that it saw to the right end of
        X-Forwarded-For, so the N-th from the right is the last that one of ours vouches for; anything further left
        came from outside. With too few entries, or one that is no address, the socket's address counts.
    """
    client = scope.get("client")
    socket = _normal(client[0]) if client else UNKNOWN
    if hops == 0:
        return socket or UNKNOWN
    forwarded = headers.get(b"x-forwarded-for", b"").split(b",")
    if len(forwarded) < hops:
        return socket or UNKNOWN
    return _normal(forwarded[-hops].decode("latin-1").strip(" \t")) or socket or UNKNOWN


@lru_cache(maxsize=4096)
def _normal(text: str) -> str:
    """An address without port, brackets or zone in its shortest form, or '' when it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def client_agent(headers: Mapping[bytes, bytes]) -> str:
    """What the client calls itself: at most 256 characters, none of them a control character."""
    value = headers.get(b"user-agent")
    return "" if value is None else _agent(value[:MAX_AGENT])


@lru_cache(maxsize=1024)
def _agent(value: bytes) -> str:
    text = value.decode("latin-1")
    return text if text.isprintable() else "".join(letter for letter in text if letter.isprintable())

"""Who is at the other end: client address, agent, and request headers as one mapping."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import structlog

from watchword.errors import Refused
from watchword.settings.values import Network
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


class ClientAddresses:
    """Tells the client's address in its normal form; IPv4 inside IPv6 is folded to IPv4 (checklist J5).

    Each proxy adds the address that it saw to the right end of X-Forwarded-For. So entries count from the right, as far
    as proxies of ours wrote them; what stands further left came from outside and may be made up.

    :param trusted: how many proxies of ours stand in front, or the networks that they are in. With a number, that entry
        from the right counts. With networks, the rightmost address outside them counts, if the socket's is inside; a
        Unix socket is. An entry that is no address ends the search at the one before it.
    :param log: a structlog logger, told once of a forwarded address that no one is trusted for.
    """

    def __init__(self, trusted: int | Sequence[Network] = 0, log: Any = None) -> None:
        self._hops = trusted if isinstance(trusted, int) else None if trusted else 0  # an empty list trusts no one
        self._networks = () if isinstance(trusted, int) else tuple(trusted)
        self._log = structlog.get_logger("watchword.web") if log is None else log
        self._is_trusted = lru_cache(maxsize=4096)(self._is_inside)
        self._told = False

    def __call__(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        """Return the address; `unknown` where there is none (a Unix socket)."""
        client = scope.get("client")
        socket = (_normal(client[0]) if client else "") or UNKNOWN
        forwarded = headers.get(b"x-forwarded-for")
        if forwarded is None:
            if b"forwarded" in headers:
                self._tell(socket)
            return socket
        if self._hops == 0 or (self._networks and socket != UNKNOWN and not self._is_trusted(socket)):
            self._tell(socket)
            return socket
        entries = forwarded.decode("latin-1").split(",")
        if self._hops is not None:
            return (_normal(entries[-self._hops].strip(" \t")) if len(entries) >= self._hops else "") or socket
        return self._outside(entries, socket)

    def _outside(self, entries: list[str], nearest: str) -> str:
        for entry in reversed(entries):
            address = _normal(entry.strip(" \t"))
            if not address:
                break
            nearest = address
            if not self._is_trusted(address):
                break
        return nearest

    def _is_inside(self, address: str) -> bool:
        parsed = ipaddress.ip_address(address)
        return any(parsed in network for network in self._networks)

    def _tell(self, socket: str) -> None:
        if self._told:
            return
        self._told = True
        self._log.warning(
            "forwarded_address_ignored",
            address=socket,
            reason="a request came with X-Forwarded-For or Forwarded, and its sender is not a trusted proxy",
            hint="if that is your proxy, let it send X-Forwarded-For and set WATCHWORD_TRUSTED_PROXIES: how many stand"
            f" in front, or their networks, such as {socket if socket != UNKNOWN else '10.0.0.0/8'}",
        )


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

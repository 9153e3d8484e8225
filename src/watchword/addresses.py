"""Networks: what counts as one place for limits."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """Return an IPv4 address itself, or an IPv6 address's /64.

    IPv4 written as IPv6 (`::ffff:192.0.2.1`) is IPv4. Other text (a Unix socket) is returned as it is.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((int(parsed) >> 64 << 64, 64)))


@lru_cache(maxsize=4096)
def circles(address: str) -> tuple[str, ...]:
    """Return an address's networks, widest first: /48, /56, /64 for IPv6; /24 and itself for IPv4.

    A household has a /56 and a company a /48, so one client may have many /64s.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return (address,)
    mapped = None if isinstance(parsed, IPv4Address) else parsed.ipv4_mapped
    if isinstance(parsed, IPv4Address) or mapped is not None:
        return (neighbourhood(address), network(address))
    return (neighbourhood(address), str(ip_network((int(parsed) >> 72 << 72, 56))), network(address))


def shares(address: str) -> tuple[tuple[str, int], ...]:
    """Return the networks that a client counts for, narrowest first, each with a factor of what one may have.

    An IPv6 client's /64 once, its /56 twice, its /48 four times: one client may own all. An IPv4 address counts alone.
    """
    own, *wider = reversed(circles(address))
    return ((own, 1), *((name, 2 * number) for number, name in enumerate(wider if ":" in own else (), 1)))


@lru_cache(maxsize=4096)
def neighbourhood(address: str) -> str:
    """Return the prefix within which a device may move: /24 for IPv4, /48 for IPv6."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv4Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    bits = 24 if isinstance(parsed, IPv4Address) else 48
    return str(ip_network(f"{parsed}/{bits}", strict=False))


@lru_cache(maxsize=4096)
def is_in(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Tell whether an address is in one of the networks. IPv4 written as IPv6 is IPv4; other text is in none."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = None if isinstance(parsed, IPv4Address) else parsed.ipv4_mapped
    return any((mapped or parsed) in each for each in networks)

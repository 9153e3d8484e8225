"""Which IP addresses a request to a name that someone else chose may go to.

A name may lead anywhere: to this machine, to the private network around it, to the metadata service of a cloud, which
hands out credentials. The caller looks a name up once, asks here about each address, and connects to the very address
that was checked: a second look-up could give another one (DNS rebinding).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

_Address = IPv4Address | IPv6Address

# Prefixes before an IPv4 address that a translator or a tunnel connects to (RFC 6052, RFC 8215, RFC 4291 §2.5.5.1).
_TRANSLATED: Final = tuple(map(IPv6Network, ("64:ff9b::/96", "::/96")))
# Python calls these global: protocols of the network, site-local, translators, examples, tunnels to anywhere.
_NOT_PUBLIC: Final = tuple(
    map(
        ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "fec0::/10", "64:ff9b:1::/48", "5f00::/16", "3fff::/20", "2001::/23"),
    )
)
# This machine, networks of one's own, and those that a provider shares (RFC 1918, RFC 4193, RFC 6598).
_PRIVATE: Final = tuple(
    map(
        ip_network, ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1", "fc00::/7")
    )
)
# Where clouds answer with credentials, besides the link-local address.
_METADATA: Final = frozenset(map(ip_address, ("100.100.100.200", "fd00:ec2::254", "fd20:ce::254")))


def is_public(address: str) -> bool:
    """Tell whether an address is one host of the public Internet, also inside IPv6 forms of an IPv4 address.

    :param address: as `getaddrinfo` gives it.
    """
    found = _read(address)
    return (
        found.is_global
        and not (found.is_multicast or found.is_reserved)
        and not any(found in network for network in _NOT_PUBLIC if network.version == found.version)
    )


def is_private_host(address: str) -> bool:
    """Tell whether an address is one host of this machine or of a network of one's own: never a metadata service.

    Link-local addresses are none: clouds answer there.
    """
    found = _read(address)
    return found not in _METADATA and any(found in network for network in _PRIVATE if network.version == found.version)


def _read(address: str) -> _Address:
    """Read an address as the host that a connection to it would reach."""
    found = ip_address(address.partition("%")[0])
    if not isinstance(found, IPv6Address):
        return found
    if found.ipv4_mapped is not None:  # first: since Python 3.13, ::ffff:127.0.0.1 is a loopback address itself
        return found.ipv4_mapped
    if found.is_loopback or found.is_unspecified:
        return found
    if found.sixtofour is not None:
        return found.sixtofour
    if any(found in network for network in _TRANSLATED):
        return IPv4Address(int(found) & 0xFFFF_FFFF)
    return found

"""What the name of a host says, and which of its addresses to try first."""

from __future__ import annotations

import ipaddress
from itertools import zip_longest
from typing import Any

Found = list[tuple[Any, ...]]
"""Addresses, as `socket.getaddrinfo` gives them."""


def is_address(name: str) -> bool:
    """Tell whether this is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Tell whether a host stays on this machine (RFC 6761 section 6.3 for `localhost`)."""
    if is_address(name):
        return ipaddress.ip_address(name).is_loopback
    return name.lower() == "localhost" or name.lower().endswith(".localhost")


def by_turns(found: Found) -> Found:
    """Let IPv6 and IPv4 take turns (RFC 8305): where one leads nowhere, the other is tried soon."""
    families: dict[object, Found] = {}
    for each in found:
        families.setdefault(each[0], []).append(each)
    return [each for turn in zip_longest(*families.values()) for each in turn if each is not None]

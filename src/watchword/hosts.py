"""What the name of a host says, which of its addresses to try first, and connecting to one."""

from __future__ import annotations

import ipaddress
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from socket import socket

MOST_ADDRESSES: Final = 4
EACH_SECONDS: Final = 3.0
"""For a connection, while there is another address to try."""

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


async def connected(found: Found) -> socket:
    """Connect to the first address that answers.

    :param found: at least one address. :raises OSError: none of them took it.
    """
    import asyncio  # here: commands that connect to nothing start faster
    import socket

    loop = asyncio.get_running_loop()
    fault: OSError = OSError("no address")
    tried = by_turns(found)[:MOST_ADDRESSES]
    for family, kind, protocol, _, address in tried:
        try:
            made = socket.socket(family, kind, protocol)
        except OSError as error:  # a machine without IPv6
            fault = error
            continue
        try:
            made.setblocking(False)
            async with asyncio.timeout(None if address is tried[-1][4] else EACH_SECONDS):
                await loop.sock_connect(made, address)
        except OSError as error:
            made.close()
            fault = error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise fault

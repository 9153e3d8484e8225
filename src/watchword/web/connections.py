"""How many connections there may be, in all and from one network, so that descriptors are left for the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address

import structlog

from watchword.identity.addresses import neighbourhood, network
from watchword.tally import Tally

MOST = 10_000  # connections of one process: each costs some kilobytes
_KEPT = 64  # descriptors for the database, its log, and what the interpreter opens
_PARTS = 4  # one network holds at most one part of them
_SECONDS = 60.0  # between two lines in the log


def most_connections(descriptors: int) -> int:
    """How many connections a process may have that may open so many files."""
    return min(MOST, max(descriptors - _KEPT, descriptors // 2))


class Places:
    """The places of one server process.

    :param most: connections at a time.
    :param exempt: whether an address may hold any number of them, as a proxy of ours may: many people are behind it.
    """

    def __init__(self, most: int = MOST, exempt: Callable[[str], bool] | None = None) -> None:
        self.most = most
        self.share = max(1, most // _PARTS)
        self.draining = False  # answers end their connection
        self.closed = False  # a new connection is sent away
        self._exempt = exempt
        self._taken: Counter[str] = Counter()  # the empty name is for those whose number is not limited
        self._all = 0
        self._refused = Tally(structlog.get_logger("watchword.web"), "connections_refused", every=_SECONDS)

    def take(self, address: str) -> str | None:
        """Take a place; the name under which to give it back, or None when there is none for this address."""
        if self.closed:
            return None
        whose = "" if self._exempt is not None and self._exempt(address) else _site(address)
        if self._all >= self.most or (whose and self._taken[whose] >= self.share):
            self._refused.add(address=address, most=self.most, share=self.share)
            return None
        self._taken[whose] += 1
        self._all += 1
        return whose

    def give_back(self, whose: str) -> None:
        """The connection has ended."""
        self._taken[whose] -= 1
        self._all -= 1
        if not self._taken[whose]:
            del self._taken[whose]


def proxies_among(trusted: int | tuple[IPv4Network | IPv6Network, ...]) -> Callable[[str], bool] | None:
    """Whether an address is a proxy of ours, by `WATCHWORD_TRUSTED_PROXIES`: all that connect, or those networks."""
    if isinstance(trusted, int):
        return (lambda _address: True) if trusted else None
    return lambda address: _is_in(address, trusted)


def _is_in(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in each for each in networks)


def _site(address: str) -> str:
    """An IPv4 address, or the /48 that one subscriber may have to choose IPv6 addresses from."""
    found = network(address)
    return neighbourhood(address) if ":" in found else found

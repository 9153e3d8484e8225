"""Limits of connections, so that descriptors are left for the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network

from watchword.addresses import is_in, neighbourhood, network
from watchword.tally import Log, Tally

MOST = 10_000  # some kilobytes each
_KEPT = 64  # descriptors for other uses
_PARTS = 4  # one network gets one
_SECONDS = 60.0  # between two log lines


def most_connections(descriptors: int) -> int:
    """Return how many connections so many descriptors allow."""
    return min(MOST, max(descriptors - _KEPT, descriptors // 2))


class Places:
    """One process's connection places.

    :param most: connections at a time.
    :param exempt: whether an address has no limit, as a proxy has none.
    """

    def __init__(self, most: int = MOST, exempt: Callable[[str], bool] | None = None) -> None:
        self.most = most
        self.share = max(1, most // _PARTS)
        self.draining = False  # answers end their connection
        self.closed = False  # new connections are refused
        self._exempt = exempt
        self._taken: Counter[str] = Counter()  # exempt addresses count under ''
        self._all = 0
        self._refused = Tally(Log("watchword.web"), "connections_refused", every=_SECONDS)

    def take(self, address: str) -> str | None:
        """Take a place; return its name for `give_back`, or None."""
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
        """Give a place back."""
        self._taken[whose] -= 1
        self._all -= 1
        if not self._taken[whose]:
            del self._taken[whose]


def proxies_among(trusted: int | tuple[IPv4Network | IPv6Network, ...]) -> Callable[[str], bool] | None:
    """Return a test for our proxies, by `WATCHWORD_TRUSTED_PROXIES`."""
    if isinstance(trusted, int):
        return (lambda _address: True) if trusted else None
    return lambda address: is_in(address, trusted)


def _site(address: str) -> str:
    """Return an IPv4 address, or an IPv6 subscriber's /48."""
    found = network(address)
    return neighbourhood(address) if ":" in found else found

"""Which address counts behind proxies, and the one line that tells of a proxy which is not believed."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import pytest

from tests.web.asking import Silent
from watchword.settings import Proxies
from watchword.web.clients import ClientAddresses, header_map

OURS = tuple(ip_network(text) for text in ("10.0.0.0/8", "fd00::/8", "127.0.0.1/32"))


def address(trusted: Proxies, socket: str | None, *forwarded: str, log: Any = None) -> str:
    headers = header_map([(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded])
    client = None if socket is None else (socket, 1)
    return ClientAddresses(trusted, log or Silent()).of({"client": client}, headers)


@pytest.mark.parametrize(
    ("socket", "forwarded", "counts"),
    [
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),  # what the client wrote itself
        ("10.0.0.1", ["10.9.9.9, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["6.6.6.6", "203.0.113.9", "10.0.0.2"], "203.0.113.9"),  # repeated headers are one list
        ("203.0.113.1", ["6.6.6.6"], "203.0.113.1"),  # not one of ours: what it says is nothing
        ("203.0.113.1", ["10.0.0.7"], "203.0.113.1"),
        (None, ["6.6.6.6"], "unknown"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6,"], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, <script>, 10.0.0.3"], "10.0.0.3"),  # as far as the list can be read
        ("10.0.0.1", ["10.0.0.5, 10.0.0.2"], "10.0.0.5"),  # a client inside: the farthest that is known
        ("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9:x"], "10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::5]:4711"], "2001:db8::5"),
        ("10.0.0.1", ["[2001:db8::5"], "10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::5]x"], "10.0.0.1"),
        ("10.0.0.1", ["2001:DB8:0::5"], "2001:db8::5"),
        ("::ffff:10.0.0.1", ["::ffff:203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9"),
        ("fd00::1", ["203.0.113.9, [fd00::2]:80"], "203.0.113.9"),
        ("127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("127.0.0.2", ["203.0.113.9"], "127.0.0.2"),
        ("10.0.0.1", ["203.0.113.9" + ", 10.0.0.2" * 40], "10.0.0.2"),
    ],
)
def test_j5_the_first_from_the_right_that_is_no_proxy_of_ours(
    socket: str | None, forwarded: Sequence[str], counts: str
) -> None:
    """With networks, the address does not depend on how many proxies a request came through."""
    assert address(OURS, socket, *forwarded) == counts


@pytest.mark.parametrize(
    ("trusted", "socket", "forwarded", "line"),
    [
        (0, "10.0.0.1", "203.0.113.9", "WATCHWORD_TRUSTED_PROXIES=10.0.0.1 or =1"),
        (0, None, "203.0.113.9", "WATCHWORD_TRUSTED_PROXIES=1"),
        (OURS, "192.0.2.1", "203.0.113.9", "WATCHWORD_TRUSTED_PROXIES=10.0.0.0/8,fd00::/8,127.0.0.1/32,192.0.2.1"),
        (2, "10.0.0.1", "203.0.113.9", "fewer than 2"),
        (OURS, "10.0.0.1", "unknown", "no usable X-Forwarded-For"),
    ],
)
def test_a_forwarded_address_that_is_not_believed_is_logged_once(
    trusted: Proxies, socket: str | None, forwarded: str, line: str
) -> None:
    """⚑ All clients shared the proxy's limit, and nothing was said."""
    log = Silent()
    clients = ClientAddresses(trusted, log)
    scope = {"client": None if socket is None else (socket, 1)}
    for _ in range(3):
        clients.of(scope, {b"x-forwarded-for": forwarded.encode()})
    ((event, told),) = log.lines
    assert event == "forwarded_address_ignored"
    assert line in told["hint"]


def test_the_header_of_rfc_7239_is_not_read_and_that_is_said_too() -> None:
    log = Silent()
    clients = ClientAddresses(0, log)
    assert clients.of({"client": ("10.0.0.1", 1)}, {b"forwarded": b"for=203.0.113.9"}) == "10.0.0.1"
    assert [told["peer"] for _, told in log.lines] == ["10.0.0.1"]


def test_nothing_is_said_where_there_is_nothing_to_set() -> None:
    """A proxy that is believed, and a client without a proxy."""
    log = Silent()
    assert address(1, "10.0.0.1", "203.0.113.9", log=log) == "203.0.113.9"
    assert address(OURS, "10.0.0.1", "203.0.113.9", log=log) == "203.0.113.9"
    assert address(0, "203.0.113.9", log=log) == "203.0.113.9"
    assert log.lines == []

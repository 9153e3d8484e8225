"""What counts as one place: for limits (J5) and for telling an elsewhere."""

from __future__ import annotations

import pytest

from watchword.addresses import neighbourhood, network


@pytest.mark.parametrize(("address", "one", "wider"), [
    ("192.0.2.10", "192.0.2.10", "192.0.2.0/24"),
    ("::ffff:192.0.2.10", "192.0.2.10", "192.0.2.0/24"),
    ("::ffff:c000:20a", "192.0.2.10", "192.0.2.0/24"),
    ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
    ("2001:DB8:1:2::", "2001:db8:1:2::/64", "2001:db8:1::/48"),
    ("::1", "::/64", "::/48"),
    ("fe80::1%eth0", "fe80::/64", "fe80::/48"),
    ("unix", "unix", "unix"),
    ("", "", ""),
    ("192.0.2.010", "192.0.2.010", "192.0.2.010"),
    ("1.2.3.4.5", "1.2.3.4.5", "1.2.3.4.5"),
])  # fmt: skip
def test_J5_addresses_fold_into_networks(address: str, one: str, wider: str) -> None:
    """IPv4 by address, IPv6 by /64, mapped IPv4 as IPv4; what is no address stands for itself and never fails."""
    assert (network(address), neighbourhood(address)) == (one, wider)

"""Says which URLs an endpoint may have. Which addresses a name leads to is asked at each connection."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from watchword.hosts import is_address, is_loopback
from watchword.public_addresses import is_private_host, is_public
from watchword.settings.values import Unfit, split_url

LONGEST: Final = 2048


class Target(NamedTuple):
    """Where webhooks go.

    :param private: it may lie in a private network or on this machine, and be plain http there.
    """

    url: str
    private: bool = False

    @property
    def host(self) -> str:
        """Return the host alone: the path may hold what only sender and receiver should know."""
        return urlsplit(self.url).hostname or ""

    def refusal(self, address: str) -> str:
        """Return why no connection may go to an address, or "". Plain http never leaves private networks."""
        if self.private and is_private_host(address):
            return ""
        if not is_public(address):
            return "an address that webhooks may not reach"
        return "" if self.is_https else "a public address, where webhooks go by https only"

    @property
    def is_https(self) -> bool:
        """Tell whether it is encrypted."""
        return urlsplit(self.url).scheme == "https"


def check(target: Target) -> None:
    """Refuse a URL that no webhook can go to. Raises `Unfit`, with a hint."""
    if len(target.url) > LONGEST:
        raise Unfit(f"has more than {LONGEST} characters", "shorten it")
    parts = split_url(target.url)
    host = parts.hostname or ""
    if parts.fragment or "#" in target.url:
        raise Unfit("has a fragment, which is never sent", "leave out the # and what follows")
    if not target.is_https and not target.private:
        raise Unfit(
            "is http: anyone on the way could read it", "use https://, or --allow-private for a private network"
        )
    if _is_number(host):
        raise Unfit("writes an address in an unusual form", "write it as four numbers with dots, or as a name")
    if is_loopback(host.rstrip(".")) and not target.private:
        raise Unfit("leads to this machine", "use --allow-private if that is meant")
    refusal = target.refusal(host) if is_address(host) else ""
    if refusal:
        own = "use --allow-private for a private network; metadata services are refused in any case"
        raise Unfit(f"leads to {ip_address(host)}, {refusal}", "use https://" if is_public(host) else own)


def _is_number(host: str) -> bool:
    """Tell whether the system reads a host as an IPv4 address in an unusual form: 2130706433, 0x7f.1."""
    last = host.rstrip(".").rpartition(".")[2]
    return not is_address(host) and (last.isdigit() or last.startswith("0x"))

"""Limits the addresses that a guard may ask.

The operator wrote the issuer and perhaps `url`. An address in a document must have the origin of one of them
(docs/security/checklist.md, B12).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

from watchword.guard.following.exchange import FetchFault
from watchword.hosts import is_loopback

_WELL_KNOWN = "/.well-known/oauth-authorization-server"
# The characters of RFC 3986: no address can end a header line.
_ADDRESS = re.compile(r"[!#-;=?-\[\]_a-z~]{1,2048}")
_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Names scheme, host and port of a connection."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """Says where a service is.

    :param issuer: its name, byte for byte as in `iss`.
    :param url: where to reach it, without a slash at the end.
    :param plain_http: as in `Guard`.
    """

    issuer: str
    url: str
    plain_http: bool = False

    @classmethod
    def checked(cls, issuer: str, url: str | None = None, *, plain_http: bool = False) -> ServiceAddress:
        """Check the operator's strings. :raises ValueError: one is not usable."""
        _check_configured("issuer", issuer)
        if url is not None:
            _check_configured("url", url, plain_http=plain_http)
        return cls(issuer, (issuer if url is None else url).rstrip("/"), plain_http)

    def metadata_urls(self) -> tuple[str, ...]:
        """Return the metadata's addresses: under the service's path, then as in RFC 8414."""
        parts = urlsplit(self.url)
        appended = self.url + _WELL_KNOWN
        return (appended, f"{parts.scheme}://{parts.netloc}{_WELL_KNOWN}{parts.path}") if parts.path else (appended,)

    def feed_url(self, cursor: str | None, *, keys: str, wait: bool) -> str:
        """Return the address of the revocation feed, from the beginning or after a cursor.

        :param keys: the known version of the key set; a change is answered at once.
        :param wait: whether the feed may wait for news.
        """
        if cursor is None:
            return f"{self.url}/revocations"
        known = f"&keys={quote(keys, safe='')}" if keys else ""
        return f"{self.url}/revocations?after={quote(cursor, safe='')}{known}{'' if wait else '&wait=0'}"

    def key_set_url(self, claimed: object) -> str:
        """Return where to fetch the key set, when the metadata names `claimed`. `url` replaces the issuer in it.

        :raises FetchFault: not an address, or not one of this service.
        """
        plain = self.plain_http and isinstance(claimed, str) and claimed.startswith(f"{self.url}/")
        if not isinstance(claimed, str) or _fault(claimed, plain_http=plain) is not None:
            raise FetchFault("the metadata's jwks_uri is not an acceptable address")
        own = self.issuer.rstrip("/") + "/"
        if self.url != self.issuer.rstrip("/") and claimed.startswith(own):
            return f"{self.url}/{claimed.removeprefix(own)}"
        if origin_of(claimed) not in {origin_of(self.issuer), origin_of(self.url)}:
            raise FetchFault("the metadata's jwks_uri is at another origin than the service")
        return claimed


def origin_of(url: str) -> Origin:
    """Return the origin of a checked address."""
    parts = urlsplit(url)
    return Origin(parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme])


def _check_configured(name: str, value: object, *, plain_http: bool = False) -> None:
    fault = _fault(value, plain_http=plain_http) if isinstance(value, str) else "is not a string"
    if fault is None and "?" in str(value):
        fault = "has a query"
    if fault is not None:
        raise ValueError(f"guard: {name} {fault}{_PLAIN_HINT[name] if fault is _MUST_BE_HTTPS else ''}")


_MUST_BE_HTTPS = "must be https (plain http is for loopback only)"
_PLAIN_HINT = {
    "issuer": "; where the service is reached by plain http in a private network, add url=… and plain_http=True",
    "url": "; in a private network that you trust say plain_http=True",
}


def _fault(url: str, *, plain_http: bool = False) -> str | None:
    if not _ADDRESS.fullmatch(url):
        return "has characters that no address has"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "is not an address"
    return _parts_fault(parts, plain_http)


def _parts_fault(parts: SplitResult, plain_http: bool) -> str | None:
    if parts.scheme not in _PORTS or not parts.hostname:
        return "is not an http or https address, such as https://auth.example.com"
    if parts.scheme == "http" and not (plain_http or is_loopback(parts.hostname)):
        return _MUST_BE_HTTPS
    if parts.username is not None or parts.password is not None:
        return "has a user name in it"
    if parts.fragment:
        return "has a fragment"
    return None

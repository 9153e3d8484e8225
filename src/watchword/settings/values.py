"""How each setting is read: a text becomes a value, or `Unfit` with what to do."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from watchword import base64url
from watchword.errors import InvalidKey
from watchword.hosts import is_address, is_loopback
from watchword.known_secrets import check_shared_secret

SECOND, MINUTE, HOUR, DAY = 1, 60, 3600, 86400
SECRET_BYTES = 32
_FEWEST_DISTINCT = 8  # 32 random bytes have fewer with a probability below 2^-100
_LONGEST_QUOTE = 60
_MOST_SECRETS = 3  # a refresh token's MAC is tried against each
_UNITS = {"": SECOND, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")
_LIMIT = re.compile(r"([0-9]{1,9})/([0-9]{1,9}[smhd]?)")
_MOST_HOPS = 16
_MAPPED_BITS = 96  # ::ffff:0:0/96 is IPv4
_PROXIES_HINT = "give a whole number from 0 to 16, or the proxies' networks, such as 10.0.0.0/8,fd00::/8"
_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_-]{1,63})*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]{1,64}")
# A name without what quoting or another line could come of, then an address.
_ADDRESS = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9-]{1,63}){0,30}"
_SENDER = re.compile(rf"{_ADDRESS}|[^\x00-\x1f\x7f\"<>@\\,;:()\u2028\u2029]{{1,100}}<{_ADDRESS}>")
_LONGEST_SENDER = 320
_ON = frozenset({"on", "true", "yes", "1"})
_OFF = frozenset({"off", "false", "no", "0"})

T = TypeVar("T")
Reader = Callable[[str], T]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Proxies = int | tuple[Network, ...]
"""The trusted proxies: a number of hops, or networks."""


class Unfit(ValueError):
    """Refuses a text: what is wrong, and what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `quota` per `window`; written `10/15m`."""

    quota: int
    window: timedelta

    def __str__(self) -> str:
        return f"{self.quota}/{duration_text(self.window)}"


def duration_text(value: timedelta) -> str:
    """Write a duration in the largest unit that divides it (`15m`, `7d`)."""
    seconds = value.total_seconds()
    if seconds != int(seconds):
        return f"{seconds}s"  # no reader accepts this: whole seconds only
    for letter, unit in (("d", DAY), ("h", HOUR), ("m", MINUTE)):
        if seconds and seconds % unit == 0:
            return f"{int(seconds // unit)}{letter}"
    return f"{int(seconds)}s"


def duration(least: int, most: int) -> Reader[timedelta]:
    """Read a duration between bounds in seconds: `45`, `30s`, `15m`, `12h`, `7d`."""

    def read(text: str) -> timedelta:
        match = _DURATION.fullmatch(text.strip())
        if match is None:
            raise Unfit(f"{_quoted(text)} is not a duration", "write whole seconds or 30s, 15m, 12h, 7d")
        seconds = int(match[1]) * _UNITS[match[2]]
        if not least <= seconds <= most:
            bounds = f"{duration_text(timedelta(seconds=least))} to {duration_text(timedelta(seconds=most))}"
            raise Unfit(f"{_quoted(text)} is out of bounds", f"choose a duration from {bounds}")
        return timedelta(seconds=seconds)

    return read


def unless_off(read: Reader[T]) -> Reader[T | None]:
    """Read what `read` accepts, or `off` as None."""
    return lambda text: None if text.strip().lower() == "off" else read(text)


def limit(text: str) -> Limit | None:
    """Read a limit such as `10/15m`, or `off`."""
    if text.strip().lower() == "off":
        return None
    match = _LIMIT.fullmatch(text.strip())
    hint = "write how many per how long, such as 10/15m, or off"
    if match is None:
        raise Unfit(f"{_quoted(text)} is not a limit", hint)
    window = duration(1, 31 * DAY)(match[2])
    if int(match[1]) == 0:
        raise Unfit(f"{_quoted(text)} allows nothing", hint)
    return Limit(int(match[1]), window)


def number(least: int, most: int) -> Reader[int]:
    """Read a whole number between bounds."""

    def read(text: str) -> int:
        stripped = "0" if least == 0 and text.strip().lower() == "off" else text.strip()
        if not re.fullmatch(r"[0-9]{1,9}", stripped) or not least <= int(stripped) <= most:
            raise Unfit(f"{_quoted(text)} is not acceptable", f"give a whole number from {least} to {most}")
        return int(stripped)

    return read


def number_or_auto(least: int, most: int) -> Callable[[str], int | None]:
    """Read a whole number between bounds; None for `auto`, which a rule finds."""
    read = number(least, most)

    def either(text: str) -> int | None:
        if text.strip().lower() == "auto":
            return None
        try:
            return read(text)
        except Unfit as unfit:
            raise Unfit(unfit.message, f"{unfit.hint}, or auto") from None

    return either


def proxies(text: str) -> Proxies:
    """Read a number of proxies in front (`1`), or a comma list of their networks; `off` is 0."""
    if re.fullmatch(r"off|[+-]?[0-9]+", text.strip().lower()):
        return number(0, _MOST_HOPS)(text)
    found = tuple(dict.fromkeys(_network(part.strip()) for part in text.split(",") if part.strip()))
    if not found:
        raise Unfit("is given and lists no network", _PROXIES_HINT)
    together: tuple[Network, ...] = (
        *ipaddress.collapse_addresses(each for each in found if isinstance(each, ipaddress.IPv4Network)),
        *ipaddress.collapse_addresses(each for each in found if isinstance(each, ipaddress.IPv6Network)),
    )  # two halves are everyone too
    if any(network.prefixlen == 0 for network in together):
        raise Unfit(f"{_quoted(text)} is everyone, who could then claim any address", _PROXIES_HINT)
    return found


def _network(text: str) -> Network:
    address, slash, bits = text.partition("/")
    if slash and not re.fullmatch(r"[0-9]{1,3}", bits):
        raise Unfit(f"{_quoted(text)} is no network with a prefix length", _PROXIES_HINT)
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Unfit(f"{_quoted(text)} is neither a number of proxies nor a network", _PROXIES_HINT) from None
    if "%" in text or network.network_address != ipaddress.ip_address(address):
        raise Unfit(f"{_quoted(text)} is not the beginning of a network", f"write {network}, or one address")
    if isinstance(network, ipaddress.IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= _MAPPED_BITS:
            network = ipaddress.IPv4Network(f"{mapped}/{network.prefixlen - _MAPPED_BITS}")
    return network


def choice(*names: str, also: dict[str, str] | None = None) -> Reader[Any]:
    """Read one of a few names, in any case; `also` maps other spellings to them."""
    known = {name.lower(): name for name in names} | (also or {})

    def read(text: str) -> str:
        name = known.get(text.strip().lower())
        if name is None:
            raise Unfit(f"{_quoted(text)} is not known", f"choose one of: {', '.join(names)}")
        return name

    return read


def switch(text: str) -> bool:
    """Read `on` or `off` (also true/false, yes/no, 1/0)."""
    word = text.strip().lower()
    if word not in _ON | _OFF:
        raise Unfit(f"{_quoted(text)} is neither on nor off", "write on or off")
    return word in _ON


def host(text: str) -> str:
    """Read an IP address or a host name to listen on."""
    name = text.strip().removeprefix("[").removesuffix("]")
    if is_address(name) or _HOST_NAME.fullmatch(name.lower()):
        return name
    raise Unfit(f"{_quoted(text)} is not an address to listen on", "give an IP address or a host name, without a port")


def words(text: str) -> str:
    """Read one line of visible text."""
    if not text.strip().isprintable():
        raise Unfit("has characters that cannot be shown", "use visible characters only")
    return text.strip()


def audience(text: str) -> str:
    """Read one name, such as a URL: tokens have one audience."""
    name = words(text)
    if "," in name:
        raise Unfit(
            f"{_quoted(name)} has a comma, and a token has one audience",
            "give one name, which each guard then expects (audience=…), or leave it out for the public URL",
        )
    if name[:1] in "[{":
        raise Unfit(f"{_quoted(name)} is written as a list", "give one name, without brackets")
    return name


def check_text(text: str) -> None:
    """Refuse what cannot be written as bytes; bytes that are no UTF-8 come from the environment, as `surrogateescape`.

    Raises `Unfit`.
    """
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise Unfit("has half of a surrogate pair, which no text has", "give it as text in UTF-8") from None


def folder(text: str) -> Path:
    """Read a directory."""
    if "\0" in text:
        raise Unfit("has a NUL character", "give a directory")
    return at_home(text.strip())


def at_home(text: str) -> Path:
    """Read a path, with `~` for the user's home directory."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # a container's user id without a name, and no HOME
        raise Unfit(f"{_quoted(text)} is below a home directory, and there is none", "give an absolute path") from None


def sender(text: str) -> str:
    """Read what mail comes from: an address, alone or as `Name <address>`."""
    if len(text) > _LONGEST_SENDER or not _SENDER.fullmatch(text.strip()) or not text.strip().isprintable():
        raise Unfit(
            f"{_quoted(text)} is not a sender",
            "write no-reply@example.com or Example <no-reply@example.com>, the address in ASCII (xn--…)",
        )
    return text.strip()


def url_path(text: str) -> str:
    """Read a path before every route: `/api`; `/` means none."""
    path = text.strip()
    if path in ("/", "off"):
        return ""
    if not _PATH.fullmatch(path):
        raise Unfit(
            f"{_quoted(text)} is not a path prefix", "write it like /api or /auth/v1, without a slash at the end"
        )
    return path


def public_url(text: str) -> str:
    """Read the URL of the service, byte for byte its tokens' issuer."""
    url = text.strip()
    parts = split_url(url)
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise Unfit("has a query or a fragment", "leave out everything from ? or # on")
    if url.endswith("/"):
        raise Unfit("ends in a slash", f"write {_quoted(url.rstrip('/'))}: issuers are compared byte for byte")
    if not _PATH.fullmatch(parts.path):
        raise Unfit(f"has a path that cannot be used: {_quoted(parts.path)}", "use plain segments such as /auth")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise Unfit(
            "is http beyond this machine: passwords and tokens would travel in the clear",
            f"use https://{url.removeprefix('http://')} (with a reverse proxy that terminates TLS), "
            "or a loopback address such as http://localhost:4000",
        )
    return url


def origin(text: str) -> str:
    """Read a web origin as browsers send it: `https://app.example.com`, without a path."""
    url = text.strip()
    if url in {"*", "null"}:
        raise Unfit(f"{_quoted(url)} would let any page act for a signed-in user", "list each origin by name")
    if split_url(url).path or url != f"{split_url(url).scheme}://{split_url(url).netloc}":
        raise Unfit(f"{_quoted(url)} is not an origin", "write scheme and host only, such as https://app.example.com")
    return url


def origins(text: str) -> tuple[str, ...]:
    """Read a comma list of origins, or `off`."""
    if text.strip().lower() == "off":
        return ()
    return tuple(dict.fromkeys(origin(part) for part in text.split(",") if part.strip()))


def header_names(text: str) -> tuple[str, ...]:
    """Read a comma list of header names, or `off`; each once, in any case."""
    names = () if text.strip().lower() == "off" else tuple(part.strip() for part in text.split(",") if part.strip())
    for name in names:
        if name == "*":
            raise Unfit("* would not reach requests with credentials", "name each header: X-Tenant,X-Client-Version")
        if not _HEADER_NAME.fullmatch(name):
            raise Unfit(f"{_quoted(name)} is not the name of a header", "such as X-Tenant,X-Client-Version")
    return tuple({name.lower(): name for name in names}.values())


def split_url(url: str) -> SplitResult:
    """Split an http(s) URL; refuse what browsers and libraries read differently."""
    if not url.isascii() or any(character <= " " or character in '\\"<>^`{|}\x7f' for character in url):
        raise Unfit(
            f"{_quoted(url)} has characters that do not belong in a URL", "write it like https://auth.example.com"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Unfit(f"{_quoted(url)} is not a URL", "write it like https://auth.example.com") from None
    if not url.startswith(("http://", "https://")) or not parts.hostname:
        raise Unfit(f"{_quoted(url)} is not an http or https URL", "write it like https://auth.example.com")
    if "@" in parts.netloc:
        raise Unfit("has a user name or password in it", "leave out everything before the @")
    if parts.netloc != parts.netloc.lower():
        raise Unfit(
            f"{_quoted(url)} has capitals in its host", f"write the host as {parts.netloc.lower()}, as browsers do"
        )
    named = "[" not in parts.netloc and _HOST_NAME.fullmatch(parts.hostname)  # in brackets stands an address only
    if re.search(r"\][^:]", parts.netloc) or not (is_address(parts.hostname) or named):
        raise Unfit(f"{_quoted(url)} has no valid host", "write it like https://auth.example.com")
    usual = {"http": 80, "https": 443}[parts.scheme]
    if port == usual or parts.netloc.endswith(":") or port == 0:
        raise Unfit(f"{_quoted(url)} names a port that browsers leave out", f"leave out :{usual if port else ''}")
    return parts


def secrets(text: str) -> tuple[bytes, ...]:
    """Read master secrets: base64url of at least 32 random bytes each, current first."""
    hint = "make one with: watchword secret"
    found = tuple(_secret(part.strip(), hint) for part in text.split(",") if part.strip())
    if not found:
        raise Unfit("is given and lists no secret", f"{hint}, or leave it out")
    if len(set(found)) != len(found):
        raise Unfit("lists the same secret twice", "list each secret once, the current one first")
    if len(found) > _MOST_SECRETS:
        raise Unfit(
            f"lists {len(found)} secrets", f"list at most {_MOST_SECRETS}: the current one, then those being retired"
        )
    return found


def _secret(text: str, hint: str) -> bytes:
    try:
        raw = base64url.decode(text.rstrip("="))
    except ValueError:
        raw = b""
    if not raw:
        raise Unfit("is not base64url", hint)
    if len(raw) < SECRET_BYTES:
        raise Unfit(f"holds {len(raw)} bytes; at least {SECRET_BYTES} are needed", hint)
    if len(set(raw)) < _FEWEST_DISTINCT:
        raise Unfit("is not random", hint)
    return raw


def shared_secret(text: str) -> bytes:
    """Read the HS256 secret: its characters are the key, as in the libraries that share it. Refuse known ones."""
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) < SECRET_BYTES:
        raise Unfit(
            f"has {len(raw)} bytes; HS256 needs at least {SECRET_BYTES} (RFC 7518 section 3.2), made at random",
            "make one with: watchword secret",
        )
    try:
        check_shared_secret(raw)
    except InvalidKey as error:
        said = error.message.removeprefix("The shared secret ").rstrip(".")
        raise Unfit(said, "make one with: watchword secret") from None
    return raw


def is_among(shared: bytes, masters: tuple[bytes, ...]) -> bool:
    """Tell whether the HS256 secret is a master secret, as bytes or as text."""
    return shared in masters or shared.strip().rstrip(b"=") in {base64url.encode(master) for master in masters}


def _quoted(text: str) -> str:
    """Quote a text, cut short and safe in a terminal."""
    return ascii(text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 3] + "...")

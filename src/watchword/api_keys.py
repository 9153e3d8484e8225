"""API keys as texts: made, read, and weakened by who holds one, without asking the service.

A key is `wwk_` and the base64url of `id ‖ secret ‖ checksum`. A weakened key is `wwk_` and the base64url of
`id ‖ number of links ‖ links ‖ seed ‖ checksum`. A link is `length ‖ what it limits ‖ public key ‖ signature`; its
signature is made with the private key of the link before, and the first with one that the secret gives. So a link can
be added by the holder, and no one can take one away or change it. The service keeps public keys and hashes only:
what is in its database makes no key (docs/security/api-keys.md).
"""

from __future__ import annotations

import hmac
import math
import os
import re
import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from watchword import base64url, strict_json
from watchword.clock import Clock, SystemClock

PREFIX: Final = "wwk_"
PATTERN: Final = r"wwk_[A-Za-z0-9_-]{64,4096}"
"""What scanners look for; the checksum tells a key from a look-alike."""
_ANYWHERE: Final = re.compile(PATTERN)
TOKEN_TYPE: Final = "urn:watchword:token-type:api_key"  # noqa: S105 - the name of a kind
"""The `subject_token_type` by which `POST /token` knows a key (RFC 8693)."""
MOST_LINKS: Final = 8
LONGEST: Final = 4096
"""Characters of a key."""

_ID: Final = 16
_SECRET: Final = 28
_SUM: Final = 4
_WHOLE: Final = _ID + _SECRET + _SUM
_POINT: Final = 32
_SIGNATURE: Final = 64
_MOST_LIMITS: Final = 1536
_MOST_SCOPES: Final = 1024
_MOST_RESOURCE: Final = 256
_FOREVER: Final = 2**53
_CHAIN: Final = b"watchword api key 1 link\0"
_ROOT: Final = b"watchword api key 1 root"
_NAMES: Final = frozenset(("scope", "exp", "resource"))
_SCOPE: Final = re.compile(r"[A-Za-z0-9_\-.:/]{1,64}")


class KeyFault(ValueError):
    """Says that a text is no API key, or that a key cannot be weakened so. The message never quotes the key."""


class Limits(NamedTuple):
    """What a weakened key may do at most.

    :param scopes: None: all of its parent.
    :param until: seconds since 1970 UTC from which on it is refused; None: as its parent.
    :param resource: the only audience, as `resource` names it; None: as its parent.
    """

    scopes: frozenset[str] | None = None
    until: int | None = None
    resource: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """One step of weakening, as it stands in the key."""

    limits: bytes
    public: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, repr=False)
class ApiKey:
    """A key that was read. Its checksum was compared, nothing else.

    :param id: the key's id, a UUID; weakened keys have their parent's.
    :param secret: 28 bytes; empty for a weakened key.
    :param links: of a weakened key, oldest first.
    :param seed: the private key of the last link, 32 bytes; empty for a whole key.
    """

    id: str
    secret: bytes
    links: tuple[Link, ...] = ()
    seed: bytes = b""


class Known(Protocol):
    """Remembers marks of signatures that were good. It may forget any."""

    def __contains__(self, mark: bytes, /) -> bool:
        """Tell whether it was."""
        ...

    def add(self, mark: bytes, /) -> None:
        """Remember one."""
        ...


class Made(NamedTuple):
    """A new key, and what the service keeps of it."""

    text: str
    secret_hash: str
    public: bytes


def make(key_id: str) -> Made:
    """Make a key with this id, of 224 random bits."""
    secret = os.urandom(_SECRET)
    text = _written(_raw_id(key_id) + secret)
    return Made(text, sha256(secret).hexdigest(), _public(_root(secret)))


def looks_like(text: object) -> bool:
    """Return whether the prefix is a key's (it may be forged)."""
    return isinstance(text, str) and text.startswith(PREFIX)


def in_address(target: str) -> bool:
    """Return whether path or query of an address hold what looks like a key."""
    return _ANYWHERE.search(target) is not None


def read(text: str) -> ApiKey:
    """Read a key without asking anyone. :raises KeyFault: its form or its checksum is wrong."""
    if not looks_like(text) or len(text) > LONGEST:
        raise KeyFault("This is not an API key.")
    try:
        raw = base64url.decode(text[len(PREFIX) :])
    except ValueError:
        raise KeyFault("This API key has characters that no key has.") from None
    if len(raw) < _WHOLE or _checksum(raw[:-_SUM]) != raw[-_SUM:]:
        raise KeyFault("This API key is incomplete, or was mistyped.")
    body = raw[:-_SUM]
    key_id = _text_id(body[:_ID])
    return ApiKey(key_id, body[_ID:]) if len(raw) == _WHOLE else _weakened(key_id, body[_ID:])


def limits_of(key: ApiKey, *, secret_hash: str, public: bytes, known: Known | None = None) -> Limits | None:
    """Return what a presented key may do at most; None for one that is not genuine.

    :param secret_hash: like `public` what the service keeps of the key with this id.
    :param known: signatures that are not checked again.
    """
    if not key.links:
        genuine = hmac.compare_digest(sha256(key.secret).hexdigest(), secret_hash)
        return Limits() if genuine else None
    try:
        _check_chain(key, public, set() if known is None else known)
        return _narrowest([_read_limits(link.limits) for link in key.links])
    except (InvalidSignature, KeyFault):
        return None


def attenuate(
    key: str,
    *,
    scopes: Collection[str] | None = None,
    expires_in: float | None = None,
    resource: str | None = None,
    clock: Clock | None = None,
) -> str:
    """Return a weaker key made of this one, without asking the service. It can be weakened again, never widened.

        nightly = attenuate(key, scopes=["orders:read"], expires_in=3600, resource="https://orders.example")

    :param scopes: those that it keeps: a subset of its parent's, of what a weakened parent lists.
    :param expires_in: seconds from now after which it is refused; its parent's end counts too.
    :param resource: the only audience for which it is exchanged.
    :raises TypeError: scopes as one text, or something else than texts; `expires_in` that is no number.
    :raises ValueError: `expires_in` below 1, or without an end.
    :raises KeyFault: not a key, nothing that makes it weaker, more than the parent has, or weakened too often.
    """
    kept = None if scopes is None else _some_scopes(scopes)
    if resource is not None:
        _check_resource(resource)
    parent = read(key)
    had = _narrowest([_read_limits(link.limits) for link in parent.links])
    until = None if expires_in is None else (clock or SystemClock()).now() + _seconds(expires_in)
    wanted = Limits(kept, until, resource)
    _check_weaker(wanted, had)
    if len(parent.links) >= MOST_LINKS:
        raise KeyFault(f"A key is weakened {MOST_LINKS} times at most.")
    return _with_link(parent, _write_limits(wanted))


def _seconds(expires_in: object) -> int:
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float):
        raise TypeError(f"expires_in is a number of seconds, unlike {expires_in!r:.100}")
    if not 1 <= expires_in < math.inf:  # a key that has ended already is a slip, and nan compares as false
        raise ValueError(f"expires_in is at least 1 second and has an end, unlike {expires_in!r:.100}")
    return int(expires_in)


# The chain ------------------------------------------------------------------------------------------------------------


def _with_link(parent: ApiKey, limits: bytes) -> str:
    signer = parent.seed or _root(parent.secret)
    seed = os.urandom(_POINT)
    public = _public(seed)
    raw_id = _raw_id(parent.id)
    signature = Ed25519PrivateKey.from_private_bytes(signer).sign(_signed(raw_id, parent.links, limits, public))
    links = (*parent.links, Link(limits, public, signature))
    parts = [len(each.limits).to_bytes(2, "big") + each.limits + each.public + each.signature for each in links]
    text = _written(raw_id + bytes([len(links)]) + b"".join(parts) + seed)
    if len(text) > LONGEST:
        raise KeyFault(f"The key would be longer than {LONGEST} characters.")
    return text


def _check_chain(key: ApiKey, public: bytes, known: Known) -> None:
    """Check each signature, and that the holder has the last private key. :raises InvalidSignature: otherwise."""
    raw_id = _raw_id(key.id)
    for place, link in enumerate(key.links):
        signed = _signed(raw_id, key.links[:place], link.limits, link.public)
        mark = sha256(public + link.signature + signed).digest()  # all that the check depends on
        if mark not in known:
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(link.signature, signed)
            except ValueError as error:
                raise InvalidSignature from error
            known.add(mark)
        public = link.public
    if not hmac.compare_digest(_public(key.seed), public):
        raise InvalidSignature


def _signed(raw_id: bytes, before: tuple[Link, ...], limits: bytes, public: bytes) -> bytes:
    """Return what a link's signature covers: the key, all links before it, its place, and itself."""
    so_far = sha256()
    for link in before:
        so_far.update(sha256(link.limits).digest() + link.public + link.signature)
    return _CHAIN + raw_id + bytes([len(before)]) + so_far.digest() + public + limits


def _root(secret: bytes) -> bytes:
    """Return the private key of a whole key: from its secret, of which the service keeps a hash only."""
    return hmac.digest(secret, _ROOT, "sha256")


def _public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


# What a link limits ---------------------------------------------------------------------------------------------------


def _some_scopes(given: object) -> frozenset[str]:
    """Return scopes to write. :raises TypeError: not several texts. :raises KeyFault: no scope."""
    found = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str | bytes) else (None,)
    if not all(isinstance(each, str) for each in found):
        raise TypeError(f'scopes are several texts, such as scopes=["orders:read"], unlike {given!r:.100}')
    for each in found:
        if not _SCOPE.fullmatch(each):
            raise KeyFault(f"{each!a:.100} is no scope: one has 1 to 64 letters, digits or characters of -_.:/")
    return frozenset(found)


def _check_resource(given: object) -> None:
    if not isinstance(given, str):
        raise TypeError(f'resource is one text, such as resource="https://orders.example", unlike {given!r:.100}')
    if not 0 < len(given) <= _MOST_RESOURCE:
        raise KeyFault(f"A resource has 1 to {_MOST_RESOURCE} characters; leave it out to keep the parent's.")


def _check_weaker(wanted: Limits, had: Limits) -> None:
    if wanted == Limits():
        raise KeyFault("Say what makes the key weaker: scopes, expires_in or resource.")
    if wanted.scopes is not None and had.scopes is not None and not wanted.scopes <= had.scopes:
        raise KeyFault("The key does not have all of these scopes.")
    if wanted.resource is not None and had.resource is not None and wanted.resource != had.resource:
        raise KeyFault("The key is for another resource.")
    if wanted.until is not None and had.until is not None and wanted.until > had.until:
        raise KeyFault("The key ends before that.")


def _write_limits(limits: Limits) -> bytes:
    found: dict[str, Any] = {}
    if limits.scopes is not None:
        found["scope"] = " ".join(sorted(limits.scopes))
    if limits.until is not None:
        found["exp"] = limits.until
    if limits.resource is not None:
        found["resource"] = limits.resource
    text = msgspec.json.encode(found)
    if _read_limits(text) != limits:
        raise KeyFault("These scopes cannot be written.")
    return text


def _read_limits(text: bytes) -> Limits:
    """Read what a link limits; what is not understood is refused, never skipped. :raises KeyFault: otherwise."""
    try:
        found = strict_json.read_object(text, max_depth=1)
    except ValueError:
        raise KeyFault("A link of this key cannot be read.") from None
    scope, until, resource = found.get("scope"), found.get("exp"), found.get("resource")
    fits = (
        (len(found) > 0 and found.keys() <= _NAMES)
        and ("scope" not in found or _is_scopes(scope))
        and ("exp" not in found or (type(until) is int and 0 <= until < _FOREVER))
        and ("resource" not in found or (type(resource) is str and 0 < len(resource) <= _MOST_RESOURCE))
    )
    if not fits:
        raise KeyFault("A link of this key says something that is not known.")
    return Limits(None if scope is None else frozenset(scope.split()), until, resource)


def _is_scopes(scope: object) -> bool:
    if type(scope) is not str or len(scope) > _MOST_SCOPES:
        return False
    return all(_SCOPE.fullmatch(each) for each in scope.split(" ")) if scope else True


def _narrowest(found: list[Limits]) -> Limits:
    """Return what all of them allow. :raises KeyFault: two resources."""
    resources = {each.resource for each in found} - {None}
    if len(resources) > 1:
        raise KeyFault("The links of this key name two resources.")
    listed = [each.scopes for each in found if each.scopes is not None]
    ends = [each.until for each in found if each.until is not None]
    return Limits(
        frozenset.intersection(*listed) if listed else None, min(ends, default=None), next(iter(resources), None)
    )


# Bytes ----------------------------------------------------------------------------------------------------------------


def _weakened(key_id: str, rest: bytes) -> ApiKey:
    """Read number of links, links and seed: all bytes are used, or it is no key."""
    count, at, links = rest[0], 1, list[Link]()
    if not 1 <= count <= MOST_LINKS:
        raise KeyFault("This API key has an unknown form.")
    for _ in range(count):
        length = int.from_bytes(rest[at : at + 2], "big")
        at += 2
        ends = at + length, at + length + _POINT, at + length + _POINT + _SIGNATURE
        if length > _MOST_LIMITS or ends[2] > len(rest):
            raise KeyFault("This API key has an unknown form.")
        links.append(Link(rest[at : ends[0]], rest[ends[0] : ends[1]], rest[ends[1] : ends[2]]))
        at = ends[2]
    if len(rest) - at != _POINT:
        raise KeyFault("This API key has an unknown form.")
    return ApiKey(key_id, b"", tuple(links), rest[at:])


def _written(body: bytes) -> str:
    return PREFIX + base64url.encode_text(body + _checksum(body))


def _checksum(body: bytes) -> bytes:
    return zlib.crc32(PREFIX.encode() + body).to_bytes(_SUM, "big")


def _raw_id(key_id: str) -> bytes:
    return bytes.fromhex(key_id.replace("-", ""))


def _text_id(raw: bytes) -> str:
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

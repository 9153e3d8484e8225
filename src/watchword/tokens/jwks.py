"""JWK sets (RFC 7517 section 5): publish our own, read another's.

A set that came over the network is read leniently where that is safe: a key that we cannot use is passed over, since
issuers publish encryption keys and new algorithms beside the key that we need. It is refused as a whole where one
entry puts the others in doubt: shared secrets, and two keys of one id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from watchword import strict_json
from watchword.errors import InvalidKey
from watchword.tokens.jwk import PRIVATE_MEMBERS
from watchword.tokens.keys import KeySet, SigningKey, VerificationKey

MAX_SET_BYTES: Final = 64 * 1024
MAX_KEYS: Final = 50
_MAX_DEPTH: Final = 8


def public_key_set(keys: Iterable[VerificationKey | SigningKey]) -> bytes:
    """The set as JSON (`application/jwk-set+json`): public members, `use`, `alg` and `kid` of each key.

    :raises InvalidKey: a shared secret, which can never be published.
    """
    return msgspec.json.encode({"keys": [key.public_jwk() for key in keys]})


def read_key_set(data: bytes) -> KeySet:
    """Read a set that came from elsewhere: at most 64 KiB and 50 keys; keys that cannot be used are passed over.

    :raises InvalidKey: not a JWK set, too large, a shared secret among the keys, two keys of one id, no usable key.
    """
    if len(data) > MAX_SET_BYTES:
        raise InvalidKey("The key set is too large.")
    try:
        entries = strict_json.read_object(data, max_depth=_MAX_DEPTH).get("keys")
    except ValueError as error:
        raise InvalidKey("The key set is not strict JSON.") from error
    jwks = jwks_in(entries)
    if any(jwk.get("kty") == "oct" or "k" in jwk for jwk in jwks):
        raise InvalidKey("The key set contains a shared secret; a secret that was published is none.")
    # A private key that was published belongs to everyone.
    return usable_keys([jwk for jwk in jwks if PRIVATE_MEMBERS.isdisjoint(jwk)])


def jwks_in(entries: object) -> list[Mapping[str, Any]]:
    """The JWKs of a set's `keys` member.

    :raises InvalidKey: not a list, more than 50, shared secrets beside public keys, or an id twice. Both are judged
        before any key is passed over: that one of two keys cannot be used does not say that the other was meant. Only
        keys that are expressly for something else (`use` = `enc`) do not count for the second.
    """
    if not isinstance(entries, list | tuple) or len(entries) > MAX_KEYS:
        raise InvalidKey(f"A key set has a list of keys, at most {MAX_KEYS}.")
    jwks = [entry for entry in entries if isinstance(entry, Mapping)]
    if len({jwk.get("kty") == "oct" for jwk in jwks}) > 1:
        raise InvalidKey("A key set holds either public keys or shared secrets, not both.")
    kids = [jwk["kid"] for jwk in jwks if isinstance(jwk.get("kid"), str) and jwk.get("use", "sig") == "sig"]
    if len(set(kids)) != len(kids):
        raise InvalidKey("Two keys of the set have the same id.")
    return jwks


def usable_keys(jwks: Sequence[Mapping[str, Any]]) -> KeySet:
    """The keys that can be used. :raises InvalidKey: none can, or two have one id."""
    keys, fault = [], InvalidKey("The key set has no usable key.")
    for jwk in jwks:
        try:
            keys.append(VerificationKey.from_jwk(jwk))
        except InvalidKey as error:
            fault = error
    if not keys:
        raise fault
    return KeySet(keys)

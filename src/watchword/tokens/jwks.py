"""JWK sets (RFC 7517 section 5): publish our own, read another's.

Unusable keys are skipped, since issuers publish encryption keys too. Shared secrets and repeated ids put the others in
doubt: the whole set is refused.
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
    """Return the set as JSON (`application/jwk-set+json`).

    :raises InvalidKey: a shared secret.
    """
    return msgspec.json.encode({"keys": [key.public_jwk() for key in keys]})


def read_key_set(data: bytes) -> KeySet:
    """Read a foreign set of at most 64 KiB and 50 keys.

    :raises InvalidKey: not such a set, a shared secret, a repeated id, no usable key.
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
    # Anyone may hold a private key that was published.
    return usable_keys([jwk for jwk in jwks if PRIVATE_MEMBERS.isdisjoint(jwk)])


def jwks_in(entries: object) -> list[Mapping[str, Any]]:
    """Return the JWKs of a set's `keys` member.

    :raises InvalidKey: no list, over 50 keys, shared secrets beside public keys, a repeated id. An unusable key's id
        counts: the other key may not be meant. Only `use` = `enc` may repeat one.
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
    """Return the usable keys.

    :raises InvalidKey: there is none.
    """
    keys, fault = [], InvalidKey("The key set has no usable key.")
    for jwk in jwks:
        try:
            keys.append(VerificationKey.from_jwk(jwk))
        except InvalidKey as error:
            fault = error
    if not keys:
        raise fault
    return KeySet(keys)

"""Verify any compact JWS, for callers with their own claims rules.

`kid` and `typ` are optional. The token must agree with its key's algorithm.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from watchword.errors import InvalidKey, TokenError
from watchword.tokens import compact
from watchword.tokens.algorithms import ALGORITHMS, fitting
from watchword.tokens.jwk import read_public
from watchword.tokens.jwks import jwks_in, usable_keys
from watchword.tokens.keys import KeySet, VerificationKey
from watchword.tokens.material import shape
from watchword.tokens.verify import check_signature


def verify_compact(
    token: str | bytes,
    key: Mapping[str, Any] | VerificationKey | KeySet,
    *,
    algorithms: Collection[str] | None = None,
) -> bytes:
    """Verify a compact JWS of at most 8 KiB; return its payload.

    :param key: a JWK, a JWK set (a mapping with `keys`), or a key object. Never text or bytes.
    :param algorithms: the only ones allowed. Otherwise a JWK without `alg` is used by its type: ES256, ES384 or ES512
        by the curve, EdDSA and Ed25519, RS256, HS256.
    :raises TokenError: the token is not acceptable.
    :raises InvalidKey: no key is usable.
    """
    allowed = _allowed(algorithms)
    parts = compact.split(token)
    header = compact.read_header(parts.header)
    algorithm = compact.header_algorithm(header)
    if algorithm not in allowed:
        raise TokenError("The token's algorithm is not accepted.")
    chosen = _choose(key, algorithm, compact.header_kid(header, own=False), algorithms is not None)
    if chosen.algorithm != algorithm:
        raise TokenError("The token's algorithm is not the key's.")
    return check_signature(parts, chosen)


def _allowed(algorithms: Collection[str] | None) -> Collection[str]:
    if algorithms is None:
        return ALGORITHMS
    if isinstance(algorithms, str | bytes) or not all(name in ALGORITHMS for name in algorithms):
        raise InvalidKey("The algorithms are a collection of known names.")
    return algorithms


def _choose(key: object, algorithm: str, kid: str | None, listed: bool) -> VerificationKey:
    if isinstance(key, VerificationKey):
        return _same_kid(key, kid, key.kid)
    if isinstance(key, KeySet):
        return _from_set(key, algorithm, kid)
    if not isinstance(key, Mapping):
        raise InvalidKey("A key is given as a JWK, a JWK set or a key object, never as text or bytes.")
    if "keys" in key:
        if "kty" in key:
            raise InvalidKey("A JWK set is not a JWK as well.")
        jwks = [_with_algorithm(jwk, algorithm, listed) for jwk in jwks_in(key["keys"])]
        return _from_set(usable_keys(jwks), algorithm, kid)
    found = VerificationKey.from_jwk(_with_algorithm(key, algorithm, listed))
    return _same_kid(found, kid, key.get("kid"))


def _with_algorithm(jwk: Mapping[str, Any], algorithm: str, listed: bool) -> Mapping[str, Any]:
    """Give a JWK without `alg` the token's, if it is listed or another name of the same.

    The key's type must fit: no token turns a public key into a secret.
    """
    if "alg" in jwk:
        return jwk
    try:
        fits = fitting(*shape(read_public(jwk)))
    except InvalidKey:
        return jwk  # reading the key raises again
    named = ALGORITHMS[algorithm]
    if named in fits and (listed or named.scheme == "EdDSA"):
        return {**jwk, "alg": algorithm}
    return jwk


def _same_kid(key: VerificationKey, kid: str | None, key_kid: str | None) -> VerificationKey:
    if kid is not None and key_kid is not None and kid != key_kid:
        raise TokenError("The token was signed with another key.")
    return key


def _from_set(keys: KeySet, algorithm: str, kid: str | None) -> VerificationKey:
    if kid is not None:
        found = keys.find(kid)
        if found is None:
            raise TokenError("The token was signed with an unknown key.")
        return found
    # Without an id there must be no choice: the token would pick.
    candidates = [key for key in keys if key.algorithm == algorithm]
    if len(candidates) != 1:
        raise TokenError("The token names no key, and the key set has not exactly one for its algorithm.")
    return candidates[0]

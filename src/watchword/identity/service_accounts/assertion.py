"""Read a client's assertion: `private_key_jwt` of RFC 7523 section 3. Pure: no clock, no I/O."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from watchword import strict_json
from watchword.errors import FieldError, InvalidInput, InvalidKey, TokenError
from watchword.tokens import compact
from watchword.tokens.claims import MAX_ID, MAX_TIME
from watchword.tokens.keys import VerificationKey
from watchword.tokens.raw import verify_compact

TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS: Final = (
    "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519",
)  # fmt: skip
LONGEST: Final = 3600
"""Seconds until `exp` at most."""
AHEAD: Final = 60
"""Seconds by which the client's clock may be ahead."""
_TYPES: Final = frozenset({"jwt", "application/jwt", "client-authentication+jwt"})
_MOST_DEPTH: Final = 4
_MOST_CHARACTERS: Final = 16 * 1024
_ED25519: Final = ("EdDSA", "Ed25519")
_SECRET_MEMBERS: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")


class Assertion(NamedTuple):
    """An assertion that is good, if its id was not used before. Times are seconds since 1970.

    :param usable_from: when it would have been accepted at the earliest.
    """

    jti: str
    usable_from: int
    expires_at: int


def read_assertion(
    text: str, jwk: Mapping[str, Any], *, client_id: str, audiences: Collection[str], now: int
) -> Assertion:
    """Check an assertion by the client's key, whose `alg` is the only one; Ed25519 has two names (RFC 9864).

    :param audiences: each of which alone may be its `aud`.
    :raises TokenError: it is not acceptable.
    """
    typ = compact.read_header(compact.split(text).header).get("typ", "JWT")
    if type(typ) is not str or typ.lower() not in _TYPES:
        raise TokenError("The assertion is of another kind.")
    payload = _verified(text, jwk)
    try:
        found = strict_json.read_object(payload, max_depth=_MOST_DEPTH)
    except ValueError as error:
        raise compact.malformed("The assertion's claims cannot be read.") from error
    audience = found.get("aud")
    named = audience[0] if type(audience) is list and len(audience) == 1 else audience
    if found.get("iss") != client_id or found.get("sub") != client_id:
        raise TokenError("The assertion's iss and sub are not the client's id.")
    if type(named) is not str or named not in audiences:
        raise TokenError(f"The assertion's aud is not one of these alone: {', '.join(audiences)}.")
    expires_at, jti = _time(found, "exp"), found.get("jti")
    if expires_at is None:
        raise TokenError("The assertion has no exp.")
    if expires_at <= now:
        raise TokenError("The assertion has expired.")
    if expires_at > now + LONGEST + AHEAD:
        raise TokenError(f"The assertion's exp is more than {LONGEST} seconds ahead.")
    begins_at = max(_time(found, "iat") or 0, _time(found, "nbf") or 0, expires_at - LONGEST)
    if begins_at > now + AHEAD:
        raise TokenError("The assertion is not valid yet.")
    if type(jti) is not str or not 0 < len(jti) <= MAX_ID:
        raise TokenError(f"The assertion has no jti of 1 to {MAX_ID} characters.")
    return Assertion(jti, begins_at - AHEAD, expires_at)


def _verified(text: str, jwk: Mapping[str, Any]) -> bytes:
    """Return the payload. Each name of the same signature is tried; no other algorithm is."""
    if jwk["alg"] not in _ED25519:
        return verify_compact(text, jwk, algorithms=(jwk["alg"],))
    named = compact.header_algorithm(compact.read_header(compact.split(text).header))
    return verify_compact(text, {**jwk, "alg": named if named in _ED25519 else jwk["alg"]}, algorithms=_ED25519)


def read_public_key(text: str, algorithm: str | None) -> str:
    """Return a public key, PEM or JWK, as a JWK with its `alg`, in JSON.

    :param algorithm: without it the key's type decides: ES256, ES384 or ES512, EdDSA, RS256.
    :raises InvalidInput: it is private, shared, weak or no key.
    """
    try:
        key = _pem(text, algorithm) if text.lstrip().startswith("-----") else _jwk(text, algorithm)
    except (InvalidKey, ValueError) as error:
        raise _unfit(str(error)) from error
    return json.dumps(key, separators=(",", ":"), sort_keys=True)


def _pem(text: str, algorithm: str | None) -> dict[str, str]:
    faults = []
    for name in (algorithm,) if algorithm else ("ES256", "RS256", "EdDSA", "ES384", "ES512"):
        try:
            found = VerificationKey.from_pem(text.encode(), name).public_jwk()
        except InvalidKey as error:
            faults.append(error)
        else:
            return {member: value for member, value in found.items() if member != "kid"}
    raise faults[0]


def _jwk(text: str, algorithm: str | None) -> dict[str, str]:
    if len(text) > _MOST_CHARACTERS:
        raise ValueError("The key is too long.")
    found = strict_json.read_object(text.encode(), max_depth=_MOST_DEPTH)
    if any(member in found for member in _SECRET_MEMBERS):
        raise InvalidKey("This is a secret or a private key. Give the public one, and keep this where the client is.")
    public = VerificationKey.from_jwk(found, algorithm).public_jwk()
    if public["alg"] not in ALGORITHMS:
        raise InvalidKey("This algorithm is not accepted.")
    return public if "kid" in found else {member: value for member, value in public.items() if member != "kid"}


def _unfit(message: str) -> InvalidInput:
    return InvalidInput(FieldError("public_key", "invalid", message))


def _time(found: Mapping[str, Any], name: str) -> int | None:
    if name not in found:
        return None
    value = found[name]
    if type(value) not in (int, float) or not 0 <= value <= MAX_TIME:
        raise TokenError(f"The assertion's claim {name} is not acceptable.")
    return int(value)

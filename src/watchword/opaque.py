"""Opaque strings: refresh tokens, guard keys, one-time links, and what protects them.

An opaque string is a readable prefix (`wwr_`), which lets secret scanners find leaked ones, and unpadded base64url.
Decoding is canonical: a string that carries other spare bits than the encoder would write is not ours.
"""

from __future__ import annotations

import hmac
import secrets
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from watchword import base64url

REFRESH_PREFIX = "wwr_"
REFRESH_FORMAT = 1
MAC_BYTES = 16
HANDLE_BYTES = 16
_REFRESH_BODY = 1 + HANDLE_BYTES + 4
_REFRESH_BYTES = _REFRESH_BODY + MAC_BYTES
_REFRESH_CHARS = (_REFRESH_BYTES * 4 + 2) // 3
_REFRESH_LENGTH = len(REFRESH_PREFIX) + _REFRESH_CHARS
GUARD_PREFIX = "wwg_"
_SECRET_BYTES = 32
_SECRET_CHARS = 43


class RefreshToken(NamedTuple):
    """What a genuine refresh token says: the session's secret handle (16 bytes) and its place in the chain."""

    handle: bytes
    generation: int


def encode_refresh(token: RefreshToken, key: bytes) -> str:
    """Write a refresh token: `wwr_` + base64url(format ‖ handle ‖ generation ‖ MAC).

    :param key: the refresh sub-key of the current master secret, 32 bytes.
    """
    body = b"%c%b%b" % (REFRESH_FORMAT, token.handle, token.generation.to_bytes(4, "big"))
    return REFRESH_PREFIX + base64url.encode_text(body + _mac(key, body))


def decode_refresh(text: str, keys: tuple[bytes, ...]) -> RefreshToken | None:
    """Read a refresh token, or None when it is not one of ours.

    The MAC is tried against each listed key (current first), so a master secret is replaced without logging anyone
    out. It is what lets garbage be refused without asking the database.
    """
    if len(text) != _REFRESH_LENGTH or not text.startswith(REFRESH_PREFIX):
        return None
    try:
        raw = base64url.decode(text[len(REFRESH_PREFIX) :])
    except ValueError:
        return None
    if len(raw) != _REFRESH_BYTES or raw[0] != REFRESH_FORMAT:
        return None
    body, mac = raw[:_REFRESH_BODY], raw[_REFRESH_BODY:]
    for key in keys:
        if hmac.compare_digest(_mac(key, body), mac):
            return RefreshToken(body[1 : 1 + HANDLE_BYTES], int.from_bytes(body[1 + HANDLE_BYTES :], "big"))
    return None


def is_refresh(text: str) -> bool:
    """Whether the text claims to be a refresh token: says nothing about its being one."""
    return text.startswith(REFRESH_PREFIX)


def make_secret(prefix: str) -> str:
    """A new secret of 256 random bits: the prefix and unpadded base64url."""
    return prefix + secrets.token_urlsafe(_SECRET_BYTES)


def looks_like(text: str, prefix: str) -> bool:
    """Whether the text has the shape of a secret with that prefix: says nothing about its being one."""
    return len(text) == len(prefix) + _SECRET_CHARS and text.startswith(prefix) and text.isascii()


def _mac(key: bytes, body: bytes) -> bytes:
    """HMAC-SHA-256 (RFC 2104), shortened; from a state that has taken in the key already, which is half of the work."""
    mac = _keyed(key).copy()
    mac.update(body)
    return mac.digest()[:MAC_BYTES]


@lru_cache(maxsize=16)
def _keyed(key: bytes) -> hmac.HMAC:
    return hmac.new(key, None, "sha256")


def fingerprint(secret: bytes) -> str:
    """SHA-256 as 64 hex digits: how a secret of 128 bits or more is kept in the database."""
    return sha256(secret).hexdigest()

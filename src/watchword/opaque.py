"""Opaque strings: refresh tokens, guard keys, one-time links.

A prefix (`wwr_`) lets secret scanners find leaks; unpadded base64url follows. Decoding is canonical.
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
    """A session's secret handle (16 bytes), and a generation of its chain."""

    handle: bytes
    generation: int


def encode_refresh(token: RefreshToken, key: bytes) -> str:
    """Encode `wwr_` + base64url(format ‖ handle ‖ generation ‖ MAC).

    :param key: the master secret's refresh sub-key, 32 bytes.
    """
    body = b"%c%b%b" % (REFRESH_FORMAT, token.handle, token.generation.to_bytes(4, "big"))
    return REFRESH_PREFIX + base64url.encode_text(body + short_mac(key, body))


def decode_refresh(text: str, keys: tuple[bytes, ...]) -> RefreshToken | None:
    """Return the refresh token, or None for a forgery, without asking the database.

    :param keys: current first; older ones keep everyone logged in.
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
        if hmac.compare_digest(short_mac(key, body), mac):
            return RefreshToken(body[1 : 1 + HANDLE_BYTES], int.from_bytes(body[1 + HANDLE_BYTES :], "big"))
    return None


def is_refresh(text: str) -> bool:
    """Return whether the prefix fits (it may be forged)."""
    return text.startswith(REFRESH_PREFIX)


def make_secret(prefix: str) -> str:
    """Return a secret of 256 random bits."""
    return prefix + secrets.token_urlsafe(_SECRET_BYTES)


def looks_like(text: str, prefix: str) -> bool:
    """Return whether the shape fits (it may be forged)."""
    return len(text) == len(prefix) + _SECRET_CHARS and text.startswith(prefix) and text.isascii()


def short_mac(key: bytes, body: bytes) -> bytes:
    """Return a shortened HMAC-SHA-256 (RFC 2104); a cached state halves the work."""
    mac = _keyed(key).copy()
    mac.update(body)
    return mac.digest()[:MAC_BYTES]


@lru_cache(maxsize=16)
def _keyed(key: bytes) -> hmac.HMAC:
    return hmac.new(key, None, "sha256")


def fingerprint(secret: bytes) -> str:
    """Return SHA-256 as hex, to store secrets of at least 128 bits."""
    return sha256(secret).hexdigest()

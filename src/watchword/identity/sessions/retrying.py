"""Retry keys: what a client sends with a refresh, so that it may ask again for an answer that was lost.

The row holds a MAC of the key under the session's handle, which the database does not have.
"""

from __future__ import annotations

import hmac
from typing import NamedTuple

from watchword import base64url, opaque
from watchword.errors import FieldError, InvalidInput
from watchword.identity.sessions.rule import NO_KEY, SentKey

KEY_BYTES = 16
_LABEL = b"retry\0"


class RetryKey(NamedTuple):
    """A key that was sent, 16 bytes.

    :param shared: it came from a browser, where front ends of several origins share the cookie, each with its own key.
    """

    value: bytes
    shared: bool


def read_retry_key(text: str | None, *, shared: bool) -> RetryKey | None:
    """Read a key as it was sent; None if none was. Raises `InvalidInput`."""
    if text is None:
        return None
    try:
        value = base64url.decode(text)
    except ValueError:
        value = b""
    if len(value) != KEY_BYTES:
        message = "Send 128 random bits as base64url without padding: 22 characters."
        raise InvalidInput(FieldError("retry_key", "malformed", message))
    return RetryKey(value, shared)


def as_sent(key: RetryKey | None, handle: bytes) -> SentKey:
    """Return the key as a row of the session with this handle would hold it."""
    if key is None:
        return NO_KEY
    return SentKey(hmac.digest(handle, _LABEL + key.value, "sha256")[: opaque.MAC_BYTES].hex(), key.shared)


def repeated() -> InvalidInput:
    """Return the error for a key that came with the refresh before."""
    message = "This key came with the refresh before. Make another with each new refresh token."
    return InvalidInput(FieldError("retry_key", "repeated", message))

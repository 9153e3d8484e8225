"""Signs webhooks as Standard Webhooks asks, and makes their secrets.

https://www.standardwebhooks.com
"""

from __future__ import annotations

import hmac
import os
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
_FEWEST_BYTES: Final = 24


def make_secret() -> bytes:
    """Make a secret of 256 random bits."""
    return os.urandom(SECRET_BYTES)


def shown(secret: bytes) -> str:
    """Write a secret as its receiver configures it: `whsec_` and base64."""
    return PREFIX + _base64(secret)


def read(text: str) -> bytes:
    """Read a secret as it is shown. Raises `ValueError`, also for fewer than 24 bytes: anyone can sign with none."""
    if not text.startswith(PREFIX):
        raise ValueError("a secret of a webhook begins with whsec_")
    secret = a2b_base64(text.removeprefix(PREFIX).encode("ascii"), strict_mode=True)
    if len(secret) < _FEWEST_BYTES:
        raise ValueError(f"a secret of a webhook has at least {_FEWEST_BYTES} bytes")
    return secret


def headers(secrets: Sequence[bytes], *, event_id: str, at: int, body: bytes) -> tuple[tuple[str, str], ...]:
    """Return the headers that a receiver checks.

    :param secrets: each signs; a receiver accepts any signature, so that a secret can be replaced in two steps.
    :param event_id: the same at each try. It holds no dot, which parts what is signed.
    :param at: of this try, in seconds since 1970 UTC; receivers refuse old ones.
    """
    signed = f"{event_id}.{at}.".encode() + body
    signatures = " ".join(f"v1,{_base64(hmac.digest(secret, signed, sha256))}" for secret in secrets)
    return ("webhook-id", event_id), ("webhook-timestamp", str(at)), ("webhook-signature", signatures)


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode("ascii")

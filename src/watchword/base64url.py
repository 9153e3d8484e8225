"""Base64url without padding, read canonically (RFC 7515 section 2, RFC 4648 section 3.5).

`base64.urlsafe_b64decode` drops foreign characters and ignores spare bits: several texts mean the same bytes. Here only
the canonical text is read.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_PADDING = (b"", b"===", b"==", b"=")  # one over is impossible; the decoder refuses "==="


def encode(data: bytes) -> bytes:
    """Write base64url as bytes."""
    return b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=")


def encode_text(data: bytes) -> str:
    """Write base64url as a string."""
    return encode(data).decode("ascii")


def decode(text: str | bytes) -> bytes:
    """Read base64url.

    :raises ValueError: for foreign characters, padding, an impossible length, or spare bits other than 0.
    """
    raw = text.encode("ascii") if isinstance(text, str) else text
    data = a2b_base64(raw.translate(_TO_STANDARD) + _PADDING[len(raw) & 3])
    if encode(data) != raw:
        raise ValueError("not canonical base64url")
    return data

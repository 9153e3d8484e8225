"""Base64url without padding, read canonically (RFC 7515 section 2, RFC 4648 section 3.5).

`base64.urlsafe_b64decode` drops foreign characters and ignores spare bits, so that several texts mean the same bytes.
Here a text is accepted only if encoding its bytes gives that very text.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_PADDING = (b"", b"===", b"==", b"=")  # one character over is no valid length; the decoder refuses "==="


def encode(data: bytes) -> bytes:
    """Base64url of the bytes, without padding."""
    return b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=")


def decode(text: bytes) -> bytes:
    """The bytes that are written as `text`.

    :raises ValueError: characters outside the alphabet, padding, an impossible length, or spare bits that are not 0.
    """
    data = a2b_base64(text.translate(_TO_STANDARD) + _PADDING[len(text) & 3])
    if encode(data) != text:
        raise ValueError("not canonical base64url")
    return data

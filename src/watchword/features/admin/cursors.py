"""Cursors: where the next page of a list begins. A forged one, and one of another list, is refused (J6)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final

import msgspec

from watchword import base64url
from watchword.errors import FieldError, InvalidInput
from watchword.identity.keys.master import Master

_MAC_BYTES: Final = 16
_LONGEST: Final = 1024


class Cursors:
    """Makes and reads the cursors of one service. Each holds for one list with its filters."""

    def __init__(self, master: Master) -> None:
        self._keys = master.keys("admin-cursor")

    def write(self, of: str, filters: Mapping[str, str], after: str) -> str:
        """Return a cursor behind the item with the id `after`."""
        place = after.encode()
        return base64url.encode_text(_mac(self._keys[0], of, filters, place) + place)

    def read(self, text: str, of: str, filters: Mapping[str, str]) -> str:
        """Return the id in a cursor, or "" without one. Raises `InvalidInput`."""
        if not text:
            return ""
        try:
            raw = base64url.decode(text) if len(text) <= _LONGEST else b""
        except ValueError:
            raw = b""
        mac, place = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not any(hmac.compare_digest(_mac(key, of, filters, place), mac) for key in self._keys):
            raise InvalidInput(FieldError("cursor", "cursor", "This is not a cursor that an earlier page gave."))
        return place.decode()


def _mac(key: bytes, of: str, filters: Mapping[str, str], place: bytes) -> bytes:
    told = msgspec.json.encode([of, sorted(filters.items())])
    return hmac.digest(key, len(told).to_bytes(4, "big") + told + place, "sha256")[:_MAC_BYTES]

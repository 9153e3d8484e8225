"""Verified tokens by their whole text.

Entries go to the young half. When full it becomes the old half, and the former old half is dropped.

No lock: each step on a dict is atomic. Threads that turn the halves at once lose entries, not correctness. The young
half is one dict for ever, so that a reader may keep its `get`.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

Entry = TypeVar("Entry")

DEFAULT_SIZE: Final = 10_000


class TokenCache(Generic[Entry]):
    """A bounded mapping from genuine tokens.

    :param size: 0 stores none.
    """

    __slots__ = ("_half", "_old", "young")

    def __init__(self, size: int = DEFAULT_SIZE) -> None:
        if size < 0:
            raise ValueError("a cache cannot have a negative size")
        self._half = size // 2
        self.young: Final[dict[str | bytes, Entry]] = {}
        self._old: dict[str | bytes, Entry] = {}

    def find_old(self, token: str | bytes) -> Entry | None:
        """Look in the old half, after the young one."""
        entry = self._old.get(token)
        if entry is not None:
            self.put(token, entry)
        return entry

    def put(self, token: str | bytes, entry: Entry) -> None:
        """Store a genuine token."""
        if not self._half:
            return
        young = self.young
        if len(young) >= self._half:
            self._old = young.copy()
            young.clear()
        young[token] = entry

    def drop(self, token: str | bytes) -> None:
        """Forget a token. Another thread may put it back."""
        self.young.pop(token, None)
        self._old.pop(token, None)

    def clear(self) -> None:
        """Forget all tokens."""
        self.young.clear()
        self._old = {}

    def __len__(self) -> int:
        return len(self.young.keys() | self._old.keys())

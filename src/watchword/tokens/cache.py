"""Verified tokens, remembered by the whole text that was shown. Bounded; only genuine tokens ever get in.

Two halves: what is put in or found again goes to the young one, and when that is full it becomes the old one and the
former old one is dropped. So nothing is ever searched for something to evict, and what is in use stays.

Threads share it without a lock. Each step on a dict is one step of the interpreter; two threads that turn the halves
over at once forget some entries, which costs a signature check each and nothing else. It never holds more than twice
the half, plus one entry per thread that is just putting one in.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

Entry = TypeVar("Entry")

DEFAULT_SIZE: Final = 10_000


class TokenCache(Generic[Entry]):
    """A bounded mapping from token to whatever the verifier keeps of it.

    :param size: how many tokens at most; 0 remembers nothing.
    """

    __slots__ = ("_half", "_old", "young")

    def __init__(self, size: int = DEFAULT_SIZE) -> None:
        if size < 0:
            raise ValueError("a cache cannot have a negative size")
        self._half = size // 2
        self.young: dict[str | bytes, Entry] = {}
        self._old: dict[str | bytes, Entry] = {}

    def find_old(self, token: str | bytes) -> Entry | None:
        """Look in the old half, after the young one (which the verifier reads directly) has failed."""
        entry = self._old.get(token)
        if entry is not None:
            self.put(token, entry)
        return entry

    def put(self, token: str | bytes, entry: Entry) -> None:
        """Remember a genuine token."""
        if not self._half:
            return
        young = self.young
        if len(young) >= self._half:
            self._old = young
            self.young = young = {}
        young[token] = entry

    def __len__(self) -> int:
        return len(self.young.keys() | self._old.keys())

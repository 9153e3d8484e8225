"""A queue that takes turns between networks, then between the smaller ones in each."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Hands out items in turn between the first names of their paths, then between the second ones, and so on.

    An item waits at most one turn of each other name, however much these have queued.
    """

    def __init__(self) -> None:
        self._root: _Branch[T] = _Branch()

    def __len__(self) -> int:
        return self._root.size

    def put(self, path: Sequence[str], item: T) -> None:
        """Add an item under a path, widest name first."""
        branch = self._root
        branch.size += 1
        for name in path:
            branch = branch.branches.setdefault(name, _Branch())
            branch.size += 1
        branch.items.append(item)

    def take(self) -> T:
        """Return the next item. Raises `IndexError` when there is none."""
        return self._root.take()

    def longest(self) -> int:
        """Return how many items the longest first name has."""
        return max((branch.size for branch in self._root.branches.values()), default=0)

    def drop(self) -> T:
        """Remove the latest item of the longest name at each level. Raises `IndexError`."""
        return self._root.drop()


class _Branch(Generic[T]):
    __slots__ = ("branches", "items", "size")

    def __init__(self) -> None:
        self.branches: dict[str, _Branch[T]] = {}  # next turn first
        self.items: deque[T] = deque()
        self.size = 0

    def take(self) -> T:
        if self.items or not self.branches:
            item = self.items.popleft()
        else:
            name = next(iter(self.branches))
            branch = self.branches.pop(name)
            item = branch.take()
            if branch.size:
                self.branches[name] = branch
        self.size -= 1
        return item

    def drop(self) -> T:
        if not self.branches:
            item = self.items.pop()
        else:
            name = max(self.branches, key=lambda one: self.branches[one].size)
            item = self.branches[name].drop()
            if not self.branches[name].size:
                del self.branches[name]
        self.size -= 1
        return item

"""A queue that takes turns: between networks first, then between the smaller ones inside each of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Hands out items in turn between the first names of their paths, among those between the second ones, and so on.

    However much waits under one name, what waits under another is next but as many as there are other names.
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
        """The next item. Raises `IndexError` when there is none."""
        return self._root.take()

    def longest(self) -> int:
        """How many items wait under the first name that has the most."""
        return max((branch.size for branch in self._root.branches.values()), default=0)

    def drop(self) -> T:
        """Take back the latest item of whichever name has the most, at each level. Raises `IndexError`."""
        return self._root.drop()


class _Branch(Generic[T]):
    __slots__ = ("branches", "items", "size")

    def __init__(self) -> None:
        self.branches: dict[str, _Branch[T]] = {}  # whose turn it is comes first
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

"""`:name` parameters as PostgreSQL counts them: `$1`, `$2`, … Each text is read once."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from watchword.storage.database import Value

_TEXTS = 2048  # more than the program has
# Strings, names in quotes, comments and casts come first: a `:word` in them is no parameter.
_PIECE = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|::|:([A-Za-z_][A-Za-z0-9_]*)")


class Numbered(NamedTuple):
    """A text with numbered parameters, and the names that stand behind the numbers."""

    sql: str
    names: tuple[str, ...]

    def values(self, given: dict[str, Value]) -> list[Value]:
        """The values in the order of their numbers. Raises `KeyError` for one that was not given."""
        return [given[name] for name in self.names]


@lru_cache(maxsize=_TEXTS)
def numbered(sql: str) -> Numbered:
    """The text for PostgreSQL. A name that stands twice has one number."""
    names: dict[str, int] = {}

    def number(piece: re.Match[str]) -> str:
        name = piece[1]
        return piece[0] if name is None else f"${names.setdefault(name, len(names) + 1)}"

    return Numbered(_PIECE.sub(number, sql), tuple(names))

"""The list of users that an import refused: a file, and its first lines on the terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import msgspec

from watchword.cli.moving.lines import Entry
from watchword.identity.arrivals import Record
from watchword.platforms import create_private

_SHOWN = 10


class Refusals:
    """Writes a line of JSON for each refused user: its line in the source, who it is, why. Never a password hash.

    The file is made, readable for its owner only, when the first one is refused; one from an earlier run is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None
        self._count = 0
        self._first: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, entry: Entry, reason: str) -> None:
        """Write one down. Raises `OSError`."""
        if self._file is None:
            self.path.unlink(missing_ok=True)
            self._file = os.fdopen(create_private(self.path), "w", encoding="utf-8")
        self._count += 1
        told: dict[str, Any] = {"line": entry.number, **_who(entry), "reason": reason}
        self._file.write(msgspec.json.encode(told).decode() + "\n")
        if len(self._first) < _SHOWN:
            shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in reason)
            self._first.append(f"line {entry.number}: {shown}")

    def tell(self) -> None:
        """Print the first ones to stderr, and where the others are."""
        for line in self._first:
            sys.stderr.write(f"refused: {line}\n")
        if self._count:
            more = f"all {self._count:,} are" if self._count > _SHOWN else "the list is"
            sys.stderr.write(f"hint: {more} in {self.path}\n")


def _who(entry: Entry) -> dict[str, Any]:
    if not isinstance(entry.found, Record):
        return {}
    named = {name: getattr(entry.found, name) for name in ("external_id", "username", "email")}
    return {name: value for name, value in named.items() if value is not None}

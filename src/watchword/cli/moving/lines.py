"""Reads files of users, JSON lines and CSV, line by line and in bounded memory."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from watchword.cli.exits import USAGE, CommandError
from watchword.identity.arrivals import FIELDS, Record, Refused

LONGEST_LINE = 65_536
"""Bytes. A longer line is refused, and what is left of it is skipped a piece at a time."""

FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""A cell that begins so would be computed by a spreadsheet; the last is what export puts before such a cell."""

_BOM = b"\xef\xbb\xbf"
_YES_NO = {"true": True, "t": True, "1": True, "yes": True, "false": False, "f": False, "0": False, "no": False}
_SEPARATORS = re.compile(r"[\s,;|]+")
_TOO_LONG = f"longer than {LONGEST_LINE:,} bytes"

Read = Callable[[bytes], Record]


class Entry(NamedTuple):
    """One user of a source: where it stands, and what it says or why it cannot be read.

    :param at: how far the source has been read, for the progress bar: bytes of a file, rows of a table.
    """

    number: int
    at: int
    found: Record | Refused


class Lines:
    """The lines of a file. `fault` says what is wrong with the last one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.at = 0
        self.number = 0
        self.fault = ""

    def __iter__(self) -> Iterator[bytes]:
        """Yield each line; an empty one in place of one that is too long."""
        while line := self._file.readline(LONGEST_LINE + 1):
            self.number += 1
            self.at += len(line)
            if self.number == 1:
                _refuse_utf16(line)
                line = line.removeprefix(_BOM)
            if len(line) > LONGEST_LINE:
                self._skip(line)
                self.fault = _TOO_LONG
                line = b"\n"
            yield line

    def _skip(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._file.readline(LONGEST_LINE)
            self.at += len(line)

    def take_fault(self) -> str:
        """Return what was wrong since the last call."""
        fault, self.fault = self.fault, ""
        return fault


def _refuse_utf16(line: bytes) -> None:
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise CommandError("the file is UTF-16", "save it as UTF-8: in a spreadsheet, as “CSV UTF-8”", USAGE)


def json_lines(path: Path, read: Read) -> Iterator[Entry]:
    """Yield a user for each line of JSON. Blank lines are skipped."""
    with path.open("rb") as file:
        lines = Lines(file)
        for line in lines:
            fault = lines.take_fault()
            if fault:
                yield Entry(lines.number, lines.at, Refused(fault))
            elif line.strip():
                yield Entry(lines.number, lines.at, _of_json(line, read))


def _of_json(line: bytes, read: Read) -> Record | Refused:
    try:
        return read(line)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        if line.lstrip().startswith(b"["):
            return Refused("an array; write one object a line")
        kind = "" if isinstance(error, msgspec.ValidationError) else "no JSON object: "
        more = "; a document of mongoexport needs --from mongoose" if "`_id`" in str(error) else ""
        return Refused(kind + str(error).rstrip(".") + more)
    except Refused as refused:
        return refused


read_record: Read = msgspec.json.Decoder(Record).decode


def csv_lines(path: Path) -> Iterator[Entry]:
    """Yield a user for each row of CSV. The first row names the fields. Raises `CommandError` for another first row."""
    csv.field_size_limit(LONGEST_LINE)
    with path.open("rb") as file:
        lines = Lines(file)
        texts = _decoded(lines)
        first = next(texts, "")
        rows = csv.reader(texts, delimiter=";" if ";" in first and "," not in first else ",", strict=True)
        head = _head(next(csv.reader([first], rows.dialect), []))
        while True:
            begins = lines.number + 1
            try:
                row = next(rows)
                fault = lines.take_fault()
            except StopIteration:
                return
            except csv.Error as error:
                row, fault = [], f"{error}; a quote may be open" + _until(begins, lines.number)
                lines.take_fault()
            if fault or row:
                found = Refused(fault) if fault else _of_cells(head, row)
                yield Entry(begins, lines.at, found)


def _until(begins: int, ends: int) -> str:
    return f" (up to line {ends})" if ends > begins else ""


def _decoded(lines: Lines) -> Iterator[str]:
    for line in lines:
        try:
            yield line.decode()
        except UnicodeDecodeError:
            lines.fault = "not UTF-8"
            yield "\n"


def _head(names: list[str]) -> list[str]:
    names = [name.strip() for name in names]
    strange = [name for name in names if name not in FIELDS]
    hint = f"the first line names the columns, out of: {', '.join(FIELDS)}"
    if strange or not names:
        raise CommandError(f"the CSV has a column {strange[0]!a}" if strange else "the CSV is empty", hint, USAGE)
    if len(set(names)) < len(names):
        raise CommandError("the CSV has two columns of one name", hint, USAGE)
    return names


def _of_cells(head: list[str], row: list[str]) -> Record | Refused:
    if len(row) != len(head):
        return Refused(f"{len(row)} cells, and the first line has {len(head)}")
    given: dict[str, Any] = {name: _plain(cell) for name, cell in zip(head, row, strict=True) if cell != ""}
    try:
        for name in ("email_verified", "disabled"):
            if name in given:
                given[name] = _yes_or_no(name, given[name])
    except Refused as refused:
        return refused
    for name in ("email_verified_at", "created_at", "last_login_at", "disabled_at", "password_set_at"):
        if name in given and given[name].isascii() and given[name].isdigit():
            given[name] = int(given[name][:20])
    for name in ("public_metadata", "private_metadata"):
        if name in given:
            given[name] = msgspec.Raw(given[name].encode())
    if "roles" in given:
        given["roles"] = tuple(filter(None, _SEPARATORS.split(given["roles"])))
    return Record(**given)


def _plain(cell: str) -> str:
    """Take off the quote that export puts before what a spreadsheet would compute."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def _yes_or_no(name: str, cell: str) -> bool:
    found = _YES_NO.get(cell.strip().lower())
    if found is None:
        raise Refused(f"{name} is neither true nor false")
    return found

"""The languages of mails and pages: gettext catalogues as text (`de.po`), read as they are. English needs none.

A catalogue that is read as text needs no compiler, and an operator adds a language by adding a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

ENGLISH: Final = "en"
LONGEST_ACCEPTED: Final = 100
"""Characters of an `Accept-Language` that are looked at."""

_LINE = re.compile(r'(?:(msgid|msgstr) )?"((?:[^"\\]|\\.)*)"')
_ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\", "\\t": "\t"}
_ESCAPE = re.compile(r"\\.")
_NAME = re.compile(r"[a-z]{2,3}")

Catalogue = Mapping[str, str]


def read_po(text: str) -> dict[str, str]:
    """Return English text → translation. Plurals and contexts are not read.

    :raises ValueError: naming the line that cannot be read.
    """
    found: dict[str, str] = {}
    pieces = {"msgid": "", "msgstr": ""}
    part = ""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None or not (match[1] or part):
            raise ValueError(f"line {number} is none of a catalogue: {stripped[:40]!a}")
        if match[1] == "msgid":
            _keep(found, pieces)
            pieces = {"msgid": "", "msgstr": ""}
        part = match[1] or part
        pieces[part] += _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[0], escape[0]), match[2])
    _keep(found, pieces)
    return found


def _keep(found: dict[str, str], pieces: Mapping[str, str]) -> None:
    if pieces["msgid"] and pieces["msgstr"]:  # the first entry is about the file; an untranslated one stays English
        found[pieces["msgid"]] = pieces["msgstr"]


def marked(text: str) -> str:
    """Return a text as it is. Written as `_("…")` it is found by those who look for what is to be translated."""
    return text


def catalogues(*folders: Path) -> dict[str, Catalogue]:
    """Return language → catalogue, from our folder and then these, whose entries win.

    :raises ValueError: naming the file that cannot be read.
    """
    found: dict[str, dict[str, str]] = {ENGLISH: {}}
    for folder in (Path(__file__).parent, *folders):
        for path in sorted(folder.glob("*.po")):
            if not _NAME.fullmatch(path.stem):
                raise ValueError(f"{path}: a catalogue is named by its language: de.po")
            try:
                found.setdefault(path.stem, {}).update(read_po(path.read_text("utf-8-sig")))
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
    return dict(found)


def choose(accepted: str, known: Iterable[str]) -> str:
    """Return the known language that `Accept-Language` ranks first (RFC 9110 section 12.5.4), or English."""
    available = set(known)
    best, language = 0.0, ENGLISH
    for each in accepted[:LONGEST_ACCEPTED].lower().split(","):
        tag, _, parameter = each.partition(";")
        name, quality = tag.strip().partition("-")[0], _quality(parameter.strip())
        if name in available and quality > best:
            best, language = quality, name
    return language


def _quality(text: str) -> float:
    if not text:
        return 1.0
    match = re.fullmatch(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", text)
    return float(match[1]) if match else 0.0

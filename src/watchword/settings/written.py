"""Remove what stands around a value by accident; refuse what meant something else."""

from __future__ import annotations

import re
import unicodedata

from watchword.settings.values import Unfit

_QUOTES = {('"', '"'), ("'", "'"), ("`", "`"), ("\u201c", "\u201d"), ("\u2018", "\u2019"), ("\u201e", "\u201c")}
_PLACEHOLDER = re.compile(r"\$\{[^}]*\}|\$\([^)]*\)|\{\{.*\}\}|<[^<>]*>|%\w+%")
_LINES = "\t\r\n"


def bare(text: str) -> str:
    """Strip white space, line breaks, byte-order marks and other invisible characters."""
    start, end = 0, len(text)
    while start < end and _is_invisible(text[start]):
        start += 1
    while end > start and _is_invisible(text[end - 1]):
        end -= 1
    return text[start:end]


def meant(text: str, *, many: bool = False) -> str:
    """Return the text as it was meant.

    :param many: for comma lists: checks each part, which may stand on its own line.
    :raises Unfit: for quotes inside the value, a placeholder, or invisible characters.
    """
    whole = _checked(bare(text), many)
    return ",".join(_checked(bare(part), many) for part in whole.split(",")) if many else whole


def _checked(text: str, many: bool) -> str:
    if len(text) > 1 and (text[0], text[-1]) in _QUOTES:
        raise Unfit(
            "has quotes around it, which would be part of the value",
            "leave out the quotes: docker's --env-file, systemd's and Kubernetes' values keep them",
        )
    if _PLACEHOLDER.fullmatch(text):
        raise Unfit("is a placeholder that was not replaced", "write the value itself, or leave it out")
    allowed = _LINES if many else ""
    if any(unicodedata.category(each) in {"Cc", "Cf", "Zl", "Zp"} and each not in allowed for each in text):
        raise Unfit("has a line break or another character that cannot be seen", "write the value on one line, alone")
    return text


def _is_invisible(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) == "Cf"

"""Describes a guarded route in an OpenAPI document, for adapters whose framework does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from watchword.guard.refusals import PROBLEM, TOLD, Problem

_TYPES: Final = {"str": "string", "int": "integer"}
_PROBLEM: Final = {
    "title": "Problem",
    "type": "object",
    "properties": {name: {"type": _TYPES[kind]} for name, kind in Problem.__annotations__.items()},
}


class Scheme(Protocol):
    """Is a security scheme of ours."""

    scheme_name: str

    @property
    def optional(self) -> bool: ...  # noqa: D102


def document(operation: dict[str, Any], schemes: Sequence[Scheme], *, also: str) -> None:
    """Add refusals to an operation, and where no token is needed.

    :param also: another name that stands for one of the schemes.
    """
    for status, text in TOLD.items():
        operation["responses"].setdefault(status, {"description": text, "content": {PROBLEM: {"schema": _PROBLEM}}})
    listed = operation.get("security", [])
    ours = {also, *(each.scheme_name for each in schemes)}
    if all(each.optional for each in schemes) and all(ours.issuperset(each) for each in listed):
        listed.insert(0, {})

"""Reads which of a user's data go into access tokens: `tenant=public_metadata.tenant,name=name`."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from watchword import claim_names
from watchword.settings.values import Unfit

MOST: Final = 16
FIELDS: Final = ("name", "username", "external_id", "public_metadata")
_STEP = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_QUOTE = 60
_FORM = "write claim=field, such as tenant=public_metadata.tenant,name=name"
_NOT_IN_TOKENS: Final = {
    "private_metadata": "its user can read whatever is in a token, and private_metadata is not for them",
    "email": "an address may be unconfirmed, and tokens are passed on and logged; GET /profile tells it",
}


class Mapped(NamedTuple):
    """A claim and where its value stands in a user's data: a field, then names inside its objects."""

    claim: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.claim}={'.'.join(self.path)}"


def mapping(text: str) -> tuple[Mapped, ...]:
    """Read a comma list of `claim=field`, or `off`."""
    parts = [] if text.strip().lower() == "off" else [part.strip() for part in text.split(",") if part.strip()]
    found = tuple(map(_mapped, parts))
    if len(found) > MOST:
        raise Unfit(f"names {len(found)} claims", f"name at most {MOST}: every request carries the token")
    names = [each.claim for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Unfit(f"names the claim {twice} twice", "give each claim one field")
    if other := claim_names.alike(names):
        raise Unfit(f"names the claim {other} twice, but for capitals", "some readers ignore case: choose another name")
    return found


def _mapped(part: str) -> Mapped:
    claim, equals, path = (each.strip() for each in part.partition("="))
    if not equals or not claim or not path:
        raise Unfit(f"{_quoted(part)} is not a claim and its field", _FORM)
    fault = claim_names.fault_of(claim)
    if fault:
        raise Unfit(f"{_quoted(claim)} {fault}", "choose another name for the claim, such as tenant")
    return Mapped(claim, _path(path))


def _path(text: str) -> tuple[str, ...]:
    field, *steps = text.split(".")
    if field in _NOT_IN_TOKENS:
        raise Unfit(f"{_quoted(text)} is in no token: {_NOT_IN_TOKENS[field]}", f"map one of {', '.join(FIELDS)}")
    if field not in FIELDS or (steps and field != "public_metadata"):
        raise Unfit(f"{_quoted(text)} is no field of a user", f"map {', '.join(FIELDS)}, or public_metadata.tenant")
    if not all(map(_STEP.fullmatch, steps)):
        raise Unfit(f"{_quoted(text)} is no path", "write names with letters, digits, '_', '-', and dots between them")
    return (field, *steps)


def _quoted(text: str) -> str:
    return ascii(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "…")

"""Scopes and roles: their form, and the table of both on one line."""

from __future__ import annotations

from typing import Final, NamedTuple

from watchword.settings.values import Unfit

EVERY_USER: Final = "*"
"""Stands in the place of a role."""

LONGEST_ROLE: Final = 64
LONGEST_SCOPE: Final = 64
ROLE_FORM: Final = f"A role has letters, digits, '_', '-', '.', ':'; at most {LONGEST_ROLE}."
SCOPE_FORM: Final = f"A scope has letters, digits, '_', '-', '.', ':', '/'; at most {LONGEST_SCOPE}."

_ROLE_MARKS = frozenset("_-.:")
_SCOPE_MARKS = frozenset("_-.:/")
_LONGEST_QUOTE = 40
_SUCH_AS = "such as *=read,editor=read write"


class Given(NamedTuple):
    """A role, or `*`, and the scopes that it gives."""

    role: str
    scopes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.role}={' '.join(self.scopes)}"


RoleScopes = tuple[Given, ...]
"""Both sorted."""


def is_role(text: str) -> bool:
    """Tell whether this can be a role."""
    return 1 <= len(text) <= LONGEST_ROLE and text.isascii() and all(c.isalnum() or c in _ROLE_MARKS for c in text)


def is_scope(text: str) -> bool:
    """Tell whether this can be a scope: a part of what RFC 6749 section 3.3 allows."""
    return 1 <= len(text) <= LONGEST_SCOPE and text.isascii() and all(c.isalnum() or c in _SCOPE_MARKS for c in text)


def role_scopes(text: str) -> RoleScopes:
    """Read a comma list of a role, `=`, and its scopes with spaces between them."""
    found: dict[str, tuple[str, ...]] = {}
    for part in text.split(","):
        role, equals, written = (each.strip() for each in part.partition("="))
        scopes = tuple(sorted(set(written.split())))
        if not equals or not scopes:
            raise Unfit(f"{part[:_LONGEST_QUOTE]!a} is not a role with its scopes", _SUCH_AS)
        if role != EVERY_USER and not is_role(role):
            raise Unfit(f"{role[:_LONGEST_QUOTE]!a} cannot be a role", f"{ROLE_FORM} `*` stands for every user.")
        for scope in scopes:
            if not is_scope(scope):
                raise Unfit(f"{scope[:_LONGEST_QUOTE]!a} cannot be a scope", SCOPE_FORM)
        if role in found:
            raise Unfit(f"the role {role} stands there twice", "write all of its scopes once, with spaces between")
        found[role] = scopes
    return tuple(Given(role, found[role]) for role in sorted(found))

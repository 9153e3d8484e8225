"""Roles: their form, and how many fit a token."""

from __future__ import annotations

from watchword.errors import FieldError, Forbidden, InvalidInput
from watchword.settings.scopes import ROLE_FORM, is_role
from watchword.storage.database import Database

MOST_ROLES = 32
"""With the longest of everything else such a token has less than the 8 KiB that our own verifiers read."""

_LOOKED_AT = 100_000  # users: no index finds a role, and a command that asks is not to wait for millions
_SEEN = f"""
SELECT COUNT(*) AS users,
    COUNT(CASE WHEN REPLACE(' ' || roles || ' ', :role, '') <> ' ' || roles || ' ' THEN 1 END) AS have
FROM (SELECT roles FROM ww_users LIMIT {_LOOKED_AT}) AS few
"""


def checked(roles: tuple[str, ...]) -> tuple[str, ...]:
    """Return these roles sorted, each once. Raises `InvalidInput` for a malformed one and for too many."""
    if not all(map(is_role, roles)):
        raise InvalidInput(FieldError("roles", "characters", ROLE_FORM))
    found = tuple(sorted(set(roles)))
    if len(found) > MOST_ROLES:
        message = f"These are {len(found)} roles; a user has at most {MOST_ROLES}, since every access token holds them."
        raise InvalidInput(FieldError("roles", "too_many", message))
    return found


def granted(stored: str) -> tuple[str, ...]:
    """Return a token's roles from the user's row.

    Raises `Forbidden` (`too_many_roles`) for an old row with too many, inside the unit: no refresh token is used up.
    Leaving some out could open what a role closes.
    """
    roles = tuple(stored.split())
    if len(roles) > MOST_ROLES:
        message = f"This account has {len(roles)} roles and a token holds {MOST_ROLES}. An administrator can set fewer."
        raise Forbidden(message, code="too_many_roles")
    return roles


async def has_no_holder(database: Database, role: str) -> bool:
    """Tell whether no user has this role. Among very many users this is not known, and False."""
    found = (await database.scan(_SEEN, role=f" {role} "))[0]
    return int(found["users"]) < _LOOKED_AT and not found["have"]

"""Reads a service's own claims by their kind, so that an API works with what it expects or with nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from watchword.claim_names import RESERVED_CLAIMS
from watchword.errors import ClaimError
from watchword.tokens.frozen import FrozenMapping, thawed

_KINDS: Final[Mapping[type, tuple[type, str]]] = {
    str: (str, "text"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    bool: (bool, "true or false"),
    list: (tuple, "an array"),
    dict: (FrozenMapping, "an object"),
}
_PLAIN: Final = frozenset((str, int, float, bool))
_INSTEAD: Final[Mapping[str, str]] = {
    "sub": "caller.user_id",
    "sid": "caller.session_id",
    "roles": "caller.roles",
    "scope": "caller.scopes",
    "exp": "caller.expires_at",
}


def name_in(claims: Mapping[str, Any]) -> str | None:
    """Return the claim `name`, where it is text."""
    name = claims.get("name")
    return name if isinstance(name, str) and name else None


def plain_and_all(claims: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return the service's own claims that are kept as what they are read as, and all of a token's."""
    plain = {n: it for n, it in claims.items() if type(it) in _PLAIN and n.lower() not in RESERVED_CLAIMS}
    return plain, claims


def claim(plain: dict[str, Any], claims: Mapping[str, Any], name: str, kind: type, default: Any = ...) -> Any:
    """Do as `Caller.claim`, by one look where the claim is plain."""
    found = plain.get(name)
    if type(found) is kind and found is not None:
        return found
    return read_claim(claims, name, kind, default)


def read_claim(claims: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    """Return a claim as this kind. Parameters and errors as `Caller.claim`; `...` is no default."""
    if name.lower() in RESERVED_CLAIMS:
        instead = _INSTEAD.get(name, "caller.claims")
        raise ValueError(f"{name} is a claim of the protocol: read {instead}")
    try:
        stored, said = _KINDS[kind]
    except (KeyError, TypeError):  # a list such as ["str"] has no hash
        raise TypeError(f"a claim is read as str, int, float, bool, list or dict, not as {kind!r}") from None
    try:
        value = claims[name]
    except KeyError:
        if default is not ...:
            return default
        raise ClaimError(f"This token has no claim {name!a}: does the service's WATCHWORD_CLAIMS name it?") from None
    if type(value) is stored:  # not isinstance: bool is a subclass of int
        return value if stored is kind else thawed(value)
    if kind is float and type(value) is int:
        return float(value)
    raise ClaimError(f"The claim {name!a} of this token is not {said}.")

"""The claims of an access token (RFC 9068), read strictly and deeply immutable.

Only `Verifier.verify` makes `AccessClaims`, so anyone who holds one holds a verified token.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from watchword.errors import TokenError
from watchword.tokens.frozen import FrozenMapping, thawed
from watchword.tokens.revocations import mark_of

REQUIRED_CLAIMS: Final = frozenset(("iss", "sub", "aud", "exp", "iat", "jti", "client_id"))

MAX_CLAIMS_DEPTH: Final = 8
MAX_ID: Final = 255
MAX_TIME: Final = 2**53 - 1  # the largest integer that every JSON reader keeps exact
_KNOWN: Final = REQUIRED_CLAIMS | {"nbf", "sid", "scope", "roles", "ver", "rver", "auth_time", "amr"}
_AS_THEY_ARE: Final = ("iss", "sub", "exp", "iat", "nbf", "jti", "client_id", "sid", "ver", "rver", "auth_time")
_NOTHING: Final[Mapping[str, Any]] = FrozenMapping()


class AccessClaims(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # JSON has no cycles
    """A verified access token's claims. Times are seconds since 1970 UTC.

    Foreign tokens may lack `sid` and `ver` (None), `jti` and `client_id` (empty). In `extra` arrays are tuples and
    objects read-only mappings. The marks are the revocation set's. `actors` are the marks and versions of the service
    accounts in `act`, the last one first.
    """

    iss: str
    sub: str
    aud: tuple[str, ...]
    exp: int
    iat: int
    nbf: int | None
    jti: str
    client_id: str
    sid: str | None
    scopes: frozenset[str]
    roles: frozenset[str]
    ver: int | None
    rver: int | None = None  # of the tables of rights, when issued
    auth_time: int | None
    amr: tuple[str, ...]
    kid: str
    extra: Mapping[str, Any]
    session_mark: int | None
    user_mark: int
    key_mark: int
    actors: tuple[tuple[int, int | None], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the token's claims, ready for JSON."""
        named: dict[str, Any] = {name: getattr(self, name) for name in _AS_THEY_ARE}
        named |= {"aud": list(self.aud), "roles": sorted(self.roles), "scope": " ".join(sorted(self.scopes))}
        named |= {"amr": list(self.amr), **thawed(self.extra)}
        return {name: value for name, value in named.items() if value is not None or name in self.extra}


def read_claims(payload: dict[str, Any], *, kid: str, key_mark: int, foreign: bool = False) -> AccessClaims:
    """Check every claim's type. The verifier checks the values.

    :param foreign: accept fractional times, no `jti`, no `client_id`.
    :raises TokenError: `token_invalid`.
    """
    sid = _optional_id(payload, "sid")
    sub = _id(payload, "sub")
    return AccessClaims(
        iss=_id(payload, "iss"),
        sub=sub,
        aud=_audience(payload),
        exp=_time(payload, "exp", foreign=foreign),
        iat=_time(payload, "iat", foreign=foreign),
        nbf=_time(payload, "nbf", foreign=foreign) if "nbf" in payload else None,
        jti=_id(payload, "jti") if "jti" in payload or not foreign else "",
        client_id=_id(payload, "client_id") if "client_id" in payload or not foreign else "",
        sid=sid,
        scopes=_scopes(payload),
        roles=_as_set(_strings(payload, "roles")),
        ver=_version(payload, "ver"),
        rver=_version(payload, "rver"),
        auth_time=_time(payload, "auth_time", foreign=foreign) if "auth_time" in payload else None,
        amr=_strings(payload, "amr"),
        kid=kid,
        extra=_NOTHING if payload.keys() <= _KNOWN else _rest(payload),
        session_mark=None if sid is None else mark_of(sid),
        user_mark=mark_of(sub),
        key_mark=key_mark,
        actors=_actors(payload) if "act" in payload and not foreign else (),
    )


def _fault(name: str) -> TokenError:
    return TokenError(f"The token's claim {name} is missing or not acceptable.")


def _id(payload: dict[str, Any], name: str) -> str:
    value = payload.get(name)
    if type(value) is not str or not 0 < len(value) <= MAX_ID:
        raise _fault(name)
    return value


def _optional_id(payload: dict[str, Any], name: str) -> str | None:
    return _id(payload, name) if name in payload else None


def _time(payload: dict[str, Any], name: str, *, foreign: bool) -> int:
    value = payload.get(name)
    if foreign and type(value) is float and value >= 0:
        value = int(value)  # strict JSON has no infinities
    if type(value) is not int or not 0 <= value <= MAX_TIME:  # not isinstance: bool is a subclass of int
        raise _fault(name)
    return value


def _version(payload: dict[str, Any], name: str) -> int | None:
    if name not in payload:
        return None
    value = payload[name]
    if type(value) is not int or not 0 <= value <= MAX_TIME:
        raise _fault(name)
    return value


def _audience(payload: dict[str, Any]) -> tuple[str, ...]:
    value = payload.get("aud")
    if type(value) is str:
        return (_id(payload, "aud"),)
    listed = _strings(payload, "aud")
    if not listed or max(map(len, listed)) > MAX_ID:
        raise _fault("aud")
    return listed


def _actors(payload: dict[str, Any]) -> tuple[tuple[int, int | None], ...]:
    """Read `act` (RFC 8693 section 4.1). What stands in it may be revoked, so it must be readable."""
    found: list[tuple[int, int | None]] = []
    holder = payload
    while "act" in holder:
        holder = holder["act"]
        if type(holder) is not dict:
            raise _fault("act")
        found.append((mark_of(_id(holder, "sub")), _version(holder, "ver")))
    return tuple(found)


def _scopes(payload: dict[str, Any]) -> frozenset[str]:
    value = payload.get("scope", "")
    if type(value) is not str:
        raise _fault("scope")
    return _as_set(tuple(value.split(" "))) if value else frozenset()


# Thousands of cached tokens share few scopes and roles.
@lru_cache(maxsize=512)
def _as_set(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name for name in names if name)


def _strings(payload: dict[str, Any], name: str) -> tuple[str, ...]:
    if name not in payload:
        return ()
    value = payload[name]
    if type(value) is not list:
        raise _fault(name)
    for entry in value:
        if type(entry) is not str or not entry:
            raise _fault(name)
    return tuple(value)


def frozen(found: dict[str, Any]) -> Mapping[str, Any]:
    """Return claims with arrays as tuples and objects as read-only mappings."""
    return FrozenMapping({name: _freeze(value) for name, value in found.items()})


def _rest(payload: dict[str, Any]) -> Mapping[str, Any]:
    return frozen({name: value for name, value in payload.items() if name not in _KNOWN})


def _freeze(value: Any) -> Any:
    if type(value) is dict:
        return FrozenMapping({name: _freeze(inner) for name, inner in value.items()})
    if type(value) is list:
        return tuple(_freeze(inner) for inner in value)
    return value

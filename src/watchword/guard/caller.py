"""Describes who sends a request."""

from __future__ import annotations

import sys
from typing import Any, Final

import msgspec

from watchword.tokens.claims import AccessClaims

_NOT_A_PARAMETER: Final = (
    "guard: no request can hold a Caller, only a guard yields one: "
    "write `caller: Annotated[Caller, auth.required()]`, or `Annotated[Caller | None, auth.optional()]`"
)
_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
_SCHEMA: Final[dict[str, Any]] = {
    "title": "Caller",
    "type": "object",
    "properties": {
        "user_id": {"type": "string"},
        "session_id": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "roles": _TEXTS,
        "scopes": _TEXTS,
        "expires_at": {"type": "integer"},
        "claims": {"type": "object"},
    },
    "required": ["user_id", "session_id", "roles", "scopes", "expires_at", "claims"],
}


class Caller(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Describes the user of a verified access token. Immutable; requests with the same token share it.

    `user_id` is the token's `sub`, never reused; `session_id` its `sid`, or None; `roles` those at issue;
    `expires_at` seconds since 1970 UTC; `claims` all claims. Callers can be compared, hashed, copied and pickled.
    """

    user_id: str
    session_id: str | None
    roles: frozenset[str]
    scopes: frozenset[str]
    expires_at: int
    claims: AccessClaims

    @classmethod
    def of(cls, claims: AccessClaims) -> Caller:
        """Return the caller for a token's claims."""
        return cls(
            user_id=claims.sub,
            session_id=claims.sid,
            roles=claims.roles,
            scopes=claims.scopes,
            expires_at=claims.exp,
            claims=claims,
        )

    def has_role(self, role: str) -> bool:
        """Return whether the user has a role."""
        return role in self.roles

    def has_scope(self, scope: str) -> bool:
        """Return whether the token has a scope."""
        return scope in self.scopes

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON, with sorted names."""
        return {
            "user_id": self.user_id,
            "session_id": self.session_id,
            "roles": sorted(self.roles),
            "scopes": sorted(self.scopes),
            "expires_at": self.expires_at,
            "claims": self.claims.to_dict(),
        }

    # Pydantic's protocol: FastAPI may write a caller, never read one.

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> dict[str, Any]:
        _refuse_as_parameter()
        as_dict = {"type": "function-plain", "function": cls.to_dict}
        return {"type": "is-instance", "cls": cls, "serialization": as_dict}

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: object, _handler: object) -> dict[str, Any]:
        return _SCHEMA


def _refuse_as_parameter() -> None:
    """Refuse to be a route's parameter in FastAPI: with a default the route would be open to all.

    Only the stack says what a schema is for. If FastAPI renames that function, such a route answers 422.
    """
    frame = sys._getframe(2)  # noqa: SLF001
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "analyze_param" and frame.f_globals["__name__"] == "fastapi.dependencies.utils":
            raise TypeError(_NOT_A_PARAMETER)

"""Describes who sends a request."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload
from weakref import ref

import msgspec

from watchword.claim_names import RESERVED_CLAIMS
from watchword.guard.calls import fate, running
from watchword.guard.own_claims import claim as quick_claim
from watchword.guard.own_claims import plain_and_all, read_claim
from watchword.guard.questions import question, quick_question
from watchword.guard.watching import Watch
from watchword.tokens.claims import AccessClaims
from watchword.tokens.frozen import FrozenMapping

T = TypeVar("T")
D = TypeVar("D")

if TYPE_CHECKING:
    from watchword.guard.standing import Standing

_LET_IN: Final = "let_in_by"
_NOT_A_PARAMETER: Final = (
    "guard: no request can hold a Caller, only a guard yields one: "
    "write `caller: Annotated[Caller, auth.required()]`, or `Annotated[Caller | None, auth.optional()]`"
)
_DROPPED: Final = (
    "guard: what watch() returns is thrown away here, so it protects nothing: write `async with caller.watch():`, or "
    "`with caller.watch() as watch:`"
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


class Caller(msgspec.Struct, frozen=True, kw_only=True, dict=True):
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

    @question
    def has_role(self, role: str) -> bool:
        """Return whether the user has a role."""
        return role in self.roles

    @question
    def has_scope(self, scope: str) -> bool:
        """Return whether the token has a scope."""
        return scope in self.scopes

    @property
    def is_client(self) -> bool:
        """Tell whether this is a service account, and `user_id` its id (RFC 9068 section 2.2). It is never a user."""
        return self.claims.sub == self.claims.client_id

    @property
    def actor(self) -> str | None:
        """Return the id of the service account that acts for the user (RFC 8693 section 4.1), or None."""
        act = self.claims.extra.get("act")
        found = act.get("sub") if isinstance(act, Mapping) else None
        return found if isinstance(found, str) else None

    @question
    def watch(self) -> Watch:
        """Return what tells when this caller's rights end: for WebSockets, server-sent events and long work.

        :raises RuntimeError: no guard in this process has let the caller in, as after copying or pickling; or what is
            returned is dropped, and would tell no one.
        """
        standing_of, until = self.__dict__.get(_LET_IN, (None, 0))
        standing: Standing | None = None if standing_of is None else standing_of()
        if standing is None:
            raise RuntimeError(
                "guard: only a guard's own caller can be watched, in its process, while there is the guard"
            )
        _refuse_dropped(sys._getframe(1))  # noqa: SLF001
        return Watch(self, standing.watches, standing.list_for_watching, until)

    @property
    def own_claims(self) -> Mapping[str, Any]:
        """Return the service's own claims: those that its WATCHWORD_CLAIMS names, and none of the protocol's."""
        return FrozenMapping({n: value for n, value in self.claims.extra.items() if n.lower() not in RESERVED_CLAIMS})

    @overload
    def claim(self, name: str, kind: type[T]) -> T: ...

    @overload
    def claim(self, name: str, kind: type[T], default: D) -> T | D: ...

    @quick_question(quick_claim, lambda caller: plain_and_all(caller.claims.extra))
    def claim(self, name: str, kind: type[Any], default: Any = ...) -> Any:
        """Return one of the service's own claims: `caller.claim("tenant", str)`.

        :param kind: `str`, `int`, `float`, `bool`, `list` or `dict`; the last two are copies. An `int` is no `bool`.
        :param default: what to return where the token has no such claim.
        :raises ClaimError: the token has no such claim, or one of another kind.
        :raises ValueError: the name of a claim of the protocol.
        :raises TypeError: another kind.
        """
        return read_claim(self.claims.extra, name, kind, default)

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


def let_in(caller: Caller, standing: Standing, until: int) -> None:
    """Note who let a caller in, and until when; beside the fields, so that no comparison and no copy holds it."""
    # A weak reference: a guard that no one holds can go.
    caller.__dict__[_LET_IN] = (ref(standing), until)


def _refuse_dropped(asking: FrameType) -> None:
    """Refuse a statement `caller.watch()`. :raises RuntimeError: it is one.

    Not `calls.refuse_thrown_away`: what that reads of variables would live as long as a handler runs, in Python 3.11.
    """
    call = running(asking)
    if call.opname.startswith("CALL") and not call.arg and fate(asking) == "POP_TOP":
        raise RuntimeError(_DROPPED)


def _refuse_as_parameter() -> None:
    """Refuse to be a route's parameter in FastAPI: with a default the route would be open to all.

    Only the stack says what a schema is for. If FastAPI renames that function, such a route answers 422.
    """
    frame = sys._getframe(2)  # noqa: SLF001
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "analyze_param" and frame.f_globals["__name__"] == "fastapi.dependencies.utils":
            raise TypeError(_NOT_A_PARAMETER)

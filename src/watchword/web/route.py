"""Routes: literals that are the product's map."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from watchword.identity.audit import Client

if TYPE_CHECKING:
    from watchword.tokens.claims import AccessClaims

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
Scope = Mapping[str, Any]
Header = tuple[bytes, bytes]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class Anyone:
    """Anyone may call, without cookies."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A valid access token (bearer) with every listed role and scope.

    :param max_age: how many seconds ago its user may have logged in at most (RFC 9470), or None.
    :param narrowed: whether one that was narrowed counts too (`identity.narrowing`).
    :param or_cookie: whether a proxy may ask for the access cookie instead (`web.forwarded`).
    """

    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    max_age: int | None = None
    or_cookie: bool = False
    narrowed: bool = False


@dataclass(frozen=True, slots=True)
class Browser:
    """Reads or sets the refresh cookie; without a bearer token the origin rule applies."""


@dataclass(frozen=True, slots=True)
class OwnPage:
    """Reads or sets the refresh cookie, as a page of ours. A form must come from such a page, and say so."""


Access = Anyone | AccessToken | Browser | OwnPage


class Credential(Enum):
    """What a handler itself reads from `Authorization: Bearer`."""

    ACCESS_TOKEN = "access_token"  # noqa: S105 - the name of a kind
    GUARD_KEY = "guard_key"


class Speech(Enum):
    """The form of errors: RFC 9457, RFC 6749, or a page for people."""

    PROBLEM = "problem"
    OAUTH = "oauth"
    PAGE = "page"


class Reply(NamedTuple):
    """A handler's answer. `body`: None, bytes, or what msgspec encodes."""

    body: object = None
    status: int = 200
    headers: tuple[Header, ...] = ()


class Call:
    """One request, checked and decoded for its handler."""

    __slots__ = ("body", "caller", "check_origin", "client", "params", "receive", "scope")

    def __init__(
        self,
        scope: Scope,
        client: Client,
        params: Mapping[str, str],
        receive: Receive,
        check_origin: Callable[[], None],
    ) -> None:
        self.scope = scope
        self.client = client
        self.params = params  # from the path
        self.check_origin = check_origin  # where only the handler knows the need
        self.receive = receive  # for `long_poll` only
        self.body: Any = None  # of the route's `body` or `form` type
        self.caller: AccessClaims | None = None  # for AccessToken

    @property
    def claims(self) -> AccessClaims:
        """Return the caller's claims; for `AccessToken` only."""
        assert self.caller is not None, "this route asks for no caller"
        return self.caller


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path.

    :param method: `*` takes every method without a route.
    :param path: after the prefix; `{name}` is one segment.
    :param body: msgspec type of the JSON body (unknown fields are refused).
    :param may_be_empty: the body may be left out; the handler then gets None.
    :param form: msgspec type of a form body (RFC 6749), instead.
    :param answers: status → msgspec type.
    :param query: name → description.
    :param problems: codes beyond those of access, body and limits.
    :param limits: the occasions in `takes.OCCASIONS` that its service counts. `tests/bounds` compares.
    :param credential: what the handler itself reads.
    :param step: place among the documentation's first steps.
    :param shown: status → example answer.
    """

    method: str
    path: str
    handler: Handler
    access: Access
    summary: str
    answers: Mapping[int, type[msgspec.Struct] | Any] = field(default_factory=dict)
    body: type[msgspec.Struct] | None = None
    may_be_empty: bool = False
    form: type[msgspec.Struct] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    credential: Credential | None = None
    step: int | None = None
    example: msgspec.Struct | None = None
    shown: Mapping[int, Any] = field(default_factory=dict)
    speech: Speech = Speech.PROBLEM
    media_type: str = "application/json"
    root: bool = False  # outside the prefix (well-known documents)
    page: bool = False  # a browser gets what is answered as a page
    documented: bool = True  # in the OpenAPI document


def match_path(pattern: tuple[str, ...], segments: list[str]) -> dict[str, str] | None:
    """Return the parameters of a path, or None. A pattern's segment is fixed, or `{name}`.

    No parameter is empty or has what cannot be printed: no name of ours has, and PostgreSQL stores no NUL.
    """
    if len(pattern) != len(segments):
        return None
    params: dict[str, str] = {}
    for wanted, segment in zip(pattern, segments, strict=True):
        if wanted[:1] == "{":
            if not segment or not segment.isprintable():
                return None
            params[wanted[1:-1]] = segment
        elif wanted != segment:
            return None
    return params

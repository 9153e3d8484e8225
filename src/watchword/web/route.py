"""A route: what it is called, who may call it, what it takes, what it answers. Such literals are the product's map."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from watchword.identity.audit import Client

if TYPE_CHECKING:
    from watchword.tokens.claims import AccessClaims

Scope = Mapping[str, Any]
Header = tuple[bytes, bytes]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class Anyone:
    """No one is asked who they are, and no cookie is read or set."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A valid access token in `Authorization: Bearer`; every role and scope listed is needed."""

    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Browser:
    """Reads or sets the refresh cookie: the origin rule applies unless a bearer token is shown."""


Access = Anyone | AccessToken | Browser


class Credential(Enum):
    """What a handler itself reads from `Authorization: Bearer` where it is shown, on a route that asks for none."""

    ACCESS_TOKEN = "access_token"  # noqa: S105 - the name of a kind
    GUARD_KEY = "guard_key"


class Speech(Enum):
    """How a route's errors read: RFC 9457 problems, or RFC 6749's `{"error", "error_description"}`."""

    PROBLEM = "problem"
    OAUTH = "oauth"


class Reply(NamedTuple):
    """What a handler answers. `body`: None, bytes as they are, or anything msgspec encodes as JSON."""

    body: object = None
    status: int = 200
    headers: tuple[Header, ...] = ()


class Call:
    """One request, as a handler sees it: read, checked and decoded."""

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
        self.check_origin = check_origin  # the origin rule, for what only a handler can tell to need it
        self.receive = receive  # for `long_poll` only: bodies are read before a handler is called
        self.body: Any = None  # an instance of the route's `body` or `form` type
        self.caller: AccessClaims | None = None  # set where the access is AccessToken

    @property
    def claims(self) -> AccessClaims:
        """The caller's claims; only where the route's access is `AccessToken`."""
        assert self.caller is not None, "this route asks for no caller"
        return self.caller


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path.

    :param method: `*` takes every method that the path has no route for, OPTIONS and preflights included.
    :param path: from the prefix on; `{name}` stands for one segment.
    :param body: msgspec type of the JSON body (unknown fields are refused), or None for no body.
    :param form: msgspec type of a form body (RFC 6749); a route has a body or a form, not both.
    :param answers: status → msgspec type of the answer's JSON (None: no content).
    :param query: name → description of what may stand in the query string.
    :param problems: codes this route answers with beyond those its access, body and limit imply.
    :param limit: name of the limit that its service takes from, or None; tests/bounds proves that this one answers 429.
    :param credential: what the handler reads from `Authorization` by itself, so that the documentation can send it.
    :param step: place among the first steps, with which the documentation begins; None for a route of the rest.
    :param example: a body or form that this route accepts as it stands.
    :param shown: status → an example of the answer.
    """

    method: str
    path: str
    handler: Handler
    access: Access
    summary: str
    answers: Mapping[int, type[msgspec.Struct] | Any] = field(default_factory=dict)
    body: type[msgspec.Struct] | None = None
    form: type[msgspec.Struct] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    limit: str | None = None
    credential: Credential | None = None
    step: int | None = None
    example: msgspec.Struct | None = None
    shown: Mapping[int, Any] = field(default_factory=dict)
    speech: Speech = Speech.PROBLEM
    media_type: str = "application/json"
    root: bool = False  # stands outside the path prefix (well-known documents)
    documented: bool = True  # listed in the OpenAPI document

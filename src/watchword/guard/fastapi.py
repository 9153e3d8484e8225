"""Protects FastAPI routes by security dependencies.

auth = FastAPIGuard(guard)

@app.get("/orders")
async def orders(caller: Annotated[Caller, auth.required(scopes="orders:read")]): ...

admin = APIRouter(prefix="/admin", dependencies=[auth.required(roles="admin")])      a group
caller: Annotated[Caller | None, auth.optional()]                                    None without a token
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial, wraps
from typing import Annotated, Any, Final, Never

from fastapi.encoders import ENCODERS_BY_TYPE
from fastapi.exceptions import HTTPException, WebSocketException
from fastapi.openapi import utils
from fastapi.openapi.models import HTTPBearer, OAuth2, OAuthFlowPassword, OAuthFlows
from fastapi.params import Security
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from pydantic import TypeAdapter
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocket

from watchword.errors import WatchwordError
from watchword.guard import calls, fastapi_routers, fastapi_slips, handling, misuse, slips
from watchword.guard.asgi import check, check_optional, raw_headers, remember
from watchword.guard.asked import Names
from watchword.guard.caller import Caller
from watchword.guard.fastapi_slips import RIGHT, NoDependency, put
from watchword.guard.guard import Guard
from watchword.guard.marks import EVERYONE, FROM_CODE
from watchword.guard.openapi import document
from watchword.guard.refusals import Refusal
from watchword.guard.requirement import Requirement
from watchword.guard.sent import AsgiSent
from watchword.guard.sockets import POLICY_VIOLATION, Scope, SocketRefused, admit, authorization_of
from watchword.tokens.claims import AccessClaims

__all__ = ["FastAPIGuard", "RequestRefused", "answer"]

# So that routes may answer with a caller.
ENCODERS_BY_TYPE.update({Caller: Caller.to_dict, AccessClaims: AccessClaims.to_dict})
Caller.__pydantic_serializer__ = TypeAdapter(Caller).serializer  # type: ignore[attr-defined]

_HANDLERS: Final = "starlette.exception_handlers"
_NOT_IN_BODY: Final = frozenset({"content-type", "content-length"})
_LINES: Final = {
    "required": "Annotated[Caller, auth.required()]",
    "optional": "Annotated[Caller | None, auth.optional()]",
}
_TOO_LATE: Final = "guard: auth.{}() makes a dependency, and checks nothing where it is called for a request{}"


class RequestRefused(HTTPException):
    """Says that a guard refused a request; `refusal` is the answer.

    Register a handler for this class or its status to answer otherwise.
    """

    def __init__(self, refusal: Refusal) -> None:
        headers = {name: value for name, value in refusal.headers if name not in _NOT_IN_BODY}
        super().__init__(refusal.status, refusal.code, headers)
        self.refusal = refusal


class _Maker(NoDependency):
    """Makes dependencies: `auth.required` and `auth.optional`."""

    def __init__(self, make: Callable[..., Any], name: str) -> None:
        super().__init__(f"auth.{name}", _LINES[name])
        put(self, _make=make, _name=name)

    def __call__(
        self,
        *misplaced: Never,
        scopes: Names = EVERYONE,
        roles: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
    ) -> Any:
        """Return the dependency, for `Annotated[Caller, …]` and `dependencies=[…]`.

        :param scopes: like `roles`, `max_age` and `api_keys` as in `Guard.check`; `Security(…, scopes=[…])` adds more.
        """
        slips.by_name(misplaced, f"auth.{self._name}", self.slip)
        if handling.for_a_request(sys._getframe(1)):  # noqa: SLF001
            raise RuntimeError(_TOO_LATE.format(self._name, RIGHT.format(_LINES[self._name])))
        made = self._make(scopes, roles, max_age, api_keys)
        calls.refuse_thrown_away(sys._getframe(), f"auth.{self._name}()", _LINES[self._name])  # noqa: SLF001
        return made

    _make: Callable[..., Any]
    _name: str


class _Made(NoDependency):
    """Is the dependency that `auth.required()` returns, used without `Depends`.

    It equals what it calls, so that `app.dependency_overrides[auth.required()]` works.
    """

    scope = "request"  # said, or FastAPI would find out for each request whether this is a generator

    def __init__(self, scheme: _Scheme, scopes: list[str], written: str) -> None:
        super().__init__(f"Depends({written}())", _LINES[written.removeprefix("auth.")])
        put(self, _scheme=scheme, scopes=scopes)

    @property
    def dependency(self) -> _Scheme:
        return self._scheme

    def __bool__(self) -> Never:
        raise TypeError(f"{self.slip}, one with all that is needed: `and` and `or` leave one of two")

    def __eq__(self, other: object) -> bool:
        return other is self._scheme or (isinstance(other, _Made) and other._scheme is self._scheme)

    def __hash__(self) -> int:
        return hash(self._scheme)

    _scheme: _Scheme


class FastAPIGuard(NoDependency):
    """Makes dependencies of a guard.

    `required(scopes=…, roles=…, max_age=…)` yields the `Caller` or refuses; `optional(…)` yields None without a token,
    and still refuses a bad one.

    :param token_url: where `/docs` logs in; by default the issuer's `/token`.
    :param scopes: what scopes mean, for `/docs`.
    :param scheme_name: the security scheme's name in the OpenAPI document.
    :param paste: whether `/docs` also has a field for a token. It costs each request a second dependency.
    """

    required: _Maker
    optional: _Maker

    def __init__(
        self,
        guard: Guard,
        *,
        token_url: str | None = None,
        scopes: Mapping[str, str] | None = None,
        scheme_name: str = "Watchword",
        paste: bool = False,
    ) -> None:
        super().__init__("auth", _LINES["required"])
        token_url = token_url or f"{misuse.a_guard(guard, 'FastAPIGuard').issuer.rstrip('/')}/token"
        flow = OAuthFlowPassword(tokenUrl=token_url, refreshUrl=token_url, scopes=dict(scopes or {}))
        about = "Log in at the Watchword service: fill in username and password, and leave the client fields empty."
        oauth2 = OAuth2(flows=OAuthFlows(password=flow), description=about)
        put(self, _guard=guard, _schemes={}, _flow=flow, _oauth2=oauth2, _scheme_name=scheme_name)
        put(self, _kind=_SchemeWithField if paste else _Scheme)
        for name, check_by in (("required", check), ("optional", check_optional)):
            put(self, **{name: _Maker(partial(self._dependency, check_by, f"auth.{name}"), name)})

    @property
    def guard(self) -> Guard:
        """Return the guard that all dependencies ask. Tests may replace it."""
        return self._guard

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "guard":
            raise AttributeError(f"guard: a FastAPIGuard's {name} cannot be changed")
        put(self, _guard=misuse.a_guard(value, "FastAPIGuard"))
        for scheme in self._schemes.values():
            scheme.needs = replace(scheme.needs, guard=value)

    @asynccontextmanager
    async def lifespan(self, _: Annotated[Any, FROM_CODE] = None) -> AsyncIterator[None]:
        """Run the guard with the application: `FastAPI(lifespan=…)`."""
        self.guard.start()
        yield
        await asyncio.to_thread(self.guard.stop)

    def _dependency(
        self, check_by: _Check, written: str, scopes: Names, roles: Names, max_age: int | None, api_keys: bool
    ) -> Any:
        needs = slips.needs(self.guard, "FastAPIGuard", scopes, roles, max_age, api_keys)
        for scope in sorted(needs.asked.scopes):
            self._flow.scopes.setdefault(scope, "")
        key = check_by, needs.asked
        if key not in self._schemes:
            self._schemes[key] = self._kind(needs, check_by, self._oauth2, self._scheme_name)
        return _Made(self._schemes[key], sorted(needs.asked.scopes), written)

    _guard: Guard
    _schemes: dict[Any, _Scheme]
    _flow: OAuthFlowPassword
    _oauth2: OAuth2
    _scheme_name: str
    _kind: type[_Scheme]


_Check = Callable[[Requirement, Scope], Awaitable[Caller | None]]


class _Scheme(SecurityBase):
    """Is requirement and security scheme in one: a request runs one dependency."""

    def __init__(self, needs: Requirement, check_by: _Check, model: OAuth2, scheme_name: str) -> None:
        self.model = model
        self.scheme_name = scheme_name
        self.needs = needs
        self._check = check_by

    @property
    def optional(self) -> bool:
        return self._check is check_optional

    async def __call__(self, connection: HTTPConnection, asked: SecurityScopes) -> Caller | None:
        needs, scope = self.needs, connection.scope
        if asked.scopes and not needs.asked.scopes.issuperset(asked.scopes):
            # `Security(…, scopes=[…])` around this dependency adds scopes.
            scopes = needs.asked.scopes.union(asked.scopes)
            needs = replace(needs, asked=needs.asked._replace(scopes=scopes))
        caller = None
        if needs.places is None and scope["type"] == "http":
            caller = needs.recall(authorization_of(scope))  # most requests: one coroutine less
        if caller is None:
            caller = await self._find(needs, connection)
        remember(scope, caller)
        return caller

    async def _find(self, needs: Requirement, connection: HTTPConnection) -> Caller | None:
        if isinstance(connection, WebSocket):
            return await self._admit(needs, connection)
        try:
            return await self._check(needs, connection.scope)
        except WatchwordError as error:
            raise _refused(needs.refusal(error, AsgiSent(connection.scope)), connection) from error

    async def _admit(self, needs: Requirement, socket: WebSocket) -> Caller | None:
        """Let a WebSocket in, whose handler receives and sends by what the guard has put between."""
        receive, send = socket._receive, socket._send  # noqa: SLF001  Starlette has no other way
        try:
            admitted = await admit(needs, socket.scope, receive, send, optional=self.optional)
        except SocketRefused as refused:
            if refused.code is not None:
                raise WebSocketException(refused.code, refused.refusal.code) from refused.error
            raise _refused(refused.refusal, socket) from refused.error
        socket._receive, socket._send = admitted.receive, admitted.send  # noqa: SLF001
        return admitted.caller


class _Bearer(SecurityBase):
    """Adds a field for a token to `/docs`."""

    model = HTTPBearer(bearerFormat="JWT", description="An access token of the Watchword service.")
    scheme_name = "AccessToken"

    async def __call__(self) -> None:
        """Do nothing: `_SchemeWithField` reads the header."""


_BEARER: Final = _Bearer()


class _SchemeWithField(_Scheme):
    async def __call__(
        self,
        connection: HTTPConnection,
        asked: SecurityScopes,
        _: Any = Security(_BEARER),  # noqa: B008  FastAPI's way
    ) -> Caller | None:
        return await super().__call__(connection, asked)


# Older FastAPI resolves annotations of functions only.
for _each in (_Scheme, _SchemeWithField):
    _each.__call__.__annotations__.update(connection=HTTPConnection, asked=SecurityScopes)


def _all_schemes(dependant: Any) -> Iterator[_Scheme]:
    if isinstance(dependant.call, _Scheme):
        yield dependant.call
    for each in dependant.dependencies:
        yield from _all_schemes(each)


def _with_refusals(describe: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the function that describes a route; no dependency can."""

    @wraps(describe)
    def described(*args: Any, **given: Any) -> Any:
        found = describe(*args, **given)
        schemes = list(_all_schemes(given["route"].dependant)) if "route" in given else []
        for operation in found[0].values() if schemes else ():
            document(operation, schemes, also=_Bearer.scheme_name)
        return found

    return described


# FastAPI has no hook for these.
utils.get_openapi_path = _with_refusals(utils.get_openapi_path)
fastapi_slips.refuse_slips(_Scheme, _SchemeWithField, _Made, _Maker)
fastapi_routers.refuse_slips()


def _refused(refusal: Refusal, connection: HTTPConnection) -> Exception:
    scope = connection.scope
    if scope["type"] == "websocket" and "websocket.http.response" not in (scope.get("extensions") or {}):
        return WebSocketException(POLICY_VIOLATION, refusal.code)
    if _HANDLERS in scope:
        # An application's own handler stays. Without this key FastAPI answers with the same status and headers.
        scope[_HANDLERS][0].setdefault(RequestRefused, answer)
    return RequestRefused(refusal)


async def answer(connection: HTTPConnection, error: RequestRefused) -> Response:
    """Answer with the problem document, in `app.add_exception_handler(RequestRefused, answer)`."""
    refusal = error.refusal
    made = Response(b"" if connection.scope.get("method") == "HEAD" else refusal.body, refusal.status)
    made.raw_headers[:] = raw_headers(refusal)
    return made

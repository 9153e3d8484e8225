"""The guard in FastAPI: security dependencies, which the host's own `/docs` shows with the right token address.

auth = FastAPIGuard(guard)

@app.get("/orders")
async def orders(caller: Annotated[Caller, auth.required(scopes="orders:read")]): ...

admin = APIRouter(prefix="/admin", dependencies=[auth.required(roles="admin")])      a group in one line
caller: Annotated[Caller | None, auth.optional()]                                    None where no token is shown
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import Security
from fastapi.exceptions import HTTPException, WebSocketException
from fastapi.openapi.models import HTTPBearer, OAuth2, OAuthFlowPassword, OAuthFlows
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection
from starlette.responses import Response

from watchword.errors import WatchwordError
from watchword.guard.asgi import POLICY_VIOLATION, Scope, check, check_optional, raw_headers, remember
from watchword.guard.caller import Caller
from watchword.guard.guard import Guard
from watchword.guard.refusals import Refusal
from watchword.guard.requirement import Names, Requirement

__all__ = ["FastAPIGuard", "RequestRefused", "answer"]

_HANDLERS: Final = "starlette.exception_handlers"
_NOT_IN_BODY: Final = frozenset({"content-type", "content-length"})


class RequestRefused(HTTPException):
    """A request that the guard turned down; `refusal` is the whole answer.

    It answers itself as problem document. To answer otherwise, register a handler for this class (or for its status).
    """

    def __init__(self, refusal: Refusal) -> None:
        headers = {name: value for name, value in refusal.headers if name not in _NOT_IN_BODY}
        super().__init__(refusal.status, refusal.code, headers)
        self.refusal = refusal


class FastAPIGuard:
    """Makes dependencies of a guard.

    :param token_url: where `/docs` logs in; the issuer's `/token` if not given.
    :param scopes: what scopes mean, for `/docs`; those that routes ask for are listed anyway.
    :param scheme_name: what the security scheme is called in the OpenAPI document.
    :param paste: whether `/docs` also has a field for a token from elsewhere, for where nobody may log in with a
        password there. FastAPI runs it as a dependency of its own, which costs each request as much as ours does.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        token_url: str | None = None,
        scopes: Mapping[str, str] | None = None,
        scheme_name: str = "Watchword",
        paste: bool = False,
    ) -> None:
        self.guard = guard
        token_url = token_url or f"{guard.issuer.rstrip('/')}/token"
        self._flow = OAuthFlowPassword(tokenUrl=token_url, refreshUrl=token_url, scopes=dict(scopes or {}))
        self._oauth2 = OAuth2(flows=OAuthFlows(password=self._flow), description="Log in at the Watchword service.")
        self._scheme_name = scheme_name
        self._kind = _SchemeWithField if paste else _Scheme

    def required(self, *, scopes: Names = (), roles: Names = (), max_age: int | None = None) -> Any:
        """A dependency that yields the `Caller`, or refuses: for `Annotated[Caller, …]` and for `dependencies=[…]`.

        :param scopes: each of which the token must have; `Security(…, scopes=[…])` around it adds more.
        :param roles: each of which the user must have.
        :param max_age: seconds that may have passed since the user logged in.
        """
        return self._dependency(scopes, roles, max_age, optional=False)

    def optional(self, *, scopes: Names = (), roles: Names = (), max_age: int | None = None) -> Any:
        """As `required`, but yields None where no token is shown. A bad token is still refused."""
        return self._dependency(scopes, roles, max_age, optional=True)

    @asynccontextmanager
    async def lifespan(self, _: Any = None) -> AsyncIterator[None]:
        """Start the guard with the application, so that not even the first request waits: `FastAPI(lifespan=…)`."""
        self.guard.start()
        yield
        await asyncio.to_thread(self.guard.stop)

    def _dependency(self, scopes: Names, roles: Names, max_age: int | None, *, optional: bool) -> Any:
        needs = self.guard.require(scopes=scopes, roles=roles, max_age=max_age)
        for scope in sorted(needs.scopes):
            self._flow.scopes.setdefault(scope, "")
        scheme = self._kind(needs, check_optional if optional else check, self._oauth2, self._scheme_name)
        return Security(scheme, scopes=sorted(needs.scopes))


_Check = Callable[[Requirement, Scope], Awaitable[Caller | None]]


class _Scheme(SecurityBase):
    """A requirement that is a security scheme at the same time, so that a request pays for one dependency."""

    def __init__(self, needs: Requirement, check_by: _Check, model: OAuth2, scheme_name: str) -> None:
        self.model = model
        self.scheme_name = scheme_name
        self._needs = needs
        self._check = check_by

    async def __call__(self, connection: HTTPConnection, asked: SecurityScopes) -> Caller | None:
        """The caller of a request. :raises RequestRefused: there is none, or not one that may."""
        needs = self._needs
        if not needs.scopes.issuperset(asked.scopes):
            # `Security(…, scopes=[…])` around this dependency: what the documentation shows is what is checked.
            scopes = needs.scopes.union(asked.scopes)
            needs = needs.guard.require(scopes=scopes, roles=needs.roles, max_age=needs.max_age)
        try:
            caller = await self._check(needs, connection.scope)
        except WatchwordError as error:
            raise _refused(needs.refusal(error), connection) from error
        remember(connection.scope, caller)
        return caller


class _Bearer(SecurityBase):
    """Shown in `/docs` beside the log-in: a field for a token from elsewhere. Does nothing with requests."""

    model = HTTPBearer(bearerFormat="JWT", description="An access token of the Watchword service.")
    scheme_name = "AccessToken"

    async def __call__(self) -> None:
        """Nothing: whoever depends on this reads the header."""


_BEARER: Final = _Bearer()


class _SchemeWithField(_Scheme):
    async def __call__(
        self,
        connection: HTTPConnection,
        asked: SecurityScopes,
        _: None = Security(_BEARER),
    ) -> Caller | None:
        return await super().__call__(connection, asked)


def _refused(refusal: Refusal, connection: HTTPConnection) -> Exception:
    scope = connection.scope
    if scope["type"] == "websocket" and "websocket.http.response" not in (scope.get("extensions") or {}):
        return WebSocketException(POLICY_VIOLATION, refusal.code)
    if _HANDLERS in scope:
        # So that nobody has to register it. An application's own handler for this class is not replaced; were this
        # key to go away, FastAPI's handler for HTTPException answers with the same status and headers.
        scope[_HANDLERS][0].setdefault(RequestRefused, answer)
    return RequestRefused(refusal)


async def answer(connection: HTTPConnection, error: RequestRefused) -> Response:
    """The refusal as a problem document; `app.add_exception_handler(RequestRefused, answer)` does it by hand."""
    refusal = error.refusal
    made = Response(b"" if connection.scope.get("method") == "HEAD" else refusal.body, refusal.status)
    made.raw_headers[:] = raw_headers(refusal)
    return made

"""From an ASGI request to a handler and back, in one pipeline that no handler can skip.

request id → client → route → CORS → access → body → handler → reply. Routes are compiled once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from watchword.clock import Clock, SystemClock, monotonic
from watchword.errors import NotFound, Overloaded, Refused, TooManyAttempts, WatchwordError
from watchword.identity.audit import Client
from watchword.identity.narrowing import require_whole
from watchword.ids import new_id
from watchword.meters import REQUEST_SECONDS, REQUESTS, UNMETERED, Meters
from watchword.settings import Limit, Proxies
from watchword.tally import Faults, Log, Tally
from watchword.tokens.needs import Needs
from watchword.tracing import UNTRACED, Tracer
from watchword.web import access, bodies
from watchword.web.clients import ClientAddresses, client_agent, client_language, header_map
from watchword.web.forwarded import ForwardedTokens
from watchword.web.headers import default_headers, overlaid
from watchword.web.origin import VARY, OriginRule
from watchword.web.problems import JSON_TYPE, RATE_LIMIT_POLICY, Problems, policies
from watchword.web.reading import body_reader
from watchword.web.route import (
    SAFE,
    AccessToken,
    Anyone,
    Browser,
    Call,
    Header,
    Message,
    OwnPage,
    Receive,
    Reply,
    Route,
    Scope,
    Speech,
    match_path,
)
from watchword.web.slashes import slashed

if TYPE_CHECKING:
    from watchword.tokens.claims import AccessClaims

Send = Callable[[Message], Awaitable[None]]
Admission = Callable[[Call, Mapping[bytes, bytes]], None]
RefusalPage = Callable[[str, str, WatchwordError, Reply], Reply]
"""From `Accept-Language`, the route's path, an error and its answer for programs to a page."""
LostPage = Callable[[Scope, str, Mapping[bytes, bytes], WatchwordError, Reply], Reply]
"""From a request without a route, its path here, its headers, the error and the answer for programs to the answer."""

_NOTHING: Mapping[str, str] = {}
_NO_LIMITS: Mapping[str, Limit] = {}
_EMPTY_BODY: Message = {"type": "http.response.body", "body": b""}
_NO_CONTENT = frozenset({204, 304})
_encode = msgspec.json.Encoder().encode


class _Entry:
    """A compiled route."""

    __slots__ = ("access", "admit", "handler", "head", "limited", "path", "read", "speech")

    def __init__(self, route: Route, admit: Admission | None, defaults: tuple[Header, ...]) -> None:
        self.path = route.path
        self.access = route.access
        self.handler = route.handler
        self.speech = route.speech
        self.admit = admit
        self.read = body_reader(route)
        self.limited = any(name == RATE_LIMIT_POLICY for name, _ in defaults)
        self.head = ((b"content-type", route.media_type.encode()), *defaults)


_Methods = dict[str, _Entry]


class Dispatcher:
    """An ASGI callable that serves a table of routes; mountable.

    :param prefix: before every path except those with `root=True`.
    :param public_url: what problem types start with; https adds HSTS.
    :param verify: from a token to its claims, or TokenError. It must not block.
    :param trusted_proxies: how many proxies are ours, or their networks.
    :param limits: occasion → what anyone may know of its limits.
    :param refusal_page: for routes that speak in pages.
    :param lost_page: for requests without a route.
    :param forwarded: for the route that proxies ask.
    :raises ValueError: two routes of one method and path.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        prefix: str,
        public_url: str,
        verify: Callable[[str], AccessClaims],
        origins: OriginRule,
        trusted_proxies: Proxies = 0,
        limits: Mapping[str, Limit] = _NO_LIMITS,
        log: Any = None,
        meters: Meters = UNMETERED,
        tracer: Tracer = UNTRACED,
        refusal_page: RefusalPage | None = None,
        lost_page: LostPage | None = None,
        clock: Clock | None = None,
        forwarded: ForwardedTokens | None = None,
    ) -> None:
        self._forwarded = forwarded
        self._refusal_page = refusal_page
        self._lost_page = lost_page
        self._meters = meters
        self._clock = clock or SystemClock()
        self._tracer = tracer
        self._verify = verify
        self._origins = origins
        self._log = Log("watchword.web") if log is None else log
        self._clients = ClientAddresses(trusted_proxies, self._log)
        self._overloads = Tally(self._log, "overloaded")
        self._faults = Faults(self._log)
        self._problems = Problems(public_url)
        https = public_url.startswith("https:")
        self._fallback = ((b"content-type", JSON_TYPE), *default_headers("application/json", https=https))
        self._static: dict[str, _Methods] = {}
        self._patterns: list[tuple[tuple[str, ...], _Methods]] = []
        for route in (*routes, *slashed(routes)):
            path = route.path if route.root else prefix + route.path
            known = {name: limits[name] for name in route.limits if name in limits}
            head = (*default_headers(route.media_type, https=https), *([policies(known)] if known else []))
            entry = _Entry(route, self._admission(route), head)
            self._add(path, route.method, entry)
        names = {route.path for route in (*routes, *slashed(routes))}
        meters.declare(REQUESTS, names)
        meters.declare(REQUEST_SECONDS, names)

    def _add(self, path: str, method: str, entry: _Entry) -> None:
        methods = self._methods_at(path)
        if method in methods:
            raise ValueError(f"two routes for {method} {path}")
        methods[method] = entry
        if method == "GET":
            methods.setdefault("HEAD", entry)

    def _methods_at(self, path: str) -> _Methods:
        if "{" not in path:
            return self._static.setdefault(path, {})
        pattern = tuple(path.split("/"))
        for known, methods in self._patterns:
            if known == pattern:
                return methods
        fresh: _Methods = {}
        self._patterns.append((pattern, fresh))
        return fresh

    def _admission(self, route: Route) -> Admission | None:
        needed = route.access
        if isinstance(needed, AccessToken):
            if needed.or_cookie and self._forwarded is not None:
                return self._forwarded.admission(self._verify)
            needs = Needs(frozenset(needed.roles), frozenset(needed.scopes), needed.max_age)
            return self._token_admission(needs, narrowed=needed.narrowed)
        if isinstance(needed, Browser) and route.method not in SAFE:
            return self._browser_admission(takes_body=route.body is not None)
        if isinstance(needed, OwnPage) and route.method not in SAFE:
            return lambda _, headers: self._origins.check_own_page(headers)
        return None

    def _token_admission(self, needs: Needs, *, narrowed: bool) -> Admission:
        verify, clock = self._verify, self._clock

        def admit(call: Call, headers: Mapping[bytes, bytes]) -> None:
            claims = verify(access.shown_token(headers))
            needs.check(claims, now=None if needs.max_age is None else clock.now())
            if not narrowed:
                require_whole(claims)
            call.caller = claims

        return admit

    def _browser_admission(self, *, takes_body: bool) -> Admission:
        """Return the origin and JSON rules of cookie routes (F3, F4, F5, F8)."""

        def admit(call: Call, headers: Mapping[bytes, bytes]) -> None:
            if not self._origins.passes(headers):
                if not access.shows_bearer(headers):
                    self._origins.check(headers)
                # A foreign page cannot send a token that it does not have, but could use a browser's cookie.
                call.scope = {**call.scope, "headers": [one for one in call.scope["headers"] if one[0] != b"cookie"]}
            if not takes_body and b"content-type" in headers and bodies.has_body(headers):
                bodies.check_media_type(headers, bodies.JSON)

        return admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; refuse scopes other than `http`."""
        if scope["type"] != "http":
            await _decline(scope, send)
        elif self._meters.on or self._tracer.on:
            await self._serve_watched(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve_watched(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_at = monotonic()
        with self._tracer.request(scope["method"], dict(scope["headers"]) if self._tracer.on else {}) as ended:
            route, status = await self._serve(scope, receive, send)
            ended(route, status)
        self._meters.count(REQUESTS, route, f"{status // 100}xx" if status else "gone")
        self._meters.observe(REQUEST_SECONDS, monotonic() - began_at, route)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> tuple[str, int]:
        """Answer; return the route's path and the status, 0 for a client that has gone."""
        request_id = new_id()  # never the client's X-Request-Id, which could name another request
        raw = scope["headers"]
        headers: Mapping[bytes, bytes] = dict(raw)
        entry: _Entry | None = None
        try:
            methods, params = self._find(scope)
            entry = methods.get(scope["method"]) or methods.get("*")  # first: the route decides how refusals read
            if len(headers) != len(raw):  # a header is repeated
                headers = header_map(raw)
            if entry is None:
                reply = self._without_route(scope["method"], methods, headers)
            else:
                client = Client(
                    self._clients.of(scope, headers), client_agent(headers), request_id, client_language(headers)
                )
                call = Call(scope, client, params, receive, partial(self._origins.check, headers, cookie=False))
                if entry.admit is not None:
                    entry.admit(call, headers)
                if entry.read is not None:
                    call.body = await entry.read(receive, headers)
                reply = await entry.handler(call)
            body = _payload(reply.body)
        except bodies.ClientGone:
            return _name(entry), 0
        except WatchwordError as error:
            reply, body = self._refusal(error, entry, request_id, headers, scope)
        except Exception as error:  # noqa: BLE001 -- the worker survives, and the caller gets an answer
            reply, body = self._crash(error, entry, request_id, headers)
        start, end = self._answer(scope, reply, body, entry, headers, request_id)
        await send(start)
        await send(end)
        return _name(entry), reply.status

    def _find(self, scope: Scope) -> tuple[_Methods, Mapping[str, str]]:
        """Return the methods of a path, compared as it is: `//`, `;`, `..` match nothing (J4).

        :raises NotFound: no such path.
        """
        path = _path_here(scope)
        methods = self._static.get(path)
        if methods is not None:
            return methods, _NOTHING
        segments = path.split("/")
        for pattern, found in self._patterns:
            params = match_path(pattern, segments)
            if params is not None:
                return found, params
        more = " Leave out the slash at the end." if path[-1:] == "/" and path[:-1] in self._static else ""
        raise NotFound(f"There is nothing at this address.{more}")

    def _without_route(self, method: str, methods: _Methods, headers: Mapping[bytes, bytes]) -> Reply:
        """Answer a preflight or OPTIONS, or raise 405."""
        allow = ", ".join(sorted({*methods, "OPTIONS"})).encode()
        if method != "OPTIONS":
            raise _NoMethod(allow)
        if b"access-control-request-method" in headers:
            return Reply(None, 204, self._origins.preflight(headers, allow))
        return Reply(None, 204, ((b"allow", allow),))

    def _refusal(
        self, error: WatchwordError, entry: _Entry | None, request_id: str, asked: Mapping[bytes, bytes], scope: Scope
    ) -> tuple[Reply, bytes]:
        speech = Speech.PROBLEM if entry is None else entry.speech
        challenge = access.challenge(error, Anyone() if entry is None else entry.access)
        if speech is Speech.OAUTH and challenge is None:
            challenge = access.client_challenge(error, asked)
        reply = self._problems.reply(error, speech=speech, request_id=request_id, challenge=challenge)
        if isinstance(error, Overloaded):
            # Many at a time: tracebacks would make the log part of the overload.
            self._overloads.add(route=_name(entry), request_id=request_id)
        elif reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            # An unavailable database fails every request: a line a second is enough.
            self._faults.add("request_failed", error, code=error.code, request_id=request_id, route=_name(entry))
        if isinstance(error, TooManyAttempts) and entry is not None and entry.limited:
            # The route tells all of its policies, in every answer.
            reply = reply._replace(headers=tuple([one for one in reply.headers if one[0] != RATE_LIMIT_POLICY]))
        if speech is Speech.PAGE:
            reply = self._as_page(error, reply, _name(entry), asked)
        elif entry is None and self._lost_page is not None:
            reply = self._lost_page(scope, _path_here(scope), asked, error, reply)
        if isinstance(error, _NoMethod):
            reply = reply._replace(headers=(*reply.headers, (b"allow", error.allow)))
        return reply, _payload(reply.body)

    def _crash(
        self, error: Exception, entry: _Entry | None, request_id: str, headers: Mapping[bytes, bytes]
    ) -> tuple[Reply, bytes]:
        """Log an unforeseen error; answer a generic 500 (J10)."""
        self._log.error("request_crashed", request_id=request_id, route=_name(entry), exc_info=error)
        unknown = WatchwordError("Something went wrong on our side.")
        speech = Speech.PROBLEM if entry is None else entry.speech
        reply = self._problems.reply(unknown, speech=speech, request_id=request_id)
        if speech is Speech.PAGE:
            reply = self._as_page(unknown, reply, _name(entry), headers)
        return reply, _payload(reply.body)

    def _as_page(self, error: WatchwordError, reply: Reply, path: str, asked: Mapping[bytes, bytes]) -> Reply:
        if self._refusal_page is None:
            return reply
        return self._refusal_page(client_language(asked), path, error, reply)

    def _answer(
        self,
        scope: Scope,
        reply: Reply,
        body: bytes,
        entry: _Entry | None,
        asked: Mapping[bytes, bytes],
        request_id: str,
    ) -> tuple[Message, Message]:
        defaults = self._fallback if entry is None else entry.head
        headers = overlaid(defaults, reply.headers) if reply.headers else list(defaults)
        headers.append((b"x-request-id", request_id.encode()))
        if reply.status not in _NO_CONTENT:
            headers.append((b"content-length", b"%d" % len(body)))
        if reply.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and scope.get("http_version", "1.1") == "1.1":
            # Otherwise the connection would carry the rest of the body.
            headers.append((b"connection", b"close"))
        if not body:
            headers = [header for header in headers if header[0] != b"content-type"]
        if self._origins.varies:
            headers = overlaid(tuple(headers), self._origins.cors(asked)) if b"origin" in asked else [*headers, VARY]
        start = {"type": "http.response.start", "status": reply.status, "headers": headers}
        if scope["method"] == "HEAD" or not body:
            return start, _EMPTY_BODY
        return start, {"type": "http.response.body", "body": body}


class _NoMethod(Refused):
    """The path exists, but not for this method."""

    code = "method_not_allowed"

    def __init__(self, allow: bytes) -> None:
        super().__init__(f"This address answers {allow.decode()} only.")
        self.allow = allow


def _path_here(scope: Scope) -> str:
    """Return the path below the mount point."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("/", ""):
        return path[len(root) :]
    return path


def _payload(body: object) -> bytes:
    if body is None:
        return b""
    return body if type(body) is bytes else _encode(body)


def _name(entry: _Entry | None) -> str:
    return "" if entry is None else entry.path


async def _decline(scope: Scope, send: Send) -> None:
    """Refuse a WebSocket before it opens."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})

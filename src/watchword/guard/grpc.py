"""Protects gRPC methods, of `grpc.server` and `grpc.aio.server`. The token is the metadata `authorization`.

auth = GrpcGuard(guard)
server = grpc.server(pool, interceptors=[auth.interceptor()])       every method needs a caller
server = grpc.aio.server(interceptors=[auth.aio_interceptor()])

class Orders(OrdersServicer):
    @auth.required(roles="admin")                                   this one needs more
    def Delete(self, request, context):
        return Deleted(by=get_caller().user_id)

    @auth.public                                                    this one needs none
    def Prices(self, request, context): ...

A refusal is UNAUTHENTICATED, PERMISSION_DENIED or UNAVAILABLE, with the problem's code as trailing metadata
`watchword-problem`.
"""

from __future__ import annotations

import asyncio
import functools
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from http import HTTPStatus
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, Final, TypeVar
from weakref import WeakSet

import grpc  # type: ignore[import-untyped]
import msgspec

from watchword.errors import WatchwordError
from watchword.guard import calls, handling, misuse
from watchword.guard.asked import Names
from watchword.guard.bearer import Authorization
from watchword.guard.caller import Caller
from watchword.guard.marks import EVERYONE
from watchword.guard.refusals import Refusal
from watchword.guard.views import Check, DecoratingGuard, hidden_checks, is_guarded

__all__ = ["PROBLEM_CODE", "GrpcGuard", "find_caller", "get_caller"]

PROBLEM_CODE: Final = "watchword-problem"
"""The trailing metadata that holds a refusal's code."""

_PUBLIC: Final = "__watchword_public__"
_METHOD: Final = re.compile(r"/[A-Za-z_][\w.]*/([A-Za-z_]\w*|\*)")
_TOLD: Final = ("www-authenticate", "retry-after")
_CODES: Final = {
    HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}
_TOO_LATE: Final = (
    "guard: {}() makes a decorator, and checks nothing where it is called for a request; write it above the method"
)
_IN_SERVER: Final = "write grpc.server(…, interceptors=[…])"
_COPIED: Final = (
    "guard: something around {!r} has copied the mark of @auth.public, which opens only what it stands above: "
    "write @auth.public above the other decorators"
)
_KINDS: Final = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}

_Method = TypeVar("_Method", bound=Callable[..., Any])
_marked: WeakSet[Callable[..., Any]] = WeakSet()
_caller: ContextVar[Caller | None] = ContextVar("watchword.guard.grpc.caller", default=None)
_serving: ContextVar[bool] = ContextVar("watchword.guard.grpc.serving", default=False)


def find_caller() -> Caller | None:
    """Return the caller of the method that runs; None where no token was needed or sent."""
    return _caller.get()


def get_caller() -> Caller:
    """Return the caller of the method that runs. :raises RuntimeError: it has none."""
    caller = find_caller()
    if caller is None:
        raise RuntimeError("This method has no caller: it is not guarded, or its caller is optional.")
    return caller


class GrpcGuard(DecoratingGuard):
    """Puts a guard before methods: by an interceptor all, by decorators some.

    A decorated method is asked as its decorator says, with or without an interceptor. The interceptor asks for all
    others, also of other people's services, unless they are public.
    """

    for_class = "@{}(…) above each of its methods"
    route_line = "class Orders(OrdersServicer):"

    def interceptor(
        self,
        *,
        scopes: Names = EVERYONE,
        roles: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
        optional: bool = False,
        public: Iterable[str] = (),
    ) -> grpc.ServerInterceptor:
        """Return an interceptor for `grpc.server(…, interceptors=[…])`.

        :param scopes: like `roles`, `max_age`, `api_keys` and `optional` what methods without a decorator need.
        :param public: methods that need no token, `/grpc.health.v1.Health/Check`, or all of a service, `/…/*`.
        """
        default = self._check(optional=optional, scopes=scopes, roles=roles, max_age=max_age, api_keys=api_keys)
        made = _Interceptor(self, default, _checked_methods(public))
        calls.refuse_thrown_away(sys._getframe(), "interceptor(…)", _IN_SERVER)  # noqa: SLF001
        return made

    def aio_interceptor(
        self,
        *,
        scopes: Names = EVERYONE,
        roles: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
        optional: bool = False,
        public: Iterable[str] = (),
    ) -> Any:
        """Return an interceptor for `grpc.aio.server(interceptors=[…])`; see `interceptor`."""
        default = self._check(optional=optional, scopes=scopes, roles=roles, max_age=max_age, api_keys=api_keys)
        made = _aio_interceptor()(self, default, _checked_methods(public))
        calls.refuse_thrown_away(sys._getframe(), "aio_interceptor(…)", _IN_SERVER)  # noqa: SLF001
        return made

    def public(self, method: _Method) -> _Method:
        """Mark a method that needs no token. :raises TypeError: it has a guard, or is no method."""
        found = misuse.a_view((method,), "auth.public", for_class="it above each of its methods")
        if hidden_checks(found) or is_guarded(found):
            raise TypeError(
                f"guard: {getattr(found, '__name__', found)!r} has a guard and is public: remove one of both"
            )
        setattr(found, _PUBLIC, found)  # not True: `functools.wraps` copies it to others
        _marked.add(found)
        return method

    def _check(self, *, optional: bool, **asked: Any) -> _Check:
        return _Check(self, optional=optional, **asked)

    def _wrap(self, view: Callable[..., Any], check: _Check) -> Callable[..., Any]:
        return _wrapped(view, check)

    def _note_made(self, written: str | None) -> None:
        if written and (_serving.get() or handling.for_a_request(sys._getframe(2))):  # noqa: SLF001
            raise RuntimeError(_TOO_LATE.format(written))


class GrpcSent:
    """Is a call of gRPC, whose metadata are headers."""

    __slots__ = ("_metadata",)

    method = "POST"

    def __init__(self, context: Any) -> None:
        self._metadata = context.invocation_metadata() or ()

    @property
    def authorization(self) -> Authorization:
        """Return the only value of `authorization`, or all of them."""
        values = [value for key, value in self._metadata if key == "authorization"]
        return values[0] if len(values) == 1 else values or None

    def values(self, name: str) -> list[bytes]:
        """Return all values of a header, by its name in small letters."""
        found = [value for key, value in self._metadata if key == name]
        return [each if isinstance(each, bytes) else each.encode("latin-1", "replace") for each in found]

    def target(self) -> str:
        """Return nothing: no page is asked for."""
        return ""


class _Check(Check):
    """Checks what a method needs."""

    def blocking(self, context: Any) -> Caller | None:
        """Return the caller, or abort."""
        needs, sent = self.needs, GrpcSent(context)
        try:
            return needs.find(sent.authorization, sent, optional=self.optional)
        except WatchwordError as error:
            status = _prepared(needs.refusal(error), context)
        context.abort(*status)
        raise AssertionError("abort raises")

    async def awaiting(self, context: Any) -> Caller | None:
        """Return the caller, or abort, without blocking the event loop."""
        needs, sent = self.needs, GrpcSent(context)
        try:
            return await needs.find_async(sent.authorization, sent, optional=self.optional)
        except WatchwordError as error:
            status = _prepared(needs.refusal(error), context)
        await context.abort(*status)
        raise AssertionError("abort raises")


class _Nothing:
    """Stands where nothing is needed."""

    def blocking(self, _: Any) -> None:
        """Return None."""

    async def awaiting(self, _: Any) -> None:
        """Return None."""


def _wrapped(method: Callable[..., Any], check: _Check | _Nothing) -> Callable[..., Any]:
    """Return a method of the same kind, which runs the check first."""

    @functools.wraps(method)
    async def streaming(*args: Any) -> AsyncIterator[Any]:
        with _introduced(await check.awaiting(_context_of(args))):
            async with aclosing(method(*args)) as answers:
                async for each in answers:
                    yield each

    @functools.wraps(method)
    async def awaited(*args: Any) -> Any:
        with _introduced(await check.awaiting(_context_of(args))):
            return await method(*args)

    @functools.wraps(method)
    def generating(*args: Any) -> Iterator[Any]:
        with _introduced(check.blocking(_context_of(args))):
            yield from method(*args)

    @functools.wraps(method)
    def called(*args: Any) -> Any:
        with _introduced(check.blocking(_context_of(args))):
            return method(*args)

    if isasyncgenfunction(method):
        return streaming
    if iscoroutinefunction(method):
        return awaited
    return generating if isgeneratorfunction(method) else called


@contextmanager
def _introduced(caller: Caller | None) -> Iterator[None]:
    # Not by tokens: a generator may end in another context than it began in.
    outer = _caller.get(), _serving.get()
    _caller.set(caller)
    _serving.set(True)
    try:
        yield
    finally:
        _caller.set(outer[0])
        _serving.set(outer[1])


class _Methods:
    """Guards the methods of a server."""

    def __init__(self, auth: GrpcGuard, default: _Check, public: frozenset[str]) -> None:
        self._auth = auth
        self._default = default
        self._public = public
        _refuse_copies(public)

    def guard(self, handler: Any, name: str) -> Any:
        """Return a handler that asks first; None where there is no such method."""
        if handler is None:
            return None
        kind, make = _KINDS[bool(handler.request_streaming), bool(handler.response_streaming)]
        method = getattr(handler, kind)
        if is_guarded(method):
            return handler
        for check in self._checks(method, name):
            method = _wrapped(method, check)
        return make(method, handler.request_deserializer, handler.response_serializer)

    def _checks(self, method: Any, name: str) -> list[Any]:
        hidden = hidden_checks(method)
        if hidden:
            return hidden
        service = name.rpartition("/")[0]
        if name in self._public or f"{service}/*" in self._public:
            return [_Nothing()]
        marked = getattr(method, _PUBLIC, None)
        if marked is not None and marked is not getattr(method, "__func__", method):
            raise RuntimeError(_COPIED.format(name))
        if marked is not None:
            return [_Nothing()]
        return [self._default]


class _Interceptor(_Methods, grpc.ServerInterceptor):  # type: ignore[misc]
    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        if calls.fate(sys._getframe(1)) == "POP_TOP":  # noqa: SLF001  one look: this runs for each call
            raise RuntimeError(f"guard: what our interceptor returns is thrown away here: {_IN_SERVER}")
        return self.guard(continuation(handler_call_details), handler_call_details.method)


@functools.cache
def _aio_interceptor() -> Any:
    from grpc import aio  # loads asyncio

    class AioInterceptor(_Methods, aio.ServerInterceptor):  # type: ignore[misc]
        def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Awaitable[Any]:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                raise TypeError("guard: grpc.server takes auth.interceptor(), unlike auth.aio_interceptor()") from None
            return self._found(continuation, details)

        async def _found(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
            return self.guard(await continuation(details), details.method)

    _refuse_in_other_places(sys.modules[aio.server.__module__].Server)
    return AioInterceptor


def _refuse_in_other_places(server: Any) -> None:
    """Let a server refuse an interceptor in the place of its threads or of handlers, where it would check nothing."""
    make, add = server.__init__, server.add_generic_rpc_handlers

    @functools.wraps(make)
    def made(self: Any, thread_pool: Any = None, *args: Any, **kwargs: Any) -> None:
        if thread_pool is not None and not isinstance(thread_pool, Executor):
            raise TypeError(
                f"guard: grpc.aio.server takes threads first, unlike {thread_pool!r:.100}: write interceptors=[…]"
            )
        make(self, thread_pool, *args, **kwargs)

    @functools.wraps(add)
    def added(self: Any, generic_rpc_handlers: Any) -> None:
        if any(isinstance(each, _Methods) for each in generic_rpc_handlers):
            raise TypeError(f"guard: an interceptor is no handler: {_IN_SERVER}")
        add(self, generic_rpc_handlers)

    server.__init__, server.add_generic_rpc_handlers = made, added


def _checked_methods(public: Iterable[str]) -> frozenset[str]:
    found = misuse.some_texts(public, "public")
    for each in found:
        if not _METHOD.fullmatch(each):
            raise ValueError(
                f"guard: a public method is '/package.Service/Method' or '/package.Service/*', unlike {each!r}"
            )
    return found


def _refuse_copies(public: frozenset[str]) -> None:
    """Refuse a decorator above `@auth.public` before the first call. :raises RuntimeError: a class has one.

    A class inside a function is not found by its name, nor one that is made later: there each call is refused.

    :param public: the methods that are open by name, whatever stands above them.
    """
    open_names = {name.rpartition("/")[2] for name in public}
    for marked in list(_marked):
        path = getattr(marked, "__qualname__", "").split(".")
        found: Any = getattr(marked, "__globals__", {}).get(path[0])
        for name in path[1:]:
            found = getattr(found, "__dict__", {}).get(name)
        if getattr(found, _PUBLIC, None) is marked is not found and not open_names & {"*", path[-1]}:
            raise RuntimeError(_COPIED.format(".".join(path)))


def _context_of(args: tuple[Any, ...]) -> Any:
    for each in args[-1:0:-1]:
        if hasattr(each, "invocation_metadata"):
            return each
    raise TypeError("guard: @auth.required(…) decorates methods of gRPC, which take a request and a context")


def _prepared(refusal: Refusal, context: Any) -> tuple[grpc.StatusCode, str]:
    """Set a refusal's trailing metadata, and return what to abort with."""
    told = [(name, value) for name, value in refusal.headers if name in _TOLD]
    context.set_trailing_metadata(((PROBLEM_CODE, refusal.code), *told))
    code = _CODES.get(HTTPStatus(refusal.status), grpc.StatusCode.UNAUTHENTICATED)
    return code, msgspec.json.decode(refusal.body)["detail"]

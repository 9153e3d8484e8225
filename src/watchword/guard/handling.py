"""Tells whether a request is being handled. What only makes a guard then checks nothing, and must say so."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Final

_HANDLING: Final = {
    ("fastapi.dependencies.utils", "solve_dependencies"),
    ("fastapi.routing", "run_endpoint_function"),
    ("starlette.routing", "Route.handle"),
    ("starlette.routing", "WebSocketRoute.handle"),
    ("starlette.middleware.base", "BaseHTTPMiddleware.__call__"),
    ("anyio._backends._asyncio", "WorkerThread.run"),  # for what is not `async`
    ("litestar.routes.http", "HTTPRoute.handle"),
    ("litestar.routes.websocket", "WebSocketRoute.handle"),
    ("flask.app", "Flask.full_dispatch_request"),
    ("quart.app", "Quart.full_dispatch_request"),
    ("quart.app", "Quart.full_dispatch_websocket"),
    ("quart.asgi", "ASGIHTTPConnection._send_response"),  # while it streams
    ("aiohttp.web_protocol", "RequestHandler._handle_request"),
    ("django.core.handlers.exception", "convert_exception_to_response.<locals>.inner"),
    ("asgiref.sync", "SyncToAsync.thread_handler"),
    ("asgiref.sync", "AsyncToSync.main_wrap"),  # an async view under WSGI
    ("channels.consumer", "AsyncConsumer.dispatch"),
    ("grpc._server", "_call_behavior"),
    ("grpc._server", "_take_response_from_response_iterator"),
}
_IN_THREADS: Final = ("concurrent.futures.thread", "_WorkItem.run")
_IN_TASKS: Final = ("asyncio.events", "Handle._run")


def refuse_for_a_request() -> None:
    """Refuse to make a requirement. :raises RuntimeError: a request is being handled, where it checks nothing."""
    if for_a_request(sys._getframe(2)):  # noqa: SLF001
        raise RuntimeError(
            "guard: require(…) checks nothing where a request is handled: write "
            "`guard.check(authorization, roles=…)`, or make the requirement outside of the function"
        )


def for_a_request(frame: FrameType | None) -> bool:
    """Return whether a framework runs this frame for a request. A module imported meanwhile does not count."""
    while frame is not None and frame.f_code.co_name != "<module>":
        place = (frame.f_globals.get("__name__"), frame.f_code.co_qualname)
        if place in _HANDLING and not _is_of_a_test(frame):
            scope = frame.f_locals.get("scope")  # a lifespan passes here too
            return not (isinstance(scope, dict) and scope.get("type") == "lifespan")
        if place == _IN_TASKS and _is_of_grpc(_running()):
            return True
        if place == _IN_THREADS and any(map(_is_of_grpc, frame.f_locals["self"].args)):
            return True
        frame = frame.f_back
    return False


def _is_of_a_test(frame: FrameType) -> bool:
    """Return whether a framework runs an async method of a test case here, as Django does by asgiref."""
    case = sys.modules.get("unittest.case")  # loaded, if there is one
    method = getattr(frame.f_locals.get("self"), "awaitable", None)
    return case is not None and isinstance(getattr(method, "__self__", None), case.TestCase)


def _running() -> object:
    """Return the coroutine of the task that runs."""
    task = sys.modules["asyncio"].current_task()
    return None if task is None else task.get_coro()


def _is_of_grpc(thing: object) -> bool:
    """Return whether a thing is of `grpc.aio`, whose compiled code has no frames: a method's task, or its context."""
    if type(thing).__module__.startswith("_cython"):
        return "grpc" in sys.modules and getattr(thing, "__qualname__", "") == "_handle_exceptions"
    return type(thing).__module__.startswith("grpc.")

"""Finds slips in what FastAPI's `include_router` takes: it drops a part of them, and the routes were open to all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, Final

from fastapi import APIRouter
from fastapi.routing import APIRoute, APIWebSocketRoute

from watchword.guard import slips
from watchword.guard.fastapi_slips import NEVER, NoDependency, refuse_wrong

_WITHOUT_MIDDLEWARE: Final = (
    "guard: include_router takes the endpoint of {!r} without its middleware, and would let all callers in: add such "
    "routes to the application itself, as in FastAPI(routes=[…]), or mount them, or write a route of FastAPI with "
    "`dependencies=[auth.required()]`"
)
_TOO_LATE: Final = (
    "guard: the route {!r} was made before `dependencies` of its router had {!r}, so that it lets all callers in: "
    "write APIRouter(dependencies=[auth.required()])"
)


def refuse_slips() -> None:
    """Look at each router that is included. FastAPI reads most of it late."""
    APIRouter.include_router = _refusing_wrong(APIRouter.include_router)  # type: ignore[method-assign]


def _refusing_wrong(include: Callable[..., None]) -> Callable[..., None]:
    @wraps(include)
    def included(self: APIRouter, *args: Any, **given: Any) -> None:
        for each in (*self.dependencies, *(given.get("dependencies") or ())):
            refuse_wrong(each.dependency)
        _refuse_dropped(args[0] if args else given.get("router"))
        include(self, *args, **given)

    return included


def _refuse_dropped(router: Any) -> None:
    ours = [each for each in getattr(router, "dependencies", ()) if isinstance(each, NoDependency)]
    for route in getattr(router, "routes", ()):
        if isinstance(route, APIRoute):
            for each in ours:
                if each not in route.dependencies:
                    raise TypeError(_TOO_LATE.format(route.path, each))
        elif not isinstance(route, APIWebSocketRoute) and _loses_ours(route):
            raise TypeError(_WITHOUT_MIDDLEWARE.format(route.path))


def _loses_ours(route: Any) -> bool:
    """Return whether a plain route of Starlette, of which the endpoint is taken, has a guard around it."""
    layers = _layers(route.app) if hasattr(route, "endpoint") else ()
    return any(slips.checks_when_called(each, NEVER) for each in layers)


def _layers(app: Any) -> Iterator[Any]:
    """Yield an application with middleware, from the outside."""
    while app is not None:
        yield app
        app = getattr(app, "app", None)

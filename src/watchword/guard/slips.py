"""Finds slips where a framework would call a guard's methods with data of requests."""

from __future__ import annotations

from types import FrameType
from typing import Final, Never, Self

from watchword.guard import misuse
from watchword.guard.asked import Names
from watchword.guard.guard import Guard
from watchword.guard.requirement import Requirement


def needs(guard: Guard, where: str, scopes: Names, roles: Names, max_age: int | None, api_keys: bool) -> Requirement:
    """Return what a route needs. :raises TypeError: wrong types. :raises ValueError: an empty list of names."""
    return misuse.a_guard(guard, where).require(scopes=scopes, roles=roles, max_age=max_age, api_keys=api_keys)


def by_name(misplaced: tuple[object, ...], written: str, hint: str) -> None:
    """Refuse arguments without a name, as from a framework. :raises TypeError: says what to write."""
    if misplaced and isinstance(misplaced[0], str | list | tuple | set | frozenset):
        raise TypeError(f'guard: roles or scopes? Write {written}(roles="…"), unlike {written}({misplaced[0]!r:.100})')
    if misplaced:
        raise TypeError(hint)


_HANDLING: Final = {
    ("fastapi.dependencies.utils", "solve_dependencies"),
    ("fastapi.routing", "run_endpoint_function"),
    ("starlette.routing", "Route.handle"),
    ("starlette.routing", "WebSocketRoute.handle"),
    ("starlette.middleware.base", "BaseHTTPMiddleware.__call__"),
    ("anyio._backends._asyncio", "WorkerThread.run"),  # for what is not `async`
    ("aiohttp.web_protocol", "RequestHandler._handle_request"),
    ("grpc._server", "_call_behavior"),
}


def for_a_request(frame: FrameType | None) -> bool:
    """Return whether a framework runs this frame for a request. A module imported meanwhile does not count."""
    while frame is not None and frame.f_code.co_name != "<module>":
        if (frame.f_globals.get("__name__"), frame.f_code.co_qualname) in _HANDLING:
            scope = frame.f_locals.get("scope")  # a lifespan passes here too
            return not (isinstance(scope, dict) and scope.get("type") == "lifespan")
        frame = frame.f_back
    return False


class ToCall:
    """Raises where a framework reads its signature: the parentheses are missing."""

    def __init__(self, hint: str) -> None:
        self.hint = hint

    @property
    def __signature__(self) -> Never:
        raise TypeError(self.hint)

    def __deepcopy__(self, _: object) -> Self:
        return self  # frameworks copy first

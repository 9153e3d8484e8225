"""Finds slips where a framework would call a guard's methods with what it finds in requests."""

from __future__ import annotations

from types import FrameType
from typing import Final, Never, Self

from watchword.guard import misuse
from watchword.guard.asked import Names
from watchword.guard.guard import Guard
from watchword.guard.requirement import Requirement


def needs(guard: Guard, where: str, scopes: Names, roles: Names, max_age: int | None) -> Requirement:
    """Return what a route needs, as it was written.

    :raises TypeError: no guard, or names or an age that are none.
    :raises ValueError: an empty list, as of a setting that is missing: every caller would do.
    """
    return misuse.a_guard(guard, where).require(scopes=scopes, roles=roles, max_age=max_age)


def by_name(misplaced: tuple[object, ...], written: str, hint: str) -> None:
    """Refuse arguments without a name: roles or scopes, or what a framework passes.

    :raises TypeError: with the line to write.
    """
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
    ("anyio._backends._asyncio", "WorkerThread.run"),  # where they call what is not `async`
}


def for_a_request(frame: FrameType | None) -> bool:
    """Return whether FastAPI or Starlette runs this frame to answer a request. A dependency made there is ignored.

    A module that is imported meanwhile is no part of it: its code is written for all requests.
    """
    while frame is not None and frame.f_code.co_name != "<module>":
        if (frame.f_globals.get("__name__"), frame.f_code.co_qualname) in _HANDLING:
            scope = frame.f_locals.get("scope")  # a start passes through some of them too
            return not (isinstance(scope, dict) and scope.get("type") == "lifespan")
        frame = frame.f_back
    return False


class ToCall:
    """Is a method that frameworks must not get without its parentheses: one that reads its signature gets an error."""

    def __init__(self, hint: str) -> None:
        self.hint = hint

    @property
    def __signature__(self) -> Never:
        raise TypeError(self.hint)

    def __deepcopy__(self, _: object) -> Self:
        return self  # frameworks copy what they are given, before they look at it

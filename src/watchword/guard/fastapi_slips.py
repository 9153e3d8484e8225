"""Finds slips in FastAPI's dependencies, which FastAPI would drop, so that their routes were open to all."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from inspect import isclass, iscoroutine
from types import FrameType
from typing import Annotated, Any, Final, ForwardRef, Literal, get_args, get_origin

from fastapi import APIRouter, routing
from fastapi.dependencies import utils as dependencies
from fastapi.params import Depends, Security

from watchword.guard import slips
from watchword.guard.asgi import GuardMiddleware
from watchword.guard.caller import Caller
from watchword.guard.guard import Guard
from watchword.guard.marks import NO_DEPENDENCY
from watchword.guard.requirement import Requirement
from watchword.guard.seen import SeenCallers

RIGHT: Final = "; write `caller: {}`, or `dependencies=[auth.required()]`"


def put(thing: Security, **attributes: Any) -> None:
    """Set attributes of a dependency."""
    for name, value in attributes.items():
        object.__setattr__(thing, name, value)  # FastAPI's class is frozen


class NoDependency(Security):
    """Raises where a route uses it as a dependency.

    It is a `Security`, so that FastAPI reads it. Otherwise FastAPI would ignore it in `Annotated[Caller,
    auth.required]`, and fill its parameters from a client's query string in `Depends(auth.required)`.
    """

    def __init__(self, written: str, right: str) -> None:
        put(self, slip=f"guard: `{written}` is no dependency{RIGHT.format(right)}")

    @property
    def dependency(self) -> Any:
        """Raise: FastAPI reads it first."""
        raise TypeError(self.slip)

    __signature__ = dependency

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Raise."""
        raise TypeError(self.slip)

    def __get_pydantic_core_schema__(self, *_: Any) -> Any:
        """Refuse in `Annotated[…] | None`, which FastAPI leaves to Pydantic."""
        raise TypeError(self.slip)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    slip: str


_Wrapped = Callable[..., Any]
_schemes: set[type] = set()
_NEVER: Final = (NoDependency, Guard, Requirement, SeenCallers, Caller, GuardMiddleware)


def refuse_slips(*schemes: type) -> None:
    """Look at what FastAPI reads, and at what dependencies return. FastAPI has no hook for it.

    :param schemes: the classes of right dependencies.
    """
    _schemes.update(schemes)
    dependencies.analyze_param = _refusing_texts(dependencies.analyze_param)
    dependencies.get_dependant = _refusing_returned(dependencies.get_dependant)
    routing.solve_dependencies = _refusing_values(routing.solve_dependencies)  # type: ignore[attr-defined]
    APIRouter.include_router = _refusing_wrong(APIRouter.include_router)  # type: ignore[method-assign]


def _refusing_wrong(include: Callable[..., None]) -> Callable[..., None]:
    """Wrap `include_router`: FastAPI reads its dependencies late."""

    @wraps(include)
    def included(self: APIRouter, *args: Any, **given: Any) -> None:
        for each in (*self.dependencies, *(given.get("dependencies") or ())):
            _refuse_wrong(each.dependency)
        include(self, *args, **given)

    return included


def _refuse_wrong(called: Any) -> None:
    if isinstance(called, NoDependency):
        raise TypeError(called.slip)
    if not callable(called):
        raise TypeError(NO_DEPENDENCY)
    owner = getattr(called, "__self__", called)
    if (isclass(owner) and issubclass(owner, _NEVER)) or slips.holds(called, _NEVER):
        raise TypeError(NO_DEPENDENCY)


def _refusing_returned(read: _Wrapped) -> _Wrapped:
    """Wrap what reads a dependency, which may return what was to be asked, as it stands."""

    @wraps(read)
    def dependant(*args: Any, **given: Any) -> Any:
        called, name = given.get("call"), given.get("name")
        if not name:
            _refuse_wrong(called)
        ours = _TO_BE_ASKED if name else (*_TO_BE_ASKED, Guard)
        if any(issubclass(kind, ours) for kind in slips.returned(called)):
            raise TypeError(_RETURNS.format(called))
        return read(*args, **given)

    return dependant


# What dependencies return ---------------------------------------------------------------------------------------------

_RETURNS: Final = f"{NO_DEPENDENCY}, unlike {{!r:.100}}, which returns it"
_TO_BE_ASKED: Final = (NoDependency, Requirement)


def _refusing_values(solve: _Wrapped) -> _Wrapped:
    """Wrap what runs a route's dependencies: FastAPI drops what they return, or hands it to the route."""

    @wraps(solve)
    def solved(*args: Any, **given: Any) -> Any:
        for each in given["dependant"].dependencies:
            if type(each.call) not in _schemes:
                return _solved(solve, args, given)
        return solve(*args, **given)  # most routes: no coroutine more

    return solved


async def _solved(solve: _Wrapped, args: Any, given: Any) -> Any:
    found = await solve(*args, **given)
    for (called, *_), value in found.dependency_cache.items():
        if value is None or type(value) is Caller:
            continue
        # A route may ask a guard, or call a function that does. A list of dependencies cannot.
        if slips.holds(value, (*_TO_BE_ASKED, *_schemes)) or (
            slips.checks_when_called(value, _NEVER) and not _is_named(called, given["dependant"])
        ):
            if iscoroutine(value):
                value.close()
            raise TypeError(_RETURNS.format(called))
    return found


def _is_named(called: Any, dependant: Any) -> bool:
    """Return whether what a dependency returns is handed to a parameter."""
    return any(
        (each.call == called and each.name is not None) or _is_named(called, each) for each in dependant.dependencies
    )


# Annotations that FastAPI cannot read ---------------------------------------------------------------------------------

_IN_TEXT: Final = re.compile(r"\b(?:required|optional|Depends|Security)\s*\(")
_CALLER: Final = re.compile(r"\w*Caller\b")
_NAME: Final = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_UNREAD: Final = (
    "guard: FastAPI cannot read the annotation {!r} of {!r}, and would let all callers in: it finds names of the "
    "module only, not of a function or below TYPE_CHECKING. Make `auth` outside of the function, take `from __future__ "
    "import annotations` out, or write `dependencies=[auth.required()]` in the line of the route"
)


def _refusing_texts(analyze: _Wrapped) -> _Wrapped:
    """Wrap what reads a parameter. FastAPI takes it for one of the query where a name in its annotation is unknown."""

    @wraps(analyze)
    def analyzed(*args: Any, **given: Any) -> Any:
        for text in _unread(given.get("annotation")):
            by_default = isinstance(given.get("value"), Depends)
            if _IN_TEXT.search(text) or (not by_default and _is_ours(text, sys._getframe(1))):  # noqa: SLF001
                raise TypeError(_UNREAD.format(text, given.get("param_name")))
        return analyze(*args, **given)

    return analyzed


def _unread(annotation: Any) -> Iterator[str]:
    """Yield the texts in an annotation that were to be evaluated, where no dependency stands beside them."""
    if isinstance(annotation, ForwardRef | str):
        yield annotation if isinstance(annotation, str) else annotation.__forward_arg__
    elif not _has_dependency(annotation) and (origin := get_origin(annotation)) is not Literal:
        arguments = get_args(annotation)
        for each in arguments[:1] if origin is Annotated else arguments:
            yield from _unread(each)


def _has_dependency(annotation: Any) -> bool:
    return get_origin(annotation) is Annotated and any(isinstance(each, Depends) for each in get_args(annotation)[1:])


def _is_ours(text: str, frame: FrameType | None) -> bool:
    """Return whether a text names a caller, or what is a dependency in a function that runs, such as `create_app`."""
    if _CALLER.search(text):
        return True
    names = set(_NAME.findall(text))
    while frame is not None:
        for name in names & frame.f_locals.keys():
            value = frame.f_locals[name]
            if isinstance(value, (*_NEVER, Depends)) or _has_dependency(value):
                return True
        frame = frame.f_back
    return False

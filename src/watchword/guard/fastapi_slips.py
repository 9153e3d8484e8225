"""Finds slips in FastAPI's dependencies, which FastAPI would drop, so that their routes were open to all."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache, partial, wraps
from importlib import import_module
from inspect import Parameter, get_annotations, getattr_static, isclass, iscoroutine
from types import FrameType, FunctionType, MethodType, NoneType, UnionType
from typing import Annotated, Any, Final, ForwardRef, Literal, Union, get_args, get_origin

from fastapi import routing
from fastapi.dependencies import utils as dependencies
from fastapi.params import Body, Depends, Param, Security

from watchword.errors import WatchwordError
from watchword.guard import slips
from watchword.guard.asgi import GuardMiddleware
from watchword.guard.caller import Caller
from watchword.guard.guard import Guard
from watchword.guard.marks import NO_DEPENDENCY
from watchword.guard.refusals import Refusal
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
_ours: set[type] = set()
NEVER: Final = (NoDependency, Guard, Requirement, SeenCallers, Caller, GuardMiddleware)
"""The classes of what checks nothing until it is asked."""


def refuse_slips(*ours: type) -> None:
    """Look at what FastAPI reads, and at what dependencies return. FastAPI has no hook for it.

    :param ours: the classes of right dependencies, and of what makes them: FastAPI alone can ask these.
    """
    _ours.update(ours)
    dependencies.analyze_param = _refusing_texts(dependencies.analyze_param)
    routing.get_dependant = read = _refusing_parameters(dependencies.get_dependant)  # type: ignore[attr-defined]
    dependencies.get_dependant = _refusing_returned(read)
    routing.solve_dependencies = _refusing_values(routing.solve_dependencies)  # type: ignore[attr-defined]


def refuse_wrong(called: Any) -> None:
    """Refuse what is no dependency. :raises TypeError: it is one of ours that was to be called, or asked."""
    if isinstance(called, NoDependency):
        raise TypeError(called.slip)
    if not callable(called):
        raise TypeError(NO_DEPENDENCY)
    owner = getattr(called, "__self__", called)
    if (isclass(owner) and issubclass(owner, NEVER)) or slips.holds(called, NEVER):
        raise TypeError(NO_DEPENDENCY)


def _refusing_returned(read: _Wrapped) -> _Wrapped:
    """Wrap what reads a dependency, which may return what was to be asked, as it stands."""

    @wraps(read)
    def dependant(*args: Any, **given: Any) -> Any:
        if not given.get("name"):
            refuse_wrong(given.get("call"))
            _refuse_returned(given.get("call"), lambda _: False)
        return read(*args, **given)

    return dependant


def _refusing_parameters(read: _Wrapped) -> _Wrapped:
    """Wrap what reads a route or a dependency, whose parameters take what others return."""

    @wraps(read)
    def dependant(*args: Any, **given: Any) -> Any:
        called, found = given.get("call"), read(*args, **given)
        slips.refuse_not_called(called)
        for each in found.dependencies:
            _refuse_returned(each.call, partial(_takes, called, each.name))
        made = called.func if isinstance(called, partial) else called
        made = get_origin(made) or made
        if isclass(made):
            _refuse_unread(made, found, given["path"])
        return found

    return dependant


def _refuse_returned(called: Any, taken: Callable[[type], bool]) -> None:
    for kind in slips.returned(called):
        if issubclass(kind, tuple(_ours)) or (issubclass(kind, (*_TO_BE_ASKED, Guard)) and not taken(kind)):
            raise TypeError(_RETURNS.format(called))


# What dependencies return ---------------------------------------------------------------------------------------------

_RETURNS: Final = f"{NO_DEPENDENCY}, unlike {{!r:.100}}, which returns it"
_TO_RAISE: Final = "guard: {!r:.100} returns why a caller is refused, which lets them in: raise it"
_REFUSING: Final = (Refusal, WatchwordError)
_TO_BE_ASKED: Final = (NoDependency, Requirement)
# Without `Caller`: one in a value tells of a check that has run.
_NEVER_ALONE: Final = (*_TO_BE_ASKED, *_REFUSING, Guard, SeenCallers, GuardMiddleware)


def _refusing_values(solve: _Wrapped) -> _Wrapped:
    """Wrap what runs a route's dependencies: FastAPI drops what they return, or hands it to the route."""

    @wraps(solve)
    def solved(*args: Any, **given: Any) -> Any:
        for each in given["dependant"].dependencies:
            if type(each.call) not in _ours:
                return _solved(solve, args, given)
        return solve(*args, **given)  # most routes: no coroutine more

    return solved


async def _solved(solve: _Wrapped, args: Any, given: Any) -> Any:
    found = await solve(*args, **given)
    for (called, *_), value in found.dependency_cache.items():
        if value is not None and type(value) is not Caller and _is_dropped(called, value, given["dependant"]):
            if iscoroutine(value):
                value.close()
            raise TypeError((_TO_RAISE if isinstance(value, _REFUSING) else _RETURNS).format(called))
    return found


def _is_dropped(called: Any, value: Any, dependant: Any) -> bool:
    """Return whether a value was to be asked, and goes where no one can ask it."""
    if slips.holds(value, tuple(_ours)):
        return True
    if not slips.checks_when_called(value, _NEVER_ALONE):
        # A function of the module that only names a guard tells little where a guard was asked.
        asked = any(not each.optional for each in _schemes(dependant))
        if (asked or not slips.names(value, _NEVER_ALONE)) and not _is_dependency(value):
            return False
    places = list(_places(called, dependant))
    if not places:
        return False  # a parameter of what stands in for another dependency
    takers = [(taker, name) for taker, name in places if name]
    lazy = slips.is_lazy(value) or slips.holds(value, (*_TO_BE_ASKED, *_REFUSING))
    return not any(_takes(taker, name, type(value), type(value) if lazy else Guard) for taker, name in takers)


def _is_dependency(value: Any) -> bool:
    """Return whether a value is to be called by FastAPI, for one of ours among its parameters: that was forgotten."""
    if type(value) in _ours:
        return True
    if issubclass(type(value), Depends):
        return _is_dependency(value.dependency)
    if type(value) in {FunctionType, MethodType, partial} or isclass(value):
        return _asks(value)
    call = getattr(type(value), "__call__", None)  # noqa: B004  which one, and not whether
    return type(call) is FunctionType and _asks_once_made(call)


def _asks(called: Any) -> bool:
    try:
        return any(_schemes(dependencies.get_dependant(path="", call=called, name="_")))
    except Exception:  # noqa: BLE001  a function that is no dependency
        return False


_asks_once_made: Final = lru_cache(maxsize=256)(_asks)
"""Likewise of a class's `__call__`, which stays; functions may be made for each request."""


def _places(called: Any, dependant: Any) -> Iterator[tuple[Any, str | None]]:
    """Yield what uses a dependency, and the parameter that gets what it returns, if any does."""
    for each in dependant.dependencies:
        if each.call == called:
            yield dependant.call, each.name
        yield from _places(called, each)


def _schemes(dependant: Any) -> Iterator[Any]:
    """Yield all of ours that a route asks."""
    if type(dependant.call) in _ours:
        yield dependant.call
    for each in dependant.dependencies:
        yield from _schemes(each)


def _takes(taker: Any, name: str, kind: type, asked: type | None = None) -> bool:
    """Return whether a parameter is for such a value. Only a guard may stay unread: others were made for this route."""
    parameter = dependencies.get_typed_signature(taker).parameters.get(name)
    if parameter is None:
        return True
    return _admits(parameter.annotation, kind) and (issubclass(asked or kind, Guard) or slips.reads(taker, name))


def _admits(annotation: Any, kind: type) -> bool:
    """Return whether an annotation leaves room for a type: none, `Any`, a protocol or what cannot be told does."""
    if isinstance(annotation, ForwardRef | str):
        return not _CALLER.search(annotation if isinstance(annotation, str) else annotation.__forward_arg__)
    origin = get_origin(annotation) or annotation
    if origin is Annotated:
        return _admits(get_args(annotation)[0], kind)
    if origin is Union or origin is UnionType:
        return any(_admits(each, kind) for each in get_args(annotation))
    if origin is None or origin is NoneType:
        return False
    if origin is Any or origin is Parameter.empty or not isclass(origin):
        return True
    try:
        return issubclass(kind, origin)
    except TypeError:  # such as a protocol
        return True


# Classes --------------------------------------------------------------------------------------------------------------

_NO_PARAMETER: Final = (
    "guard: FastAPI reads the parameters of {0.__name__}, among which {1!r} is none, and would let all callers in; "
    "add @dataclass above the class {0.__name__}, or write its `__init__` with {1!r}"
)


def _refuse_unread(called: type, found: Any, path: str) -> None:
    """Refuse a class that has one of ours where FastAPI does not look. :raises TypeError: says what to add."""
    seen, asked = {each.name for each in found.dependencies}, set(_schemes(found))
    for name, annotation in _fields(called):
        if name not in seen and not asked.issuperset(_asked_by(annotation, getattr_static(called, name, None), path)):
            raise TypeError(_NO_PARAMETER.format(called, name))


_AS_TEXT: Final[dict[str, Any]] = (
    {} if sys.version_info < (3, 14) else {"format": import_module("annotationlib").Format.STRING}
)
"""Since Python 3.14 annotations are evaluated where they are read, unless one asks for their text."""


def _fields(called: type) -> Iterator[tuple[str, Any]]:
    for each in called.__mro__:
        try:
            yield from get_annotations(each, eval_str=True).items()
        except Exception:  # noqa: BLE001  names of a function, or whatever a text may do
            yield from get_annotations(each, **_AS_TEXT).items()


def _asked_by(annotation: Any, default: Any, path: str) -> Iterator[Any]:
    """Yield what of ours would be asked by a field."""
    if isinstance(annotation, str):
        if _IN_TEXT.search(annotation) or _is_local(annotation, sys._getframe(1)):  # noqa: SLF001
            yield annotation
        return
    if get_origin(annotation) in (Union, UnionType):
        for each in get_args(annotation):
            yield from _asked_by(each, None, path)
    kind, *given = get_args(annotation) if get_origin(annotation) is Annotated else [annotation]
    for each in (*given, default):
        if isinstance(each, Depends) and type(each) is not kind:  # `auth: FastAPIGuard = auth` is kept to be asked
            wanted = each.dependency or kind
            if type(wanted) in _ours:
                yield wanted
            elif callable(wanted):
                yield from _schemes(dependencies.get_dependant(path=path, call=wanted, name="_"))


# Annotations that FastAPI cannot read, or does not call ---------------------------------------------------------------

_IN_TEXT: Final = re.compile(r"\b(?:required|optional|Depends|Security)\s*\(")
_CALLER: Final = re.compile(r"\w*Caller\b")
_NAME: Final = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_UNREAD: Final = (
    "guard: FastAPI cannot read the annotation {!r} of {!r}, and would let all callers in: it finds names of the "
    "module only, not of a function or below TYPE_CHECKING. Make `auth` outside of the function, take `from __future__ "
    "import annotations` out, or write `dependencies=[auth.required()]` in the line of the route"
)
_ONE_OF_TWO: Final = (
    "guard: FastAPI asks only the last dependency in the annotation of one parameter, and never {!r:.100} beside {!r}: "
    "write one, auth.required(…), with all that is needed, or the other in `dependencies=[…]`"
)
_NO_DEPENDS: Final = (
    "guard: FastAPI never calls {!r:.100} beside {!r}, and would let all callers in, or take the value from the query "
    "string: write `Depends(…)` around it"
)


def _refusing_texts(analyze: _Wrapped) -> _Wrapped:
    """Wrap what reads a parameter. FastAPI takes it for one of the query where a name in its annotation is unknown."""

    @wraps(analyze)
    def analyzed(*args: Any, **given: Any) -> Any:
        annotation = given.get("annotation")
        beside = list(_beside(annotation))
        _refuse_beside_another(beside, given.get("param_name"))
        for each in (*beside, given.get("value")):
            if not isinstance(each, Depends) and _was_to_be_called(each):
                raise TypeError(_NO_DEPENDS.format(each, given.get("param_name")))
        for text in _unread(annotation):
            by_default = isinstance(given.get("value"), Depends)
            if _IN_TEXT.search(text) or (not by_default and _is_ours(text, sys._getframe(1))):  # noqa: SLF001
                raise TypeError(_UNREAD.format(text, given.get("param_name")))
        return analyze(*args, **given)

    return analyzed


def _beside(annotation: Any) -> Iterator[Any]:
    """Yield what stands beside a type in `Annotated`, also below another name for such an annotation."""
    annotation = getattr(annotation, "__value__", annotation)
    if get_origin(annotation) is Annotated:
        yield from _beside(annotation.__origin__)
        yield from annotation.__metadata__


def _refuse_beside_another(beside: list[Any], name: Any) -> None:
    """Refuse two in one annotation: FastAPI asks the last. :raises TypeError: another one would ask a guard."""
    listed = [each for each in beside if isinstance(each, Depends | Param | Body)]
    for each in listed[:-1]:
        if isinstance(each, Depends) and each != listed[-1] and _is_dependency(each):
            raise TypeError(_ONE_OF_TWO.format(each, name))


def _was_to_be_called(value: Any) -> bool:
    return slips.checks_when_called(value, NEVER) or slips.names(value, NEVER) or _is_dependency(value)


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
    return bool(_CALLER.search(text)) or _is_local(text, frame)


def _is_local(text: str, frame: FrameType | None) -> bool:
    names = set(_NAME.findall(text))
    while frame is not None:
        for name in names.intersection(frame.f_locals):  # whose keys are a list since Python 3.13
            value = frame.f_locals[name]
            if isinstance(value, (*NEVER, Depends)) or _has_dependency(value):
                return True
        frame = frame.f_back
    return False

"""Finds slips where a framework would call a guard's methods with data of requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import _AsyncGeneratorContextManager, _GeneratorContextManager
from functools import partial
from inspect import isclass, unwrap
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType, MethodType
from typing import Any, Final, Never, Self

from watchword.guard import calls, misuse
from watchword.guard.asked import Names, needs_of
from watchword.guard.caller import Caller
from watchword.guard.guard import Guard
from watchword.guard.questions import NotCalled
from watchword.guard.requirement import Requirement

_BEFORE_YIELD: Final = {"ASYNC_GEN_WRAP", "CALL_INTRINSIC_1"}


def needs(guard: Guard, where: str, scopes: Names, roles: Names, max_age: int | None, api_keys: bool) -> Requirement:
    """Return what a route needs. :raises TypeError: wrong types. :raises ValueError: an empty list of names."""
    return Requirement(misuse.a_guard(guard, where), needs_of(roles, scopes, max_age, api_keys))


def by_name(misplaced: tuple[object, ...], written: str, hint: str) -> None:
    """Refuse arguments without a name, as from a framework. :raises TypeError: says what to write."""
    if misplaced and isinstance(misplaced[0], str | list | tuple | set | frozenset):
        raise TypeError(f'guard: roles or scopes? Write {written}(roles="…"), unlike {written}({misplaced[0]!r:.100})')
    if misplaced:
        raise TypeError(hint)


def returned(function: Any) -> Iterator[type]:
    """Yield the types of what a function returns or yields as it stands: globals, names of modules, outer variables."""
    for value, becomes in _loaded(function, lambda value: value is not calls.UNKNOWN):
        if becomes in {"RETURN_VALUE", "YIELD_VALUE"}:
            yield type(value)


def refuse_not_called(function: Any) -> None:
    """Refuse code that names a method of ours in place of a call, as in `if not guard.check:`, which is always false.

    :raises TypeError: it does, by a global, a name of a module, or an outer variable.
    """
    for value, becomes in _loaded(function, _is_ours, _METHODS):
        if calls.drops(becomes):
            raise TypeError(_NOT_CALLED.format(function, value.__name__))


_OURS: Final = "watchword.guard."
_METHODS: Final = {name for kind in (Guard, Requirement) for name in dir(kind) if name[0] != "_"}
_METHODS.update(("find_caller", "get_caller", "get_guard"))  # of adapters
_NOT_CALLED: Final = "guard: {0!r:.100} names `{1}` and does not call it, so that nothing is checked: write `.{1}(…)`"


def _is_ours(value: object) -> bool:
    return type(value) is FunctionType and (value.__module__ or "").startswith(_OURS)


def _loaded(
    function: Any, wanted: Callable[[object], bool], names: set[str] | None = None
) -> Iterator[tuple[Any, str]]:
    """Yield what is wanted of what a function loads, as far as names lead there, and the instruction that takes it.

    :param names: code without any of them loads nothing of that, which is quickly told.
    """
    if not hasattr(function, "__code__"):
        function = type(function).__call__  # an object, or a class, which returns what it makes
    function = unwrap(function)
    code: Any = getattr(function, "__code__", None)
    if code is None or (names is not None and names.isdisjoint(code.co_names)):
        return
    outer = dict(zip(code.co_freevars, map(misuse.content, function.__closure__ or ()), strict=True))
    listed = calls.instructions(code)
    for each in listed:
        value = calls.loaded(code, each, outer, function.__globals__)[1]
        taker = calls.taken_by(code, each)[0] if wanted(value) else None
        if taker is not None and taker.opname in _BEFORE_YIELD:
            taker, _ = calls.taken_by(code, taker)
        if taker is not None and taker.opname == "COPY":  # for `and`
            taker = listed[listed.index(taker) + 1]
        if taker is not None:
            yield value, taker.opname


_MOST: Final = 8
"""Nothing longer is looked through: a page of rows is no slip."""
_DEEP: Final = 2
"""Nothing deeper either: a dependency may return what a client sent."""


def holds(value: object, kinds: tuple[type, ...], deep: int = _DEEP) -> bool:
    """Return whether a value is of these kinds, a method of such a thing, or a small collection with one."""
    if type(value) is MethodType:
        value = value.__self__
    kind = type(value)  # not `isinstance`, which a proxy answers by its content
    if issubclass(kind, kinds):
        return True
    inside: Iterable[object] = ()
    if deep and isinstance(value, partial):
        inside = (value.func, *value.args)
    elif deep and issubclass(kind, dict | tuple | list | set | frozenset) and len(value) <= _MOST:  # type: ignore[arg-type]
        inside = value.values() if isinstance(value, dict) else value  # type: ignore[assignment]
    return any(holds(each, kinds, deep - 1) for each in inside)


def checks_when_called(value: object, kinds: tuple[type, ...]) -> bool:
    """Return whether a value would have to be called, awaited, begun or asked before anything is checked."""
    if is_lazy(value) or type(value) is NotCalled or holds(value, kinds):
        return True
    if type(value) is MethodType:
        return type(value.__self__) is Caller
    outer = value.__closure__ if type(value) is FunctionType else None
    return any(holds(misuse.content(each), kinds) for each in outer or ())


def is_lazy(value: object) -> bool:
    """Return whether the code of a function that was called runs when someone begins it: by `await`, `for` or `with`.

    Such a dependency stands below a decorator that FastAPI does not see through, or is `@contextmanager`.
    """
    return issubclass(type(value), _LAZY)


def names(value: object, kinds: tuple[type, ...]) -> bool:
    """Return whether a value is a function that names a global of these kinds, or is called by such a one."""
    called = value if type(value) is FunctionType else getattr(type(value), "__call__", None)  # noqa: B004
    return type(called) is FunctionType and any(
        holds(called.__globals__.get(name), kinds) for name in called.__code__.co_names
    )


_LAZY: Final = (
    CoroutineType, GeneratorType, AsyncGeneratorType, _GeneratorContextManager, _AsyncGeneratorContextManager,
)  # fmt: skip
_READS: Final = re.compile("LOAD_(FAST|DEREF|CLOSURE)|MAKE_CELL")


def reads(function: Any, name: str) -> bool:
    """Return whether a function reads its parameter, as far as one can tell."""
    if isclass(function):
        function = function.__init__
    elif not hasattr(function, "__code__"):
        function = type(function).__call__
    code = getattr(unwrap(function), "__code__", None)
    if code is None or name not in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        return True
    return any(
        _READS.search(each.opname) and (each.argval == name or (isinstance(each.argval, tuple) and name in each.argval))
        for each in calls.instructions(code)
    )


class ToCall:
    """Raises where a framework reads its signature: the parentheses are missing."""

    def __init__(self, hint: str) -> None:
        self.hint = hint

    @property
    def __signature__(self) -> Never:
        raise TypeError(self.hint)

    def __deepcopy__(self, _: object) -> Self:
        return self  # frameworks copy first

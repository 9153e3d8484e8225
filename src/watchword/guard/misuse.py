"""Finds slips in code that uses a guard. Each raises where it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from inspect import isclass, isroutine, unwrap
from types import FrameType
from typing import Any, Final

from watchword.guard.guard import Guard


def a_guard(given: object, where: str) -> Guard:
    """Return the given guard. :raises TypeError: it is none."""
    if isinstance(given, Guard):
        return given
    raise TypeError(f"guard: {where} takes a Guard, such as Guard('https://auth.example'), unlike {shown(given)}")


def no_positional(given: tuple[object, ...], written: str) -> None:
    """Refuse arguments without a name: a view without parentheses, or roles. :raises TypeError: there are some."""
    if not given:
        return
    if isroutine(given[0]) or isclass(given[0]):
        raise TypeError(f"guard: the parentheses are missing: write @{written}()")
    raise TypeError(
        f'guard: what is needed is given by name: @{written}(roles="…") or @{written}(scopes="…"), '
        f"unlike @{written}({shown(given[0])})"
    )


def a_view(given: tuple[object, ...], written: str, *, for_class: str) -> Callable[..., Any]:
    """Return the view to protect. :raises TypeError: it is not one function."""
    if len(given) != 1 or not callable(given[0]):
        raise TypeError(f"guard: {written}(…) decorates a view: write @{written}(…) above `def`")
    if isclass(given[0]):
        raise TypeError(
            f"guard: @{written}(…) decorates functions; for the class {given[0].__name__} write {for_class}"
        )
    return given[0]


def a_switch(given: object, name: str) -> bool:
    """Return a bool. :raises TypeError: another value, such as "no", which counts as True."""
    if not isinstance(given, bool):
        raise TypeError(f"guard: {name} is True or False, unlike {shown(given)}")
    return given


def some_texts(given: Iterable[str], name: str) -> frozenset[str]:
    """Return several texts. :raises TypeError: one text, which would count by letters, or other things."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"guard: {name} is a list of texts, unlike {shown(given)}")
    listed = frozenset(given)
    for each in listed:
        if not isinstance(each, str):
            raise TypeError(f"guard: {name} is a list of texts, in which {shown(each)} is none")
    return listed


def routed_already(view: Callable[..., Any], frame: FrameType) -> bool:
    """Return whether an application or blueprint in this frame routes the view, which is written there, already."""
    code = getattr(unwrap(view), "__code__", None)
    if code is None or code.co_filename != frame.f_code.co_filename:
        return False
    body = min((line for *_, line in code.co_lines() if line and line > code.co_firstlineno), default=None)
    if not code.co_firstlineno <= frame.f_lineno < (body or code.co_firstlineno + 1):
        return False
    return any(_routes(place, view) for place in (*frame.f_locals.values(), *frame.f_globals.values()))


_HOOKS: Final = (
    "before_request_funcs",
    "before_websocket_funcs",
    "after_request_funcs",
    "after_websocket_funcs",
    "teardown_request_funcs",
    "teardown_websocket_funcs",
    "url_value_preprocessors",
    "url_default_functions",
    "template_context_processors",
)


def _routes(place: object, view: object) -> bool:
    if type(place).__module__.partition(".")[0] == "flask_socketio":
        return any(getattr(each, "__wrapped__", None) is view for each in _handlers(place))
    if type(place).__module__ == "aiohttp.web_routedef" and isinstance(place, Iterable):
        return any(getattr(each, "handler", None) is view for each in place)
    if not hasattr(type(place), "add_url_rule"):
        return False
    hooks = [each for name in _HOOKS for several in getattr(place, name, {}).values() for each in several]
    if any(each is view for each in (*getattr(place, "view_functions", {}).values(), *hooks)):
        return True
    # A blueprint defers its routes, and hooks of the application, as functions that close over the view.
    deferred = [inner for each in getattr(place, "deferred_functions", ()) for inner in (each, unwrap(each))]
    return any(content(cell) is view for each in deferred for cell in getattr(each, "__closure__", None) or ())


def _handlers(socketio: Any) -> Iterator[object]:
    """Yield Flask-SocketIO's handlers, before and after there is a server."""
    yield from (each[1] for each in getattr(socketio, "handlers", None) or () if isinstance(each, tuple))
    for events in getattr(getattr(socketio, "server", None), "handlers", {}).values():
        yield from events.values()


def content(cell: Any) -> Any:
    """Return what a variable of an outer function holds, or None."""
    try:
        return None if cell is None else cell.cell_contents
    except ValueError:  # empty
        return None


def shown(given: object) -> str:
    """Return a value for a message, cut."""
    return f"{given!r:.100}"

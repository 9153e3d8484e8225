"""Makes methods that answer a question fail where they are not called: `if caller.has_role:` would always be true."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Never, TypeVar

_WRITTEN: Final = {
    "has_role": '("admin")',
    "has_scope": '("orders:read")',
    "claim": '("tenant", str)',
    "watch": "()",
}
_Method = TypeVar("_Method", bound=Callable[..., Any])


class NotCalled(partial[Any]):
    """Is a bound method that counts neither as true nor as false."""

    __slots__ = ()

    def __bool__(self) -> Never:
        raise TypeError(_hint(self.func))

    # For `with caller.watch:`, and what is asked of that.
    def __enter__(self) -> Never:
        raise TypeError(_hint(self.func))

    def __exit__(self, *_: object) -> None: ...

    def __getattr__(self, name: str) -> Never:
        raise AttributeError(f"{_hint(self.func)}, before {name!r}")


def _hint(method: Callable[..., Any]) -> str:
    name = method.__name__
    return f"guard: {name} is a method, which says nothing until it is called: write `.{name}{_WRITTEN[name]}`"


class _Question(property):
    """Binds a method. It is a property of partials, in which no Python runs: a question stays cheap."""

    def __init__(self, method: Callable[..., Any]) -> None:
        super().__init__(partial(NotCalled, method))
        self.__doc__ = method.__doc__
        self.__wrapped__ = method

    def __call__(self, *given: Any, **named: Any) -> Any:
        """Ask by the class: `Caller.has_role(caller, "admin")`."""
        return self.__wrapped__(*given, **named)


if TYPE_CHECKING:

    def question(method: _Method) -> _Method:
        """Mark a method."""
        return method

else:
    question = _Question

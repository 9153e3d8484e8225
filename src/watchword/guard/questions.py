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
_Reads = Callable[[Any], tuple[Any, ...]]
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


class _ByTheClass:
    __wrapped__: Callable[..., Any]

    def __init__(self, method: Callable[..., Any]) -> None:
        self.__doc__ = method.__doc__
        self.__wrapped__ = method

    def __call__(self, *given: Any, **named: Any) -> Any:
        """Ask by the class: `Caller.has_role(caller, "admin")`."""
        return self.__wrapped__(*given, **named)


class _Question(_ByTheClass, property):
    """Binds a method. It is a property of partials, in which no Python runs: a question stays cheap."""

    def __init__(self, method: Callable[..., Any]) -> None:
        property.__init__(self, partial(NotCalled, method))
        _ByTheClass.__init__(self, method)


class _Kept(_ByTheClass):
    """Binds a quicker form of a method to what it reads of an object, once, and keeps that beside the object's fields.

    Nothing that is kept refers to the object: it is freed without a garbage collector. No `property`, since an
    object's own dictionary comes before any other descriptor.
    """

    def __init__(self, method: Callable[..., Any], quick: Callable[..., Any], reads: _Reads) -> None:
        super().__init__(method)
        self._quick, self._reads = quick, reads

    def __get__(self, asked: Any, _: type) -> Any:
        if asked is None:
            return self
        bound = asked.__dict__[self.__wrapped__.__name__] = NotCalled(self._quick, *self._reads(asked))
        return bound


if TYPE_CHECKING:

    def question(method: _Method) -> _Method:
        """Mark a method."""
        return method

    def quick_question(quick: Callable[..., Any], reads: _Reads) -> Callable[[_Method], _Method]:
        """Mark a method that is asked at each request.

        :param quick: does the same with what `reads` returns, and has the method's name.
        """
        ...

else:
    question = _Question

    def quick_question(quick, reads):  # noqa: D103  as above
        return partial(_Kept, quick=quick, reads=reads)

"""An immutable mapping that, unlike the standard library's, can be hashed, copied and pickled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Never


class FrozenMapping(Mapping[str, Any]):
    """A claim that is a JSON object. Equal to every mapping of the same content."""

    __slots__ = ("_content",)

    _content: Mapping[str, Any]

    def __init__(self, content: Mapping[str, Any] = MappingProxyType({})) -> None:
        object.__setattr__(self, "_content", MappingProxyType(dict(content)))

    def __getitem__(self, name: str) -> Any:
        return self._content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def __contains__(self, name: object) -> bool:
        return name in self._content

    def __hash__(self) -> int:
        return hash(frozenset(self._content.items()))

    def __repr__(self) -> str:
        return repr(dict(self._content))

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError(f"this mapping cannot be changed: {name}")

    def __delattr__(self, name: str) -> Never:
        raise AttributeError(f"this mapping cannot be changed: {name}")

    def __copy__(self) -> FrozenMapping:
        return self

    def __deepcopy__(self, _: object) -> FrozenMapping:
        return self  # its content is immutable too

    def __reduce__(self) -> tuple[type[FrozenMapping], tuple[dict[str, Any]]]:
        return FrozenMapping, (dict(self._content),)


def thawed(value: Any) -> Any:
    """Return frozen claims as lists and dicts."""
    kind = type(value)  # isinstance is slow for an abstract class, and nothing else is frozen
    if kind is FrozenMapping:
        return {name: thawed(inner) for name, inner in value.items()}
    if kind is tuple:
        return [thawed(inner) for inner in value]
    return value

"""From decoded JSON to a route's msgspec type, or to one sentence per faulty field.

A body is a Struct of text, lists of text, integers, true or false, and objects, whose content is checked where it is
used. msgspec stops at the first fault; here all are found. No message repeats what was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect as shape

from watchword.errors import FieldError, InvalidInput

WHOLE = "body"  # the field name of a fault in no single field
_MAX_ERRORS = 64


def converter(kind: type[msgspec.Struct]) -> Callable[[Any], Any]:
    """Return a function from decoded JSON to `kind`; it raises InvalidInput, also for unknown fields.

    :raises TypeError: a field is something else.
    """
    fields = _fields(kind)

    def converted(value: Any) -> Any:
        try:
            made = msgspec.convert(value, kind)
        except msgspec.ValidationError:
            raise _report(value, fields) from None
        if not fields.keys() >= value.keys():
            raise _report(value, fields)
        return made

    return converted


def holds_objects(kind: type[msgspec.Struct]) -> bool:
    """Tell whether a field is any object."""
    return any(field.kind is dict for field in _fields(kind).values())


def form_converter(kind: type[msgspec.Struct]) -> Callable[[dict[str, str]], Any]:
    """Return a converter that ignores unknown fields (RFC 6749 section 3.2)."""
    fields = _fields(kind)

    def converted(form: dict[str, str]) -> Any:
        known = {name: value for name, value in form.items() if name in fields}
        try:
            return msgspec.convert(known, kind)
        except msgspec.ValidationError:
            raise _report(known, fields) from None

    return converted


_Kind = type[str] | type[bool] | type[int] | type[list[str]] | type[dict[str, Any]]


class _Field(msgspec.Struct, frozen=True):
    required: bool
    nullable: bool
    kind: _Kind = str


@cache  # several routes take the same
def _fields(kind: type[msgspec.Struct]) -> Mapping[str, _Field]:
    known = shape.type_info(kind)
    assert isinstance(known, shape.StructType), "a body is a Struct"
    return {field.encode_name: _field(kind, field) for field in known.fields}


def _field(kind: type[msgspec.Struct], field: shape.Field) -> _Field:
    members = list(_members(field.type))
    kinds = {_KINDS.get(type(each)) for each in members if not isinstance(each, shape.NoneType)}
    if len(kinds) != 1 or None in kinds or not all(map(_holds_what_it_may, members)):
        raise TypeError(f"{kind.__name__}.{field.name} is not text: teach this module to report its faults first")
    (one,) = kinds
    assert one is not None, "it is none of these"
    return _Field(field.required, any(isinstance(each, shape.NoneType) for each in members), one)


def _holds_what_it_may(kind: shape.Type) -> bool:
    if isinstance(kind, shape.ListType | shape.VarTupleType):
        return isinstance(kind.item_type, shape.StrType)
    return not isinstance(kind, shape.DictType) or isinstance(kind.value_type, shape.AnyType)


_KINDS: Mapping[type[shape.Type], _Kind] = {
    shape.StrType: str,
    shape.BoolType: bool,
    shape.IntType: int,
    shape.ListType: list,
    shape.VarTupleType: list,
    shape.DictType: dict,
}
_SAID = {
    str: "This must be text.",
    bool: "This must be true or false.",
    int: "This must be a whole number.",
    list: "This must be a list of texts.",
    dict: "This must be an object.",
}


def _members(kind: shape.Type) -> Iterator[shape.Type]:
    if isinstance(kind, shape.UnionType):
        for member in kind.types:
            yield from _members(member)
    else:
        yield kind.type if isinstance(kind, shape.Metadata) else kind


def _report(value: Any, fields: Mapping[str, _Field]) -> InvalidInput:
    errors = list(_faults(value, fields))[:_MAX_ERRORS]
    return InvalidInput(*(errors or [FieldError(WHOLE, "invalid", "These values do not fit together.")]))


def _faults(value: Any, fields: Mapping[str, _Field]) -> Iterator[FieldError]:
    if value is None:
        yield FieldError(WHOLE, "null", "This may not be null.")
    elif not isinstance(value, dict):
        yield FieldError(WHOLE, "wrong_type", "This must be an object.")
    else:
        for name, field in fields.items():
            yield from _in_field(name, field, value)
        for name in (each for each in value if each not in fields):
            yield FieldError(name, "unknown_field", "There is no field of this name here.")


def _in_field(name: str, field: _Field, value: dict[str, Any]) -> Iterator[FieldError]:
    if name not in value:
        if field.required:
            yield FieldError(name, "required", "This field is needed.")
    elif value[name] is None:
        if not field.nullable:
            yield FieldError(name, "null", "This may not be null.")
    elif not isinstance(value[name], field.kind) or (field.kind is int and isinstance(value[name], bool)):
        yield FieldError(name, "wrong_type", _SAID[field.kind])
    elif isinstance(value[name], list):
        for place, item in enumerate(value[name]):
            if not isinstance(item, str):
                yield FieldError(f"{name}.{place}", "wrong_type", _SAID[str])

"""From decoded JSON to a route's msgspec type, and from what does not fit to one plain sentence per field.

msgspec stops at the first fault. So only when it has refused a body are its fields tried one by one, against the same
type, to report them all (settled.md, "Bodies"). Nothing of what was sent is repeated in a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import inspect as shape

from watchword.errors import FieldError, InvalidInput

WHOLE = "body"  # the field name of a fault that is not in one field
_MAX_ERRORS = 64


def converter(kind: type[msgspec.Struct]) -> Callable[[Any], Any]:
    """A function that turns decoded JSON into `kind`, refusing unknown fields at every level.

    The function raises InvalidInput with one FieldError per faulty field.
    """
    known = shape.type_info(kind)
    assert isinstance(known, shape.StructType), "a body is a Struct"
    names = frozenset(field.encode_name for field in known.fields)
    nested = any(_holds_struct(field.type) for field in known.fields)
    convert = msgspec.convert

    def converted(value: Any) -> Any:
        try:
            made = convert(value, kind)
        except msgspec.ValidationError:
            raise _report(value, known) from None
        if not names.issuperset(value) or (nested and any(_strays(value, known, ""))):
            raise _report(value, known)
        return made

    return converted


def form_converter(kind: type[msgspec.Struct]) -> Callable[[dict[str, str]], Any]:
    """As `converter`, but fields that the type does not know are ignored (RFC 6749 section 3.2)."""
    known = shape.type_info(kind)
    assert isinstance(known, shape.StructType), "a form is a Struct"
    names = frozenset(field.encode_name for field in known.fields)
    convert = msgspec.convert

    def converted(fields: dict[str, str]) -> Any:
        if not names.issuperset(fields):
            fields = {name: value for name, value in fields.items() if name in names}
        try:
            return convert(fields, kind)
        except msgspec.ValidationError:
            raise _report(fields, known) from None

    return converted


def _report(value: Any, known: shape.StructType) -> InvalidInput:
    errors = list(_faults(value, known, ""))[:_MAX_ERRORS]
    return InvalidInput(*(errors or [FieldError(WHOLE, "invalid", "These values do not fit together.")]))


def _faults(value: Any, kind: shape.Type, path: str) -> Iterator[FieldError]:
    """Everything that is wrong with a value of this type, each with its path."""
    members = _members(kind)
    if value is None:
        if not any(isinstance(one, (shape.NoneType, shape.AnyType)) for one in members):
            yield FieldError(path or WHOLE, "null", "This may not be null.")
        return
    fitting = [one for one in members if _fits(value, one)]
    if not fitting:
        wanted = " or ".join(dict.fromkeys(_wanted(one) for one in members if not isinstance(one, shape.NoneType)))
        yield FieldError(path or WHOLE, "wrong_type", f"This must be {wanted or 'null'}.")
        return
    yield from _within(value, fitting[0], path)


def _within(value: Any, kind: shape.Type, path: str) -> Iterator[FieldError]:
    """What is wrong inside a value that is of the right JSON type."""
    if isinstance(kind, shape.StructType):
        yield from _in_struct(value, kind, path)
    elif isinstance(kind, shape.DictType):
        yield from _length(len(value), kind, path, "name", "names")
        for name, one in value.items():
            yield from _faults(one, kind.value_type, _join(path, name))
    elif isinstance(kind, (shape.ListType, shape.VarTupleType, shape.SetType, shape.FrozenSetType)):
        yield from _length(len(value), kind, path, "entry", "entries")
        for index, one in enumerate(value):
            yield from _faults(one, kind.item_type, _join(path, str(index)))
    else:
        yield from _in_scalar(value, kind, path)


def _in_scalar(value: Any, kind: shape.Type, path: str) -> Iterator[FieldError]:
    if isinstance(kind, shape.StrType):
        yield from _length(len(value), kind, path, "character", "characters")
        if kind.pattern is not None and not _converts(value, kind):
            yield FieldError(path, "pattern", "This is not of the expected form.")
    elif isinstance(kind, (shape.IntType, shape.FloatType)):
        yield from _range(value, kind, path)
    elif isinstance(kind, (shape.LiteralType, shape.EnumType)):
        if value not in _allowed(kind):
            yield FieldError(path, "not_allowed", f"This must be {_wanted(kind)}.")
    elif type(kind) in _PYTHON and not _converts(value, kind):
        yield FieldError(path, "invalid", f"This must be {_wanted(kind)}.")


def _in_struct(value: dict[str, Any], kind: shape.StructType, path: str) -> Iterator[FieldError]:
    fields = {field.encode_name: field for field in kind.fields}
    for name, field in fields.items():
        if name in value:
            yield from _faults(value[name], field.type, _join(path, name))
        elif field.required:
            yield FieldError(_join(path, name), "required", "This field is needed.")
    for name in value:
        if name not in fields:
            yield FieldError(_join(path, name), "unknown_field", "There is no field of this name here.")


def _strays(value: Any, kind: shape.Type, path: str) -> Iterator[FieldError]:
    """The unknown fields only; for a value that msgspec has accepted."""
    return (fault for fault in _faults(value, kind, path) if fault.code == "unknown_field")


def _holds_struct(kind: shape.Type) -> bool:
    for one in _members(kind):
        if isinstance(one, shape.StructType):
            return True
        inner = getattr(one, "item_type", None) or getattr(one, "value_type", None)
        if inner is not None and _holds_struct(inner):
            return True
    return False


def _members(kind: shape.Type) -> tuple[shape.Type, ...]:
    if isinstance(kind, shape.Metadata):
        return _members(kind.type)
    if isinstance(kind, shape.UnionType):
        return tuple(member for one in kind.types for member in _members(one))
    return (kind,)


# What JSON calls the types: the Python types that carry each, and its name in a sentence.
_TEXT = (
    shape.StrType,
    shape.DateTimeType,
    shape.DateType,
    shape.TimeType,
    shape.UUIDType,
    shape.BytesType,
)
_LISTS = (shape.ListType, shape.VarTupleType, shape.SetType, shape.FrozenSetType, shape.TupleType)


_PYTHON: dict[type[shape.Type], Any] = {
    shape.DateTimeType: datetime,
    shape.DateType: date,
    shape.TimeType: time,
    shape.UUIDType: UUID,
    shape.BytesType: bytes,
}


def _fits(value: Any, kind: shape.Type) -> bool:
    """Whether a value is of the JSON type that this wants, whatever its content."""
    if isinstance(kind, shape.AnyType):
        return True
    if isinstance(kind, shape.BoolType):
        return isinstance(value, bool)
    if isinstance(kind, (shape.LiteralType, shape.EnumType)):
        return any(type(value) is type(one) for one in _allowed(kind))
    if isinstance(kind, _TEXT):
        return isinstance(value, str)
    if isinstance(kind, shape.IntType):
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(kind, shape.FloatType):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(kind, _LISTS):
        return isinstance(value, list)
    if isinstance(kind, (shape.StructType, shape.DictType)):
        return isinstance(value, dict)
    return False


def _wanted(kind: shape.Type) -> str:
    if isinstance(kind, shape.BoolType):
        return "true or false"
    if isinstance(kind, shape.DateTimeType):
        return "a time such as 2026-01-31T12:00:00Z"
    if isinstance(kind, shape.UUIDType):
        return "a UUID"
    if isinstance(kind, shape.IntType):
        return "a whole number"
    if isinstance(kind, shape.FloatType):
        return "a number"
    if isinstance(kind, _LISTS):
        return "a list"
    if isinstance(kind, (shape.StructType, shape.DictType)):
        return "an object"
    if isinstance(kind, (shape.LiteralType, shape.EnumType)):
        return "one of: " + ", ".join(map(str, _allowed(kind)))
    return "text"


def _allowed(kind: shape.LiteralType | shape.EnumType) -> tuple[Any, ...]:
    if isinstance(kind, shape.LiteralType):
        return tuple(kind.values)
    return tuple(member.value for member in kind.cls)


def _converts(value: Any, kind: shape.Type) -> bool:
    """Whether msgspec itself takes the value; for what its type alone does not tell."""
    target: Any = _PYTHON.get(type(kind), str)
    if isinstance(kind, shape.StrType):
        target = Annotated[str, msgspec.Meta(pattern=kind.pattern)]
    try:
        msgspec.convert(value, target)
    except msgspec.ValidationError:
        return False
    return True


def _length(length: int, kind: Any, path: str, one: str, many: str) -> Iterator[FieldError]:
    if kind.min_length is not None and length < kind.min_length:
        unit = one if kind.min_length == 1 else many
        yield FieldError(path, "too_short", f"This must have at least {kind.min_length} {unit}.")
    if kind.max_length is not None and length > kind.max_length:
        unit = one if kind.max_length == 1 else many
        yield FieldError(path, "too_long", f"This may have at most {kind.max_length} {unit}.")


def _range(value: float, kind: shape.IntType | shape.FloatType, path: str) -> Iterator[FieldError]:
    if kind.ge is not None and value < kind.ge:
        yield FieldError(path, "out_of_range", f"This must be at least {kind.ge}.")
    if kind.gt is not None and value <= kind.gt:
        yield FieldError(path, "out_of_range", f"This must be more than {kind.gt}.")
    if kind.le is not None and value > kind.le:
        yield FieldError(path, "out_of_range", f"This may be at most {kind.le}.")
    if kind.lt is not None and value >= kind.lt:
        yield FieldError(path, "out_of_range", f"This must be less than {kind.lt}.")
    if kind.multiple_of is not None and value % kind.multiple_of:
        yield FieldError(path, "out_of_range", f"This must be a multiple of {kind.multiple_of}.")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name

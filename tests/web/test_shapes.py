"""From JSON to types: unknown fields at every level, and a plain sentence for every faulty field (H12)."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from msgspec import UNSET, Meta, UnsetType

from tests.web.asking import Asker, LogIn, Nested, dispatcher
from watchword.errors import InvalidInput
from watchword.web.shapes import converter


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Everything(msgspec.Struct):
    text: Annotated[str, Meta(min_length=2, max_length=4)] = "ab"
    one: Annotated[str, Meta(min_length=1)] = "a"
    form: Annotated[str, Meta(pattern="^[a-z]+$")] = "a"
    number: Annotated[int, Meta(ge=1, le=9)] = 1
    between: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    even: Annotated[int, Meta(multiple_of=2)] = 2
    flag: bool = True
    maybe: str | None = None
    left_out: Annotated[str, Meta(description="x")] | UnsetType = UNSET
    at: datetime | None = None
    id: UUID | None = None
    colour: Colour = Colour.RED
    kind: Literal["a", "b"] = "a"
    names: Annotated[list[str], Meta(max_length=2)] = []
    either: int | list[int] = 1
    renamed: Annotated[int, Meta(ge=1)] = msgspec.field(default=1, name="otherName")


TABLE: list[tuple[dict[str, Any], list[tuple[str, str, str]]]] = [
    ({"text": "a"}, [("text", "too_short", "This must have at least 2 characters.")]),
    ({"one": ""}, [("one", "too_short", "This must have at least 1 character.")]),
    ({"text": "abcde"}, [("text", "too_long", "This may have at most 4 characters.")]),
    ({"text": 5}, [("text", "wrong_type", "This must be text.")]),
    ({"text": ["a"]}, [("text", "wrong_type", "This must be text.")]),
    ({"text": None}, [("text", "null", "This may not be null.")]),
    ({"form": "A1"}, [("form", "pattern", "This is not of the expected form.")]),
    ({"number": 0}, [("number", "out_of_range", "This must be at least 1.")]),
    ({"number": 10}, [("number", "out_of_range", "This may be at most 9.")]),
    ({"number": "5"}, [("number", "wrong_type", "This must be a whole number.")]),
    ({"number": 1.5}, [("number", "wrong_type", "This must be a whole number.")]),
    ({"number": True}, [("number", "wrong_type", "This must be a whole number.")]),
    ({"between": 0}, [("between", "out_of_range", "This must be more than 0.")]),
    ({"between": 1}, [("between", "out_of_range", "This must be less than 1.")]),
    ({"between": "x"}, [("between", "wrong_type", "This must be a number.")]),
    ({"even": 3}, [("even", "out_of_range", "This must be a multiple of 2.")]),
    ({"flag": 1}, [("flag", "wrong_type", "This must be true or false.")]),
    ({"flag": "true"}, [("flag", "wrong_type", "This must be true or false.")]),
    ({"maybe": 1}, [("maybe", "wrong_type", "This must be text.")]),
    ({"left_out": 1}, [("left_out", "wrong_type", "This must be text.")]),
    ({"left_out": None}, [("left_out", "null", "This may not be null.")]),
    ({"at": "yesterday"}, [("at", "invalid", "This must be a time such as 2026-01-31T12:00:00Z.")]),
    ({"id": "x"}, [("id", "invalid", "This must be a UUID.")]),
    ({"colour": "green"}, [("colour", "not_allowed", "This must be one of: red, blue.")]),
    ({"kind": "c"}, [("kind", "not_allowed", "This must be one of: a, b.")]),
    ({"kind": 1}, [("kind", "wrong_type", "This must be one of: a, b.")]),
    ({"names": "a"}, [("names", "wrong_type", "This must be a list.")]),
    ({"names": ["a", 1]}, [("names.1", "wrong_type", "This must be text.")]),
    ({"names": ["a", "b", "c"]}, [("names", "too_long", "This may have at most 2 entries.")]),
    ({"either": "a"}, [("either", "wrong_type", "This must be a whole number or a list.")]),
    ({"otherName": 0}, [("otherName", "out_of_range", "This must be at least 1.")]),
    ({"renamed": 1}, [("renamed", "unknown_field", "There is no field of this name here.")]),
    ({"is_admin": True}, [("is_admin", "unknown_field", "There is no field of this name here.")]),
    (
        {"text": 1, "number": 0, "x": 1},
        [
            ("text", "wrong_type", "This must be text."),
            ("number", "out_of_range", "This must be at least 1."),
            ("x", "unknown_field", "There is no field of this name here."),
        ],
    ),
]


@pytest.mark.parametrize(("value", "errors"), TABLE, ids=[str(value) for value, _ in TABLE])
def test_each_faulty_field_is_told(value: dict[str, Any], errors: list[tuple[str, str, str]]) -> None:
    with pytest.raises(InvalidInput) as refused:
        converter(Everything)(value)
    assert [(one.field, one.code, one.message) for one in refused.value.errors] == errors


def test_what_fits_is_converted() -> None:
    made = converter(Everything)({"text": "abc", "otherName": 3, "at": "2026-01-31T12:00:00Z", "either": [1]})
    assert (made.text, made.renamed, made.at.year, made.either, made.left_out) == ("abc", 3, 2026, [1], UNSET)


def test_a_missing_field_is_required() -> None:
    with pytest.raises(InvalidInput) as refused:
        converter(LogIn)({"remember": None})
    assert [(one.field, one.code) for one in refused.value.errors] == [
        ("username", "required"),
        ("password", "required"),
        ("remember", "null"),
    ]


@pytest.mark.parametrize("value", [[], "text", 1, None, True])
def test_a_body_that_is_no_object(value: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        converter(LogIn)(value)
    assert [one.field for one in refused.value.errors] == ["body"]


def test_h12_unknown_fields_are_refused_at_every_level() -> None:
    """H12: the type says nothing about them, and they are refused all the same."""
    convert = converter(Nested)
    assert convert({"items": [{"name": "a"}], "extra": {"k": {"name": "b"}}}).extra["k"].name == "b"
    for value, field in (
        ({"items": [{"name": "a", "role": "admin"}]}, "items.0.role"),
        ({"items": [{"name": "a"}, {"name": "b", "role": "admin"}]}, "items.1.role"),
        ({"items": [], "extra": {"k": {"name": "b", "x": 1}}}, "extra.k.x"),
    ):
        with pytest.raises(InvalidInput) as refused:
            convert(value)
        assert [(one.field, one.code) for one in refused.value.errors] == [(field, "unknown_field")]


@pytest.mark.parametrize(
    "name", ["is_admin", "role", "roles", "scopes", "verified", "id", "created_at", "token_version"]
)
def test_h12_mass_assignment_is_422(name: str) -> None:
    ask: Asker = dispatcher()
    answer = ask.post("/register", {"username": "a", "password": "b", name: "admin"})
    assert (answer.status, answer.code) == (422, "invalid_input")
    assert [one["field"] for one in answer.json["errors"]] == [name]


def test_a_type_that_checks_itself_is_refused_as_a_whole() -> None:
    class Pair(msgspec.Struct):
        low: int
        high: int

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low > high in /srv/app")

    with pytest.raises(InvalidInput) as refused:
        converter(Pair)({"low": 2, "high": 1})
    assert [(one.field, one.code) for one in refused.value.errors] == [("body", "invalid")]
    assert "/srv" not in refused.value.errors[0].message


def test_messages_never_repeat_what_was_sent() -> None:
    with pytest.raises(InvalidInput) as refused:
        converter(Everything)({"text": "hunter2hunter2", "form": "hunter2", "kind": "hunter2", "at": "hunter2"})
    assert len(refused.value.errors) == 4
    assert not any("hunter2" in one.message for one in refused.value.errors)

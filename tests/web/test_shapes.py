"""From JSON to types: a plain sentence for every faulty field, unknown ones included (H12)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import UNSET, Meta, UnsetType

from tests.web.asking import Asker, LogIn, dispatcher
from watchword.errors import InvalidInput
from watchword.web.shapes import converter, form_converter


class Everything(msgspec.Struct):
    text: Annotated[str, Meta(description="x")] = "a"
    maybe: str | None = None
    left_out: Annotated[str, Meta(description="x")] | UnsetType = UNSET
    either: Annotated[str, Meta(description="x")] | UnsetType | None = UNSET
    renamed: str = msgspec.field(default="a", name="otherName")
    flag: Annotated[bool, Meta(description="x")] | UnsetType = UNSET
    some: list[str] | UnsetType = UNSET


TABLE: list[tuple[dict[str, Any], list[tuple[str, str, str]]]] = [
    ({"text": 5}, [("text", "wrong_type", "This must be text.")]),
    ({"text": True}, [("text", "wrong_type", "This must be text.")]),
    ({"text": ["a"]}, [("text", "wrong_type", "This must be text.")]),
    ({"text": {"a": "b"}}, [("text", "wrong_type", "This must be text.")]),
    ({"text": None}, [("text", "null", "This may not be null.")]),
    ({"maybe": 1}, [("maybe", "wrong_type", "This must be text.")]),
    ({"left_out": 1}, [("left_out", "wrong_type", "This must be text.")]),
    ({"left_out": None}, [("left_out", "null", "This may not be null.")]),
    ({"either": 1}, [("either", "wrong_type", "This must be text.")]),
    ({"otherName": 0}, [("otherName", "wrong_type", "This must be text.")]),
    ({"renamed": "a"}, [("renamed", "unknown_field", "There is no field of this name here.")]),
    ({"flag": "true"}, [("flag", "wrong_type", "This must be true or false.")]),
    ({"flag": 1}, [("flag", "wrong_type", "This must be true or false.")]),
    ({"flag": None}, [("flag", "null", "This may not be null.")]),
    ({"some": "a"}, [("some", "wrong_type", "This must be a list of texts.")]),
    (
        {"some": ["a", 1, None]},
        [("some.1", "wrong_type", "This must be text."), ("some.2", "wrong_type", "This must be text.")],
    ),
    ({"is_admin": True}, [("is_admin", "unknown_field", "There is no field of this name here.")]),
    (
        {"text": 1, "otherName": None, "x": 1},
        [
            ("text", "wrong_type", "This must be text."),
            ("otherName", "null", "This may not be null."),
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
    made = converter(Everything)({"text": "abc", "otherName": "d", "either": None})
    assert (made.text, made.renamed, made.either, made.left_out) == ("abc", "d", None, UNSET)


def test_a_form_ignores_what_it_does_not_know() -> None:
    """RFC 6749 section 3.2. What is missing is named all the same."""
    assert form_converter(Everything)({"text": "abc", "x": "1"}).text == "abc"
    with pytest.raises(InvalidInput) as refused:
        form_converter(LogIn)({"x": "1"})
    assert [one.field for one in refused.value.errors] == ["username", "password"]


def test_a_missing_field_is_required() -> None:
    with pytest.raises(InvalidInput) as refused:
        converter(LogIn)({"device": None})
    assert [(one.field, one.code) for one in refused.value.errors] == [
        ("username", "required"),
        ("password", "required"),
        ("device", "null"),
    ]


@pytest.mark.parametrize("value", [[], "text", 1, None, True])
def test_a_body_that_is_no_object(value: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        converter(LogIn)(value)
    assert [one.field for one in refused.value.errors] == ["body"]


@pytest.mark.parametrize("kind", [float, list[int], list[Any], dict[str, str], str | int, str | bool, LogIn, Any])
def test_a_body_with_a_field_that_is_neither_is_refused_when_the_route_is_made(kind: Any) -> None:
    body = msgspec.defstruct("Body", [("field", kind)])
    with pytest.raises(TypeError, match=r"Body\.field is not text"):
        converter(body)


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
        low: str
        high: str

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low > high in /srv/app")

    with pytest.raises(InvalidInput) as refused:
        converter(Pair)({"low": "2", "high": "1"})
    assert [(one.field, one.code) for one in refused.value.errors] == [("body", "invalid")]
    assert "/srv" not in refused.value.errors[0].message


def test_messages_never_repeat_what_was_sent() -> None:
    with pytest.raises(InvalidInput) as refused:
        converter(Everything)({"text": {"hunter2": "hunter2"}, "maybe": ["hunter2"], "x": "hunter2"})
    assert len(refused.value.errors) == 3
    assert not any("hunter2" in one.message for one in refused.value.errors)

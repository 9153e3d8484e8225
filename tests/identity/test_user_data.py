"""Names and metadata: what is kept, and what is refused before it reaches a database or a token."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.errors import InvalidInput
from watchword.identity.user_data import (
    DEEPEST,
    LARGEST,
    LONGEST_NAME,
    MOST_BYTES,
    checked_metadata,
    checked_name,
    metadata_of,
    read_metadata,
)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("  Ada Lovelace ", "Ada Lovelace"),
     ("Zoe\u0308", "Zo\u00eb"), ("李 小龍", "李 小龍"), ("O'Brien-Łuk", "O'Brien-Łuk"),
     ("क्\u200dष", "क्\u200dष"), ("A" * LONGEST_NAME, "A" * LONGEST_NAME), ("<b>&", "<b>&")],
)  # fmt: skip
def test_a_name_is_kept_as_people_write_it(typed: str, kept: str) -> None:
    """Composed, without blanks around; joiners of other scripts stay."""
    assert checked_name(typed) == kept


@pytest.mark.parametrize(
    "name",
    ["", "  ", "\u200b", "A" * (LONGEST_NAME + 1), "a\nb", "a\r\nBcc: x", "a\0b", "\x1b[31m", "a\u2028b", "\ud800",
     "moc.live\u202e", "\u2066x", "a\u200bb", "\u200d\u200c", "\u3164", "a\u00adb", "\u034f", "\ufe0f",
     "\U000e0041a", "A" * 10_000_000],
)  # fmt: skip
def test_a_name_that_could_be_more_than_a_name_is_refused(name: str) -> None:
    """It is shown in pages, logs of APIs and terminals."""
    with pytest.raises(InvalidInput) as caught:
        checked_name(name)
    assert caught.value.errors[0].field == "name"


def nested(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(levels - 1):
        made = {"a": made}
    return made


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([], "wrong_type"),
        ("{}", "wrong_type"),
        (None, "wrong_type"),
        (nested(DEEPEST + 1), "too_deep"),
        ({"a": [[[[[[1]]]]]]}, "too_deep"),
        ({"a": LARGEST + 1}, "number"),
        ({"a": [-LARGEST - 1]}, "number"),
        ({"a": float("nan")}, "number"),
        ({"a": float("-inf")}, "number"),
        ({"a": "\0"}, "characters"),
        ({"a": ["\ud800"]}, "characters"),
        ({"\ud800": 1}, "key"),
        ({"\0": 1}, "key"),
        ({"": 1}, "key"),
        ({"k" * 65: 1}, "key"),
        ({"a\nb": 1}, "key"),
        ({"__proto__": {"admin": True}}, "key"),
        ({"a": [{"constructor": {"prototype": {}}}]}, "key"),
        ({"a": b"x"}, "wrong_type"),
        ({"a": "x" * MOST_BYTES}, "too_large"),
    ],
)
def test_metadata_that_someone_could_not_read_back_is_refused(value: Any, code: str) -> None:
    """Depth, numbers, characters that PostgreSQL has no place for, names that JavaScript takes for its own, size."""
    with pytest.raises(InvalidInput) as caught:
        checked_metadata(value, "public_metadata")
    assert [error.code for error in caught.value.errors] == [code]


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"a":1,"a":2}', b'{"a":{"b":1,"b":1}}', b'{"a":NaN}', b'{"a":1e999}', b'{"a":"\\ud800"}',
     b'{"a":"\\u0000"}', b"\xef\xbb\xbf{}", b"\xff", b'{"a":9007199254740993}', b'{"a":' + b"[" * 100_000,
     b'{"a":' + b"1" * 5_000 + b"}", b"[" * 8_000, b'{"a":1} {"b":2}'],
)  # fmt: skip
def test_text_is_read_strictly(data: bytes) -> None:
    """As two readers could differ about it."""
    with pytest.raises(InvalidInput):
        metadata_of(data, "public_metadata")


def test_the_bounds_are_reached() -> None:
    """What is just allowed is kept."""
    for value in (nested(DEEPEST), {"a": LARGEST, "b": -LARGEST, "c": 1.5, "d": None, "e": [True]}, {"k" * 64: "ü€😀"}):
        assert read_metadata(checked_metadata(value, "public_metadata")) == value
    most = {"a": "x" * (MOST_BYTES - 8)}
    assert len(checked_metadata(most, "public_metadata")) == MOST_BYTES


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_VALUES = st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30)


@given(st.dictionaries(st.text(), _VALUES))
def test_what_is_kept_is_read_back_by_any_reader(value: dict[str, Any]) -> None:
    """Whatever it is: refused, or the same afterwards by two readers of JSON."""
    try:
        text = checked_metadata(value, "public_metadata")
    except InvalidInput:
        return
    assert json.loads(text) == read_metadata(text) == value
    assert metadata_of(text.encode(), "public_metadata") == text

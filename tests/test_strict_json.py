"""Strict JSON: the fast way and the long way accept and refuse the same."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword import strict_json

REFUSED = {
    "a name twice": b'{"a":1,"a":1}',
    "a name twice, escaped": b'{"a":1,"\\u0061":1}',
    "a name twice, deeper": b'{"x":[{"a":{"b":1,"b":2}}]}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":-Infinity}',
    "beyond a double": b'{"a":1e400}',
    "byte order mark": b'\xef\xbb\xbf{"a":1}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "invalid UTF-8": b'{"a":"\xff"}',
    "overlong UTF-8": b'{"a":"\xc0\x80"}',
    "surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "lone surrogate": b'{"a":"\\ud800"}',
    "lone surrogate as a name": b'{"\\udc00":1}',
    "control character": b'{"a":"\x01"}',
    "something after it": b'{"a":1}{}',
    "single quotes": b"{'a':1}",
    "trailing comma": b'{"a":1,}',
    "comment": b'{"a":1/**/}',
    "leading zero": b'{"a":01}',
    "nothing": b"",
    "too deep": b'{"a":' * 9 + b"1" + b"}" * 9,
    "far too deep": b"[" * 100_000,
    "unfinished": b'{"a":"',
    "very long number": b'{"a":' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("name", REFUSED)
def test_A4_refused(name: str) -> None:
    with pytest.raises(ValueError):
        strict_json.read(REFUSED[name], max_depth=8)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a":1}', {"a": 1}),
        (b' {\r\n\t"a" : [ ] } ', {"a": []}),
        (b'{"a":"[[[[[[[[[[{{{{{{{{{{"}', {"a": "[" * 10 + "{" * 10}),
        (b'{"a":"\\ud83d\\ude00\\u0041"}', {"a": "😀A"}),
        (b'{"a":1.5e3,"b":-0,"c":18446744073709551616}', {"a": 1500.0, "b": 0, "c": 2**64}),
        (b'{"a":' * 8 + b"1" + b"}" * 8, json.loads(b'{"a":' * 8 + b"1" + b"}" * 8)),
    ],
)
def test_accepted(data: bytes, value: Any) -> None:
    assert strict_json.read(data, max_depth=8) == value


def test_read_object_wants_an_object() -> None:
    for data in (b"[]", b"1", b'"a"', b"null"):
        with pytest.raises(ValueError):
            strict_json.read_object(data, max_depth=8)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_whatever_json_can_say_is_read_as_the_standard_library_reads_it(value: Any) -> None:
    for data in (json.dumps(value), json.dumps(value, ensure_ascii=False, separators=(",", ":"))):
        assert strict_json.read(data.encode(), max_depth=64) == json.loads(data)


@given(st.dictionaries(st.text(max_size=3), st.integers(), min_size=1, max_size=4), st.data())
def test_a_repeated_name_is_found_wherever_it_stands(members: dict[str, int], data: st.DataObject) -> None:
    pairs = [*members.items(), (data.draw(st.sampled_from(sorted(members))), 7)]
    pairs = data.draw(st.permutations(pairs))
    text = "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{value}" for name, value in pairs) + "}"
    with pytest.raises(ValueError):
        strict_json.read(text.encode(), max_depth=8)


def test_J7_an_unfinished_string_of_quotes_is_read_in_linear_time() -> None:
    data = b'["' + b'\\"' * 30_000
    started = time.perf_counter()
    with pytest.raises(ValueError):
        strict_json.read(data, max_depth=8)
    assert time.perf_counter() - started < 20


BOUNDS = strict_json.Bounds(names=2, letters=3, integer=9)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a":1,"b":1,"c":1}', "2 names"),
        (b'["abcd"]', "3 characters"),
        (b'{"abcd":1}', "3 characters"),
        (b"[10]", "too large"),
        (b"[-10]", "too large"),
        (b'["\\u0000"]', "NUL"),
        (b'["\\ud800"]', "surrogate"),
        (b"[[[1]]]", "2 levels"),
        (b'{"a":1,"a":1}', "twice"),
        (b'["\xff"]', "UTF-8"),
        (b"[NaN]", "NaN"),
        (b"[,]", "line 1, column 2"),
    ],
)
def test_J1_bounds_are_kept_and_the_message_says_which(data: bytes, said: str) -> None:
    with pytest.raises(strict_json.NotStrict, match=said):
        strict_json.read_bounded(data, max_depth=2, bounds=BOUNDS)


def test_what_is_within_the_bounds_is_read() -> None:
    data = b'{"abc":[-9,9,"\\u00e9bc"],"b":"[[[" }'
    assert strict_json.read_bounded(data, max_depth=2, bounds=BOUNDS) == {"abc": [-9, 9, "ébc"], "b": "[[["}

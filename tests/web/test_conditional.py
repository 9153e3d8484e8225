"""Which values of `If-None-Match` say that the client has the document (RFC 9110 section 13.1.2)."""

from __future__ import annotations

import pytest

from watchword.web.conditional import knows

TAG = b'"abc"'


@pytest.mark.parametrize(
    ("shown", "known"),
    [
        ((), False),
        ((b"",), False),
        ((TAG,), True),
        ((b'W/"abc"',), True),  # weak comparison
        ((b'"other", "abc"',), True),
        ((b'"other",W/"abc" ,"more"',), True),
        ((b'"other"', TAG), True),  # a list in two headers
        ((b"*",), True),
        ((b" * ",), True),
        ((b'"*"',), False),
        ((b'"other", *',), False),
        ((b'"abcd"',), False),
        ((b'"ab"', b'"c"'), False),
        ((b"abc",), False),
        ((b'"x,abc,y"',), False),
        ((b'"ABC"',), False),
        ((b'w/"other"',), False),
    ],
)
def test_whether_the_client_has_it(shown: tuple[bytes, ...], known: bool) -> None:
    """`*`, or a list with the tag in it, strong or weak."""
    assert knows(shown, TAG) is known

"""The Authorization header: what is a token, what is another scheme, and what is malformed."""

from __future__ import annotations

import re
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.authorization import LONGEST, likely_token, only, read_basic, read_bearer
from watchword.errors import Refused
from watchword.tokens.compact import MAX_TOKEN

# RFC 6750 section 2.1, written another way.
GOOD = re.compile(rb"(?i:bearer) ([A-Za-z0-9._~+/-]+=*)")
OURS = re.compile(rb"(?i:bearer)([ \t].*)?|[ \t]*(?i:bearer)[ \t]*", re.DOTALL)


@given(
    st.one_of(
        st.binary(max_size=60),
        st.binary(max_size=40).map(lambda tail: b"Bearer " + tail),
        st.from_regex(rb"[Bb]earer [A-Za-z0-9._~+/=-]{0,20}\n?", fullmatch=True),
    )
)
def test_c1_a_header_is_a_token_another_scheme_or_malformed(value: bytes) -> None:
    """Bytes and text are read alike."""
    for shape in (value, value.decode("latin-1")):
        if OURS.fullmatch(value) and not GOOD.fullmatch(value):
            with pytest.raises(Refused) as refused:
                read_bearer(shape)
            assert refused.value.code == "authorization_malformed"
        else:
            good = GOOD.fullmatch(value)
            assert read_bearer(shape) == (good[1].decode() if good else None)


def test_a_cut_header_is_never_a_token() -> None:
    """What is cut off is longer than the verifier takes."""
    assert MAX_TOKEN + len("Bearer ") < LONGEST
    assert len(likely_token("Bearer " + "a" * 100_000) or "") > MAX_TOKEN


def test_the_header_stands_once() -> None:
    assert only([]) is None
    assert only([b"x"]) == b"x"
    with pytest.raises(Refused) as twice:
        only([b"x", b"x"])
    assert twice.value.code == "invalid_request"


def basic(pair: bytes) -> str:
    return "Basic " + b64encode(pair).decode()


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_basic_is_a_name_and_a_password(scheme: str) -> None:
    assert read_basic(basic(b"api:a:b").replace("Basic", scheme)) == ("api", "a:b")
    assert read_basic(basic(b":")) == ("", "")
    assert read_basic("Bearer abc") is None


@pytest.mark.parametrize("value", ["Basic", "Basic !", "Basic YQ", basic(b"a"), basic(b"\xff:x"), "Basic YTpi é"])
def test_basic_that_cannot_be_read_is_refused(value: str) -> None:
    with pytest.raises(Refused) as refused:
        read_basic(value)
    assert refused.value.code == "invalid_client"

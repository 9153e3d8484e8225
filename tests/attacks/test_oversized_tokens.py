"""Tokens made to be expensive: golang-jwt CVE-2025-30204, go-jose CVE-2025-27144, joserfc CVE-2026-119284, CWE-770."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from tests.attacks.forging import claims, forge, header, honest, key, refuse, verifier
from watchword.errors import TokenError
from watchword.tokens import sign_access, sign_compact, verify_compact
from watchword.tokens.compact import MAX_HEADER, MAX_TOKEN

HUGE = {
    "64 KiB": "A" * 65_536,
    "10 MiB": "A" * 10_485_760,
    "a million dots": "." * 1_000_000,
    "10 MiB that begin well": honest() + "A" * 10_485_760,
    "10 MiB beyond ASCII": "é" * 10_485_760,
}


@pytest.mark.parametrize("name", HUGE)
def test_A2_is_refused_at_once_and_costs_no_memory(name: str) -> None:
    chosen = verifier()
    chosen.verify(honest(), now=1_800_000_000)
    best = 1.0
    for _ in range(5):
        token = (HUGE[name] + "x")[:-1]  # a new string each time: an old one remembers its hash
        started = time.perf_counter()
        with pytest.raises(TokenError) as caught:
            chosen.verify(token, now=0)
        with pytest.raises(TokenError) as other:
            verify_compact(token, key().verification_key)
        assert caught.value.code == other.value.code == "token_malformed"
        best = min(best, time.perf_counter() - started)
    assert best < 0.5
    tracemalloc.start()
    refuse(token, "token_malformed", chosen)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_A2_the_caps_are_exact() -> None:
    """One token at each cap, one beyond it, both well signed."""
    fixed = len(forge(header(), claims(x="")))
    filler = "a" * ((MAX_TOKEN - fixed) // 4 * 3 - 3)
    while len(forge(header(), claims(x=filler + "a"))) <= MAX_TOKEN:
        filler += "a"
    assert verifier().verify(forge(header(), claims(x=filler)), now=1_800_000_000).extra["x"] == filler
    refuse(forge(header(), claims(x=filler + "aaa")), "token_malformed")

    def with_header(length: int) -> str:
        return forge(header(z="z" * (length * 3 // 4 - len(forge(header(z=""), "").split(".")[0]) * 3 // 4)), claims())

    sized = {
        len(with_header(length).split(".")[0]): with_header(length) for length in range(MAX_HEADER - 6, MAX_HEADER + 9)
    }
    for length, token in sized.items():
        if length <= MAX_HEADER:
            assert verifier().verify(token, now=1_800_000_000)
        else:
            refuse(token, "token_malformed")
    assert min(sized) <= MAX_HEADER < max(sized)


def test_A2_we_never_issue_what_we_would_refuse() -> None:
    with pytest.raises(ValueError, match="limit"):
        sign_access(claims(x="x" * MAX_TOKEN), key())
    with pytest.raises(ValueError, match="header"):
        sign_compact(b"", key(), header={"x": "x" * MAX_HEADER})

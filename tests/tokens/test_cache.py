"""The cache is bounded, keeps what is used, and survives threads."""

from __future__ import annotations

import threading

import pytest

from tests.attacks.forging import NOW, accept, honest, verifier
from watchword.tokens import Verifier
from watchword.tokens.cache import TokenCache


def test_it_never_holds_more_than_its_size() -> None:
    cache: TokenCache[int] = TokenCache(100)
    for number in range(1000):
        cache.put(str(number), number)
        assert len(cache) <= 100
    assert cache.young.get("999") == 999
    assert cache.find_old("1") is None


def test_what_is_used_stays() -> None:
    cache: TokenCache[int] = TokenCache(100)
    cache.put("used", 0)
    for number in range(1000):
        cache.put(str(number), number)
        assert (cache.young.get("used") is not None) or cache.find_old("used") == 0


def test_size_0_remembers_nothing_and_a_negative_one_is_refused() -> None:
    base = verifier()
    chosen = Verifier(base.policy, base.key_set, cache_size=0)
    assert accept(honest(), chosen) is not accept(honest(), chosen)
    with pytest.raises(ValueError, match="negative"):
        TokenCache(-1)


def test_threads_share_it_and_it_stays_bounded() -> None:
    base = verifier()
    chosen = Verifier(base.policy, base.key_set, cache_size=20)
    tokens = [honest(jti=f"token-{number}") for number in range(60)]
    wrong: list[str] = []

    def work(offset: int) -> None:
        for step in range(600):
            number = (step * 7 + offset) % 60
            if chosen.verify(tokens[number], now=NOW).jti != f"token-{number}":
                wrong.append(tokens[number])

    threads = [threading.Thread(target=work, args=(offset * 13,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(chosen._cache) <= 20 + 4

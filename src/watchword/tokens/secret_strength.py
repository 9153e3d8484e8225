"""How hard a written secret is to guess: bits, by the cheapest way to put it together. Not for passwords.

An estimate that errs downwards where it matters (words of tutorials, runs, repetitions) and never near what is random:
the shortest random form in use, 32 hexadecimal digits, stays above 100 bits, and `ENOUGH_BITS` is 80.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import pairwise
from math import log2
from typing import Final

ENOUGH_BITS: Final = 80
MAX_CHECKED: Final = 512  # bytes: what is guessable for so long is guessable

# Bits for one piece. Short words are found in random text too, so they save little; and runs of digits in random
# digits, where each key has neighbours in several rows, so each further step of a run costs a bit.
_LONG_WORD, _SHORT_WORD, _LONG_FROM = 2.0, 4.0, 4
_NUMBER = 8.0  # a year or the like: random digits hold some
_RUN, _LONGER_RUN, _REPEAT = 8.0, 1.0, 8.0
_SHORTEST_RUN, _SHORTEST_REPEAT = 3, 4
_SYMBOL, _SYMBOL_AGAIN = 5.0, 0.0  # the second dash is as good as known

_KEYS = (
    "01234567890 0123456789abcdef0 abcdefghijklmnopqrstuvwxyzabc qwertyuiopasdfghjklzxcvbnm qwertzuiop azertyuiop "
    "yxcvbnm wxcvbn 1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p qazwsxedcrfvtgbyhnujmikolp 1q2w3e4r5t6y7u8i9o0p "
    "a1b2c3d4e5f6g7h8i9j0 789456123 147258369 13579 02468 qweasdzxc"
)
_ROWS: Final = f"{_KEYS} {_KEYS[::-1]}"
_LONGEST_RUN: Final = 64

_FEWEST_BYTES = 16
# The steps of letters two places apart in what one popular web page hands out as "random" 256-bit keys: its two
# interleaved rows both climb through the alphabet. Two random letters are so far apart in 4 of 26 cases.
_CLIMBING, _FEWEST_CLIMBS = frozenset({2, 3, 4, 5}), 16


def guessing_bits(text: str, words: frozenset[str]) -> float:
    """The least bits that describe the text: known words, runs along an alphabet or a keyboard, repetitions, the rest.

    :param words: known words, in small letters and digits.
    """
    text = text.lower()[:MAX_CHECKED]
    plain = "".join(char for char in text if char.isalnum())
    symbols = [char for char in text if not char.isalnum() and not char.isspace()]
    kinds = len(set(symbols))
    return _pieces(plain, words) + kinds * _SYMBOL + (len(symbols) - kinds) * _SYMBOL_AGAIN


def is_progression(raw: bytes) -> bool:
    """Whether most bytes follow from the one before by the same step: 00 01 02 …, 00 11 22 …, ff fe fd …"""
    if len(raw) < _FEWEST_BYTES:
        return False
    steps = Counter((after - before) % 256 for before, after in pairwise(raw))
    return steps.most_common(1)[0][1] * 3 >= (len(raw) - 1) * 2


def is_climbing(text: str) -> bool:
    """Whether the text comes from a generator whose letters climb through the alphabet in two interleaved rows."""
    letters = [ord(char) - ord("a") if char.isalpha() and char.isascii() else None for char in text.lower()]
    steps = [
        (after - before) % 26
        for before, after in zip(letters, letters[2:], strict=False)
        if before is not None and after is not None
    ]
    climbs = sum(step in _CLIMBING for step in steps)
    return climbs >= _FEWEST_CLIMBS and climbs * 10 >= len(steps) * 9


def _pieces(text: str, words: frozenset[str]) -> float:
    """The cheapest way from the beginning of the text to its end, piece by piece."""
    single = _bits_of_a_character(text)
    known = _by_beginning(words)
    cost = [0.0] + [float("inf")] * len(text)
    for start in range(len(text)):
        reachable = [(start + 1, single)]
        reachable += [
            (start + len(word), _bits_of_a_word(word))
            for word in known.get(text[start : start + 2], ())
            if text.startswith(word, start)
        ]
        reachable += [
            (end, _RUN + (end - start - _SHORTEST_RUN) * _LONGER_RUN)
            for end in range(start + _SHORTEST_RUN, _end_of_run(text, start) + 1)
        ]
        reachable += [(end, _REPEAT) for end in range(start + _SHORTEST_REPEAT, _end_of_repeat(text, start) + 1)]
        for end, bits in reachable:
            cost[end] = min(cost[end], cost[start] + bits)
    return cost[-1]


@cache
def _by_beginning(words: frozenset[str]) -> dict[str, list[str]]:
    """Words by their first two characters. A single one is no word: it costs what any character costs."""
    found: dict[str, list[str]] = {}
    for word in words:
        if len(word) > 1:
            found.setdefault(word[:2], []).append(word)
    return found


def _bits_of_a_word(word: str) -> float:
    if word.isdecimal():
        return _NUMBER
    return _LONG_WORD if len(word) >= _LONG_FROM else _SHORT_WORD


def _bits_of_a_character(text: str) -> float:
    used = set(text)
    return log2(10 if used <= set("0123456789") else 16 if used <= set("0123456789abcdef") else 36)


def _end_of_run(text: str, start: int) -> int:
    """Where a run along a row that begins here ends; a key may be pressed several times."""
    run, end = text[start], start + 1
    while end < len(text) and end - start < _LONGEST_RUN:
        longer = run if text[end] == run[-1] else run + text[end]
        if longer not in _ROWS and len(longer) > 1:
            break
        run, end = longer, end + 1
    return end


def _end_of_repeat(text: str, start: int) -> int:
    """Where what begins here and was there before ends."""
    end = start + _SHORTEST_REPEAT
    if text[start:end] not in text[:start] or end > len(text):
        return start
    while end < len(text) and text[start : end + 1] in text[:start]:
        end += 1
    return end

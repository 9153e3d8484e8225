"""Which passwords may be set: length, the list, patterns, names (D4, D5)."""

from __future__ import annotations

from time import perf_counter

import pytest

from watchword.identity.password_policy import faults


def codes(
    password: str, *, policy: str = "default", hash_kind: str = "argon2id", names: tuple[str, ...] = ()
) -> list[str]:
    return [
        fault.code for fault in faults(password, identifiers=names, policy=policy, hash_kind=hash_kind)
    ]  # fmt: skip


@pytest.mark.parametrize("password", [
    "plum-orbit-canvas", "    x   y z", "correct horse battery staple",
    "naïve café très", "😀🐘🚲🌵🍋🎻🧲🪁", "tail\0nul!x",
    "Zk7!pQ2v", "x7Qw9Lm2" * 2 + "z", "\t\ttab\ttab\n", "päßwörtlich", "密码很难猜对不对呀", "a1b7c3d4x5",
])  # fmt: skip
def test_D4_any_character_will_do(password: str) -> None:
    """No rules about kinds of characters: spaces, emoji, NUL and any script count as characters."""
    assert codes(password) == []


@pytest.mark.parametrize(("policy", "least"), [("default", 8), ("nist", 15)])
def test_D4_the_least_length_counts_characters_not_bytes(policy: str, least: int) -> None:
    """Emoji and umlauts are one each, a decomposed letter is one, too."""
    words = "qwzjxkvbpygfmclu"
    assert codes(words[:least], policy=policy) == []
    assert codes(words[: least - 1], policy=policy) == ["too_short"]
    emoji = "😀🐘🚲🌵🍋🎻🧲🪁🚀🎈🎨🏔🐙🦊🍀"
    assert codes(emoji[:least], policy=policy) == []
    assert codes(emoji[: least - 1], policy=policy) == ["too_short"]
    assert codes("e\u0301" + words[: least - 2], policy=policy) == ["too_short"]


@pytest.mark.parametrize(("hash_kind", "most"), [("argon2id", 1024), ("bcrypt", 72)])
def test_D4_the_greatest_length_counts_bytes_and_nothing_is_cut(hash_kind: str, most: int) -> None:
    """Refused, never truncated; after normalisation, since that is what is hashed."""
    long = ("plum-orbit-canvas-" * 60)[: most - 2] + "!?"
    assert codes(long, hash_kind=hash_kind) == []
    assert codes(long + "x", hash_kind=hash_kind) == ["too_long"]
    umlauts = ("äöüß-plum" * 90).encode()[:most].decode(errors="ignore")
    assert codes(umlauts, hash_kind=hash_kind) == []
    assert codes(umlauts + "äö", hash_kind=hash_kind) == ["too_long"]
    assert codes("\ufdfa" * 32, hash_kind="bcrypt") == ["too_long"]


@pytest.mark.parametrize("password", [
    "password", "PASSWORD", "Password1", "12345678", "iloveyou", "ｐａｓｓｗｏｒｄ",
    "qwertyuiop", "sunshine1", "letmein1",
])  # fmt: skip
def test_D5_what_attackers_try_first_is_refused(password: str) -> None:
    """In any case and width."""
    assert codes(password) == ["too_common"]


@pytest.mark.parametrize("password", [
    "aaaaaaaa", "abababab", "abcabcabc", "abcabcab", "12121212", "passwordpassword", "passwordpasswordpass", "abcdabcd",
    "1234512345", "😀😀😀😀😀😀😀😀", "a" * 1000,
])  # fmt: skip
def test_D5_repetition_is_refused(password: str) -> None:
    """One piece again and again, also when the last one is cut short."""
    assert codes(password) == ["too_common"]


@pytest.mark.parametrize("password", [
    "abcdefgh", "hgfedcba", "23456789", "98765432", "wxyzabcd", "qwertyui", "poiuytrewq", "asdfghjkl", "1qaz2wsx",
    "ABCDEFGH", "defghijklmnopqrs", "012345678901234",
])  # fmt: skip
def test_D5_sequences_are_refused(password: str) -> None:
    """Alphabet, digits and keyboard, forwards and backwards."""
    assert codes(password) == ["too_common"]


@pytest.mark.parametrize("password", [
    "password1234567", "!!!!Password2024!", "123123123123123", "abcabcabcabcabc",
    "passwordpassword1", "qwertyuiop12345",
    "123456789012345", "iloveyou-2024-!!", "aaaaaaaaaaaaaab",
])  # fmt: skip
def test_D5_the_nist_profile_sees_through_what_makes_a_common_password_long(password: str) -> None:
    """Hardly any listed password has fifteen characters, so decorated and repeated ones are looked through."""
    assert codes(password, policy="nist") == ["too_common"]


def test_the_nist_profile_accepts_a_phrase() -> None:
    """What it asks for is length."""
    assert codes("plum-orbit-canvas", policy="nist") == []
    assert codes("correct horse 1", policy="nist") == []


@pytest.mark.parametrize(("password", "names"), [
    ("alexandra", ("alexandra",)), ("ALEXANDRA", ("alexandra",)), ("xx-Alexandra-xx", ("alexandra",)),
    ("alexandra@example.org", ("a", "alexandra@example.org")), ("alexandra", ("alexandra@example.org",)),
    ("my alexandra@example.org!", ("alexandra@example.org",)), ("ａｌｅｘａｎｄｒａ７x", ("alexandra",)),
    ("bob-12-bob-12x", ("bob",)),
])  # fmt: skip
def test_D5_the_own_name_is_no_password(password: str, names: tuple[str, ...]) -> None:
    """Neither the username nor the address, whole or inside, in any case or width; nor what stands before the at."""
    assert "contains_identifier" in codes(password, names=names)


def test_D5_a_name_of_two_letters_is_inside_many_passwords() -> None:
    """It gives nothing away, so only a password equal to it would count."""
    assert codes("plum-orbit-canvas", names=("or",)) == []
    assert codes("plum-orbit-canvas", names=("orb",)) == ["contains_identifier"]


def test_every_fault_is_told() -> None:
    """Short, common and the name at once, each with the field that was asked for."""
    found = faults("kay", identifiers=("kay",), policy="default", hash_kind="argon2id", field="new_password")
    assert [(fault.field, fault.code) for fault in found] == [
        ("new_password", "too_short"), ("new_password", "contains_identifier"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "a" * 100_000, "ab" * 50_000, "\ufdfa" * 4096, "a" * 50_000 + "bc" + "a" * 50_000]
)
def test_J1_a_hostile_password_costs_nothing(text: str) -> None:
    """The rules run on the event loop, so what is far too long is not read: quadratic work on it would take minutes."""
    started = perf_counter()
    assert codes(text, policy="nist") != []
    assert perf_counter() - started < 10

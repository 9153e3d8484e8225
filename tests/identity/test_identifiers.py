"""Usernames and addresses: two people never share a key, and one person needs to remember no spelling (H7, H9)."""

from __future__ import annotations

import re
import unicodedata
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.errors import InvalidInput
from watchword.identity import identifiers
from watchword.identity.identifiers import email, typed, username


@pytest.mark.parametrize(("text", "shown", "key"), [
    ("alice@example.org", "alice@example.org", "alice@example.org"),
    ("Alice.B+news@Example.ORG", "Alice.B+news@example.org", "alice.b+news@example.org"),
    ("user＠example.com", "user@example.com", "user@example.com"),
    ("user﹫example.com", "user@example.com", "user@example.com"),
    ("ｕｓｅｒ@example.com", "user@example.com", "user@example.com"),
    ("mi\u212ae@example.org", "miKe@example.org", "mike@example.org"),
    ("je\u017fu@example.org", "jesu@example.org", "jesu@example.org"),
    ("a@bücher.example", "a@bücher.example", "a@xn--bcher-kva.example"),
    ("a@BÜCHER.example", "a@bücher.example", "a@xn--bcher-kva.example"),
    ("a@bu\u0308cher.example", "a@bücher.example", "a@xn--bcher-kva.example"),
    ("a@xn--bcher-kva.example", "a@bücher.example", "a@xn--bcher-kva.example"),
    ("o'neil@example.org", "o'neil@example.org", "o'neil@example.org"),
    (" a@example.org", "a@example.org", "a@example.org"),
    ("a@example.org ", "a@example.org", "a@example.org"),
    ("\u00a0a@example.org\u3000\t\n\u200b", "a@example.org", "a@example.org"),
])  # fmt: skip
def test_H7_an_address_is_normalised_before_it_is_checked(text: str, shown: str, key: str) -> None:
    """Full-width at sign, Kelvin sign, long s and international domains lead to one key; dots and plus signs stay."""
    found = email(text)
    assert (found.kind, found.text, found.key) == ("email", shown, key)
    assert typed(text).key == key


@pytest.mark.parametrize("text", [
    "", "@", "a@", "@example.org", "a", "a@b@c.org", "a@example.org,b@example.org", "a@example.org;b@example.org",
    "a@example.org b@example.org", "a@exam＠ple.org", '"a b"@example.org', '"a"@example.org', "a b@example.org",
    "Alice <a@example.org>", "a@exam\nple.org", "a@example.org\r\nBcc: x@y.org",
    "a\x00@example.org", "a@example\x00.org",
    "a@ example.org", "a @example.org", "a@[127.0.0.1]", "a@[IPv6:::1]", ".a@example.org", "a.@example.org",
    "a..b@example.org", "a@-example.org", "a@example..org", "a@example.org.",
    "(comment)a@example.org", "a@exa_mple.org",
    "ü@example.org", "\u0131@example.org", "a@\u202eexample.org", "a\u200b@example.org",
    "a@ex\u200bample.org", "a\\@example.org",
    "a@" + "b" * 64 + ".org", "a@" + ".".join(["b" * 60] * 5) + ".org", "a\t@example.org",
    "a@\u2100example.org", "a@exam\u2024\u2024ple.org",
])  # fmt: skip
def test_H7_what_is_not_one_plain_address_is_refused(text: str) -> None:
    """Two at signs, quotes, lists, comments, control and invisible characters, letters that lower-case into others."""
    with pytest.raises(InvalidInput) as caught:
        email(text)
    assert [(error.field, error.code) for error in caught.value.errors] == [("email", "email")]


def test_H7_the_length_is_that_of_rfc_5321() -> None:
    """254 characters are one address, 255 are none."""
    domain = ".".join(["d" * 61, "e" * 61, "f" * 61, "org"])
    longest = "a" * (254 - len(domain) - 1) + "@" + domain
    assert len(longest) == 254
    assert email(longest).key == longest
    with pytest.raises(InvalidInput):
        email("a" + longest)


def test_J7_a_hostile_address_costs_nothing() -> None:
    """A hundred kilobytes of `a@a.a.a…` are refused; quadratic work on it would take minutes."""
    for text in ("a@" + "a." * 50_000, "a" * 100_000 + "@", "@" * 100_000, "a@" + "-" * 100_000, "\u0301" * 100_000):
        started = perf_counter()
        typed(text)
        assert perf_counter() - started < 10


@pytest.mark.parametrize(("text", "key"), [
    ("alice", "alice"), ("Alice", "alice"), ("ａｌｉｃｅ", "alice"), ("Straße", "strasse"), ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
    ("jose\u0301", "jos\u00e9"), ("mi\u212ae", "mike"), ("a.b_c-d", "a.b_c-d"), ("0", "0"), ("x" * 64, "x" * 64),
    ("İstanbul", "i\u0307stanbul"), ("佐々木", "佐々木"), ("たろうタロー太郎", "たろうタロー太郎"),
    ("김철수", "김철수"),
    ("علی۱۲", "علی۱۲"), ("नमस्ते", "नमस्ते"), ("аня", "аня"), ("аня7", "аня7"),
])  # fmt: skip
def test_H9_a_username_is_found_however_it_is_written(text: str, key: str) -> None:
    """NFKC and case folding (RFC 8265); letters of any one script, with ASCII digits or its own."""
    assert username(text).key == key
    assert typed(text) == username(text)
    assert username(key).key == key


@pytest.mark.parametrize(("text", "code"), [
    ("", "length"), ("x" * 65, "length"), ("\ufdfa" * 4, "length"),
    ("a@b", "characters"), ("a＠b", "characters"), ("a﹫b", "characters"), ("a b", "characters"),
    ("a\nb", "characters"), ("a\x00", "characters"), ("a/b", "characters"),
    ("a\\b", "characters"), ("a:b", "characters"),
    ("a,b", "characters"), ("a'b", "characters"), ('a"b', "characters"),
    ("<a>", "characters"), ("a\u200bb", "characters"),
    ("a\u200db", "characters"), ("a\u202eb", "characters"), ("a\u2066b", "characters"), ("a\ufeffb", "characters"),
    ("a\u00adb", "characters"), ("a\u034fb", "characters"), ("\u3164", "characters"), ("\uffa0", "characters"),
    ("\u115f\u1160", "characters"), ("a\ufe0f", "characters"), ("a\U000e0100", "characters"), ("\u180b", "characters"),
    ("a\u2800", "characters"), ("😀", "characters"), ("a\ue000", "characters"), ("a\ud800", "characters"),
    ("аlice", "mixed_scripts"), ("alicе", "mixed_scripts"), ("pаypal", "mixed_scripts"), ("αlice", "mixed_scripts"),
    ("alice\u0660", "mixed_scripts"), ("a\u06f1", "mixed_scripts"), ("太郎a", "mixed_scripts"),
    ("たろう김", "mixed_scripts"),
    ("01a1f7a0-ad3d-72f2-aa04-709828f888db", "reserved"), ("01A1F7A0-AD3D-72F2-AA04-709828F888DB", "reserved"),
    ("０１a1f7a0-ad3d-72f2-aa04-709828f888db", "reserved"), ("01a1f7a0ad3d72f2aa04709828f888db", "reserved"),
    ("me", "reserved"), ("ME", "reserved"), ("ｍｅ", "reserved"), ("Null", "reserved"), ("watchword", "reserved"),
])  # fmt: skip
def test_H9_a_username_that_could_pass_for_another_is_refused(text: str, code: str) -> None:
    """No at sign, nothing invisible or bidirectional, no two scripts (a Cyrillic a, an Arabic zero that looks like a
    full stop), no reserved word in any spelling."""
    with pytest.raises(InvalidInput) as caught:
        username(text)
    assert [(error.field, error.code) for error in caught.value.errors] == [("username", code)]


@pytest.mark.parametrize("text", ["", "\x00", "a\u202eb", "a@\u0000b", "x" * 5000])
def test_what_can_be_neither_is_found_by_nobody(text: str) -> None:
    """Typing it is a failed log-in like any other: no exception, and a key that no identifier can have."""
    found = typed(text)
    assert found.key.startswith("\x1f")
    assert found.kind == ("email" if "@" in unicodedata.normalize("NFKC", text) else "username")


@pytest.mark.parametrize("text", ["a@b@c", "a b", "@", "＠", "'; DROP TABLE ww_users;--"])
def test_what_only_another_system_allowed_cannot_be_registered(text: str) -> None:
    """It has a key, for a user who was imported with it."""
    assert not typed(text).key.startswith("\x1f")
    for refuses in (username, email):
        with pytest.raises(InvalidInput):
            refuses(text)


@given(st.text(max_size=80))
def test_whatever_is_typed_has_a_stable_key(text: str) -> None:
    """What is kept can be typed again and leads to the same key; a username never has the look of an address."""
    found = typed(text)
    if found.key.startswith("\x1f"):
        return
    assert typed(found.text) == found
    assert typed(found.key).key == found.key
    assert ("@" in found.key) is (found.kind == "email")
    assert typed(unicodedata.normalize("NFD", text)).key == found.key


@given(st.text(alphabet=st.characters(categories=["L", "M", "N"]), min_size=1, max_size=12))
def test_usernames_with_one_key_differ_in_case_and_width_only(text: str) -> None:
    """Folding never makes one key of two words that NFKC and case folding keep apart."""
    try:
        found = username(text)
    except InvalidInput:
        return
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    assert found.key == folded


@pytest.mark.parametrize(
    "domain", ["x.local", "LOCALHOST", "mail.internal", "nas.lan", "x.test", "host", "a.home.arpa"]
)
def test_a_closed_networks_address_is_accepted_where_the_operator_says_so(domain: str) -> None:
    """Refused by default, with the setting's name; accepted with it, and found at log-in whatever the setting is."""
    with pytest.raises(InvalidInput) as caught:
        email(f"Ada@{domain}")
    assert [error.code for error in caught.value.errors] == ["private_domain"]
    assert "WATCHWORD_PRIVATE_EMAIL" in caught.value.errors[0].message
    found = email(f"Ada@{domain}", private=True)
    assert (found.text, found.key) == (f"Ada@{domain.lower()}", f"ada@{domain.lower()}")
    assert typed(f"ada@{domain}").key == found.key


@pytest.mark.parametrize(
    "text", ["a@-x.local", "a b@x.local", "a@x..local", "a@.local", "a@[127.0.0.1]", "a@" + "b" * 64]
)
def test_what_is_no_address_is_none_in_a_closed_network_either(text: str) -> None:
    """The setting opens domains, not the rules of addresses."""
    with pytest.raises(InvalidInput):
        email(text, private=True)


@pytest.mark.parametrize("around", [" {}", "{} ", "\t{}\r\n", "\u00a0{}\u3000", "\ufeff{}", "{}\u200b", "\u2028{}"])
@pytest.mark.parametrize("name", ["ada", "ada@example.org"])
def test_what_nobody_sees_at_the_ends_is_left_out_wherever_a_name_is_typed(name: str, around: str) -> None:
    """Copied with a space, it is the same name when it is registered and when it is used to log in."""
    made = email(name) if "@" in name else username(name)
    again = email(around.format(name)) if "@" in name else username(around.format(name))
    assert again == made
    assert typed(around.format(name)) == made


def test_a_name_that_may_no_longer_be_chosen_is_still_found() -> None:
    """There may be somebody of that name from before."""
    assert typed("01a1f7a0-ad3d-72f2-aa04-709828f888db").key == "01a1f7a0-ad3d-72f2-aa04-709828f888db"
    assert typed("me").key == "me"


# --- Ordinary addresses, and names of other systems ----------------------------------------------------------------

_LOCAL = st.from_regex(r"[A-Za-z0-9_+.-]{1,70}", fullmatch=True)
_DOMAIN = st.from_regex(r"(?:[A-Za-z0-9-]{1,45}\.){1,5}[A-Za-z0-9]{1,22}", fullmatch=True)


@given(_LOCAL, _DOMAIN)
def test_an_ordinary_address_is_read_as_the_library_reads_it(local: str, domain: str) -> None:
    """The quick way never accepts what the library refuses, and never reads anything otherwise."""
    text = f"{local}@{domain}"
    quick, identifiers._ORDINARY = identifiers._ORDINARY, re.compile("(?!)")
    try:
        slow = _read(text)
    finally:
        identifiers._ORDINARY = quick
    assert _read(text) == slow


def _read(text: str) -> identifiers.Identifier | None:
    try:
        return identifiers.email(text)
    except InvalidInput:
        return None


def test_the_quick_way_is_taken() -> None:
    """Else the comparison above compares nothing."""
    for text in ("ada@example.org", "Ada.Lovelace+x@Mail.Example.co.uk", "a_b-c@x-y.example.com"):
        assert identifiers._ORDINARY.fullmatch(text)
    for text in ("a@xn--bcher-kva.example.org", "a..b@example.org", "a@b", ".a@example.org", "a@-b.example.org"):
        assert not identifiers._ORDINARY.fullmatch(text)


@pytest.mark.parametrize("text", [
    "mary jane", "ada+old", "ada@work", "ada@example.org", "admin", "me", "x" * 200, "Ещё ada", "naïve café", "a/b",
    "😀",
])  # fmt: skip
def test_a_name_that_another_system_allowed_is_found_as_it_is_typed(text: str) -> None:
    """Also in capitals and with blanks around it: its key is that of what is typed."""
    key = identifiers.imported_username(text).key
    for same in (text, f"  {text} ", text.upper()):
        assert identifiers.typed(same).key == key


@pytest.mark.parametrize("text", ["", "   ", "a\nb", "a\x00b", "a\u202eb", "a\u3164b\ufe0f", "x" * 300, "a\u2028b"])
def test_a_name_that_no_one_can_see_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        identifiers.imported_username(text)


def test_an_address_as_a_name_has_the_key_of_the_address() -> None:
    """Else one text could mean two users."""
    assert identifiers.imported_username("Ada@Example.org").key == identifiers.email("ada@example.org").key

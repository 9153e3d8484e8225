"""The text of an API key, and weaker keys that its holder makes: every way to widen one is refused."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from watchword import api_keys
from watchword.api_keys import ApiKey, KeyFault, Limits, Link, attenuate, limits_of, read
from watchword.clock import FixedClock
from watchword.ids import new_id

KEY = api_keys.make("01a2245d-bad3-7d92-89a2-d79460448410")
OTHER = api_keys.make("01a2245d-bad3-7d92-89a2-d79460448411")
CLOCK = FixedClock()
ORDERS = "https://orders.example"


def allowed(key: str | ApiKey) -> Limits | None:
    """What the service finds that a key may do; None: it refuses it."""
    found = read(key) if isinstance(key, str) else key
    return limits_of(found, secret_hash=KEY.secret_hash, public=KEY.public)


def written(key: ApiKey) -> str:
    """A key as a forger writes it: with a checksum that is right."""
    links = [len(each.limits).to_bytes(2, "big") + each.limits + each.public + each.signature for each in key.links]
    return api_keys._written(api_keys._raw_id(key.id) + bytes([len(links)]) + b"".join(links) + key.seed)


CHILD = attenuate(KEY.text, scopes=["read", "list"])
GRANDCHILD = attenuate(CHILD, scopes=["read"], expires_in=60, resource=ORDERS, clock=CLOCK)


def test_a_whole_key_is_found_by_its_pattern_and_is_genuine() -> None:
    assert re.fullmatch(api_keys.PATTERN, KEY.text)
    assert len(KEY.text) == 68
    assert read(KEY.text).id == "01a2245d-bad3-7d92-89a2-d79460448410"
    assert allowed(KEY.text) == Limits()
    assert allowed(OTHER.text) is None


def test_a_weaker_key_is_found_by_the_same_pattern_and_says_what_is_left() -> None:
    for key in (CHILD, GRANDCHILD):
        assert re.fullmatch(api_keys.PATTERN, key)
        assert read(written(read(key))) == read(key)
    assert allowed(CHILD) == Limits(frozenset({"read", "list"}))
    assert allowed(GRANDCHILD) == Limits(frozenset({"read"}), CLOCK.now() + 60, ORDERS)


@pytest.mark.parametrize("key", [KEY.text, CHILD, GRANDCHILD], ids=["whole", "weaker", "weakest"])
def test_any_other_character_anywhere_is_noticed_without_the_service(key: str) -> None:
    """⚑ The checksum; and base64url has one text for each value."""
    for place in range(len(key)):
        for other in ("A", "b", "-", "=", ".", "é"):
            if key[place] != other:
                with pytest.raises(KeyFault):
                    read(key[:place] + other + key[place + 1 :])


@pytest.mark.parametrize("key", [KEY.text, CHILD, GRANDCHILD], ids=["whole", "weaker", "weakest"])
def test_a_truncated_or_longer_key_is_none(key: str) -> None:
    for end in range(len(key)):
        with pytest.raises(KeyFault):
            read(key[:end])
    for more in ("A", "AAAA", key, " ", "\n"):
        with pytest.raises(KeyFault):
            read(key + more)


@pytest.mark.parametrize(
    "text",
    ["", "wwk_", "wwr_" + KEY.text[4:], KEY.text.upper(), "wwk_" + "A" * 5000],
    ids=["empty", "prefix", "other_prefix", "upper_case", "long"],
)
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(KeyFault):
        read(text)


def test_every_bit_of_a_chain_counts() -> None:
    """⚑ With a checksum that is right: limits, public keys, signatures, seed, id and lengths."""
    raw = api_keys.base64url.decode(GRANDCHILD[4:])[:-4]
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1
        try:
            found = read(api_keys._written(bytes(changed)))
        except KeyFault:
            continue
        # The seed's clamped bits are no bits of the key: X25519's rule is not Ed25519's, every one counts.
        assert found.id != read(KEY.text).id or allowed(found) is None, place


def test_no_link_can_be_dropped_doubled_or_put_elsewhere() -> None:
    """⚑ Every selection and order of the links, with either seed, but the one that was made."""
    key, child = read(GRANDCHILD), read(CHILD)
    seeds = (key.seed, child.seed, read(attenuate(GRANDCHILD, scopes=[])).seed)
    tried = 0
    for count in range(1, 4):
        for links in itertools.product(key.links, repeat=count):
            for seed in seeds:
                forged = ApiKey(key.id, b"", tuple(links), seed)
                if (forged.links, seed) in ((key.links, key.seed), (child.links, child.seed)):
                    continue
                tried += 1
                assert allowed(forged) is None
    assert tried == 40


def test_a_holder_of_the_child_cannot_go_back() -> None:
    """⚑ The last link cannot be made again: its signer's key is not in the child."""
    key = read(CHILD)
    wider = b'{"scope":"delete list read"}'
    for signer in (key.seed, bytes(32), key.links[0].public, bytes.fromhex(KEY.secret_hash), KEY.public):
        forged = api_keys._with_link(ApiKey(key.id, b"", (), signer), wider)
        assert allowed(forged) is None
    assert allowed(replace(key, links=(replace(key.links[0], limits=wider),))) is None


def test_what_the_service_keeps_makes_no_key() -> None:
    """⚑ A leaked row: hash and public key, in every place where a secret or a seed stands."""
    kept = (bytes.fromhex(KEY.secret_hash), KEY.public)
    key_id = read(KEY.text).id
    for secret in kept:
        assert allowed(ApiKey(key_id, secret[:28])) is None
        assert allowed(ApiKey(key_id, secret)) is None
        forged = api_keys._with_link(ApiKey(key_id, b"", (), secret), b'{"scope":"read"}')
        assert allowed(forged) is None


def test_a_link_of_another_key_is_none_of_this_one() -> None:
    """⚑ Also with the id of this one."""
    other = read(attenuate(OTHER.text, scopes=["read"]))
    assert allowed(replace(other, id=read(KEY.text).id)) is None
    mixed = replace(read(GRANDCHILD), links=(read(GRANDCHILD).links[0], other.links[0]), seed=other.seed)
    assert allowed(mixed) is None


def test_a_link_that_widens_takes_nothing_back() -> None:
    """⚑ Signed by the holder, who has the right to add links: what they all allow counts."""
    key = read(CHILD)
    for limits in (b'{"scope":"delete read"}', b'{"exp":9007199254740000}'):
        found = allowed(api_keys._with_link(key, limits))
        assert found is not None
        assert found.scopes is not None
        assert found.scopes <= {"read", "list"}
    ended = read(attenuate(KEY.text, expires_in=60, clock=CLOCK))
    later = allowed(api_keys._with_link(ended, b'{"exp":9007199254740000}'))
    assert later is not None
    assert later.until == CLOCK.now() + 60


@pytest.mark.parametrize("limits", [
    b"", b"{}", b"[]", b"null", b'{"scope":"read","scope":"write"}', b'{"scope":null}', b'{"scope":["read"]}',
    b'{"scope":"read  write"}', b'{"scope":"r\\u0000"}', b'{"exp":1.5}', b'{"exp":true}', b'{"exp":"1"}', b'{"exp":-1}',
    b'{"exp":9007199254740992}', b'{"resource":""}', b'{"resource":1}', b'{"address":"10.0.0.1"}',
    b'{"scope":"read","address":"10.0.0.1"}', b'{"scope":"read"} ' + b" " * 1600,
])  # fmt: skip
def test_what_a_link_says_and_is_not_understood_refuses_the_key(limits: bytes) -> None:
    """⚑ A limit that an older service would skip is no limit."""
    try:
        forged = api_keys._with_link(read(KEY.text), limits)
        found = allowed(forged)
    except KeyFault:
        found = None
    assert found is None


def test_two_resources_are_none() -> None:
    key = read(attenuate(KEY.text, resource=ORDERS))
    assert allowed(api_keys._with_link(key, b'{"resource":"https://billing.example"}')) is None


def test_a_weaker_key_asks_for_no_more_than_its_parent_lists() -> None:
    for wider in (
        {"scopes": ["read", "delete"]}, {"resource": "https://billing.example"}, {"expires_in": 61}, {},
    ):  # fmt: skip
        with pytest.raises(KeyFault):
            attenuate(GRANDCHILD, clock=CLOCK, **wider)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "raised", "said"),
    [
        ({"resource": [ORDERS]}, TypeError, r"resource is one text, such as resource=\"https"),
        ({"resource": 1}, TypeError, "resource is one text"),
        ({"resource": ""}, KeyFault, "resource has 1 to 256 characters"),
        ({"resource": "x" * 257}, KeyFault, "resource has 1 to 256 characters"),
        ({"scopes": "read"}, TypeError, r"scopes are several texts, such as scopes=\["),
        ({"scopes": b"read"}, TypeError, "scopes are several texts"),
        ({"scopes": 1}, TypeError, "scopes are several texts"),
        ({"scopes": [1]}, TypeError, "scopes are several texts"),
        ({"scopes": [["read"]]}, TypeError, "scopes are several texts"),
        ({"scopes": ["two words"]}, KeyFault, "'two words' is no scope"),
        ({"scopes": [""]}, KeyFault, "'' is no scope"),
    ],
)
def test_a_key_is_not_weakened_by_what_is_no_limit(given: dict[str, Any], raised: type[Exception], said: str) -> None:
    """What was given is at fault, and the message says so: not the key."""
    with pytest.raises(raised, match=said):
        attenuate(GRANDCHILD, clock=CLOCK, **given)
    assert allowed(attenuate(KEY.text, scopes=(each for each in ["read"]))) == Limits(frozenset({"read"}))  # type: ignore[arg-type]


def test_an_end_is_a_number_of_seconds() -> None:
    for text in ("1h", "3600", True, timedelta(hours=1)):
        with pytest.raises(TypeError, match="expires_in is a number of seconds"):
            attenuate(KEY.text, expires_in=text)  # type: ignore[arg-type]
    for number in (-1, 0, 0.5, math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="expires_in is at least 1 second"):
            attenuate(KEY.text, expires_in=number)


def test_a_key_without_scopes_has_none_rather_than_all() -> None:
    assert allowed(attenuate(KEY.text, scopes=[])) == Limits(frozenset())


def test_a_key_is_weakened_so_often_and_stays_readable() -> None:
    key = KEY.text
    for _ in range(api_keys.MOST_LINKS):
        key = attenuate(key, scopes=["read"], resource=ORDERS)
    assert allowed(key) == Limits(frozenset({"read"}), None, ORDERS)
    assert len(key) <= api_keys.LONGEST
    with pytest.raises(KeyFault, match="times at most"):
        attenuate(key, scopes=["read"])


def test_a_link_of_nonsense_is_refused_and_raises_nothing() -> None:
    """⚑ Public keys that are no points of the curve."""
    for public in (bytes(32), b"\xff" * 32):
        link = Link(b'{"scope":"read"}', public, bytes(64))
        assert allowed(ApiKey(read(KEY.text).id, b"", (link, link), bytes(32))) is None


def test_no_message_quotes_the_key() -> None:
    for wrong in (KEY.text[:-1] + "A", CHILD[:-4], "wwk_" + "é" * 64, "wwk_secret"):
        with pytest.raises(KeyFault) as caught:
            read(wrong)
        assert wrong[4:] not in str(caught.value)
    assert KEY.text not in repr(read(KEY.text))
    assert read(KEY.text).secret.hex() not in repr(read(KEY.text))
    assert new_id() != read(KEY.text).id

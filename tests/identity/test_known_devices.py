"""Where users have logged in before: what a mark is worth, and what ends it."""

from __future__ import annotations

import pytest

from watchword import base64url
from watchword.clock import FixedClock
from watchword.identity.devices import DEVICE_SECONDS
from watchword.identity.keys.master import Master
from watchword.identity.known_devices import LONGEST, MOST_USERS, KnownDevices

OLD, NEW = b"o" * 32, b"n" * 32
ADA, BOB = "0197f1a2-0000-7000-8000-00000000000a", "0197f1a2-0000-7000-8000-00000000000b"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def devices(clock: FixedClock) -> KnownDevices:
    return KnownDevices(Master((OLD,)), clock)


def test_a_device_is_known_to_its_user_and_to_no_one_else(devices: KnownDevices) -> None:
    """Neither another user, nor an unknown name, nor no cookie at all."""
    cookie = devices.remember(None, ADA, 3)
    assert devices.recognise(cookie, ADA, 3)
    assert devices.recognise(cookie, ADA, 3) == devices.recognise(cookie, ADA, 3), "its quota is one"
    for user, version in ((BOB, 3), (ADA, 2), (ADA, 4), (ADA, -1), ("", 3), (ADA[:-1], 3), (ADA + "a", 3)):
        assert devices.recognise(cookie, user, version) is None
    assert devices.recognise(None, ADA, 3) is None
    assert devices.recognise("", ADA, 3) is None


def test_the_cookie_names_no_one(devices: KnownDevices) -> None:
    """Two log-ins of one user have nothing in common but the time."""
    first, second = devices.remember(None, ADA, 3), devices.remember(None, ADA, 3)
    assert ADA not in base64url.decode(first).decode("latin-1")
    assert devices.recognise(first, ADA, 3) != devices.recognise(second, ADA, 3), "each log-in has its own quota"


def test_five_users_share_a_browser(devices: KnownDevices) -> None:
    """The sixth pushes out the one who has not logged in for longest, and a second log-in takes no second place."""
    users = [f"user-{number}" for number in range(MOST_USERS)]
    cookie = None
    for user in users:
        cookie = devices.remember(cookie, user, 1)
    for _ in range(3):
        cookie = devices.remember(cookie, users[0], 1)
    assert cookie is not None
    assert all(devices.recognise(cookie, user, 1) for user in users)
    assert len(cookie) == LONGEST < 256
    cookie = devices.remember(cookie, "the sixth", 1)
    assert len(cookie) == LONGEST
    known = [user for user in users if devices.recognise(cookie, user, 1)]
    assert known == [users[0], *users[2:]]


def test_it_is_forgotten_after_ninety_days(devices: KnownDevices, clock: FixedClock) -> None:
    """On the second; and then it takes no place among others."""
    cookie = devices.remember(None, ADA, 3)
    clock.advance(DEVICE_SECONDS - 1)
    assert devices.recognise(cookie, ADA, 3)
    clock.advance(1)
    assert devices.recognise(cookie, ADA, 3) is None
    assert cookie not in devices.remember(cookie, BOB, 1)


def test_it_outlives_the_rotation_of_the_master_secret(clock: FixedClock) -> None:
    """As long as the old secret is listed, and no longer."""
    cookie = KnownDevices(Master((OLD,)), clock).remember(None, ADA, 3)
    assert KnownDevices(Master((NEW, OLD)), clock).recognise(cookie, ADA, 3)
    assert KnownDevices(Master((NEW,)), clock).recognise(cookie, ADA, 3) is None


def test_each_flipped_bit_makes_it_worthless(devices: KnownDevices) -> None:
    """Of the id, the time and the MAC."""
    raw = base64url.decode(devices.remember(None, ADA, 3))
    for place in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << place % 8
        assert devices.recognise(base64url.encode_text(bytes(changed)), ADA, 3) is None, place


@pytest.mark.parametrize(
    "junk",
    ["", ".", "....", "x", "é" * 44, "=" * 44, "A" * 44, "A" * 100_000, "." * 100_000, "\x00" * 44, " " * 44, "A" * 43],
)
def test_junk_is_not_read_and_harms_no_one(devices: KnownDevices, junk: str) -> None:
    """Alone it tells nothing; beside a mark it hides it only where the whole is too long."""
    assert devices.recognise(junk, ADA, 3) is None
    written = devices.remember(junk, ADA, 3)
    assert len(written) <= LONGEST
    assert devices.recognise(written, ADA, 3)
    both = f"{junk}.{devices.remember(None, ADA, 3)}"
    assert bool(devices.recognise(both, ADA, 3)) is (len(both) <= LONGEST)


def test_forged_marks_do_not_push_out_the_newest(devices: KnownDevices) -> None:
    """Five forgeries fill a cookie: the next log-in writes its mark before them."""
    forged = ".".join(base64url.encode_text(bytes([number]) * 33) for number in range(200, 200 + MOST_USERS))
    assert len(forged) == LONGEST
    cookie = devices.remember(forged, ADA, 3)
    assert devices.recognise(cookie, ADA, 3)
    assert len(cookie) == LONGEST

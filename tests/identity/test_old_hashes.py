"""Password hashes of other systems: made by the libraries themselves, checked by us, and bounded in what they cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest
from django.conf import settings as django_settings
from django.contrib.auth.hashers import Argon2PasswordHasher, PBKDF2PasswordHasher, ScryptPasswordHasher, get_hasher
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.security import generate_password_hash

from tests.guard_adapters import django_site
from watchword.identity import hash_costs, hashing, old_hashes
from watchword.identity.hash_costs import MARK, cost_of
from watchword.identity.hashing import Hasher, kind_of, matches
from watchword.identity.old_hashes import UnknownHash, read, sample_of

HASHES: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("old_hashes.json").read_text("utf-8"))["hashes"]
PASSWORDS = {"short": "plum-orbit-canvas", "long": "plum-orbit-canvas-" * 6, "unicode": "pfläume-ﬁn-écart"}
VECTORS = [
    pytest.param(which, text, id=f"{name}, {which}") for name, made in HASHES.items() for which, text in made.items()
]


@pytest.mark.parametrize(("which", "text"), VECTORS)
def test_a_hash_of_another_library_matches_its_password_only(which: str, text: str) -> None:
    """Also with passwords longer than 72 bytes, and with letters that NFKC would change."""
    password = PASSWORDS[which]
    assert matches(password, MARK + text)
    assert not matches("x" + password, MARK + text)
    assert not matches("", MARK + text)


@pytest.mark.parametrize("name", ["passlib bcrypt", "bcryptjs"])
def test_bcrypt_of_other_systems_ignores_what_follows_byte_72(name: str) -> None:
    """So that a user with a longer password gets in; our own bcrypt hashes refuse it."""
    text = HASHES[name]["long"]
    assert matches(PASSWORDS["long"][:72] + "something else", MARK + text)
    assert not matches(PASSWORDS["long"], text)


@pytest.fixture(scope="module")
def _django() -> None:
    django_site.configure(django_site.NAMED)  # once in a process, for all tests


@pytest.mark.usefixtures("_django")
@pytest.mark.parametrize("name", ["pbkdf2_sha256", "pbkdf2_sha1", "scrypt", "argon2", "bcrypt", "bcrypt_sha256"])
@pytest.mark.parametrize("which", PASSWORDS)
def test_a_hash_that_django_makes_matches(name: str, which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made here and now by Django's own hashers, with their defaults but for what would take seconds."""
    monkeypatch.setattr(django_settings, "PASSWORD_HASHERS", [
        f"django.contrib.auth.hashers.{each}PasswordHasher"
        for each in ("PBKDF2", "PBKDF2SHA1", "Scrypt", "Argon2", "BCrypt", "BCryptSHA256")
    ])  # fmt: skip
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 1000)
    monkeypatch.setattr(ScryptPasswordHasher, "work_factor", 1024)
    monkeypatch.setattr(Argon2PasswordHasher, "memory_cost", 1024)
    from django.contrib.auth import hashers

    hashers.get_hashers.cache_clear()
    hashers.get_hashers_by_algorithm.cache_clear()
    hasher = get_hasher(name)
    if hasattr(hasher, "rounds"):
        monkeypatch.setattr(hasher, "rounds", 4)
    seen = PASSWORDS[which][:72] if name == "bcrypt" else PASSWORDS[which]  # what bcrypt before 5.0 made of it
    text = hasher.encode(seen, hasher.salt())
    assert matches(PASSWORDS[which], MARK + text)
    assert not matches(PASSWORDS["short"] + "x", MARK + text)


def test_djangos_own_costs_are_within_the_bounds() -> None:
    """Its next versions raise the iterations by about a fifth each."""
    assert PBKDF2PasswordHasher.iterations * 2 < old_hashes.MOST_ITERATIONS["sha256"]
    assert ScryptPasswordHasher.work_factor <= 16384


@pytest.mark.parametrize(
    "method", ["scrypt", "scrypt:1024:8:1", "pbkdf2:sha256:1000", "pbkdf2:sha512:1000", "pbkdf2:sha1:1000"]
)
@pytest.mark.parametrize("which", PASSWORDS)
def test_a_hash_that_werkzeug_makes_matches(method: str, which: str) -> None:
    """Made here and now by Werkzeug."""
    text = generate_password_hash(PASSWORDS[which], method)
    assert matches(PASSWORDS[which], MARK + text)
    assert not matches(PASSWORDS["short"] + "x", MARK + text)


@pytest.mark.parametrize(("text", "why"), [
    ("", "no form"),
    ("plum-orbit-canvas", "no form"),
    ("5f4dcc3b5aa765d61d8327deb882cf99", "no form"),
    ("$1$salt$qJH7.N4xYta3aEG/dfqo/0", "no form"),
    ("$2x$10$" + "a" * 53, "no form"),
    ("$2b$03$" + "a" * 53, "cost"),
    ("$2b$15$" + "a" * 53, "cost"),
    ("$2b$99$" + "a" * 53, "cost"),
    ("pbkdf2_sha256$999999999$salt$" + "A" * 43 + "=", "iterations"),
    ("pbkdf2_sha256$1000$salt$AAAA", "32 bytes"),
    ("pbkdf2:sha256:1000$salt$abc", "odd"),
    ("pbkdf2:md5:1000$salt$" + "ab" * 16, "no form"),
    ("scrypt:536870912:8:1$salt$" + "ab" * 64, "MiB"),
    ("scrypt:16384:8:999$salt$" + "ab" * 64, "MiB"),
    ("scrypt:16383:8:1$salt$" + "ab" * 64, "power"),
    ("scrypt:16384:8:1$salt$abcd", "bytes"),
    ("$scrypt$ln=40,r=8,p=1$c2FsdHNhbHQ$" + "A" * 43, "MiB"),
    ("$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$" + "A" * 43, "MiB"),
    ("$argon2id$v=19$m=65536,t=99999,p=1$c2FsdHNhbHQ$" + "A" * 43, "passes"),
    ("$argon2id$v=19$m=65536,t=1,p=99$c2FsdHNhbHQ$" + "A" * 43, "lanes"),
    ("$argon2id$v=19$m=65536,t=1,p=1$c2FsdHNhbHQ$AAAA", "key"),
    ("$argon2id$v=19$m=1,t=1,p=1$c2FsdHNhbHQ$" + "A" * 43, "MiB"),
    ("$2b$10$" + "a" * 52 + "ä", "ASCII"),
    ("$2b$10$" + "a" * 600, "at most"),
])  # fmt: skip
def test_a_hash_that_is_malformed_or_too_dear_is_refused_and_costs_nothing(text: str, why: str) -> None:
    with pytest.raises(UnknownHash, match=why):
        read(text)
    assert not matches("plum-orbit-canvas", MARK + text)
    assert isinstance(kind_of(MARK + text), str)


@given(st.text(alphabet="$:=,./azAZ019+~vmtpbkdf2_sha", max_size=80))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    """Whatever is in the column, a log-in meets no exception."""
    try:
        read(text)
    except UnknownHash:
        assert not matches("x", MARK + text)


@pytest.mark.parametrize(("which", "text"), VECTORS)
def test_a_sample_costs_what_its_model_costs_and_no_one_knows_its_password(which: str, text: str) -> None:
    """It stands in the database for unknown users: were it equal to a user's hash, it would tell that one."""
    sample = sample_of(text)
    assert kind_of(sample) == kind_of(MARK + text)
    assert read(sample.removeprefix(MARK)).key != read(text).key
    assert not matches(PASSWORDS[which], sample)


class Counted:
    """How much of each work a check did: rounds of bcrypt and iterations of PBKDF2."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rounds = self.iterations = 0
        hashpw, pbkdf2 = bcrypt.hashpw, hash_costs.hashlib.pbkdf2_hmac

        def counted_bcrypt(password: bytes, salt: bytes) -> bytes:
            self.rounds += 1 << int(salt[4:6])
            return hashpw(password, salt)

        def counted_pbkdf2(digest: str, password: bytes, salt: bytes, iterations: int) -> bytes:
            self.iterations += iterations
            return pbkdf2(digest, password, salt, iterations)

        monkeypatch.setattr(bcrypt, "hashpw", counted_bcrypt)
        monkeypatch.setattr(hash_costs.hashlib, "pbkdf2_hmac", counted_pbkdf2)


@pytest.fixture
def hasher() -> Iterator[Hasher]:
    pool = Hasher("argon2id", width=1)
    yield pool
    pool.close()


@pytest.mark.parametrize("password", ["wrong", "wröng", "wro\u0308ng"])
def test_D7_every_failure_does_the_same_work_whatever_the_stored_hash(
    monkeypatch: pytest.MonkeyPatch, hasher: Hasher, password: str
) -> None:
    """Twelve costs in two families: a failure pays for the dearest of each, and not for all twelve."""
    made = [bcrypt.hashpw(b"right", bcrypt.gensalt(cost)).decode() for cost in (4, 5, 7)]
    made += [generate_password_hash("right", f"pbkdf2:sha256:{iterations}") for iterations in (1000, 1500, 4000)]
    for each in made:
        hasher.learn(kind_of(MARK + each), sample_of(each))
    stored = [None, *(MARK + each for each in made)]
    counted = Counted(monkeypatch)
    spent = set()
    for each in stored:
        counted.rounds = counted.iterations = 0
        assert not hasher._check(password, each, True).ok
        spent.add((counted.rounds, counted.iterations))
    times = len(old_hashes.spellings(password, hashing.normalise(password)))
    assert spent == {(128 * times, 4000 * times)}


def test_kinds_are_told_apart_by_family_and_cost() -> None:
    assert cost_of("$2b$12") == ("bcrypt", 4096)
    assert cost_of("~$2b$10") == ("~bcrypt", 1024)
    assert cost_of(kind_of(MARK + HASHES["passlib pbkdf2_sha512"]["short"])) == ("~pbkdf2:sha512", 1000)
    assert cost_of("$argon2id$v=19$m=19456,t=2,p=1") == ("$argon2id$v=19$m=19456,t=2,p=1", 1)


async def test_a_log_in_with_an_old_hash_offers_one_of_ours(hasher: Hasher) -> None:
    """The upgraded hash is of the normalised password, without the mark."""
    check = await hasher.check(
        password=PASSWORDS["unicode"], password_hash=MARK + HASHES["passlib pbkdf2_sha256"]["unicode"], address=None
    )
    assert check.ok
    assert check.upgrade is not None
    assert kind_of(check.upgrade) == hasher.preferred_kind
    assert matches(PASSWORDS["unicode"], check.upgrade)


@pytest.mark.parametrize("cost", ["m=128,t=8192,p=16", "m=16,t=65536,p=2", "m=256,t=4096,p=1"])
def test_argon2_that_costs_threads_and_not_memory_is_refused(cost: str) -> None:
    """⚑ Each lane of each pass starts a thread: such a hash took half a minute, for every failed log-in."""
    with pytest.raises(UnknownHash):
        read(f"$argon2id$v=19${cost}$c29tZXNhbHQ$" + "A" * 43)

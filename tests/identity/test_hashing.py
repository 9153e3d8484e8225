"""Password hashes: their parameters, their limits, and a pool that holds up nobody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress

import argon2
import bcrypt
import pytest

from tests.identity.scenes import HOME, PASSWORD, Opener, join, log_in, refresh, statements
from watchword.errors import Overloaded, Unauthenticated
from watchword.features.passwords.service import Passwords
from watchword.identity import hashing
from watchword.identity.hashing import Hasher, kind_of, make_hash, matches
from watchword.identity.kernel import Kernel


class Held:
    """A pool whose only thread is busy until it is let go, so that what comes after it waits."""

    def __init__(self, pool: Hasher) -> None:
        self.pool = pool
        self.go = threading.Event()
        self.tasks: list[asyncio.Task[object]] = []

    async def fill(self, places: int, address: str | None = None) -> None:
        """Take that many places, each from another network unless an address is given."""
        for number in range(places):
            place = address or f"10.{number // 250}.{number % 250}.1"
            self.tasks.append(asyncio.create_task(self.pool._in_pool(place, self.go.wait)))
        await asyncio.sleep(0)

    async def finish(self) -> None:
        self.go.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.sleep(0)


async def full(pool: Hasher, address: str | None) -> bool:
    """Whether the pool refuses work, at once, with a time to come back."""
    with pytest.raises(Overloaded) as caught:
        await asyncio.wait_for(pool.hash("x", address=address), 5)
    return caught.value.retry_after == 1


@pytest.fixture
def hasher() -> Iterator[Hasher]:
    pool = Hasher("argon2id", width=1)
    yield pool
    pool.close()


@pytest.fixture
def held(hasher: Hasher) -> Iterator[Held]:
    holding = Held(hasher)
    yield holding
    holding.go.set()  # also after a failure: a thread that waits for ever would keep the tests from ending


@pytest.fixture
def cheap_bcrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "BCRYPT_COST", 10)


def test_D1_the_parameters_are_owasps(dear_hashes: None) -> None:
    """Argon2id, 19 MiB, two passes, one lane, 16 bytes of salt, 32 of hash, as a PHC string."""
    parameters = argon2.extract_parameters(make_hash(PASSWORD, "argon2id"))
    assert parameters == argon2.Parameters(
        type=argon2.Type.ID, version=19, salt_len=16, hash_len=32, time_cost=2, memory_cost=19456, parallelism=1
    )
    assert make_hash(PASSWORD, "argon2id") != make_hash(PASSWORD, "argon2id")


def test_D2_bcrypt_has_cost_twelve() -> None:
    """The cost that is asked for in settings; `kind_of` names it."""
    password_hash = make_hash(PASSWORD, "bcrypt")
    assert password_hash.startswith("$2b$12$")
    assert kind_of(password_hash) == "$2b$12"


@pytest.mark.parametrize("preferred", ["argon2id", "bcrypt"])
def test_the_preferred_kind_is_that_of_what_is_made(preferred: str, cheap_bcrypt: None) -> None:
    """Were the two to differ, every log-in would replace its hash."""
    pool = Hasher(preferred, width=1)
    assert kind_of(make_hash("x", preferred)) == pool.preferred_kind
    pool.close()


def test_D2_D7_a_password_too_long_for_bcrypt_costs_as_much_as_any(
    monkeypatch: pytest.MonkeyPatch, cheap_bcrypt: None
) -> None:
    """It is computed with its first 72 bytes; a quick refusal would tell who has such a hash."""
    given: list[int] = []
    real = bcrypt.checkpw
    stored = make_hash(PASSWORD, "bcrypt")
    monkeypatch.setattr(
        bcrypt, "checkpw", lambda data, password_hash: given.append(len(data)) or real(data, password_hash)
    )
    assert not matches("x" * 500, stored)
    assert given == [72]


def test_D2_passwords_that_differ_after_byte_72_do_not_match_each_other(cheap_bcrypt: None) -> None:
    """bcrypt sees 72 bytes: a longer password matches nothing, without a `ValueError` that would become a 500."""
    at_the_limit = "x" * 72
    stored = make_hash(at_the_limit, "bcrypt")
    assert matches(at_the_limit, stored)
    for longer in (at_the_limit + "a", at_the_limit + "b", "x" * 1024):
        assert not matches(longer, stored)
    # Umlauts take two bytes: 36 of them fill it.
    stored = make_hash("ä" * 36, "bcrypt")
    assert matches("ä" * 36, stored)
    assert not matches("ä" * 36 + "!", stored)


@pytest.mark.parametrize("preferred", ["argon2id", "bcrypt"])
def test_D2_a_nul_character_counts(preferred: str, cheap_bcrypt: None) -> None:
    """C libraries stop there; two passwords with the same beginning are still two."""
    stored = make_hash("before\0after", preferred)
    assert matches("before\0after", stored)
    assert not matches("before\0other", stored)
    assert not matches("before", stored)


@pytest.mark.parametrize(("one", "same"), [
    ("caf\u00e9-au-lait", "cafe\u0301-au-lait"),
    ("\uff41\uff42\uff43-password", "abc-password"),
    ("\u212bngstr\u00f6m", "\u00c5ngstro\u0308m"),
])  # fmt: skip
def test_D6_a_password_is_the_same_on_every_keyboard(one: str, same: str) -> None:
    """Composed and decomposed, full width and half width (NFKC)."""
    stored = make_hash(one, "argon2id")
    assert matches(same, stored)
    assert not matches(same.swapcase(), stored)


@pytest.mark.parametrize(
    "stored", ["", "!", "x", "$2b$12$", "$2b$99$" + "a" * 53, "$argon2id$v=19$m=1", "$argon2z$", "$$$$"]
)
def test_what_is_no_hash_matches_nothing(stored: str) -> None:
    """No exception, whatever is in the column."""
    assert not matches(PASSWORD, stored)
    assert isinstance(kind_of(stored), str)


@pytest.mark.parametrize("prefix", ["2a", "2b", "2y"])
def test_bcrypt_hashes_of_other_libraries_verify(prefix: str) -> None:
    """bcryptjs and passport-local write `$2a$`, PHP `$2y$`."""
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", f"${prefix}$")
    assert matches(PASSWORD, stored)
    assert not matches(PASSWORD + "x", stored)


async def test_a_disabled_users_right_password_fails(hasher: Hasher) -> None:
    """`allowed` decides after the work is done."""
    stored = make_hash(PASSWORD, "argon2id")
    assert (await hasher.check(password=PASSWORD, password_hash=stored, address=None)).ok
    assert not (await hasher.check(password=PASSWORD, password_hash=stored, allowed=False, address=None)).ok
    assert not (await hasher.check(password=PASSWORD, password_hash=None, address=None)).ok


async def test_D3_an_upgrade_is_offered_only_for_a_hash_of_another_kind(hasher: Hasher) -> None:
    """Other parameters count as another kind; a failed check offers none."""
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    check = await hasher.check(password=PASSWORD, password_hash=weak, address=None)
    assert check.upgrade is not None
    assert kind_of(check.upgrade) == hasher.preferred_kind
    assert (await hasher.check(password=PASSWORD, password_hash=check.upgrade, address=None)).upgrade is None
    assert (await hasher.check(password="wrong", password_hash=weak, address=None)).upgrade is None


# --- The pool -----------------------------------------------------------------------------------------------------


async def test_D13_the_queue_is_bounded(hasher: Hasher, held: Held) -> None:
    """What does not fit is refused at once with a time to come back, and fits again afterwards."""
    await held.fill(hashing._QUEUE_PER_THREAD)
    assert await full(hasher, "192.0.2.1")
    assert await full(hasher, None)
    with pytest.raises(Overloaded):
        await asyncio.wait_for(hasher.check(password="x", password_hash=None, address=None), 5)
    await held.finish()
    assert await hasher.hash("x", address="192.0.2.1")


async def test_D13_one_address_takes_a_few_places_only(hasher: Hasher, held: Held) -> None:
    """Sixteen per network: the /64 of an IPv6 address and a mapped IPv4 address count as one; others still get in."""
    await held.fill(hashing._PLACES_PER_ADDRESS, "2001:db8:0:1::1")
    assert await full(hasher, "2001:db8:0:1:ffff::2")
    await held.fill(hashing._PLACES_PER_ADDRESS, "192.0.2.1")
    assert await full(hasher, "::ffff:192.0.2.1")
    other = asyncio.create_task(hasher.hash("x", address="2001:db8:0:2::1"))
    await held.finish()
    assert await other
    assert (hasher._waiting, hasher._by_network) == (0, {})


async def test_D13_who_hangs_up_keeps_the_place_until_the_work_is_done(hasher: Hasher, held: Held) -> None:
    """⚑ Cancelling and asking again does not get past the bound: the work is still in the queue."""
    await held.fill(hashing._PLACES_PER_ADDRESS, "192.0.2.1")
    for task in held.tasks:
        task.cancel()
    for task in held.tasks:
        with suppress(asyncio.CancelledError):
            await task
    assert await full(hasher, "192.0.2.1")
    assert hasher._waiting == hashing._PLACES_PER_ADDRESS
    held.go.set()
    async with asyncio.timeout(30):
        while hasher._waiting:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)
    assert await hasher.hash("x", address="192.0.2.1")
    assert hasher._by_network == {}


async def test_D13_work_that_fails_gives_its_place_back(hasher: Hasher) -> None:
    """Otherwise a few faults would close the pool for good."""

    def fails() -> None:
        raise LookupError("in the thread")

    for _ in range(3):
        with pytest.raises(LookupError):
            await hasher._in_pool("192.0.2.1", fails)
    assert (hasher._waiting, hasher._by_network) == (0, {})


async def test_D13_hashing_does_not_hold_up_the_loop(dear_hashes: None, hasher: Hasher) -> None:
    """While four hashes are made, the loop goes round all the time."""
    turns = 0
    work = asyncio.gather(*(hasher.hash(PASSWORD, address=None) for _ in range(4)))
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 50


async def test_D13_a_log_in_storm_does_not_stall_refreshes(kernel: Kernel) -> None:
    """With every thread busy and the queue full, refreshing goes on as if nothing was."""
    await join(kernel)
    tokens = (await log_in(kernel)).tokens
    held = Held(kernel.hasher)
    await held.fill(kernel.hasher._width * hashing._QUEUE_PER_THREAD)
    try:
        for _ in range(20):
            tokens = await refresh(kernel, tokens.refresh_token)
        assert await full(kernel.hasher, HOME.address)
    finally:
        await held.finish()


@pytest.mark.sqlite
@pytest.mark.parametrize("typed", ["alice", "nobody", "disabled"])
@pytest.mark.parametrize("full", ["this address", "everything"])
async def test_D7_D13_a_storm_is_refused_before_any_work(open_kernel: Opener, typed: str, full: str) -> None:
    """Nobody is looked up, nothing is counted or recorded, whatever the name: a refusal costs and tells nothing."""
    async with open_kernel(login_limit="1/15m") as kernel:
        await join(kernel)
        disabled = await join(kernel, "disabled")
        await kernel.database.run("UPDATE ww_users SET disabled_at = 1 WHERE id = :id", id=disabled.id)
        held = Held(kernel.hasher)
        places = (
            hashing._PLACES_PER_ADDRESS if full == "this address" else kernel.hasher._width * hashing._QUEUE_PER_THREAD
        )
        await held.fill(places, HOME.address if full == "this address" else None)
        try:
            with statements(kernel) as heard:
                for _ in range(3):
                    with pytest.raises(Overloaded) as caught:
                        await Passwords(kernel).log_in(typed, PASSWORD, client=HOME, replacing=None)
                    assert caught.value.retry_after == 1
            assert heard.seen == []
        finally:
            await held.finish()
        with suppress(Unauthenticated):  # one attempt is allowed, and it is still there
            await Passwords(kernel).log_in(typed, PASSWORD, client=HOME, replacing=None)


async def test_D13_an_address_that_has_no_place_leaves_the_others_theirs(kernel: Kernel) -> None:
    await join(kernel, password=PASSWORD)
    held = Held(kernel.hasher)
    await held.fill(hashing._PLACES_PER_ADDRESS, HOME.address)
    other = asyncio.create_task(
        Passwords(kernel).log_in("alice", PASSWORD, client=HOME._replace(address="198.51.100.9"), replacing=None)
    )
    await asyncio.sleep(0.05)
    await held.finish()
    assert (await other).user.username == "alice"


def test_the_pool_is_as_wide_as_this_processs_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cores by affinity, divided by the workers, at least one."""
    monkeypatch.setattr(hashing.os, "sched_getaffinity", lambda _: set(range(8)))
    widths = []
    for workers in (1, 2, 3, 16):
        pool = Hasher("argon2id", workers=workers)
        widths.append(pool._width)
        pool.close()
    assert widths == [8, 4, 2, 1]


# --- Turns between networks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "crowd",
    [
        [f"2001:db8:0:{number:x}::1" for number in range(9)],  # nine networks of one household
        [f"2001:db8:0:{number:x}00::1" for number in range(200)],  # a company with many households
        [f"192.0.2.{number}" for number in range(1, 200)],
        [f"::ffff:192.0.2.{number}" for number in range(1, 200)],
    ],
    ids=["/56", "/48", "/24", "mapped"],
)
async def test_one_household_or_company_keeps_no_stranger_out(hasher: Hasher, held: Held, crowd: list[str]) -> None:
    """⚑ 18 accounts on nine /64 of one /56 kept a stranger out in 21 of 22 tries."""
    for _ in range(20):
        for address in crowd:
            await held.fill(1, address)
    strangers = []
    for _ in range(hashing._PLACES_PER_ADDRESS):
        hasher.require_place("198.51.100.9")
        strangers.append(asyncio.create_task(hasher.check(password="x", password_hash=None, address="198.51.100.9")))
        await asyncio.sleep(0)
    await held.finish()
    answers = await asyncio.gather(*strangers)
    assert [answer.ok for answer in answers] == [False] * hashing._PLACES_PER_ADDRESS
    assert (hasher._waiting, hasher._by_network) == (0, {})


async def test_a_stranger_has_a_place_in_a_queue_that_few_networks_fill(hasher: Hasher, held: Held) -> None:
    """Four companies that fill the queue: the latest of the greediest is refused, and its work never begins."""
    for number in range(4):
        await held.fill(hashing._PLACES_PER_ADDRESS, f"10.0.{number}.1")
    assert hasher._waiting == hashing._QUEUE_PER_THREAD
    hasher.require_place("198.51.100.9")
    stranger = asyncio.create_task(hasher.check(password="x", password_hash=None, address="198.51.100.9"))
    await asyncio.sleep(0)
    assert hasher._waiting == hashing._QUEUE_PER_THREAD
    await held.finish()
    assert not (await stranger).ok
    refusals = [task for task in held.tasks if isinstance(task.exception(), Overloaded)]
    assert len(refusals) == 1


async def test_networks_take_turns(hasher: Hasher, held: Held) -> None:
    """Whoever comes last from another network is next but the few that the threads have been given."""
    done: list[str] = []
    await held.fill(1, "203.0.113.1")
    crowd = ["2001:db8:0:1::1"] * 10 + ["2001:db8:0:2::1"] * 10 + ["2001:db8:0:100::1"] * 2 + ["198.51.100.9"]
    tasks = [asyncio.create_task(hasher._in_pool(address, done.append, address)) for address in crowd]
    await asyncio.sleep(0)
    await held.finish()
    await asyncio.gather(*tasks)
    assert done.index("198.51.100.9") <= hashing._AHEAD + 1
    assert [place for place in done if "::1" in place][3:9].count("2001:db8:0:100::1") == 2

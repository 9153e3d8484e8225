"""Made-up API keys are refused without a read of the database each, and no good key is refused because of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest

from tests.identity.scenes import HOME, HOUR, Opener, operator, statements
from tests.identity.test_api_keys import DAY, Owner, owner, refused
from watchword import api_keys as written
from watchword.api_keys import attenuate
from watchword.clock import FixedClock
from watchword.errors import Overloaded, Refused, TooManyAttempts
from watchword.identity import api_key_screen
from watchword.identity.administration import unchecked
from watchword.identity.api_key_screen import (
    ABSENT_FOR,
    UNTAGGED_FOR,
    UNTAGGED_PER_SECOND,
    KeyIds,
    load_key_ids,
)
from watchword.identity.kernel import Kernel
from watchword.identity.rights import EVERYTHING
from watchword.ids import new_id

FLOOD = 50
CALLS = ("one", "all", "scan", "run", "transact")
Forger = Callable[[str, str], str]
"""Makes a key that is none of a good key and its id."""


@contextmanager
def calls(kernel: Kernel) -> Iterator[list[str]]:
    """Everything that this kernel asks its database, of either engine."""
    asked: list[str] = []
    database = kernel.database

    def counting(name: str) -> object:
        real = getattr(database, name)

        async def call(*given: object, **values: object) -> object:
            asked.append(f"{name} {given[0]}")
            return await real(*given, **values)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(database, name, counting(name))
        yield asked


def forged(key_id: str) -> str:
    """A whole key of an id, as anyone can write it: its checksum is right."""
    return written._written(written._raw_id(key_id) + os.urandom(28))


def test_a_forged_key_is_read() -> None:
    """What these tests send is refused for what it is, not for its form."""
    key_id = str(uuid4())
    for text in (forged(key_id), attenuate(forged(key_id), scopes=["read"])):
        assert written.read(text).id == key_id


FORGERS: dict[str, Forger] = {
    "random_ids": lambda key, key_id: forged(str(uuid4())),
    "ids_as_before": lambda key, key_id: forged(new_id()),
    "ids_of_another_database": lambda key, key_id: forged(KeyIds(os.urandom(32), 0).make()),
    "a_known_id": lambda key, key_id: forged(key_id),
    "weakened": lambda key, key_id: attenuate(forged(new_id()), scopes=["read"]),
    "weakened_of_a_known_id": lambda key, key_id: attenuate(forged(key_id), scopes=["read"]),
    "a_good_one_that_was_weakened_and_has_ended": lambda key, key_id: attenuate(key, expires_in=1, clock=FixedClock(1)),
}


@pytest.mark.parametrize("forger", FORGERS.values(), ids=FORGERS)
async def test_made_up_keys_are_not_looked_up(kernel: Kernel, forger: Forger) -> None:
    """⚑ The database is asked for none of them, and the good key goes on."""
    ada = await owner(kernel)
    record, key = await ada.key()
    await ada.use(key)
    texts = [forger(key, record.id) for _ in range(FLOOD)]
    with calls(kernel) as asked:
        for text in (*texts, *texts):
            await refused(kernel, text)
        assert asked == []
        await ada.use(key)
        assert sum("ww_api_keys" in each for each in asked) == 1


@pytest.mark.sqlite
async def test_sqlite_itself_sees_no_statement(kernel: Kernel) -> None:
    """⚑ By its own trace, in which a good key shows."""
    ada = await owner(kernel)
    record, key = await ada.key()
    await ada.use(key)
    with statements(kernel) as seen:
        for forger in FORGERS.values():
            await refused(kernel, forger(key, record.id))
        assert seen.seen == []
        await ada.use(key)
        assert any("FROM ww_api_keys" in each for each in seen.seen)


async def test_a_guard_key_is_not_looked_up_for_a_made_up_key(kernel: Kernel) -> None:
    checked = []

    async def guard() -> None:
        checked.append(1)

    _, key = await (await owner(kernel)).key()
    for text in (forged(new_id()), key[:-1]):
        with pytest.raises(Refused):
            await kernel.api_keys.exchange(text, EVERYTHING, client=HOME, guard=guard)
    assert checked == []
    await kernel.api_keys.exchange(key, EVERYTHING, client=HOME, guard=guard)
    assert checked == [1]


async def test_a_known_id_costs_each_process_one_look_up(open_kernel: Opener) -> None:
    """⚑ And takes nothing from the key's owner, there or elsewhere."""
    async with open_kernel(api_key_each_limit="1/1h") as kernel, open_kernel(api_key_each_limit="1/1h") as other:
        ada = await owner(kernel)
        record, key = await ada.key()
        with calls(other) as asked:
            for _ in range(FLOOD):
                await refused(other, forged(record.id))
            assert len(asked) == 1
        assert (await other.api_keys.exchange(key, EVERYTHING, client=HOME)).access_token


async def test_a_new_key_is_good_everywhere_at_once(open_kernel: Opener) -> None:
    """⚑ A made one and a rotated one, in a process that has just refused many."""
    async with open_kernel() as kernel, open_kernel() as other:
        ada = await owner(kernel)
        for _ in range(FLOOD):
            await refused(other, forged(new_id()))
        record, key = await ada.key()
        assert (await other.api_keys.exchange(key, EVERYTHING, client=HOME)).access_token
        _, _, fresh = await kernel.api_keys.rotate(ada.claims, record.id, overlap=HOUR, client=HOME)
        for each in (key, fresh, attenuate(fresh, scopes=[])):
            assert (await other.api_keys.exchange(each, EVERYTHING, client=HOME)).access_token


async def test_what_ends_elsewhere_ends_here_and_what_comes_back_is_good(open_kernel: Opener) -> None:
    """⚑ What is remembered of a key lets nothing in: the row is read each time."""
    async with open_kernel() as kernel, open_kernel() as other:
        ada = await owner(kernel)
        record, key = await ada.key()

        async def use() -> None:
            await other.api_keys.exchange(key, EVERYTHING, client=HOME)

        await use()
        await operator(kernel).disable(ada.id)
        await refused(other, key)
        await refused(other, forged(record.id))
        await operator(kernel).enable(ada.id)
        await use()
        await kernel.api_keys.revoke_any(record.id, check=unchecked, client=HOME)
        with calls(other) as asked:
            for _ in range(FLOOD):
                await refused(other, key)
            assert len(asked) == 1
            kernel.clock.advance(ABSENT_FOR)  # type: ignore[attr-defined]
            await refused(other, key)
            assert len(asked) == 2


async def test_what_is_weakened_stays_weak_where_its_key_is_known(kernel: Kernel) -> None:
    """⚑ In either order, with either limit."""
    ada = await owner(kernel)
    _, key = await ada.key("read write")
    weak, short = attenuate(key, scopes=["read"]), attenuate(key, expires_in=60, clock=kernel.clock)
    for _ in range(2):
        assert (await ada.use(weak)).scopes == {"read"}
        assert (await ada.use(key)).scopes == {"read", "write"}
        assert (await ada.use(short)).exp == kernel.clock.now() + 60
    kernel.clock.advance(60)  # type: ignore[attr-defined]
    await refused(kernel, short)
    await ada.use(key)


async def test_an_expired_key_is_looked_up_once_in_half_a_minute(kernel: Kernel) -> None:
    ada = await owner(kernel)
    record, key = await ada.key(seconds=HOUR)
    await ada.use(key)
    kernel.clock.advance(HOUR)  # type: ignore[attr-defined]
    with calls(kernel) as asked:
        for expected in (1, 2):
            for _ in range(FLOOD):
                await refused(kernel, key)
                await refused(kernel, forged(record.id))
            assert len(asked) == expected
            kernel.clock.advance(ABSENT_FOR)  # type: ignore[attr-defined]


async def test_a_key_that_is_as_it_was_is_good_again(kernel: Kernel) -> None:
    """⚑ A database that failed over may have lost its last seconds. Here what it lost was remembered."""
    ada = await owner(kernel)
    record, key = await ada.key()
    await ada.kernel.api_keys.rotate(ada.claims, record.id, overlap=0, client=HOME)
    await refused(kernel, key)
    await kernel.database.run(
        "UPDATE ww_api_keys SET expires_at = :ends WHERE id = :id", ends=record.expires_at, id=record.id
    )
    kernel.clock.advance(ABSENT_FOR)  # type: ignore[attr-defined]
    await kernel.api_keys.exchange(key, EVERYTHING, client=HOME)


async def test_what_was_refused_while_the_clock_was_ahead_is_not_refused_until_then(kernel: Kernel) -> None:
    ada = await owner(kernel)
    _, key = await ada.key(seconds=HOUR)
    kernel.clock.advance(300 * DAY)  # type: ignore[attr-defined]
    await refused(kernel, key)
    kernel.clock.advance(-300 * DAY)  # type: ignore[attr-defined]
    await ada.use(key)


async def test_what_is_remembered_is_bounded(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """⚑ Whatever is sent; a key that was forgotten is looked up again. The one that is used stays."""
    monkeypatch.setattr(api_key_screen, "MOST_KEPT", 2)
    ada = await owner(kernel)
    keys = [(await ada.key())[1] for _ in range(3)]
    for each in (0, 1, 0, 2):
        await ada.use(keys[each])
    screen = kernel.api_keys._screen
    assert list(screen._found) == [written.read(keys[0]).id, written.read(keys[2]).id]
    await ada.use(keys[1])
    for _ in range(5):
        await refused(kernel, forged(screen.ids.make()))
    assert len(screen._absent) == 2
    for _ in range(5):
        await ada.use(attenuate(keys[0], scopes=["read"]))
    assert len(screen._signatures._marks) == 2


# From before there were tags ------------------------------------------------------------------------------------------


async def as_before(ada: Owner) -> str:
    """A key whose id has no tag, in a database that never heard of tags."""
    record, key = await ada.key(seconds=300 * DAY)
    old_id = new_id()
    database = ada.kernel.database
    await database.run("UPDATE ww_api_keys SET id = :old WHERE id = :id", old=old_id, id=record.id)
    await database.run("DELETE FROM ww_meta WHERE name = 'api_key_ids'")
    return written._written(written._raw_id(old_id) + written.read(key).secret)


async def test_keys_from_before_go_on(open_kernel: Opener) -> None:
    async with open_kernel() as kernel:
        ada = await owner(kernel)
        old = await as_before(ada)
    async with open_kernel() as upgraded:
        for each in (old, attenuate(old, scopes=["read"])):
            assert (await upgraded.api_keys.exchange(each, EVERYTHING, client=HOME)).access_token
        _, fresh, text = await upgraded.api_keys.rotate(ada.claims, written.read(old).id, overlap=HOUR, client=HOME)
        assert UUID(fresh.id).version == 8
        assert (await upgraded.api_keys.exchange(text, EVERYTHING, client=HOME)).access_token


async def test_made_up_keys_as_from_before_share_a_rate(open_kernel: Opener) -> None:
    """⚑ A key that was found here before is not counted, nor is one with a tag; and a repeated one is read once."""
    async with open_kernel() as kernel:
        ada = await owner(kernel)
        old, late = await as_before(ada), await as_before(ada)
    async with open_kernel() as upgraded:
        await upgraded.api_keys.exchange(old, EVERYTHING, client=HOME)
        with calls(upgraded) as asked:
            repeated = new_id()
            for _ in range(FLOOD):
                await refused(upgraded, forged(repeated))
            assert len(asked) == 1
            for _ in range(UNTAGGED_PER_SECOND - 2):
                await refused(upgraded, forged(new_id()))
            for text in (late, *(forged(new_id()) for _ in range(FLOOD))):
                with pytest.raises(Overloaded):
                    await upgraded.api_keys.exchange(text, EVERYTHING, client=HOME)
            assert len(asked) == UNTAGGED_PER_SECOND - 1
        await upgraded.api_keys.exchange(old, EVERYTHING, client=HOME)
        _, key = await Owner(upgraded, ada.id, ada.claims).key()
        await upgraded.api_keys.exchange(key, EVERYTHING, client=HOME)
        upgraded.clock.advance(1)  # type: ignore[attr-defined]
        await upgraded.api_keys.exchange(late, EVERYTHING, client=HOME)
        upgraded.clock.advance(UNTAGGED_FOR)  # type: ignore[attr-defined]
        with calls(upgraded) as asked:
            await refused(upgraded, forged(new_id()))
        assert asked == []


async def test_a_new_database_has_no_keys_from_before(kernel: Kernel) -> None:
    assert kernel.api_keys._screen.ids.untagged_until == 0


async def test_a_database_without_users_may_have_an_older_service_beside_this_one(open_kernel: Opener) -> None:
    """⚑ Its keys come later, and have no tag."""
    async with open_kernel() as older:
        await older.database.run("DELETE FROM ww_meta WHERE name = 'api_key_ids'")
        async with open_kernel() as newer:
            assert newer.api_keys._screen.ids.untagged_until == newer.clock.now() + UNTAGGED_FOR


async def test_all_processes_make_the_same_ids_for_ever(open_kernel: Opener) -> None:
    """Also those that start at once, and under another master secret later."""
    async with open_kernel() as kernel, open_kernel() as other:
        ids = kernel.api_keys._screen.ids
        assert other.api_keys._screen.ids == ids
        await kernel.database.run("DELETE FROM ww_meta WHERE name = 'api_key_ids'")
        made = await asyncio.gather(*[load_key_ids(each.database, 0) for each in (kernel, other, kernel, other)])
        assert len(set(made)) == 1
        assert made[0].secret != ids.secret


def test_an_id_is_a_uuid_and_sorts_by_its_time() -> None:
    ids = KeyIds(os.urandom(32), 0)
    made = [ids.make() for _ in range(500)]
    assert len(set(made)) == len(made)
    assert {(UUID(each).version, UUID(each).variant) for each in made} == {(8, "specified in RFC 4122")}
    assert [each[:13] for each in made] == sorted(each[:13] for each in made)
    assert all(map(ids.are_like, made))


def test_every_bit_of_an_id_counts() -> None:
    ids = KeyIds(os.urandom(32), 0)
    made = UUID(ids.make()).int
    assert ids.are_like(str(UUID(int=made)))
    assert not any(ids.are_like(str(UUID(int=made ^ 1 << bit))) for bit in range(128))


async def test_a_weakened_key_that_is_sent_again_costs_no_signature(
    open_kernel: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⚑ Eight each time, also where the key had ended or its limit was used up, which no limit counts."""
    checks: list[bytes] = []
    real = written.Ed25519PublicKey.from_public_bytes

    class Counting:
        @staticmethod
        def from_public_bytes(data: bytes) -> object:
            checks.append(data)
            return real(data)

    async with open_kernel(api_key_each_limit="1/1h") as kernel:
        ada = await owner(kernel)
        _, key = await ada.key()
        for _ in range(written.MOST_LINKS - 1):
            key = attenuate(key, scopes=["read"])
        live, ended = attenuate(key, scopes=[]), attenuate(key, expires_in=1, clock=FixedClock(1))
        await ada.use(live)
        await refused(kernel, ended)
        monkeypatch.setattr(written, "Ed25519PublicKey", Counting)
        for _ in range(3):
            await refused(kernel, ended)
            with pytest.raises(TooManyAttempts):
                await ada.use(live)
        assert checks == []
        await refused(kernel, _with_wrong_link(key))
        assert len(checks) == 1, "what is new is checked"


def _with_wrong_link(key: str) -> str:
    """A good key with one more link, whose signature is none."""
    parent = written.read(key)
    wrong = written.Link(b'{"scope":""}', os.urandom(32), os.urandom(64))
    links = (*parent.links, wrong)
    parts = [len(each.limits).to_bytes(2, "big") + each.limits + each.public + each.signature for each in links]
    return written._written(written._raw_id(parent.id) + bytes([len(links)]) + b"".join(parts) + os.urandom(32))

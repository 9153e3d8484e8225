"""Administrators, on both engines: who is one now, who made whom, and who is found."""

from __future__ import annotations

import asyncio

import pytest

from tests.identity.scenes import HOME, PASSWORD, claims_of, join, log_in, operator, recorded
from watchword.errors import Conflict, Refused, TokenError, Unauthenticated
from watchword.identity import administrators
from watchword.identity.administration import Administration
from watchword.identity.first_administrator import FirstAdministrator
from watchword.identity.kernel import Kernel
from watchword.identity.user_list import Wanted, page
from watchword.storage.database import Tx, Unit
from watchword.tokens.claims import AccessClaims


def _check(kernel: Kernel, caller: AccessClaims, target: str) -> Unit[None]:
    async def check(tx: Tx) -> None:
        await administrators.require(tx, caller, target, kernel.clock.now())

    return check


async def _admin(kernel: Kernel, name: str) -> AccessClaims:
    await join(kernel, name, roles=("admin",))
    return claims_of(kernel, await log_in(kernel, name))


async def _demote(kernel: Kernel, caller: AccessClaims, target: str) -> bool:
    may = Administration(kernel, client=HOME, actor=caller.sub, check=_check(kernel, caller, target))
    try:
        await may.change_roles(target, lambda _: frozenset())
    except (Unauthenticated, TokenError):
        return False
    return True


async def test_of_two_who_demote_each_other_one_stays(kernel: Kernel) -> None:
    """The second one's check, in the same unit, finds the role gone."""
    for number in range(5):
        one, other = await _admin(kernel, f"a{number}"), await _admin(kernel, f"b{number}")
        done = await asyncio.gather(_demote(kernel, one, other.sub), _demote(kernel, other, one.sub))
        assert sorted(done) == [False, True]
        users = [await kernel.users.find(each.sub) for each in (one, other)]
        assert sorted(user.roles for user in users if user is not None) == [(), ("admin",)]


async def test_a_ring_of_administrators_leaves_one(kernel: Kernel) -> None:
    """Six at once, each demotes the next."""
    ring = [await _admin(kernel, f"r{number}") for number in range(6)]
    await asyncio.gather(*(_demote(kernel, one, ring[(n + 1) % 6].sub) for n, one in enumerate(ring)))
    assert await administrators.any_there(kernel.database)


@pytest.mark.parametrize("change", ["roles = ''", "disabled_at = 1", "token_version = token_version + 1"])
async def test_who_has_just_lost_the_right_is_refused(kernel: Kernel, change: str) -> None:
    """In a look and in a change."""
    caller, other = await _admin(kernel, "root"), await join(kernel, "ada")
    await administrators.look_at(kernel.database, caller, kernel.clock.now())
    await kernel.database.run(f"UPDATE ww_users SET {change} WHERE id = :id", id=caller.sub)
    with pytest.raises((Unauthenticated, TokenError)):
        await administrators.look_at(kernel.database, caller, kernel.clock.now())
    assert not await _demote(kernel, caller, other.id)


async def test_64_uses_of_one_link_make_one_administrator(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of four links likewise: each start prints one."""
    hashed = await kernel.hasher.hash(PASSWORD, address=None)

    async def at_once(*_: object, **__: object) -> str:
        return hashed  # otherwise most would wait to hash, and not meet

    monkeypatch.setattr(kernel.hasher, "hash", at_once)
    first = FirstAdministrator(kernel)
    links = [str(await first.offer()) for _ in range(4)]

    async def attempt(number: int) -> bool:
        try:
            place = HOME._replace(address=f"10.0.{number}.1")
            await first.create(links[number % 4], username=f"u{number}", email=None, password=PASSWORD, client=place)
        except (Conflict, Refused):
            return False
        return True

    assert sum(await asyncio.gather(*map(attempt, range(64)))) == 1
    assert len(await recorded(kernel, "ww_users")) == 1
    assert await first.offer() is None


async def test_users_are_found_by_each_filter(kernel: Kernel) -> None:
    """The same on both engines; no name of a role is a part of another one."""
    ada = await join(kernel, "ada", roles=("reader", "writer"))
    bob = await join(kernel, "bob", roles=("reader2",))
    await operator(kernel).disable(bob.id)
    await kernel.database.run("UPDATE ww_users SET email_verified_at = 5 WHERE id = :id", id=ada.id)

    async def found(wanted: Wanted) -> list[str | None]:
        return [user.username for user in await page(kernel.database, wanted, limit=9)]

    assert await found(Wanted()) == ["ada", "bob"]
    assert await found(Wanted(role="reader")) == ["ada"]
    assert await found(Wanted(role="read")) == await found(Wanted(role="reader writer2")) == []
    assert await found(Wanted(disabled=True)) == await found(Wanted(verified=False)) == ["bob"]
    assert await found(Wanted(disabled=False)) == await found(Wanted(verified=True)) == ["ada"]
    assert await found(Wanted(search="AD")) == ["ada"]
    assert await found(Wanted(search="example.org", role="reader2", disabled=True)) == ["bob"]

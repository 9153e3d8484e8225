"""Guard keys: shown once, kept as a fingerprint, refused when revoked."""

from __future__ import annotations

import pytest

from tests.identity.scenes import HOME, HOUR, file_contents, meddle, recorded, statements
from watchword.clock import FixedClock
from watchword.errors import Conflict, InvalidInput, NotFound, StorageUnavailable
from watchword.identity.kernel import Kernel
from watchword.storage.database import Database, Value


@pytest.mark.sqlite
async def test_J14_the_key_is_shown_once_and_not_stored(kernel: Kernel) -> None:
    """256 bits behind a prefix that secret scanners know; of the file's bytes none is the key's."""
    key, secret = await kernel.guard_keys.create("orders", client=HOME)
    assert secret.startswith("wwg_")
    assert len(secret) == 4 + 43
    assert secret not in repr(key)
    assert secret[4:].encode() not in file_contents(kernel)
    (row,) = await recorded(kernel, "ww_guard_keys")
    assert len(row["key_hash"]) == 64
    assert (await kernel.guard_keys.find(secret)) == key
    assert (await kernel.guard_keys.create("stock", client=HOME))[1] != secret


async def test_revoked_and_made_again_under_the_same_name(kernel: Kernel, clock: FixedClock) -> None:
    """The old key is refused from then on, the name is free, and the list tells of both."""
    _, old = await kernel.guard_keys.create("orders", client=HOME)
    with pytest.raises(Conflict) as caught:
        await kernel.guard_keys.create("orders", client=HOME)
    assert caught.value.code == "name_taken"
    clock.advance(5)
    revoked = await kernel.guard_keys.revoke("orders", client=HOME)
    assert revoked.revoked_at == clock.now()
    assert await kernel.guard_keys.find(old) is None
    with pytest.raises(NotFound):
        await kernel.guard_keys.revoke("orders", client=HOME)
    fresh, secret = await kernel.guard_keys.create("orders", client=HOME)
    assert await kernel.guard_keys.find(secret) == fresh
    assert await kernel.guard_keys.find(old) is None
    listed = await kernel.guard_keys.all()
    assert [(key.name, key.revoked_at is None) for key in listed] == [("orders", False), ("orders", True)]


@pytest.mark.parametrize("name", ["", " ", "a b", "a\n", "ö", "a/b", "x" * 65, "a\0", "٣"])
async def test_names_that_are_none(kernel: Kernel, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await kernel.guard_keys.create(name, client=HOME)
    assert [error.field for error in caught.value.errors] == ["name"]
    assert await recorded(kernel, "ww_guard_keys") == []


@pytest.mark.parametrize("name", ["a", "orders-api_2.eu", "X" * 64])
async def test_names_that_are_good(kernel: Kernel, name: str) -> None:
    assert (await kernel.guard_keys.create(name, client=HOME))[0].name == name


@pytest.mark.sqlite
async def test_what_cannot_be_a_key_costs_no_database_call(kernel: Kernel) -> None:
    """Garbage in a storm of polls."""
    _, secret = await kernel.guard_keys.create("orders", client=HOME)
    with statements(kernel) as seen:
        for wrong in ("", "wwg_", secret[:-1], secret + "A", "wwr_" + secret[4:], "wwg_" + "é" * 43, secret[4:]):
            assert await kernel.guard_keys.find(wrong) is None
    assert seen.seen == []
    assert await kernel.guard_keys.find("wwg_" + "A" * 43) is None


@pytest.mark.sqlite
async def test_use_is_noted_once_an_hour(kernel: Kernel, clock: FixedClock) -> None:
    """So that an operator sees which keys are in use, and a poll costs no write."""
    _, secret = await kernel.guard_keys.create("orders", client=HOME)
    for _ in range(3):
        await kernel.guard_keys.find(secret)
    first = clock.now()
    clock.advance(HOUR - 1)
    with statements(kernel) as seen:
        await kernel.guard_keys.find(secret)
    assert not [statement for statement in seen.seen if statement.startswith("UPDATE")]
    assert (await kernel.guard_keys.all())[0].last_used_at == first
    clock.advance(1)
    await kernel.guard_keys.find(secret)
    assert (await kernel.guard_keys.all())[0].last_used_at == clock.now()


class Full:
    """The real database on a disk that is full: it is read, and nothing can be written."""

    def __init__(self, database: Database) -> None:
        self.one = database.one

    async def run(self, sql: str, /, **values: Value) -> int:
        raise StorageUnavailable("injected")


async def test_a_use_that_cannot_be_noted_is_a_use(kernel: Kernel) -> None:
    """A full disk must not cut every guard off from what has been revoked; a database that cannot be read does."""
    key, secret = await kernel.guard_keys.create("orders", client=HOME)
    kernel.guard_keys._database = Full(kernel.database)  # type: ignore[assignment]
    assert await kernel.guard_keys.find(secret) == key
    await kernel.database.close()
    with pytest.raises(StorageUnavailable):
        await kernel.guard_keys.find(secret)


@pytest.mark.sqlite
async def test_J9_making_and_revoking_are_audited(kernel: Kernel) -> None:
    """With the key's id and name; in the same unit, so that neither happens without the other."""
    key, secret = await kernel.guard_keys.create("orders", client=HOME)
    await kernel.guard_keys.revoke("orders", client=HOME)
    made, revoked = [one for one in await recorded(kernel, "ww_audit") if one["event"].startswith("guard_key")]
    assert (made["event"], revoked["event"]) == ("guard_key_created", "guard_key_revoked")
    for record in (made, revoked):
        assert key.id in record["detail"]
        assert "orders" in record["detail"]
        assert secret not in str(record)
    meddle(kernel, "CREATE TRIGGER fault BEFORE INSERT ON ww_audit BEGIN SELECT RAISE(ABORT, 'injected'); END")
    with pytest.raises(Exception, match="injected"):
        await kernel.guard_keys.create("stock", client=HOME)
    assert [one.name for one in await kernel.guard_keys.all()] == ["orders"]

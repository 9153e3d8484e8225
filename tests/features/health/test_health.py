"""Health over HTTP."""

from __future__ import annotations

import sqlite3

import pytest

from tests.e2e.client import PASSWORD
from tests.features.api import Api
from watchword.errors import StorageUnavailable
from watchword.identity.audit import LOCAL
from watchword.identity.granting import unchecked
from watchword.identity.keys.master import Master
from watchword.identity.keys.store import KeyStore
from watchword.storage import sqlite


async def test_livez_checks_nothing(api: Api) -> None:
    """200 as long as the process answers, also when the database is gone."""
    await api.kernel.database.close()
    answer = await api.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_readyz_names_its_checks(api: Api) -> None:
    """200 when a request could be served; `/healthz` says the same."""
    for path in ("/readyz", "/healthz"):
        answer = await api.get(path)
        names = ("accepting", "database", "writes", "migrations", "keys", "revocations")
        assert answer.json() == {"status": "ok", "checks": dict.fromkeys(names, True)}


async def test_readyz_is_503_without_a_database(api: Api) -> None:
    """C7: with `Retry-After`, and saying which check failed; never a 401 or a 500 for a fault of ours."""
    await api.kernel.database.close()
    answer = await api.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unavailable"
    assert answer.json()["checks"]["database"] is False
    assert answer.json()["checks"]["keys"] is True
    assert answer.headers["retry-after"] == "1"


async def test_readyz_is_503_from_the_first_lost_write_to_the_next_that_is_stored(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⚑ A full disk: reading works, nothing can be stored. What changes nothing, and so succeeds, does not count."""
    disk = FullDisk(api, monkeypatch)
    monkeypatch.setattr(sqlite, "PROBE_SECONDS", 0)
    assert (await api.get("/readyz")).status_code == 200, "nobody has found out yet"
    assert (await api.post("/register", json={"username": "bob", "password": PASSWORD})).status_code == 503
    for _ in range(2):
        answer = await api.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["writes"]) == (503, False)
        assert answer.json()["checks"]["database"] is True
        await api.kernel.database.run("UPDATE ww_users SET username = 'x' WHERE id = 'nobody'")
    disk.full = False
    assert (await api.get("/readyz")).json()["checks"]["writes"] is True
    await api.register("bob")


class FullDisk:
    """A commit with anything in it fails, on whichever connection."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = True
        writer = api.kernel.database._writer  # type: ignore[attr-defined]
        commit, before = writer._commit, writer._connection.total_changes
        stored = {writer._connection: before}

        def full_commit(connection: sqlite3.Connection) -> None:
            if self.full and connection.total_changes > stored.get(connection, 0):
                raise sqlite3.OperationalError("database or disk is full")
            commit(connection)

        monkeypatch.setattr(writer, "_commit", full_commit)


async def test_a_lost_write_is_looked_into_once_a_second(api: Api) -> None:
    """Whoever asks often does not make the service write often."""
    writer, probes = api.kernel.database._writer, []  # type: ignore[attr-defined]
    transact = writer.transact
    writer.transact = lambda unit, **more: probes.append(unit) or transact(unit, **more)
    assert await api.kernel.database.writable()
    assert probes == []
    writer.failed = True
    assert await api.kernel.database.writable()
    writer.failed = True
    assert not await api.kernel.database.writable()
    assert len(probes) == 1


async def test_readyz_is_503_when_what_it_signs_is_accepted_by_nobody(api: Api) -> None:
    """⚑ Its key was revoked, and the next is sealed with a secret that this process was not started with."""
    kernel = api.kernel
    assert (await api.get("/readyz")).json()["checks"]["keys"] is True
    other = KeyStore(kernel.database, kernel.revocations, Master((b"x" * 32,)), kernel.clock)
    await other.revoke(None, client=LOCAL, check=unchecked)
    await kernel.keys.reload()
    answer = await api.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["keys"]) == (503, False)
    await api.register("bob")
    refused = await api.post("/login", json={"username": "bob", "password": PASSWORD})
    assert (refused.status_code, refused.json()["code"]) == (503, StorageUnavailable.code)


async def test_readyz_is_503_when_another_master_secret_has_taken_over(api: Api) -> None:
    """⚑ Before any key has changed: what others make from now on cannot be read here."""
    value = "UPDATE ww_meta SET value = :value WHERE name = 'master_check'"
    row = await api.kernel.database.one("SELECT value FROM ww_meta WHERE name = 'master_check'")
    assert row is not None
    for check, ready in (("another", False), (row["value"], True)):
        await api.kernel.database.run(value, value=check)
        await api.kernel.keys.reload()
        assert (await api.get("/readyz")).json()["checks"]["keys"] is ready


async def test_readyz_is_503_when_revocations_are_not_followed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """⚑ A process that has not looked for five seconds may accept what another has ended."""
    follower = api.kernel.revocations
    for silence, ready in ((4.5, True), (5.5, False)):
        await follower.poll()
        follower._heard_at -= silence
        answer = await api.get("/readyz")
        assert (answer.status_code == 200, answer.json()["checks"]["revocations"]) == (ready, ready)


async def test_C7_a_lost_database_is_nobodys_wrong_password(api: Api) -> None:
    """Every route that needs it says 503 and when to come back; the token check needs none and still refuses."""
    token = await api.newcomer()
    await api.kernel.database.close()
    login = {"username": "ada", "password": "plum-orbit-canvas"}
    for answer in (
        await api.post("/login", json=login),
        await api.post("/register", json=login),
        await api.as_bearer("GET", "/profile", token),
        await api.post("/refresh"),
        await api.post("/logout"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, StorageUnavailable.code), answer.text
        assert "closed" not in answer.text
    grant = await api.post("/token", data={"grant_type": "password", **login})
    assert (grant.status_code, grant.json()["error"]) == (503, "temporarily_unavailable")
    assert (await api.get("/profile")).status_code == 401

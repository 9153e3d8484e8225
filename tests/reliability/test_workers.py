"""Several workers and several hosts: who is replaced, who signs, and what a rolling restart loses."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import asyncpg
import httpx2
import pytest

from tests.cli.worker_processes import is_there, until, workers_of
from tests.e2e.client import bearer
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED, Server
from tests.postgres import Server as Postgres
from tests.postgres import running
from tests.reliability.balanced import People

SECRET = "cG9zdGdyZXMgdGVzdHMgbmVlZCBhIHNlY3JldCwgdG9vIQ"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running(18, max_connections="400") as server:
        yield server


@pytest.fixture
def url(postgres: Postgres) -> str:
    """An empty database."""
    name = f"app_{time.monotonic_ns()}"
    postgres.sql(f"CREATE DATABASE {name}")
    return postgres.url(name)


def on_postgres(url: str) -> dict[str, str]:
    public = {"WATCHWORD_PUBLIC_URL": "http://127.0.0.1:4000"}
    return {"DATABASE_URL": url, "WATCHWORD_SECRET": SECRET, **public, **UNLIMITED}


def asked(url: str, sql: str) -> list[Any]:
    """The rows of a database on PostgreSQL."""

    async def ask() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(sql))
        finally:
            await connection.close()

    return asyncio.run(ask())


def pid_of(server: Server) -> int:
    assert server._process is not None
    return server._process.pid


ACTIVE = "SELECT kid FROM ww_signing_keys WHERE status = 'active'"


def signing_kids(servers: list[Server], times: int) -> set[str]:
    """The keys in the key sets, asked on fresh connections."""
    kids: set[str] = set()
    for server in servers:
        for _ in range(times):
            keys = httpx2.get(f"{server.origin}/.well-known/jwks.json").json()["keys"]
            kids |= {key["kid"] for key in keys}
    return kids


@pytest.mark.timeout(300)
def test_eight_workers_on_an_empty_file_have_one_key(serve: Serve) -> None:
    server = serve("--workers", "8", **UNLIMITED)
    until(lambda: len(workers_of(pid_of(server))) == 8)
    with closing(sqlite3.connect(server.data / "watchword.db")) as database:
        (active,) = database.execute(ACTIVE).fetchall()
        until(lambda: database.execute("SELECT COUNT(*) FROM ww_signing_keys").fetchone() == (2,))
    with server.client() as client:
        name = client.register()["username"]
    for _ in range(40):  # each on a connection of its own, so on every worker
        with server.client() as client:
            token = client.log_in(name)
            assert _kid(token) == active[0]
            assert client.get("/profile", headers=bearer(token)).status_code == 200


@pytest.mark.timeout(300)
def test_eight_services_on_an_empty_postgres_have_one_key(serve: Serve, url: str) -> None:
    """Eight hosts at the same moment: one makes the tables, one key signs, one is next, and one host has each job."""
    barrier = threading.Barrier(8)

    def start(_: int) -> Server:
        barrier.wait()
        return serve(**on_postgres(url))

    with ThreadPoolExecutor(8) as threads:
        servers = list(threads.map(start, range(8)))
    (active,) = asked(url, ACTIVE)
    until(lambda: len(asked(url, "SELECT kid FROM ww_signing_keys")) == 2)
    both = {row["kid"] for row in asked(url, "SELECT kid FROM ww_signing_keys")}
    until(lambda: signing_kids(servers, 1) == both)
    with servers[0].client(inspected=False) as client:
        name = client.register()["username"]
    for server in servers:
        with server.client(inspected=False) as client:
            assert _kid(client.log_in(name)) == active["kid"]
    (lease,) = asked(url, "SELECT holder FROM ww_leases WHERE job = 'keys'")
    for server in servers:
        assert server.stop() == 0
    assert asked(url, "SELECT job FROM ww_leases") == [], "given up at the stop"
    assert lease["holder"]


def _kid(token: str) -> str:
    import jwt

    return str(jwt.get_unverified_header(token)["kid"])


@pytest.mark.timeout(300)
def test_a_worker_that_cannot_start_is_tried_again(serve: Serve) -> None:
    """⚑ It ended the whole service, though the other worker served."""
    server = serve("--workers", "2", **UNLIMITED)
    until(lambda: len(workers_of(pid_of(server))) == 2)
    time.sleep(3)  # both serve, and the supervisor has heard of it
    secret = server.data / "master.secret"
    aside = secret.rename(server.folder / "aside")
    victim = min(workers_of(pid_of(server)))
    os.kill(victim, signal.SIGKILL)
    until(lambda: server.log().count("worker_not_started") >= 2)
    until(lambda: server.log().count("worker_ended") >= 3)
    assert server.running
    for _ in range(20):
        assert httpx2.get(f"{server.origin}/readyz").status_code == 200
    aside.rename(secret)
    until(lambda: len(workers_of(pid_of(server))) == 2 and _both_serve(server))
    assert server.stop() == 0


def _both_serve(server: Server) -> bool:
    """Whether none has ended for longer than a start takes."""
    before = server.log().count("worker_ended")
    time.sleep(5)
    return server.log().count("worker_ended") == before


@pytest.mark.timeout(300)
def test_a_worker_that_stands_still_is_replaced(serve: Serve) -> None:
    """While all of it stands still, as after Ctrl-Z, no one is."""
    server = serve("--workers", "2", **UNLIMITED)
    until(lambda: len(workers_of(pid_of(server))) == 2)
    time.sleep(3)
    before = workers_of(pid_of(server))
    for pid in (pid_of(server), *before):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(20)
    for pid in (*before, pid_of(server)):
        os.kill(pid, signal.SIGCONT)
    time.sleep(3)
    assert workers_of(pid_of(server)) == before
    victim = min(before)
    os.kill(victim, signal.SIGSTOP)
    until(lambda: not is_there(victim))
    until(lambda: len(workers_of(pid_of(server))) == 2)
    assert "worker_hung" in server.log()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_rolling_restart_of_two_hosts_loses_nothing(serve: Serve, url: str, workers: str) -> None:
    """Each host twice, under load: every request has its answer, and what was answered is stored."""
    hosts = [serve("--workers", workers, "--drain", "2", **on_postgres(url)) for _ in range(2)]
    people = People([host.port for host in hosts], threads=6)
    try:
        people.wait_for(100)
        for host in (*hosts, *hosts):
            assert host.stop() == 0, host.log()
            host.start()
            people.wait_for(100)
    finally:
        people.stop()
    print(f"{workers} workers: {dict(people.told)}, {len(people.registered)} registered, {len(people.lost)} lost")
    assert (people.lost, people.odd) == ([], [])
    stored = {row["username"]: row["id"] for row in asked(url, "SELECT username, id FROM ww_users")}
    assert stored == people.registered
    assert people.ended
    for host in hosts:
        with httpx2.Client(base_url=host.origin) as client:

            def refused(token: str, client: httpx2.Client = client) -> bool:
                return client.get("/profile", headers=bearer(token)).status_code == 401

            until(lambda: refused(people.ended[-1]))  # this process may read the feed a moment later
            until(lambda: all(refused(token) for token in people.ended))


@pytest.mark.timeout(300)
def test_workers_that_are_killed_under_load_lose_only_what_they_were_doing(serve: Serve, url: str) -> None:
    """Six times one that serves is killed: the port stays, what was answered is stored, and no session is harmed."""
    host = serve("--workers", "2", **on_postgres(url))
    until(lambda: len(workers_of(pid_of(host))) == 2)
    people = People([host.port], threads=4)
    try:
        for _ in range(6):
            until(lambda: len(workers_of(pid_of(host))) == 2)
            people.wait_for(100)
            os.kill(min(workers_of(pid_of(host))), signal.SIGKILL)
    finally:
        people.stop()
    print(f"{dict(people.told)}, {len(people.registered)} registered, {len(people.lost)} cut off by a kill")
    assert people.odd == []
    assert 0 < len(people.lost) <= 6 * 4, "a kill cuts off what that worker was doing, and no more"
    assert set(people.told) == {"200", "201", "204"}, "what no worker can take yet waits"
    stored = {row["username"]: row["id"] for row in asked(url, "SELECT username, id FROM ww_users")}
    assert people.registered.items() <= stored.items()
    assert host.stop() == 0

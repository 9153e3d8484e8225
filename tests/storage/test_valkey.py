"""A Valkey that is slow, silent, reset, restarted or wrong: real servers, and a proxy between."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.reliability.proxy import Proxy
from tests.storage.valkey_server import Server, connected, fallback, free_port, served, url
from watchword.errors import SettingsError, StorageUnavailable
from watchword.storage import valkey as module
from watchword.storage.ephemeral import Counted, Exhausted, Quota, Reservation
from watchword.storage.ephemeral_redis import SLACK, RedisCounters
from watchword.storage.ephemeral_sql import SQLEphemeral
from watchword.storage.sqlite import SQLite
from watchword.storage.valkey import FAILURES, Away, Breaker, opened
from watchword.storage.valkey_hints import ValkeyHints

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000
GUIDE = Path(__file__).parents[2] / "docs/guides/scale-out.md"
PATIENT = 60.0  # a deadline that no machine misses


async def until(done: Callable[[], bool]) -> None:
    for _ in range(2000):
        if done():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


@pytest.mark.parametrize("harm", ["slow", "hole", "reset", "stopped"])
async def test_a_sick_server_costs_a_few_waits(
    own_valkey: Server, database: SQLite, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⚑ Every count is answered, by the database; after three failures the server is not asked again."""
    monkeypatch.setattr(module, "FIRST_PAUSE", 3600.0)
    async with Proxy(own_valkey.port) as proxy, connected(url(proxy.port)) as valkey:
        store = fallback(valkey, database)
        if harm == "slow":
            proxy.answers.delay = 0.5
        elif harm == "stopped":
            own_valkey.stop()
        elif harm == "hole":
            proxy.swallow()
        else:
            proxy.reset()
        for n in range(1, 8):
            assert await store.count("a", lifetime=60, now=NOW) == Counted(n, NOW + 60)
            assert valkey.breaker.is_open == (n >= FAILURES)
        accepted = proxy.accepted
        assert isinstance(await store.reserve([Quota("a", 60, 7)], NOW), Exhausted)
        assert proxy.accepted == accepted, "it is left alone"


async def test_it_is_asked_again_after_a_pause(own_valkey: Server, database: SQLite) -> None:
    """What was counted meanwhile is not known in Valkey; a new connection is made by itself."""
    async with connected(own_valkey.url, deadline=PATIENT) as valkey:
        store = fallback(valkey, database)
        assert (await store.count("a", lifetime=60, now=NOW)).amount == 1
        own_valkey.stop()
        with structlog.testing.capture_logs() as lines:
            for n in range(1, 5):
                assert (await store.count("a", lifetime=60, now=NOW)).amount == n
            own_valkey.start()
            valkey.breaker._closed_until = 0.0
            assert (await store.count("a", lifetime=60, now=NOW)).amount == 1, "restarted empty"
        assert [line["event"] for line in lines] == ["valkey_away", "valkey_back"]
        assert (await store.count("a", lifetime=60, now=NOW)).amount == 2


def test_the_pause_grows_to_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """One command tries after each; those that were under way when it opened do not lengthen it."""
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    breaker = Breaker()
    assert [breaker.failed() for _ in range(5)] == [False, False, True, False, False]
    pauses = []
    for _ in range(8):
        begun = now[0]
        while not breaker.admit():
            now[0] += 0.05
        pauses.append(now[0] - begun)
        assert not breaker.admit(), "one at a time"
        assert not breaker.failed(), "told once"
    assert pauses[0] == pytest.approx(0.1, abs=0.06)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(5.0, abs=0.06)
    now[0] += 6
    assert breaker.admit()
    breaker.left()
    assert breaker.admit(), "one that was cancelled leaves its turn to the next"
    assert breaker.answered()
    assert breaker.admit()
    assert breaker.admit()


async def test_no_command_reads_the_answer_of_another(own_valkey: Server) -> None:
    """⚑ One that is cancelled or late closes its connection: its late answer must reach no other command."""
    async with Proxy(own_valkey.port) as proxy, connected(url(proxy.port), deadline=PATIENT) as valkey:
        counters = RedisCounters(valkey)
        await counters.count("warm", lifetime=60, now=NOW)
        for n in range(40):  # more than there are connections: none is lost
            proxy.answers.delay = 0.02
            task = asyncio.create_task(counters.count(f"first {n}", by=1000 + n, lifetime=60, now=NOW))
            await asyncio.sleep(0.01)
            task.cancel()
            with suppress(asyncio.CancelledError):  # Python 3.11 loses a cancellation that meets the end of a write
                assert await task == Counted(1000 + n, NOW + 60)
            proxy.answers.delay = 0
            assert await counters.count(f"second {n}", lifetime=60, now=NOW) == Counted(1, NOW + 60)
        valkey._deadline = 0.02
        proxy.answers.delay = 0.1
        with pytest.raises(Away):
            await counters.count("late", by=77, lifetime=60, now=NOW)
        valkey._deadline, proxy.answers.delay = PATIENT, 0
        assert await counters.count("next", lifetime=60, now=NOW) == Counted(1, NOW + 60)


async def test_closing_waits_for_the_commands_under_way(own_valkey: Server) -> None:
    """A connection that was being opened when the others were closed stayed open; later commands are not sent."""
    async with Proxy(own_valkey.port) as proxy:
        async with connected(url(proxy.port), deadline=PATIENT) as valkey:
            proxy.answers.delay = 0.02
            counters = RedisCounters(valkey)
            asked = [asyncio.create_task(counters.count(f"{n}", lifetime=60, now=NOW)) for n in range(40)]
            await asyncio.sleep(0)
        pool = valkey.client.connection_pool
        assert not [each for each in (*pool._available_connections, *pool._in_use_connections) if each.is_connected]
        ended = await asyncio.gather(*asked, return_exceptions=True)
        assert ended.count(Counted(1, NOW + 60)) == 32
        assert [each.asked for each in ended if isinstance(each, Away)] == [False] * 8
        with pytest.raises(Away):
            await counters.count("late", lifetime=60, now=NOW)


async def test_places_are_given_back_where_they_were_taken(own_valkey: Server, database: SQLite) -> None:
    """⚑ Not in the other store, where the same window may hold another attempt's failure."""
    async with connected(own_valkey.url, deadline=PATIENT) as valkey:
        store, sql = fallback(valkey, database), SQLEphemeral(database)
        in_valkey = await store.reserve([Quota("a", 60, 9)], NOW)
        valkey.breaker._failures, valkey.breaker._closed_until = FAILURES, float("inf")
        in_database = await store.reserve([Quota("a", 60, 9)], NOW)
        assert in_valkey == in_database == [Reservation("a", NOW + 60)]
        assert isinstance(in_valkey, list)
        assert isinstance(in_database, list)
        with pytest.raises(StorageUnavailable):
            await store.give_back(in_valkey, NOW)
        assert (await sql.count("a", by=0, lifetime=60, now=NOW)).amount == 1
        valkey.breaker._failures = 0
        await store.give_back(in_database, NOW)
        assert (await sql.count("a", by=0, lifetime=60, now=NOW)).amount == 0
        assert (await store.count("a", by=0, lifetime=60, now=NOW)).amount == 1
        await store.give_back(in_valkey, NOW)
        assert (await store.count("a", by=0, lifetime=60, now=NOW)).amount == 0


async def test_what_may_have_been_given_back_is_not_given_back_again(own_valkey: Server, database: SQLite) -> None:
    """⚑ The answer was lost: it stays as it is, since a second time would undo another attempt's failure."""
    async with Proxy(own_valkey.port) as proxy, connected(url(proxy.port), deadline=0.5) as valkey:
        store = fallback(valkey, database)
        held = await store.reserve([Quota("a", 60, 9)], NOW)
        assert isinstance(held, list)
        proxy.answers.resets = 1.0
        await store.give_back(held, NOW)


async def test_a_value_is_never_taken_twice(own_valkey: Server, database: SQLite) -> None:
    """⚑ Values are in the database only, whatever Valkey does between putting and taking."""
    async with connected(own_valkey.url, deadline=PATIENT) as valkey:
        store = fallback(valkey, database)
        for name, steps in (("up", ()), ("down", (own_valkey.stop,)), ("again", (own_valkey.start,))):
            await store.put(name, "x", 60, NOW)
            for step in steps:
                step()
            taken = await asyncio.gather(*[store.take(name, NOW) for _ in range(20)])
            assert sorted(taken, key=str) == [None] * 19 + ["x"]
        valkey.breaker._closed_until = 0.0
        assert [await store.take(name, NOW) for name in ("up", "down", "again")] == [None] * 3


@pytest.mark.parametrize("ahead", [-60, 60])
async def test_clocks_a_minute_apart(own_valkey: Server, ahead: int) -> None:
    """The server's time to live is relative and longer: the service's clock ends a window, and it alone."""
    async with connected(own_valkey.url, deadline=PATIENT) as valkey:
        counters = RedisCounters(valkey)
        seconds, _ = await valkey.client.time()
        now = seconds + ahead
        assert await counters.count("a", lifetime=60, now=now) == Counted(1, now + 60)
        for later in (0, 30, 59):
            counted = await counters.count("a", lifetime=60, now=now + later)
            assert counted.expires_at == now + 60
        left = await valkey.client.ttl(f"{valkey.namespace}count:a")
        assert 60 < left <= 60 + SLACK
        assert await counters.count("a", lifetime=60, now=now + 60) == Counted(1, now + 120)


async def test_two_installations_do_not_meet(own_valkey: Server) -> None:
    """One server, two services with databases of their own."""
    async with connected(own_valkey.url, deadline=PATIENT) as one, connected(own_valkey.url, deadline=PATIENT) as other:
        for valkey in (one, other):
            assert (await RedisCounters(valkey).count("a", lifetime=60, now=NOW)).amount == 1


async def test_a_full_server_is_an_absent_one(database: SQLite) -> None:
    """Without eviction it refuses writes; the database counts."""
    with served("valkey 9", "--maxmemory", "1") as server:
        async with connected(server.url, deadline=PATIENT) as valkey:
            store = fallback(valkey, database)
            assert [(await store.count("a", lifetime=60, now=NOW)).amount for _ in range(5)] == [1, 2, 3, 4, 5]


async def at_start(url: str) -> list[str]:
    with structlog.testing.capture_logs() as lines:
        async with opened(url, "ww:"):
            pass
    return [line["event"] for line in lines]


async def test_the_start_is_silent_with_a_good_server(valkeys: Callable[[str], Server]) -> None:
    """The newest, and the oldest that is supported."""
    for name in ("valkey 9", "redis 6.2"):
        assert await at_start(valkeys(name).url) == []


async def test_the_start_warns_of_a_server_that_is_away() -> None:
    assert await at_start(f"redis://127.0.0.1:{free_port()}/0") == ["valkey_away"]


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_the_start_warns_of_a_server_that_evicts(policy: str) -> None:
    """Once, in one line: what it forgets is a limit."""
    with served("valkey 9", "--maxmemory-policy", policy) as server:
        assert await at_start(server.url) == ["valkey_evicts"]


async def test_the_start_warns_of_a_replica(own_valkey: Server) -> None:
    with served("valkey 9", "--replicaof", "127.0.0.1", str(own_valkey.port)) as replica:
        assert await at_start(replica.url) == ["valkey_is_a_replica"]


async def refused(url: str) -> str:
    with pytest.raises(SettingsError) as caught:
        await at_start(url)
    (fault,) = caught.value.faults
    assert fault.setting == "WATCHWORD_REDIS_URL"
    assert fault.hint
    assert "hunter2" not in str(caught.value) + fault.message + fault.hint
    return fault.message


async def test_the_start_refuses_a_wrong_password() -> None:
    """None, a wrong one, or one for a server that has none; the text of the refusal does not hold it."""
    with served("valkey 9", "--requirepass", "right") as server:
        at = f"127.0.0.1:{server.port}"
        for url in (f"redis://{at}", f"redis://:hunter2@{at}", f"redis://someone:hunter2@{at}"):
            assert "password" in await refused(url)
        assert await at_start(f"redis://:right@{at}") == []


async def test_a_user_needs_the_rights_of_the_guide(valkeys: Callable[[str], Server]) -> None:
    """These and no others; one that may not even look is refused at the start."""
    assert module.RIGHTS in GUIDE.read_text()
    for name in ("valkey 9", "redis 6.2"):
        server = valkeys(name)
        with_rights = f"redis://{name[:5]}:hunter2@127.0.0.1:{server.port}/1"
        async with connected(server.url, deadline=PATIENT) as admin:
            own: Any = admin.client.execute_command
            reset = ["ACL", "SETUSER", name[:5], "reset", "on", ">hunter2"]
            await own(*reset)
            assert "may not" in await refused(f"redis://{name[:5]}:hunter2@127.0.0.1:{server.port}/0")
            await own(*reset, *module.RIGHTS.split())
        assert await at_start(with_rights) == []
        async with connected(with_rights, deadline=PATIENT, namespace=f"ww:{name}:") as valkey:
            counters = RedisCounters(valkey)
            held = await counters.reserve([Quota("a", 60, 9)], NOW)
            assert isinstance(held, list)
            await counters.give_back(held, NOW)
            async with ValkeyHints(valkey).running() as hears, ValkeyHints(valkey).running() as tells:
                await hears.wait(3600)
                tells.tell()
                await hears.wait(3600)


async def test_the_start_refuses_a_database_that_is_not_there(own_valkey: Server) -> None:
    assert "database" in await refused(f"redis://127.0.0.1:{own_valkey.port}/99")


async def test_the_start_refuses_what_speaks_something_else() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert "not by a Redis" in await refused(f"redis://127.0.0.1:{port}")
        assert "no TLS" in await refused(f"rediss://127.0.0.1:{port}")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A folder with a certificate for localhost and its key."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    options = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "ca.pem"]
    subprocess.run([*command.split(), *options], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


async def test_tls(certificate: Path) -> None:
    """A certificate of one's own authority is believed when it is named, and only then; no TLS is no certificate."""

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate / "ca.pem", certificate / "key.pem")
    async with await asyncio.start_server(swallow, "localhost", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        assert "certificate" in await refused(f"rediss://:hunter2@localhost:{port}/0")
        known = f"rediss://localhost:{port}/0?ssl_ca_certs={certificate}/ca.pem"
        assert await at_start(known) == ["valkey_away"], "past the handshake"


async def test_rediss_to_a_server_without_tls(own_valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for a command as we wait for its certificate: away, and the line names TLS."""
    monkeypatch.setattr(module, "_START_SECONDS", 0.2)
    with structlog.testing.capture_logs() as lines:
        async with opened(f"rediss://127.0.0.1:{own_valkey.port}/0", "ww:"):
            pass
    assert ["TLS" in line["hint"] for line in lines] == [True]


async def test_a_hint_wakes_the_others(own_valkey: Server) -> None:
    """Long before the poll; of another installation's hints nothing is heard."""
    async with (
        connected(own_valkey.url, deadline=PATIENT, namespace="a:") as one,
        connected(own_valkey.url, deadline=PATIENT, namespace="a:") as two,
        connected(own_valkey.url, deadline=PATIENT, namespace="b:") as stranger,
        ValkeyHints(one).running() as tells,
        ValkeyHints(two).running() as hears,
        ValkeyHints(stranger).running() as apart,
    ):
        for each in (tells, hears, apart):
            await each.wait(3600)  # that listening has begun is a hint, too
        tells.tell()
        await hears.wait(3600)
        assert not apart._heard.is_set()


async def test_hints_come_back_with_the_server(own_valkey: Server) -> None:
    """Without it `wait` is a pause; what was told meanwhile is looked for when listening begins again."""
    async with (
        connected(own_valkey.url, deadline=PATIENT) as valkey,
        ValkeyHints(valkey).running() as hears,
        ValkeyHints(valkey).running() as tells,
    ):
        await hears.wait(3600)
        own_valkey.stop()
        tells.tell()
        await hears.wait(0.01)
        own_valkey.start()
        await hears.wait(3600)
        valkey.breaker.answered()
        tells.tell()
        await hears.wait(3600)


async def test_a_process_hears_itself_without_the_server() -> None:
    """What was committed here is read at once, whether or not Valkey is there."""
    async with (
        connected(f"redis://127.0.0.1:{free_port()}/0", deadline=PATIENT) as valkey,
        ValkeyHints(valkey).running() as hints,
    ):
        hints.tell()
        await hints.wait(3600)


async def test_a_silent_line_is_left(own_valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that lost its other end says nothing for ever: it is asked, and made anew."""
    monkeypatch.setattr("watchword.storage.valkey_hints._QUIET_SECONDS", 0.05)
    async with (
        Proxy(own_valkey.port) as proxy,
        connected(url(proxy.port), deadline=PATIENT) as valkey,
        ValkeyHints(valkey).running() as hints,
    ):
        await hints.wait(3600)
        accepted = proxy.accepted
        proxy.swallow()
        await until(lambda: proxy.accepted > accepted)
        proxy.mend()
        proxy.cut()
        await hints.wait(3600)


def test_the_figures_of_the_guide() -> None:
    """They are promised there and decided here."""
    told: dict[str, Any] = {"deadline": module.DEADLINE, "failures": FAILURES, "longest": module.LONGEST_PAUSE}
    assert told == {"deadline": 0.05, "failures": 3, "longest": 5.0}

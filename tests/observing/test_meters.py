"""What the service counts, seen in the registry of an application: results, bounds, and no one's data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.e2e.client import COOKIE, PASSWORD
from tests.features.api import UNLIMITED, Api
from tests.observing.reading import samples, value
from watchword import Settings, Watchword, __version__, background
from watchword.app import dispatcher
from watchword.clock import FixedClock
from watchword.errors import SettingsError, StorageUnavailable
from watchword.identity.hashing import Hasher
from watchword.meters import HASH_WAIT, LIMITED, LOG_INS, METERS, OTHER, REQUESTS
from watchword.observing.prometheus import PrometheusMeters
from watchword.opening import opened


class Watched:
    """A service, and what it has counted."""

    def __init__(self, api: Api, registry: CollectorRegistry) -> None:
        self.api = api
        self._registry = registry

    def text(self) -> str:
        return generate_latest(self._registry).decode()

    def value(self, name: str, **labels: str) -> float | None:
        return value(self.text(), name, **labels)


@asynccontextmanager
async def watched(folder: Path, **given: Any) -> AsyncIterator[Watched]:
    registry, clock = CollectorRegistry(), FixedClock()
    settings = Settings(**{"data_dir": folder, **UNLIMITED, **given})
    async with (
        opened(settings, clock=clock, meters=PrometheusMeters(registry)) as kernel,
        background.in_background(kernel),
        Api(dispatcher(kernel), kernel, clock) as api,
    ):
        yield Watched(api, registry)


async def test_each_result_of_a_log_in_and_of_a_registration_is_counted(tmp_path: Path) -> None:
    """Right, wrong, unknown, limited; made, taken, invalid, closed."""
    async with watched(tmp_path, login_limit="2/15m") as service:
        api = service.api
        name = (await api.register())["username"]
        await api.post("/register", json={"username": name, "password": PASSWORD})
        await api.post("/register", json={"username": "short", "password": "x"})
        await api.log_in(name)
        api.cookies.clear()  # as from a browser where no one has logged in
        for who in (name, name, name, "no-such-user"):
            await api.post("/login", json={"username": who, "password": "wrong-wrong-wrong"})
        registered = {result: service.value("watchword_registrations_total", result=result) for result in
                      ("ok", "taken", "refused", "limited")}  # fmt: skip
        assert registered == {"ok": 1, "taken": 1, "refused": 1, "limited": 0}
        logged_in = {result: service.value("watchword_log_ins_total", result=result) for result in
                     ("ok", "refused", "limited", "failed")}  # fmt: skip
        assert logged_in == {"ok": 1, "refused": 3, "limited": 1, "failed": 0}
        assert service.value("watchword_limit_refusals_total", limit="login") == 1
        assert service.value("watchword_requests_total", route="/login", status="4xx") == 4
        assert service.value("watchword_request_seconds_count", route="/login") == 5
        assert (service.value("watchword_hash_wait_seconds_count") or 0) >= 5


async def test_each_outcome_of_a_refresh_is_counted(tmp_path: Path) -> None:
    """Rotated, answered again within the grace, used twice beyond it, and none of ours."""
    async with watched(tmp_path) as service:
        await service.api.newcomer()
        first = service.api.cookies[COOKIE]
        await service.api.refresh_with(first)
        await service.api.refresh_with(first)
        service.api.clock.advance(60)
        await service.api.refresh_with(first)
        await service.api.refresh_with(first)
        await service.api.refresh_with("wwr_no-token-of-ours")
        expected = {
            "rotated": 1, "grace": 1, "grace_elsewhere": 0, "rolled_back": 0, "refresh_token_reused": 1,
            "refresh_superseded": 0, "refresh_token_invalid": 1, "session_ended": 1, "failed": 0,
        }  # fmt: skip
        found = {result: service.value("watchword_refreshes_total", result=result) for result in expected}
        assert found == expected
        assert service.value("watchword_revocations_total", kind="session") == 1
        assert (service.value("watchword_commit_group_units_count") or 0) > 4
        assert (service.value("watchword_database_seconds_count", call="change") or 0) >= 4


async def test_a_database_that_is_away_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call, the refresh and the request each count it as their failure."""
    async with watched(tmp_path) as service:
        await service.api.newcomer()

        async def away(*_: object, **__: object) -> None:
            raise StorageUnavailable("It is away.")

        monkeypatch.setattr(service.api.kernel.database._database, "change", away)  # type: ignore[attr-defined]
        assert (await service.api.refresh_with(service.api.cookies[COOKIE])).status_code == 503
        assert service.value("watchword_database_failures_total", call="change") == 1
        assert service.value("watchword_refreshes_total", result="failed") == 1
        assert service.value("watchword_requests_total", route="/refresh", status="5xx") == 1


async def test_levels_are_measured(tmp_path: Path) -> None:
    """Age of feed and key, processes, the time of the measurement, the lag of the loop."""
    async with watched(tmp_path) as service:
        service.api.clock.advance(3600)
        await asyncio.sleep(background.SAMPLE_SECONDS * 2)
        assert service.value("watchword_event_loop_lag_seconds_count")
        assert service.value("watchword_processes") == 1
        assert service.value("watchword_can_sign") == 1
        assert service.value("watchword_signing_key_age_seconds") == 3600
        assert service.value("watchword_sampled_timestamp_seconds") == service.api.clock.now()
        assert service.value("watchword_feed_age_seconds") is not None

        def age() -> float:
            return service.value("watchword_feed_age_seconds") or 0

        while not 0 <= age() < 5:  # noqa: ASYNC110 - a busy machine asks later
            await asyncio.sleep(background.SAMPLE_SECONDS)


async def test_a_full_hash_queue_and_what_waits_in_it_show() -> None:
    """One thread, more work than it takes: the waiting is seen, and each refusal counted."""
    registry = CollectorRegistry()
    hasher = Hasher("argon2id", width=1, meters=PrometheusMeters(registry))
    try:
        asked = [asyncio.create_task(hasher.hash("plum-orbit-canvas", address="203.0.113.1")) for _ in range(20)]
        await asyncio.sleep(0)
        assert hasher.waiting == 16
        ended = await asyncio.gather(*asked, return_exceptions=True)
    finally:
        hasher.close()
    refused = sum(isinstance(each, Exception) for each in ended)
    text = generate_latest(registry).decode()
    assert refused == 4
    assert value(text, "watchword_hash_refusals_total") == 4
    assert value(text, f"{HASH_WAIT.name}_count") == 16


def test_a_value_outside_the_table_is_other_and_takes_no_memory() -> None:
    """What a client types cannot become a time series, nor a key of ours."""
    registry = CollectorRegistry()
    meters = PrometheusMeters(registry)
    meters.declare(LIMITED, ("login",))
    before = len(meters._children)
    for number in range(1000):
        meters.count(LOG_INS, f"strange-{number}")
        meters.count(LIMITED, f"strange-{number}")
        meters.count(REQUESTS, f"/strange/{number}", "2xx")
    text = generate_latest(registry).decode()
    assert value(text, LOG_INS.name, result=OTHER) == 1000
    assert value(text, LIMITED.name, limit=OTHER) == 1000
    assert value(text, REQUESTS.name, route=OTHER, status="2xx") == 1000
    assert "strange" not in text
    assert len(meters._children) == before


async def test_no_ones_data_is_in_the_metrics_and_their_number_is_bounded(tmp_path: Path) -> None:
    """A canary in every place where a client can write; then many clients more make no series more."""
    async with watched(tmp_path) as service:
        api = service.api

        async def round_of(name: str) -> None:
            email, password = f"{name}@example.com", f"plum-{name[::-1]}-orbit"
            user = await api.register(name, email=email, password=password)
            token = await api.log_in(name, password)
            await api.as_bearer("GET", "/sessions", token)
            await api.as_bearer("DELETE", f"/sessions/{name}", token)
            await api.get(f"/{name}?{name}={name}", headers={"User-Agent": name, "X-Request-Id": name})
            await api.request(name.upper(), "/login")
            await api.post("/login", json={"username": name, "password": f"wrong-{name[::-1]}"})
            await api.refresh_with(api.cookies.get(COOKIE) or name)
            assert name not in service.text().lower()
            assert name[::-1] not in service.text()
            assert user["id"] not in service.text()
            assert "127.0.0.1" not in service.text()

        await round_of("canary1a7")
        known = set(samples(service.text()))
        for number in range(5):
            await round_of(f"canary{number}b9")
        # A status or call that the first round had not is one of the few of the table.
        assert len(set(samples(service.text())) - known) <= 2


def test_a_metrics_port_outside_of_serve_is_refused() -> None:
    """An embedded service opens no port: it says so instead of showing nothing."""
    with pytest.raises(SettingsError, match="watchword serve"):
        Watchword(Settings(metrics_port=9464))


async def test_an_application_gives_its_own_registry(tmp_path: Path) -> None:
    """The numbers appear beside the application's; a second service in one registry is refused."""
    registry = CollectorRegistry()
    auth = Watchword(Settings(data_dir=tmp_path), registry=registry)
    async with auth.lifespan():
        text = generate_latest(registry).decode()
    assert value(text, "watchword_build_info", version=__version__, database="sqlite") == 1
    with pytest.raises(ValueError, match="Duplicated"):
        Watchword(Settings(data_dir=tmp_path), registry=registry)


def test_every_meter_reaches_the_registry() -> None:
    """No row is forgotten, and names follow Prometheus: counters end in _total, times in seconds."""
    registry = CollectorRegistry()
    PrometheusMeters(registry)
    found = {family.name for family in registry.collect()}
    for meter in METERS:
        assert meter.name.removesuffix("_total") in found
        assert meter.name.endswith("_total") == (meter.kind == "counter")
        assert (meter.kind == "histogram") == bool(meter.bounds)

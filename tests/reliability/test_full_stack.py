"""All of compose.full.yaml without Docker, and each part killed in turn while clients walk the tutorials' way.

Each test says what clients may notice, and nothing else is let through (`walking.Walk`).
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import httpx2
import pytest

from tests.deploy.full_stack import SERVICES, FullStack, running
from tests.reliability.walking import Walkers
from watchword.settings.table import SETTINGS

WALKERS = 4
# All clients have one address here. Attempts are still counted.
LIMITS = {row.variable: "100000/1h" for row in SETTINGS if row.name.endswith("_limit")}


@pytest.fixture(scope="module")
def stack() -> Iterator[FullStack]:
    with running(**LIMITS) as one:
        yield one
        for service in one.services.values():
            assert "internal_error" not in service.log


def walkers(stack: FullStack) -> Walkers:
    return Walkers(stack.url, stack.trusting, WALKERS)


def test_nothing_is_wrong(stack: FullStack) -> None:
    """Then no one notices anything."""
    with walkers(stack) as walking:
        walking.go_on(3)
    assert walking.faults == []


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_killed(stack: FullStack, name: str) -> None:
    """What it was working on is lost, one request of a client at most. The other one takes over; later it returns."""
    with walkers(stack) as walking:
        walking.go_on()
        stack.services[name].stop(signal.SIGKILL)
        walking.go_on(3)
        stack.services[name].start()
        stack.ready(name)
        walking.go_on()
    assert {fault.status for fault in walking.faults} <= {502}
    assert all(len(walk.faults) <= 1 for walk in walking.all), walking.faults


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_restarted(stack: FullStack, name: str) -> None:
    """As for a new version: it is asked to stop, Caddy looks away meanwhile, and no client notices."""
    with walkers(stack) as walking:
        walking.go_on()
        stack.services[name].stop(signal.SIGTERM)
        stack.services[name].start()
        stack.ready(name)
        walking.go_on()
    assert walking.faults == []


def test_valkey_is_killed(stack: FullStack) -> None:
    """No one notices: the database counts meanwhile, and revocations are read at the next poll."""
    with walkers(stack) as walking:
        walking.go_on()
        stack.valkey.stop()
        walking.go_on(3)
        stack.valkey.start()
        walking.go_on(3)
    assert walking.faults == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restarted", "killed"])
def test_postgresql_is_restarted(stack: FullStack, how: signal.Signals) -> None:
    """Clients are told to come back, by the service itself, and tokens are verified. No service is restarted."""
    with walkers(stack) as walking:
        walking.go_on()
        stack.postgres.stop(how)
        away(stack)
        stack.postgres.start()
        walking.go_on(3)
    assert {fault.status for fault in walking.faults} == {503}
    assert all(fault.retry_after and fault.kind == "application/problem+json" for fault in walking.faults)
    assert "verify" not in {fault.step for fault in walking.faults}


def away(stack: FullStack) -> None:
    """While the database is away: a walk cannot begin, and says why; what needs no database is answered."""
    with httpx2.Client(base_url=stack.url, verify=stack.trusting, timeout=30) as client:
        for _ in range(20):  # until Caddy has noticed, and after
            answer = client.post("/login", json={"username": "ann", "password": "x" * 12})
            assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
            assert int(answer.headers["Retry-After"]) > 0
            assert client.get("/.well-known/jwks.json").status_code == 200


def test_caddy_is_restarted(stack: FullStack) -> None:
    """Clients find no one, then go on where they were: no session ends, no refresh token is burnt."""
    with walkers(stack) as walking:
        walking.go_on()
        stack.caddy.stop(signal.SIGKILL)
        stack.caddy.start()
        walking.go_on(3)
    assert {fault.status for fault in walking.faults} <= {None}
    assert walking.faults

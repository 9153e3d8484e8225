"""For the guard's tests: a service on a socket, and guards that end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.guard.service import Service, serving
from watchword.guard import Guard

MakeGuard = Callable[..., Guard]


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as running:
        yield running


@pytest.fixture
def guarded(service: Service) -> Iterator[MakeGuard]:
    """Makes guards of the service and stops them at the end."""
    made: list[Guard] = []

    def make(ready: bool = True, **options: Any) -> Guard:
        guard = service.guard(**options)
        made.append(guard)
        assert not ready or guard.wait_until_ready(5)
        return guard

    yield make
    for guard in made:
        guard.stop()

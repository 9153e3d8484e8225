"""How long a refused log-in takes says nothing about the user."""

from __future__ import annotations

import statistics
import time

from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED


def test_D7_unknown_and_known_names_take_the_same_time(serve: Serve) -> None:
    """Medians of interleaved attempts at an unknown and at a known name differ by less than half."""
    client = serve(**UNLIMITED).client()
    known = client.register()["username"]
    times: dict[str, list[float]] = {known: [], "nobody-of-this-name": []}
    for _ in range(15):
        for name, taken in times.items():
            start = time.perf_counter()
            client.post("/login", json={"username": name, "password": "wrong-orbit-canvas"})
            taken.append(time.perf_counter() - start)
    first, second = (statistics.median(taken) for taken in times.values())
    assert max(first, second) / min(first, second) < 1.5, times
    client.close()

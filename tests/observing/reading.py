"""Reads what Prometheus would read."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx2
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    """Every sample: name and sorted labels → value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float | None:
    """One sample, or None."""
    return samples(text).get((name, tuple(sorted(labels.items()))))


def scrape(port: int) -> str:
    """What the port answers."""
    answer = httpx2.get(f"http://127.0.0.1:{port}/metrics", timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return answer.text


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait; the test's own time limit ends what hangs."""
    while not condition():
        time.sleep(0.05)

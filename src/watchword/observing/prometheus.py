"""The meters as Prometheus metrics. This module is imported only when metrics are on.

With several processes prometheus-client keeps each process's numbers in files of one directory, and the one that is
asked adds them up: counters of a dead process stay, its levels go (`forget`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from watchword.meters import METERS, OTHER, Meter

CONTENT_TYPE = CONTENT_TYPE_LATEST
Registry = CollectorRegistry
_LIVE = {"sum": "livesum", "max": "livemax", "min": "livemin"}


class PrometheusMeters:
    """Counts in a registry, which may be an application's own.

    :param meters: leave out those of which this process knows nothing.
    :raises ValueError: the registry has these metrics already.
    """

    on = True

    def __init__(self, registry: CollectorRegistry, meters: Iterable[Meter] = METERS) -> None:
        self._metrics = {meter: _metric(meter, registry) for meter in meters}
        self._allowed = {meter: [set(values) for _, values in meter.labels] for meter in self._metrics}
        self._children: dict[tuple[Meter, tuple[str, ...]], Any] = {}
        for meter in self._metrics:
            self._start(meter)

    def declare(self, meter: Meter, values: Iterable[str]) -> None:
        """Name the values of a meter's first label, where the table leaves them open."""
        self._allowed[meter][0].update(values)
        self._start(meter)

    def count(self, meter: Meter, *labels: str, by: int = 1) -> None:
        """Add to a counter."""
        child = self._children.get((meter, labels)) or self._child(meter, labels)
        child.inc(by)

    def observe(self, meter: Meter, value: float, *labels: str) -> None:
        """Add a value to a histogram."""
        child = self._children.get((meter, labels)) or self._child(meter, labels)
        child.observe(value)

    def level(self, meter: Meter, value: float, *labels: str) -> None:
        """Set a level."""
        child = self._children.get((meter, labels)) or self._child(meter, labels)
        child.set(value)

    def _start(self, meter: Meter) -> None:
        """Begin at 0, where one label tells all: the first event is then an increase that a query can see."""
        if meter.kind != "level" and len(meter.labels) == 1 and meter.labels[0][0] != "route":
            for value in self._allowed[meter][0]:
                self._child(meter, (value,))

    def _child(self, meter: Meter, labels: tuple[str, ...]) -> Any:
        known = zip(labels, self._allowed[meter], strict=True)
        bounded = tuple(value if value in allowed else OTHER for value, allowed in known)
        metric = self._metrics[meter]
        child = metric.labels(*bounded) if bounded else metric
        if bounded == labels:  # else what comes from outside would fill the memory
            self._children[meter, labels] = child
        return child


def _metric(meter: Meter, registry: CollectorRegistry) -> Any:
    names = [name for name, _ in meter.labels]
    if meter.kind == "counter":
        return Counter(meter.name, meter.means, names, registry=registry)
    if meter.kind == "histogram":
        return Histogram(meter.name, meter.means, names, registry=registry, buckets=meter.bounds)
    mode: Any = _LIVE[meter.together]
    return Gauge(meter.name, meter.means, names, registry=registry, multiprocess_mode=mode)


def text(registry: CollectorRegistry) -> bytes:
    """Return what a scrape is answered with."""
    return generate_latest(registry)


def together() -> CollectorRegistry:
    """Return a registry that adds up the numbers of all processes that share the directory."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def forget(process: int) -> None:
    """Take the levels of a process that has ended out of the sums; its counters stay."""
    mark_process_dead(process)  # type: ignore[no-untyped-call]

"""Serves the metrics of `watchword serve`: of this process, or of all workers together."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from watchword.cli.exits import CommandError, warn
from watchword.cli.serving.ports import listen_on
from watchword.meters import RESTARTS
from watchword.observing import extras, port
from watchword.settings import Loaded, Settings

if TYPE_CHECKING:
    from watchword.observing.prometheus import Registry

# Read by prometheus-client when it is imported.
_SHARED = "PROMETHEUS_MULTIPROC_DIR"
_ASKED_BY = "WATCHWORD_METRICS_PORT"

Ended = Callable[[int], None]
"""Called with the process id of a worker that has ended and is replaced."""


def warn_of_a_host_alone(loaded: Loaded) -> None:
    """Warn of a host for metrics without their port: it may be forgotten, or an image's default."""
    origin = loaded.origins["metrics_host"]
    if loaded.settings.metrics_port is None and origin != "default":
        warn(f"{origin} is set, and no metrics port: there are no metrics", "set WATCHWORD_METRICS_PORT, such as 9464")


def registry_of(settings: Settings) -> Registry | None:
    """Return a new registry for what this process counts; None where no one reads it.

    :raises SettingsError: prometheus-client is missing.
    """
    if settings.metrics_port is None:
        return None
    registry: Registry = extras.prometheus(_ASKED_BY).Registry()
    return registry


@contextlib.contextmanager
def of_one_process(settings: Settings) -> Iterator[Registry | None]:
    """Serve what this process counts, if settings ask for it. Raises as `listen_on` and `registry_of`."""
    os.environ.pop(_SHARED, None)  # another program's: the numbers would go to its files
    registry = registry_of(settings)
    if registry is None:
        yield None
        return
    text = extras.prometheus(_ASKED_BY).text
    with _served(settings, lambda: text(registry)):
        yield registry


@contextlib.contextmanager
def of_workers(settings: Settings) -> Iterator[Ended | None]:
    """Serve the sum of what the workers count, if settings ask for it. Raises as `listen_on` and `registry_of`.

    The numbers are in files of a directory that is new at each start. The parent serves them: it outlives every worker.
    """
    if settings.metrics_port is None:
        yield None
        return
    with _shared_directory() as directory:
        os.environ[_SHARED] = directory  # before the import; workers inherit it
        prometheus = extras.prometheus(_ASKED_BY)
        own = prometheus.PrometheusMeters(prometheus.Registry(), (RESTARTS,))
        workers = prometheus.together()

        def ended(process: int) -> None:
            prometheus.forget(process)
            own.count(RESTARTS)

        with _served(settings, lambda: prometheus.text(workers)):
            yield ended


@contextlib.contextmanager
def _shared_directory() -> Iterator[str]:
    try:
        made = tempfile.TemporaryDirectory(prefix="watchword-metrics-", ignore_cleanup_errors=True)
    except OSError as error:
        raise CommandError(
            "metrics of several workers need a directory for temporary files, and there is none",
            "set TMPDIR to a directory that this user may write to, or leave out the metrics port",
        ) from error
    with made as directory:
        yield directory


@contextlib.contextmanager
def _served(settings: Settings, read: port.Read) -> Iterator[None]:
    assert settings.metrics_port is not None, "asked before"
    listeners = listen_on(settings.metrics_host, settings.metrics_port, flag="--metrics-port")
    with port.served(listeners, read, extras.prometheus(_ASKED_BY).CONTENT_TYPE):
        yield

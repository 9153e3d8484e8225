"""Metrics of several processes, one of them killed, and traces that reach a collector, or do not."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.server import Server, free_port
from tests.observing.reading import scrape, value, wait_until
from tests.observing.test_port import guess

UNLIMITED = {
    "WATCHWORD_LOGIN_LIMIT": "off",
    "WATCHWORD_LOGIN_ADDRESS_LIMIT": "off",
    "WATCHWORD_LOGIN_ACCOUNT_LIMIT": "off",
}


@pytest.fixture
def scraped(tmp_path: Path) -> Iterator[tuple[Server, int]]:
    """The service with two workers and metrics."""
    port = free_port()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    extra = {"WATCHWORD_METRICS_PORT": str(port), "TMPDIR": str(temporary), **UNLIMITED}
    server = Server(tmp_path, "--workers", "2", **extra)
    yield server, port
    server.kill()


def test_several_processes_are_one_and_a_dead_ones_counters_stay(scraped: tuple[Server, int], tmp_path: Path) -> None:
    """Log-ins add up over both workers, and over the one that is killed; its levels go."""
    server, port = scraped
    asked = 0

    def ask(times: int) -> None:
        nonlocal asked
        for _ in range(times):
            guess(server)
            asked += 1

    def counted() -> float | None:
        return value(scrape(port), "watchword_log_ins_total", result="refused")

    ask(12)
    wait_until(lambda: value(scrape(port), "watchword_processes") == 2)
    assert counted() == asked
    before = _workers(tmp_path)
    assert len(before) == 2
    assert value(scrape(port), "watchword_worker_restarts_total") == 0

    os.kill(min(before), signal.SIGKILL)
    wait_until(lambda: value(scrape(port), "watchword_worker_restarts_total") == 1)
    assert counted() == asked
    wait_until(lambda: _workers(tmp_path) > before - {min(before)})
    wait_until(lambda: value(scrape(port), "watchword_processes") == 2)
    ask(12)
    assert counted() == asked
    wait_until(lambda: value(scrape(port), "watchword_can_sign") == 1)
    assert (value(scrape(port), "watchword_sampled_timestamp_seconds") or 0) > time.time() - 30


def test_nothing_of_an_earlier_start_is_counted_and_nothing_is_left(
    scraped: tuple[Server, int], tmp_path: Path
) -> None:
    """The directory of the numbers is new at each start, and goes with the service."""
    server, port = scraped
    guess(server)
    assert value(scrape(port), "watchword_log_ins_total", result="refused") == 1
    assert len(list((tmp_path / "temporary").glob("watchword-metrics-*"))) == 1
    assert server.stop() == 0
    assert list((tmp_path / "temporary").iterdir()) == []
    server.start()
    assert value(scrape(port), "watchword_log_ins_total", result="refused") == 0


def _workers(folder: Path) -> set[int]:
    """The process ids of the workers: each alive has its file of levels."""
    files = (folder / "temporary").glob("watchword-metrics-*/gauge_livesum_*.db")
    return {int(each.stem.rpartition("_")[2]) for each in files}


class _Collector(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, self.headers, body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Write nothing."""


@pytest.fixture
def collector() -> Iterator[ThreadingHTTPServer]:
    """Something that takes OTLP over HTTP."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Collector)
    server.got = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_sends_them_where_the_standard_variables_say(
    workers: str, tmp_path: Path, collector: ThreadingHTTPServer
) -> None:
    """Endpoint, headers and service name from OTEL_…; what is left is sent when the service stops."""
    server = Server(
        tmp_path, "--workers", workers, WATCHWORD_TRACING="on", OTEL_SERVICE_NAME="doorman",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.server_address[1]}",
        OTEL_EXPORTER_OTLP_HEADERS="x-api-key=let-me-in", OTEL_BSP_SCHEDULE_DELAY="60000",
    )  # fmt: skip
    try:
        with server.client() as client:
            client.get("/livez")
        assert server.stop() == 0
    finally:
        server.kill()
    got: list[Any] = collector.got  # type: ignore[attr-defined]
    wait_until(lambda: bool(got))
    assert {path for path, _, _ in got} == {"/v1/traces"}
    assert {headers["x-api-key"] for _, headers, _ in got} == {"let-me-in"}
    sent = [ExportTraceServiceRequest.FromString(body) for _, _, body in got]
    names = {span.name for each in sent for one in each.resource_spans for two in one.scope_spans for span in two.spans}
    assert "GET /livez" in names
    resource = {each.key: each.value.string_value for each in sent[0].resource_spans[0].resource.attributes}
    assert resource["service.name"] == "doorman"
    assert "let-me-in" not in server.log()


def test_a_collector_that_is_away_holds_up_nothing(tmp_path: Path) -> None:
    """Requests are answered, and the service stops."""
    away = f"http://127.0.0.1:{free_port()}"
    server = Server(tmp_path, WATCHWORD_TRACING="on", OTEL_EXPORTER_OTLP_ENDPOINT=away, OTEL_BSP_SCHEDULE_DELAY="100")
    try:
        with server.client() as client:
            assert client.get("/livez").status_code == 200
        assert server.stop() == 0
    finally:
        server.kill()

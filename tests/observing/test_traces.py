"""Traces: a span for each request, with the database and the hash inside, and no one's data in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.e2e.client import COOKIE, PASSWORD
from tests.features.api import UNLIMITED, Api
from tests.observing.test_port import serve_in_vain
from watchword import Settings, Watchword, background
from watchword.app import dispatcher
from watchword.clock import FixedClock
from watchword.errors import SettingsError, StorageUnavailable
from watchword.observing.opentelemetry import OpenTelemetryTracer, check_environment
from watchword.opening import opened

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID, PARENT_ID = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331


class Traced:
    """A service, and the spans it has ended."""

    def __init__(self, api: Api, spans: InMemorySpanExporter) -> None:
        self.api = api
        self._spans = spans

    def ended(self) -> list[ReadableSpan]:
        """The spans since the last call."""
        found = list(self._spans.get_finished_spans())
        self._spans.clear()
        return found


@asynccontextmanager
async def traced(folder: Path, **given: Any) -> AsyncIterator[Traced]:
    spans, provider, clock = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False), FixedClock()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    settings = Settings(**{"data_dir": folder, **UNLIMITED, **given})
    async with (
        opened(settings, clock=clock, tracer=OpenTelemetryTracer(provider, "1")) as kernel,
        background.in_background(kernel),
        Api(dispatcher(kernel), kernel, clock) as api,
    ):
        yield Traced(api, spans)


def request_in(spans: list[ReadableSpan]) -> ReadableSpan:
    """The one span of a request."""
    (found,) = [span for span in spans if span.kind is SpanKind.SERVER]
    return found


async def test_a_request_is_named_by_its_route_and_holds_its_database_calls_and_hashes(tmp_path: Path) -> None:
    """A log-in: one span, with the look-up, the hash and the commit as children."""
    async with traced(tmp_path) as service:
        name = (await service.api.register())["username"]
        service.ended()
        token = await service.api.log_in(name)
        spans = service.ended()
        request = request_in(spans)
        assert request.name == "POST /login"
        assert request.parent is None
        assert dict(request.attributes or {}) == {
            "http.request.method": "POST", "http.route": "/login", "http.response.status_code": 200,
        }  # fmt: skip
        inside = [span for span in spans if span is not request]
        assert {"password hash", "database one", "database transact"} <= {span.name for span in inside}
        for span in inside:
            assert span.parent is not None
            assert span.context is not None
            assert request.context is not None
            assert span.context.trace_id == request.context.trace_id
        await service.api.as_bearer("DELETE", "/sessions/0190b5a0-0000-7000-8000-000000000000", token)
        assert request_in(service.ended()).name == "DELETE /sessions/{id}"


async def test_refusals_are_no_errors_and_faults_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """401 and 404 are answers; 503 is an error, of which no message is told."""
    async with traced(tmp_path) as service:
        await service.api.post("/login", json={"username": "nobody", "password": "wrong-wrong-wrong"})
        refused = request_in(service.ended())
        assert (refused.attributes or {})["http.response.status_code"] == 401
        assert refused.status.status_code is StatusCode.UNSET
        await service.api.get("/no-such-page")
        assert request_in(service.ended()).name == "GET"

        async def away(*_: object, **__: object) -> None:
            raise StorageUnavailable("canary-in-an-error")

        await service.api.newcomer()
        service.ended()
        monkeypatch.setattr(service.api.kernel.database._database, "change", away)  # type: ignore[attr-defined]
        await service.api.refresh_with(service.api.cookies[COOKIE])
        spans = service.ended()
        assert request_in(spans).status.status_code is StatusCode.ERROR
        assert (request_in(spans).attributes or {})["error.type"] == "503"
        assert "database change" in {span.name for span in spans}
        assert all(not span.events and "canary" not in span.to_json() for span in spans)


async def test_the_callers_trace_goes_on(tmp_path: Path) -> None:
    """W3C trace context: the id and the decision whether it is recorded are the caller's; nonsense begins anew."""
    async with traced(tmp_path) as service:
        await service.api.get("/livez", headers={"traceparent": PARENT})
        request = request_in(service.ended())
        assert request.context is not None
        assert request.parent is not None
        assert (request.context.trace_id, request.parent.span_id) == (TRACE_ID, PARENT_ID)
        await service.api.get("/livez", headers={"traceparent": PARENT[:-1] + "0"})
        assert service.ended() == []
        for nonsense in (
            "",
            "x" * 10_000,
            PARENT + "-more",
            PARENT.replace("0af", "xyz"),
            "00-" + "0" * 32 + PARENT[35:],
        ):
            await service.api.get("/livez", headers={"traceparent": nonsense})
            assert request_in(service.ended()).parent is None


async def test_below_the_applications_own_span(tmp_path: Path) -> None:
    """An application that traces its requests itself has ours inside its own, whatever the client sent."""
    spans, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    auth = Watchword(Settings(data_dir=tmp_path), tracer_provider=provider)
    async with auth.lifespan():
        with provider.get_tracer("application").start_as_current_span("outer") as outer:
            await auth(_scope(PARENT), _receive, _send)
        request = request_in(list(spans.get_finished_spans()))
    assert request.parent is not None
    assert request.parent.span_id == outer.get_span_context().span_id


async def test_no_ones_data_is_in_a_trace(tmp_path: Path) -> None:
    """A canary wherever a client can write: path, query, headers, method, body."""
    async with traced(tmp_path) as service:
        api, canary, password = service.api, "canary1a7", "plum-7a1yranac-orbit"
        user = await api.register(canary, email=f"{canary}@example.com", password=password)
        token = await api.log_in(canary, password)
        await api.as_bearer("DELETE", f"/sessions/{canary}", token)
        await api.get(f"/{canary}?{canary}={canary}", headers={"User-Agent": canary, "tracestate": f"{canary}=1"})
        await api.get(f"/livez?{canary}", headers={"traceparent": PARENT, "tracestate": f"{canary}=1"})
        await api.request(canary.upper(), "/login")
        refresh = api.cookies[COOKIE]
        await api.refresh_with(refresh)
        spans = service.ended()
        assert len(spans) > 10
        for span in spans:
            told = span.to_json() + str(span.context)
            for secret in (canary, canary.upper(), password, user["id"], token, refresh, "127.0.0.1"):
                assert secret not in told


async def test_the_services_own_polling_makes_no_traces(tmp_path: Path) -> None:
    """Four times a second it asks the database: those are no one's requests."""
    async with traced(tmp_path) as service:
        await service.api.kernel.revocations.catch_up()
        await service.api.kernel.hasher.hash(PASSWORD, address=None)
        assert service.ended() == []


def test_an_exporter_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    """Another exporter or protocol is refused before anything starts."""
    ended = serve_in_vain(tmp_path, WATCHWORD_TRACING="on", OTEL_TRACES_EXPORTER="zipkin")
    assert "OTEL_TRACES_EXPORTER names an exporter that is not known" in ended.stderr.replace(":", "")
    assert "Traceback" not in ended.stderr


def test_another_protocol_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC would otherwise be spoken to a port of HTTP, and nothing would arrive."""
    check_environment()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_PROTOCOL"):
        check_environment()
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    check_environment()


def test_without_the_sdk_the_extra_is_named(tmp_path: Path) -> None:
    """OpenTelemetry is an extra."""
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("raise ModuleNotFoundError(name='opentelemetry')\n")
    ended = serve_in_vain(tmp_path, WATCHWORD_TRACING="on", PYTHONPATH=str(tmp_path))
    assert "needs the package opentelemetry-sdk" in ended.stderr
    assert "pip install -e '.[server,otel]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def _scope(parent: str) -> dict[str, Any]:
    return {
        "type": "http", "method": "GET", "path": "/livez", "root_path": "", "query_string": b"", "http_version": "1.1",
        "headers": [(b"traceparent", parent.encode())], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 4000),
        "scheme": "http",
    }  # fmt: skip


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Any) -> None:
    """Take no notice."""

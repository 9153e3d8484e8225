"""Spans by OpenTelemetry. This module is imported only when tracing is on.

The exporter is the one that the standard `OTEL_…` variables describe; an application may give its own provider.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from watchword.errors import Fault, SettingsError
from watchword.tracing import Ended

Provider = trace.TracerProvider
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LONGEST_PARENT = 128  # a later version may append to today's 55 characters
_FAILED = 500
_FLUSH_SECONDS = 3.0
_NOTHING = nullcontext()
_W3C = TraceContextTextMapPropagator()


def _console() -> SpanExporter:
    return ConsoleSpanExporter()


def _otlp() -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


_EXPORTERS: dict[str, Callable[[], SpanExporter] | None] = {"otlp": _otlp, "console": _console, "none": None}


class OpenTelemetryTracer:
    """Makes spans with a provider."""

    on = True

    def __init__(self, provider: Provider, version: str) -> None:
        self._tracer = provider.get_tracer("watchword", version)

    def request(self, method: str, headers: Mapping[bytes, bytes]) -> AbstractContextManager[Ended]:
        """Trace one request: below the application's span if there is one, else below the caller's."""
        context = None if _inside_a_span() else _parent_in(headers)
        return self._request(method if method in _METHODS else "_OTHER", context)

    def step(self, name: str) -> AbstractContextManager[object]:
        """Trace a part of the request at hand; the service's own polling is no one's request."""
        if not trace.get_current_span().is_recording():  # nor is a part of a request that the sampler left out
            return _NOTHING
        return self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False)

    @contextmanager
    def _request(self, method: str, context: Context | None) -> Iterator[Ended]:
        # An exception's message may hold what a client sent: none is recorded.
        with self._tracer.start_as_current_span(
            method,
            context=context,
            kind=trace.SpanKind.SERVER,
            attributes={"http.request.method": method},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:

            def ended(route: str, status: int) -> None:
                if route:
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)
                if status:
                    span.set_attribute("http.response.status_code", status)
                if not status or status >= _FAILED:
                    span.set_attribute("error.type", str(status) if status else "client_gone")
                if status >= _FAILED:
                    span.set_status(trace.StatusCode.ERROR)

            yield ended


def _inside_a_span() -> bool:
    return trace.get_current_span().get_span_context().is_valid


def _parent_in(headers: Mapping[bytes, bytes]) -> Context | None:
    """Return the caller's place in its trace. What is malformed begins a new trace; `tracestate` is not taken."""
    sent = headers.get(b"traceparent", b"")
    if not sent or len(sent) > _LONGEST_PARENT:
        return None
    return _W3C.extract({"traceparent": sent.decode("latin-1")}, Context())


def check_environment() -> None:
    """Refuse an exporter that we do not have. Raises `SettingsError`."""
    wanted = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if wanted not in _EXPORTERS:
        hint = f"choose one of: {', '.join(_EXPORTERS)}"
        raise SettingsError((Fault("OTEL_TRACES_EXPORTER", "names an exporter that is not known", hint),))
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = os.environ.get(name) or "http/protobuf"
        if wanted == "otlp" and protocol != "http/protobuf":
            hint = "write http/protobuf, with the collector's port for it, such as 4318"
            raise SettingsError((Fault(name, "names a protocol that is not spoken here", hint),))


def provider_of_the_environment(version: str) -> TracerProvider:
    """Return a provider as the `OTEL_…` variables describe it: service name, sampler, exporter, batches.

    :raises SettingsError: as `check_environment`.
    """
    check_environment()
    ours: dict[str, str] = {SERVICE_VERSION: version}
    if SERVICE_NAME not in OTELResourceDetector().detect().attributes:
        ours[SERVICE_NAME] = "watchword"
    provider = TracerProvider(resource=Resource.create(ours), shutdown_on_exit=False)
    exporter = _EXPORTERS[os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"]
    if exporter is not None:
        provider.add_span_processor(BatchSpanProcessor(exporter()))
    return provider


async def shut_down(provider: TracerProvider) -> None:
    """Send what is left, within three seconds: a collector that is away must not hold up the end."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def flush() -> None:
        try:
            provider.shutdown()
        finally:
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

    threading.Thread(target=flush, name="watchword-traces", daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(_FLUSH_SECONDS):
            await done.wait()

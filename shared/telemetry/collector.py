"""Exports this process's spans to a collector, such as Jaeger or the OpenTelemetry Collector: OTLP over HTTP, protobuf.

A background thread sends them in batches. A collector that is unavailable costs spans and nothing else: the queue is
bounded, spans that do not fit are dropped and counted, and a warning is logged at most every WARN_SECONDS.
"""

import importlib.metadata
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog
import trio
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

from shared.settings import Settings
from shared.telemetry import traces
from shared.telemetry.metrics.catalogue import SPANS_LOST

MAX_WAITING = 8_192
"""Bound of the queue of spans, some 20 MB. Further ones are dropped."""

MAX_BATCH = 512
"""Most spans in one request."""

SEND_MS = 1_000
"""Longest interval between two requests, so that a person need not wait for a trace."""

FLUSH_SECONDS = 1.0
"""Deadline for sending the last spans when the process stops."""

WARN_SECONDS = 60.0
"""Interval of the warnings while the collector does not accept spans."""

_log = structlog.get_logger(__name__)


class Exporter(SpanExporter):
    """Sends spans, and logs failures. Called in the processor's thread."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.exported = 0
        """Spans that have left the queue, sent or lost."""
        self._exporter = exporter
        self._warned_at = -WARN_SECONDS
        self._lost = 0  # since the last success
        self._is_shut_down = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.exported += len(spans)
        if self._is_shut_down:  # the process stops, and FLUSH_SECONDS have passed
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._lost:
                _log.info("traces_sent_again", lost=self._lost)
                self._lost = 0
            return result
        self._lost += len(spans)
        SPANS_LOST.inc("not_sent", by=len(spans))
        if time.monotonic() - self._warned_at >= WARN_SECONDS:
            self._warned_at = time.monotonic()
            _log.warning("traces_not_sent", reason=_exporter_log.last_message, lost=self._lost)
        return result

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        if not self._is_shut_down:
            self._is_shut_down = True
            self._exporter.shutdown()


class _ExporterLog(logging.Filter):
    """Drops the exporter's own log lines, several for each failure, and keeps the newest message."""

    last_message = ""

    def filter(self, record: logging.LogRecord) -> bool:
        self.last_message = record.getMessage()
        return False


_exporter_log = _ExporterLog()


class Processor(BatchSpanProcessor):
    """Queues spans for the exporter, and drops spans beyond MAX_WAITING."""

    def __init__(self, exporter: Exporter) -> None:
        self._own_exporter = exporter
        self._queued = 0
        super().__init__(exporter, MAX_WAITING, SEND_MS, MAX_BATCH)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue the span. Called in the Trio thread, where spans end."""
        if self._queued - self._own_exporter.exported >= MAX_WAITING:
            SPANS_LOST.inc("no_room")
            return
        self._queued += 1
        super().on_end(span)


@asynccontextmanager
async def open_collector(settings: Settings, role: str) -> AsyncIterator[None]:
    """Export this process's spans to the settings' collector while the block is open. At its end the queued spans are
    sent within FLUSH_SECONDS; if it is cancelled, they are dropped."""
    logging.getLogger(trace_exporter.__name__).addFilter(_exporter_log)
    headers = {name: value.get_secret_value() for name, value in settings.traces.headers.items()}
    endpoint = f"{settings.traces.endpoint.rstrip('/')}/v1/traces"
    exporter = Exporter(OTLPSpanExporter(endpoint, headers=headers, timeout=settings.traces.timeout_seconds))
    processor = Processor(exporter)
    # `should_sample` decides before the first span begins, so the provider samples every span.
    provider = TracerProvider(ParentBased(ALWAYS_ON), resource_of(settings, role), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    try:
        with traces.use_tracer(provider.get_tracer("rookery")):
            yield
    finally:
        try:
            with trio.move_on_after(FLUSH_SECONDS):
                await trio.to_thread.run_sync(provider.shutdown, abandon_on_cancel=True)
        finally:
            exporter.shutdown()  # stops its thread, a daemon, if that is still sending


def resource_of(settings: Settings, role: str) -> Resource:
    """Return the attributes that identify the process in each span. `OTEL_RESOURCE_ATTRIBUTES` may add more."""
    return Resource.create(
        {
            "service.name": "rookery",
            "service.version": importlib.metadata.version("rookery"),
            "service.instance.id": settings.process_name,
            "rookery.role": role,
        }
    )

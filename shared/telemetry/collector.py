"""Tells a collector, such as Jaeger or the OpenTelemetry Collector, of this process's spans: OTLP over HTTP, protobuf.

A thread of its own sends them, in bunches. A collector that is away costs spans and nothing else: what waits is
bounded, what does not fit is dropped and counted, and the log says so once in a while.
"""

import importlib.metadata
import logging
import socket
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
"""Spans that may wait to be sent: some 20 MB. Further ones are dropped."""

MAX_BATCH = 512
"""Spans in one request."""

SEND_MS = 1_000
"""From one request to the next at the most, so that a person need not wait for a trace."""

FLUSH_SECONDS = 1.0
"""That a process which stops waits for the last spans to be sent."""

WARN_SECONDS = 60.0
"""From one warning to the next while the collector does not take spans."""

_log = structlog.get_logger(__name__)


class Exporter(SpanExporter):
    """Sends spans, and says now and then that it can't. Called in the thread of the processor."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.taken = 0
        """Spans that do not wait any more."""
        self._exporter = exporter
        self._warned_at = -WARN_SECONDS
        self._lost = 0  # since it began to fail
        self._is_shut = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        if self._is_shut:  # the process stops, and has waited long enough
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
            _log.warning("traces_not_sent", reason=_library.last_words, lost=self._lost)
        return result

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        if not self._is_shut:
            self._is_shut = True
            self._exporter.shutdown()


class _Library(logging.Filter):
    """Keeps the exporter's own lines, several for each failure, out of the log, and the newest in mind."""

    last_words = ""

    def filter(self, record: logging.LogRecord) -> bool:
        self.last_words = record.getMessage()
        return False


_library = _Library()


class Processor(BatchSpanProcessor):
    """Has spans wait for the exporter, and drops those for which there is no room."""

    def __init__(self, exporter: Exporter) -> None:
        self._taken_from = exporter
        self._given = 0
        super().__init__(exporter, MAX_WAITING, SEND_MS, MAX_BATCH)

    def on_end(self, span: ReadableSpan) -> None:
        """In the Trio thread, where spans end."""
        if self._given - self._taken_from.taken >= MAX_WAITING:
            SPANS_LOST.inc("no_room")
            return
        self._given += 1
        super().on_end(span)


@asynccontextmanager
async def open_collector(settings: Settings, role: str) -> AsyncIterator[None]:
    """Tell the settings' collector of this process's spans while the block is open. Leaving it sends what waits, within
    FLUSH_SECONDS; nothing more is sent if it is cancelled."""
    logging.getLogger(trace_exporter.__name__).addFilter(_library)
    headers = {name: value.get_secret_value() for name, value in settings.traces.headers.items()}
    endpoint = f"{settings.traces.endpoint.rstrip('/')}/v1/traces"
    exporter = Exporter(OTLPSpanExporter(endpoint, headers=headers, timeout=settings.traces.timeout_seconds))
    processor = Processor(exporter)
    # Who decides what is traced does so before a first span is begun.
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
            exporter.shutdown()  # if its thread, which is a daemon, is still at it, it gives up


def resource_of(settings: Settings, role: str) -> Resource:
    """What says of each span whose it is. `OTEL_RESOURCE_ATTRIBUTES` in the environment may say more."""
    return Resource.create(
        {
            "service.name": "rookery",
            "service.version": importlib.metadata.version("rookery"),
            "service.instance.id": settings.kafka.instance or f"{role}@{socket.gethostname()}",
            "rookery.role": role,
        }
    )

"""Spans of the test's process, recorded in memory, with their hierarchy."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.telemetry import traces


class Spans:
    """Spans that have ended so far."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def __iter__(self) -> Iterator[ReadableSpan]:
        return iter(self._exporter.get_finished_spans())

    @property
    def names(self) -> list[str]:
        return [span.name for span in self]

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only span of this name."""
        (span,) = self.named(name)
        return span

    def below(self, parent: ReadableSpan) -> list[ReadableSpan]:
        """Its children, by name."""
        steps = [span for span in self if span.parent is not None and span.parent.span_id == id_of(parent)]
        return sorted(steps, key=lambda span: span.name)

    def clear(self) -> None:
        self._exporter.clear()

    def exported(self) -> str:
        """All exported data, as one text."""
        return "\n".join(span.to_json() for span in self)


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def ids_of(span: ReadableSpan) -> tuple[str, str]:
    """Ids of the trace and the span, as on the wire."""
    assert span.context is not None
    return trace.format_trace_id(span.context.trace_id), trace.format_span_id(span.context.span_id)


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@contextmanager
def recorded() -> Iterator[Spans]:
    """Record spans of this process during the block."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with traces.use_tracer(provider.get_tracer("tests")):
        yield Spans(exporter)

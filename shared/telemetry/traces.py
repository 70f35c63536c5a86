"""Traces: the path of one message or request, step by step, through all processes.

`should_sample` decides once, where a message or request enters, whether it is traced. One that is not has no span, no
header and no context: each later step only checks whether it was passed one.

Where a task ends and another continues (records of the log, callbacks of engines) spans are passed explicitly. Within a
task, `current` sets the current spans and `child_spans` begins spans below them. `collector.py` exports them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from random import random

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Attributes = Mapping[str, str | int | bool]
"""Ids, counts, sizes, locations, names of routes, outcomes: never content, names of people, or secrets."""

_tracer: Tracer | None = None
_current: ContextVar[tuple[Span, ...]] = ContextVar("current_spans", default=())
_propagator = TraceContextTextMapPropagator()


def should_sample(ratio: float) -> bool:
    """Whether to trace the message or request that enters now: true for this share, and never without a tracer."""
    return _tracer is not None and random() < ratio  # noqa: S311 - no secret


def begin(
    name: str,
    kind: SpanKind,
    attributes: Attributes,
    *,
    below: Span | Context | None = None,
    links: Sequence[Link] = (),
) -> Span:
    """Begin a span: a child of `below`, or the first of a trace. The caller ends it."""
    context = trace.set_span_in_context(below, Context()) if isinstance(below, Span) else below or Context()
    tracer = _tracer or trace.NoOpTracer()
    return tracer.start_span(name, context, kind, attributes, links)


def fail(span: Span, error: str) -> None:
    """Mark the span as failed, by a word such as the name of an exception, whose text may hold secrets."""
    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)


def end(span: Span, outcome: object = None) -> None:
    """End the span; an exception as the outcome marks it as failed."""
    if isinstance(outcome, BaseException):
        fail(span, type(outcome).__name__)
    span.end()


@contextmanager
def current(*spans: Span) -> Iterator[None]:
    """Make these the task's current spans in the block; several, where one step serves several traces. Log lines name
    the first."""
    token = _current.set(spans)
    # The owner of a span ends it and sets its status; the text of an exception may hold secrets.
    use = trace.use_span(spans[0], end_on_exit=False, record_exception=False, set_status_on_exception=False)
    try:
        with use:
            yield
    finally:
        _current.reset(token)


def current_spans() -> Sequence[Span]:
    """Return the task's current spans that have not ended; empty if it is not traced. A task may outlive its spans."""
    spans = _current.get()
    return spans and [span for span in spans if span.is_recording()]


@contextmanager
def child_spans(below: Sequence[Span], name: str, kind: SpanKind, attributes: Attributes) -> Iterator[Sequence[Span]]:
    """Run the block in a child of each of these spans, of which there must be one. They fail if the block raises."""
    spans = [begin(name, kind, attributes, below=span) for span in below]
    outcome: BaseException | None = None
    try:
        with current(*spans):
            yield spans
    except BaseException as error:  # trio.Cancelled too: the spans record the outcome, and it is raised again
        outcome = error
        raise
    finally:
        for span in spans:
            end(span, outcome)


def traceparent_of(span: Span) -> str:
    """Return the `traceparent` of W3C Trace Context, which passes a span to another process."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get("traceparent", "")


def sent_context(headers: Mapping[str, str | list[str]]) -> Context | None:
    """Return the context in the headers `traceparent` and `tracestate`; None if it is not valid."""
    context = _propagator.extract(headers, Context())
    return context if trace.get_current_span(context).get_span_context().is_valid else None


@contextmanager
def use_tracer(tracer: Tracer) -> Iterator[None]:
    """Begin this process's spans with the tracer while the block is open. It must sample every span."""
    global _tracer
    before, _tracer = _tracer, tracer
    try:
        yield
    finally:
        _tracer = before

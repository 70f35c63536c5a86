"""Traces: what becomes of one message or request, step by step, in all processes.

Whether something is traced is decided once, where it comes in, by one comparison (`should_sample`). What is not has no
span, no header and no context: each step after that looks whether it was handed one, and that is all it costs.

Spans are handed on where no task does that: in records of the log, and in callbacks of engines. Within a task,
`current` says what is being done, and `child_spans` of it are below. Who is told of spans is in `collector.py`.
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
"""Ids, counts, sizes, places, names of routes, outcomes: never what people write or are called, nor secrets."""

_tracer: Tracer | None = None
_current: ContextVar[tuple[Span, ...]] = ContextVar("current_spans", default=())
_propagator = TraceContextTextMapPropagator()


def should_sample(ratio: float) -> bool:
    """Whether what comes in now is traced: this share of all, and nothing where spans are told to nobody."""
    return _tracer is not None and random() < ratio  # noqa: S311 - no secret


def begin(
    name: str,
    kind: SpanKind,
    attributes: Attributes,
    *,
    below: Span | Context | None = None,
    links: Sequence[Link] = (),
) -> Span:
    """A span that has begun: a step of the one `below` which it is, or the first of a trace. Whoever has it ends it."""
    context = trace.set_span_in_context(below, Context()) if isinstance(below, Span) else below or Context()
    tracer = _tracer or trace.NoOpTracer()
    return tracer.start_span(name, context, kind, attributes, links)


def fail(span: Span, error: str) -> None:
    """Say that it went wrong, by a word such as the name of an exception: its text may hold what must not be here."""
    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)


def end(span: Span, outcome: object = None) -> None:
    """The step is over; an exception as its outcome means that it went wrong."""
    if isinstance(outcome, BaseException):
        fail(span, type(outcome).__name__)
    span.end()


@contextmanager
def current(*spans: Span) -> Iterator[None]:
    """What this task does in the block is a step of these: of many, where it is done for many at once. What is logged
    names the first."""
    token = _current.set(spans)
    # Whoever has a span ends it, and says how; the text of an exception may hold what must not be in it.
    use = trace.use_span(spans[0], end_on_exit=False, record_exception=False, set_status_on_exception=False)
    try:
        with use:
            yield
    finally:
        _current.reset(token)


def current_spans() -> Sequence[Span]:
    """Of what this task does now; empty if that is not traced. A task outlives what it was started for."""
    spans = _current.get()
    return spans and [span for span in spans if span.is_recording()]


@contextmanager
def child_spans(below: Sequence[Span], name: str, kind: SpanKind, attributes: Attributes) -> Iterator[Sequence[Span]]:
    """What is done in the block, as a step of each of these, of which there must be one. Failed if that raises."""
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
    """What hands a span on to another process, as W3C Trace Context has it."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get("traceparent", "")


def sent_context(headers: Mapping[str, str | list[str]]) -> Context | None:
    """What was handed on to us in `traceparent` and `tracestate`; None if it is not valid."""
    context = _propagator.extract(headers, Context())
    return context if trace.get_current_span(context).get_span_context().is_valid else None


@contextmanager
def use_tracer(tracer: Tracer) -> Iterator[None]:
    """Have this process make spans in the block, by this tracer. It must sample all that it is asked to begin."""
    global _tracer
    before, _tracer = _tracer, tracer
    try:
        yield
    finally:
        _tracer = before

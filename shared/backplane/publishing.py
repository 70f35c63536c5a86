"""Publish records, in a producer span where the caller is traced."""

import math
from collections.abc import Sequence

import trio
from opentelemetry.trace import Span, SpanKind

from shared.backplane.protocol import Backplane, Done, Record
from shared.backplane.tracing import destination_attributes, position_attributes
from shared.telemetry import traces


def publish(
    backplane: Backplane, records: Sequence[Record], done: Done, parent: Span | None, *, until: float = math.inf
) -> None:
    """Do `Backplane.publish`; under a parent, in a span whose traceparent every record carries."""
    if parent is None:
        backplane.publish(records, done, until=until)
    else:
        _publish_traced(backplane, records, done, parent, until)


def _publish_traced(backplane: Backplane, records: Sequence[Record], done: Done, parent: Span, until: float) -> None:
    destination = backplane.destination
    attributes = {**destination_attributes(destination), "messaging.operation.type": "send"}
    span = traces.begin(f"publish {destination.name}", SpanKind.PRODUCER, attributes, below=parent)
    span.set_attribute("messaging.batch.message_count", len(records))
    traceparent = traces.traceparent_of(span)

    def traced_done(result: Sequence[int] | Exception) -> None:
        if not isinstance(result, Exception) and result:
            span.set_attributes(position_attributes(records[0].partition, result[0]))
        traces.end(span, result)
        done(result)

    try:
        backplane.publish([record._replace(traceparent=traceparent) for record in records], traced_done, until=until)
    except Exception as error:  # not handled: the span only records it
        traces.end(span, error)
        raise


async def publish_and_wait(
    backplane: Backplane, records: Sequence[Record], *, until: float = math.inf
) -> Sequence[int]:
    """Publish, wait until the records are stored, and return their offsets. Not for the hot path. Raises Unavailable.

    A cancelled wait does not withdraw the records.
    """
    finished = trio.Event()
    outcome: list[Sequence[int] | Exception] = []

    def done(result: Sequence[int] | Exception) -> None:
        outcome.append(result)
        finished.set()

    publish(backplane, records, done, next(iter(traces.current_spans()), None), until=until)
    await finished.wait()
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]

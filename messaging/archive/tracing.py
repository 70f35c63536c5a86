"""Spans of the recorder: one for each traced record, from its read until it is in the store."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind

from messaging.envelopes import kind_name
from rookery.v1.session_pb2 import Event
from shared.backplane import Destination, StoredRecord
from shared.backplane.tracing import consumed
from shared.telemetry import traces

Recordable = Sequence[tuple[StoredRecord, Event]]
Spans = Mapping[StoredRecord, Span]


@contextmanager
def recording(destination: Destination, group: str, events: Recordable) -> Iterator[Spans]:
    """Spans for the traced records, which end with the block. `group` is the recorder's consumer group."""
    spans: dict[StoredRecord, Span] = {}
    for record, event in events:
        context = traces.sent_context({"traceparent": record.traceparent}) if record.traceparent else None
        if context is not None:
            attributes = consumed(destination, group, record) | {
                "messaging.batch.message_count": len(events),
                "messaging.message.id": str(event.event_id),
                "rookery.event": kind_name(event),
            }
            spans[record] = traces.begin(f"record {destination.name}", SpanKind.CONSUMER, attributes, below=context)
    outcome: BaseException | None = None
    try:
        yield spans
    except BaseException as error:  # trio.Cancelled too: the spans record the outcome, and it is raised again
        outcome = error
        raise
    finally:
        for span in spans.values():
            traces.end(span, outcome)

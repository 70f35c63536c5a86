"""Publishes as a step of a trace: a span until the records are on disk, handed on in each of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from opentelemetry.trace import Span, SpanKind

from shared.telemetry import traces

if TYPE_CHECKING:
    from shared.backplane.protocol import Backplane, Destination, Done, Record, StoredRecord


def publish(backplane: "Backplane", records: "Sequence[Record]", done: "Done", below: Span | None) -> None:
    """As Backplane.publish does it; as a step of the span, if there is one."""
    if below is None:
        backplane.publish(records, done)
    else:
        _publish_traced(backplane, records, done, below)


def _publish_traced(backplane: "Backplane", records: "Sequence[Record]", done: "Done", below: Span) -> None:
    destination = backplane.destination
    attributes = {**attributes_of(destination), "messaging.operation.type": "send"}
    span = traces.begin(f"publish {destination.name}", SpanKind.PRODUCER, attributes, below=below)
    span.set_attribute("messaging.batch.message_count", len(records))
    traceparent = traces.traceparent_of(span)

    def traced_done(result: Sequence[int] | Exception) -> None:
        if not isinstance(result, Exception) and result:
            span.set_attributes(place_of(records[0].partition, result[0]))
        traces.end(span, result)
        done(result)

    try:
        backplane.publish([record._replace(traceparent=traceparent) for record in records], traced_done)
    except Exception as error:
        traces.end(span, error)
        raise


def consumed(destination: "Destination", group: str, record: "StoredRecord") -> dict[str, str | int]:
    """The attributes of the step in which a group uses a record."""
    return {
        **attributes_of(destination),
        **place_of(record.partition, record.offset),
        "messaging.operation.type": "process",
        "messaging.consumer.group.name": group,
    }


def attributes_of(destination: "Destination") -> dict[str, str | int]:
    """By OpenTelemetry's conventions for messaging, as of 1.40, as are those of the others."""
    return {"messaging.system": destination.system, "messaging.destination.name": destination.name}


def place_of(partition: int, offset: int) -> dict[str, str | int]:
    """Where a record is."""
    return {"messaging.destination.partition.id": str(partition), "messaging.kafka.offset": offset}

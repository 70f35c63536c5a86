"""Attributes of spans around a backplane, by OpenTelemetry's conventions for messaging, as of 1.40."""

from shared.backplane.protocol import Destination, StoredRecord


def consumed(destination: Destination, group: str, record: StoredRecord) -> dict[str, str | int]:
    """The attributes of a span in which a group processes a record."""
    return {
        **destination_attributes(destination),
        **position_attributes(record.partition, record.offset),
        "messaging.operation.type": "process",
        "messaging.consumer.group.name": group,
    }


def destination_attributes(destination: Destination) -> dict[str, str | int]:
    """The attributes that name the log."""
    return {"messaging.system": destination.system, "messaging.destination.name": destination.name}


def position_attributes(partition: int, offset: int) -> dict[str, str | int]:
    """The attributes that name a record's position in the log."""
    return {"messaging.destination.partition.id": str(partition), "messaging.kafka.offset": offset}

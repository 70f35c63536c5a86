"""The backplane: the log that carries events between processes. A protocol, and a twin on each engine."""

from shared.backplane.protocol import (
    Assignment,
    Backplane,
    Checkpoint,
    Consumer,
    DeadLetter,
    Destination,
    Fetched,
    Record,
    StoredRecord,
)

__all__ = [
    "Assignment",
    "Backplane",
    "Checkpoint",
    "Consumer",
    "DeadLetter",
    "Destination",
    "Fetched",
    "Record",
    "StoredRecord",
]

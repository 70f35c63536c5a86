"""How the embedded log stores records: those that were written together are one row for each partition, a segment."""

import msgspec

from shared.backplane.protocol import StoredRecord

SEGMENT_BYTES = 256 * 1024
"""A segment that has so many bytes is full; one record may take it over that by MAX_RECORD_BYTES."""


def segments_of(records: list[StoredRecord]) -> list[tuple[int, int, int, bytes]]:
    """The rows of records that are written together: for each partition, one segment or more."""
    segments: list[tuple[StoredRecord, list[bytes]]] = []
    open_segments: dict[int, tuple[list[bytes], int]] = {}
    for record in records:
        values, size = open_segments.get(record.partition, ([], SEGMENT_BYTES))
        if size >= SEGMENT_BYTES:
            values, size = [], 0
            segments.append((record, values))
        values.append(record.value)
        open_segments[record.partition] = values, size + len(record.value)
    return [
        (first.partition << 48 | first.offset, len(values), first.at_ms, msgspec.msgpack.encode(values))
        for first, values in segments
    ]


def records_of(partition: int, place: int, at_ms: int, values: bytes) -> list[StoredRecord]:
    """The records of a segment's row."""
    first = place - (partition << 48)
    return [StoredRecord(partition, first + i, at_ms, value) for i, value in enumerate(_decode_values(values))]


_decode_values = msgspec.msgpack.Decoder(list[bytes]).decode

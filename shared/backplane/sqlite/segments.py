"""The encoding of records in the SQLite log. A segment is one row: records of one partition, written together."""

import sqlite3
from typing import NamedTuple

import msgspec

from shared.backplane.protocol import StoredRecord

SEGMENT_BYTES = 256 * 1024
"""A segment of this size takes no further record; the last one may exceed it by MAX_RECORD_BYTES."""


class Segment(NamedTuple):
    """A segment without its records: `place` is partition << 48 | first offset."""

    place: int
    records: int
    at_ms: int


def last_segment(connection: sqlite3.Connection, place: int) -> Segment | None:
    """Return the segment that contains the place, or else the last one before it, in any partition."""
    query = "SELECT place, records, at_ms FROM segments WHERE place <= ? ORDER BY place DESC LIMIT 1"
    row = connection.execute(query, (place,)).fetchone()
    return None if row is None else Segment(*row)


def offset_at(connection: sqlite3.Connection, partition: int, end: int, at_ms: int) -> int:
    """Return the first offset below `end` of a segment at this time or later; else `end`.

    A binary search: times never fall with offsets.
    """
    base = partition << 48
    query = "SELECT min(place) FROM segments WHERE place >= ? AND place < ?"
    (first,) = connection.execute(query, (base, base + end)).fetchone()
    low, high = end if first is None else first - base, end
    while low < high:
        segment = last_segment(connection, base + (low + high) // 2)
        if segment is not None and segment.at_ms < at_ms:
            low = segment.place - base + segment.records
        else:
            high = segment.place - base if segment is not None else low
    return low


def segments_of(records: list[StoredRecord]) -> list[tuple[int, int, int, bytes, bytes | None]]:
    """Encode records that are written together as rows: one or more segments for each partition."""
    segments: list[tuple[StoredRecord, list[bytes]]] = []
    open_segments: dict[int, tuple[list[bytes], int]] = {}
    traced: dict[int, dict[int, str]] = {}  # traceparents by index, by the place of the segment
    for record in records:
        values, size = open_segments.get(record.partition, ([], SEGMENT_BYTES))
        if size >= SEGMENT_BYTES:
            values, size = [], 0
            segments.append((record, values))
        values.append(record.value)
        if record.traceparent:
            index = len(values) - 1
            traced.setdefault(_place(record) - index, {})[index] = record.traceparent
        open_segments[record.partition] = values, size + len(record.value)
    encode = msgspec.msgpack.encode
    return [
        (place, len(values), first.at_ms, encode(values), encode(traced[place]) if place in traced else None)
        for first, values in segments
        for place in (_place(first),)
    ]


def records_of(
    partition: int, place: int, at_ms: int, values: bytes, traceparents: bytes | None = None
) -> list[StoredRecord]:
    """Decode the row of a segment."""
    first = place - (partition << 48)
    records = [StoredRecord(partition, first + i, at_ms, value) for i, value in enumerate(_decode_values(values))]
    for i, traceparent in _decode_traceparents(traceparents).items() if traceparents else ():
        records[i] = records[i]._replace(traceparent=traceparent)
    return records


def _place(record: StoredRecord) -> int:
    return record.partition << 48 | record.offset


_decode_traceparents = msgspec.msgpack.Decoder(dict[int, str]).decode
_decode_values = msgspec.msgpack.Decoder(list[bytes]).decode

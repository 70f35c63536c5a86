"""What the producer sends: calls, cut into pieces by partition, and pieces put together as batches. No I/O."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shared.backplane.kafka.kafka_python import DefaultRecordBatchBuilder
from shared.backplane.protocol import Done, Record

TRACEPARENT = "traceparent"
"""The header of a record that is traced: W3C Trace Context, as everybody names it in Kafka."""

MAX_BATCH_BYTES = 512 * 1024
"""A batch that has so many bytes takes no further record; one may take it over that by MAX_RECORD_BYTES. The topic
allows 2 MiB (shared/backplane/kafka/topics.py)."""


class Call:
    """One call of publish. `rest` waits until the first record is stored; `over` once it has its answer."""

    __slots__ = ("deadline", "done", "missing", "offsets", "over", "records", "rest", "size")

    def __init__(self, records: Sequence[Record], done: Done, size: int, deadline: float) -> None:
        self.records = records
        self.done = done
        self.size = size
        self.deadline = deadline
        self.offsets = [0] * len(records)
        self.missing = len(records)
        self.rest: Sequence[Piece] = ()
        self.over = False

    def split(self) -> "tuple[Piece | None, list[Piece]]":
        """The records in the first one's partition, which go ahead of the others; and the others, by partition."""
        if len(self.records) == 1:
            return Piece(self, self.records[0].partition, (0,)), []
        by_partition: dict[int, list[int]] = {}
        for index, record in enumerate(self.records):
            by_partition.setdefault(record.partition, []).append(index)
        pieces = [Piece(self, partition, indices) for partition, indices in by_partition.items()]
        return (pieces[0] if pieces else None), pieces[1:]


class Piece(NamedTuple):
    """The records of a call that go to one partition, by their index in the call."""

    call: Call
    partition: int
    indices: Sequence[int]


@dataclass(slots=True, eq=False)
class Batch:
    """Records of one partition that are stored together or not at all, as Kafka takes them."""

    partition: int
    pieces: list[Piece]
    records: int
    buffer: bytearray
    deadline: float
    under_way: bool = False


def build_batch(waiting: deque[Piece], partition: int, producer: int, epoch: int, sequence: int) -> Batch | None:
    """Take the next batch from what waits for a partition; None if nothing does that is still wanted.

    A piece that is too large for one batch is cut; what is left of it comes first in the next.
    """
    builder = DefaultRecordBatchBuilder(2, 0, False, producer, epoch, sequence, 1 << 31)
    now_ms = int(time.time() * 1000)  # the topic has the broker's time put in its place
    pieces: list[Piece] = []
    records = 0
    while waiting and builder.size() < MAX_BATCH_BYTES:
        piece = waiting.popleft()
        if piece.call.over:
            continue
        for taken, index in enumerate(piece.indices):
            if builder.size() >= MAX_BATCH_BYTES:
                waiting.appendleft(piece._replace(indices=piece.indices[taken:]))
                piece = piece._replace(indices=piece.indices[:taken])
                break
            record = piece.call.records[index]
            headers = ((TRACEPARENT, record.traceparent.encode()),) if record.traceparent else ()
            builder.append(records, now_ms, None, record.value, headers)
            records += 1
        pieces.append(piece)
    if not pieces:
        return None
    return Batch(partition, pieces, records, builder.build(), min(piece.call.deadline for piece in pieces))

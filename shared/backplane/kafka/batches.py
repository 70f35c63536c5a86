"""Calls of publish, their pieces by partition, and the batches that are built of pieces. No I/O."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shared.backplane.kafka.kafka_python import DefaultRecordBatchBuilder
from shared.backplane.protocol import Done, Record

TRACEPARENT = "traceparent"
"""The header of a traced record: W3C Trace Context, under its usual name in Kafka."""

MAX_BATCH_BYTES = 512 * 1024
"""A batch of this size takes no further record; the last one may exceed it by MAX_RECORD_BYTES. The topic allows 2 MiB
(shared/backplane/kafka/topics.py)."""


class Call:
    """One call of publish. `rest`: the pieces that are held back until the first record is stored. `known_errors`: how
    many errors of earlier calls its caller had received."""

    __slots__ = ("answered", "deadline", "done", "known_errors", "offsets", "records", "rest", "size", "unstored")

    def __init__(
        self, records: Sequence[Record], done: Done, size: int, deadline: float, known_errors: int = 0
    ) -> None:
        self.records = records
        self.done = done
        self.size = size
        self.deadline = deadline
        self.known_errors = known_errors
        self.offsets = [0] * len(records)
        self.unstored = len(records)
        self.rest: Sequence[Piece] = ()
        self.answered = False

    @property
    def is_begun(self) -> bool:
        """Whether any of its records is stored."""
        return self.unstored < len(self.records)

    def split(self) -> "tuple[Piece | None, list[Piece]]":
        """Return the piece of the first record's partition, which is sent first; and the others."""
        if len(self.records) == 1:
            return Piece(self, self.records[0].partition, (0,)), []
        by_partition: dict[int, list[int]] = {}
        for index, (partition, _, _) in enumerate(self.records):
            if partition in by_partition:
                by_partition[partition].append(index)
            else:
                by_partition[partition] = [index]
        pieces = [Piece(self, partition, indices) for partition, indices in by_partition.items()]
        return (pieces[0] if pieces else None), pieces[1:]


class Piece(NamedTuple):
    """The records of a call in one partition, by their index in the call."""

    call: Call
    partition: int
    indices: Sequence[int]


class Identity(NamedTuple):
    """A producer's identity at the brokers. The sequence numbers of each partition start at 0 under each identity."""

    producer: int
    epoch: int


@dataclass(slots=True, eq=False)
class Batch:
    """Records of one partition, which Kafka stores together or not at all. `deadline`: the earliest of its calls'."""

    partition: int
    pieces: list[Piece]
    records: int
    buffer: bytearray
    deadline: float
    under_way: bool = False


def build_batch(waiting: deque[Piece], partition: int, identity: Identity, sequence: int, at_ms: int) -> Batch | None:
    """Build the next batch of the pieces that wait for a partition; None if all of them are answered, or none waits.

    A piece that is too large for one batch is cut, and its remainder put back in front. The topic replaces `at_ms`,
    milliseconds since 1970, by the broker's time.
    """
    builder = DefaultRecordBatchBuilder(2, 0, False, identity.producer, identity.epoch, sequence, 1 << 31)
    pieces: list[Piece] = []
    records = 0
    while waiting and builder.size() < MAX_BATCH_BYTES:
        piece = waiting.popleft()
        if piece.call.answered:
            continue
        for taken, index in enumerate(piece.indices):
            if taken and builder.size() >= MAX_BATCH_BYTES:
                waiting.appendleft(piece._replace(indices=piece.indices[taken:]))
                piece = piece._replace(indices=piece.indices[:taken])
                break
            record = piece.call.records[index]
            headers = ((TRACEPARENT, record.traceparent.encode()),) if record.traceparent else ()
            builder.append(records, at_ms, None, record.value, headers)
            records += 1
        pieces.append(piece)
    if not pieces:
        return None
    return Batch(partition, pieces, records, builder.build(), min(piece.call.deadline for piece in pieces))

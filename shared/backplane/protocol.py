"""The protocol of a backplane: a log of partitions, each in order, read by groups of consumers.

All of it is for the Trio thread.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

MAX_RECORD_BYTES = 1024 * 1024
"""The size limit of a record's value, in bytes."""

DEAD_LETTER_HOURS = 30 * 24.0
"""How long dead letters are kept: long enough for an operator to find the time."""


class Record(NamedTuple):
    """A value to publish to a partition. `traceparent` (W3C Trace Context) is set if the publishing span is sampled."""

    partition: int
    value: bytes
    traceparent: str = ""


class StoredRecord(NamedTuple):
    """A published record, with its position and the log's time (milliseconds since 1970)."""

    partition: int
    offset: int
    at_ms: int
    value: bytes
    traceparent: str = ""


class Destination(NamedTuple):
    """The name of a backplane in traces: the messaging system, and the log in it."""

    system: str
    name: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """Records, in order of their offsets within each partition; partitions may be interleaved."""

    records: Sequence[StoredRecord]


@dataclass(frozen=True, slots=True)
class Assignment:
    """A change of the consumer's partitions. A gained one starts at the group's committed offset, or else at the oldest
    record, unless the consumer seeks before its next `fetch`.

    `epoch` rises with each rebalance: if two members claim the same partition, the one with the higher epoch owns it.
    """

    gained: frozenset[int]
    lost: frozenset[int]
    epoch: int = 0


class Checkpoint(NamedTuple):
    """How far a group has come in a partition: the next offset to read, and an epoch of the group's own, for which a
    group that needs none commits 0."""

    offset: int
    epoch: int = 0


class Consumer(Protocol):
    """A member of a consumer group. The group divides the partitions among its members, and again when one leaves."""

    async def fetch(self) -> Fetched | Assignment:
        """Wait for the next assignment, or for records of the assigned partitions. Cancellation loses nothing.

        A lost partition moves to its next owner when `fetch` is called again, or after a few seconds. Raises
        Unavailable if the group does not accept this consumer.
        """
        ...

    @property
    def held_until(self) -> float:
        """The time (of `trio.current_time`) up to which no other member can own this consumer's partitions. Each
        heartbeat that the group confirms extends it: a process that was frozen, or suspended with its machine, finds it
        in the past. After partitions moved that were not released, it is in the past until the consumer has handled
        their loss and fetches again."""
        ...

    def lag(self) -> Mapping[int, int]:
        """The number of records not yet fetched, by assigned partition, as far as it is known."""
        ...

    def seek(self, partition: int, offset: int) -> None:
        """Continue at this offset. Raises ValueError for a partition that is not assigned."""
        ...

    async def commit(self, checkpoints: Mapping[int, Checkpoint]) -> None:
        """Store the group's checkpoints, by partition. Raises Unavailable."""
        ...

    async def committed(self, partitions: Collection[int]) -> Mapping[int, Checkpoint]:
        """The group's checkpoints in these partitions, as far as there are any. Raises Unavailable."""
        ...


Done = Callable[[Sequence[int] | Exception], None]
"""Called once, in the Trio thread: with the offsets of the records, in the order given, once all are stored; or with
Unavailable, after which any of them may or may not be in the log. Must not raise or block."""


class DeadLetter(NamedTuple):
    """A record that a group could not process, and the reason. Group, partition, offset and time identify it."""

    record: StoredRecord
    group: str
    reason: str

    @property
    def identity(self) -> tuple[str, int, int, int]:
        """Group, partition, offset, milliseconds. The time distinguishes the records of a log from a successor's."""
        return self.group, self.record.partition, self.record.offset, self.record.at_ms


class Backplane(Protocol):
    """A log of partitions. A record is *stored* once the engine has acknowledged it: with an fsync in SQLite, on
    `min_in_sync` brokers with Kafka. A stored record survives the end of any process."""

    @property
    def partitions(self) -> int:
        """The number of partitions."""
        ...

    @property
    def destination(self) -> Destination: ...

    def publish(self, records: Sequence[Record], done: Done, *, until: float = math.inf) -> None:
        """Append the records, and call `done` with the result. Returns at once.

        Records that are not stored by `until`, a time of `trio.current_time`, are not sent any more: by then, another
        process may own their sender's partition.

        The first record is stored before any other of the call is written, so an interrupted call never leaves others
        without it. In each partition, records follow the records of earlier calls whose first record went to the same
        partition, and of every call that was acknowledged before. With a call that fails, the calls fail that wait
        behind it in its partition and were made before its `done` was called: none overtakes a call that is repeated.
        Raises Unavailable, with no effect, if too much is pending; ValueError for an unknown partition or a value over
        MAX_RECORD_BYTES.
        """
        ...

    def withdraw(self, partitions: Collection[int]) -> None:
        """Fail the calls whose first record goes to one of these partitions and is not stored yet, before their next
        owner can publish. Their other records are not written; whether the first one is stored is unknown."""
        ...

    def consume(self, group: str, *, gather: float = 0.0) -> AbstractAsyncContextManager[Consumer]:
        """Be a member of the group until the block ends. The first `fetch` returns the assignment.

        The engine may delay records by up to `gather` seconds to return more of them at once.
        """
        ...

    async def end_offset(self, partition: int) -> int:
        """The offset of the next record, or a later one. Raises Unavailable."""
        ...

    async def offset_at(self, partition: int, at_ms: int) -> int:
        """The offset of the first record at this time or later; the end if there is none. Raises Unavailable."""
        ...

    async def committed_offset(self, group: str, partition: int) -> int:
        """The group's next offset to read, as it was committed last; 0 if none was. Raises Unavailable."""
        ...

    async def dead_letter(self, letter: DeadLetter) -> None:
        """Store a record that could not be processed, with its trace. Idempotent: the same letter again replaces the
        first, so that a retry leaves one. Raises Unavailable."""
        ...

    async def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        """The newest dead letters, at most `limit`, oldest first. Raises Unavailable."""
        ...

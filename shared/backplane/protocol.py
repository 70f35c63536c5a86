"""What a backplane does: keeps records in partitions, each in order, and hands them to groups of consumers."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import trio

from shared.backplane.tracing import publish
from shared.telemetry import traces

MAX_RECORD_BYTES = 1024 * 1024
"""A record's value may have this many bytes at most."""


class Record(NamedTuple):
    """What is published: bytes, to a partition. `traceparent` is for the few that are traced: the span that publishes
    them, as W3C Trace Context has it."""

    partition: int
    value: bytes
    traceparent: str = ""


class StoredRecord(NamedTuple):
    """What was published, with its place and its time (milliseconds since 1970)."""

    partition: int
    offset: int
    at_ms: int
    value: bytes
    traceparent: str = ""


class Destination(NamedTuple):
    """What traces call a backplane: the kind of engine, and the name of the log in it."""

    system: str
    name: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """Records in order of their offsets, partition by partition or mixed."""

    records: Sequence[StoredRecord]


@dataclass(frozen=True, slots=True)
class Assignment:
    """The partitions that this consumer has from now on. It begins each gained one where its group committed, or at
    the oldest record, unless it seeks before it fetches again.

    `epoch` rises whenever the partitions are divided anew: of two members that both believe to have one, the higher is
    right.
    """

    gained: frozenset[int]
    lost: frozenset[int]
    epoch: int = 0


class Consumer(Protocol):
    """One member of a group. The partitions are divided among the members; when one goes, the others get its share."""

    async def fetch(self) -> Fetched | Assignment:
        """Wait for what comes next: a change of the partitions, or records of those that it has.

        A partition that was lost goes to its next owner when `fetch` is called again, or after a few seconds.
        """
        ...

    @property
    def held_until(self) -> float:
        """Until when (of `trio.current_time`) nobody else can have this consumer's partitions. It moves on as long as
        the group hears of the consumer: a process that was frozen finds it in the past."""
        ...

    def lag(self) -> Mapping[int, int]:
        """By partition that the consumer has, how many records it has not been given yet, as far as is known."""
        ...

    def seek(self, partition: int, offset: int) -> None:
        """Go on from this offset in a partition that the consumer has."""
        ...

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Remember, for the group, the next offset to read of these partitions. Raises Unavailable."""
        ...


Done = Callable[[Sequence[int] | Exception], None]
"""Called in the Trio thread with the offsets of the records, in the order given, once all are on disk; or with
Unavailable if they are not, which says nothing of each of them. Must not raise or block."""


class DeadLetter(NamedTuple):
    """A record that could not be used: its coordinates, why, and what it was."""

    record: StoredRecord
    group: str
    reason: str


class Backplane(Protocol):
    """Acknowledged records are never lost, not by the end of a process either."""

    @property
    def partitions(self) -> int:
        """How many there are."""
        ...

    @property
    def destination(self) -> Destination: ...

    def publish(self, records: Sequence[Record], done: Done) -> None:
        """Append the records. `done` hears how it ended.

        The first record is safe before any other of the call is written: what ends half-way never leaves others
        without it. In each partition, records come after those of earlier calls whose first record went to the same
        partition as theirs, and after those of any call that was done before. Raises Unavailable, having done nothing,
        if too much waits already. Raises ValueError for a partition that is not there or a value over
        MAX_RECORD_BYTES.
        """
        ...

    def consume(self, group: str, *, gather: float = 0.0) -> AbstractAsyncContextManager[Consumer]:
        """Join the group, until the block ends. The first `fetch` gives the assignment.

        Records may be kept for `gather` seconds until more come along, where that saves the engine work.
        """
        ...

    async def end_offset(self, partition: int) -> int:
        """The offset that the next record will have, or more."""
        ...

    async def offset_at(self, partition: int, at_ms: int) -> int:
        """The first offset of a record of this moment or later; the end if there is none."""
        ...

    async def dead_letter(self, letter: DeadLetter) -> None:
        """Keep a record that could not be used, for people to look at. Raises Unavailable."""
        ...

    async def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        """The newest of those that were set aside, oldest first, at most `limit`. Raises Unavailable."""
        ...


async def publish_and_wait(backplane: Backplane, records: Sequence[Record]) -> Sequence[int]:
    """Publish and wait until the records are on disk; their offsets. Raises Unavailable. For what is not hot."""
    finished = trio.Event()
    outcome: list[Sequence[int] | Exception] = []

    def done(result: Sequence[int] | Exception) -> None:
        outcome.append(result)
        finished.set()

    publish(backplane, records, done, next(iter(traces.current_spans()), None))
    await finished.wait()
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]

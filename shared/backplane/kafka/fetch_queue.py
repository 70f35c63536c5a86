"""The queue from a group member, in Kafka's thread, to its consumer, in Trio's."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from shared.backplane.kafka.client import KafkaLoop
from shared.backplane.protocol import Assignment, StoredRecord

MAX_BUFFERED_BYTES = 16 * 1024 * 1024
"""At this size the reader stops fetching; responses that are under way may still exceed it."""


class Chunk(NamedTuple):
    """Records of one partition, fetched after the partition's seek of this number. `size`: bytes of their values."""

    partition: int
    seek: int
    records: list[StoredRecord]
    size: int


class Notification(NamedTuple):
    """An assignment, with the number by which the consumer acknowledges it."""

    number: int
    assignment: Assignment


class FetchQueue:
    """Chunks and notifications in the order in which Kafka's thread put them; bounded in bytes.

    `put_*` are for Kafka's thread, `take_*` for Trio's. No lock: a deque's ends are atomic, and each byte counter has
    one thread that writes it.
    """

    def __init__(self, loop: KafkaLoop, wake: Callable[[], None]) -> None:
        self._loop = loop
        self._wake = wake
        self._events: deque[Chunk | Notification] = deque()
        self._put_bytes = 0
        self._taken_bytes = 0

    @property
    def size(self) -> int:
        """Bytes in the queue. For both threads."""
        return self._put_bytes - self._taken_bytes

    @property
    def is_full(self) -> bool:
        """Whether no more should be fetched. For both threads."""
        return self.size >= MAX_BUFFERED_BYTES

    def put_chunks(self, chunks: Sequence[Chunk]) -> None:
        self._put_bytes += sum([chunk.size for chunk in chunks])  # first: the size is never negative
        self._events.extend(chunks)
        self.wake_consumer()

    def put_notification(self, notification: Notification) -> None:
        self._events.append(notification)
        self.wake_consumer()

    def wake_consumer(self) -> None:
        """Have the consumer check the queue and the member's state. For Kafka's thread."""
        self._loop.call_trio_soon(self._wake)

    def take_chunks(self) -> list[Chunk]:
        """Take the chunks up to the next notification."""
        chunks: list[Chunk] = []
        events = self._events
        while events and not isinstance(event := events[0], Notification):
            events.popleft()
            self._taken_bytes += event.size
            chunks.append(event)
        return chunks

    def take_notification(self) -> Notification | None:
        """Take the next event if it is a notification."""
        if self._events and isinstance(event := self._events[0], Notification):
            self._events.popleft()
            return event
        return None

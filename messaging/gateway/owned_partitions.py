"""The partitions that are assigned to this gateway, and their tails."""

import math
from collections.abc import Callable, Collection

import trio

from messaging.gateway.tail import Tail
from shared.backplane import Consumer
from shared.contract.partitions import partition_of


class OwnedPartitions:
    """The assigned partitions and their tails; one for each gateway. The log consumer writes it, sign-in and publisher
    read it; no method waits.

    A partition is gained, gets a tail as soon as the log can look it up, is *owned* once its tail is rebuilt and this
    gateway's fence is in force, and in the end leaving. Its users are served while it is owned.
    """

    def __init__(self, count: int) -> None:
        """`count` is the number of partitions of the log, whichever gateway owns them."""
        self.count = count
        self.unread: set[int] = set()
        """Gained partitions without a tail: the log could not look them up yet."""
        self.tails: dict[int, Tail] = {}
        """By assigned partition that is not in `unread`."""
        self.gained_at: dict[int, float] = {}
        """By assigned partition with a tail, when that began, on Trio's clock: announcements from before the tail are
        not read."""
        self.rebuilding: dict[int, int] = {}
        """By partition that is not owned yet, the offset at which its tail is complete."""
        self.fencing: set[int] = set()
        """Partitions among these whose tail is complete: their fence is on its way to the log."""
        self.leaving: frozenset[int] = frozenset()
        """Partitions that accept no more messages."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when a partition was assigned or removed."""
        self.set_consumer(None)

    def set_consumer(self, consumer: Consumer | None) -> None:
        """Set the member of the group to which the partitions are assigned; None while this gateway is no member."""
        self.consumer = consumer

    @property
    def owned(self) -> frozenset[int]:
        """The partitions whose users this gateway serves."""
        return frozenset(self.tails.keys() - self.rebuilding.keys() - self.leaving)

    @property
    def unserved(self) -> int:
        """The number of gained partitions that are not owned yet."""
        return len(self.rebuilding) + len(self.unread)

    @property
    def held_until(self) -> float:
        """The time up to which no other gateway can own one of these partitions; the past while none is assigned."""
        return -math.inf if self.consumer is None else self.consumer.held_until

    @property
    def is_held(self) -> bool:
        """Whether no other gateway can own one of these partitions by now."""
        return self.consumer is not None and trio.current_time() < self.consumer.held_until

    def partition_of(self, user_id: int) -> int:
        return partition_of(user_id, self.count)

    def is_leaving(self, user_id: int) -> bool:
        """Whether the user's partition is leaving: the user's sessions get Reconnect within moments."""
        return bool(self.leaving) and self.partition_of(user_id) in self.leaving

    def tail_of(self, user_id: int) -> Tail | None:
        """The tail of the user's partition; None if that is not owned, or if another gateway may own it by now."""
        return self.tail_at(partition_of(user_id, self.count))

    def tail_at(self, partition: int) -> Tail | None:
        """The tail of a partition; None as for `tail_of`."""
        if partition in self.rebuilding or partition in self.leaving or not self.is_held:
            return None
        return self.tails.get(partition)

    def holds(self, tail: Tail, epoch: int) -> bool:
        """Whether no other gateway has owned the tail's partition since this one published under this epoch. If so, its
        records of truth count that the log has acknowledged until now."""
        return tail.fences.epoch == epoch and not tail.is_released and self.is_held

    def assign(self, partition: int, start: int, end: int, complete_from_ms: int, now: float) -> None:
        """Begin a tail at offset `start`, which will have every event from `complete_from_ms` on (since 1970); it is
        complete once it has been read up to `end`. `now` is the time on Trio's clock."""
        self.unread.discard(partition)
        self.tails[partition] = Tail(start, complete_from_ms)
        self.gained_at[partition] = now
        self.rebuilding[partition] = end
        self.on_change()

    def take_rebuilt(self) -> list[int]:
        """The partitions that have to be fenced now: their tails are complete, and no fence is on its way."""
        if not self.rebuilding:  # the usual case after a fetch
            return []
        rebuilt = [
            part
            for part, end in self.rebuilding.items()
            if part not in self.fencing and self.tails[part].next_offset >= end
        ]
        self.fencing.update(rebuilt)
        return rebuilt

    def own(self, partition: int) -> None:
        """Own the partition, since this gateway's fence is in force."""
        del self.rebuilding[partition]
        self.fencing.discard(partition)

    def disown(self, partition: int) -> None:
        """Own the partition no longer: it has to be fenced again."""
        self.rebuilding[partition] = self.tails[partition].next_offset
        self.fencing.discard(partition)

    def remove(self, partitions: Collection[int]) -> None:
        """Forget these partitions; none is leaving any more."""
        for partition in partitions:
            if (tail := self.tails.pop(partition, None)) is not None:
                tail.is_released = True
            self.gained_at.pop(partition, None)
            self.rebuilding.pop(partition, None)
        self.fencing.difference_update(partitions)
        self.leaving = frozenset()
        self.on_change()

    def evict(self, *, older_than_ms: int, max_bytes: int) -> None:
        """Bound every tail in time and in bytes."""
        for tail in self.tails.values():
            tail.evict(older_than_ms=older_than_ms, max_bytes=max_bytes)

"""A consumer on Kafka, in Trio's thread: takes records and assignments from the queue that its group member fills in
Kafka's thread."""

import math
import time
from collections.abc import Collection, Mapping
from contextlib import suppress

import trio

from shared.backplane.kafka.client import CLOSE_TIMEOUT, KafkaLoop
from shared.backplane.kafka.fetch_queue import Chunk, FetchQueue, Notification
from shared.backplane.kafka.kafka_python import Client
from shared.backplane.kafka.member import Member
from shared.backplane.kafka.watchdog import Watchdog
from shared.backplane.protocol import Assignment, Checkpoint, Fetched, StoredRecord
from shared.clock import elapsed
from shared.contract.errors import Unavailable

COMMIT_TIMEOUT = 5.0
"""Seconds for a commit, which has to wait during a rebalance."""


class KafkaConsumer:
    """A Consumer on Kafka. Made by `KafkaBackplane.consume`; for Trio's thread."""

    def __init__(self, loop: KafkaLoop, watchdog: Watchdog, group: str, instance: str, gather: float) -> None:
        self._loop = loop
        self._woken = trio.Event()
        self._unacknowledged: Notification | None = None
        self._acknowledged = 0  # the number of the newest notification that was handled
        self._positions: dict[int, int | None] = {}  # by owned partition; None: not known yet
        self._seeks: dict[int, int] = {}
        self._session_timeout = loop.settings.session_timeout_seconds
        self._queue = FetchQueue(loop, self._wake)
        self._member = Member(loop, watchdog, group, instance, gather, self._queue)
        self._member.start()

    async def fetch(self) -> Fetched | Assignment:
        self._loop.assert_in_trio_thread()
        await trio.lowlevel.checkpoint()
        if (notification := self._unacknowledged) is not None:  # calls keep their order: a seek comes first
            self._unacknowledged = None
            self._acknowledged = notification.number
            self._loop.call_soon(lambda: self._member.acknowledge(notification))
        while True:
            if (event := self._take()) is not None:
                return event
            if self._member.failure is not None:
                raise Unavailable(self._member.failure)
            await self._woken.wait()
            self._woken = trio.Event()  # no await before the queue is looked at again

    @property
    def held_until(self) -> float:
        if self._acknowledged < self._member.unreleased:
            return -math.inf
        # Both clocks run on while the process is stopped, but only `elapsed` while the machine is suspended.
        return self._member.heartbeat_at + self._session_timeout + (trio.current_time() - elapsed())

    def lag(self) -> Mapping[int, int]:
        ends = self._member.reader.ends
        return {
            partition: max(0, ends[partition] - position)
            for partition, position in self._positions.items()
            if position is not None and partition in ends
        }

    def seek(self, partition: int, offset: int) -> None:
        self._loop.assert_in_trio_thread()
        if partition not in self._positions:
            raise ValueError(f"this consumer does not have partition {partition}")
        number = self._seeks[partition] = self._seeks.get(partition, 0) + 1
        self._positions[partition] = offset
        self._loop.call_soon(lambda: self._member.reader.seek(partition, offset, number))

    async def commit(self, checkpoints: Mapping[int, Checkpoint]) -> None:
        self._loop.assert_in_trio_thread()
        if not checkpoints:
            await trio.lowlevel.checkpoint()
            return
        copy = dict(checkpoints)  # the caller may change its own while Kafka's thread reads
        deadline = time.monotonic() + COMMIT_TIMEOUT
        await self._loop.call("offsets can't be committed", COMMIT_TIMEOUT, lambda: self._member.commit(copy, deadline))

    async def committed(self, partitions: Collection[int]) -> Mapping[int, Checkpoint]:
        self._loop.assert_in_trio_thread()
        return await self._loop.call(
            "committed offsets can't be looked up",
            COMMIT_TIMEOUT,
            lambda: self._member.committed(partitions, int(COMMIT_TIMEOUT * 1000)),
        )

    def _wake(self) -> None:
        self._woken.set()

    def _take(self) -> Fetched | Assignment | None:
        """Take all records up to the next assignment, or that assignment."""
        was_full = self._queue.is_full
        records: list[StoredRecord] = []
        for chunk in self._queue.take_chunks():
            self._take_chunk(chunk, records)
        if was_full and not self._queue.is_full:
            self._loop.call_soon(self._member.reader.wake)
        if records:
            return Fetched(records)
        notification = self._queue.take_notification()
        return None if notification is None else self._take_assignment(notification)

    def _take_assignment(self, notification: Notification) -> Assignment:
        self._unacknowledged = notification
        for partition in notification.assignment.lost:
            self._positions.pop(partition, None)
        for partition in notification.assignment.gained:
            self._positions[partition] = None
        return notification.assignment

    def _take_chunk(self, chunk: Chunk, records: list[StoredRecord]) -> None:
        """Take its records, unless the partition was lost or sought in after they were fetched."""
        if chunk.partition in self._positions and chunk.seek == self._seeks.get(chunk.partition, 0):
            self._positions[chunk.partition] = chunk.records[-1].offset + 1
            records += chunk.records

    async def close(self, leave_through: Client) -> None:
        """Leave the group, within CLOSE_TIMEOUT; otherwise the group excludes the member when its session times out."""
        with suppress(Unavailable):
            await self._loop.call("leaving a group", CLOSE_TIMEOUT, lambda: self._member.close(leave_through))

"""A consumer of Kafka, in the Trio thread: hands on what its member of the group, in the loop's thread, has read."""

import time
from collections.abc import Mapping
from contextlib import suppress

import trio

from shared.backplane.kafka.client import CLOSE_TIMEOUT, KafkaLoop
from shared.backplane.kafka.kafka_python import Client
from shared.backplane.kafka.member import Chunk, Member, Told
from shared.backplane.protocol import Assignment, Fetched, StoredRecord
from shared.contract.errors import Unavailable

COMMIT_TIMEOUT = 5.0
"""Seconds in which a commit succeeds or fails: it has to wait while the group divides its partitions anew."""


class KafkaConsumer:
    """A Consumer of Kafka. Made by `KafkaBackplane.consume`."""

    def __init__(self, loop: KafkaLoop, group: str, instance: str, gather: float) -> None:
        self._loop = loop
        self._wake = trio.Event()
        self._told: Told | None = None
        self._positions: dict[int, int | None] = {}  # of the partitions that we have; None: not known yet
        self._seeks: dict[int, int] = {}
        self._session_timeout = loop.settings.session_timeout_seconds
        self._member = Member(loop, group, instance, gather, self._stir)
        self._member.start()

    async def fetch(self) -> Fetched | Assignment:
        await trio.lowlevel.checkpoint()
        if (told := self._told) is not None:  # what follows it, such as a seek, was said before
            self._told = None
            self._loop.soon(lambda: self._member.acted(told))
        while True:
            if (event := self._take()) is not None:
                return event
            if self._member.failure is not None:
                raise Unavailable(self._member.failure)
            await self._wake.wait()
            self._wake = trio.Event()

    @property
    def held_until(self) -> float:
        # Both clocks run alike, and while the process is stopped too: only where they began differs.
        return self._member.heard_at + self._session_timeout + (trio.current_time() - time.monotonic())

    def lag(self) -> Mapping[int, int]:
        ends = self._member.ends
        return {
            partition: max(0, ends[partition] - position)
            for partition, position in self._positions.items()
            if position is not None and partition in ends
        }

    def seek(self, partition: int, offset: int) -> None:
        if partition not in self._positions:
            raise ValueError(f"this consumer does not have partition {partition}")
        seek = self._seeks[partition] = self._seeks.get(partition, 0) + 1
        self._positions[partition] = offset
        self._loop.soon(lambda: self._member.seek(partition, offset, seek))

    async def commit(self, offsets: Mapping[int, int]) -> None:
        if not offsets:
            await trio.lowlevel.checkpoint()
            return
        wanted = dict(offsets)
        await self._loop.call(
            "offsets can't be committed", COMMIT_TIMEOUT, lambda: self._member.commit(wanted, COMMIT_TIMEOUT)
        )

    def _stir(self) -> None:
        self._wake.set()

    def _take(self) -> Fetched | Assignment | None:
        """What is next: an assignment, or all records before the next one."""
        queue = self._member.queue
        records: list[StoredRecord] = []
        was_full = self._member.is_full
        while queue and not (records and isinstance(queue[0], Told)):
            event = queue.popleft()
            if isinstance(event, Told):
                return self._take_assignment(event)
            self._member.taken_bytes += event.size
            self._take_chunk(event, records)
        if was_full and not self._member.is_full:
            self._loop.soon(self._member.stir)
        return Fetched(records) if records else None

    def _take_assignment(self, told: Told) -> Assignment:
        self._told = told
        for partition in told.assignment.lost:
            self._positions.pop(partition, None)
        for partition in told.assignment.gained:
            self._positions[partition] = None
        return told.assignment

    def _take_chunk(self, chunk: Chunk, records: list[StoredRecord]) -> None:
        """Its records, unless the partition was lost, or sought in, after they were read."""
        if chunk.partition in self._positions and chunk.seek == self._seeks.get(chunk.partition, 0):
            self._positions[chunk.partition] = chunk.records[-1].offset + 1
            records += chunk.records

    async def close(self, leave_through: Client) -> None:
        """Leave the group; where that can't be, it finds out by itself when it hears no more of us."""
        with suppress(Unavailable):
            await self._loop.call("leaving a group", CLOSE_TIMEOUT, lambda: self._member.close(leave_through))

"""The backplane on Kafka, the distributed engine.

All of kafka-python runs in one thread (client.py). The producer (producer.py) sends the batches that its batcher
(batcher.py) forms. Each consumer (consumer.py) is one member of a group (member.py), whose reader (reader.py) fetches.
A watchdog (watchdog.py) takes the members of a process that was killed out of their groups.
"""

import math
import socket
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from shared.background import open_background
from shared.backplane.kafka.client import KafkaLoop, open_kafka_loop
from shared.backplane.kafka.consumer import KafkaConsumer
from shared.backplane.kafka.dead_letters import DEAD_LETTER_TIMEOUT, read_letters, write_letter
from shared.backplane.kafka.kafka_python import Client, TopicPartition
from shared.backplane.kafka.offsets import END, committed_offset, find_offset
from shared.backplane.kafka.producer import Producer
from shared.backplane.kafka.topics import open_topic
from shared.backplane.kafka.watchdog import Watchdog
from shared.backplane.protocol import MAX_RECORD_BYTES, DeadLetter, Destination, Done, Record
from shared.bridge import BridgeStatistics
from shared.settings import KafkaSettings

LOOKUP_TIMEOUT = 5.0
"""Seconds to look up an offset."""


class KafkaBackplane:
    """A Backplane on Kafka. Made by `open_kafka`; for Trio's thread."""

    def __init__(self, loop: KafkaLoop, client: Client) -> None:
        self._loop = loop
        self._settings = loop.settings
        self._client = client
        self._producer = Producer(loop, client, self._settings.topic, self._settings.partitions)
        self._watchdog = Watchdog(self._settings)
        self._instances: set[tuple[str, str]] = set()

    @property
    def partitions(self) -> int:
        return self._settings.partitions

    @property
    def destination(self) -> Destination:
        return Destination("kafka", self._settings.topic)

    def statistics(self) -> BridgeStatistics:
        return self._producer.statistics()

    def publish(self, records: Sequence[Record], done: Done, *, until: float = math.inf) -> None:
        size = 0
        for partition, value, _ in records:
            if not 0 <= partition < self._settings.partitions:
                raise ValueError(f"partition must be 0 to {self._settings.partitions - 1}, not {partition}")
            if len(value) > MAX_RECORD_BYTES:
                raise ValueError(f"a record may have {MAX_RECORD_BYTES} bytes at most, not {len(value)}")
            size += len(value)
        self._producer.publish(records, size, done, until - trio.current_time())

    def withdraw(self, partitions: Collection[int]) -> None:
        self._producer.withdraw(partitions)

    @asynccontextmanager
    async def consume(self, group: str, *, gather: float = 0.0) -> AsyncIterator[KafkaConsumer]:
        """Join the group. If no broker answers, the first `fetch` waits for one."""
        instance = self._take_instance(group)
        self._watchdog.start()
        consumer = KafkaConsumer(self._loop, self._watchdog, group, instance, gather)
        try:
            yield consumer
        finally:
            self._instances.discard((group, instance))
            with trio.CancelScope(shield=True):
                await consumer.close(self._client)

    def _take_instance(self, group: str) -> str:
        """Choose the consumer's name in the group: that of this process, the same after a restart. So the group
        returns the partitions of a process that was killed with its watchdog, without a rebalance, if it restarts
        soon."""
        name = self._settings.instance or socket.gethostname()
        number = 1
        instance = name
        while (group, instance) in self._instances:
            number += 1
            instance = f"{name}.{number}"
        self._instances.add((group, instance))
        return instance

    async def end_offset(self, partition: int) -> int:
        return await self._find_offset(partition, END) or 0

    async def offset_at(self, partition: int, at_ms: int) -> int:
        offset = await self._find_offset(partition, max(at_ms, 0))
        return await self.end_offset(partition) if offset is None else offset

    async def _find_offset(self, partition: int, at_ms: int) -> int | None:
        place = TopicPartition(self._settings.topic, partition)
        return await self._loop.call(
            "an offset can't be found",
            LOOKUP_TIMEOUT,
            lambda: find_offset(self._client, place, at_ms, int(LOOKUP_TIMEOUT * 1000)),
        )

    async def committed_offset(self, group: str, partition: int) -> int:
        place = TopicPartition(self._settings.topic, partition)
        return await self._loop.call(
            "a group's offset can't be found",
            LOOKUP_TIMEOUT,
            lambda: committed_offset(self._client, self._loop.group_id(group), place, int(LOOKUP_TIMEOUT * 1000)),
        )

    async def dead_letter(self, letter: DeadLetter) -> None:
        await self._loop.call(
            "a dead letter can't be written",
            DEAD_LETTER_TIMEOUT,
            lambda: write_letter(self._loop, self._client, letter),
        )

    async def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        async with self._loop.open_client() as client:  # a fetch on the shared one would delay the producer
            await self._loop.connect(client, [self._settings.dead_letter_topic])
            return await self._loop.call(
                "the dead letters can't be read",
                DEAD_LETTER_TIMEOUT,
                lambda: read_letters(self._loop, client, limit),
            )

    async def close(self) -> None:
        """Wait for pending calls, at most CLOSE_TIMEOUT, then reject them."""
        try:
            await self._producer.close()
        finally:
            self._watchdog.close()


@asynccontextmanager
async def open_kafka(settings: KafkaSettings) -> AsyncIterator[KafkaBackplane]:
    """Open the backplane on Kafka, whose topics `rookery migrate` has made.

    Raises UnusableCertificate, and Unavailable if no broker answers, if the topic does not exist, or if it has another
    number of partitions.
    """
    async with AsyncExitStack() as stack:
        loop = await stack.enter_async_context(open_kafka_loop(settings))
        client = await stack.enter_async_context(loop.open_client())
        await open_topic(loop, client, settings)
        backplane = KafkaBackplane(loop, client)
        try:
            async with open_background() as nursery:
                nursery.start_soon(backplane._producer.supervise)
                yield backplane
        finally:
            with trio.CancelScope(shield=True):
                await backplane.close()

"""The reader of a group member: fetches the records of its partitions, in Kafka's thread."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from shared.backplane.kafka.client import KafkaLoop
from shared.backplane.kafka.fetch_queue import Chunk, FetchQueue
from shared.backplane.kafka.kafka_python import Future, Place, TopicPartition, errors
from shared.backplane.kafka.subclasses import PausedSubscription, RecordFetcher
from shared.backplane.protocol import StoredRecord

IDLE_INTERVAL = 0.1
"""Seconds between two checks for records to fetch, if no future wakes the reader before."""

FETCH_MAX_WAIT_MS = 250
"""How long a broker holds a request without records. A partition that is gained or sought meanwhile waits until that
ends; but each empty response costs a millisecond of CPU."""

GATHER_BYTES = 256 * 1024
"""A broker that gathers responds early with this many bytes: some 500 records."""

FETCH_MAX_BYTES = 8 * 1024 * 1024
"""The approximate size limit of a response."""


def fetch_options(gather: float) -> dict[str, int]:
    """The fetcher's options. A broker gathers records for this many seconds; with 0 it responds to the first."""
    return {
        "fetch_max_wait_ms": int(gather * 1000) or FETCH_MAX_WAIT_MS,
        "fetch_min_bytes": GATHER_BYTES if gather else 1,
        "fetch_max_bytes": FETCH_MAX_BYTES,
    }


class Reader:
    """Fetches while the queue is not full, and puts chunks into it. For Kafka's thread, but for `ends`."""

    def __init__(
        self,
        loop: KafkaLoop,
        topic: str,
        subscription: PausedSubscription,
        queue: FetchQueue,
        report: Callable[[str, Exception], None],
    ) -> None:
        self._loop = loop
        self._topic = topic
        self._subscription = subscription
        self._queue = queue
        self._report = report
        self._fetcher: RecordFetcher
        self._committed: Callable[[set[Place]], Awaitable[Mapping[Place, Any]]]
        self._wakeup: Any = None  # a Future, from the first turn of `run` on
        self._seeks: dict[int, int] = {}
        self._requests = 0  # under way
        self._closed = False
        self.ends: dict[int, int] = {}
        """The offset of the next record to be written, by partition. Trio's thread reads it."""

    async def run(
        self, fetcher: RecordFetcher, committed: Callable[[set[Place]], Awaitable[Mapping[Place, Any]]]
    ) -> None:
        """Fetch until closed. `committed` returns the offsets that the group has committed; it raises a KafkaError."""
        self._loop.assert_in_kafka_thread()
        self._fetcher, self._committed = fetcher, committed
        while not self._closed:
            self._wakeup = Future()  # before the check: a change during an await below wakes the wait at the end
            try:
                fetched = not self._queue.is_full and await self._fetch()
            except errors.KafkaError as error:
                fetched = False
                self._report("fetch", error)
            if not fetched:
                await self._wait()

    async def _fetch(self) -> bool:
        """Deliver the fetched records, and request more. Return whether there were records."""
        await self._find_positions()
        records, partial = self._fetcher.fetched_records()
        if records:
            self._deliver(records)  # before the next await, which may raise: the library's position is behind them
        if not partial:
            for future in await self._fetcher._send_fetches_async():
                self._requests += 1
                future.add_both(self._on_response)
        return bool(records)

    async def _wait(self) -> None:
        """Wait for `wake`; at most IDLE_INTERVAL unless a request is under way, whose response wakes."""
        if self._requests and self._subscription.has_all_fetch_positions():
            await self._wakeup
        else:
            timer = self._loop.net.call_later(IDLE_INTERVAL, self.wake)
            await self._wakeup
            self._loop.net.cancel(timer)

    def _on_response(self, _: object) -> None:
        self._requests -= 1
        self.wake()

    def wake(self, _: object = None) -> None:
        """Have `run` check again for records to fetch."""
        if self._wakeup is not None and not self._wakeup.is_done:
            self._wakeup.success(None)

    async def _find_positions(self) -> None:
        """Give partitions without a position one: the group's committed offset, or else the oldest record's."""
        subscription = self._subscription
        if not subscription.has_all_fetch_positions():
            missing = {place for place in subscription.missing_fetch_positions() if not subscription.is_paused(place)}
            if missing:
                committed = await self._committed(missing)
                for place in missing & subscription.missing_fetch_positions():  # `seek` may have come during the await
                    if place in committed:
                        subscription.seek(place, committed[place].offset)
                    else:
                        subscription.request_offset_reset(place)
            reset = self._fetcher.reset_offsets_if_needed()
            if reset is not None:
                reset.add_both(self.wake)
        self._fetcher.maybe_validate_positions()
        self._fetcher.validate_offsets_if_needed()

    def _deliver(self, fetched: Mapping[Place, list[StoredRecord]]) -> None:
        chunks = []
        for place, records in fetched.items():
            size = sum([len(record.value) for record in records])
            highwater = self._subscription.assignment[place].highwater
            if highwater is not None:
                self.ends[place.partition] = highwater  # before the records can be taken: the lag is never negative
            chunks.append(Chunk(place.partition, self._seeks.get(place.partition, 0), records, size))
        self._queue.put_chunks(chunks)

    def resume(self, partitions: Iterable[int]) -> None:
        """Begin to fetch partitions that were gained."""
        self._loop.assert_in_kafka_thread()
        for partition in partitions:
            if (state := self._subscription.assignment.get(TopicPartition(self._topic, partition))) is not None:
                state.resume()
        self.wake()

    def seek(self, partition: int, offset: int, number: int) -> None:
        """Continue at this offset. Chunks fetched from then on carry the number of the seek."""
        self._loop.assert_in_kafka_thread()
        self._seeks[partition] = number
        if (state := self._subscription.assignment.get(TopicPartition(self._topic, partition))) is not None:
            state.seek(offset)
        self.wake()

    def close(self) -> None:
        """End `run`."""
        self._loop.assert_in_kafka_thread()
        self._closed = True
        self.wake()

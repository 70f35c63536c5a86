"""The producer: brings what is published to Kafka, in bunches that form by themselves.

One request is under way to each broker at a time. What is published meanwhile goes with the next: an idle system
sends at once, a busy one sends much together, and no time need be chosen to wait for more.

It is idempotent, as Kafka defines it: every batch has a producer's number and a sequence number, so that a batch that
is sent again after a lost connection is stored once. kafka-python's own KafkaProducer is not used, since it can't be
told that one record must be safe before another is sent, nor what was refused and must not be sent any more.
"""

import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog
import trio

from shared.backplane.kafka.batches import Batch, Call, Piece, build_batch
from shared.backplane.kafka.client import CLOSE_TIMEOUT, REQUEST_TIMEOUT_MS, KafkaLoop, describe
from shared.backplane.kafka.kafka_python import (
    Client,
    Future,
    InitProducerIdRequest,
    ProduceRequest,
    TopicPartition,
    errors,
)
from shared.backplane.protocol import Done, Record
from shared.bridge import BridgeStatistics
from shared.contract.errors import Unavailable

DELIVERY_TIMEOUT = 5.0
"""Seconds after which a call that Kafka has not acknowledged is refused, and its records are not sent any more."""

SWEEP_INTERVAL = 0.1
"""Seconds between looks for calls that are over that time."""

RETRY_BACKOFF = 0.1
"""Seconds before a batch is sent again."""

MAX_PENDING_BYTES = 64 * 1024 * 1024
"""Bytes that may wait for their acknowledgement at most, before publishers are refused."""

MAX_PENDING_CALLS = 50_000
"""Calls that may wait at most: 5 s of 10,000 a second."""

MAX_REQUEST_BYTES = 8 * 1024 * 1024
"""A request that has so many bytes takes no further batch; a broker allows 100 MB."""


_log = structlog.get_logger("rookery.backplane")


class _Identity(NamedTuple):
    """Who we are to the brokers; each partition's sequence numbers count from 0 under one identity."""

    producer: int
    epoch: int


@dataclass(slots=True)
class _Partition:
    """What waits for a partition. A batch stays `sent` until its outcome is known or it is given up."""

    waiting: deque[Piece]
    sent: Batch | None = None
    retry_at: float = 0.0
    sequence: int = 0


class Producer:
    """Publishes to one topic. `publish` is for the Trio thread, the rest runs in the loop's."""

    def __init__(self, loop: KafkaLoop, client: Client, topic: str, partitions: int) -> None:
        self._loop = loop
        self._client = client
        self._topic = topic
        self._partitions = [_Partition(deque()) for _ in range(partitions)]
        self._names = [TopicPartition(topic, number) for number in range(partitions)]
        self._inbox: deque[Call] = deque()
        self._calls: deque[Call] = deque()  # in order of their deadlines
        self._answers: list[tuple[Done, Sequence[int] | Exception]] = []
        self._answered_bytes = 0
        self._busy: set[int] = set()  # the brokers with a request under way
        self._identity: _Identity | None = None
        self._identifying = False
        self._sweeping = False
        self._silent = False
        self._pumping_at: float | None = None
        self._first = 0
        self._closed = False
        # of the Trio thread
        self.pending_bytes = 0
        self.pending_calls = 0
        self._bunches = 0
        self._finished = 0
        self._idle: trio.Event | None = None

    def publish(self, records: Sequence[Record], size: int, done: Done) -> None:
        """Send these, which have so many bytes; see Backplane.publish. For the Trio thread."""
        if self._closed:
            raise Unavailable("the connection to Kafka is closed")
        if self.pending_bytes > MAX_PENDING_BYTES or self.pending_calls >= MAX_PENDING_CALLS:
            raise Unavailable(
                f"Kafka is behind: {self.pending_calls} calls with {self.pending_bytes} bytes wait for it"
            )
        self.pending_bytes += size
        self.pending_calls += 1
        call = Call(records, done, size, time.monotonic() + DELIVERY_TIMEOUT)
        self._inbox.append(call)
        if len(self._inbox) == 1:  # else one that is there already has the loop look
            self._loop.call_soon(self._take)

    def statistics(self) -> BridgeStatistics:
        return BridgeStatistics(self.pending_calls, MAX_PENDING_CALLS, self._bunches, self._finished)

    async def close(self) -> None:
        """Take nothing more, wait a moment for what is under way, then refuse it. For the Trio thread."""
        self._closed = True
        if self.pending_calls:
            self._idle = trio.Event()
            with trio.move_on_after(CLOSE_TIMEOUT):
                await self._idle.wait()

        async def give_up() -> None:
            self._give_up()

        with suppress(Unavailable):
            await self._loop.call("closing", CLOSE_TIMEOUT, give_up)

    # ---- in the loop's thread

    def _take(self) -> None:
        """What was published since the last look."""
        while self._inbox:
            call = self._inbox.popleft()
            self._calls.append(call)
            first, rest = call.split()
            if first is None:
                self._answer(call, [])
                continue
            call.rest = rest
            self._partitions[first.partition].waiting.append(first)
        self._pump()
        if self._calls and not self._sweeping:
            self._sweeping = True
            self._loop.net.call_later(SWEEP_INTERVAL, self._sweep)

    def _pump(self) -> None:
        """Send to every broker that has no request under way what there is for it."""
        if self._identity is None:
            self._identify()
        else:
            self._send_all(self._identity)
        self._flush()

    def _send_all(self, identity: _Identity) -> None:
        now = time.monotonic()
        requests: dict[int, list[Batch]] = {}
        sizes: dict[int, int] = {}
        count = len(self._partitions)
        for step in range(count):
            number = (self._first + step) % count
            partition = self._partitions[number]
            if not partition.waiting and partition.sent is None:
                continue
            leader = self._client.cluster.leader_for_partition(self._names[number])
            if leader is None or leader == -1:
                self._client.cluster.request_update()
                self._pump_later(RETRY_BACKOFF)
                continue
            if leader in self._busy or sizes.get(leader, 0) > MAX_REQUEST_BYTES:
                continue
            if partition.retry_at > now:
                self._pump_later(partition.retry_at - now)
                continue
            batch = partition.sent or self._next_batch(number, identity)
            if batch is not None and not batch.under_way:
                requests.setdefault(leader, []).append(batch)
                sizes[leader] = sizes.get(leader, 0) + len(batch.buffer)
        self._first = (self._first + 1) % count  # each comes first in turn, where a request takes only some
        for leader, batches in requests.items():
            self._send(leader, batches)

    def _next_batch(self, number: int, identity: _Identity) -> Batch | None:
        partition = self._partitions[number]
        batch = build_batch(partition.waiting, number, *identity, partition.sequence)
        if batch is not None:
            partition.sent = batch
            partition.sequence += batch.records
        return batch

    def _send(self, leader: int, batches: list[Batch]) -> None:
        data = ProduceRequest.TopicProduceData
        request = ProduceRequest(
            transactional_id=None,
            acks=-1,
            timeout_ms=REQUEST_TIMEOUT_MS,
            topic_data=[
                data(
                    name=self._topic,
                    partition_data=[data.PartitionProduceData(index=b.partition, records=b.buffer) for b in batches],
                )
            ],
            max_version=9,  # the later ones name topics by id
        )
        for batch in batches:
            batch.under_way = True
        self._busy.add(leader)
        future = self._request(request, leader)
        future.add_callback(lambda response: self._answered(leader, batches, response))
        future.add_errback(lambda error: self._failed(leader, batches, error))

    def _request(self, request: Any, node: int | None = None) -> Any:
        try:
            return self._client._manager.send(request, node_id=node)
        except errors.KafkaError as error:  # a broker that is unknown, or will not have us
            return Future().failure(error)

    def _answered(self, leader: int, batches: list[Batch], response: Any) -> None:
        self._busy.discard(leader)
        outcomes = {
            partition.index: partition for topic in response.responses for partition in topic.partition_responses
        }
        for batch in batches:
            batch.under_way = False
            outcome = outcomes[batch.partition]
            error = errors.for_code(outcome.error_code)
            if error is errors.NoError:
                self._stored(batch, outcome.base_offset)
            elif issubclass(error, errors.RetriableError):
                self._retry(batch)
            else:
                self._drop(batch, Unavailable(f"Kafka refused a record: {describe(error(outcome.error_message))}"))
        self._take()

    def _failed(self, leader: int, batches: list[Batch], _: Exception) -> None:
        """The connection was lost, or could not be made: whether the batches were stored is not known."""
        self._busy.discard(leader)
        for batch in batches:
            batch.under_way = False
            self._retry(batch)
        self._loop.net.call_soon(self._take)  # not at once: the library is amid closing the connection

    def _stored(self, batch: Batch, offset: int) -> None:
        if self._silent:
            self._silent = False
            _log.info("Kafka acknowledges again", topic=self._topic)
        partition = self._partitions[batch.partition]
        if partition.sent is batch:
            partition.sent = None
        for piece in batch.pieces:
            call = piece.call
            for index in piece.indices:
                call.offsets[index] = offset
                offset += 1
            call.missing -= len(piece.indices)
            if not call.missing:
                self._answer(call, call.offsets)
            for other in call.rest:  # of a call that was refused, none are left
                self._partitions[other.partition].waiting.append(other)
            call.rest = ()

    def _retry(self, batch: Batch) -> None:
        """Send the batch again, as it is, after a while; unless it was given up."""
        partition = self._partitions[batch.partition]
        if partition.sent is batch:
            partition.retry_at = time.monotonic() + RETRY_BACKOFF
            self._client.cluster.request_update()
            self._pump_later(RETRY_BACKOFF)

    def _drop(self, batch: Batch, error: Exception) -> None:
        """Give a batch up. Kafka may have stored it or not, so that its sequence numbers can't be gone on from:
        everything that follows comes from a producer with a new identity."""
        partition = self._partitions[batch.partition]
        if partition.sent is batch:
            partition.sent = None
            partition.retry_at = 0.0
            self._identity = None
        for piece in batch.pieces:
            self._answer(piece.call, error)

    def _identify(self) -> None:
        """Ask for an identity, until one is given. Batches that wait to be sent again keep their old one."""
        if self._identifying or self._closed:
            return
        self._identifying = True
        request = InitProducerIdRequest(
            transactional_id=None, transaction_timeout_ms=60_000, producer_id=-1, producer_epoch=-1
        )
        future = self._request(request)
        future.add_callback(self._identified)
        future.add_errback(lambda _: self._identified(None))

    def _identified(self, response: Any) -> None:
        self._identifying = False
        if response is None or response.error_code:
            self._pump_later(RETRY_BACKOFF)
            return
        self._identity = _Identity(response.producer_id, response.producer_epoch)
        for partition in self._partitions:
            partition.sequence = 0
        self._loop.net.call_soon(self._take)

    def _pump_later(self, delay: float) -> None:
        now = time.monotonic()
        if self._closed or (self._pumping_at is not None and self._pumping_at <= now + delay):
            return
        self._pumping_at = now + delay
        self._loop.net.call_later(delay, self._pump_now)

    def _pump_now(self) -> None:
        self._pumping_at = None
        self._pump()

    # ---- the end of calls

    def _sweep(self) -> None:
        """Refuse the calls that are over their time, with the batches in which they are."""
        self._sweeping = False
        now = time.monotonic()
        late = Unavailable(f"Kafka did not acknowledge within {DELIVERY_TIMEOUT:g} s")
        while self._calls and (self._calls[0].over or self._calls[0].deadline <= now):
            call = self._calls.popleft()
            if not call.over and not self._silent:
                self._silent = True
                _log.warning("Kafka does not acknowledge: what is published is refused", topic=self._topic)
            self._answer(call, late)
        for partition in self._partitions:
            if partition.sent is not None and partition.sent.deadline <= now:
                self._drop(partition.sent, late)
        self._take()

    def _give_up(self) -> None:
        closed = Unavailable("the connection to Kafka is closed")
        self._calls.extend(self._inbox)
        self._inbox.clear()
        for call in self._calls:
            self._answer(call, closed)
        self._calls.clear()
        self._flush()

    def _answer(self, call: Call, answer: Sequence[int] | Exception) -> None:
        """This is how the call ended; whoever comes later with another answer is late."""
        if not call.over:
            call.over = True
            call.rest = ()
            self._answers.append((call.done, answer))
            self._answered_bytes += call.size

    def _flush(self) -> None:
        """Bring all answers to the Trio thread in one hop."""
        if self._answers:
            self._loop.call_trio_soon(self._deliver, self._answers, self._answered_bytes)
            self._answers = []
            self._answered_bytes = 0

    # ---- in the Trio thread again

    def _deliver(self, answers: list[tuple[Done, Sequence[int] | Exception]], size: int) -> None:
        self.pending_bytes -= size
        self.pending_calls -= len(answers)
        self._bunches += 1
        self._finished += len(answers)
        for done, answer in answers:
            done(answer)
        if self._idle is not None and not self.pending_calls:
            self._idle.set()

"""The producer: a shell around the batcher, which sends its requests and carries calls and results between threads.

kafka-python's own KafkaProducer is not used: it can neither hold records back until another one is stored, nor withdraw
records that were refused.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import structlog
import trio

from shared.backplane.kafka.batcher import Batcher, Outcome, Request, Result
from shared.backplane.kafka.batches import Call, Identity
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
from shared.clock import elapsed
from shared.contract.errors import Unavailable
from shared.contract.ids import wall_clock_ms

DELIVERY_TIMEOUT = 5.0
"""Seconds after which a call without an acknowledgement is rejected, and its records are not sent any more."""

EXPIRY_INTERVAL = 0.1
"""Seconds between checks for such calls."""

IDENTIFY_BACKOFF = 0.1
"""Seconds before an identity is requested again."""

MAX_PENDING_BYTES = 64 * 1024 * 1024
"""Bytes that may wait for their acknowledgement, before publishers are refused."""

MAX_PENDING_CALLS = 50_000
"""Calls that may wait: 5 s of 10,000 a second."""

_log = structlog.get_logger("rookery.backplane")

P = ParamSpec("P")


def _supervised(work: "Callable[Concatenate[Producer, P], None]") -> "Callable[Concatenate[Producer, P], None]":
    """Wrap a callback of the library, which logs a fault of ours and goes on: end the producer with it."""

    @wraps(work)
    def supervised(producer: "Producer", /, *arguments: P.args, **named: P.kwargs) -> None:
        try:
            work(producer, *arguments, **named)
        except Exception as fault:  # supervision: raised again by `supervise`
            producer._loop.call_trio_soon(producer._fail, fault)

    return supervised


class Producer:
    """Publishes to one topic. Public methods, `_fail` and `_deliver` are for Trio's thread, all others for Kafka's."""

    def __init__(self, loop: KafkaLoop, client: Client, topic: str, partitions: int) -> None:
        self._loop = loop
        self._client = client
        self._topic = topic
        self._places = [TopicPartition(topic, number) for number in range(partitions)]
        self._inbox: deque[Call] = deque()  # Trio's thread appends, Kafka's pops; bounded by MAX_PENDING_*
        self._closed = False  # written in Trio's thread
        # of Kafka's thread
        self._batcher = Batcher(partitions)
        self._identifying = False
        self._expiring = False
        self._failing = False
        self._poll_at: float | None = None
        # of Trio's thread
        self.pending_bytes = 0
        self.pending_calls = 0
        self._deliveries = 0
        self._finished = 0
        self._known_errors = 0
        self._idle: trio.Event | None = None
        self._fault: Exception | None = None
        self._failed = trio.Event()

    def publish(self, records: Sequence[Record], size: int, done: Done, seconds: float) -> None:
        """Send records of this total size in bytes, within `seconds` at most. See Backplane.publish."""
        if self._closed:
            raise Unavailable("the connection to Kafka is closed")
        if self.pending_bytes > MAX_PENDING_BYTES or self.pending_calls >= MAX_PENDING_CALLS:
            raise Unavailable(
                f"Kafka is behind: {self.pending_calls} calls with {self.pending_bytes} bytes wait for it"
            )
        self.pending_bytes += size
        self.pending_calls += 1
        deadline = elapsed() + min(DELIVERY_TIMEOUT, seconds)
        self._inbox.append(Call(records, done, size, deadline, self._known_errors))
        if len(self._inbox) == 1:  # otherwise `_step` is scheduled already, and takes this call too
            self._loop.assert_in_trio_thread()  # here, not at each call of the hot path
            self._loop.call_soon(self._step)

    def withdraw(self, partitions: Collection[int]) -> None:
        """See Backplane.withdraw. Kafka's thread withdraws the calls before it runs tasks that are scheduled later,
        such as the release of the partitions."""
        self._loop.assert_in_trio_thread()
        self._loop.call_soon(lambda: self._withdraw(partitions))

    def statistics(self) -> BridgeStatistics:
        return BridgeStatistics(self.pending_calls, MAX_PENDING_CALLS, self._deliveries, self._finished)

    async def close(self) -> None:
        """Accept no more calls, wait for the pending ones, at most CLOSE_TIMEOUT, then reject them."""
        self._loop.assert_in_trio_thread()
        self._closed = True
        if self.pending_calls:
            self._idle = trio.Event()
            with trio.move_on_after(CLOSE_TIMEOUT):
                await self._idle.wait()
        with suppress(Unavailable):
            await self._loop.call("closing", CLOSE_TIMEOUT, self._reject_all)

    async def supervise(self) -> None:
        """Raise a fault of Kafka's thread, after which calls could wait for ever. Else wait until cancelled."""
        await self._failed.wait()
        if self._fault is not None:
            raise self._fault

    def _fail(self, fault: Exception) -> None:
        self._closed = True
        self._fault = self._fault or fault
        self._failed.set()

    def _deliver(self, results: list[Result], size: int, errors: int) -> None:
        """In Trio's thread again: call the callbacks of calls that have this total size. `errors`: of all calls until
        then."""
        self.pending_bytes -= size
        self.pending_calls -= len(results)
        self._deliveries += 1
        self._finished += len(results)
        for done, result in results:
            done(result)
        self._known_errors = errors
        if self._idle is not None and not self.pending_calls:
            self._idle.set()

    # ---- in Kafka's thread

    @_supervised
    def _step(self) -> None:
        """Batch the calls of the inbox, send the batches that are due, and deliver the results."""
        self._loop.assert_in_kafka_thread()
        if self._inbox:
            self._batcher.add(self._take_inbox())
        self._poll()
        if self._batcher.has_deadlines and not self._expiring:
            self._expiring = True
            self._loop.net.call_later(EXPIRY_INTERVAL, self._expire)

    @_supervised
    def _withdraw(self, partitions: Collection[int]) -> None:
        self._batcher.add(self._take_inbox())
        self._batcher.withdraw(partitions, Unavailable("another process may own the partition by now"))
        self._step()

    def _take_inbox(self) -> list[Call]:
        calls = []
        while self._inbox:  # not swapped for another deque: Trio's thread may be appending to this one
            calls.append(self._inbox.popleft())
        return calls

    def _poll(self) -> None:
        self._reject_late()  # a process that was frozen, or suspended with its machine, must not send them
        if self._batcher.needs_identity:
            self._identify()
        now = elapsed()
        poll = self._batcher.poll(now, wall_clock_ms(), self._leader_of)
        if poll.leaders_missing:
            self._client.cluster.request_update()
        for request in poll.requests:
            self._send(request)
        if poll.retry_after is not None:
            self._poll_later(poll.retry_after)
        self._flush()

    def _leader_of(self, partition: int) -> int | None:
        leader: int | None = self._client.cluster.leader_for_partition(self._places[partition])
        return None if leader == -1 else leader

    def _poll_later(self, delay: float) -> None:
        at = elapsed() + delay
        if not self._closed and (self._poll_at is None or self._poll_at > at):
            self._poll_at = at
            self._loop.net.call_later(delay, self._poll_now)

    @_supervised
    def _poll_now(self) -> None:
        self._poll_at = None
        self._poll()

    def _send(self, request: Request) -> None:
        data = ProduceRequest.TopicProduceData
        partitions = [data.PartitionProduceData(index=b.partition, records=b.buffer) for b in request.batches]
        future = self._request(
            ProduceRequest(
                transactional_id=None,
                acks=-1,
                timeout_ms=REQUEST_TIMEOUT_MS,
                topic_data=[data(name=self._topic, partition_data=partitions)],
                max_version=9,  # later ones name topics by id
            ),
            request.leader,
        )
        future.add_callback(lambda response: self._on_response(request, response))
        future.add_errback(lambda error: self._on_lost(request, error))

    def _request(self, request: Any, node: int | None = None) -> Any:
        try:
            return self._client._manager.send(request, node_id=node)
        except errors.KafkaError as error:  # of a broker that is unknown, or rejects our credentials
            return Future().failure(error)

    @_supervised
    def _on_response(self, request: Request, response: Any) -> None:
        outcomes = {
            partition.index: _outcome(partition)
            for topic in response.responses
            for partition in topic.partition_responses
        }
        self._complete(request, outcomes)
        self._step()

    @_supervised
    def _on_lost(self, request: Request, _: Exception) -> None:
        """The connection was lost, or not made: whether the batches are stored is unknown."""
        self._complete(request, {})
        self._loop.net.call_soon(self._step)  # not now: the library is closing the connection

    def _complete(self, request: Request, outcomes: Mapping[int, Outcome]) -> None:
        self._reject_late()  # the records of a late response may have come after another owner's
        self._batcher.complete(request, outcomes, elapsed())
        if not outcomes or None in outcomes.values():
            self._client.cluster.request_update()
        if self._failing and any(isinstance(outcome, int) for outcome in outcomes.values()):
            self._failing = False
            _log.info("publishing_recovered", topic=self._topic)

    def _identify(self) -> None:
        """Request an identity, until the broker assigns one."""
        if self._identifying or self._closed:
            return
        self._identifying = True
        request = InitProducerIdRequest(
            transactional_id=None, transaction_timeout_ms=60_000, producer_id=-1, producer_epoch=-1
        )
        future = self._request(request)
        future.add_callback(self._on_identity)
        future.add_errback(lambda _: self._on_identity(None))

    @_supervised
    def _on_identity(self, response: Any) -> None:
        self._identifying = False
        if response is None or response.error_code:
            self._poll_later(IDENTIFY_BACKOFF)
            return
        self._batcher.identify(Identity(response.producer_id, response.producer_epoch))
        self._loop.net.call_soon(self._step)  # not now: `_poll` is the caller, if the future was done

    def _expire(self) -> None:
        self._expiring = False
        self._step()

    def _reject_late(self) -> None:
        """Reject the calls whose time is over. Log the first until a batch is stored again."""
        late = Unavailable(f"Kafka did not acknowledge within {DELIVERY_TIMEOUT:g} s")
        if self._batcher.expire(elapsed(), late) and not self._failing:
            self._failing = True
            _log.warning("publishing_failing", topic=self._topic, timeout_seconds=DELIVERY_TIMEOUT)

    async def _reject_all(self) -> None:
        self._batcher.add(self._take_inbox())
        self._batcher.reject_all(Unavailable("the connection to Kafka is closed"))
        self._flush()

    def _flush(self) -> None:
        """Pass all results to Trio's thread in one hop."""
        if self._batcher.has_results:
            self._loop.call_trio_soon(self._deliver, *self._batcher.take_results())


def _outcome(response: Any) -> Outcome:
    error = errors.for_code(response.error_code)
    if error is errors.NoError:
        offset: int = response.base_offset
        return offset
    if issubclass(error, errors.RetriableError):
        return None
    return Unavailable(f"Kafka refused a record: {describe(error(response.error_message))}")

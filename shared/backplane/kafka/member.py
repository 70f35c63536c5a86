"""A member of a consumer group: joins, handles assignments, commits and leaves, in Kafka's thread.

Two coroutines of the library's loop run as long as the member does: one keeps it in its group, here; the other fetches
(reader.py). A rebalance does not interrupt the fetching of partitions that the member keeps.
"""

import math
import time
from collections.abc import Awaitable, Collection, Mapping
from typing import Any

import structlog

from shared.backplane.kafka.assignor import Assignor
from shared.backplane.kafka.client import KafkaLoop, connection_options, describe
from shared.backplane.kafka.fetch_queue import FetchQueue, Notification
from shared.backplane.kafka.kafka_python import (
    AsyncConsumerRebalanceListener,
    Client,
    Future,
    LeaveGroupRequest,
    OffsetAndMetadata,
    Place,
    TopicPartition,
    errors,
)
from shared.backplane.kafka.reader import Reader, fetch_options
from shared.backplane.kafka.subclasses import Coordinator, PausedSubscription, RecordFetcher
from shared.backplane.kafka.watchdog import Watchdog
from shared.backplane.protocol import Assignment, Checkpoint

HEARTBEAT_MS = 300
"""Milliseconds between heartbeats, whose responses announce a rebalance."""

REBALANCE_TIMEOUT_MS = 10_000
"""How long the group waits for a member to rejoin before it excludes it: more than RELEASE_TIMEOUT."""

RELEASE_TIMEOUT = 4.0
"""Seconds for a consumer to acknowledge the loss of partitions, before they move in any case. A gateway needs up to 3:
for the look-ups of partitions that it has just gained, and for the answers to messages of the lost ones."""

JOIN_SLICE_MS = 1_000
"""One attempt to join, or to look up committed offsets."""

GROUP_INTERVAL = 0.1
"""Seconds between checks whether the group must be rejoined, and between attempts to connect."""

RETRY_BACKOFF_MS = 100
LEAVE_TIMEOUT_MS = 500

_FATAL = (
    errors.GroupAuthorizationFailedError,
    errors.InconsistentGroupProtocolError,
    errors.InvalidGroupIdError,
    errors.InvalidSessionTimeoutError,  # brokers have limits, of 6 s and more by default
)
"""Errors that no retry mends, only an operator."""

_log = structlog.get_logger("rookery.backplane")


class Member(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """One consumer's membership. Made and started in Trio's thread; everything else is for Kafka's.

    `heartbeat_at`, `unreleased` and `failure` are written in Kafka's thread and read in Trio's.
    """

    def __init__(
        self, loop: KafkaLoop, watchdog: Watchdog, group: str, instance: str, gather: float, queue: FetchQueue
    ) -> None:
        self._loop = loop
        self._watchdog = watchdog
        self._settings = loop.settings
        self._group = loop.group_id(group)
        self._instance = instance
        self._gather = gather
        self._queue = queue
        self._client: Client = loop.client()
        self._assignor = Assignor()
        self._settles_at = math.inf  # of time.monotonic: when this member is a newcomer no more
        self._coordinator: Any = None  # until a broker has answered
        self._subscription = PausedSubscription("earliest")
        self.reader = Reader(loop, loop.settings.topic, self._subscription, queue, self._report)
        self._notifications = 0
        self._notified_epoch = -1
        self._release: tuple[int, Any] | None = (
            None  # the notification of a loss, and the Future of its acknowledgement
        )
        self._releasing: frozenset[int] = frozenset()
        self._ended = False
        self._reported: set[str] = set()
        self.heartbeat_at = float("-inf")
        """When the last request was sent that the group confirmed (of `elapsed`); -inf: not a member."""
        self.unreleased = 0
        """The number of the newest notification of a loss that the group did not wait for: until the consumer has
        handled it, others may own partitions that it takes for its own."""
        self.failure: str | None = None
        """Why the member has ended, if it was not closed."""

    def start(self) -> None:
        """Begin to join. Returns at once, whether a broker can be reached or not. For Trio's thread."""
        self._loop.assert_in_trio_thread()
        self._loop.call_soon(self._run)

    async def _run(self) -> None:
        self._loop.assert_in_kafka_thread()
        if not await self._connect():
            return
        options = connection_options(self._settings) | {
            "api_version": self._client._manager.broker_version,
            "retry_backoff_ms": RETRY_BACKOFF_MS,
        }
        self._subscription.subscribe(topics=[self._settings.topic], listener=self)
        self._coordinator = Coordinator(
            self._client,
            self._subscription,
            on_heartbeat=self._on_heartbeat,
            on_fenced=self._on_fenced,
            on_joined=self._on_joined,
            **options | self._group_options(),
        )
        fetcher = RecordFetcher(self._client, self._subscription, **options | fetch_options(self._gather))

        async def read() -> None:
            await self._supervise(self.reader.run(fetcher, self._committed))

        self._loop.net.call_soon(read)
        await self._supervise(self._stay_in_group())

    async def _supervise(self, work: Awaitable[None]) -> None:
        """Do the work, and end the member if it fails: otherwise it would hold partitions that nobody reads."""
        try:
            await work
        except Exception as error:  # supervision: the consumer raises Unavailable, and its user joins anew
            _log.exception("consumer_failed", group=self._group)
            self._fail(f"the member of the consumer group {self._group} has failed: {describe(error)}")

    async def _connect(self) -> bool:
        """Wait for a broker. False: the member was closed first."""
        manager = self._client._manager
        self._client.cluster.set_topics([self._settings.topic])
        while not manager.bootstrapped and not self._ended:
            try:
                await manager.bootstrap_async()
            except errors.KafkaError as error:
                self._report("connect", error)
                await self._loop.net.sleep(GROUP_INTERVAL)
        return not self._ended

    def _group_options(self) -> dict[str, Any]:
        session_timeout_ms = int(self._settings.session_timeout_seconds * 1000)
        return {
            "group_id": self._group,
            "group_instance_id": self._instance,
            "session_timeout_ms": session_timeout_ms,
            "heartbeat_interval_ms": min(HEARTBEAT_MS, session_timeout_ms // 4),
            "max_poll_interval_ms": max(REBALANCE_TIMEOUT_MS, session_timeout_ms),
            "enable_auto_commit": False,
            "assignors": (self._assignor,),
        }

    async def _stay_in_group(self) -> None:
        coordinator = self._coordinator
        while not self._ended:
            try:
                if await coordinator.ensure_coordinator_ready_async(timeout_ms=JOIN_SLICE_MS):
                    if coordinator.need_rejoin():
                        await coordinator.ensure_active_group_async(timeout_ms=JOIN_SLICE_MS)
                    coordinator.poll_heartbeat()
                    self._settle()
            except errors.FencedInstanceIdError:
                self._on_fenced()
            except _FATAL as error:
                self._fail(f"Kafka does not accept us in the consumer group {self._group}: {describe(error)}")
            except errors.KafkaError as error:
                self._report("join", error)
            await self._loop.net.sleep(GROUP_INTERVAL)

    def _on_heartbeat(self, at: float) -> None:
        if not self._ended:  # the library goes on until the consumer is closed
            self.heartbeat_at = at
        self._reported.clear()

    def _on_fenced(self) -> None:
        self._fail(
            f"another process is in the consumer group {self._group} as {self._instance}: each needs a name of its own"
            " (`kafka.instance`)"
        )

    def _fail(self, failure: str) -> None:
        self.failure = failure
        self.heartbeat_at = float("-inf")
        self._end()
        self._queue.wake_consumer()

    def _end(self) -> None:
        self._ended = True
        self.reader.close()

    # ---- assignments

    def _on_joined(self) -> None:
        """Notify the consumer of the new epoch, if the rebalance did not change its partitions."""
        self._watchdog.joined(self._group, self._instance, self._coordinator._generation.member_id)
        if self._assignor.is_newcomer and self._settles_at == math.inf:
            self._settles_at = time.monotonic() + self._settings.session_timeout_seconds
        if self._notified_epoch != self._coordinator._generation.generation_id:
            self._notify()

    def _settle(self) -> None:
        """Join again after a session timeout in the group, as a newcomer no more, to get a share of the partitions."""
        if time.monotonic() >= self._settles_at:
            self._settles_at = math.inf
            self._assignor.is_newcomer = False
            self._coordinator.request_rejoin()

    def _notify(self, gained: Collection[Place] = (), lost: Collection[Place] = ()) -> int:
        """Put an assignment into the queue; return its number."""
        self._notifications += 1
        self._notified_epoch = max(self._notified_epoch, self._coordinator._generation.generation_id)
        assignment = Assignment(_numbers(gained), _numbers(lost), self._notified_epoch)
        self._queue.put_notification(Notification(self._notifications, assignment))
        return self._notifications

    async def on_partitions_assigned(self, assigned: Collection[Place]) -> None:
        self._notify(gained=assigned)

    async def on_partitions_revoked(self, revoked: Collection[Place]) -> None:
        """Wait until the consumer acknowledges the loss, or RELEASE_TIMEOUT: the return releases the partitions."""
        self._releasing = _numbers(revoked)
        released = Future()
        self._release = (self._notify(lost=revoked), released)
        try:
            await self._client._manager.wait_for(released, RELEASE_TIMEOUT * 1000)
        except errors.KafkaTimeoutError:
            _log.warning("partitions_moved_without_release", group=self._group, partitions=sorted(self._releasing))
            self.unreleased = self._release[0]
        self._release = None
        self._releasing = frozenset()

    async def on_partitions_lost(self, lost: Collection[Place]) -> None:
        """The group has excluded this member: others may own its partitions already."""
        self.heartbeat_at = float("-inf")
        self._assignor.forget()
        self._settles_at = math.inf
        self.unreleased = self._notify(lost=lost)

    def acknowledge(self, notification: Notification) -> None:
        """The consumer has handled an assignment: fetch the gained partitions, give up the lost ones."""
        self._loop.assert_in_kafka_thread()
        self.reader.resume(notification.assignment.gained)
        if self._release is not None:
            number, released = self._release
            if notification.number >= number and not released.is_done:
                released.success(None)

    # ---- offsets

    async def _committed(self, places: set[Place], timeout_ms: int = JOIN_SLICE_MS) -> Mapping[Place, Any]:
        committed: Mapping[Place, Any] = await self._coordinator.fetch_committed_offsets_async(
            places, timeout_ms=timeout_ms
        )
        return committed

    async def committed(self, partitions: Collection[int], timeout_ms: int) -> Mapping[int, Checkpoint]:
        """The group's checkpoints by partition. Raises a KafkaError."""
        self._loop.assert_in_kafka_thread()
        places = {TopicPartition(self._settings.topic, partition) for partition in partitions}
        committed = await self._committed(places, timeout_ms)
        return {place.partition: _checkpoint(found) for place, found in committed.items()}

    async def commit(self, checkpoints: Mapping[int, Checkpoint], deadline: float) -> None:
        """Commit the checkpoints by partition; retry until the deadline (of time.monotonic). Raises a KafkaError.

        Partitions that the member no longer owns are left out.
        """
        self._loop.assert_in_kafka_thread()
        while owned := self._owned(checkpoints):
            try:
                await self._coordinator.ensure_coordinator_ready_async(timeout_ms=JOIN_SLICE_MS)
                await self._coordinator._send_offset_commit_request(owned)
                return
            except errors.FencedInstanceIdError:
                self._on_fenced()
                raise
            except (errors.RetriableError, errors.RebalanceInProgressError, errors.CommitFailedError):
                if time.monotonic() > deadline:
                    raise
                await self._loop.net.sleep(RETRY_BACKOFF_MS / 1000)

    def _owned(self, checkpoints: Mapping[int, Checkpoint]) -> dict[Place, Any]:
        return {
            place: OffsetAndMetadata(offset, str(epoch), -1)
            for partition, (offset, epoch) in checkpoints.items()
            if (place := TopicPartition(self._settings.topic, partition)) in self._subscription.assignment
            or partition in self._releasing
        }

    def _report(self, operation: str, error: Exception) -> None:
        """Log a failed operation, once until the next heartbeat that the group confirms."""
        if not self._ended and operation not in self._reported:
            self._reported.add(operation)
            _log.warning("consumer_failing", operation=operation, group=self._group, error=describe(error))

    # ---- the end

    async def close(self, leave_through: Client) -> None:
        """Leave the group, so that its other members get the partitions at once, and end."""
        self._loop.assert_in_kafka_thread()
        try:
            if (coordinator := self._coordinator) is not None and coordinator.coordinator_id and self.failure is None:
                coordinator.is_leaving = True
                # Another connection: a broker answers no second request while it holds back the response to a join.
                node = int(str(coordinator.coordinator_id).removeprefix("coordinator-"))
                manager = leave_through._manager
                await manager.wait_for(manager.send(self._leave_request(coordinator), node_id=node), LEAVE_TIMEOUT_MS)
        except errors.KafkaError as error:
            _log.info("group_not_left", group=self._group, error=describe(error))
        finally:
            self._end()
            self._watchdog.left(self._group, self._instance)
            if self._coordinator is not None:
                self._coordinator._close_heartbeat()
            self._client._manager.close()

    def _leave_request(self, coordinator: Any) -> Any:
        """Build the request ourselves: the library's consumer never leaves a group in which it is a static member."""
        identity = LeaveGroupRequest.MemberIdentity(
            member_id=coordinator._generation.member_id, group_instance_id=self._instance, reason="closed"
        )
        return LeaveGroupRequest(group_id=self._group, members=[identity], min_version=3, max_version=5)


def _checkpoint(found: Any) -> Checkpoint:
    """Decode a committed offset. An older release, or a tool of Kafka's, commits other metadata than an epoch."""
    metadata = found.metadata or ""
    return Checkpoint(found.offset, int(metadata) if metadata.isdecimal() else 0)


def _numbers(places: Collection[Place]) -> frozenset[int]:
    return frozenset(place.partition for place in places)

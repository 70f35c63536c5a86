"""A member of a consumer group, in the loop's thread: joins, reads, tells the consumer in the Trio thread.

Two coroutines run for as long as the member does. One keeps it in its group: it joins and joins again, while what is
already ours is read on. The other reads, as long as the consumer takes what it is given.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import structlog

from shared.backplane.kafka.client import KafkaLoop, connection_options, describe
from shared.backplane.kafka.kafka_python import (
    AsyncConsumerRebalanceListener,
    Client,
    CooperativeStickyAssignor,
    Future,
    LeaveGroupRequest,
    OffsetAndMetadata,
    Place,
    TopicPartition,
    errors,
)
from shared.backplane.kafka.subclasses import Coordinator, PausedSubscription, RecordFetcher
from shared.backplane.protocol import Assignment, StoredRecord

HEARTBEAT_MS = 300
"""Between signs of life, in whose answers a member hears that the group is dividing its partitions anew."""

REBALANCE_TIMEOUT_MS = 10_000
"""How long the group waits for a member to join again before it goes on without: more than RELEASE_TIMEOUT."""

RELEASE_TIMEOUT = 3.0
"""Seconds that a partition which was lost is kept for its consumer to let go, before it is given on."""

JOIN_SLICE_MS = 1_000
GROUP_INTERVAL = 0.1
"""Seconds between looks whether the group must be joined anew."""

IDLE_INTERVAL = 0.1
"""Seconds between looks whether there is something to read, where nothing says so."""

FETCH_MAX_WAIT_MS = 250
"""For how long a broker keeps a request for records that are not there yet. A partition that is gained or sought in the
meantime waits for its end; but each that ends with nothing costs a millisecond of CPU."""

GATHER_BYTES = 256 * 1024
"""With so much together, a broker does not wait for more: some 500 records."""

FETCH_MAX_BYTES = 8 * 1024 * 1024
"""What a broker puts into one answer, about."""

MAX_BUFFERED_BYTES = 16 * 1024 * 1024
"""Bytes that wait for the consumer at most, and one answer more; then nothing is read until it has taken some."""

RETRY_BACKOFF_MS = 100
LEAVE_TIMEOUT_MS = 500

_HOPELESS = (
    errors.GroupAuthorizationFailedError,
    errors.InconsistentGroupProtocolError,
    errors.InvalidGroupIdError,
    errors.InvalidSessionTimeoutError,  # brokers have limits, of 6 s and more by default
)
"""What only people can put right."""

_log = structlog.get_logger("rookery.backplane")


class Chunk(NamedTuple):
    """Records of one partition, read since the seek of this number."""

    partition: int
    seek: int
    records: list[StoredRecord]
    size: int


class Told(NamedTuple):
    """An assignment, by the number under which the consumer says that it has acted on it."""

    number: int
    assignment: Assignment


class Member(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """Made and started in the Trio thread; everything else runs in the loop's, but for what is marked as shared."""

    def __init__(self, loop: KafkaLoop, group: str, instance: str, gather: float, wake: Callable[[], None]) -> None:
        self._loop = loop
        self._settings = loop.settings
        self._group = f"{loop.settings.topic}.{group}"  # platforms that share brokers have topics of their own
        self._instance = instance
        self._gather = gather
        self._wake = wake
        self._client: Client = loop.client()
        self._coordinator: Any = None  # before a broker was met
        self._fetcher: RecordFetcher
        self._subscription = PausedSubscription("earliest")
        self._stirred: Any = None
        self._seeks: dict[int, int] = {}
        self._told = 0
        self._told_epoch = -1
        self._awaited: tuple[int, Any] | None = None
        self._releasing: frozenset[int] = frozenset()
        self._fetching = 0
        self._ended = False
        self._warned: set[str] = set()
        # shared: written here, read in the Trio thread
        self.queue: deque[Chunk | Told] = deque()
        self.heard_at = float("-inf")  # of time.monotonic
        self.ends: dict[int, int] = {}
        self.failure: str | None = None
        # shared: written in the Trio thread, read here
        self.taken_bytes = 0
        self._given_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether more than enough waits for the consumer. Shared."""
        return self._given_bytes - self.taken_bytes >= MAX_BUFFERED_BYTES

    def start(self) -> None:
        """Begin to join. Returns at once, whether a broker can be reached or not."""
        self._loop.soon(lambda: self._loop.net.call_soon(self._begin))

    async def _begin(self) -> None:
        manager = self._client._manager
        topic = self._settings.topic
        options = connection_options(self._settings) | {
            "group_id": self._group,
            "group_instance_id": self._instance,
            "session_timeout_ms": int(self._settings.session_timeout_seconds * 1000),
            "heartbeat_interval_ms": min(HEARTBEAT_MS, int(self._settings.session_timeout_seconds * 1000) // 4),
            "max_poll_interval_ms": max(REBALANCE_TIMEOUT_MS, int(self._settings.session_timeout_seconds * 1000)),
            "retry_backoff_ms": RETRY_BACKOFF_MS,
            "enable_auto_commit": False,
            "assignors": (CooperativeStickyAssignor,),
            "fetch_max_wait_ms": int(self._gather * 1000) or FETCH_MAX_WAIT_MS,
            "fetch_min_bytes": GATHER_BYTES if self._gather else 1,
            "fetch_max_bytes": FETCH_MAX_BYTES,
        }
        self._client.cluster.set_topics([topic])
        while not manager.bootstrapped:
            try:
                await manager.bootstrap_async()
            except errors.KafkaError as error:
                self._warn("connect", error)
                await self._loop.net.sleep(IDLE_INTERVAL)
            if self._ended:
                return
        options["api_version"] = manager.broker_version
        self._subscription.subscribe(topics=[topic], listener=self)
        self._fetcher = RecordFetcher(self._client, self._subscription, **options)
        self._coordinator = Coordinator(
            self._client,
            self._subscription,
            heard=self._heard,
            fenced=self._fenced,
            joined=self._joined,
            **options,
        )
        for work in (self._follow_group, self._read):
            self._loop.net.call_soon(work)

    # ---- the group

    async def _follow_group(self) -> None:
        coordinator = self._coordinator
        while not self._ended:
            try:
                if await coordinator.ensure_coordinator_ready_async(timeout_ms=JOIN_SLICE_MS):
                    if coordinator.need_rejoin():
                        await coordinator.ensure_active_group_async(timeout_ms=JOIN_SLICE_MS)
                    coordinator.poll_heartbeat()
            except errors.FencedInstanceIdError:
                self._fenced()
            except _HOPELESS as error:
                self._fail(f"Kafka won't have us in the consumer group {self._group}: {describe(error)}")
            except errors.KafkaError as error:
                self._warn("stay in its group", error)
            await self._loop.net.sleep(GROUP_INTERVAL)

    def _heard(self, at: float) -> None:
        self.heard_at = at
        self._warned.clear()

    def _fenced(self) -> None:
        self._fail(
            f"another process is in the consumer group {self._group} as {self._instance}: each needs a name of its own"
            " (`kafka.instance`)"
        )

    def _fail(self, failure: str) -> None:
        self.failure = failure
        self._ended = True
        self.heard_at = float("-inf")
        self._loop.to_trio(self._wake)

    def _joined(self) -> None:
        """The member is part of a new generation; if it neither gained nor lost, the consumer is told the epoch."""
        if self._told_epoch != self._coordinator._generation.generation_id:
            self._tell()

    def _tell(self, gained: Collection[int] = (), lost: Collection[int] = ()) -> int:
        self._told += 1
        self._told_epoch = max(self._told_epoch, self._coordinator._generation.generation_id)
        self.queue.append(Told(self._told, Assignment(frozenset(gained), frozenset(lost), self._told_epoch)))
        self._loop.to_trio(self._wake)
        return self._told

    async def on_partitions_assigned(self, assigned: Collection[Place]) -> None:
        self._tell(gained={partition.partition for partition in assigned})

    async def on_partitions_revoked(self, revoked: Collection[Place]) -> None:
        """The group learns that these are free when this returns: when the consumer has let go, or took too long."""
        self._releasing = frozenset(partition.partition for partition in revoked)
        released = Future()
        self._awaited = (self._tell(lost=self._releasing), released)
        try:
            await self._client._manager.wait_for(released, RELEASE_TIMEOUT * 1000)
        except errors.KafkaTimeoutError:
            _log.warning("a consumer was too slow to let go of its partitions", group=self._group)
        self._awaited = None
        self._releasing = frozenset()

    async def on_partitions_lost(self, lost: Collection[Place]) -> None:
        """The group went on without us, and others may have these already."""
        self.heard_at = float("-inf")
        self._coordinator.forget_assignment()
        self._tell(lost={partition.partition for partition in lost})

    def acted(self, told: Told) -> None:
        """The consumer has acted on an assignment: read what it gained, give on what it lost."""
        for number in told.assignment.gained:
            if (state := self._subscription.assignment.get(self._name(number))) is not None:
                state.resume()
        if self._awaited is not None and told.number >= self._awaited[0] and not self._awaited[1].is_done:
            self._awaited[1].success(None)
        self.stir()

    # ---- reading

    async def _read(self) -> None:
        while not self._ended:
            stirred = self._stirred = Future()
            if not self.is_full:
                try:
                    await self._find_positions()
                    records, partial = self._fetcher.fetched_records()
                    if records:
                        self._give(records)  # before anything can fail: the library goes on behind them
                    if not partial:
                        for future in await self._fetcher._send_fetches_async():
                            self._fetching += 1
                            future.add_both(self._fetched)
                    if records:
                        continue
                except errors.KafkaError as error:
                    self._warn("read", error)
            if self._fetching and self._subscription.has_all_fetch_positions():
                await stirred
            else:
                timer = self._loop.net.call_later(IDLE_INTERVAL, self.stir)
                await stirred
                self._loop.net.cancel(timer)

    def _fetched(self, _: object) -> None:
        self._fetching -= 1
        self.stir()

    def stir(self, _: object = None) -> None:
        """Something may be there to be read."""
        if self._stirred is not None and not self._stirred.is_done:
            self._stirred.success(None)

    async def _find_positions(self) -> None:
        """Where to go on in partitions of which it is not known: where the group committed, else at the oldest."""
        subscription = self._subscription
        if not subscription.has_all_fetch_positions():
            missing = {name for name in subscription.missing_fetch_positions() if not subscription.is_paused(name)}
            if missing:
                committed = await self._coordinator.fetch_committed_offsets_async(missing, timeout_ms=JOIN_SLICE_MS)
                for name in missing & subscription.missing_fetch_positions():  # seek may have been called meanwhile
                    if name in committed:
                        subscription.seek(name, committed[name].offset)
                    else:
                        subscription.request_offset_reset(name)
            reset = self._fetcher.reset_offsets_if_needed()
            if reset is not None:
                reset.add_both(self.stir)
        self._fetcher.maybe_validate_positions()
        self._fetcher.validate_offsets_if_needed()

    def _give(self, records: Mapping[Place, list[StoredRecord]]) -> None:
        for name, some in records.items():
            size = sum([len(record.value) for record in some])
            self._given_bytes += size
            highwater = self._subscription.assignment[name].highwater
            if highwater is not None:
                self.ends[name.partition] = highwater  # before whoever takes the records asks how many there are
            self.queue.append(Chunk(name.partition, self._seeks.get(name.partition, 0), some, size))
        self._loop.to_trio(self._wake)

    def seek(self, number: int, offset: int, seek: int) -> None:
        """Go on from this offset; what is read from then on carries the number of the seek."""
        self._seeks[number] = seek
        if (state := self._subscription.assignment.get(self._name(number))) is not None:
            state.seek(offset)
        self.stir()

    async def commit(self, offsets: Mapping[int, int], patience: float) -> None:
        """Raises a KafkaError. Partitions that are not ours any more are left out."""
        deadline = time.monotonic() + patience
        while True:
            mine = {
                name: OffsetAndMetadata(offset, "", -1)
                for number, offset in offsets.items()
                if (name := self._name(number)) in self._subscription.assignment or number in self._releasing
            }
            if not mine:
                return
            try:
                await self._coordinator.ensure_coordinator_ready_async(timeout_ms=JOIN_SLICE_MS)
                await self._coordinator._send_offset_commit_request(mine)
                return
            except errors.FencedInstanceIdError:
                self._fenced()
                raise
            except (errors.RetriableError, errors.RebalanceInProgressError, errors.CommitFailedError):
                if time.monotonic() > deadline:
                    raise
                await self._loop.net.sleep(RETRY_BACKOFF_MS / 1000)

    def _name(self, number: int) -> Place:
        return TopicPartition(self._settings.topic, number)

    def _warn(self, what: str, error: Exception) -> None:
        """Say once what goes wrong, until the group hears of us again."""
        if not self._ended and what not in self._warned:
            self._warned.add(what)
            _log.warning(f"a consumer can't {what}", group=self._group, error=describe(error))

    # ---- the end

    async def close(self, leave_through: Client) -> None:
        """Leave the group, so that others have our partitions at once, and end."""
        try:
            if (coordinator := self._coordinator) is not None and coordinator.coordinator_id and self.failure is None:
                # Another connection: on the coordinator's own one, a request to join may keep others waiting.
                node = int(str(coordinator.coordinator_id).removeprefix("coordinator-"))
                manager = leave_through._manager
                await manager.wait_for(manager.send(self._leave_request(coordinator), node_id=node), LEAVE_TIMEOUT_MS)
        except errors.KafkaError as error:
            _log.info("a consumer could not leave its group", group=self._group, error=describe(error))
        finally:
            self._ended = True
            self.stir()
            if self._coordinator is not None:
                self._coordinator._close_heartbeat()
            self._client._manager.close()

    def _leave_request(self, coordinator: Any) -> Any:
        """The library's consumer does not leave a group in which it has a name, since it might be about to return."""
        identity = LeaveGroupRequest.MemberIdentity(
            member_id=coordinator._generation.member_id, group_instance_id=self._instance, reason="closed"
        )
        return LeaveGroupRequest(group_id=self._group, members=[identity], min_version=3, max_version=5)

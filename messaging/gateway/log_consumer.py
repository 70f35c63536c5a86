"""Follows the log: keeps a tail of each partition that this gateway has, and hands events to those who are here."""

import random
from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog
import trio
from google.protobuf.message import DecodeError
from opentelemetry.trace import Span

from messaging.gateway import tracing
from messaging.gateway.frames import SharedEvent
from messaging.gateway.registry import Registry
from messaging.gateway.tail import Entry, Tail
from rookery.v1.backplane_pb2 import Envelope
from shared.backplane import Assignment, Backplane, Consumer, Fetched, StoredRecord
from shared.configuration.live import Live
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import SnowflakeGenerator, wall_clock_ms
from shared.contract.partitions import PARTITION_MAP_EPOCH, partition_of
from shared.coordination.ownership import Directory, GatewayAddress
from shared.telemetry.metrics.catalogue import REBUILDS

GROUP = "gateway"
"""The consumer group that divides the partitions among the gateways."""

RETRY_SECONDS = 1.0
"""How long to wait when the backplane does not answer."""

SLICE = 2_000
"""Records handed on before other tasks get their turn: about 20 ms of work. Less than all sessions can have accepted in
one turn of theirs would let deliveries fall behind for as long as that goes on."""

SETTLE_SECONDS = 2.0
"""How long a partition that leaves waits for the answers to its users' messages: a send that is answered here is not
sent again to the next owner, who may not have read it yet."""

RECONNECT_SPREAD_MS = 500
"""Users of a partition that leaves come back over this time: about as long as its next owner needs to read its tail."""

SMALLEST_RECORD = 256
"""Bytes that a record takes in a tail at the least: how far back a rebuild need go to fill it."""

_log = structlog.get_logger(__name__)


SettleSends = Callable[[Collection[int]], Awaitable[None]]
"""Waits until no message of a user of these partitions is on its way to the log."""


class LogConsumer:
    """One for each gateway. A partition is *owned* once its tail is rebuilt: only then are its users served."""

    def __init__(
        self,
        backplane: Backplane,
        registry: Registry,
        directory: Directory,
        address: GatewayAddress,
        live: Live,
        ids: SnowflakeGenerator,
        settle_sends: SettleSends,
    ) -> None:
        self._backplane = backplane
        self._registry = registry
        self._directory = directory
        self._address = address
        self._live = live
        self._ids = ids
        self._settle_sends = settle_sends
        self._tails: dict[int, Tail] = {}
        self._rebuilding: dict[int, int] = {}  # by partition, the offset at which its tail is whole
        self._leaving: frozenset[int] = frozenset()  # partitions that take no more messages
        self._epoch = 0
        self._consumer: Consumer | None = None
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    @property
    def owned(self) -> frozenset[int]:
        """The partitions whose users are served here."""
        return frozenset(self._tails.keys() - self._rebuilding.keys() - self._leaving)

    @property
    def rebuilding(self) -> int:
        """How many partitions fell to this gateway and are not served yet, since their tails are being read."""
        return len(self._rebuilding)

    @property
    def tails(self) -> Collection[Tail]:
        """Of all partitions that this gateway has. Not to be changed."""
        return self._tails.values()

    async def check(self) -> None:
        """For readiness. Raises Unavailable if what this gateway has is not served yet, or if the group has not heard
        of it for too long. One that has nothing is ready to get something."""
        if self._rebuilding:
            raise Unavailable(f"{len(self.owned)} partitions are served, {len(self._rebuilding)} are being read")
        if not self._is_held():
            raise Unavailable("the group of gateways does not hear of this one")

    def lag(self) -> dict[int, int]:
        """By partition, how many records wait in the log to be read here."""
        return {} if self._consumer is None else dict(self._consumer.lag())

    def is_leaving(self, user_id: int) -> bool:
        """Whether the user's partition is being let go: their sessions are told to reconnect within moments."""
        return partition_of(user_id, self._backplane.partitions) in self._leaving

    def tail_of(self, user_id: int) -> Tail | None:
        """The tail of the user's partition; None if that is not owned, or if another gateway may have it by now."""
        partition = partition_of(user_id, self._backplane.partitions)
        if partition in self._rebuilding or partition in self._leaving or not self._is_held():
            return None
        return self._tails.get(partition)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the log until cancelled, or until `leave`. Started once this gateway is a member of the group, and
        owns what fell to it."""
        is_started = False

        def started() -> None:
            nonlocal is_started
            if not is_started:
                is_started = True
                task_status.started()

        try:
            with self._scope:
                while True:
                    await self._follow(started)
                    await trio.sleep(RETRY_SECONDS)
        finally:
            self._directory.publish(self._address, (), self._epoch)
            self._ended.set()

    async def leave(self) -> None:
        """Let go of all partitions, for others to take. No session is told."""
        self._leaving = frozenset(self._tails)
        self._scope.cancel()
        await self._ended.wait()

    async def _follow(self, started: Callable[[], None]) -> None:
        """Be a member of the group until the log does not answer."""
        try:
            async with self._backplane.consume(GROUP) as consumer:
                self._consumer = consumer
                while True:
                    match await consumer.fetch():
                        case Assignment(gained, lost, epoch):
                            self._epoch = epoch
                            await self._lose(lost)
                            await self._gain(consumer, gained)
                        case Fetched(records):
                            await self._take(records)
                    self._own_what_is_whole()
                    if not self._rebuilding:
                        started()
        except Unavailable as error:
            _log.warning("backplane_unavailable", error=str(error))
            await self._lose(frozenset(self._tails))
        finally:
            self._consumer = None

    def _is_held(self) -> bool:
        return self._consumer is not None and trio.current_time() < self._consumer.held_until

    def deliver(self, record: StoredRecord) -> None:
        """Remember one record in its partition's tail, and give its event to the recipients who are here."""
        tail = self._tails.get(record.partition)
        if tail is None or record.offset < tail.next_offset:
            return
        tail.next_offset = record.offset + 1
        try:
            envelope = Envelope.FromString(record.value)
        except DecodeError:
            _log.error("poison_record", partition=record.partition, offset=record.offset)
            return
        if envelope.WhichOneof("payload") == "sign_out":
            self._sign_out(envelope)
        else:
            self._deliver_event(tail, record, envelope)

    def _deliver_event(self, tail: Tail, record: StoredRecord, envelope: Envelope) -> None:
        event = envelope.event
        kind = event.WhichOneof("event")
        sent = (envelope.sender_id, event.message.client_message_id) if kind == "message" and envelope.truth else None
        if sent is not None and (known := tail.message_of(sent)) is not None and known[0] != event.event_id:
            return  # a second record of truth for one Send: the first in the log counts
        if kind != "typing":
            chat_id = event.message.chat_id if kind == "message" else ""
            recipient_ids = tuple(envelope.recipient_ids)
            tail.append(Entry(record.offset, record.at_ms, event.event_id, recipient_ids, sent, chat_id, record.value))
        origin = envelope.origin_session_id if kind == "message" else ""
        shared = None
        span = self._begin_delivery(record, envelope) if record.traceparent else None
        for recipient_id in envelope.recipient_ids:
            for session in self._registry.of(recipient_id):
                if session.session_id == origin:
                    continue  # its answer is Accepted
                if shared is None:
                    at_ms = record.at_ms if kind == "message" else 0
                    shared = shared_event(record.offset, record.value, envelope, at_ms)
                session.deliver(shared)
                if span is not None:
                    tracing.hand_over(span, session)
        if span is not None:
            span.end()

    def _begin_delivery(self, record: StoredRecord, envelope: Envelope) -> Span | None:
        """A step of the record's trace, unless that is of long ago, and read for a tail."""
        if record.partition in self._rebuilding:
            return None
        return tracing.begin_delivery(self._backplane.destination, GROUP, record, envelope)

    def _sign_out(self, envelope: Envelope) -> None:
        family_id = envelope.sign_out.family_id
        for user_id in envelope.recipient_ids:
            for session in tuple(self._registry.of(user_id)):
                if family_id in ("", session.family_id):
                    session.end(Refusal(Code.UNAUTHENTICATED, "This sign-in has ended."))

    async def _take(self, records: Sequence[StoredRecord]) -> None:
        for start in range(0, len(records), SLICE):
            for record in records[start : start + SLICE]:
                self.deliver(record)
            self._evict()
            await trio.lowlevel.checkpoint()

    def _evict(self) -> None:
        configuration = self._live.value
        older_than_ms = wall_clock_ms() - int(configuration.tail_seconds * 1000)
        for tail in self._tails.values():
            tail.evict(older_than_ms=older_than_ms, max_bytes=configuration.tail_bytes)

    async def _gain(self, consumer: Consumer, partitions: Collection[int]) -> None:
        """Begin to read these from as far back as their tails reach."""
        failures: list[Unavailable] = []

        async def begin(partition: int) -> None:
            try:
                await self._begin_tail(consumer, partition)
            except Unavailable as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for partition in partitions:
                nursery.start_soon(begin, partition)
        if failures:
            raise failures[0]

    async def _begin_tail(self, consumer: Consumer, partition: int) -> None:
        configuration = self._live.value
        since_ms = wall_clock_ms() - int(configuration.tail_seconds * 1000)
        end = await self._backplane.end_offset(partition)
        full = end - configuration.tail_bytes // SMALLEST_RECORD
        # Where all is older, `offset_at` is the end by then: what came since the first look at it must be known too.
        start = max(min(await self._backplane.offset_at(partition, since_ms), end), full)
        consumer.seek(partition, start)
        self._tails[partition] = Tail(start)
        self._rebuilding[partition] = end

    def _own_what_is_whole(self) -> None:
        """Serve the partitions whose tails have been read up to where the log ended when they were gained."""
        if not self._rebuilding:
            return
        whole = [part for part, end in self._rebuilding.items() if self._tails[part].next_offset >= end]
        for partition in whole:
            self._ids.start_above(self._tails[partition].highest_event_id)
            del self._rebuilding[partition]
        if whole:
            REBUILDS.inc(by=len(whole))
            self._directory.publish(self._address, self.owned, self._epoch)
            _log.info("partitions_owned", gained=sorted(whole), owned=len(self.owned), epoch=self._epoch)

    async def _lose(self, partitions: Collection[int]) -> None:
        """Take no more messages of their users, answer those under way, and send the users elsewhere."""
        if not partitions:
            return
        self._leaving = frozenset(partitions)
        with trio.move_on_after(SETTLE_SECONDS):
            await self._settle_sends(partitions)
        for partition in partitions:
            self._tails.pop(partition, None)
            self._rebuilding.pop(partition, None)
        self._leaving = frozenset()
        self._directory.publish(self._address, self.owned, self._epoch)
        _log.info("partitions_lost", lost=sorted(partitions), owned=len(self.owned), epoch=self._epoch)
        for user_id in self._registry.users():
            if partition_of(user_id, self._backplane.partitions) in partitions:
                for session in tuple(self._registry.of(user_id)):
                    session.reconnect(random.randrange(RECONNECT_SPREAD_MS))  # noqa: S311 - spreads load, guards nothing


def shared_event(offset: int, value: bytes, envelope: Envelope, at_ms: int = 0) -> SharedEvent:
    """The envelope's event with its position, which is the record's own place; of a live message, with its time."""
    event = envelope.event
    event.position.offset = offset
    event.position.epoch = PARTITION_MAP_EPOCH
    return SharedEvent(event, len(value), at_ms)

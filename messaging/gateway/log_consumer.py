"""Consumes the log: keeps a tail of each assigned partition, and delivers events to the recipients' sessions."""

import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import NamedTuple, assert_never

import structlog
import trio
from google.protobuf.message import DecodeError
from opentelemetry.trace import Span

from messaging.envelopes import decode, fan_out_copies, upgrade
from messaging.gateway import tracing
from messaging.gateway.channels import Channels
from messaging.gateway.frames import shared_event
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.registry import Registry
from messaging.gateway.rosters import Rosters
from messaging.gateway.sent import change_hash, control_hash, message_hash
from messaging.gateway.tail import Entry, Tail
from rookery.v1.backplane_pb2 import CopiesStored, Envelope, Fence
from rookery.v1.session_pb2 import Event
from shared.background import open_background
from shared.backplane import Assignment, Backplane, Consumer, Fetched, Record, StoredRecord
from shared.backplane.publishing import publish_and_wait
from shared.configuration.live import Live
from shared.contract.changes import make_stub, outlives, wins
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.groups import is_within
from shared.contract.ids import MAX_ID, SnowflakeGenerator, wall_clock_ms
from shared.coordination.ownership import Directory, GatewayAddress
from shared.telemetry.logs import Interval
from shared.telemetry.metrics.catalogue import LATE_RECORDS, REBUILDS

GROUP = "gateway"
"""The consumer group that divides the partitions among the gateways."""

RETRY_SECONDS = 1.0
"""Delay before the group is joined, a tail begun, or a fence published again, after the backplane was unavailable."""

GAIN_SECONDS = 1.0
"""How long all deliveries wait for the look-ups of gained partitions, which take 0.1 s. A loss that comes meanwhile has
to be handled within 4 s, SETTLE_SECONDS included (RELEASE_TIMEOUT of Kafka's member)."""

SLICE = 2_000
"""Records delivered before other tasks get their turn: about 20 ms of work. If all sessions could publish more in one
turn of theirs, deliveries would fall behind for as long as that continues."""

SETTLE_SECONDS = 2.0
"""How long a leaving partition, or a gateway that stops, waits for the answers to messages: the client of an answered
send does not retry it with the next owner, which may not have read it yet."""

RECONNECT_SPREAD_MS = 500
"""Users of a leaving partition reconnect over this time: about as long as its next owner needs to read its tail."""

MIN_RECORD_BYTES = 256
"""The least size of a record in a tail: bounds the number of records that a rebuild reads."""

_log = structlog.get_logger(__name__)


class Missed(NamedTuple):
    """Copies of an event of a group, for members whom its sender did not know."""

    tail: Tail
    """The tail with its record of truth."""
    offset: int
    """The offset of the record from which this gateway learned that the copies are due."""
    copies: Sequence[Record]


SettleSends = Callable[[Collection[int]], Awaitable[None]]
"""Waits until no message or change of a user of these partitions is in flight."""


class LogConsumer:
    """Reads the assigned partitions into tails, and delivers their events; one for each gateway."""

    def __init__(
        self,
        backplane: Backplane,
        partitions: OwnedPartitions,
        registry: Registry,
        channels: Channels,
        rosters: Rosters,
        directory: Directory,
        address: GatewayAddress,
        live: Live,
        ids: SnowflakeGenerator,
        settle_sends: SettleSends,
        forget_user: Callable[[int], None],
        forget_relationship: Callable[[int, int], None],
    ) -> None:
        self._backplane = backplane
        self._partitions = partitions
        self._registry = registry
        self._channels = channels
        self._rosters = rosters
        self._directory = directory
        self._address = address
        self._live = live
        self._ids = ids
        self._settle_sends = settle_sends
        self._forget_user = forget_user
        self._forget_relationship = forget_relationship
        self._epoch = 0
        self._number = random.getrandbits(63)  # in this gateway's fences
        self._fenced: list[int] = []  # partitions owned since the last announcement
        self._missed: dict[int, list[Missed]] = {}
        """By partition, copies for further members that are due."""
        self._far_ahead = Interval()
        self._fence_rebuilt: Callable[[], None] = lambda: None
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    async def check(self) -> None:
        """Check readiness. Raises Unavailable while an assigned partition is not owned yet, or if the group may have
        expelled this gateway. A gateway without partitions is ready to be assigned some."""
        partitions = self._partitions
        if others := partitions.unserved:
            served = len(partitions.owned)
            raise Unavailable(f"{served} partitions are served, {others} are read or wait for their fence")
        if not partitions.is_held:
            raise Unavailable("the consumer group may have expelled this gateway")

    def lag(self) -> dict[int, int]:
        """By assigned partition, the number of records that wait to be consumed."""
        consumer = self._partitions.consumer
        return {} if consumer is None else dict(consumer.lag())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Consume the log until cancelled, or until `leave`. Started once this gateway has joined the group and owns
        the partitions of its first assignment, except those that the log can't look up or fence yet."""
        is_started = False

        def started() -> None:
            nonlocal is_started
            if not is_started:
                is_started = True
                task_status.started()

        try:
            with self._scope:
                while True:
                    await self._consume(started)
                    await trio.sleep(RETRY_SECONDS)
        finally:
            self._directory.publish(self._address, (), self._epoch)
            self._ended.set()

    async def leave(self) -> None:
        """Leave the group, so that its other members get the partitions. Sessions stay; events in flight fail."""
        self._partitions.leaving = frozenset(self._partitions.tails)
        self._backplane.withdraw(self._partitions.leaving)
        self._scope.cancel()
        await self._ended.wait()

    async def fence_again(self, partition: int) -> None:
        """Own a partition from a new fence of this gateway on, as soon as the log takes records. An event of an earlier
        epoch that it did not acknowledge is in the tail then, or does not count. Raises Unavailable if the log takes
        none: the partition stays owned."""
        tail = self._partitions.tail_at(partition)
        if tail is None:
            return
        epoch = tail.fences.epoch
        probe = Envelope(fence=Fence(read_up_to=0))  # it does not count: the partition has a fence
        record = Record(partition, probe.SerializeToString())
        await publish_and_wait(self._backplane, [record], until=self._partitions.held_until)
        if self._partitions.tail_at(partition) is tail and tail.fences.epoch == epoch:
            _log.info("partition_fenced_again", partition=partition)
            self._partitions.disown(partition)
            self._fence_rebuilt()

    async def _consume(self, started: Callable[[], None]) -> None:
        """Be a member of the group until the backplane is unavailable."""
        async with self._backplane.consume(GROUP) as consumer:
            self._partitions.set_consumer(consumer)
            try:
                await self._follow(consumer, started)
            except Unavailable as error:
                _log.warning("backplane_unavailable", error=str(error))
                await self._lose(self._partitions.tails.keys() | self._partitions.unread)
            finally:
                self._partitions.set_consumer(None)  # before this gateway leaves the group: others own them then

    async def _follow(self, consumer: Consumer, started: Callable[[], None]) -> None:
        """Handle assignments and records. Raises Unavailable."""
        async with open_background() as nursery:

            def fence_rebuilt() -> None:
                for partition in self._partitions.take_rebuilt():
                    nursery.start_soon(self._fence, partition, self._partitions.tails[partition], started)

            self._fence_rebuilt = fence_rebuilt
            try:
                while True:
                    match await consumer.fetch():
                        case Assignment(gained, lost, epoch):
                            self._epoch = epoch
                            await self._lose(lost)
                            await self._gain(nursery, consumer, gained, fence_rebuilt)
                        case Fetched(records):
                            await self._deliver_all(records)
                        case never:
                            assert_never(never)
                    if self._fenced:
                        self._announce_owned()
                    for missed in self.take_missed():
                        nursery.start_soon(self._publish_missed, missed)
                    fence_rebuilt()
                    if not self._partitions.rebuilding:
                        started()
            finally:
                self._fence_rebuilt = lambda: None  # the nursery takes no more tasks; all partitions are lost now

    # ---- records

    async def _deliver_all(self, records: Sequence[StoredRecord]) -> None:
        begun = frozenset(self._partitions.tails)  # a tail that begins at a checkpoint reads from its own seek on
        for start in range(0, len(records), SLICE):
            for record in records[start : start + SLICE]:
                if record.partition in begun:
                    self.deliver(record)
            self.evict()
            await trio.lowlevel.checkpoint()

    def deliver(self, record: StoredRecord) -> None:
        """Append a record to its partition's tail, and deliver its event to the recipients' sessions."""
        tail = self._partitions.tails.get(record.partition)
        if tail is None or record.offset < tail.next_offset:
            return
        tail.next_offset = record.offset + 1
        try:
            envelope = Envelope.FromString(record.value)
        except DecodeError:
            _log.error("poison_record", partition=record.partition, offset=record.offset)
            return
        payload = envelope.WhichOneof("payload")
        if payload == "sign_out":
            self._sign_out(envelope)
        elif payload == "fence":
            self._read_fence(tail, record, envelope.fence)
        elif payload == "copies_stored":
            self._read_mark(tail, record, envelope.copies_stored)
        elif envelope.truth and not tail.fences.admits(envelope.epoch):
            LATE_RECORDS.inc(GROUP)
            _log.info("late_record_dropped", partition=record.partition, offset=record.offset, epoch=envelope.epoch)
        else:
            self._deliver_event(tail, record, envelope)

    def _deliver_event(self, tail: Tail, record: StoredRecord, envelope: Envelope) -> None:
        event = envelope.event
        kind = event.WhichOneof("event")
        if kind is None:
            upgrade(event)
            kind = event.WhichOneof("event")
        if not self._ids.follow(event.event_id) and self._far_ahead.has_passed():  # so that answers have higher ids
            _log.warning("id_far_ahead", partition=record.partition, offset=record.offset, event_id=event.event_id)
        recipient_ids = tuple(envelope.recipient_ids)
        is_of_group = envelope.chat_version != 0
        if is_of_group:
            recipient_ids = self._read_of_group(tail, record, envelope, kind, recipient_ids)
        value = record.value
        if kind == "people_changed":
            tail.announced_ms = record.at_ms
            self._forget_relationship(envelope.sender_id, event.people_changed.user_id)
        elif kind != "typing" and not (value := self._append(tail, record, envelope, kind, recipient_ids)):
            return
        sessions = self._registry.of_all(recipient_ids)
        if is_of_group and envelope.to_members:
            sessions += self._channels.readers(
                record.partition, _chat_id(event), record.offset, event.event_id, recipient_ids
            )
        elif is_of_group and envelope.truth:
            self._reach_missed(tail, record, value, envelope, recipient_ids)
        origin = envelope.origin_session_id
        shared = None
        span = self._begin_delivery(record, envelope) if record.traceparent else None
        for session in sessions:
            if session.session_id == origin:
                continue  # its answer is Accepted
            if shared is None:
                at_ms = record.at_ms if kind == "message" else 0
                shared = shared_event(record.offset, value, envelope, at_ms)
            session.deliver(shared)
            if span is not None:
                tracing.queue_delivery(span, session)
        if span is not None:
            span.end()

    def _read_of_group(
        self, tail: Tail, record: StoredRecord, envelope: Envelope, kind: str | None, recipient_ids: tuple[int, ...]
    ) -> tuple[int, ...]:
        """Read an event of a group, first of all if it is a control change. Return the recipients that may read it, as
        far as this gateway knows."""
        event, version = envelope.event, envelope.chat_version
        if kind == "typing":  # of a former release
            return self._rosters.within(event.typing.chat_id, version, MAX_ID, recipient_ids)
        chat_id = _chat_id(event)
        if event.message.HasField("control"):
            is_live = record.partition not in self._partitions.rebuilding
            self._rosters.read(chat_id, event.message.control, is_live=is_live, is_channel=envelope.to_members)
            self._channels.apply(chat_id, event.message.control)
            self._change_members(tail, record, chat_id, event)
        return self._rosters.within(chat_id, version, event.event_id, recipient_ids)

    def _reach_missed(
        self, tail: Tail, record: StoredRecord, value: bytes, envelope: Envelope, recipient_ids: tuple[int, ...]
    ) -> None:
        """Publish an event of a group, which is no control change, to members whom its sender did not know."""
        event = envelope.event
        chat_id = _chat_id(event)
        missed = self._rosters.missed(chat_id, envelope.chat_version, event.event_id)
        if missed and not event.message.HasField("control"):
            for version, user_ids in missed.items():
                others = [user_id for user_id in user_ids if user_id not in recipient_ids]
                self._miss(tail, record, value, others, version)

    def _change_members(self, tail: Tail, record: StoredRecord, chat_id: str, event: Event) -> None:
        """Apply a control change's joins and removals to earlier records whose senders did not know it."""
        control = event.message.control
        joined = [member for member in control.members if member.role and not member.former_role]
        for entry in tail.sent_after(chat_id, event.event_id) if joined else ():
            if entry.chat_version < control.version:
                missed = [each.user_id for each in joined if is_within(each.spans, entry.event_id)]
                self._miss(tail, record, entry.value, missed, control.version)
        for member in control.members:
            if not member.role:
                tail.withdraw(chat_id, member)

    def _miss(self, tail: Tail, record: StoredRecord, value: bytes, user_ids: Sequence[int], version: int) -> None:
        """Publish an event of a group, whose record of truth is in the tail, to members whom its sender did not know:
        these users are members in this version, which `record` shows."""
        envelope = decode(value)
        records = fan_out_copies(
            envelope.event,
            sender_id=envelope.sender_id,
            recipient_ids=user_ids,
            partitions=self._partitions.count,
            chat_version=version,
        )
        if records:
            tail.copies_due += 1
            tail.copied_offset = max(tail.copied_offset, record.offset)
            self._missed.setdefault(record.partition, []).append(Missed(tail, record.offset, records))

    def take_missed(self) -> list[Missed]:
        """The copies to publish for members whom senders did not know. A partition that is not owned yet has none: a
        CopiesStored at the end of its tail may cover them."""
        if not self._missed:  # the usual case after a fetch
            return []
        ready = [partition for partition in self._missed if partition not in self._partitions.rebuilding]
        return [missed for partition in ready for missed in self._missed.pop(partition)]

    async def _publish_missed(self, missed: Missed) -> None:
        """Publish until the log has stored the copies. If the tail's partition leaves, its next owner does that."""
        while not missed.tail.is_released:
            try:
                await publish_and_wait(self._backplane, missed.copies, until=self._partitions.held_until)
            except Unavailable as error:
                _log.warning("missed_members_not_reached", error=str(error))
                await trio.sleep(RETRY_SECONDS)
            else:
                missed.tail.copies_due -= 1
                return

    def _read_mark(self, tail: Tail, record: StoredRecord, mark: CopiesStored) -> None:
        """Drop the copies that a former owner has published."""
        tail.copies_stored_up_to = max(tail.copies_stored_up_to, min(mark.up_to, record.offset))
        if missed := self._missed.get(record.partition):
            due = [each for each in missed if each.offset >= tail.copies_stored_up_to]
            tail.copies_due -= len(missed) - len(due)
            self._missed[record.partition] = due

    def _append(
        self, tail: Tail, record: StoredRecord, envelope: Envelope, kind: str | None, recipient_ids: tuple[int, ...]
    ) -> bytes:
        """Append an event to the tail. Return the value of its record, in which a message that was deleted before has
        become a stub; empty if the event does not count: a second event of one frame, a change that the deletion
        removes, or a repeated copy of a deleted message or of a control change for recipients who have received it."""
        event = envelope.event
        event_id, target_id, chat_id = event.event_id, 0, ""
        key, content, is_deletion, is_control = None, 0, False, False
        version = envelope.chat_version
        if kind == "message":
            message = event.message
            chat_id = message.chat_id
            is_control = bool(version) and message.HasField("control")
            if envelope.truth:
                key = (envelope.sender_id, message.client_message_id)
                if is_control:
                    content = control_hash(message)
                elif tail.sent_with(key) is None:  # else the tail has its hash
                    content = message_hash(message.text, message.reply_to, message.forwarded, message.files)
            elif is_control and tail.has_reached(recipient_ids, event_id):
                return b""  # each owner of the home partition publishes it again
        elif kind == "change":
            change = event.change
            chat_id, target_id, is_deletion = change.chat_id, change.target_id, wins(change)
            if envelope.truth and change.client_change_id:
                key = (envelope.sender_id, change.client_change_id)
                if tail.sent_with(key) is None:
                    content = change_hash(change)
        value = record.value
        if tail.deletions and (target_id or event_id) in tail.deletions and not is_deletion:
            if kind == "message" and not tail.has_reached(recipient_ids, event_id):
                make_stub(event.message)
                value = envelope.SerializeToString()
            elif kind == "message" or not outlives(event.change):
                value = b""
        entry = Entry(record.offset, record.at_ms, event_id, recipient_ids, key, chat_id, value, content, target_id)
        if version:
            entry.chat_version, entry.is_to_members = version, envelope.to_members
            entry.is_control = is_control and envelope.truth
        if not tail.append(entry):
            return b""
        if is_deletion:
            tail.delete(entry)
        return value

    def _begin_delivery(self, record: StoredRecord, envelope: Envelope) -> Span | None:
        """A span of the record's trace; None while a tail is being rebuilt, since the record was delivered long ago."""
        if record.partition in self._partitions.rebuilding:
            return None
        return tracing.begin_delivery(self._backplane.destination, GROUP, record, envelope)

    def _sign_out(self, envelope: Envelope) -> None:
        family_id = envelope.sign_out.family_id
        for user_id in envelope.recipient_ids:
            if envelope.sign_out.is_deleted:
                self._forget_user(user_id)
            for session in self._registry.of_sign_in(user_id, family_id):
                session.end(Refusal(Code.UNAUTHENTICATED, "This sign-in has ended."))

    def evict(self) -> None:
        """Bound the tails as configured."""
        configuration = self._live.value
        older_than_ms = wall_clock_ms() - int(configuration.tail_seconds * 1000)
        self._partitions.evict(older_than_ms=older_than_ms, max_bytes=configuration.tail_bytes)

    # ---- assignments

    async def _gain(
        self, nursery: trio.Nursery, consumer: Consumer, partitions: Collection[int], fence_rebuilt: Callable[[], None]
    ) -> None:
        """Begin to read the gained partitions, from where their tails begin. Return once the log has been asked for
        all, and after GAIN_SECONDS at the latest: tasks in the nursery go on with the partitions that the log has not
        looked up, for instance without a leader. Until their tails begin they are read from their oldest record, and
        none of these records is delivered."""
        self._partitions.unread.update(partitions)
        tried = {partition: trio.Event() for partition in partitions}
        for partition, event in tried.items():
            nursery.start_soon(self._begin, consumer, partition, event, fence_rebuilt)
        with trio.move_on_after(GAIN_SECONDS):
            for event in tried.values():
                await event.wait()

    async def _begin(
        self, consumer: Consumer, partition: int, tried: trio.Event, fence_rebuilt: Callable[[], None]
    ) -> None:
        """Begin the tail of a gained partition once the log can look it up, unless the partition is lost before. Set
        `tried` after the first attempt."""
        while True:
            try:
                await self._begin_tail(consumer, partition)
            except* Unavailable as group:  # to leave the group for it would cost all owned partitions
                _log.warning("tail_not_begun", partition=partition, error=str(group.exceptions[0]))
            tried.set()
            if partition not in self._partitions.unread:
                break
            await trio.sleep(RETRY_SECONDS)
        fence_rebuilt()  # the tail may be complete without a record

    async def _begin_tail(self, consumer: Consumer, partition: int) -> None:
        """Begin to read a partition, unless it was lost meanwhile. Raises a group of Unavailable."""
        configuration = self._live.value
        since_ms = wall_clock_ms() - int(configuration.tail_seconds * 1000)
        end = since = 0

        async def find_end() -> None:
            nonlocal end
            end = await self._backplane.end_offset(partition)

        async def find_since() -> None:
            nonlocal since
            since = await self._backplane.offset_at(partition, since_ms)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(find_end)
            nursery.start_soon(find_since)
        full = end - configuration.tail_bytes // MIN_RECORD_BYTES
        # If all records are older, `offset_at` returns the end of that moment: the tail must also have the records
        # that came after `end_offset`.
        since = min(since, end)
        start = max(since, full)
        if partition in self._partitions.unread:
            consumer.seek(partition, start)
            # Of a tail that its size cuts short, the time of `start` is unknown: it is before now.
            complete_from_ms = since_ms if start == since else wall_clock_ms()
            self._partitions.assign(partition, start, end, complete_from_ms, trio.current_time())
            # Control changes that came before were not read, unless an owned partition has them, too.
            self._rosters.drop_unfollowed(self._partitions.owned, partition)

    async def _fence(self, partition: int, tail: Tail, started: Callable[[], None]) -> None:
        """Publish this gateway's fence until the log has stored it, or the partition has left. The partition is owned
        once the fence has been read, if no other gateway's came between: see `_read_fence`."""
        while self._partitions.tails.get(partition) is tail and partition in self._partitions.fencing:
            fence = Envelope(fence=Fence(gateway=self._number, read_up_to=tail.next_offset))
            record = Record(partition, fence.SerializeToString())
            try:
                await publish_and_wait(self._backplane, [record], until=self._partitions.held_until)
            except Unavailable as error:
                _log.warning("fence_not_published", partition=partition, error=str(error))
                started()  # the process serves everything else; it is unready
                await trio.sleep(RETRY_SECONDS)
            else:
                return

    def _read_fence(self, tail: Tail, record: StoredRecord, fence: Fence) -> None:
        """Own the partition from its own fence on, unless another gateway's counts: then it has to be fenced again."""
        partitions, partition = self._partitions, record.partition
        is_own, counts = fence.gateway == self._number, tail.fences.read(record.offset, fence)
        if partition in partitions.fencing and is_own:
            if counts:
                partitions.own(partition)
                self._fenced.append(partition)
            else:
                partitions.disown(partition)
        elif partition not in partitions.rebuilding and counts:
            _log.warning("partition_fenced_by_another", partition=partition, offset=record.offset)
            partitions.disown(partition)

    def _announce_owned(self) -> None:
        """Claim the partitions that are owned since the last call in the directory."""
        owned = self._partitions.owned
        if gained := owned.intersection(self._fenced):
            REBUILDS.inc(by=len(gained))
            self._directory.publish(self._address, owned, self._epoch)
            _log.info("partitions_owned", gained=sorted(gained), owned=len(owned), epoch=self._epoch)
        self._fenced.clear()

    async def _lose(self, partitions: Collection[int]) -> None:
        """Accept no more messages of the partitions' users, answer the ones in flight, and send the users Reconnect."""
        if not partitions:
            return
        self._partitions.unread.difference_update(partitions)
        self._partitions.leaving = frozenset(partitions)
        with trio.move_on_after(SETTLE_SECONDS):
            await self._settle_sends(partitions)
        self._backplane.withdraw(partitions)
        self._partitions.remove(partitions)
        for partition in partitions:
            self._missed.pop(partition, None)
        owned = self._partitions.owned
        self._rosters.drop_unfollowed(owned)  # control changes of other groups that come from now on may not be read
        self._channels.leave_partitions(partitions)
        self._directory.publish(self._address, owned, self._epoch)
        _log.info("partitions_lost", lost=sorted(partitions), owned=len(owned), epoch=self._epoch)
        for user_id in self._registry.users():
            if self._partitions.partition_of(user_id) in partitions:
                for session in tuple(self._registry.of(user_id)):
                    session.reconnect(random.randrange(RECONNECT_SPREAD_MS))  # noqa: S311 - spreads load, guards nothing


def _chat_id(event: Event) -> str:
    return event.message.chat_id or event.change.chat_id

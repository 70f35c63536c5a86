"""Delivery in a group by two gateways that read the log at their own pace: simulated, in any order of steps.

Once all is read, each user can replay exactly the events inside their spans. Before that nobody gets an event outside
theirs, by what the reading gateway knew.
"""

from collections.abc import Callable, Sequence
from functools import partial
from secrets import token_hex
from typing import Any, cast

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from messaging.envelopes import decode, fan_out
from messaging.gateway.access import Access
from messaging.gateway.channels import Channels
from messaging.gateway.files import FileLookups
from messaging.gateway.follows import Follows
from messaging.gateway.frames import ProtobufEncoding
from messaging.gateway.log_consumer import LogConsumer, Missed
from messaging.gateway.lookups import Lookups
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.publisher import Publisher
from messaging.gateway.registry import Registry
from messaging.gateway.requests import SendRequest, check
from messaging.gateway.rosters import Rosters
from messaging.gateway.session import Command, Session, State
from rookery.v1.backplane_pb2 import CopiesStored, Envelope
from rookery.v1.groups_pb2 import Member
from rookery.v1.session_pb2 import ClientFrame, Event, Mention, Send, ServerFrame, Text
from shared.backplane import Record, StoredRecord
from shared.backplane.protocol import Done
from shared.configuration import LiveConfiguration
from shared.configuration.live import Live
from shared.contract.groups import Roster, audience, is_within
from shared.contract.ids import EPOCH_MS, SnowflakeGenerator
from shared.contract.partitions import partition_of
from shared.coordination.ownership import GatewayAddress, LocalDirectory
from shared.signals.memory import LocalSignals
from shared.signals.publisher import SignalPublisher
from tests.messaging.gateway.harness import ALL, ANN, PARTITIONS, Crew, ScriptedHistory, ScriptedLog

OTHERS = range(2, 7)
"""Ann is the owner, and stays."""

ALL_USERS = (ANN, *OTHERS)

HOME = partition_of(7, PARTITIONS)

CONFIGURATION = LiveConfiguration()


class KeepingLog(ScriptedLog):
    """Keeps what is published at once. Gateways read it record by record."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[int, list[StoredRecord]] = {partition: [] for partition in ALL}
        self.published: list[int] = []
        """Ids of events, in order."""

    def publish(self, records: Sequence[Record], done: Done, *, until: float = 0.0) -> None:
        self.published.append(decode(records[0].value).event.event_id)
        for partition, value, *_ in records:
            self.kept[partition].append(StoredRecord(partition, len(self.kept[partition]), 0, value))
        done(range(len(records)))


class Reader:
    """A gateway without connections: each of these users has a session."""

    def __init__(
        self, log: KeepingLog, history: ScriptedHistory, ids: SnowflakeGenerator, user_ids: Sequence[int] = ALL_USERS
    ) -> None:
        self.log = log
        self.ids = ids
        self.partitions = OwnedPartitions(PARTITIONS)
        self.partitions.set_consumer(log)
        self.rosters = Rosters(history, PARTITIONS, ids.follow, history.is_complete)
        self.due: list[Missed] = []
        """Copies that it is publishing."""
        self.known: dict[int, Member] = {}
        """The members as the newest control changes left them that it has read."""
        self.registry, live = Registry(), Live.fixed(CONFIGURATION)
        self.channels = Channels(self.registry, self.partitions)
        lookups = Lookups(cast(Any, None), history, log, self.partitions)
        access = Access(lookups, self.rosters, self.partitions, ids, live)
        signals = SignalPublisher(LocalSignals(), PARTITIONS)
        files = FileLookups(history, lookups, self.rosters, access, self.partitions)
        self.publisher = Publisher(log, lookups, files, self.rosters, access, self.partitions, ids, signals)
        self.consumer = LogConsumer(
            log,
            self.partitions,
            self.registry,
            self.channels,
            self.rosters,
            LocalDirectory(),
            GatewayAddress("", ""),
            live,
            ids,
            self.publisher.wait_idle,
            lookups.forget_user,
            lookups.forget_relationship,
        )
        self.follows = Follows(self.channels, self.rosters, access)
        self.sessions: dict[int, Session] = {}
        for user_id in user_ids:
            self.connect(user_id)

    def connect(self, user_id: int) -> Session:
        session = self.sessions[user_id] = Session(token_hex(), ProtobufEncoding(), lambda: CONFIGURATION, 0.0)
        session.state, session.user_id = State.LIVE, user_id
        self.registry.attach(session)
        return session

    def assign(self, partition: int) -> None:
        self.partitions.assign(partition, 0, len(self.log.kept[partition]), 0, 0.0)
        self.rosters.drop_unfollowed(self.partitions.owned, partition)
        self._own_if_read(partition)

    def release(self, partition: int) -> None:
        self.partitions.remove([partition])
        self.rosters.drop_unfollowed(self.partitions.owned)

    def read(self, partition: int, roster: Roster) -> bool:
        """Read one record, while the group has this roster. Return whether there was one, or copies were due."""
        had_due = bool(self.due)
        self.publish_missed()
        offset = self.partitions.tails[partition].next_offset
        if offset == len(self.log.kept[partition]):
            return had_due or bool(self.due)
        record = self.log.kept[partition][offset]
        envelope = decode(record.value)
        for member in envelope.event.message.control.members:
            if member.version >= self.known.get(member.user_id, member).version:
                self.known[member.user_id] = member
        self.consumer.deliver(record)
        self._own_if_read(partition)
        for user_id in self.received(envelope.event) if envelope.HasField("event") else ():
            known = self.known.get(user_id)
            if known is not None and known.version >= envelope.chat_version:
                event_id = envelope.event.event_id
                assert is_within(known.spans, event_id) or roster.includes(user_id, event_id), (
                    f"{user_id} got {envelope}"
                )
        return True

    def publish_missed(self) -> None:
        """Publish the copies that were due before the last call, unless their partition has left since."""
        for missed in self.due:
            if not missed.tail.is_released:
                self.log.publish(missed.copies, lambda _: None)
                missed.tail.copies_due -= 1
        self.due = self.consumer.take_missed()

    def received(self, event: Event) -> list[int]:
        """The users whose sessions got the event since the last call."""
        frames = {user_id: session.take() for user_id, session in self.sessions.items()}
        events = {
            user_id: [ServerFrame.FromString(each).event.event_id for each in sent] for user_id, sent in frames.items()
        }
        return [user_id for user_id, ids in events.items() if event.event_id in ids]

    def _own_if_read(self, partition: int) -> None:
        end = self.partitions.rebuilding.get(partition)
        if end is not None and self.partitions.tails[partition].next_offset >= end:
            self.partitions.own(partition)


class Simulation:
    def __init__(self, skews: Sequence[int], **settings: Any) -> None:
        self.now_ms = EPOCH_MS + 1_000
        self.log = KeepingLog()
        self.history = ScriptedHistory()
        clocks = [partial(lambda skew: self.now_ms + skew, skew) for skew in skews]
        self.ids = [SnowflakeGenerator(number, clock) for number, clock in enumerate(clocks)]
        self.readers = [self.start(number) for number in range(len(skews))]
        self.owners = {partition: partition % len(skews) for partition in ALL}
        for partition in ALL:
            self.owner(partition).assign(partition)
        self.crew = Crew(ANN, 2, 3, **settings)
        self._publish_control(Roster.empty(self.crew.chat_id))
        self.history.groups[self.crew.chat_id] = self.crew.stored
        self.sends = 0

    def start(self, number: int) -> Reader:
        return Reader(self.log, self.history, self.ids[number])

    def owner(self, partition: int) -> Reader:
        return self.readers[self.owners[partition]]

    async def step(self, action: str, number: int) -> None:
        self.now_ms += 1
        present, user_id = self.crew.roster.present, OTHERS[number % len(OTHERS)]
        if action == "toggle":
            change = self.crew.remove if user_id in present else self.crew.add
            self.control(lambda event_id: change(event_id, user_id))
        elif action == "send":
            await self.send(sorted(present)[number % len(present)])
        elif action == "read":
            for _ in range(number % 4 + 1):
                self.owner(number % PARTITIONS).read(number % PARTITIONS, self.crew.roster)
        elif action == "record":
            self.history.groups[self.crew.chat_id] = self.crew.stored
        elif action == "restart":
            index = number % len(self.readers)
            self.readers[index] = self.start(index)
            for partition in [partition for partition, owner in self.owners.items() if owner == index]:
                self.owner(partition).assign(partition)
        elif action == "mark":
            self.mark(number % PARTITIONS)
        elif action == "move":
            partition = number % PARTITIONS
            self.owner(partition).release(partition)
            self.owners[partition] = (self.owners[partition] + 1) % len(self.readers)
            self.owner(partition).assign(partition)

    def control(self, change: Callable[[int], Event]) -> None:
        """Publish the control change that this function makes under an id, unless the home partition has no owner."""
        if HOME not in self.owner(HOME).partitions.rebuilding:
            before = self.crew.roster
            change(self.ids[self.owners[HOME]].next_nowait() or 0)
            self._publish_control(before)

    def mark(self, partition: int) -> None:
        """Publish a CopiesStored, as the sequencer does, if one is due and the partition has an owner."""
        tail = self.owner(partition).partitions.tail_at(partition)
        if tail is not None and tail.lacks_mark:
            mark = Envelope(copies_stored=CopiesStored(up_to=tail.next_offset))
            self.log.publish([Record(partition, mark.SerializeToString())], lambda _: None)

    async def send(self, user_id: int, *mentioned: int) -> None:
        reader = self.owner(partition_of(user_id, PARTITIONS))
        self.sends += 1
        text = Text(body=" ".join(f"@{each}" for each in mentioned) or "hi")
        text.mentions.extend(Mention(user_id=each, name=str(each)) for each in mentioned)
        send = Send(client_message_id=str(self.sends), chat_id=self.crew.chat_id, text=text)
        request = check(ClientFrame(send=send, first_sent_ms_ago=0), user_id, CONFIGURATION)
        assert isinstance(request, SendRequest)
        await reader.publisher.keep(Command(reader.sessions[user_id], request, 1, 0.0), request)

    def finish(self) -> None:
        while any([self.owner(partition).read(partition, self.crew.roster) for partition in ALL]):
            pass
        kept = [(partition, decode(record.value)) for partition in ALL for record in self.log.kept[partition]]
        truths = {each.event.event_id: partition for partition, each in kept if each.truth}
        for user_id in (ANN, *OTHERS):
            partition = partition_of(user_id, PARTITIONS)
            replayed = {entry.event_id for entry in self.owner(partition).partitions.tails[partition].newer(user_id, 0)}
            spans = self.crew.roster.members.get(user_id, Member()).spans
            within = {event_id for event_id in truths if is_within(spans, event_id)}
            assert replayed == within, user_id

    def _publish_control(self, before: Roster) -> None:
        event, roster = self.crew.events[-1], self.crew.roster
        recipient_ids = audience(before, event.message.control, event.message.sender_id)
        records = fan_out(
            event,
            sender_id=ANN,
            recipient_ids=recipient_ids,
            partitions=PARTITIONS,
            truth_partition=HOME,
            chat_version=roster.version,
            read_for=before.recently_left(event.event_id),
            to_members=roster.is_channel,
        )
        self.log.publish(records, lambda _: None)
        self.owner(HOME).rosters.applied(self.crew.chat_id, roster, event.event_id)


ACTIONS = st.sampled_from(
    ["toggle", "toggle", "send", "send", "send", "read", "read", "read", "record", "mark", "restart", "move"]
)


@given(
    st.lists(st.tuples(ACTIONS, st.integers(0, 100)), min_size=10, max_size=50),
    st.tuples(st.integers(-5, 5), st.integers(-5, 5)),
)
def test_each_user_gets_the_events_inside_their_spans_and_no_others(
    steps: list[tuple[str, int]], skews: tuple[int, int]
) -> None:
    async def play() -> None:
        simulation = Simulation(skews)
        for action, number in steps:
            await simulation.step(action, number)
        simulation.finish()

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_each_owner_publishes_the_copies_for_a_member_whom_the_sender_did_not_know_until_a_mark_covers_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The next owner reads the records for which copies are due before it reads the mark, and publishes no copies."""
    simulation = Simulation((0, 0))
    home_owner = simulation.owners[HOME]
    sender_id = next(each for each in (ANN, 2, 3) if simulation.owners[partition_of(each, PARTITIONS)] != home_owner)
    partition = partition_of(sender_id, PARTITIONS)

    def next_owner() -> Reader:
        """The next owner of the sender's partition, after the former owner was killed. It has read all records."""
        number = simulation.owners[partition]
        reader = simulation.readers[number] = simulation.start(number)
        reader.assign(partition)
        while reader.read(partition, simulation.crew.roster) and not reader.due:
            pass
        return reader

    def due(reader: Reader) -> list[Sequence[Record]]:
        return [each.copies for each in reader.due]

    for each in ALL:
        while simulation.owner(each).read(each, simulation.crew.roster):
            pass
    simulation.control(lambda event_id: simulation.crew.add(event_id, 4))
    simulation.now_ms += 1
    await simulation.send(sender_id)  # its gateway has not read that 4 was added
    first = due(next_owner())
    assert first
    assert due(next_owner()) == first, "the former owner has published none"
    simulation.mark(partition)
    owner = next_owner()
    assert due(owner) == first, "no mark was due while copies were"
    owner.publish_missed()
    simulation.mark(partition)
    assert not due(next_owner())

"""Delivery in a channel by three gateways that read the log at their own pace: simulated, in any order of steps.

A session that has the channel open gets each event inside its user's spans that the log stores after it was accepted;
the history that it reads then has the earlier ones. Heads name the newest event that the user may read. Nobody gets an
event outside their spans, by what the reading gateway knew.
"""

from collections.abc import Sequence

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from messaging.envelopes import decode
from messaging.gateway.requests import FollowRequest
from messaging.gateway.session import Command, Session
from rookery.v1.group_service_pb2 import ChangeSettings
from rookery.v1.groups_pb2 import Member
from rookery.v1.session_pb2 import Event, ServerFrame
from shared.contract.groups import is_within
from shared.contract.partitions import partition_of
from tests.messaging.gateway.harness import ALL, PARTITIONS
from tests.messaging.gateway.test_group_delivery import ALL_USERS, Reader, Simulation

LATER = 1_000.0
"""Seconds; all heads are due by then."""


class ChannelReader(Reader):
    """Its users are connected while the partition of each is owned."""

    def __init__(self, simulation: "ChannelSimulation", number: int) -> None:
        super().__init__(simulation.log, simulation.history, simulation.ids[number], ())
        self.clients = simulation.clients

    def assign(self, partition: int) -> None:
        self._disconnect(partition)
        super().assign(partition)

    def release(self, partition: int) -> None:
        super().release(partition)
        self.channels.leave_partitions([partition])
        self._disconnect(partition)

    def received(self, event: Event) -> list[int]:
        return [client.user_id for client in self.clients.values() if event.event_id in client.read()]

    def _disconnect(self, partition: int) -> None:
        for user_id, client in self.clients.items():
            if partition_of(user_id, PARTITIONS) == partition:
                client.disconnect()


class Client:
    """A user's client, which connects again, and follows the channel or opens it."""

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.reader: Reader | None = None
        self.session: Session | None = None
        self.position = -1
        """The offset of the last event."""
        self.events: list[int] = []
        """Ids of the events that this session got."""
        self.sent: list[int] = []
        self.heads: list[int] = []
        self.is_open: bool | None = None
        """None if it does not follow the channel."""
        self.accepted: int | None = None
        """How many events the log had when Follow was accepted last; None if it has to follow again."""

    def connect(self, reader: Reader, *, resumes: bool) -> None:
        self.disconnect()
        self.reader, self.session = reader, reader.connect(self.user_id)
        tail = reader.partitions.tails[partition_of(self.user_id, PARTITIONS)]
        self.session.first_offset = self.position if resumes else tail.next_offset - 1

    def disconnect(self) -> None:
        if self.reader is not None and self.session is not None:
            self.reader.channels.leave(self.session)
            self.reader.registry.remove(self.session)
        self.session, self.is_open, self.events, self.sent, self.heads = None, None, [], [], []

    async def follow(self, chat_id: str, stored: int, *, opens: bool) -> None:
        assert self.reader is not None
        assert self.session is not None
        request = FollowRequest((chat_id,), frozenset([chat_id] if opens else []))
        if await self.reader.follows.follow(Command(self.session, request, 1, 0.0), request) is None:
            self.is_open, self.accepted = opens, stored

    def read(self) -> list[int]:
        """Read the frames; return the ids of the events and heads."""
        before = len(self.events), len(self.heads)
        for each in self.session.take() if self.session is not None else ():
            frame = ServerFrame.FromString(each)
            if frame.HasField("event"):
                self.events.append(frame.event.event_id)
                self.position = frame.event.position.offset
                for member in frame.event.message.control.members:
                    if member.user_id == self.user_id and member.role and not member.former_role:
                        self.accepted = None  # the client follows again when it is added
            elif frame.accepted.event_id:
                self.sent.append(frame.accepted.event_id)
            elif frame.HasField("channel_head"):
                self.heads.append(frame.channel_head.newest_id)
        return [*self.events[before[0] :], *self.heads[before[1] :]]


class ChannelSimulation(Simulation):
    def __init__(self, skews: Sequence[int], *, is_channel: bool) -> None:
        self.clients = {user_id: Client(user_id) for user_id in ALL_USERS}
        self.was_created_as_channel = is_channel
        super().__init__(skews, is_channel=is_channel)

    def start(self, number: int) -> ChannelReader:
        return ChannelReader(self, number)

    async def step(self, action: str, number: int) -> None:
        self.now_ms += 1
        client = self.clients[ALL_USERS[number % len(ALL_USERS)]]
        partition, opens = partition_of(client.user_id, PARTITIONS), number % 4 > 0
        if action == "connect":
            while partition in self.owner(partition).partitions.rebuilding:
                self.owner(partition).read(partition, self.crew.roster)
            client.connect(self.owner(partition), resumes=number % 8 < 4)
            await client.follow(self.crew.chat_id, len(self.stored), opens=opens)
        elif action == "follow" and client.session is not None:
            await client.follow(self.crew.chat_id, len(self.stored), opens=opens)
        elif action == "send" and client.user_id in self.crew.roster and client.session is not None:
            await self.send(client.user_id, *sorted(self.crew.roster.present)[: number % 3])
        elif action == "convert" and not self.crew.roster.is_channel:
            self.control(lambda event_id: self.crew.change(event_id, change_settings=ChangeSettings(is_channel=True)))
        elif action in ("toggle", "read", "record", "restart", "move"):
            await super().step(action, number)
        await trio.sleep(number % 3)
        self.send_heads(trio.current_time())

    @property
    def stored(self) -> list[int]:
        """The ids of the events, in the order in which the log stored them."""
        return list(dict.fromkeys(self.log.published))

    def send_heads(self, now: float) -> None:
        for reader in self.readers:
            for channel in reader.channels.due(now):
                reader.channels.send_heads(channel, now)
        for client in self.clients.values():
            client.read()

    def finish(self) -> None:
        while any([self.owner(partition).read(partition, self.crew.roster) for partition in ALL]):
            pass
        self.send_heads(LATER)
        for user_id, client in self.clients.items():
            partition = partition_of(user_id, PARTITIONS)
            spans = self.crew.roster.members.get(user_id, Member()).spans
            if (
                self.was_created_as_channel
            ):  # copies for members whom the sender of a group did not know may be repeated
                assert len(set(client.events)) == len(client.events), user_id
            if client.is_open and client.accepted is not None:
                due = [each for each in self.stored[client.accepted :] if is_within(spans, each)]
                assert set(due).issubset(client.events + client.sent), user_id
            elif client.is_open is False and client.session is not None and user_id in self.crew.roster:
                records = [decode(each.value) for each in self.log.kept[partition][client.session.first_offset + 1 :]]
                news = [each.event.event_id for each in records if each.to_members]
                readable = [each for each in news if is_within(spans, each) and each not in client.sent]
                assert max([*client.heads, *client.events], default=0) >= max(readable, default=0), user_id
        for client in self.clients.values():
            client.disconnect()
        assert not any(len(reader.channels) for reader in self.readers)


CHANGES = st.sampled_from(["toggle", "toggle", "send", "send", "send", "convert"])
READS = st.sampled_from(["read", "read", "read", "record", "restart", "move"])
CLIENTS = st.sampled_from(["connect", "connect", "follow"])
ACTIONS = CHANGES | READS | CLIENTS


@given(
    st.lists(st.tuples(ACTIONS, st.integers(0, 100)), min_size=10, max_size=60),
    st.tuples(*[st.integers(-5, 5)] * 3),
    st.booleans(),
)
def test_open_sessions_get_the_events_inside_their_spans_and_heads_name_the_newest(
    steps: list[tuple[str, int]], skews: tuple[int, ...], is_channel: bool
) -> None:
    async def play() -> None:
        simulation = ChannelSimulation(skews, is_channel=is_channel)
        for action, number in steps:
            await simulation.step(action, number)
        simulation.finish()

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))

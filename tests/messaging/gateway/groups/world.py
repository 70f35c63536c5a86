"""Gateways on a log in memory, each with its own way to it that a test can freeze or break; and an archive of it."""

import math
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import trio

from messaging.fences import Fences
from messaging.gateway.gateway import Gateway
from rookery.v1.archive_pb2 import Group
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.group_service_pb2 import ChangeGroupRequest
from rookery.v1.session_pb2 import Event
from shared.accounts.people import Relationship, WhoMayStart
from shared.accounts.store import AccountStatus, User
from shared.backplane import Assignment, Backplane, Consumer, Destination, Fetched, Record, StoredRecord
from shared.backplane.protocol import Done
from shared.configuration import LiveConfiguration
from shared.configuration.live import Live
from shared.contract.errors import Refusal, Unavailable
from shared.contract.groups import Roster
from shared.contract.ids import SnowflakeGenerator, wall_clock_ms
from shared.contract.partitions import partition_of
from shared.coordination.ownership import GatewayAddress, LocalDirectory
from shared.signals.memory import LocalSignals
from tests.messaging.gateway.harness import looked_up, stored_group

PARTITIONS = 4

Outcome = str
"""The outcome of a call that publishes an event. `stored`: the log stores all records and acknowledges them. The other
calls fail: the log stores no record (`lost`), all records (`unanswered`), the first record only (`cut`), or the first
record when the test calls `deliver_late` (`late`). A call that is `held` waits for `answer_held` or `fail_held`."""


class Log:
    """Records by partition, as all consumers read them."""

    def __init__(self) -> None:
        self.records: list[list[StoredRecord]] = [[] for _ in range(PARTITIONS)]
        self.envelopes: list[list[Envelope]] = [[] for _ in range(PARTITIONS)]
        self.grown = trio.Event()

    def append(self, record: Record) -> int:
        offset = len(self.records[record.partition])
        self.records[record.partition].append(StoredRecord(record.partition, offset, wall_clock_ms(), record.value))
        self.envelopes[record.partition].append(Envelope.FromString(record.value))
        self.grown.set()
        self.grown = trio.Event()
        return offset

    def counting(self, partition: int, end: int | None = None) -> Iterator[Envelope]:
        """The records of truth that count, and the copies, up to an offset."""
        fences = Fences(0)
        for offset, envelope in enumerate(self.envelopes[partition][:end]):
            if envelope.HasField("fence"):
                fences.read(offset, envelope.fence)
            elif not envelope.truth or fences.admits(envelope.epoch):
                yield envelope

    def controls(self, chat_id: str, partition: int, end: int | None = None) -> list[Event]:
        """The control changes of a group, each once."""
        found = {each.event.event_id: each.event for each in self.counting(partition, end) if each.truth}
        return [event for event in found.values() if event.message.chat_id == chat_id]

    def partitions_of(self, event_id: int) -> set[int]:
        """The partitions with a record of the event."""
        return {each for each in range(PARTITIONS) for found in self.counting(each) if found.event.event_id == event_id}

    def received(self, user_id: int) -> set[int]:
        """The events that the log has for a user."""
        envelopes = self.counting(partition_of(user_id, PARTITIONS))
        return {each.event.event_id for each in envelopes if user_id in each.recipient_ids}


class Way:
    """A gateway's Backplane and Consumer."""

    partitions = PARTITIONS
    destination = Destination("memory", "log")

    def __init__(self, log: Log, world: "World") -> None:
        self.log = log
        self.outcome: Callable[[], Outcome] = lambda: "stored"
        self.is_away = False
        """Whether each call is lost, also one without an event."""
        self.held_until = math.inf
        self.frozen: list[tuple[Sequence[Record], Done]] | None = None
        """While the gateway is frozen, the calls that it makes."""
        self.held: list[tuple[Sequence[Record], Done]] = []
        self._world = world
        self._late: list[Record] = []
        self._positions: dict[int, int] = {}
        self._assignments: list[Assignment] = []

    def assign(self, gained: Collection[int], lost: Collection[int] = ()) -> None:
        self._world.epoch += 1
        self._assignments.append(Assignment(frozenset(gained), frozenset(lost), self._world.epoch))
        self.log.grown.set()
        self.log.grown = trio.Event()

    def freeze(self) -> None:
        """Let the gateway read nothing, and hold its calls back, until it has lost its partitions."""
        self.held_until, self.frozen = -math.inf, []

    def thaw(self) -> None:
        """Store what was held back, after the next owner's fence, and acknowledge it. The gateway has lost all."""
        calls, self.frozen = self.frozen or [], None
        self.assign((), self._positions)
        for records, done in calls:
            done([self.log.append(record) for record in records[:1]])

    def answer_held(self) -> None:
        for records, done in self.held:
            done([self.log.append(record) for record in records])
        self.held.clear()

    def fail_held(self) -> None:
        held, self.held = self.held, []
        for _, done in held:
            done(Unavailable("withdrawn"))

    def deliver_late(self) -> None:
        while self._late:
            self.log.append(self._late.pop(0))

    def publish(self, records: Sequence[Record], done: Done, *, until: float = math.inf) -> None:
        is_event = Envelope.FromString(records[0].value).HasField("event")
        outcome = "lost" if self.is_away else self.outcome() if is_event else "stored"
        if self.frozen is not None and outcome == "stored":
            self.frozen.append((records, done))
            return
        outcome = outcome if trio.current_time() < until else "lost"
        if outcome == "held":
            self.held.append((records, done))
            return
        stored = {"stored": len(records), "unanswered": len(records), "cut": 1}.get(outcome, 0)
        offsets = [self.log.append(record) for record in records[:stored]]
        if outcome == "late":
            self._late.append(records[0])
        result = offsets if outcome == "stored" else Unavailable(outcome)
        trio.lowlevel.current_trio_token().run_sync_soon(done, result)

    def withdraw(self, partitions: Collection[int]) -> None: ...

    @asynccontextmanager
    async def consume(self, group: str, *, gather: float = 0.0) -> AsyncIterator[Consumer]:
        yield cast(Consumer, self)

    async def fetch(self) -> Fetched | Assignment:
        while True:
            await trio.lowlevel.checkpoint()
            if self._assignments:
                assignment = self._assignments.pop(0)
                for partition in assignment.lost:
                    del self._positions[partition]
                self._positions |= dict.fromkeys(assignment.gained, 0)
                return assignment
            news = [] if self.frozen is not None else self._news()
            if news:
                return Fetched(news)
            await self.log.grown.wait()

    def _news(self) -> list[StoredRecord]:
        news = [record for partition, at in self._positions.items() for record in self.log.records[partition][at:]]
        self._positions = {partition: len(self.log.records[partition]) for partition in self._positions}
        return news

    def lag(self) -> Mapping[int, int]:
        return {}

    def seek(self, partition: int, offset: int) -> None:
        self._positions[partition] = offset

    async def end_offset(self, partition: int) -> int:
        await trio.lowlevel.checkpoint()
        return len(self.log.records[partition])

    async def offset_at(self, partition: int, at_ms: int) -> int:
        await trio.lowlevel.checkpoint()
        return min(self._world.tails_begin.get(partition, 0), len(self.log.records[partition]))

    async def committed_offset(self, group: str, partition: int) -> int:
        await trio.lowlevel.checkpoint()
        return self._world.recorded_up_to(partition)


class World:
    """Users 1 to 999, an archive, and gateways."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.log = Log()
        self.epoch = 0
        self.unrecorded = 0
        """The newest records of each partition that the archive has not recorded."""
        self.refusal: Refusal | None = None
        """The answer of the archive to all queries."""
        self.finds = 0
        """How often the archive looked for a client id."""
        self.tails_begin: dict[int, int] = {}
        """By partition, the offset at which new tails begin."""
        self.ways: list[Way] = []
        """Of all gateways."""
        self.deleted: set[int] = set()
        """Deleted accounts."""
        self.suspended: set[int] = set()
        """Suspended accounts."""
        self.reserved: set[int] = set()
        """Users who accept first messages from their connections only."""
        self.blocks: set[tuple[int, int]] = set()
        """Users, each with one whom they block."""
        self.connections: set[tuple[int, int]] = set()
        """Pairs of connected users, the lower id first."""
        self._nursery = nursery
        self._directory = LocalDirectory()

    async def start_gateway(self, owned: Collection[int] = (), *, ahead_ms: int = 0) -> tuple[Gateway, Way]:
        """A gateway, once it owns these partitions. `ahead_ms`: of its clock."""
        way = Way(self.log, self)
        self.ways.append(way)
        number = self.epoch + 1
        gateway = Gateway(
            address=GatewayAddress(f"ws://gateway-{number}/session", f"gateway-{number}:1"),
            backplane=cast(Backplane, way),
            accounts=cast(Any, self),
            verifier=cast(Any, None),
            history=cast(Any, self),
            directory=self._directory,
            live=Live.fixed(LiveConfiguration()),
            ids=SnowflakeGenerator(number, lambda: wall_clock_ms() + ahead_ms),
            signals=LocalSignals(),
        )
        way.assign(owned)
        await self._nursery.start(gateway.log_consumer.run)
        self._nursery.start_soon(gateway.sequencer.run)
        return gateway, way

    # ---- the accounts

    async def users(self, user_ids: Sequence[int]) -> Sequence[User]:
        await trio.lowlevel.checkpoint()
        found = [User(each, f"user{each}", "", "", 1, 1, each in self.deleted) for each in user_ids if each < 1_000]
        return [
            replace(user, who_may_start=WhoMayStart.CONNECTIONS) if user.user_id in self.reserved else user
            for user in found
        ]

    async def account_statuses(self, user_ids: Sequence[int]) -> Mapping[int, AccountStatus]:
        await trio.lowlevel.checkpoint()
        return {each: AccountStatus(suspended_at_ms=1 if each in self.suspended else None) for each in user_ids}

    async def relationships(self, user_id: int, other_ids: Sequence[int]) -> Mapping[int, Relationship]:
        await trio.lowlevel.checkpoint()
        return {each: self._relationship(user_id, each) for each in other_ids}

    def _relationship(self, user_id: int, other_id: int) -> Relationship:
        wants = int((min(user_id, other_id), max(user_id, other_id)) in self.connections)
        blocks, blocked = (int(pair in self.blocks) for pair in ((user_id, other_id), (other_id, user_id)))
        return Relationship(user_id, other_id, wants, wants, blocks, blocked)

    # ---- the archive

    def recorded_up_to(self, partition: int) -> int:
        return max(len(self.log.records[partition]) - self.unrecorded, 0)

    async def find_group(self, chat_id: str, user_ids: Collection[int] = ()) -> Group | Refusal | None:
        await trio.lowlevel.checkpoint()
        if self.refusal:
            return self.refusal
        roster = self.roster(chat_id, self.unrecorded)
        return looked_up(stored_group(roster), user_ids) if roster.version else None

    async def find_sent(self, user_id: int, chat_id: str, client_id: str) -> Event | Refusal | None:
        await trio.lowlevel.checkpoint()
        self.finds += 1
        found = (event for event in self._controls(chat_id, self.unrecorded) if event.message.sender_id == user_id)
        return self.refusal or next((each for each in found if each.message.client_message_id == client_id), None)

    def roster(self, chat_id: str, unrecorded: int = 0) -> Roster:
        """The group as the log has it. Raises ValueError unless its versions are consecutive."""
        roster = Roster.empty(chat_id)
        for event in self._controls(chat_id, unrecorded):
            roster = roster.after(event.message.control)
        return roster

    def _controls(self, chat_id: str, unrecorded: int) -> list[Event]:
        found = []
        for partition, records in enumerate(self.log.records):
            found += self.log.controls(chat_id, partition, max(len(records) - unrecorded, 0))
        return found


async def change(gateway: Gateway, user_id: int, request: ChangeGroupRequest) -> Event | Refusal:
    return await gateway.sequencer.change(user_id, request)


@asynccontextmanager
async def open_world() -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        yield World(nursery)
        nursery.cancel_scope.cancel()

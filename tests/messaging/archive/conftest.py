"""Events and envelopes for the archive's tests, and scripted engines in memory."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from messaging.archive.recorder import GROUP, Recorder
from messaging.archive.store.protocol import Logged
from messaging.archive.store.sqlite.store import SqliteChats, open_sqlite_chats
from messaging.envelopes import fan_out
from rookery.v1.backplane_pb2 import Envelope, Fence
from rookery.v1.session_pb2 import Event
from shared.background import open_background
from shared.backplane import Assignment, Checkpoint, DeadLetter, Destination, Fetched, Record, StoredRecord
from shared.backplane.protocol import Done
from shared.backplane.sqlite.log import SqliteLog, open_sqlite_log
from shared.contract.chats import direct_chat_id
from tests.messaging.archive.store.chats import NOW_MS, Conversation
from tests.waiting import PATIENCE

PARTITIONS = 4
ALICE, BOB, CAROL = 11, 22, 33
CHAT = direct_chat_id(ALICE, BOB)
DESTINATION = Destination("memory", "log")


def new_message(sender: int = ALICE, recipient: int = BOB, body: str = "hello") -> Event:
    return Conversation((sender, recipient)).message(body=body)


def records_of(*events: Event) -> list[Record]:
    """Return the records of these messages, as a gateway publishes them: truth and copies."""
    return [
        record
        for event in events
        for record in fan_out(
            event, sender_id=event.message.sender_id, recipient_ids=[ALICE, BOB], partitions=PARTITIONS
        )
    ]


def truth_of(event: Event, partition: int = 0, epoch: int = 0) -> Record:
    """Return a record of truth without copies, in any partition."""
    return Record(partition, Envelope(event=event, truth=True, epoch=epoch).SerializeToString())


def fence_of(read_up_to: int) -> Record:
    return Record(0, Envelope(fence=Fence(read_up_to=read_up_to)).SerializeToString())


@pytest.fixture
async def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqliteLog]:
    """A real log. Its recorder waits for log and store, however slow the disk is."""
    for deadline in ("STORE_DEADLINE", "LAST_COMMIT_SECONDS"):
        monkeypatch.setattr(f"messaging.archive.recorder.{deadline}", 60.0)
    async with open_sqlite_log(tmp_path / "log.sqlite3", partitions=PARTITIONS, retention_hours=1) as log:
        yield log


@pytest.fixture
async def chats(tmp_path: Path) -> AsyncIterator[SqliteChats]:
    async with open_sqlite_chats(tmp_path / "chats.sqlite3") as chats:
        yield chats


async def record_until(recorder: Recorder, *, events: int = 0, retries: int = 0) -> None:
    """Run the recorder until it has written so many events and retried so often, then stop it."""
    with trio.fail_after(PATIENCE):
        async with open_background() as nursery:
            nursery.start_soon(recorder.run)
            while recorder.statistics().events < events or recorder.statistics().retries < retries:
                await trio.sleep(0.001)


async def committed(log: SqliteLog) -> dict[int, int]:
    """Return the recorders' committed offsets by partition."""
    query = "SELECT partition, offset FROM offsets WHERE consumers = ?"
    rows = await log.read(lambda connection: connection.execute(query, (GROUP,)).fetchall())
    return dict(rows)


Step = Callable[[], Awaitable[None]]


@dataclass
class FakeLog:
    """A Backplane of two partitions in memory, which stores one record a second in each. `step` is awaited wherever a
    real one waits."""

    step: Step = trio.lowlevel.checkpoint
    partitions: int = 2
    destination: Destination = DESTINATION
    records: dict[int, list[StoredRecord]] = field(default_factory=lambda: {0: [], 1: []})
    removed: int = 0
    """Records that each partition has no more, since they were too old."""
    held_until: float = math.inf
    committed: dict[int, int] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    loses: bool = False
    """Whether the consumer loses its partitions after it has fetched all records."""
    committed_when_lost: dict[int, int] | None = None
    published: trio.Event = field(default_factory=trio.Event)
    letters: list[DeadLetter] = field(default_factory=list)

    def publish(self, records: Sequence[Record], done: Done = lambda _: None) -> None:
        for partition, value, _ in records:
            offset = len(self.records[partition])
            self.records[partition].append(StoredRecord(partition, offset, NOW_MS + 1_000 * offset, value))
        self.published.set()
        done([])

    @asynccontextmanager
    async def consume(self, group: str, *, gather: float = 0.0) -> "AsyncIterator[FakeConsumer]":
        yield FakeConsumer(self)

    async def end_offset(self, partition: int) -> int:
        await self.step()
        return len(self.records[partition])

    async def offset_at(self, partition: int, at_ms: int) -> int:
        await self.step()
        return min(self.removed, len(self.records[partition]))

    async def dead_letter(self, letter: DeadLetter) -> None:
        await self.step()
        self.letters.append(letter)


class FakeConsumer:
    """The only member of its group. It fetches three records of a partition at a time."""

    def __init__(self, log: FakeLog) -> None:
        self._log = log
        self._positions: dict[int, int] = {}
        self._lost: frozenset[int] = frozenset()

    @property
    def held_until(self) -> float:
        return self._log.held_until

    async def fetch(self) -> Fetched | Assignment:
        await self._log.step()
        if not self._positions and not self._lost:
            self._positions = {partition: self._log.committed.get(partition, 0) for partition in self._log.records}
            return Assignment(frozenset(self._positions), frozenset())
        if self._lost:
            self._log.committed_when_lost = dict(self._log.committed)
        while True:
            if fetched := self._next_records():
                return fetched
            if self._log.loses and not self._lost:
                self._lost, self._positions = frozenset(self._positions), {}
                return Assignment(frozenset(), self._lost)
            self._log.published = trio.Event()
            await self._log.published.wait()

    def _next_records(self) -> Fetched | None:
        for partition, position in self._positions.items():
            position = position if position <= len(self._log.records[partition]) else 0  # as Kafka does, of another log
            records = self._log.records[partition][max(position, self._log.removed) :][:3]
            if records:
                self._positions[partition] = records[-1].offset + 1
                return Fetched(records)
        return None

    def lag(self) -> dict[int, int]:
        return {part: len(self._log.records[part]) - position for part, position in self._positions.items()}

    def seek(self, partition: int, offset: int) -> None:
        self._positions[partition] = offset

    async def commit(self, checkpoints: Mapping[int, Checkpoint]) -> None:
        await self._log.step()
        for partition, (offset, epoch) in checkpoints.items():
            self._log.committed[partition], self._log.epochs[partition] = offset, epoch
        await self._log.step()

    async def committed(self, partitions: Collection[int]) -> Mapping[int, Checkpoint]:
        await self._log.step()
        committed, epochs = self._log.committed, self._log.epochs
        return {part: Checkpoint(committed[part], epochs[part]) for part in partitions & committed.keys()}


@dataclass
class FakeChats:
    """The part of a ChatStore that a recorder and a health check use, in memory."""

    step: Step = trio.lowlevel.checkpoint
    keeps_offsets: bool = True
    events: dict[int, Event] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)
    """By event id, the time at which the log stored the event."""
    offsets: dict[int, int] = field(default_factory=dict)
    stored: dict[int, int] = field(default_factory=dict)
    """The watermarks."""
    batches: list[list[int]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    async def record(self, events: Sequence[Logged], offsets: Mapping[int, int]) -> None:
        await self.step()
        if self.failures:
            raise self.failures.pop(0)
        if any(event.message.chat_id == "bad" for event, _ in events):
            raise ValueError("chat_id is bad")
        self.batches.append([event.event_id for event, _ in events])
        self.events |= {event.event_id: event for event, _ in events}
        self.times |= {event.event_id: at_ms for event, at_ms in events}
        self.offsets |= offsets
        await self.step()

    async def recorded_offsets(self) -> Mapping[int, int] | None:
        await self.step()
        return dict(self.offsets) if self.keeps_offsets else None

    async def raise_watermarks(self, watermarks: Mapping[int, int]) -> None:
        await self.step()
        self.stored |= {part: max(at_ms, self.stored.get(part, 0)) for part, at_ms in watermarks.items()}

    async def watermarks(self) -> Mapping[int, int]:
        await self.step()
        return dict(self.stored)

    async def get_message(self, chat_id: str, message_id: int) -> None:
        await self.step()

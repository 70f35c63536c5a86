"""Records the log: reads the records of truth in batches, gives them to the store, then commits how far it has come.

Nothing is skipped and nothing is lost. While the store does not answer, the batch in hand is tried again and again, and
the log keeps what follows. A batch that was written but not committed is written again, which changes nothing.
"""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar

import structlog
import trio
from google.protobuf.message import DecodeError

from messaging.archive.store.protocol import ChatStore
from messaging.archive.tracing import Spans, recording
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.session_pb2 import Event
from shared.background import open_background
from shared.backplane import Assignment, Backplane, Consumer, DeadLetter, Fetched, StoredRecord
from shared.contract.errors import Unavailable
from shared.telemetry.traces import current, fail

GROUP = "archive"
"""The consumer group that divides the partitions among the archives."""

MAX_BATCH = 1_000
"""Records recorded together at most: some 2 ms to read in the loop, some 25 ms to write in the store's thread."""

GATHER_SECONDS = 0.1
"""From one batch to the next at the least, unless more than one waits: a message that comes alone is recorded at once,
a busy log in bunches. In SQLite a message costs 25 microseconds in a batch of 200, and 200 in one of its own."""

COMMIT_SECONDS = 1.0
"""From one commit to the next: what is read again at most after a crash, where the store keeps no offsets itself."""

LAST_COMMIT_SECONDS = 1.0
"""How long a recorder that stops waits for its last commit: without it, a little is read again."""

STORE_DEADLINE = 5.0
"""Seconds that the store may take to answer. What it then does late does no harm."""

FIRST_PAUSE = 0.1
"""Seconds before the first retry; twice as long before each further one."""

MAX_PAUSE = 5.0
"""Seconds that it grows to, so that recording goes on soon after the store is back."""

LOG_PAUSE = 1.0
"""Seconds before joining the group again when the log did not answer."""

_log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class RecorderStatistics:
    """What a recorder has done since it started."""

    events: int
    """Events given to the store."""
    batches: int
    """Times that the store was given some."""
    dead_letters: int
    """Records that can't be read, or whose event the store can't take: they are among the dead letters."""
    retries: int
    """Times that the store or the log did not answer."""
    lag: Mapping[int, int]
    """By partition that this recorder has, how many records wait in the log, as far as is known."""


class Recorder:
    """One for each archive."""

    def __init__(self, backplane: Backplane, chats: ChatStore) -> None:
        self._backplane = backplane
        self._chats = chats
        self._recorded: dict[int, int] = {}  # by partition that this recorder has, the next offset to record
        self._committed: dict[int, int] = {}
        self._events = 0
        self._batches = 0
        self._set_aside = 0
        self._consumer: Consumer | None = None
        self._retries = 0
        self._spans: Spans = {}  # of the few in hand that are traced

    def statistics(self) -> RecorderStatistics:
        lag = {} if self._consumer is None else self._consumer.lag()
        return RecorderStatistics(self._events, self._batches, self._set_aside, self._retries, lag)

    async def run(self) -> None:
        """Record until cancelled; then the batch in hand is still recorded, and what was recorded is committed."""
        while True:
            try:
                async with self._backplane.consume(GROUP, gather=GATHER_SECONDS) as self._consumer:
                    await self._follow(self._consumer)
            except Unavailable as error:
                await self._wait_for("the log", error, LOG_PAUSE)
            finally:
                self._consumer = None

    async def _follow(self, consumer: Consumer) -> None:
        self._recorded.clear()
        self._committed.clear()
        async with open_background() as nursery:
            nursery.start_soon(self._commit_now_and_then, consumer)
            try:
                while True:
                    match await consumer.fetch():
                        case Assignment(gained, lost):
                            await self._reassign(consumer, gained, lost)
                        case Fetched(records):
                            await self._take(records)
            finally:
                with trio.move_on_after(LAST_COMMIT_SECONDS, shield=True):
                    await self._commit(consumer)

    async def _reassign(self, consumer: Consumer, gained: frozenset[int], lost: frozenset[int]) -> None:
        """Let go of what is lost, and begin what is gained where the store says; else where the group committed."""
        await self._commit(consumer)
        for partition in lost:
            self._recorded.pop(partition, None)
            self._committed.pop(partition, None)
        offsets = await self._persist(self._chats.recorded_offsets) if gained else {}
        for partition in gained & offsets.keys():
            end = await self._backplane.end_offset(partition)
            if offsets[partition] <= end:
                consumer.seek(partition, offsets[partition])
            else:
                _log.error("the log was replaced", partition=partition, recorded=offsets[partition], end=end)

    async def _take(self, records: Sequence[StoredRecord]) -> None:
        """Record all of them, and let more gather if they were few."""
        began = trio.current_time()
        for start in range(0, len(records), MAX_BATCH):
            await self._record(records[start : start + MAX_BATCH])
        if len(records) < MAX_BATCH:
            await trio.sleep_until(began + GATHER_SECONDS)

    async def _record(self, records: Sequence[StoredRecord]) -> None:
        offsets = {record.partition: record.offset + 1 for record in records}
        taken = await self._read(records)
        if any(record.traceparent for record, _ in taken):
            with recording(self._backplane.destination, GROUP, taken) as self._spans:
                await self._write(taken, offsets)
            self._spans = {}
        else:
            await self._write(taken, offsets)
        self._recorded.update(offsets)

    async def _read(self, records: Sequence[StoredRecord]) -> list[tuple[StoredRecord, Event]]:
        """The records of truth, with their events."""
        taken: list[tuple[StoredRecord, Event]] = []
        for record in records:
            try:
                envelope = Envelope.FromString(record.value)
            except DecodeError as error:
                await self._put_aside(record, error)
                continue
            if envelope.truth and envelope.HasField("event"):
                taken.append((record, envelope.event))
        return taken

    async def _write(self, taken: Sequence[tuple[StoredRecord, Event]], offsets: Mapping[int, int]) -> None:
        """Give the events to the store. One that it can't take is found by halves, and set aside."""
        events = [event for _, event in taken]
        spans = [self._spans[record] for record, _ in taken if record in self._spans] if self._spans else ()
        try:
            with current(*spans) if spans else nullcontext():
                await self._persist(lambda: self._chats.record(events, offsets))
        except ValueError as error:
            if not taken:
                raise
            if len(taken) == 1:
                await self._put_aside(taken[0][0], error)
                await self._write([], offsets)
            else:
                middle = len(taken) // 2
                await self._write(taken[:middle], {})
                await self._write(taken[middle:], offsets)
        else:
            self._events += len(events)
            self._batches += 1

    async def _persist(self, ask: Callable[[], Awaitable[Answer]], *, engine: str = "the store") -> Answer:
        """Ask the store, or another engine, until it answers. Raises the ValueError of an event that it can't take.

        An attempt under way is not cancelled, since the store would go on with it all the same.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                with trio.CancelScope(shield=True), trio.fail_after(STORE_DEADLINE):
                    return await ask()
            except ValueError:
                raise
            except Exception as error:  # whatever is wrong with the engine, the place in the log is kept
                await self._wait_for(engine, error, pause)
                pause = min(2 * pause, MAX_PAUSE)

    async def _wait_for(self, engine: str, error: Exception, pause: float) -> None:
        """Wait before the next attempt: somewhat at random, so that many recorders do not come at once."""
        self._retries += 1
        _log.warning(f"{engine} does not answer", reason=f"{type(error).__name__}: {error}", retry_seconds=pause)
        await trio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret

    async def _put_aside(self, record: StoredRecord, error: Exception) -> None:
        """Keep a poison record among the dead letters, and go on behind it."""
        _log.error("poison record", partition=record.partition, offset=record.offset, reason=str(error))
        if record in self._spans:
            fail(self._spans[record], "poison")
        letter = DeadLetter(record, GROUP, str(error))
        await self._persist(lambda: self._backplane.dead_letter(letter), engine="the log")
        self._set_aside += 1

    async def _commit_now_and_then(self, consumer: Consumer) -> None:
        while True:
            await trio.sleep(COMMIT_SECONDS)
            await self._commit(consumer)

    async def _commit(self, consumer: Consumer) -> None:
        """Commit what is recorded. If the log does not answer, a later commit says it too."""
        news = dict(self._recorded.items() - self._committed.items())
        if not news:
            return
        try:
            await consumer.commit(news)
        except Unavailable as error:
            _log.warning("the log takes no commit", reason=str(error))
        else:
            self._committed.update(news)

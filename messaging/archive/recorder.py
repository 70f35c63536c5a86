"""Records the log: reads the records of truth in batches, writes them to the store, then commits their offsets.

Nothing is skipped and nothing is lost. While the store does not answer, the current batch is retried, and the log keeps
the records after it. A batch that was written but not committed is written again, which changes nothing.
"""

import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar, assert_never

import structlog
import trio
from google.protobuf.message import DecodeError

from messaging.archive.store.protocol import ChatStore, Logged
from messaging.archive.tracing import Recordable, Spans, recording
from messaging.envelopes import decode
from messaging.fences import Fences
from rookery.v1.session_pb2 import Event
from shared.archive import ARCHIVE_GROUP
from shared.background import open_background
from shared.backplane import Assignment, Backplane, Checkpoint, Consumer, DeadLetter, Fetched, StoredRecord
from shared.contract.errors import Unavailable
from shared.contract.ids import wall_clock_ms
from shared.telemetry.metrics.catalogue import LATE_RECORDS
from shared.telemetry.traces import current, fail

GROUP = ARCHIVE_GROUP
"""The consumer group that divides the partitions among the archives."""

MAX_BATCH = 1_000
"""Records in one batch: about 2 ms to decode in the loop, about 25 ms to write in the store's thread."""

MAX_WRITE_BYTES = 128 * 1024
"""Most bytes of events in one write, as records, unless it has one event: a larger batch is written in parts. A
control change that adds 999 members has 30 KB and takes Cassandra 0.1 to 0.25 seconds, or 0.7 on a busy machine, of the
5 of STORE_DEADLINE. A message has some 300 bytes."""

GATHER_SECONDS = 0.1
"""Least time from one batch to the next, unless a full batch waits: a single message is recorded at once, a busy log in
batches. In SQLite a message costs 25 microseconds in a batch of 200, and 200 microseconds alone."""

COMMIT_SECONDS = 1.0
"""Seconds from one commit to the next: records of this time are read again after a crash, if the store keeps no
offsets."""

LAST_COMMIT_SECONDS = 1.0
"""Deadline of the last commit of a recorder that stops: without that commit, the last records are read again."""

STORE_DEADLINE = 5.0
"""Seconds for one attempt. A write that the store completes later is harmless."""

FIRST_PAUSE = 0.1
"""Seconds before the first retry; doubled for each further one."""

MAX_PAUSE = 5.0
"""The longest pause, so that recording resumes soon after the store is back."""

IDLE_SECONDS = 5.0
"""Seconds from one advance of the watermark of an idle partition to the next, which may take COMMIT_SECONDS more."""

IDLE_MARGIN_MS = 5_000
"""The watermark of an idle partition stays this far behind the clock: brokers' clocks, which stamp the next record,
differ from it."""

LOG_PAUSE = 1.0
"""Seconds before joining the group again after the log did not answer."""

_log = structlog.get_logger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class RecorderStatistics:
    """Counts of a recorder since it started."""

    events: int
    """Events written to the store."""
    batches: int
    """Batches written to the store."""
    dead_letters: int
    """Records that can't be decoded, or whose event the store rejects."""
    retries: int
    """Attempts that the store or the log did not answer."""
    lag: Mapping[int, int]
    """Records that wait in the log, by assigned partition, as far as is known."""
    watermarks: Mapping[int, int]
    """By assigned partition, a time of the log (milliseconds since 1970) up to which its events are recorded."""


class Recorder:
    """The recorder of an archive."""

    def __init__(self, backplane: Backplane, chats: ChatStore) -> None:
        self._backplane = backplane
        self._chats = chats
        # All by assigned partition. The next offset to record, and the epoch that is in force there:
        self._recorded: dict[int, Checkpoint] = {}
        self._committed: dict[int, Checkpoint] = {}
        self._inherited: dict[int, Checkpoint] = {}  # as committed when the partition was gained
        self._fences: dict[int, Fences] = {}
        self._watermarks: dict[int, int] = {}
        self._stored_watermarks: dict[int, int] = {}
        self._in_batch: Collection[int] = ()  # the partitions of the current batch
        self._events = 0
        self._batches = 0
        self._dead_letters = 0
        self._consumer: Consumer | None = None
        self._retries = 0
        self._spans: Spans = {}  # of the traced records in the current batch

    def statistics(self) -> RecorderStatistics:
        lag = {} if self._consumer is None else self._consumer.lag()
        watermarks = dict(self._watermarks)
        return RecorderStatistics(self._events, self._batches, self._dead_letters, self._retries, lag, watermarks)

    @property
    def has_first_partition(self) -> bool:
        """Whether partition 0 is assigned: of all archives, one has it."""
        return 0 in self._watermarks

    async def run(self) -> None:
        """Record until cancelled; then finish the current batch and commit."""
        while True:
            try:
                async with self._backplane.consume(GROUP, gather=GATHER_SECONDS) as self._consumer:
                    await self._consume(self._consumer)
            except Unavailable as error:
                await self._pause("log", error, LOG_PAUSE)
            finally:
                self._consumer = None

    async def _consume(self, consumer: Consumer) -> None:
        self._forget(range(self._backplane.partitions))
        async with open_background() as nursery:
            nursery.start_soon(self._commit_regularly, consumer)
            nursery.start_soon(self._advance_regularly, consumer)
            try:
                while True:
                    match await consumer.fetch():
                        case Assignment(gained, lost):
                            await self._reassign(consumer, gained, lost)
                        case Fetched(records):
                            await self._record_all(records)
                        case other:
                            assert_never(other)
            finally:
                with trio.move_on_after(LAST_COMMIT_SECONDS, shield=True):
                    await self._commit(consumer)

    def _forget(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            for known in (self._recorded, self._committed, self._inherited, self._fences):
                known.pop(partition, None)
            for watermarks in (self._watermarks, self._stored_watermarks):
                watermarks.pop(partition, None)

    async def _reassign(self, consumer: Consumer, gained: frozenset[int], lost: frozenset[int]) -> None:
        """Drop the lost partitions, and seek in the gained ones to the store's offsets, if it keeps any."""
        await self._commit(consumer)
        self._forget(gained | lost)
        if not gained:
            return
        self._inherited.update(await consumer.committed(gained))
        watermarks = await self._persist(self._chats.watermarks)
        offsets = await self._persist(self._chats.recorded_offsets)
        if offsets is not None:
            await self._seek(consumer, {partition: offsets.get(partition, 0) for partition in gained})
        for partition in gained:  # at last: the watermark of a partition may rise from here on
            self._watermarks[partition] = self._stored_watermarks[partition] = watermarks.get(partition, 0)

    async def _seek(self, consumer: Consumer, offsets: Mapping[int, int]) -> None:
        """Continue at the store's offsets, except where the log was replaced."""
        for partition, offset in offsets.items():
            end = await self._backplane.end_offset(partition)
            if offset <= end:
                consumer.seek(partition, offset)
                # Committed: the log's own checkpoint may be older, after a crash; and without one, the embedded log
                # removes records that are not recorded.
                self._recorded[partition] = self._checkpoint_at(partition, offset)
            else:
                _log.error("log_replaced", partition=partition, recorded=offset, end=end)

    async def _record_all(self, records: Sequence[StoredRecord]) -> None:
        """Record the records in batches; after a small batch, wait for more records to gather."""
        began = trio.current_time()
        for start in range(0, len(records), MAX_BATCH):
            await self._record(records[start : start + MAX_BATCH])
        if len(records) < MAX_BATCH:
            await trio.sleep_until(began + GATHER_SECONDS)

    async def _record(self, records: Sequence[StoredRecord]) -> None:
        offsets = {record.partition: record.offset + 1 for record in records}
        self._in_batch = offsets.keys()
        events = await self._decode(records)
        recorded = {part: Checkpoint(offset, self._fences[part].epoch) for part, offset in offsets.items()}
        if any(record.traceparent for record, _ in events):
            with recording(self._backplane.destination, GROUP, events) as self._spans:
                await self._write_all(events, offsets)
            self._spans = {}
        else:
            await self._write_all(events, offsets)
        self._recorded.update(recorded)
        self._in_batch = ()
        for part, at_ms in {record.partition: record.at_ms for record in records}.items():
            self._raise_watermark(part, at_ms - 1)  # the log may store more in the same millisecond

    async def _decode(self, records: Sequence[StoredRecord]) -> list[tuple[StoredRecord, Event]]:
        """The records of truth that count, with their events. Records that can't be decoded become dead letters."""
        events: list[tuple[StoredRecord, Event]] = []
        for record in records:
            fences = self._fences.get(record.partition)
            if fences is None or record.offset < fences.epoch:  # no epoch of this log is higher: it was replaced
                fences = self._fences[record.partition] = Fences(*self._checkpoint_at(record.partition, record.offset))
            try:
                envelope = decode(record.value)
            except DecodeError as error:
                await self._dead_letter(record, error)
                continue
            if envelope.truth and envelope.HasField("event"):
                if fences.admits(envelope.epoch):
                    events.append((record, envelope.event))
                else:
                    LATE_RECORDS.inc(GROUP)
                    offset, epoch = record.offset, envelope.epoch
                    _log.info("late_record_dropped", partition=record.partition, offset=offset, epoch=epoch)
            elif envelope.HasField("fence"):
                fences.read(record.offset, envelope.fence)
        return events

    def _checkpoint_at(self, partition: int, offset: int) -> Checkpoint:
        """The checkpoint at the offset where recording begins. Its epoch is known only if the inherited checkpoint has
        this offset."""
        inherited = self._inherited.get(partition)
        return inherited if inherited is not None and inherited.offset == offset else Checkpoint(offset)

    async def _write_all(self, recordable: Recordable, offsets: Mapping[int, int]) -> None:
        """Write the events to the store in parts, the offsets with the last one."""
        *parts, last = _parts(recordable)
        for part in parts:
            await self._write(part, {})
        await self._write(last, offsets)

    async def _write(self, recordable: Recordable, offsets: Mapping[int, int]) -> None:
        """Write the events to the store, in halves if they take it too long. An event that it rejects is found by
        bisection and becomes a dead letter."""
        # Clients may have read up to the watermark. If the log's clock is behind it, the event is as late as that.
        watermarks = self._watermarks
        events = [Logged(event, max(record.at_ms, watermarks[record.partition] + 1)) for record, event in recordable]
        spans = [self._spans[record] for record, _ in recordable if record in self._spans] if self._spans else ()
        try:
            with current(*spans) if spans else nullcontext():
                await self._persist(lambda: self._chats.record(events, offsets), is_divisible=len(events) > 1)
        except ValueError as error:
            if not recordable:
                raise
            if len(recordable) == 1:
                await self._dead_letter(recordable[0][0], error)
                await self._write([], offsets)
            else:
                await self._write_halves(recordable, offsets)
        except trio.TooSlowError:
            await self._write_halves(recordable, offsets)
        else:
            self._events += len(events)
            self._batches += 1

    async def _write_halves(self, recordable: Recordable, offsets: Mapping[int, int]) -> None:
        middle = len(recordable) // 2
        await self._write(recordable[:middle], {})
        await self._write(recordable[middle:], offsets)

    async def _persist(
        self, operation: Callable[[], Awaitable[Result]], *, engine: str = "store", is_divisible: bool = False
    ) -> Result:
        """Retry an operation of the store, or of another engine, until it succeeds. Raises the ValueError of an invalid
        event, and TooSlowError if one that `is_divisible` has not ended in time: in parts it may.

        A running attempt is not cancelled, since the store would complete it anyway.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                with trio.CancelScope(shield=True), trio.fail_after(STORE_DEADLINE):
                    return await operation()
            except ValueError:
                raise
            except Exception as error:  # supervises the engine: no fault of it may advance the position in the log
                await self._pause(engine, error, pause)
                if is_divisible and isinstance(error, trio.TooSlowError):
                    raise
                pause = min(2 * pause, MAX_PAUSE)

    async def _pause(self, engine: str, error: Exception, pause: float) -> None:
        """Wait before the next attempt, with jitter, so that many recorders do not retry at once."""
        self._retries += 1
        reason = f"{type(error).__name__}: {error}"
        _log.warning("engine_unavailable", engine=engine, reason=reason, retry_seconds=pause)
        await trio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret

    async def _dead_letter(self, record: StoredRecord, error: Exception) -> None:
        """Write a record that can't be recorded to the dead letters."""
        _log.error("record_dead_lettered", partition=record.partition, offset=record.offset, reason=str(error))
        if record in self._spans:
            fail(self._spans[record], "poison")
        letter = DeadLetter(record, GROUP, str(error))
        await self._persist(lambda: self._backplane.dead_letter(letter), engine="log")
        self._dead_letters += 1

    def _raise_watermark(self, partition: int, at_ms: int) -> None:
        self._watermarks[partition] = max(self._watermarks[partition], at_ms)

    async def _advance_regularly(self, consumer: Consumer) -> None:
        """Raise the watermarks of partitions to which nothing is published, since they would keep all others back."""
        while True:
            await trio.sleep(COMMIT_SECONDS)
            due_ms = wall_clock_ms() - IDLE_MARGIN_MS - int(IDLE_SECONDS * 1000)
            for partition in [partition for partition, at_ms in self._watermarks.items() if at_ms < due_ms]:
                await self._advance(consumer, partition)

    async def _advance(self, consumer: Consumer, partition: int) -> None:
        """Raise the watermark of a partition nearly to the present, if everything in the log is recorded."""
        now_ms = wall_clock_ms()
        try:
            end = await self._backplane.end_offset(partition)
            recorded = self._next_offset(partition)
            if recorded < end:  # unless the log has removed the records up to its end, since they were too old
                recorded = await self._backplane.offset_at(partition, 0)
        except Unavailable:
            return  # the next advance tries again
        # No await from here on. A batch of later records may be under way, which does not regard a higher watermark.
        is_idle = recorded == end and partition in self._watermarks and partition not in self._in_batch
        if is_idle and trio.current_time() < consumer.held_until:
            self._raise_watermark(partition, now_ms - IDLE_MARGIN_MS)

    def _next_offset(self, partition: int) -> int:
        known = self._recorded.get(partition) or self._inherited.get(partition)
        return known.offset if known else 0

    async def _commit_regularly(self, consumer: Consumer) -> None:
        while True:
            await trio.sleep(COMMIT_SECONDS)
            await self._commit(consumer)

    async def _commit(self, consumer: Consumer) -> None:
        """Commit the recorded offsets, and store the watermarks. A later commit includes both if an engine does not
        answer."""
        await self._commit_offsets(consumer)
        if trio.current_time() < consumer.held_until:  # else the next owner may have read the watermarks
            await self._store_watermarks()

    async def _store_watermarks(self) -> None:
        raised = dict(self._watermarks.items() - self._stored_watermarks.items())
        if not raised:
            return
        try:
            with trio.fail_after(STORE_DEADLINE):
                await self._chats.raise_watermarks(raised)
        except Exception as error:  # supervises the engine, as `_persist` does
            _log.warning("watermarks_not_stored", reason=f"{type(error).__name__}: {error}")
        else:
            self._stored_watermarks.update(raised)

    async def _commit_offsets(self, consumer: Consumer) -> None:
        offsets = dict(self._recorded.items() - self._committed.items())
        if not offsets:
            return
        try:
            await consumer.commit(offsets)
        except Unavailable as error:
            _log.warning("commit_failed", reason=str(error))
        else:
            self._committed.update(offsets)


def _parts(recordable: Recordable) -> Iterator[Recordable]:
    """The events in parts of at most MAX_WRITE_BYTES; one part at least."""
    start = size = 0
    for end, (record, _) in enumerate(recordable):
        size += len(record.value)
        if size > MAX_WRITE_BYTES and end > start:
            yield recordable[start:end]
            start, size = end, len(record.value)
    yield recordable[start:]

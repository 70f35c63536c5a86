"""The embedded log: partitions in one SQLite file, for a platform that is one process.

Many publishers share one fsync: a thread appends everything that has gathered in one transaction, as one row for each
partition. What it appended is handed to consumers that are up to date from memory; one that is behind reads the file.
"""

import fcntl
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio

from shared import sqlite
from shared.background import open_background
from shared.backplane.protocol import (
    MAX_RECORD_BYTES,
    Assignment,
    Done,
    Fetched,
    Record,
    StoredRecord,
)
from shared.bridge import BatchThread, BridgeStatistics, open_batch_thread
from shared.errors import Unavailable
from shared.ids import wall_clock_ms

MAX_BUFFERED = 20_000
"""Records that wait in memory for one consumer at most; past that it reads them from the file again."""

READ_AHEAD = 50
"""Segments read from the file at once."""

SEGMENT_BYTES = 256 * 1024
"""A segment that has so many bytes is full; one record may take it over that by MAX_RECORD_BYTES."""

MAX_PENDING_BYTES = 256 * 1024 * 1024
"""Bytes that may wait to be written at most, before publishers are refused."""

TRIM_INTERVAL = 60.0
"""Seconds between looks for records that are old and read by everyone."""

TRIM_SEGMENTS = 2_000
"""Segments removed in one step at most, so that a publisher never waits long behind it."""

MIGRATIONS = (
    """
    CREATE TABLE segments ( -- consecutive records of one partition that were written together
        place INTEGER PRIMARY KEY, -- partition << 48 | first offset: one b-tree, in which each partition is one run
        records INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        record_values BLOB NOT NULL -- a MessagePack array
    );
    CREATE TABLE offsets (
        consumers TEXT NOT NULL,
        partition INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        PRIMARY KEY (consumers, partition)
    ) WITHOUT ROWID;
    CREATE TABLE shape (partitions INTEGER NOT NULL)
    """,
)

_Work = Callable[[sqlite3.Connection], Any]
_Job = Sequence[Record] | _Work


class LogInUse(Exception):
    """Another process has this data folder's log open. Stop it first, or choose another folder."""


class EmbeddedLog:
    """A Backplane in one file. Made by `open_embedded_log`."""

    def __init__(self, partitions: int, path: Path) -> None:
        self._partitions = partitions
        self._path = path
        self._ends: dict[int, int] = dict.fromkeys(range(partitions), 0)
        self._writer_ends: dict[int, int] = {}
        self._pending_bytes = 0
        self._groups: dict[str, _Group] = {}
        self._token = trio.lowlevel.current_trio_token()
        self._reading = trio.CapacityLimiter(1)
        self._writer: BatchThread[_Job, Any]
        self._reader: sqlite3.Connection

    @property
    def partitions(self) -> int:
        return self._partitions

    def statistics(self) -> BridgeStatistics:
        return self._writer.statistics()

    def publish(self, records: Sequence[Record], done: Done) -> None:
        size = 0
        for partition, value in records:
            if not 0 <= partition < self._partitions:
                raise ValueError(f"partition must be 0 to {self._partitions - 1}, not {partition}")
            if len(value) > MAX_RECORD_BYTES:
                raise ValueError(f"a record may have {MAX_RECORD_BYTES} bytes at most, not {len(value)}")
            size += len(value)
        if self._pending_bytes > MAX_PENDING_BYTES:
            raise Unavailable(f"the log is {MAX_PENDING_BYTES} bytes behind")
        self._writer.submit(records, done)
        self._pending_bytes += size

    @asynccontextmanager
    async def consume(self, group: str) -> AsyncIterator["EmbeddedConsumer"]:
        members = self._groups.setdefault(group, _Group(self._partitions))
        consumer = EmbeddedConsumer(self, group, members)
        members.join(consumer)
        try:
            yield consumer
        finally:
            members.leave(consumer)

    async def end_offset(self, partition: int) -> int:
        await trio.lowlevel.checkpoint()
        return self._ends[partition]

    async def offset_at(self, partition: int, at_ms: int) -> int:
        low, end = partition << 48, self._ends[partition]
        query = "SELECT min(place) FROM segments WHERE place >= ? AND place < ? AND at_ms >= ?"
        rows = await self.read(query, (low, low + end, at_ms))
        return end if rows[0][0] is None else int(rows[0][0]) - low

    async def read(self, query: str, values: Sequence[object]) -> list[Any]:
        """Rows of the file, read aside from the writer. Raises Unavailable."""

        def run() -> list[Any]:
            try:
                return self._reader.execute(query, values).fetchall()
            except sqlite3.OperationalError as error:
                raise Unavailable(f"the log can't be read: {error}") from error

        return await trio.to_thread.run_sync(run, limiter=self._reading)

    async def work(self, work: _Work) -> Any:
        """Do something in the writer's next transaction. Raises Unavailable."""
        return await self._writer.call(work)

    def end_of(self, partition: int) -> int:
        """The offset that follows the newest record which consumers can have."""
        return self._ends[partition]

    # ---- in the writer's thread

    def _open(self, connection: sqlite3.Connection) -> None:
        sqlite.migrate(connection, MIGRATIONS)
        shape = connection.execute("SELECT partitions FROM shape").fetchone()
        if shape is None:
            connection.execute("INSERT INTO shape VALUES (?)", (self._partitions,))
        elif shape[0] != self._partitions:
            raise Unavailable(
                f"the log in {self._path.parent} was made with {shape[0]} partitions, `log.partitions` says "
                f"{self._partitions}: the number is fixed when the data folder is made"
            )
        for partition in range(self._partitions):
            low = partition << 48
            query = "SELECT place + records FROM segments WHERE place >= ? AND place < ? ORDER BY place DESC LIMIT 1"
            last = connection.execute(query, (low, low + (1 << 48))).fetchone()
            self._writer_ends[partition] = 0 if last is None else last[0] - low
        self._ends = dict(self._writer_ends)

    def _append(self, connection: sqlite3.Connection, jobs: list[_Job]) -> list[Any]:
        """One transaction with all the jobs: first the records of all publishers, then other work."""
        before = dict(self._writer_ends)
        stored, results = self._place(jobs, wall_clock_ms())
        size = sum(len(record.value) for record in stored)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO segments VALUES (?, ?, ?, ?)", segments_of(stored))
            for index, job in enumerate(jobs):
                if callable(job):
                    results[index] = job(connection)
            connection.execute("COMMIT")
        except Exception as error:  # disk full, an input or output error: the publishers must hear of it
            self._writer_ends = before
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._token.run_sync_soon(self._settle, size, [])
            return [Unavailable(f"the log can't be written: {error}")] * len(jobs)
        if stored:
            self._token.run_sync_soon(self._settle, size, stored)
        return results

    def _place(self, jobs: list[_Job], at_ms: int) -> tuple[list[StoredRecord], list[Any]]:
        """Give each record its offset; the records, and for each job the offsets of its own."""
        stored: list[StoredRecord] = []
        results: list[Any] = []
        ends = self._writer_ends
        for job in jobs:
            offsets = []
            for partition, value in () if callable(job) else job:
                offset = ends[partition]
                ends[partition] = offset + 1
                offsets.append(offset)
                stored.append(StoredRecord(partition, offset, at_ms, value))
            results.append(offsets)
        return stored, results

    # ---- in the Trio thread again

    def _settle(self, size: int, records: list[StoredRecord]) -> None:
        """So many bytes wait no more; what is on disk now goes to the consumers, before the publishers hear of it."""
        self._pending_bytes -= size
        for record in records:
            self._ends[record.partition] = record.offset + 1
        for group in self._groups.values():
            for member in group.members:
                member.offer(records)

    async def _trim_for_ever(self, retention_ms: int) -> None:
        while True:
            await trio.sleep(TRIM_INTERVAL)
            try:
                await self.trim(wall_clock_ms() - retention_ms)
            except Unavailable:
                continue  # the disk is full or failing: publishers hear of it, and the next look may succeed

    async def trim(self, older_than_ms: int) -> None:
        """Remove records older than the moment that every group has read; a partition's newest one always stays."""

        def remove(connection: sqlite3.Connection) -> int:
            removed = 0
            for partition, end in self._writer_ends.items():
                query = "SELECT min(offset) FROM offsets WHERE partition = ?"
                (read,) = connection.execute(query, (partition,)).fetchone()
                low = partition << 48
                limit = low + min(end - 1, end if read is None else read)
                removed += connection.execute(
                    "DELETE FROM segments WHERE place IN (SELECT place FROM segments"
                    " WHERE place >= ? AND place + records <= ? AND place < ? AND at_ms < ? LIMIT ?)",
                    (low, limit, limit, older_than_ms, TRIM_SEGMENTS),
                ).rowcount
            return removed

        while await self.work(remove) >= TRIM_SEGMENTS:
            pass


def segments_of(records: list[StoredRecord]) -> list[tuple[int, int, int, bytes]]:
    """The rows of records that are written together: for each partition, one segment or more."""
    segments: list[tuple[StoredRecord, list[bytes]]] = []
    open_segments: dict[int, tuple[list[bytes], int]] = {}
    for record in records:
        values, size = open_segments.get(record.partition, ([], SEGMENT_BYTES))
        if size >= SEGMENT_BYTES:
            values, size = [], 0
            segments.append((record, values))
        values.append(record.value)
        open_segments[record.partition] = values, size + len(record.value)
    return [
        (first.partition << 48 | first.offset, len(values), first.at_ms, msgspec.msgpack.encode(values))
        for first, values in segments
    ]


def records_of(partition: int, place: int, at_ms: int, values: bytes) -> list[StoredRecord]:
    """The records of a segment's row."""
    first = place - (partition << 48)
    return [StoredRecord(partition, first + i, at_ms, value) for i, value in enumerate(_decode_values(values))]


_decode_values = msgspec.msgpack.Decoder(list[bytes]).decode


class EmbeddedConsumer:
    """A Consumer of the embedded log. Made by `EmbeddedLog.consume`."""

    def __init__(self, log: EmbeddedLog, group: str, members: "_Group") -> None:
        self._log = log
        self._group = group
        self._members = members
        self._positions: dict[int, int] = {}
        self._live: set[int] = set()  # partitions whose new records come from memory
        self._buffer: deque[StoredRecord] = deque()
        self._gained: set[int] = set()
        self._lost: set[int] = set()
        self._released: frozenset[int] = frozenset()
        self._fetched_once = False
        self._wake = trio.Event()

    async def fetch(self) -> Fetched | Assignment:
        self._members.release(self._released)
        self._released = frozenset()
        await trio.lowlevel.checkpoint()
        while True:
            if self._gained or self._lost or not self._fetched_once:
                return await self._take_assignment()
            if records := self._take_buffered() or await self._read_behind():
                return Fetched(records)
            await self._wake.wait()
            self._wake = trio.Event()

    def seek(self, partition: int, offset: int) -> None:
        if partition not in self._positions:
            raise ValueError(f"this consumer does not have partition {partition}")
        self._positions[partition] = offset
        self._live.discard(partition)

    async def commit(self, offsets: Mapping[int, int]) -> None:
        rows = [(self._group, partition, offset) for partition, offset in offsets.items()]
        statement = (
            "INSERT INTO offsets VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET offset = excluded.offset WHERE excluded.offset > offset"
        )
        await self._log.work(lambda connection: connection.executemany(statement, rows).rowcount)

    def offer(self, records: list[StoredRecord]) -> None:
        """Records that are on disk now. Those that are not kept here are read from the file when their turn comes."""
        if not self._live:
            self._wake.set()
            return
        if len(self._buffer) + len(records) > MAX_BUFFERED:
            self._live.clear()
            return
        live = self._live
        self._buffer.extend([record for record in records if record.partition in live])
        self._wake.set()

    def gain(self, partition: int) -> None:
        """The group gives a partition; the next `fetch` says so."""
        self._gained.add(partition)
        self._wake.set()

    def lose(self, partition: int) -> bool:
        """The group takes a partition; the next `fetch` says so. True if it never had said that it was given."""
        if partition in self._gained:
            self._gained.remove(partition)
            return True
        self._lost.add(partition)
        self._wake.set()
        return False

    async def _take_assignment(self) -> Assignment:
        query = "SELECT partition, offset FROM offsets WHERE consumers = ?"
        committed: dict[int, int] = dict(await self._log.read(query, (self._group,)))
        gained, lost = frozenset(self._gained), frozenset(self._lost)
        self._gained.clear()
        self._lost.clear()
        for partition in gained:
            self._positions[partition] = committed.get(partition, 0)
        for partition in lost:
            del self._positions[partition]
            self._live.discard(partition)
        self._fetched_once = True
        self._released = lost
        return Assignment(gained, lost)

    def _take_buffered(self) -> list[StoredRecord]:
        if not self._buffer:
            return []
        records, self._buffer = self._buffer, deque()
        return self._advance(records)

    async def _read_behind(self) -> list[StoredRecord]:
        """Records from the file, of the first partition that is behind; those that are not behind become live."""
        for partition in self._positions.keys() - self._live:
            position = self._positions[partition]
            if position >= self._log.end_of(partition):
                self._live.add(partition)
                continue
            segments = await self._read_segments(partition, position)
            if self._positions.get(partition) != position:
                return []
            records = [record for segment in segments for record in segment]
            if records and records[0].offset > position:
                self._positions[partition] = records[0].offset  # what was trimmed is passed over
            return self._advance(records)
        return []

    async def _read_segments(self, partition: int, position: int) -> list[list[StoredRecord]]:
        """The segment with the position, and those that follow."""
        low = partition << 48
        first = "SELECT max(place) FROM segments WHERE place >= ? AND place <= ?"
        query = (
            f"SELECT place, at_ms, record_values FROM segments WHERE place >= ifnull(({first}), ?) AND place < ?"  # noqa: S608
            " ORDER BY place LIMIT ?"
        )
        end = low + self._log.end_of(partition)
        rows = await self._log.read(query, (low, low + position, low, end, READ_AHEAD))
        return [records_of(partition, *row) for row in rows]

    def _advance(self, records: Iterable[StoredRecord]) -> list[StoredRecord]:
        """Those records that come next in their partitions, and the positions moved behind them."""
        positions = self._positions
        taken = []
        for record in records:
            if positions.get(record.partition) == record.offset:
                positions[record.partition] = record.offset + 1
                taken.append(record)
        return taken


class _Group:
    """The members of a consumer group, and who has which partition.

    A partition that moves is given on only when the member that loses it has heard so and fetches again.
    """

    def __init__(self, partitions: int) -> None:
        self.members: list[EmbeddedConsumer] = []
        self._owners: dict[int, EmbeddedConsumer | None] = dict.fromkeys(range(partitions))

    def join(self, member: EmbeddedConsumer) -> None:
        self.members.append(member)
        self._rebalance()

    def leave(self, member: EmbeddedConsumer) -> None:
        self.members.remove(member)
        self.release([partition for partition, owner in self._owners.items() if owner is member])

    def release(self, partitions: Iterable[int]) -> None:
        """The owners of these have let go."""
        released = list(partitions)
        for partition in released:
            self._owners[partition] = None
        if released:
            self._rebalance()

    def _rebalance(self) -> None:
        if not self.members:
            return
        for partition, owner in self._owners.items():
            target = self.members[partition % len(self.members)]
            if owner is None or (owner is not target and owner.lose(partition)):
                self._owners[partition] = target
                target.gain(partition)


@asynccontextmanager
async def open_embedded_log(path: Path, *, partitions: int, retention_hours: float) -> AsyncIterator[EmbeddedLog]:
    """Open the log in this file, making it if need be; only one process at a time can.

    Raises LogInUse, and Unavailable if the file can't be used or was made with another number of partitions.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    log = EmbeddedLog(partitions, path)
    connections: list[sqlite3.Connection] = []

    def start() -> Callable[[list[_Job]], list[Any]]:
        connections.append(sqlite.connect(path, "FULL"))
        log._open(connections[0])
        return lambda jobs: log._append(connections[0], jobs)

    def stop() -> None:
        connections[0].close()

    with open(path.with_suffix(".lock"), "w") as lock:  # noqa: ASYNC230 - an empty file, once
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LogInUse(f"another process has the log in {path.parent} open") from None
        async with open_batch_thread("the embedded log", start, stop=stop) as log._writer:
            log._reader = sqlite.connect(path)
            try:
                async with open_background() as nursery:
                    nursery.start_soon(log._trim_for_ever, int(retention_hours * 3_600_000))
                    yield log
            finally:
                log._reader.close()

"""The log in one SQLite file, for a platform that is one process.

Many publishers share one fsync: a thread appends all pending records in one transaction, as one row for each partition.
Consumers that are up to date get them from memory; one that is behind reads the file.
"""

import fcntl
import math
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import trio

from shared.background import open_background
from shared.backplane.protocol import (
    DEAD_LETTER_HOURS,
    MAX_RECORD_BYTES,
    DeadLetter,
    Destination,
    Done,
    Record,
    StoredRecord,
)
from shared.backplane.sqlite.consumers import Group, SqliteConsumer
from shared.backplane.sqlite.segments import last_segment, offset_at, segments_of
from shared.bridge import BatchThread, BridgeStatistics, open_batch_thread
from shared.contract.errors import Unavailable
from shared.contract.ids import wall_clock_ms
from shared.drivers import sqlite

MAX_PENDING_BYTES = 256 * 1024 * 1024
"""Bytes that may wait to be written, before publishers are refused."""

MAX_ROWS = 16
"""Most rows that are one statement, without BEGIN and COMMIT. Each call of SQLite releases the interpreter's lock, for
which this thread then waits. Each number of rows is a statement of its own in the cache of sqlite3."""

TRIM_INTERVAL = 60.0
"""Seconds between checks for records that are old and that every group has read."""

TRIM_SEGMENTS = 2_000
"""Segments deleted in one transaction at most, so that no publisher waits long for it."""

MIGRATIONS = (
    """
    CREATE TABLE segments ( -- consecutive records of one partition, written together
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
    """
    CREATE TABLE dead_letters (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        consumers TEXT NOT NULL,
        reason TEXT NOT NULL,
        partition INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        value BLOB NOT NULL
    )
    """,
    # of the traced records in a segment: a MessagePack map by their index
    "ALTER TABLE segments ADD COLUMN traceparents BLOB",
    # a letter that is written again replaces the first
    """
    ALTER TABLE dead_letters ADD COLUMN traceparent TEXT NOT NULL DEFAULT '';
    DELETE FROM dead_letters
        WHERE id NOT IN (SELECT max(id) FROM dead_letters GROUP BY consumers, partition, offset, at_ms);
    CREATE UNIQUE INDEX dead_letters_by_identity ON dead_letters (consumers, partition, offset, at_ms)
    """,
    "ALTER TABLE offsets ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0",
)

_Work = Callable[[sqlite3.Connection], Any]
_Job = Sequence[Record] | _Work


class LogInUse(Exception):
    """Another process has this data folder's log open. Stop it first, or choose another folder."""


class SqliteLog:
    """A Backplane in one file. Made by `open_sqlite_log`; for Trio's thread, except as marked."""

    def __init__(self, partitions: int, path: Path) -> None:
        self._partitions = partitions
        self._path = path
        self._ends: dict[int, int] = dict.fromkeys(range(partitions), 0)
        self._writer_ends: dict[int, int] = {}  # of the writer's thread
        self._last_at_ms = 0  # of the writer's thread
        self._pending_bytes = 0  # at most MAX_PENDING_BYTES, and one call
        self._groups: dict[str, Group] = {}
        self._token = trio.lowlevel.current_trio_token()
        self._reading = trio.CapacityLimiter(1)
        self._writer: BatchThread[_Job, Any]
        self._reader: sqlite3.Connection

    @property
    def partitions(self) -> int:
        return self._partitions

    @property
    def destination(self) -> Destination:
        return Destination("rookery", "log")

    def statistics(self) -> BridgeStatistics:
        return self._writer.statistics()

    def publish(self, records: Sequence[Record], done: Done, *, until: float = math.inf) -> None:
        """See Backplane.publish. `until` does not matter: no other process ever owns a partition of this log."""
        size = 0
        for partition, value, _ in records:
            if not 0 <= partition < self._partitions:
                raise ValueError(f"partition must be 0 to {self._partitions - 1}, not {partition}")
            if len(value) > MAX_RECORD_BYTES:
                raise ValueError(f"a record may have {MAX_RECORD_BYTES} bytes at most, not {len(value)}")
            size += len(value)
        if self._pending_bytes > MAX_PENDING_BYTES:
            raise Unavailable(f"the log is {MAX_PENDING_BYTES} bytes behind")

        def settle(result: Any) -> None:
            self._pending_bytes -= size
            done(result)

        self._writer.submit(records, settle)
        self._pending_bytes += size

    @property
    def is_publishing(self) -> bool:
        """Whether records wait to be written, or are being written."""
        return self._pending_bytes > 0

    def withdraw(self, partitions: Collection[int]) -> None:
        """See Backplane.withdraw. Nothing to do: the writer's thread keeps the order of all calls."""

    @asynccontextmanager
    async def consume(self, group: str, *, gather: float = 0.0) -> AsyncIterator[SqliteConsumer]:
        members = self._groups.setdefault(group, Group(self._partitions))
        consumer = SqliteConsumer(self, group, members)
        members.join(consumer)
        try:
            yield consumer
        finally:
            members.leave(consumer)

    async def end_offset(self, partition: int) -> int:
        await trio.lowlevel.checkpoint()
        return self._ends[partition]

    async def offset_at(self, partition: int, at_ms: int) -> int:
        end = self._ends[partition]
        found: int = await self.read(lambda connection: offset_at(connection, partition, end, at_ms))
        return found

    async def committed_offset(self, group: str, partition: int) -> int:
        query = "SELECT ifnull(max(offset), 0) FROM offsets WHERE consumers = ? AND partition = ?"
        (offset,) = await self.read(lambda connection: connection.execute(query, (group, partition)).fetchone())
        return int(offset)

    async def dead_letter(self, letter: DeadLetter) -> None:
        statement = (
            "INSERT OR REPLACE INTO dead_letters (consumers, reason, partition, offset, at_ms, value, traceparent)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)"
        )
        row = (letter.group, letter.reason, *letter.record)
        await self.work(lambda connection: connection.execute(statement, row).rowcount)

    async def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        query = (
            "SELECT consumers, reason, partition, offset, at_ms, value, traceparent FROM dead_letters"
            " ORDER BY id DESC LIMIT ?"
        )
        rows = await self.read(lambda connection: connection.execute(query, (max(limit, 0),)).fetchall())
        return [DeadLetter(StoredRecord(*record), group, reason) for group, reason, *record in reversed(rows)]

    async def read(self, work: _Work) -> Any:
        """Read on a connection of its own, which sees committed data. One read at a time. Raises Unavailable."""

        def run() -> Any:
            try:
                return work(self._reader)
            except sqlite3.OperationalError as error:
                raise Unavailable(f"the log can't be read: {error}") from error

        return await trio.to_thread.run_sync(run, limiter=self._reading)

    async def work(self, work: _Work) -> Any:
        """Run work in the writer's thread, in its next transaction. Raises Unavailable."""
        return await self._writer.call(work)

    def end_of(self, partition: int) -> int:
        """The offset after the newest record that consumers can read."""
        return self._ends[partition]

    # ---- in the writer's thread

    def _open(self, connection: sqlite3.Connection) -> None:
        sqlite.migrate(connection, MIGRATIONS)
        shape = connection.execute("SELECT partitions FROM shape").fetchone()
        if shape is None:
            connection.execute("INSERT INTO shape VALUES (?)", (self._partitions,))
        elif shape[0] != self._partitions:
            raise Unavailable(
                f"the log in {self._path.parent} was made with {shape[0]} partitions, `log.partitions` is "
                f"{self._partitions}: the number is fixed when the data folder is made"
            )
        for partition in range(self._partitions):
            low = partition << 48
            last = last_segment(connection, low + (1 << 48) - 1)
            self._writer_ends[partition] = 0
            if last is not None and last.place >= low:
                self._writer_ends[partition] = last.place + last.records - low
                self._last_at_ms = max(self._last_at_ms, last.at_ms)
        self._ends = dict(self._writer_ends)

    def _append(self, connection: sqlite3.Connection, jobs: list[_Job]) -> list[Any]:
        """Do all jobs in one transaction: first the records of all publishers, then other work."""
        before = dict(self._writer_ends)
        self._last_at_ms = max(self._last_at_ms, wall_clock_ms())  # times never fall, even if the clock does
        stored, results = self._place(jobs, self._last_at_ms)
        try:
            rows = segments_of(stored)
            if 0 < len(rows) <= MAX_ROWS and not any(map(callable, jobs)):  # one statement is a transaction of its own
                statement = f"INSERT INTO segments VALUES {', '.join(['(?, ?, ?, ?, ?)'] * len(rows))}"  # noqa: S608 - no input
                connection.execute(statement, [*chain.from_iterable(rows)])
            else:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT INTO segments VALUES (?, ?, ?, ?, ?)", rows)
                for index, job in enumerate(jobs):
                    if callable(job):
                        results[index] = job(connection)
                connection.execute("COMMIT")
        except Exception as error:  # supervision: disk full, an I/O error; the bridge rejects the jobs, and goes on
            self._writer_ends = before
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise Unavailable(f"the log can't be written: {error}") from error
        if stored:
            self._token.run_sync_soon(self._offer, stored)
        return results

    def _place(self, jobs: list[_Job], at_ms: int) -> tuple[list[StoredRecord], list[Any]]:
        """Assign the offsets. Return the records, and for each job the offsets of its own."""
        stored: list[StoredRecord] = []
        results: list[Any] = []
        ends = self._writer_ends
        for job in jobs:
            offsets = []
            for partition, value, traceparent in () if callable(job) else job:
                offset = ends[partition]
                ends[partition] = offset + 1
                offsets.append(offset)
                stored.append(StoredRecord(partition, offset, at_ms, value, traceparent))
            results.append(offsets)
        return stored, results

    # ---- in the Trio thread again

    def _offer(self, records: list[StoredRecord]) -> None:
        """Offer records that are on disk now to the consumers.

        The writer's thread schedules this before the results: consumers may get a record before its publisher gets the
        acknowledgement.
        """
        for record in records:
            self._ends[record.partition] = record.offset + 1
        for group in self._groups.values():
            for member in group.members:
                member.offer(records)

    async def _trim_periodically(self, retention_ms: int) -> None:
        while True:
            await trio.sleep(TRIM_INTERVAL)
            try:
                await self.trim(wall_clock_ms() - retention_ms)
                await self.trim_dead_letters(wall_clock_ms() - int(DEAD_LETTER_HOURS * 3_600_000))
            except Unavailable:
                continue  # the disk is full or failing: publishers get the error, and the next attempt may succeed

    async def trim(self, older_than_ms: int) -> None:
        """Delete the records before this time (milliseconds since 1970) that every group has read.

        The newest segment of a partition always stays. Raises Unavailable.
        """

        def remove(connection: sqlite3.Connection) -> int:
            removed = 0
            for partition, end in self._writer_ends.items():
                query = "SELECT min(offset) FROM offsets WHERE partition = ?"
                (read,) = connection.execute(query, (partition,)).fetchone()
                low = partition << 48
                limit = low + min(end - 1, end if read is None else read)
                removed += connection.execute(
                    "DELETE FROM segments WHERE place IN (SELECT place FROM (SELECT place, records, at_ms FROM segments"
                    " WHERE place >= ? AND place < ? ORDER BY place LIMIT ?) WHERE place + records <= ? AND at_ms < ?)",
                    (low, limit, TRIM_SEGMENTS, limit, older_than_ms),
                ).rowcount
            return removed

        while await self.work(remove) >= TRIM_SEGMENTS:
            pass

    async def trim_dead_letters(self, older_than_ms: int) -> None:
        """Delete the dead letters of records before this time (milliseconds since 1970). Raises Unavailable."""
        statement = "DELETE FROM dead_letters WHERE at_ms < ?"
        await self.work(lambda connection: connection.execute(statement, (older_than_ms,)).rowcount)


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Keep other processes from opening the log in this file, whether it exists or not. Raises LogInUse, OSError."""
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LogInUse(f"another process has the log in {path.parent} open") from None
        yield


@asynccontextmanager
async def open_sqlite_log(path: Path, *, partitions: int, retention_hours: float) -> AsyncIterator[SqliteLog]:
    """Open the log in this file, which is created if it does not exist. One process at a time can.

    Records are kept for `retention_hours`, and longer until every group has read them. Raises LogInUse, and Unavailable
    if the file can't be used or was created with another number of partitions.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{path.parent} can't be made: {error.strerror}") from error
    log = SqliteLog(partitions, path)
    connections: list[sqlite3.Connection] = []

    def start() -> Callable[[list[_Job]], list[Any]]:
        try:
            connections.append(sqlite.connect(path, "FULL"))
            log._open(connections[0])
        except sqlite3.Error as error:
            raise Unavailable(f"{path} can't be used: {error}") from error
        return lambda jobs: log._append(connections[0], jobs)

    def stop() -> None:
        for connection in connections:
            connection.close()

    with hold(path):
        async with open_batch_thread("the SQLite log", start, stop=stop) as log._writer:
            log._reader = sqlite.connect(path)
            try:
                async with open_background() as nursery:
                    nursery.start_soon(log._trim_periodically, int(retention_hours * 3_600_000))
                    yield log
            finally:
                log._reader.close()

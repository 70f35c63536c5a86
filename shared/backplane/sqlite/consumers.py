"""Consumers of the SQLite log, and the groups that divide its partitions among them. For Trio's thread."""

import math
import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from typing import Any, Protocol

import trio

from shared.backplane.protocol import Assignment, Checkpoint, Fetched, StoredRecord
from shared.backplane.sqlite.segments import records_of

MAX_BUFFERED = 20_000
"""Records in memory for one consumer at most; beyond that it reads them from the file again."""

READ_AHEAD = 1_000
"""Segments to read from the file at once, at most: each has the records of one write, which is often a single one."""

READ_BYTES = 4 * 1024 * 1024
"""Bytes of values after which no further segment is read at once."""


class Log(Protocol):
    """The part of a log that its consumers use."""

    def end_of(self, partition: int) -> int: ...

    async def read(self, work: Callable[[Any], Any]) -> Any: ...

    async def work(self, work: Callable[[Any], Any]) -> Any: ...


class SqliteConsumer:
    """A Consumer of the SQLite log. Made by `SqliteLog.consume`."""

    def __init__(self, log: Log, group: str, members: "Group") -> None:
        self._log = log
        self._group = group
        self._members = members
        self._positions: dict[int, int] = {}
        self._live: set[int] = set()  # partitions whose new records are buffered in memory
        self._last_read = -1  # the partition that was read last from the file
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
            behind = await self._read_behind()  # first: under load, there are always buffered records of the others
            if records := behind + self._take_buffered():
                return Fetched(records)
            await self._wake.wait()
            self._wake = trio.Event()

    @property
    def held_until(self) -> float:
        return math.inf  # all members are in one process: no other goes on while it is stopped

    def lag(self) -> Mapping[int, int]:
        return {partition: self._log.end_of(partition) - position for partition, position in self._positions.items()}

    def seek(self, partition: int, offset: int) -> None:
        if partition not in self._positions:
            raise ValueError(f"this consumer does not have partition {partition}")
        self._positions[partition] = offset
        self._live.discard(partition)

    async def commit(self, checkpoints: Mapping[int, Checkpoint]) -> None:
        rows = [(self._group, partition, *checkpoint) for partition, checkpoint in checkpoints.items()]
        statement = (
            "INSERT INTO offsets VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET offset = excluded.offset, epoch = excluded.epoch"
            " WHERE excluded.offset > offset"
        )
        await self._log.work(lambda connection: connection.executemany(statement, rows).rowcount)

    async def committed(self, partitions: Collection[int]) -> Mapping[int, Checkpoint]:
        checkpoints = await self._checkpoints()
        return {partition: checkpoints[partition] for partition in partitions if partition in checkpoints}

    def offer(self, records: list[StoredRecord]) -> None:
        """Buffer records that are on disk now, if there is room. The consumer reads the others from the file later."""
        if not self._live:
            self._wake.set()
            return
        if len(self._buffer) + len(records) > MAX_BUFFERED:
            self._live.clear()
            self._wake.set()
            return
        live = self._live
        self._buffer.extend([record for record in records if record.partition in live])
        self._wake.set()

    def gain(self, partition: int) -> None:
        """Own a partition; the next `fetch` returns it as gained."""
        self._gained.add(partition)
        self._wake.set()

    def lose(self, partition: int) -> bool:
        """Lose a partition; the next `fetch` returns it as lost. Return True if none had returned it as gained: then it
        is free at once."""
        if partition in self._gained:
            self._gained.remove(partition)
            return True
        if partition not in self._released:  # else it is free with the next `fetch`
            self._lost.add(partition)
            self._wake.set()
        return False

    async def _take_assignment(self) -> Assignment:
        checkpoints = await self._checkpoints()
        gained, lost = frozenset(self._gained), frozenset(self._lost)
        self._gained.clear()
        self._lost.clear()
        for partition in gained:
            self._positions[partition] = checkpoints[partition].offset if partition in checkpoints else 0
        for partition in lost:
            del self._positions[partition]
            self._live.discard(partition)
        self._fetched_once = True
        self._released = lost
        return Assignment(gained, lost, self._members.epoch)

    async def _checkpoints(self) -> dict[int, Checkpoint]:
        query = "SELECT partition, offset, epoch FROM offsets WHERE consumers = ?"
        rows = await self._log.read(lambda connection: connection.execute(query, (self._group,)).fetchall())
        return {partition: Checkpoint(offset, epoch) for partition, offset, epoch in rows}

    def _take_buffered(self) -> list[StoredRecord]:
        if not self._buffer:
            return []
        records, self._buffer = self._buffer, deque()
        return self._advance(records)

    async def _read_behind(self) -> list[StoredRecord]:
        """Read records from the file, of one partition that is behind: they take turns."""
        self._go_live()
        behind = self._positions.keys() - self._live
        if not behind:
            return []
        partition = self._last_read = min(behind, key=lambda each: (each <= self._last_read, each))
        position = self._positions[partition]
        segments = await self._read_segments(partition, position)
        if self._positions.get(partition) != position:  # lost, or sought in, during the await
            return []
        records = [record for segment in segments for record in segment if record.offset >= position]
        if records and records[0].offset > position:
            self._positions[partition] = records[0].offset  # trimmed: skip to the oldest record
        taken = self._advance(records)
        self._go_live()  # now: with a record before its next turn, the partition would be behind again
        return taken

    def _go_live(self) -> None:
        """Buffer the new records of the partitions that are not behind."""
        for partition in self._positions.keys() - self._live:
            if self._positions[partition] >= self._log.end_of(partition):
                self._live.add(partition)

    async def _read_segments(self, partition: int, position: int) -> list[list[StoredRecord]]:
        """Read the segment that contains the position, and the next ones, up to READ_AHEAD or READ_BYTES."""
        low = partition << 48
        first = "SELECT max(place) FROM segments WHERE place >= ? AND place <= ?"
        query = (
            "SELECT place, at_ms, record_values, traceparents FROM segments"  # noqa: S608
            f" WHERE place >= ifnull(({first}), ?) AND place < ? ORDER BY place LIMIT ?"
        )
        end = low + self._log.end_of(partition)
        values = (low, low + position, low, end, READ_AHEAD)

        def read(connection: sqlite3.Connection) -> list[tuple[int, int, bytes, bytes | None]]:
            rows, size = [], 0
            with closing(connection.execute(query, values)) as cursor:
                for row in cursor:
                    rows.append(row)
                    size += len(row[2])
                    if size >= READ_BYTES:
                        break
            return rows

        return [records_of(partition, *row) for row in await self._log.read(read)]

    def _advance(self, records: Iterable[StoredRecord]) -> list[StoredRecord]:
        """Return the records that are next in their partitions, and move the positions behind them."""
        positions = self._positions
        taken = []
        for record in records:
            if positions.get(record.partition) == record.offset:
                positions[record.partition] = record.offset + 1
                taken.append(record)
        return taken


class Group:
    """The members of a consumer group, and the owner of each partition.

    A partition moves only when its former owner has fetched the loss and fetches again.
    """

    def __init__(self, partitions: int) -> None:
        self.members: list[SqliteConsumer] = []
        self.epoch = 0
        self._owners: dict[int, SqliteConsumer | None] = dict.fromkeys(range(partitions))

    def join(self, member: SqliteConsumer) -> None:
        self.members.append(member)
        self._rebalance()

    def leave(self, member: SqliteConsumer) -> None:
        self.members.remove(member)
        self.release([partition for partition, owner in self._owners.items() if owner is member])

    def release(self, partitions: Iterable[int]) -> None:
        """Assign partitions anew whose owners have released them."""
        released = list(partitions)
        for partition in released:
            self._owners[partition] = None
        if released:
            self._rebalance()

    def _rebalance(self) -> None:
        if not self.members:
            return
        self.epoch += 1
        for partition, owner in self._owners.items():
            target = self.members[partition % len(self.members)]
            if owner is None or (owner is not target and owner.lose(partition)):
                self._owners[partition] = target
                target.gain(partition)

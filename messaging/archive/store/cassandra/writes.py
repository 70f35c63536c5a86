"""Puts the writes of a batch into as few requests as is good for the nodes: of the driver's CPU, one request costs as
much as ten rows."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import trio
from cassandra.query import BatchStatement

from shared.drivers.cassandra import unlogged

MAX_PARTITIONS = 10
"""Partitions in one request: with more, Cassandra warns, since one node passes them on to all the others."""

MAX_BYTES = 4_000
"""In a request for several partitions: above 5 KiB Cassandra warns, above 50 KiB it refuses."""

MAX_PARTITION_BYTES = 256_000
"""In a request for one partition, where Cassandra has no limit but that of a write, 16 MiB: one that a node reads and
writes in a few milliseconds."""

REQUESTS_PER_TURN = 16
"""Requests that are encoded before other tasks have a turn: some 2 ms of work."""

_ROW_BYTES = 80
"""Of a row's keys, ids and timestamp."""


class Writes:
    """The rows to write, by partition."""

    def __init__(self) -> None:
        self._partitions: dict[Hashable, list[tuple[Any, Sequence[object], int]]] = {}

    def add(self, partition: Hashable, statement: Any, parameters: Sequence[object], *, size: int = 0) -> None:
        """Write a row. `partition` is equal for what has the same partition key; `size` is that of large values."""
        self._partitions.setdefault(partition, []).append((statement, parameters, size + _ROW_BYTES))

    async def requests(self) -> list[tuple[BatchStatement, Sequence[object]]]:
        """For `execute_all`. What has the same partition key stays together, up to MAX_PARTITION_BYTES.

        Lets other tasks run now and then, since values are encoded here.
        """
        requests: list[tuple[BatchStatement, Sequence[object]]] = []
        for number, rows in enumerate(self._packed(), start=1):
            requests.append((unlogged([(statement, row) for statement, row, _ in rows]), ()))
            if number % REQUESTS_PER_TURN == 0:
                await trio.lowlevel.checkpoint()
        return requests

    def _packed(self) -> Iterator[list[tuple[Any, Sequence[object], int]]]:
        shared: list[tuple[Any, Sequence[object], int]] = []
        shared_bytes = partitions = 0
        for rows in self._partitions.values():
            size = sum(row[2] for row in rows)
            if size > MAX_BYTES:
                yield from _split(rows)
                continue
            if partitions == MAX_PARTITIONS or shared_bytes + size > MAX_BYTES:
                yield shared
                shared, shared_bytes, partitions = [], 0, 0
            shared += rows
            shared_bytes += size
            partitions += 1
        if shared:
            yield shared


def _split(rows: list[tuple[Any, Sequence[object], int]]) -> Iterator[list[tuple[Any, Sequence[object], int]]]:
    """The rows of one partition in requests that are not too large."""
    some: list[tuple[Any, Sequence[object], int]] = []
    size = 0
    for row in rows:
        if some and size + row[2] > MAX_PARTITION_BYTES:
            yield some
            some, size = [], 0
        some.append(row)
        size += row[2]
    yield some

"""Packs the writes of a batch into few requests: one request costs the driver as much CPU as ten rows."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import trio
from cassandra.query import BatchStatement

from shared.drivers.cassandra import unlogged

MAX_PARTITIONS = 10
"""Partitions in one request. Cassandra warns above that, since one node forwards them to all others."""

MAX_BYTES = 4_000
"""In a request for several partitions. Cassandra warns above 5 KiB and rejects above 50 KiB."""

MAX_PARTITION_BYTES = 256_000
"""In a request for one partition, where Cassandra's only limit is 16 MiB per write. A node handles this much in a few
milliseconds."""

REQUESTS_PER_TURN = 16
"""Requests that are encoded before a checkpoint lets other tasks run: about 2 ms of work."""

_ROW_BYTES = 80
"""Estimated size of a row's keys, ids and timestamp."""


class Writes:
    """The rows to write, by partition."""

    def __init__(self) -> None:
        self._partitions: dict[Hashable, list[tuple[Any, Sequence[object], int]]] = {}

    def add(self, partition: Hashable, statement: Any, parameters: Sequence[object], *, size: int = 0) -> None:
        """Add a row. `partition` is equal for rows with the same partition key; `size` is the size of large values."""
        self._partitions.setdefault(partition, []).append((statement, parameters, size + _ROW_BYTES))

    async def requests(self) -> list[tuple[BatchStatement, Sequence[object]]]:
        """The requests for `execute_all`. Rows of one partition stay together, up to MAX_PARTITION_BYTES.

        Encodes the values, so it checkpoints every REQUESTS_PER_TURN requests.
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
    """Split the rows of one partition into requests of at most MAX_PARTITION_BYTES."""
    some: list[tuple[Any, Sequence[object], int]] = []
    size = 0
    for row in rows:
        if some and size + row[2] > MAX_PARTITION_BYTES:
            yield some
            some, size = [], 0
        some.append(row)
        size += row[2]
    yield some

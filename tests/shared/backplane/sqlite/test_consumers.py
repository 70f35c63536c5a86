"""Consumers of the SQLite log: memory is bounded, and the file has the rest."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from shared.backplane import Assignment, Consumer, Fetched, Record
from shared.backplane.publishing import publish_and_wait
from shared.backplane.sqlite import consumers
from shared.backplane.sqlite.log import SqliteLog, open_sqlite_log
from tests.shared.backplane.conftest import read


async def test_a_lost_partition_is_lost_once_however_often_the_group_changes_before_it_is_released(
    tmp_path: Path,
) -> None:
    async with (
        open_sqlite_log(tmp_path / "log.sqlite3", partitions=2, retention_hours=1) as log,
        log.consume("readers") as first,
    ):
        await first.fetch()
        async with log.consume("readers"):
            assert await first.fetch() == Assignment(frozenset(), frozenset({1}), 2)
            async with log.consume("readers"):
                pass
        assert await first.fetch() == Assignment(frozenset({1}), frozenset(), 4)


@asynccontextmanager
async def consuming(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[SqliteLog, Consumer]]:
    """Open a log of two partitions, and a consumer that buffers 10 records."""
    monkeypatch.setattr(consumers, "MAX_BUFFERED", 10)
    async with (
        open_sqlite_log(folder / "log.sqlite3", partitions=2, retention_hours=1) as log,
        log.consume("readers") as consumer,
    ):
        yield log, consumer


async def test_a_consumer_that_is_far_behind_reads_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with consuming(tmp_path, monkeypatch) as (log, consumer):
        await consumer.fetch()
        await publish_and_wait(log, [Record(0, b"first")])
        await read(consumer, 1)  # up to date from here on
        for start in range(0, 60, 6):
            await publish_and_wait(log, [Record(number % 2, b"%d" % number) for number in range(start, start + 6)])
        records = await read(consumer, 60)
    for partition in (0, 1):
        mine = [int(record.value) for record in records if record.partition == partition]
        assert mine == list(range(partition, 60, 2))


async def test_an_up_to_date_consumer_wakes_for_more_records_than_it_buffers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with consuming(tmp_path, monkeypatch) as (log, consumer), trio.open_nursery() as nursery:
        await consumer.fetch()
        nursery.start_soon(read, consumer, 11)
        await wait_all_tasks_blocked()
        await publish_and_wait(log, [Record(0, b"%d" % number) for number in range(11)])


async def test_a_partition_that_is_read_from_the_file_does_not_wait_for_a_pause_of_the_others(tmp_path: Path) -> None:
    async with (
        open_sqlite_log(tmp_path / "log.sqlite3", partitions=2, retention_hours=1) as log,
        log.consume("readers") as consumer,
    ):
        await publish_and_wait(log, [Record(0, b"0"), Record(1, b"1")])
        await consumer.fetch()
        await read(consumer, 2)
        consumer.seek(1, 0)
        seen = set[int]()
        for _ in range(3):
            await publish_and_wait(log, [Record(0, b"more")])  # while the consumer handles the records before it
            fetched = await consumer.fetch()
            assert isinstance(fetched, Fetched)
            seen |= {record.partition for record in fetched.records}
    assert seen == {0, 1}


async def test_partitions_that_are_read_from_the_file_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "READ_AHEAD", 1)
    async with consuming(tmp_path, monkeypatch) as (log, consumer):
        for partition in (0, 0, 0, 1):
            await publish_and_wait(log, [Record(partition, b"")])
        await consumer.fetch()
        records = [*await read(consumer, 1), *await read(consumer, 1)]
    assert {record.partition for record in records} == {0, 1}


async def test_new_records_of_a_partition_that_was_read_to_its_end_do_not_wait_while_another_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with consuming(tmp_path, monkeypatch) as (log, consumer):
        await publish_and_wait(log, [Record(0, b""), Record(1, b"")])
        await consumer.fetch()
        (first,) = await read(consumer, 1)
        await publish_and_wait(log, [Record(first.partition, b"new")])
        records = await read(consumer, 1)
    assert {record.partition for record in records} == {0, 1}


async def test_a_consumer_that_is_behind_reads_many_small_segments_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with consuming(tmp_path, monkeypatch) as (log, consumer):
        for _ in range(100):
            await publish_and_wait(log, [Record(0, b"")])
        await consumer.fetch()
        records = await read(consumer, 1)
    assert len(records) == 100


async def test_the_bytes_that_are_read_from_the_file_at_once_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "READ_BYTES", 30)
    async with consuming(tmp_path, monkeypatch) as (log, consumer):
        for size in (10, 10, 10, 100):
            await publish_and_wait(log, [Record(0, bytes(size))])
        await consumer.fetch()
        at_once = [await read(consumer, 1) for _ in range(2)]
    assert [[record.offset for record in records] for records in at_once] == [[0, 1, 2], [3]]

"""What is the embedded log's own: one process at a time, one fsync for many, full disks, trimming."""

import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from shared.backplane import Assignment, DeadLetter, Fetched, Record, StoredRecord
from shared.backplane.publishing import publish_and_wait
from shared.backplane.sqlite import consumers as embedded_consumers
from shared.backplane.sqlite import log as embedded
from shared.backplane.sqlite.consumers import SqliteConsumer
from shared.backplane.sqlite.log import LogInUse, SqliteLog, open_sqlite_log
from shared.backplane.sqlite.segments import SEGMENT_BYTES, offset_at, records_of, segments_of
from shared.contract.errors import Unavailable
from shared.drivers import sqlite


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    async with open_sqlite_log(tmp_path / "log.sqlite3", partitions=2, retention_hours=1) as opened:
        yield opened


async def read(consumer: SqliteConsumer, count: int) -> list[StoredRecord]:
    records: list[StoredRecord] = []
    while len(records) < count:
        event = await consumer.fetch()
        if isinstance(event, Fetched):
            records.extend(event.records)
    return records


async def test_a_second_process_is_told_that_the_log_is_in_use(log: SqliteLog, tmp_path: Path) -> None:
    with pytest.raises(LogInUse, match="another process has the log"):
        async with open_sqlite_log(tmp_path / "log.sqlite3", partitions=2, retention_hours=1):
            pass


async def test_another_number_of_partitions_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    async with open_sqlite_log(path, partitions=2, retention_hours=1):
        pass
    with pytest.raises(Unavailable, match=r"made with 2 partitions, `log.partitions` says 3"):
        async with open_sqlite_log(path, partitions=3, retention_hours=1):
            pass


async def test_a_folder_of_a_release_without_traces_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    old = sqlite.connect(path)
    sqlite.migrate(old, embedded.MIGRATIONS[:2])
    old.execute("INSERT INTO shape VALUES (2)")
    values = msgspec.msgpack.encode([b"first", b"second"])
    old.execute("INSERT INTO segments VALUES (?, 2, 5, ?)", (1 << 48, values))
    for reason in ("once", "twice"):
        old.execute("INSERT INTO dead_letters VALUES (NULL, 'archive', ?, 1, 0, 5, x'6669727374')", (reason,))
    old.close()
    async with open_sqlite_log(path, partitions=2, retention_hours=1) as log, log.consume("readers") as consumer:
        assert await publish_and_wait(log, [Record(1, b"third", "of a trace")]) == [2]
        records = await read(consumer, 3)
        letters = await log.dead_letters(10)
    assert [tuple(record)[1:] for record in records[:2]] == [(0, 5, b"first", ""), (1, 5, b"second", "")]
    assert (records[2].value, records[2].traceparent) == (b"third", "of a trace")
    assert letters == [DeadLetter(StoredRecord(1, 0, 5, b"first"), "archive", "twice")]


async def test_many_publishers_share_a_commit(log: SqliteLog) -> None:
    answers: list[object] = []
    gathered = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.work, lambda _: gathered.wait())
        await trio.testing.wait_all_tasks_blocked()
        for number in range(400):
            log.publish([Record(number % 2, b"x")], answers.append)
        gathered.set()
    await publish_and_wait(log, [Record(0, b"last")])
    assert len(answers) == 400
    assert log.statistics().batches <= 3


async def test_a_full_disk_refuses_and_loses_nothing(log: SqliteLog) -> None:
    await publish_and_wait(log, [Record(0, b"before")])

    def fill(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")

    def empty(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 1000000")

    await log.work(fill)
    with pytest.raises(Unavailable, match="full"):
        await publish_and_wait(log, [Record(0, b"x" * 100_000)])
    async with log.consume("readers") as consumer:
        assert isinstance(await consumer.fetch(), Assignment)
        assert [record.value for record in await read(consumer, 1)] == [b"before"]
        await log.work(empty)
        assert await publish_and_wait(log, [Record(0, b"after")]) == [1]
        assert [record.value for record in await read(consumer, 1)] == [b"after"]


async def test_a_consumer_that_is_far_behind_reads_from_the_file(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_consumers, "MAX_BUFFERED", 10)
    async with log.consume("readers") as consumer:
        await consumer.fetch()
        await publish_and_wait(log, [Record(0, b"first")])
        await read(consumer, 1)  # live from here on
        for start in range(0, 60, 6):
            await publish_and_wait(log, [Record(number % 2, b"%d" % number) for number in range(start, start + 6)])
        records = await read(consumer, 60)
    for partition in (0, 1):
        mine = [int(record.value) for record in records if record.partition == partition]
        assert mine == list(range(partition, 60, 2))


async def test_trimming_spares_what_a_group_has_not_read(log: SqliteLog) -> None:
    for number in range(10):
        await publish_and_wait(log, [Record(0, b"%d" % number)])
    async with log.consume("slow") as slow:
        await slow.fetch()
        await slow.commit({0: 4})
        await log.trim(older_than_ms=2**60)
    async with log.consume("new") as consumer:
        await consumer.fetch()
        assert [int(record.value) for record in await read(consumer, 6)] == [4, 5, 6, 7, 8, 9]


async def test_trimming_spares_what_is_young_and_offsets_go_on(log: SqliteLog, tmp_path: Path) -> None:
    for _ in range(3):
        await publish_and_wait(log, [Record(0, b"young")])
    await log.trim(older_than_ms=0)
    assert await log.offset_at(0, 0) == 0
    await log.trim(older_than_ms=2**60)
    assert await log.offset_at(0, 0) == 2, "a partition's newest record stays"
    assert await log.offset_at(0, 2**60) == 3
    assert await publish_and_wait(log, [Record(0, b"next")]) == [3]


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 200_000), st.sampled_from(["", "of a trace"])),
        max_size=12,
    )
)
def test_segments_hold_every_record_in_order_and_are_bounded(written: list[tuple[int, int, str]]) -> None:
    ends = [0, 0]
    records = []
    for partition, size, traceparent in written:
        records.append(StoredRecord(partition, ends[partition], 5, b"x" * size, traceparent))
        ends[partition] += 1
    segments = segments_of(records)
    read = [records_of(place >> 48, place, at_ms, values, traced) for place, _, at_ms, values, traced in segments]
    assert sorted(record for each in read for record in each) == sorted(records)
    assert [count for _, count, *_ in segments] == [len(each) for each in read]
    assert all(len(values) < SEGMENT_BYTES + 200_100 for _, _, _, values, _ in segments)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=30), st.integers(0, 40), st.integers(0, 30))
def test_an_offset_is_found_by_time_as_by_looking_at_each(
    written: list[tuple[int, int]], at_ms: int, trimmed: int
) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE segments (place INTEGER PRIMARY KEY, records INTEGER, at_ms INTEGER)")
    connection.execute("INSERT INTO segments VALUES (?, 1, 7), (?, 1, 7)", (0, 2 << 48))  # the neighbours
    end = now = 0
    times: list[tuple[int, int]] = []
    for pause, records in written:
        now += pause
        times.append((end, now))
        connection.execute("INSERT INTO segments VALUES (?, ?, ?)", (1 << 48 | end, records, now))
        end += records
    for offset, _ in times[:trimmed]:
        connection.execute("DELETE FROM segments WHERE place = ?", (1 << 48 | offset,))
    expected = next((offset for offset, time in times[trimmed:] if time >= at_ms), end)
    assert offset_at(connection, 1, end, at_ms) == expected
    connection.close()

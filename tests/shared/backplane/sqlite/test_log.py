"""The SQLite log: one process at a time, one fsync for many publishers, full disks, trimming."""

import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from shared.backplane import Assignment, Checkpoint, DeadLetter, Record, StoredRecord
from shared.backplane.publishing import publish_and_wait
from shared.backplane.sqlite import log as sqlite_log
from shared.backplane.sqlite.log import LogInUse, SqliteLog, open_sqlite_log
from shared.contract.errors import Unavailable
from shared.drivers import sqlite
from tests.shared.backplane.conftest import read
from tests.waiting import PATIENCE


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    async with open_sqlite_log(tmp_path / "log.sqlite3", partitions=2, retention_hours=1) as opened:
        yield opened


async def test_a_second_process_and_another_number_of_partitions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    async with open_sqlite_log(path, partitions=2, retention_hours=1):
        with pytest.raises(LogInUse, match="another process has the log"):
            await open_sqlite_log(path, partitions=2, retention_hours=1).__aenter__()
    with pytest.raises(Unavailable, match=r"made with 2 partitions, `log.partitions` is 3"):
        await open_sqlite_log(path, partitions=3, retention_hours=1).__aenter__()


async def test_a_folder_of_an_older_release_is_migrated_without_loss(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    old = sqlite.connect(path)
    sqlite.migrate(old, sqlite_log.MIGRATIONS[:2])
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


async def test_old_dead_letters_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    day_ms = 24 * 3_600_000
    monkeypatch.setattr(sqlite_log, "wall_clock_ms", lambda: 32 * day_ms)
    monkeypatch.setattr(sqlite_log, "TRIM_INTERVAL", 0.01)
    old, young = (DeadLetter(StoredRecord(1, at, at * day_ms, b"value"), "archive", "invalid") for at in (1, 3))
    async with open_sqlite_log(tmp_path / "log.sqlite3", partitions=2, retention_hours=1) as log:
        for letter in (old, young):
            await log.dead_letter(letter)
        with trio.fail_after(PATIENCE):
            while await log.dead_letters(10) != [young]:
                await trio.sleep(0.01)


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


async def test_a_full_disk_rejects_records_and_loses_none(log: SqliteLog) -> None:
    await publish_and_wait(log, [Record(0, b"before")])

    def fill(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")

    def empty(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 1000000")

    await log.work(fill)
    for records in ([Record(0, b"x" * 100_000)], [Record(1, b"x"), Record(0, b"x" * 100_000)]):
        with pytest.raises(Unavailable, match="full"):
            await publish_and_wait(log, records)
    async with log.consume("readers") as consumer:
        assert isinstance(await consumer.fetch(), Assignment)
        assert [record.value for record in await read(consumer, 1)] == [b"before"]
        await log.work(empty)
        assert await publish_and_wait(log, [Record(0, b"after"), Record(1, b"too")]) == [1, 0]
        assert [record.value for record in await read(consumer, 2)] == [b"after", b"too"]


async def test_trimming_spares_unread_and_young_records_and_offsets_continue(log: SqliteLog) -> None:
    for number in range(10):
        await publish_and_wait(log, [Record(0, b"%d" % number)])
    async with log.consume("slow") as slow:
        await slow.fetch()
        await slow.commit({0: Checkpoint(4)})
        await log.trim(older_than_ms=0)
        assert await log.offset_at(0, 0) == 0
        await log.trim(older_than_ms=2**60)
        assert await log.offset_at(0, 0) == 4
        await slow.commit({0: Checkpoint(10)})
    await log.trim(older_than_ms=2**60)
    assert await log.offset_at(0, 0) == 9, "a partition's newest record stays"
    assert await log.offset_at(0, 2**60) == 10
    assert await publish_and_wait(log, [Record(0, b"next")]) == [10]

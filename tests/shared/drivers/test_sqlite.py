"""The SQLite database of a store: shared commits, bounded reads, full disks, and files that it refuses."""

import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from shared.contract.errors import Unavailable
from shared.drivers.sqlite import READERS, Database, connect, migrate, open_database

MIGRATIONS = ("CREATE TABLE items (item INTEGER PRIMARY KEY)",)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path / "data" / "items.db", MIGRATIONS) as opened:
        yield opened


def insert(connection: sqlite3.Connection, item: int) -> int:
    connection.execute("INSERT INTO items VALUES (?)", (item,))
    return item


def everything(connection: sqlite3.Connection) -> list[int]:
    return [item for (item,) in connection.execute("SELECT item FROM items ORDER BY item")]


async def test_a_write_that_fails_raises_its_own_error_and_leaves_the_others_alone(database: Database) -> None:
    """All these run concurrently, so that they share transactions."""
    written: list[int] = []
    failed: list[int] = []

    async def write(item: int) -> None:
        def work(connection: sqlite3.Connection) -> int:
            insert(connection, item)
            if item % 3 == 0:
                insert(connection, item)  # a second one of its key
            return item

        try:
            written.append(await database.write(work))
        except sqlite3.IntegrityError:
            failed.append(item)

    async with trio.open_nursery() as nursery:
        for item in range(50):
            nursery.start_soon(write, item)
    assert sorted(failed) == list(range(0, 50, 3))
    assert await database.read(everything) == sorted(written) == [item for item in range(50) if item % 3]


async def test_many_writes_share_commits(database: Database) -> None:
    gathered = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, lambda _: gathered.wait())
        await wait_all_tasks_blocked()  # it is submitted first: tasks of one batch run in any order
        for item in range(200):
            nursery.start_soon(database.write, lambda connection, item=item: insert(connection, item))
        await wait_all_tasks_blocked()
        gathered.set()
    assert len(await database.read(everything)) == 200
    assert database.statistics().batches <= 2


async def test_a_full_disk_is_unavailable_and_passes(database: Database) -> None:
    def limit(connection: sqlite3.Connection, pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    await database.write(lambda connection: limit(connection, 1))
    with pytest.raises(Unavailable, match="full"):
        await database.write(lambda connection: [insert(connection, item) for item in range(10_000)])
    assert await database.read(everything) == []
    await database.write(lambda connection: limit(connection, 1_000_000))
    assert await database.write(lambda connection: insert(connection, 1)) == 1


def test_an_error_after_which_sqlite_rolls_back_by_itself_is_raised(tmp_path: Path) -> None:
    """As a full disk can be; `OR ROLLBACK` does so always."""
    script = "CREATE TABLE t (id UNIQUE); INSERT INTO t VALUES (1); INSERT OR ROLLBACK INTO t VALUES (1)"
    with closing(connect(tmp_path / "items.db")) as connection, pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        migrate(connection, [script])


async def test_a_migration_may_be_a_function_which_runs_once(tmp_path: Path) -> None:
    def increase(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE items SET item = item + 1")

    migrations = (*MIGRATIONS, "INSERT INTO items VALUES (1)", increase)
    for _ in range(2):
        async with open_database(tmp_path / "items.db", migrations) as database:
            assert await database.read(everything) == [2]


async def test_a_file_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "items.db"
    async with open_database(path, (*MIGRATIONS, "CREATE TABLE more (x)")):
        pass
    with pytest.raises(Unavailable, match="newer release"):
        async with open_database(path, MIGRATIONS):
            pass
    async with open_database(path, (*MIGRATIONS, "CREATE TABLE more (x)")) as database:
        assert await database.read(everything) == []


async def test_all_queries_of_a_read_see_the_data_of_one_commit(database: Database) -> None:
    def work(connection: sqlite3.Connection) -> tuple[list[int], list[int]]:
        before = everything(connection)
        trio.from_thread.run(database.write, lambda writer: insert(writer, 1))
        return before, everything(connection)

    assert await database.read(work) == ([], [])
    assert await database.read(everything) == [1]


async def test_reads_at_once_are_bounded(database: Database) -> None:
    running = highest = 0
    counting = threading.Lock()

    def count(connection: sqlite3.Connection) -> None:
        nonlocal running, highest
        with counting:
            running += 1
            highest = max(highest, running)
        everything(connection)
        with counting:
            running -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(database.read, count)
    assert highest <= READERS


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "items.db"
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(Unavailable, match=r"items\.db can't be used: file is not a database"):
        async with open_database(path, MIGRATIONS):
            pass

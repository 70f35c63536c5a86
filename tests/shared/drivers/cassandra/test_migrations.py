"""`migrate` and the check of the schema."""

import uuid
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from rookery.serve.schema import MIGRATIONS
from shared.contract.errors import Unavailable
from shared.drivers.cassandra import CassandraSession, migrations, open_cassandra
from shared.drivers.cassandra.migrations import LOCK_SECONDS, Progress, migrate
from shared.drivers.cassandra.schema import Migration
from shared.drivers.cassandra.session import open_session
from shared.settings import CassandraSettings

PATIENCE = 60.0
"""Seconds; only ends a test that has failed."""

ALL = [migration.number for migration in MIGRATIONS]


async def query(settings: CassandraSettings, cql: str) -> list[tuple[Any, ...]]:
    async with open_session(settings) as session:
        return await session.execute(cql.format(keyspace=settings.keyspace))


async def lock_is_free(settings: CassandraSettings) -> None:
    """Wait until the lock is released on the node, which takes a moment."""
    with trio.fail_after(PATIENCE):
        while await query(settings, "SELECT name FROM {keyspace}.schema_lock"):
            await trio.sleep(0.05)


@pytest.mark.slow
async def test_concurrent_runs_apply_each_migration_once_and_a_later_run_none(empty: CassandraSettings) -> None:
    applied: list[int] = []

    async def run() -> None:
        applied.extend(await migrate(empty, MIGRATIONS))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(run)
    assert sorted(applied) == ALL == list(range(1, len(MIGRATIONS) + 1))
    assert await migrate(empty, MIGRATIONS) == []
    async with open_cassandra(empty, MIGRATIONS) as session:
        recorded = await session.execute("SELECT number, name, checksum FROM schema_migrations")
    assert sorted(recorded) == [(each.number, each.name, each.checksum) for each in MIGRATIONS]


async def test_a_run_that_was_cut_off_is_completed_by_the_next(empty: CassandraSettings) -> None:
    first = "CREATE TABLE IF NOT EXISTS first (id int PRIMARY KEY)"
    broken = Migration(1, "broken", (first, "CREATE TABLE second (id no_such_type PRIMARY KEY)"))
    with pytest.raises(Unavailable, match="no_such_type"):
        await migrate(empty, [broken])
    with pytest.raises(Unavailable, match="run `rookery migrate`"):
        async with open_cassandra(empty, [broken]):
            pass
    mended = Migration(1, "mended", (first, "CREATE TABLE second (id int PRIMARY KEY)"))
    assert await migrate(empty, [mended]) == [1]


async def test_a_missing_or_older_schema_is_refused_and_can_be_migrated(empty: CassandraSettings) -> None:
    with pytest.raises(Unavailable, match=r"is missing: run `rookery migrate`"):
        async with open_cassandra(empty, MIGRATIONS):
            pass
    one, two = (Migration(n, f"m{n}", (f"CREATE TABLE IF NOT EXISTS t{n} (id int PRIMARY KEY)",)) for n in (1, 2))
    assert await migrate(empty, [one]) == [1]
    with pytest.raises(Unavailable, match=r"older than this program \(at 1 of 2\): run `rookery migrate`"):
        async with open_cassandra(empty, [one, two]):
            pass
    assert await migrate(empty, [one, two]) == [2]
    with pytest.raises(Unavailable, match="newer than this program"):
        async with open_cassandra(empty, [one]):
            pass
    with pytest.raises(Unavailable, match="newer than this program"):
        await migrate(empty, [one])
    with pytest.raises(Unavailable, match="is not the one of this program"):
        async with open_cassandra(empty, [one, Migration(2, "other", two.script + one.script)]):
            pass


class Rows:
    """A step of a migration that writes rows 0 to 9, and is interrupted before the rows in `stops`."""

    def __init__(self, *stops: int) -> None:
        self.stops = [*stops]
        self.written: list[int] = []

    async def __call__(self, session: CassandraSession, progress: Progress) -> None:
        for row in range(max(progress.place("rows") + 1, 0), 10):
            if self.stops and row == self.stops[0]:
                self.stops.pop(0)
                raise Unavailable("interrupted")
            self.written.append(row)
            await progress.note("rows", row)

    async def run(self, settings: CassandraSettings, *, is_last: bool = False) -> list[int]:
        """Run the migration, and return the rows that were written."""
        self.written.clear()
        with suppress(Unavailable):
            await migrate(settings, [Migration(1, "rows", ())], {1: self}, is_last=is_last)
        return [*self.written]


async def test_the_step_of_a_migration_goes_on_where_it_was_interrupted(empty: CassandraSettings) -> None:
    rows = Rows(4, 7)
    assert [await rows.run(empty) for _ in range(3)] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]


async def test_a_step_is_repeated_from_the_first_row_on_and_a_week_later_for_the_last_time(
    empty: CassandraSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes of the former release may have written rows that an interrupted run had passed."""
    everything, rows = [*range(10)], Rows()
    assert await rows.run(empty) == everything
    rows.stops = [4]
    assert [await rows.run(empty) for _ in range(2)] == [[0, 1, 2, 3], everything]
    monkeypatch.setattr(migrations, "MIXED_MS", 0)
    rows.stops = [6]
    assert [await rows.run(empty) for _ in range(3)] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9], []]


async def test_the_last_run_has_all_rows_that_the_former_release_wrote_since_the_first(
    empty: CassandraSettings,
) -> None:
    """Also if it is the second one, and completes the first."""
    rows = Rows(4)
    assert await rows.run(empty) == [0, 1, 2, 3]
    assert [await rows.run(empty, is_last=True) for _ in range(2)] == [[*range(4, 10), *range(10)], []]


async def test_the_last_run_can_be_in_the_week_and_goes_on_where_it_was_interrupted(empty: CassandraSettings) -> None:
    everything, rows = [*range(10)], Rows()
    assert await rows.run(empty) == everything
    rows.stops = [6]
    assert [await rows.run(empty, is_last=True) for _ in range(2)] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9]]
    assert [await rows.run(empty, is_last=each) for each in (False, True)] == [[], []]


async def test_a_step_renews_the_lock_a_few_times_in_its_life_and_not_for_each_row(
    autojump_clock: MockClock,
) -> None:
    renewals: list[float] = []

    async def renew() -> None:
        renewals.append(trio.current_time())

    session: Any = None
    progress = migrations._Progress(session, renew, 1, {}, is_kept=False)  # type: ignore[arg-type]
    for row in range(LOCK_SECONDS):
        await trio.sleep(1)
        await progress.note("rows", row)
    assert renewals == [30, 60, 90, 120]


async def test_a_lock_that_was_lost_stops_it(empty: CassandraSettings) -> None:
    thief = f"UPDATE {{keyspace}}.schema_lock SET owner = {uuid.uuid4()} WHERE name = 'schema' IF EXISTS"
    statements = (
        "CREATE TABLE IF NOT EXISTS before (id int PRIMARY KEY)",
        thief.format(keyspace=empty.keyspace),
        "CREATE TABLE IF NOT EXISTS after (id int PRIMARY KEY)",
    )
    with pytest.raises(Unavailable, match="lost the lock"):
        await migrate(empty, [Migration(1, "robbed", statements)])
    tables = await query(empty, "SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{keyspace}'")
    assert ("before",) in tables
    assert ("after",) not in tables


async def test_it_waits_for_a_lock_and_leaves_none(empty: CassandraSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "LOCK_PAUSE", 0.05)
    assert await migrate(empty, []) == []
    await lock_is_free(empty)
    held = f"INSERT INTO {{keyspace}}.schema_lock (name, owner) VALUES ('schema', {uuid.uuid4()}) IF NOT EXISTS"
    await query(empty, held)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(migrate, empty, [])
        with trio.move_on_after(0.5) as scope:  # any time: it waits until the lock is free
            await trio.sleep_forever()
        assert scope.cancelled_caught
        assert await query(empty, "SELECT name FROM {keyspace}.schema_lock") == [("schema",)]
        await query(empty, "DELETE FROM {keyspace}.schema_lock WHERE name = 'schema' IF EXISTS")
    await lock_is_free(empty)


async def test_the_replication_is_that_of_the_settings(empty: CassandraSettings) -> None:
    await migrate(empty.model_copy(update={"replication": {"datacenter1": 1}}), [])
    cql = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = '{keyspace}'"
    ((replication,),) = await query(empty, cql)
    assert replication["datacenter1"] == "1"
    assert replication["class"].endswith("NetworkTopologyStrategy")

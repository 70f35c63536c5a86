"""`migrate` and the check of the schema."""

import uuid
from typing import Any

import pytest
import trio

from rookery.serve.schema import MIGRATIONS
from shared.contract.errors import Unavailable
from shared.drivers.cassandra import migrations, open_cassandra
from shared.drivers.cassandra.migrations import migrate
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

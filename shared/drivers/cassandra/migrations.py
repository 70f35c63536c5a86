"""`rookery migrate` on Cassandra: creates the keyspace, applies missing migrations. Safe in concurrent processes."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import trio
from cassandra.query import PreparedStatement

from shared.contract.errors import Unavailable
from shared.drivers.cassandra.schema import Migration, applied_migrations, refuse_other_schema
from shared.drivers.cassandra.session import CassandraSession, open_session
from shared.settings import CassandraSettings

STATEMENT_SECONDS = 30.0
"""Time-out of a statement that changes the schema: it waits until all nodes agree."""

LOCK_SECONDS = 120
"""Life of the lock, after which that of a dead process is free: longer than the longest statement, since the lock is
renewed before each."""

LOCK_PAUSE = 0.5
"""Seconds between attempts to get the lock."""

_TAKE = "INSERT INTO {keyspace}.schema_lock (name, owner) VALUES ('schema', ?) IF NOT EXISTS USING TTL {seconds}"
_RENEW = "UPDATE {keyspace}.schema_lock USING TTL {seconds} SET owner = ? WHERE name = 'schema' IF owner = ?"
_RELEASE = "DELETE FROM {keyspace}.schema_lock WHERE name = 'schema' IF owner = ?"

_NAMESPACE = uuid.UUID("4f4bd3c1-7f0b-4f37-9a3c-5a8bb21c2f4e")


Fill = Callable[[CassandraSession, Callable[[], Awaitable[None]]], Awaitable[None]]
"""Writes rows that a migration needs, after its script; it may be repeated. It calls the function that it gets at least
once in LOCK_SECONDS."""


async def migrate(
    settings: CassandraSettings, migrations: Sequence[Migration], fills: Mapping[int, Fill] | None = None
) -> list[int]:
    """Create the keyspace, apply the migrations that it lacks in order, and return their numbers.

    `fills` has steps of migrations, by number. The step of the newest migration runs every time, since processes of the
    former release may have written rows after it.

    Waits while another process migrates the keyspace. Raises Unavailable if Cassandra does not answer, or if the
    keyspace has a migration that is not in the list. After an interruption the next run continues.
    """
    patient = settings.model_copy(update={"timeout_seconds": max(settings.timeout_seconds, STATEMENT_SECONDS)})
    keyspace = settings.keyspace
    async with open_session(patient) as session:
        await _make_keyspace(session, settings)
        async with _lock(session, keyspace) as renew:
            applied = await applied_migrations(session.execute, keyspace) or {}
            refuse_other_schema(applied, keyspace, migrations)
            missing = [migration for migration in migrations if migration.number not in applied]
            session.use(keyspace)
            for migration in missing:
                for statement in migration.script:
                    await renew()
                    await session.execute(statement)
                await _fill(session, renew, (fills or {}).get(migration.number))
                await _note(session, migration)
            if not missing:
                await _fill(session, renew, (fills or {}).get(len(migrations)))
    return [migration.number for migration in missing]


async def _make_keyspace(session: CassandraSession, settings: CassandraSettings) -> None:
    """Create the keyspace and the tables of the lock and of the applied migrations, which can't be made under the lock.

    Their ids are fixed, so that two processes that create them on two nodes at once create the same tables.
    """
    keyspace = settings.keyspace
    copies = settings.replication or {settings.local_datacenter: 1}
    replication = ", ".join(f"'{name.replace(chr(39), chr(39) * 2)}': {count}" for name, count in copies.items())
    await session.execute(
        f"CREATE KEYSPACE IF NOT EXISTS {keyspace} "
        f"WITH replication = {{'class': 'NetworkTopologyStrategy', {replication}}}"
    )
    for table, columns in (
        ("schema_lock", "name text PRIMARY KEY, owner uuid"),
        ("schema_migrations", "number int PRIMARY KEY, name text, checksum text, applied_at timestamp"),
    ):
        table_id = uuid.uuid5(_NAMESPACE, f"{keyspace}.{table}")
        await session.execute(f"CREATE TABLE IF NOT EXISTS {keyspace}.{table} ({columns}) WITH id = {table_id}")


@asynccontextmanager
async def _lock(session: CassandraSession, keyspace: str) -> AsyncIterator["_Renew"]:
    """Hold the lock of the keyspace's schema while the block is open; wait for it first."""
    owner = uuid.uuid4()
    take, renew, release = [
        await session.prepare(cql.format(keyspace=keyspace, seconds=LOCK_SECONDS)) for cql in (_TAKE, _RENEW, _RELEASE)
    ]
    while True:
        ((taken, *holder),) = await session.execute(take, (owner,))
        if taken or owner in holder:  # ours too if the answer to an attempt was lost
            break
        await trio.sleep(LOCK_PAUSE)
    try:
        yield _Renew(session, renew, owner)
    finally:
        with trio.move_on_after(1.0, shield=True), suppress(Unavailable):
            await session.execute(release, (owner,))


class _Renew:
    """Renews the lock when called. Raises Unavailable if it was lost."""

    def __init__(self, session: CassandraSession, statement: PreparedStatement, owner: uuid.UUID) -> None:
        self._session = session
        self._statement = statement
        self._owner = owner

    async def __call__(self) -> None:
        ((held, *_),) = await self._session.execute(self._statement, (self._owner, self._owner))
        if not held:
            raise Unavailable("lost the lock of the schema: run `rookery migrate` again")


async def _fill(session: CassandraSession, renew: "_Renew", fill: Fill | None) -> None:
    """Write the rows of a migration, if it adds any."""
    if fill is not None:
        await renew()
        await fill(session, renew)


async def _note(session: CassandraSession, migration: Migration) -> None:
    """Record that the migration was applied."""
    insert = await session.prepare(
        "INSERT INTO schema_migrations (number, name, checksum, applied_at) VALUES (?, ?, ?, toTimestamp(now()))"
    )
    await session.execute(insert, (migration.number, migration.name, migration.checksum))

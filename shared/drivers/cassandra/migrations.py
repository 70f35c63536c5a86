"""`rookery migrate` on Cassandra: creates the keyspace, applies missing migrations. Safe in concurrent processes."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import trio
from cassandra.query import PreparedStatement

from shared.contract.errors import Unavailable
from shared.drivers.cassandra.schema import Migration, applied_migrations, refuse_other_schema
from shared.drivers.cassandra.session import CassandraSession, Row, open_session
from shared.settings import CassandraSettings

STATEMENT_SECONDS = 30.0
"""Time-out of a statement that changes the schema: it waits until all nodes agree."""

LOCK_SECONDS = 120
"""Life of the lock, after which that of a dead process is free: longer than the longest statement, since the lock is
renewed before each."""

LOCK_PAUSE = 0.5
"""Seconds between attempts to get the lock."""

FIRST_PLACE = -(2**63)
"""Below the token of every row."""

MIXED_MS = 7 * 24 * 3600 * 1000
"""How long after the newest migration its step is repeated by each run: processes of the former release may write rows
meanwhile."""

_TAKE = "INSERT INTO {keyspace}.schema_lock (name, owner) VALUES ('schema', ?) IF NOT EXISTS USING TTL {seconds}"
_RENEW = "UPDATE {keyspace}.schema_lock USING TTL {seconds} SET owner = ? WHERE name = 'schema' IF owner = ?"
_RELEASE = "DELETE FROM {keyspace}.schema_lock WHERE name = 'schema' IF owner = ?"

_AGE = "SELECT toUnixTimestamp(now()), toUnixTimestamp(applied_at) FROM schema_migrations WHERE number = ?"
_FILL = "SELECT places, is_over FROM schema_fills WHERE number = ?"
_SET_PLACE = "UPDATE schema_fills SET places[?] = ? WHERE number = ?"
_END = "INSERT INTO schema_fills (number, places, is_over) VALUES (?, null, ?)"

_NAMESPACE = uuid.UUID("4f4bd3c1-7f0b-4f37-9a3c-5a8bb21c2f4e")


class Progress(Protocol):
    """How far a step of a migration has come, by table."""

    def place(self, table: str) -> int:
        """The token of the last row of the table that an interrupted run has noted, or FIRST_PLACE."""
        ...

    async def note(self, table: str, token: int) -> None:
        """Remember that the step is complete up to this token. It has to be called at least once in LOCK_SECONDS, since
        it renews the lock. Raises Unavailable."""
        ...


async def pages_from(
    session: CassandraSession, progress: Progress, table: str, query: str, limit: int
) -> AsyncIterator[list[Row]]:
    """Yield the rows of a table from its place on, `limit` at a time, and note their place once they are processed.
    `query` takes a token and a limit, and returns the token of each row first. Raises Unavailable."""
    statement, place = await session.prepare(query), progress.place(table)
    while rows := await session.execute(statement, (place, limit)):
        yield rows
        place = rows[-1][0]
        await progress.note(table, place)


Fill = Callable[[CassandraSession, Progress], Awaitable[None]]
"""Writes rows that a migration needs, after its script; it may be repeated."""


async def migrate(
    settings: CassandraSettings,
    migrations: Sequence[Migration],
    fills: Mapping[int, Fill] | None = None,
    *,
    is_last: bool = False,
) -> list[int]:
    """Create the keyspace, apply the migrations that it lacks in order, and return their numbers.

    `fills` has steps of migrations, by number. The step of the newest migration runs every time, since processes of the
    former release may have written rows after it. It runs for the last time if the run begins MIXED_MS after it, or
    `is_last`: the caller knows that no process of the former release runs any more.

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
                if fill := (fills or {}).get(migration.number):
                    await _fill(session, renew, migration.number, fill, is_last=False)
                await _note(session, migration)
            if (is_last or not missing) and (fill := (fills or {}).get(len(migrations))):
                await _repeat(session, renew, len(migrations), fill, is_last=is_last)
    return [migration.number for migration in missing]


async def _make_keyspace(session: CassandraSession, settings: CassandraSettings) -> None:
    """Create the keyspace and the tables of the lock, of the applied migrations and of their steps, which can't be made
    under the lock.

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
        ("schema_fills", "number int PRIMARY KEY, places map<text, bigint>, is_over boolean"),
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


class _Progress:
    """A Progress that begins at these places. If it is not kept, a step begins anew after an interruption."""

    def __init__(
        self, session: CassandraSession, renew: _Renew, number: int, places: Mapping[str, int], *, is_kept: bool
    ) -> None:
        self._session = session
        self._renew = renew
        self._renewed_at = trio.current_time()
        self._number = number
        self._places = places
        self._is_kept = is_kept

    def place(self, table: str) -> int:
        return self._places.get(table, FIRST_PLACE)

    async def note(self, table: str, token: int) -> None:
        if self._is_kept:
            await self._session.execute(await self._session.prepare(_SET_PLACE), (table, token, self._number))
        if trio.current_time() - self._renewed_at >= LOCK_SECONDS / 4:
            await self._renew()
            self._renewed_at = trio.current_time()


async def _fill(session: CassandraSession, renew: _Renew, number: int, fill: Fill, *, is_last: bool) -> None:
    """Write the rows of a migration, from where an interrupted run has stopped."""
    await renew()
    rows = await session.execute(await session.prepare(_FILL), (number,))
    places = (rows[0][0] or {}) if rows else {}
    await fill(session, _Progress(session, renew, number, places, is_kept=True))
    await session.execute(await session.prepare(_END), (number, is_last))


async def _repeat(session: CassandraSession, renew: _Renew, number: int, fill: Fill, *, is_last: bool) -> None:
    """Write the rows of the newest migration again, unless the last time is over.

    Before the last time, each run begins with the first row: processes of the former release may have written rows
    that an interrupted run had passed, and may have ended since.
    """
    rows = await session.execute(await session.prepare(_FILL), (number,))
    if rows and rows[0][1]:
        return
    ((now_ms, applied_ms),) = await session.execute(await session.prepare(_AGE), (number,))
    if is_last or now_ms - applied_ms >= MIXED_MS:
        await _fill(session, renew, number, fill, is_last=True)
    else:
        await renew()
        await fill(session, _Progress(session, renew, number, {}, is_kept=False))


async def _note(session: CassandraSession, migration: Migration) -> None:
    """Record that the migration was applied."""
    insert = await session.prepare(
        "INSERT INTO schema_migrations (number, name, checksum, applied_at) VALUES (?, ?, ?, toTimestamp(now()))"
    )
    await session.execute(insert, (migration.number, migration.name, migration.checksum))

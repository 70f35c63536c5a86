"""Sessions with Cassandra for tests of stores: all of a process share a connection and its prepared statements."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import pytest
from cassandra.cluster import Session
from cassandra.query import PreparedStatement

from shared.contract.errors import Unavailable
from shared.drivers.cassandra import CassandraSession, driver
from shared.drivers.cassandra.migrations import Fill, migrate
from shared.drivers.cassandra.schema import Migration
from shared.settings import CassandraSettings

OpenSession = Callable[[], AbstractAsyncContextManager[CassandraSession]]
"""Opens a session in a keyspace that has all tables."""

PATIENCE = 60.0
"""Seconds until a connection counts as broken, on a machine that is busy with other tests."""


class _Session(CassandraSession):
    """A session of one test. A statement that another one has prepared is not prepared again."""

    def __init__(
        self, connection: Session, settings: CassandraSettings, prepared: dict[str, PreparedStatement]
    ) -> None:
        super().__init__(connection, settings)
        self._of_all = prepared

    async def prepare(self, cql: str) -> PreparedStatement:
        if cql not in self._of_all:
            self._of_all[cql] = await super().prepare(cql)
        return self._of_all[cql]


@contextmanager
def patient_driver() -> Iterator[None]:
    """The driver may read the schema, with the many keyspaces of tests, for longer than a process waits."""
    with pytest.MonkeyPatch.context() as patched:
        for name in ("CONNECT_SECONDS", "HEARTBEAT_SECONDS"):
            patched.setattr(driver, name, PATIENCE)
        yield


async def migrate_patiently(
    settings: CassandraSettings, migrations: Sequence[Migration], fills: Mapping[int, Fill] | None = None
) -> None:
    """Migrate; beside many other keyspaces, a statement may take longer than its time-out."""
    for attempts_left in (2, 1, 0):
        try:
            await migrate(settings, migrations, fills)
            return
        except Unavailable:
            if not attempts_left:
                raise


@contextmanager
def sessions(settings: CassandraSettings) -> Iterator[OpenSession]:
    """Connect once. A session belongs to the Trio run in which it is opened; no probe ends its silence."""
    with patient_driver():
        connection = driver.connect(settings)
    prepared: dict[str, PreparedStatement] = {}

    @asynccontextmanager
    async def open_session() -> AsyncIterator[CassandraSession]:
        session = _Session(connection, settings, prepared)
        session.use(settings.keyspace)
        try:
            yield session
        finally:
            session._close()

    try:
        yield open_session
    finally:
        driver.close(connection)

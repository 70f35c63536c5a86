"""A session with Cassandra on Trio: it prepares each statement once, and refuses statements while no node answers."""

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio
from cassandra.cluster import Session
from cassandra.query import BatchStatement, BatchType, PreparedStatement, SimpleStatement
from opentelemetry.trace import SpanKind

from shared.background import open_background
from shared.contract.errors import Unavailable
from shared.drivers.cassandra import tracing
from shared.drivers.cassandra.breaker import Breaker
from shared.drivers.cassandra.driver import close, connect, is_no_response, translate
from shared.drivers.cassandra.requests import Requests
from shared.drivers.cassandra.requests import Row as Row
from shared.drivers.cassandra.schema import PROBE, Migration, check_schema
from shared.drivers.cassandra.tracing import Statement
from shared.settings import CassandraSettings
from shared.telemetry import traces
from shared.telemetry.metrics import Readings, register_readings
from shared.telemetry.metrics import catalogue as metrics

PROBE_INTERVAL = 0.5
"""Seconds between two probes while no node answers."""

PROBE_SECONDS = 1.0
"""Time-out of a probe."""

CLOSE_SECONDS = 0.5
"""Deadline of closing for the driver's threads. If a node hangs, some run a little longer, in the background."""


@dataclass(frozen=True, slots=True)
class CassandraStatistics:
    """Load of a session."""

    under_way: int
    """Requests sent and not yet answered."""
    max_requests: int
    waiting: int
    """Calls with requests still to be sent."""
    requests: int
    """Requests sent since the start."""
    is_silent: bool
    """Whether requests are refused because no node answers."""


class CassandraSession:
    """Executes statements. Made by `open_cassandra`; its methods are for the Trio thread.

    At most `max_requests` are in flight; further ones wait. While no node answers, all are refused at once.
    """

    def __init__(self, driver: Session, settings: CassandraSettings) -> None:
        self._driver = driver
        self._settings = settings
        self._breaker = Breaker(trio.current_time)
        self._silent = trio.Event()
        self._requests = Requests(driver, settings.max_requests, self._note)
        self._keyspace: str | None = None
        self._prepared: dict[str, PreparedStatement] = {}
        self._closed = False

    def statistics(self) -> CassandraStatistics:
        return CassandraStatistics(
            under_way=self._requests.under_way,
            max_requests=self._requests.max_requests,
            waiting=self._requests.waiting,
            requests=self._requests.sent,
            is_silent=self._breaker.is_open,
        )

    def use(self, keyspace: str) -> None:
        """Set the keyspace of statements that name none. It is sent with each statement, since the keyspace of a
        connection could be changed by mistake."""
        self._keyspace = keyspace

    async def prepare(self, cql: str) -> PreparedStatement:
        """Prepare a statement, and cache it.

        Raises Unavailable if no node answers in time, or one refuses the statement. One without `IF` is marked as
        idempotent: it is retried on another node if the first one fails.
        """
        if cql not in self._prepared:
            self._refuse_if_silent()
            try:
                with trio.fail_after(self._settings.timeout_seconds):
                    prepare = partial(self._driver.prepare, cql, keyspace=self._keyspace)
                    statement = await trio.to_thread.run_sync(prepare, abandon_on_cancel=True)
            except trio.TooSlowError:
                raise Unavailable("Cassandra did not answer in time") from None
            except Exception as error:  # the boundary to the driver, which raises many types
                raise translate(error) from error
            statement.is_idempotent = "IF" not in cql.upper().split()
            self._prepared[cql] = statement
        return self._prepared[cql]

    async def execute(self, statement: Statement, parameters: Sequence[object] = ()) -> list[Row]:
        """Execute a statement and return its rows, of all pages. Raises as `execute_all` does."""
        return (await self.execute_all([(statement, parameters)]))[0]

    async def execute_all(self, work: Sequence[tuple[Statement, Sequence[object]]]) -> list[list[Row]]:
        """Execute the statements concurrently, in no order, and return the rows of each.

        Raises ValueError, before anything is sent, for values of a wrong type. Raises Unavailable if one of them fails,
        is refused or is not answered in time; the others may be executed all the same. Cancellation does not undo
        requests that were sent.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        bound = [self._bound(statement, parameters) for statement, parameters in work]
        self._refuse_if_silent()
        if below := traces.current_spans():
            name, attributes = tracing.described([statement for statement, _ in work], self._keyspace)
            with traces.child_spans(below, name, SpanKind.CLIENT, attributes):
                return await self._requests.run(bound)
        return await self._requests.run(bound)

    def _refuse_if_silent(self) -> None:
        if self._closed:
            raise Unavailable("the session with Cassandra is closed")
        if self._breaker.is_open:
            raise Unavailable("Cassandra does not answer")

    def _bound(self, statement: Statement, parameters: Sequence[object]) -> Any:
        """Bind the values to the statement. Raises ValueError for values of a wrong type."""
        if isinstance(statement, BatchStatement):
            return statement
        if isinstance(statement, str):
            if parameters:
                raise ValueError("only a prepared statement takes values")
            return SimpleStatement(statement, keyspace=self._keyspace)
        try:
            return statement.bind(parameters)
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a value for Cassandra: {error}") from error

    def _note(self, error: Exception | None, began_at: float) -> None:
        """Record the result of a request in the breaker."""
        if error is None or not is_no_response(error):
            self._breaker.answered()
        elif self._breaker.failed(began_at):
            self._silent.set()
            self._requests.refuse_waiting("Cassandra does not answer")

    async def _watch(self, probe_cql: str) -> None:
        """Whenever the breaker opens, probe until a node answers."""
        probe, seconds = SimpleStatement(probe_cql), min(PROBE_SECONDS, self._settings.timeout_seconds)
        while True:
            await self._silent.wait()
            self._silent = trio.Event()
            while self._breaker.is_open:
                with suppress(Unavailable, ValueError):
                    await self._requests.run_now(probe, seconds=seconds)
                if self._breaker.is_open:
                    await trio.sleep(PROBE_INTERVAL)

    def _close(self) -> None:
        self._closed = True
        self._requests.refuse_all("the session with Cassandra is closed")


@asynccontextmanager
async def open_cassandra(
    settings: CassandraSettings, migrations: Sequence[Migration]
) -> AsyncIterator[CassandraSession]:
    """A session in the keyspace of the settings, for as long as the block is open.

    Raises UnusableCertificate, and Unavailable if no node can be used, or if the keyspace has not exactly these
    migrations. A request that waits at the end of the block gets Unavailable. A cancelled block is left at once, even
    while no node answers.
    """
    async with open_session(settings, probe_cql=PROBE.format(keyspace=settings.keyspace)) as session:
        await check_schema(session.execute, settings.keyspace, migrations)
        session.use(settings.keyspace)
        yield session


@asynccontextmanager
async def open_session(
    settings: CassandraSettings, *, probe_cql: str = "SELECT key FROM system.local"
) -> AsyncIterator[CassandraSession]:
    """Open a session without a keyspace and without a check of the schema; else as `open_cassandra`."""
    driver = await _connected(settings)
    try:
        session = CassandraSession(driver, settings)
        async with open_background() as nursery:
            nursery.start_soon(session._watch, probe_cql)
            try:
                with register_readings(_readings(session)):
                    yield session
            finally:
                session._close()
    finally:
        await _disconnect(driver)


def _readings(session: CassandraSession) -> Readings:
    return {
        metrics.CASSANDRA_UNDER_WAY: lambda: session.statistics().under_way,
        metrics.CASSANDRA_WAITING: lambda: session.statistics().waiting,
        metrics.CASSANDRA_REQUESTS: lambda: session.statistics().requests,
        metrics.CASSANDRA_CIRCUIT_OPEN: lambda: session.statistics().is_silent,
    }


async def _connected(settings: CassandraSettings) -> Session:
    """Connect in a thread. If the wait is cancelled, the thread ends by itself, within the time-out of a connection."""
    sessions: list[Session] = []
    lock = threading.Lock()
    is_awaited = True

    def work() -> None:
        session = connect(settings)
        with lock:
            sessions.append(session)
            if is_awaited:
                return
        close(session)

    try:
        await trio.to_thread.run_sync(work, abandon_on_cancel=True)
    except trio.Cancelled:
        with lock:
            is_awaited = False
        if sessions:
            await _disconnect(sessions[0])
        raise
    return sessions[0]


async def _disconnect(driver: Session) -> None:
    with trio.move_on_after(CLOSE_SECONDS, shield=True):
        await trio.to_thread.run_sync(close, driver, abandon_on_cancel=True)


def unlogged(rows: Sequence[tuple[PreparedStatement, Sequence[object]]]) -> BatchStatement:
    """Return an unlogged batch of several writes, which is atomic if all are to one partition.

    Raises ValueError for values of a wrong type.
    """
    batch = BatchStatement(BatchType.UNLOGGED)
    batch.is_idempotent = all(statement.is_idempotent for statement, _ in rows)
    try:
        for statement, parameters in rows:
            batch.add(statement, parameters)
    except (TypeError, KeyError) as error:
        raise ValueError(f"not a value for Cassandra: {error}") from error
    return batch

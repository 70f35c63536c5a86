"""SQLite on Trio: one writer thread, with group commit, and a few reader connections.

A commit costs about 0.6 ms at any size, so all queued writes share one transaction; each has a savepoint of its
own, so that a failed write rolls back no other.
"""

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import trio
from opentelemetry.trace import Span, SpanKind

from shared.bridge import BatchThread, BridgeStatistics, open_batch_thread
from shared.contract.errors import Unavailable
from shared.telemetry import traces
from shared.telemetry.metrics import Readings, register_readings
from shared.telemetry.metrics.catalogue import SQLITE_COMMITS, SQLITE_PENDING, SQLITE_WRITES

Row = TypeVar("Row")
Write = Callable[[sqlite3.Connection], Any]
Migration = str | Callable[[sqlite3.Connection], None]
"""A script, or a function that converts rows."""

BUSY_TIMEOUT = 5.0
"""Seconds to wait for the lock of another process."""

READERS = 4
"""Most concurrent reads: more would only queue for two cores."""


class Database:
    """One SQLite file. Made by `open_database`."""

    def __init__(self, path: Path, writer: BatchThread[Write, Any], readers: list[sqlite3.Connection]) -> None:
        self.path = path
        self._writer = writer
        self._readers = readers
        self._limiter = trio.CapacityLimiter(len(readers))

    def statistics(self) -> BridgeStatistics:
        """Statistics of the writer thread."""
        return self._writer.statistics()

    async def write(self, work: Callable[[sqlite3.Connection], Row]) -> Row:
        """Run `work` in a transaction, and return its result after the commit.

        An exception of `work` is raised, and its writes are rolled back. Raises Unavailable if the database can't
        write.
        """
        if below := traces.current_spans():
            with self._spans(below, "write"):
                written: Row = await self._writer.call(work)
                return written
        result: Row = await self._writer.call(work)
        return result

    async def read(self, work: Callable[[sqlite3.Connection], Row]) -> Row:
        """Run `work` on a connection that sees the data of one commit, in all its queries, and return its result.

        Raises Unavailable if the database can't be read.
        """

        def run() -> Row:
            connection = self._readers.pop()
            try:
                connection.execute("BEGIN")
                try:
                    return work(connection)
                finally:
                    if connection.in_transaction:
                        connection.execute("COMMIT")
            except sqlite3.OperationalError as error:
                raise Unavailable(f"{self.path.name}: {error}") from error
            finally:
                self._readers.append(connection)

        if below := traces.current_spans():
            with self._spans(below, "read"):
                return await trio.to_thread.run_sync(run, limiter=self._limiter)
        return await trio.to_thread.run_sync(run, limiter=self._limiter)

    async def sync(self) -> None:
        """Make all earlier commits survive a power loss too: with `synchronous` NORMAL, a commit alone does not. Raises
        Unavailable if the disk fails."""

        def run() -> None:
            try:
                with open(f"{self.path}-wal", "rb") as log:
                    os.fsync(log.fileno())
            except OSError as error:
                raise Unavailable(f"{self.path.name}: {error.strerror}") from error

        await trio.to_thread.run_sync(run, limiter=self._limiter)

    def _spans(self, below: Sequence[Span], operation: str) -> AbstractContextManager[object]:
        """Spans of the operation, by OpenTelemetry's conventions for databases."""
        attributes = {
            "db.system.name": "sqlite",
            "db.namespace": self.path.name,
            "db.operation.name": operation,
        }
        return traces.child_spans(below, f"{operation} {self.path.name}", SpanKind.CLIENT, attributes)


def connect(path: Path, synchronous: Literal["NORMAL", "FULL"] = "FULL") -> sqlite3.Connection:
    """Open the file in WAL mode, without Python's own transactions. Usable from any thread, one at a time.

    A missing file is created with access for its owner only: SQLite by itself would let everyone read it.
    """
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise sqlite3.OperationalError(error.strerror) from error
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:  # only to clean up: raised again
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Run the numbered migrations that the file has not had yet.

    Several processes may do this at once. Raises Unavailable if the file is from a newer release.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise Unavailable("the data folder was written by a newer release of Rookery: start that one")
        for migration in migrations[version:]:
            if callable(migration):
                migration(connection)
                continue
            for statement in migration.split(";"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:  # only to roll back: raised again
        if connection.in_transaction:  # a full disk has rolled back already
            connection.execute("ROLLBACK")
        raise


def write_batch(connection: sqlite3.Connection, jobs: list[Write]) -> list[Any]:
    """Run the jobs in one transaction, each in a savepoint; return each result, or its exception."""
    results: list[Any] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            connection.execute("SAVEPOINT job")
            try:
                results.append(job(connection))
                connection.execute("RELEASE job")
            except sqlite3.OperationalError:
                raise
            except Exception as error:  # one job must not undo the others: its caller gets the error
                connection.execute("ROLLBACK TO job")
                connection.execute("RELEASE job")
                results.append(error)
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:  # disk full, locked, or an I/O error: it fails the whole batch
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return [Unavailable(f"can't write: {error}")] * len(jobs)
    return results


@asynccontextmanager
async def open_database(
    path: Path,
    migrations: Sequence[Migration],
    *,
    synchronous: Literal["NORMAL", "FULL"] = "FULL",
) -> AsyncIterator[Database]:
    """Open the file, creating it and its folder if necessary, and migrate its schema.

    Raises Unavailable, naming the file, if it can't be used. With `synchronous="NORMAL"` a power failure may undo the
    newest commits; a killed process never does.
    """
    connections: list[sqlite3.Connection] = []

    def start() -> Callable[[list[Write]], list[Any]]:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connections.append(connect(path, synchronous))
            migrate(connections[0], migrations)
        except (OSError, sqlite3.Error) as error:
            raise Unavailable(f"{path} can't be used: {error}") from error
        return lambda jobs: write_batch(connections[0], jobs)

    def stop() -> None:
        for connection in connections:
            connection.close()

    writer: BatchThread[Write, Any]
    async with open_batch_thread(f"writer of {path.name}", start, stop=stop) as writer:
        readers = [connect(path) for _ in range(READERS)]
        try:
            with register_readings(_readings(path.stem, writer)):
                yield Database(path, writer, readers)
        finally:
            for reader in readers:
                reader.close()


def _readings(name: str, writer: BatchThread[Write, Any]) -> Readings:
    return {
        SQLITE_PENDING: lambda: {(name,): writer.statistics().pending},
        SQLITE_WRITES: lambda: {(name,): writer.statistics().jobs},
        SQLITE_COMMITS: lambda: {(name,): writer.statistics().batches},
    }

"""Live configuration in a SQLite file of the data folder: the embedded default.

Watchers are notified of changes by this process at once. Changes by others, such as `rookery config set`, are found by
asking SQLite each second whether the file has changed, which costs a few microseconds.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog
import trio

from shared.background import open_background
from shared.configuration.protocol import KEPT_CHANGES, Change, StoredValue
from shared.contract.ids import wall_clock_ms
from shared.drivers.sqlite import Database, connect, open_database

POLL_SECONDS = 1.0
"""Interval of the checks for changes by other processes: the longest wait of a person that has set a value."""

MIGRATIONS = [
    "CREATE TABLE configuration (key TEXT PRIMARY KEY, value TEXT NOT NULL, changed_at_ms INTEGER NOT NULL)",
    """
    CREATE TABLE changes (
        change_id INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ms INTEGER NOT NULL,
        by TEXT NOT NULL,
        key TEXT NOT NULL,
        old TEXT,
        new TEXT
    ) STRICT
    """,
]

_log = structlog.get_logger(__name__)


class SqliteConfigurationStore:
    """A `ConfigurationStore`. Made by `open_sqlite_configuration`."""

    def __init__(self, database: Database, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._clock_ms = clock_ms
        self._watchers: set[trio.MemorySendChannel[None]] = set()

    async def load(self) -> Mapping[str, StoredValue]:
        def work(connection: sqlite3.Connection) -> Mapping[str, StoredValue]:
            rows = connection.execute("SELECT key, value, changed_at_ms FROM configuration ORDER BY key")
            return {key: StoredValue(key, value, changed_at_ms) for key, value, changed_at_ms in rows}

        return await self._database.read(work)

    async def set(self, key: str, value: str, *, by: str = "") -> None:
        await self._change(key, value, by)

    async def unset(self, key: str, *, by: str = "") -> None:
        await self._change(key, None, by)

    async def history(self, *, limit: int, before: int | None = None) -> Sequence[Change]:
        sql = """
            SELECT change_id, at_ms, by, key, old, new FROM changes
            WHERE ?1 IS NULL OR change_id < ?1 ORDER BY change_id DESC LIMIT ?2
        """

        def work(connection: sqlite3.Connection) -> Sequence[Change]:
            return [Change(*row) for row in connection.execute(sql, (before, limit))]

        return await self._database.read(work)

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[AsyncIterator[None]]:
        send, receive = trio.open_memory_channel[None](1)  # one slot: notifications are coalesced
        self._watchers.add(send)
        try:
            yield receive
        finally:
            self._watchers.discard(send)
            receive.close()
            send.close()

    async def _change(self, key: str, new: str | None, by: str) -> None:
        at_ms = self._clock_ms()

        def work(connection: sqlite3.Connection) -> None:
            row = connection.execute("SELECT value FROM configuration WHERE key = ?", (key,)).fetchone()
            old = row[0] if row else None
            if new is not None:
                connection.execute("INSERT OR REPLACE INTO configuration VALUES (?, ?, ?)", (key, new, at_ms))
            else:
                connection.execute("DELETE FROM configuration WHERE key = ?", (key,))
            if (old, new) != (None, None):
                change = (at_ms, by, key, old, new)
                sql = "INSERT INTO changes (at_ms, by, key, old, new) VALUES (?, ?, ?, ?, ?) RETURNING change_id"
                ((change_id,),) = connection.execute(sql, change).fetchall()
                connection.execute("DELETE FROM changes WHERE change_id <= ?", (change_id - KEPT_CHANGES,))

        await self._database.write(work)
        self._notify()

    def _notify(self) -> None:
        for watcher in self._watchers:
            with suppress(trio.WouldBlock):
                watcher.send_nowait(None)

    async def _follow(self, poll_seconds: float, *, task_status: trio.TaskStatus[None]) -> None:
        """Notify the watchers of every change of the file by any process."""
        # data_version counts the changes by others since this connection was opened, so it must stay the same one.
        connection = await trio.to_thread.run_sync(connect, self._database.path)
        try:
            seen = await trio.to_thread.run_sync(_data_version, connection)
            task_status.started()
            while True:
                await trio.sleep(poll_seconds)
                try:
                    version = await trio.to_thread.run_sync(_data_version, connection)
                except sqlite3.OperationalError as error:
                    _log.warning("configuration_not_readable", error=str(error))
                    continue
                if version != seen:
                    seen = version
                    self._notify()
        finally:
            connection.close()


def _data_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)


@asynccontextmanager
async def open_sqlite_configuration(
    path: Path, *, poll_seconds: float = POLL_SECONDS, clock_ms: Callable[[], int] = wall_clock_ms
) -> AsyncIterator[SqliteConfigurationStore]:
    """Open the file, and create it if necessary. Raises Unavailable if it can't be used."""
    async with open_database(path, MIGRATIONS) as database, open_background() as nursery:
        store = SqliteConfigurationStore(database, clock_ms)
        await nursery.start(store._follow, poll_seconds)
        yield store

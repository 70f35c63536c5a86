"""Relationships and reports in SQLite: a part of `shared.accounts.sqlite.store`."""

import json
import sqlite3
from collections.abc import Mapping, Sequence

from shared.accounts.people import Relationship, Report, Resolution
from shared.accounts.sqlite.links import SqliteLinks
from shared.contract.ids import MAX_ID

PEOPLE_MIGRATION = """
    CREATE TABLE relationships (
        user_id INTEGER NOT NULL,
        other_id INTEGER NOT NULL,
        wants_ms INTEGER NOT NULL,
        wanted_ms INTEGER NOT NULL,
        blocks_ms INTEGER NOT NULL,
        blocked_ms INTEGER NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (user_id, other_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE reports (
        report_id INTEGER PRIMARY KEY,
        reporter_id INTEGER NOT NULL,
        user_id INTEGER NOT NULL,
        chat_id TEXT NOT NULL,
        messages TEXT NOT NULL,
        reason TEXT NOT NULL,
        resolution TEXT,
        note TEXT NOT NULL DEFAULT '',
        closed_by INTEGER NOT NULL DEFAULT 0,
        closed_at_ms INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX reports_by_state ON reports (resolution IS NULL, report_id);
    ALTER TABLE users ADD COLUMN who_may_start TEXT NOT NULL DEFAULT 'everyone';
    ALTER TABLE users ADD COLUMN shows_presence INTEGER NOT NULL DEFAULT 1;
"""
"""A relationship is stored once from each side, in one transaction."""

OPENINGS_MIGRATION = """
    CREATE TABLE report_openings (
        report_id INTEGER NOT NULL,
        file_id INTEGER NOT NULL,
        admin_id INTEGER NOT NULL,
        PRIMARY KEY (report_id, file_id, admin_id)
    ) STRICT, WITHOUT ROWID;
"""

RELATIONSHIPS = """
    SELECT user_id, other_id, wants_ms, wanted_ms, blocks_ms, blocked_ms, version FROM relationships
    WHERE user_id = ? AND other_id IN (SELECT value FROM json_each(?))
"""
LISTED = """
    SELECT user_id, other_id, wants_ms, wanted_ms, blocks_ms, blocked_ms, version FROM relationships
    WHERE user_id = ? AND (wants_ms OR wanted_ms OR blocks_ms) ORDER BY other_id
"""
SET = "INSERT OR REPLACE INTO relationships VALUES (?, ?, ?, ?, ?, ?, ?)"
REPORT = """
    SELECT report_id, reporter_id, user_id, chat_id, messages, reason, resolution, note, closed_by, closed_at_ms
    FROM reports
"""
OPEN_REPORTS = REPORT + "WHERE (resolution IS NULL) = 1 AND report_id > ? ORDER BY report_id LIMIT ?"
CLOSED_REPORTS = REPORT + "WHERE (resolution IS NULL) = 0 AND report_id < ? ORDER BY report_id DESC LIMIT ?"
ADD_REPORT = """
    INSERT INTO reports (report_id, reporter_id, user_id, chat_id, messages, reason) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"""
CLOSE_REPORT = """
    UPDATE reports SET resolution = ?, note = ?, closed_by = ?, closed_at_ms = ?
    WHERE report_id = ? AND resolution IS NULL
"""
OPENING = "SELECT 1 FROM report_openings WHERE report_id = ? AND file_id = ? AND admin_id = ?"
ADD_OPENING = "INSERT INTO report_openings (report_id, file_id, admin_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


class SqlitePeople(SqliteLinks):
    """The part of an `AccountStore` for relationships and reports."""

    async def relationships(self, user_id: int, other_ids: Sequence[int]) -> Mapping[int, Relationship]:
        def work(connection: sqlite3.Connection) -> list[Relationship]:
            return [Relationship(*row) for row in connection.execute(RELATIONSHIPS, (user_id, json.dumps(other_ids)))]

        found = {each.other_id: each for each in await self._database.read(work)}
        return {other_id: found.get(other_id) or Relationship(user_id, other_id) for other_id in other_ids}

    async def relationships_of(self, user_id: int) -> Sequence[Relationship]:
        def work(connection: sqlite3.Connection) -> Sequence[Relationship]:
            return [Relationship(*row) for row in connection.execute(LISTED, (user_id,))]

        return await self._database.read(work)

    async def change_relationship(self, before: Relationship, after: Relationship) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            sql = "SELECT version FROM relationships WHERE user_id = ? AND other_id = ?"
            row = connection.execute(sql, (before.user_id, before.other_id)).fetchone()
            if before.version != (row[0] if row else 0):
                return False
            for each in (after, after.reversed):
                times = (each.wants_ms, each.wanted_ms, each.blocks_ms, each.blocked_ms)
                connection.execute(SET, (each.user_id, each.other_id, *times, before.version + 1))
            return True

        return await self._database.write(work)

    async def add_report(self, report: Report) -> None:
        row = (report.report_id, report.reporter_id, report.user_id, report.chat_id, report.messages, report.reason)
        await self._database.write(lambda connection: connection.execute(ADD_REPORT, row).rowcount)

    async def report(self, report_id: int) -> Report | None:
        reports = await self._reports(REPORT + "WHERE report_id = ?", report_id)
        return reports[0] if reports else None

    async def reports(self, *, is_open: bool, after: int, limit: int) -> Sequence[Report]:
        if is_open:
            return await self._reports(OPEN_REPORTS, after, limit)
        return await self._reports(CLOSED_REPORTS, after or MAX_ID, limit)

    async def close_report(
        self, report_id: int, *, resolution: Resolution, note: str, closed_by: int, at_ms: int
    ) -> bool:
        return await self._changes(CLOSE_REPORT, resolution, note, closed_by, at_ms, report_id)

    async def has_opened(self, report_id: int, file_id: int, admin_id: int) -> bool:
        key = (report_id, file_id, admin_id)
        return await self._database.read(lambda connection: connection.execute(OPENING, key).fetchone() is not None)

    async def add_opening(self, report_id: int, file_id: int, admin_id: int) -> None:
        await self._changes(ADD_OPENING, report_id, file_id, admin_id)

    async def _reports(self, sql: str, *parameters: object) -> Sequence[Report]:
        def work(connection: sqlite3.Connection) -> Sequence[Report]:
            return [report_of_row(*row) for row in connection.execute(sql, parameters)]

        return await self._database.read(work)


def report_of_row(
    report_id: int,
    reporter_id: int,
    user_id: int,
    chat_id: str,
    messages: str,
    reason: str,
    resolution: str | None,
    note: str,
    closed_by: int,
    closed_at_ms: int,
) -> Report:
    ended = Resolution(resolution) if resolution else None
    return Report(report_id, reporter_id, user_id, chat_id, messages, reason, ended, note, closed_by, closed_at_ms)

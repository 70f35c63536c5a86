"""Relationships and reports on Cassandra: a part of `shared.accounts.cassandra.store`.

The row of two users, and that of a report, are authoritative. Rows by which they are listed are written before them,
and removed after them; a list leaves out rows that do not belong to it any more.
"""

from collections.abc import Mapping, Sequence

from shared.accounts.cassandra.links import CassandraLinks
from shared.accounts.people import Relationship, Report, Resolution
from shared.accounts.store import batches
from shared.contract.ids import MAX_ID
from shared.drivers.cassandra.session import Row

RELATIONSHIPS = """
    SELECT low_id, high_id, low_wants_ms, high_wants_ms, low_blocks_ms, high_blocks_ms, version FROM relationships
"""
RELATIONSHIP = RELATIONSHIPS + "WHERE low_id = ? AND high_id = ?"
TO_LOWER = RELATIONSHIPS + "WHERE low_id IN ? AND high_id = ?"
TO_HIGHER = RELATIONSHIPS + "WHERE low_id = ? AND high_id IN ?"
ADD_RELATIONSHIP = """
    INSERT INTO relationships
    (low_wants_ms, high_wants_ms, low_blocks_ms, high_blocks_ms, version, low_id, high_id)
    VALUES (?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS
"""
SET_RELATIONSHIP = """
    UPDATE relationships
    SET low_wants_ms = ?, high_wants_ms = ?, low_blocks_ms = ?, high_blocks_ms = ?, version = ?
    WHERE low_id = ? AND high_id = ? IF version = ?
"""
LISTED = "SELECT other_id FROM relationships_by_user WHERE user_id = ?"
LIST = "INSERT INTO relationships_by_user (user_id, other_id) VALUES (?, ?) USING TIMESTAMP ?"
UNLIST = "DELETE FROM relationships_by_user USING TIMESTAMP ? WHERE user_id = ? AND other_id = ?"
REPORT = """
    SELECT report_id, reporter_id, user_id, chat_id, messages, reason, resolution, note, closed_by, closed_at_ms
    FROM reports WHERE report_id = ?
"""
ADD_REPORT = """
    INSERT INTO reports (report_id, reporter_id, user_id, chat_id, messages, reason) VALUES (?, ?, ?, ?, ?, ?)
    IF NOT EXISTS
"""
CLOSE_REPORT = """
    UPDATE reports SET resolution = ?, note = ?, closed_by = ?, closed_at_ms = ? WHERE report_id = ?
    IF reporter_id != null AND resolution = null
"""
LIST_OPEN = "INSERT INTO open_reports (all_reports, report_id) VALUES (0, ?)"
UNLIST_OPEN = "DELETE FROM open_reports WHERE all_reports = 0 AND report_id = ?"
OPEN_REPORTS = "SELECT report_id FROM open_reports WHERE all_reports = 0 AND report_id > ? LIMIT ?"
LIST_CLOSED = "INSERT INTO closed_reports (all_reports, report_id) VALUES (0, ?)"
CLOSED_REPORTS = "SELECT report_id FROM closed_reports WHERE all_reports = 0 AND report_id < ? LIMIT ?"
OPENING = "SELECT admin_id FROM report_openings WHERE report_id = ? AND file_id = ? AND admin_id = ?"
ADD_OPENING = "INSERT INTO report_openings (report_id, file_id, admin_id) VALUES (?, ?, ?)"

PEOPLE_STATEMENTS = (
    RELATIONSHIP,
    TO_LOWER,
    TO_HIGHER,
    ADD_RELATIONSHIP,
    SET_RELATIONSHIP,
    LISTED,
    LIST,
    UNLIST,
    REPORT,
    ADD_REPORT,
    CLOSE_REPORT,
    LIST_OPEN,
    UNLIST_OPEN,
    OPEN_REPORTS,
    LIST_CLOSED,
    CLOSED_REPORTS,
    OPENING,
    ADD_OPENING,
)


class CassandraPeople(CassandraLinks):
    """The part of an `AccountStore` for relationships and reports."""

    async def relationships(self, user_id: int, other_ids: Sequence[int]) -> Mapping[int, Relationship]:
        reads = _reads(user_id, other_ids)
        found = [row for rows in await self._statements.run_each(*reads) for row in rows]
        stored = {each.other_id: each for each in (_relationship(user_id, row) for row in found)}
        return {other_id: stored.get(other_id) or Relationship(user_id, other_id) for other_id in other_ids}

    async def relationships_of(self, user_id: int) -> Sequence[Relationship]:
        listed = [other_id for (other_id,) in await self._statements.run(LISTED, user_id)]
        return [each for each in (await self.relationships(user_id, listed)).values() if each.is_listed]

    async def change_relationship(self, before: Relationship, after: Relationship) -> bool:
        version = before.version + 1
        sides = (after, after.reversed)
        listed = [(each.user_id, each.other_id, version) for each in sides if each.is_listed]
        await self._statements.run_all(LIST, listed)
        low, high = sides if after.user_id < after.other_id else sides[::-1]
        columns = (low.wants_ms, high.wants_ms, low.blocks_ms, high.blocks_ms, version, low.user_id, high.user_id)
        if before.version:
            applied = await self._statements.apply(SET_RELATIONSHIP, *columns, before.version)
        else:
            applied = await self._statements.apply(ADD_RELATIONSHIP, *columns)
        if applied:
            ended = [(version, each.user_id, each.other_id) for each in sides if not each.is_listed]
            await self._statements.run_all(UNLIST, ended)
        return applied

    async def add_report(self, report: Report) -> None:
        await self._statements.run(LIST_OPEN, report.report_id)
        columns = (report.report_id, report.reporter_id, report.user_id, report.chat_id, report.messages, report.reason)
        await self._statements.apply(ADD_REPORT, *columns)

    async def report(self, report_id: int) -> Report | None:
        rows = await self._statements.run(REPORT, report_id)
        return _report(*rows[0]) if rows else None

    async def reports(self, *, is_open: bool, after: int, limit: int) -> Sequence[Report]:
        statement = OPEN_REPORTS if is_open else CLOSED_REPORTS
        after = after if is_open else after or MAX_ID
        found: list[Report] = []
        while len(found) < limit:
            ids = await self._statements.run(statement, after, limit)
            rows = [row for rows in await self._statements.run_all(REPORT, ids) for row in rows]
            found += [report for report in (_report(*row) for row in rows) if (report.resolution is None) == is_open]
            if len(ids) < limit:
                break
            after = ids[-1][0]
        return found[:limit]

    async def close_report(
        self, report_id: int, *, resolution: Resolution, note: str, closed_by: int, at_ms: int
    ) -> bool:
        await self._statements.run(LIST_CLOSED, report_id)
        columns = (str(resolution), note, closed_by, at_ms, report_id)
        applied = await self._statements.apply(CLOSE_REPORT, *columns)
        await self._statements.run(UNLIST_OPEN, report_id)
        return applied

    async def has_opened(self, report_id: int, file_id: int, admin_id: int) -> bool:
        return bool(await self._statements.run(OPENING, report_id, file_id, admin_id))

    async def add_opening(self, report_id: int, file_id: int, admin_id: int) -> None:
        await self._statements.run(ADD_OPENING, report_id, file_id, admin_id)


def _reads(user_id: int, other_ids: Sequence[int]) -> list[tuple[str, Sequence[object]]]:
    """The statements that read the relationships of the user to these, each with its parameters. The driver sends the
    read of a single one to a replica; one statement reads up to MAX_IDS others at a fraction of their cost."""
    if len(other_ids) == 1:
        return [(RELATIONSHIP, sorted((user_id, *other_ids)))]
    lower = (each for each in other_ids if each < user_id)
    higher = (each for each in other_ids if each > user_id)
    reads: list[tuple[str, Sequence[object]]] = [(TO_LOWER, (batch, user_id)) for batch in batches(lower)]
    return reads + [(TO_HIGHER, (user_id, batch)) for batch in batches(higher)]


def _relationship(user_id: int, row: Row) -> Relationship:
    """The relationship in a row, as this one of its two users sees it."""
    low_id, high_id, low_wants_ms, high_wants_ms, low_blocks_ms, high_blocks_ms, version = row
    low = Relationship(low_id, high_id, low_wants_ms, high_wants_ms, low_blocks_ms, high_blocks_ms, version)
    return low if user_id == low_id else low.reversed


def _report(
    report_id: int,
    reporter_id: int,
    user_id: int,
    chat_id: str,
    messages: str,
    reason: str,
    resolution: str | None,
    note: str | None,
    closed_by: int | None,
    closed_at_ms: int | None,
) -> Report:
    return Report(
        report_id,
        reporter_id,
        user_id,
        chat_id or "",
        messages,
        reason,
        Resolution(resolution) if resolution else None,
        note or "",
        closed_by or 0,
        closed_at_ms or 0,
    )

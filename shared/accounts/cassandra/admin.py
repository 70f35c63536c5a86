"""Account status and the audit log on Cassandra: a part of `shared.accounts.cassandra.store`."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.accounts.audit import Actor, AuditEntry
from shared.accounts.cassandra.schema import month_at
from shared.accounts.cassandra.sign_ins import FAMILY, NO_FAMILY, USER_OF_FAMILY, CassandraSignIns, family_of_row
from shared.accounts.store import AccountStatus, Family

ACCOUNT_STATUS = "SELECT user_id, is_admin, suspended_at_ms, suspended_reason FROM standings WHERE user_id = ?"
ACCOUNT_STATUSES = "SELECT user_id, is_admin, suspended_at_ms, suspended_reason FROM standings WHERE user_id IN ?"
MAKE_ADMIN = "UPDATE standings SET is_admin = true WHERE user_id = ? IF suspended_at_ms = null"
REVOKE_ADMIN = "UPDATE standings SET is_admin = null WHERE user_id = ? IF is_admin = true"
SUSPEND = """
    UPDATE standings SET suspended_at_ms = ?, suspended_reason = ? WHERE user_id = ? IF is_admin = null
"""
RESTORE = """
    UPDATE standings SET suspended_at_ms = null, suspended_reason = null WHERE user_id = ? IF is_admin = null
"""
SOME_FAMILIES = "SELECT family_id FROM families_by_user WHERE user_id = ? LIMIT ?"
ADD_MONTH = "INSERT INTO audit_months (all_months, month) VALUES (0, ?)"
MONTHS = "SELECT month FROM audit_months WHERE all_months = 0"
ADD_ENTRY = """
    INSERT INTO audit_by_month (month, entry_id, at_ms, actor_id, actor_name, address, act, target, detail)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
ENTRIES = """
    SELECT entry_id, at_ms, actor_id, actor_name, address, act, target, detail FROM audit_by_month
    WHERE month = ? AND entry_id < ? LIMIT ?
"""

ADMIN_STATEMENTS = (
    ACCOUNT_STATUS,
    ACCOUNT_STATUSES,
    MAKE_ADMIN,
    REVOKE_ADMIN,
    SUSPEND,
    RESTORE,
    SOME_FAMILIES,
    ADD_MONTH,
    MONTHS,
    ADD_ENTRY,
    ENTRIES,
)

AFTER_ALL = "~"
"""Sorts after every id of an entry, which begins with a digit."""


class CassandraAdministration(CassandraSignIns):
    """The part of an `AccountStore` for account status, lists of sign-ins, and the audit log."""

    async def account_statuses(self, user_ids: Sequence[int]) -> Mapping[int, AccountStatus]:
        rows = await self._statements.run(ACCOUNT_STATUSES, list(dict.fromkeys(user_ids))) if user_ids else []
        found = {user_id: _status(*columns) for user_id, *columns in rows}
        return {user_id: found.get(user_id, AccountStatus()) for user_id in user_ids}

    async def sign_in_status(self, family_id: str, user_id: int) -> AccountStatus | None:
        users, statuses = await self._statements.run_each(
            (USER_OF_FAMILY, (family_id or NO_FAMILY,)), (ACCOUNT_STATUS, (user_id,))
        )  # concurrently, since every request waits for this
        if [tuple(row) for row in users] != [(user_id,)]:
            return None
        return _status(*statuses[0][1:]) if statuses else AccountStatus()

    async def make_admin(self, user_id: int) -> bool:
        return await self._statements.apply(MAKE_ADMIN, user_id)

    async def revoke_admin(self, user_id: int) -> None:
        await self._statements.apply(REVOKE_ADMIN, user_id)

    async def suspend(self, user_id: int, reason: str, at_ms: int) -> bool:
        return await self._statements.apply(SUSPEND, at_ms, reason, user_id)

    async def restore(self, user_id: int) -> None:
        await self._statements.apply(RESTORE, user_id)

    async def families(self, user_id: int, *, now_ms: int, limit: int) -> Sequence[Family]:
        ids = await self._statements.run(SOME_FAMILIES, user_id, limit)
        found = [row for rows in await self._statements.run_all(FAMILY, ids) for row in rows]
        live = [family_of_row(*columns) for *columns, _, expires_at_ms in found if (expires_at_ms or 0) > now_ms]
        return sorted(live, key=lambda family: (-family.created_at_ms, family.family_id))

    async def add_audit_entry(self, entry: AuditEntry) -> None:
        month, actor = _month(entry.entry_id), entry.actor
        await self._statements.run(ADD_MONTH, month)  # first: entries of an unlisted month are never read
        columns = (entry.entry_id, entry.at_ms, actor.user_id, actor.name, actor.address, str(entry.act))
        await self._statements.run(ADD_ENTRY, month, *columns, entry.target, entry.detail)

    async def audit_entries(self, *, limit: int, before: str = "") -> Sequence[AuditEntry]:
        month = _month(before) if before else None
        return [_entry(*row) for row in await self._newest(MONTHS, ENTRIES, month, before or AFTER_ALL, limit)]

    async def _newest(
        self, months: str, rows_of_month: str, month: int | None, start: str | int, limit: int
    ) -> Sequence[Sequence[Any]]:
        """Return the newest rows of a list by month, at most `limit`. The query `rows_of_month` finds the rows of one
        month from `start` on. `start` is in the given month, or after all months."""
        found: list[Sequence[Any]] = []
        for (each,) in await self._statements.run(months):
            if len(found) >= limit:
                break
            if month is None or each <= month:
                found += await self._statements.run(rows_of_month, each, start, limit - len(found))
        return found


def _status(is_admin: bool | None, suspended_at_ms: int | None, suspended_reason: str | None) -> AccountStatus:
    return AccountStatus(bool(is_admin), suspended_at_ms, suspended_reason or "")


def _entry(
    entry_id: str, at_ms: int, actor_id: int, name: str, address: str, act: str, target: str, detail: str
) -> AuditEntry:
    return AuditEntry(entry_id, at_ms, Actor(actor_id or 0, name or "", address or ""), act, target or "", detail or "")


def _month(entry_id: str) -> int:
    """The month of an entry, by the time in its id."""
    return month_at(int(entry_id.partition("-")[0]) // 1_000_000)

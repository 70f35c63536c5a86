"""Account status and the audit log in SQLite: a part of `shared.accounts.sqlite.store`."""

import json
import sqlite3
from collections.abc import Mapping, Sequence

from shared.accounts.audit import Actor, AuditEntry
from shared.accounts.store import AccountStatus, Family
from shared.drivers.sqlite import Database

ADMIN_MIGRATION = """
    CREATE TABLE standings (
        user_id INTEGER PRIMARY KEY,
        is_admin INTEGER NOT NULL DEFAULT 0,
        suspended_at_ms INTEGER,
        suspended_reason TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE TABLE audit (
        entry_id TEXT PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        actor_id INTEGER NOT NULL,
        actor_name TEXT NOT NULL,
        address TEXT NOT NULL,
        act TEXT NOT NULL,
        target TEXT NOT NULL,
        detail TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
"""

ACCOUNT_STATUSES = """
    SELECT user_id, is_admin, suspended_at_ms, suspended_reason FROM standings
    WHERE user_id IN (SELECT value FROM json_each(?))
"""
SIGN_IN_STATUS = """
    SELECT coalesce(is_admin, 0), suspended_at_ms, coalesce(suspended_reason, '')
    FROM families LEFT JOIN standings ON standings.user_id = families.user_id
    WHERE family_id = ? AND families.user_id = ?
"""
MAKE_ADMIN = """
    INSERT INTO standings (user_id, is_admin) VALUES (?, 1)
    ON CONFLICT (user_id) DO UPDATE SET is_admin = 1 WHERE suspended_at_ms IS NULL
"""
SUSPEND = """
    INSERT INTO standings (user_id, suspended_at_ms, suspended_reason) VALUES (?, ?, ?)
    ON CONFLICT (user_id) DO UPDATE
    SET suspended_at_ms = excluded.suspended_at_ms, suspended_reason = excluded.suspended_reason WHERE is_admin = 0
"""
FAMILIES = """
    SELECT family_id, user_id, device_name, created_at_ms, refreshed_at_ms FROM families
    WHERE user_id = ? AND expires_at_ms > ? ORDER BY created_at_ms DESC, family_id LIMIT ?
"""
ENTRIES = """
    SELECT entry_id, at_ms, actor_id, actor_name, address, act, target, detail FROM audit
    WHERE entry_id < ? OR ? = '' ORDER BY entry_id DESC LIMIT ?
"""


class SqliteAdministration:
    """The part of an `AccountStore` for account status, lists of sign-ins, and the audit log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def account_statuses(self, user_ids: Sequence[int]) -> Mapping[int, AccountStatus]:
        def work(connection: sqlite3.Connection) -> Mapping[int, AccountStatus]:
            rows = connection.execute(ACCOUNT_STATUSES, (json.dumps(user_ids),))
            return {user_id: _status(*columns) for user_id, *columns in rows}

        found = await self._database.read(work)
        return {user_id: found.get(user_id, AccountStatus()) for user_id in user_ids}

    async def sign_in_status(self, family_id: str, user_id: int) -> AccountStatus | None:
        def work(connection: sqlite3.Connection) -> AccountStatus | None:
            row = connection.execute(SIGN_IN_STATUS, (family_id, user_id)).fetchone()
            return None if row is None else _status(*row)

        return await self._database.read(work)

    async def make_admin(self, user_id: int) -> bool:
        return await self._database.write(lambda connection: connection.execute(MAKE_ADMIN, (user_id,)).rowcount == 1)

    async def revoke_admin(self, user_id: int) -> None:
        sql = "UPDATE standings SET is_admin = 0 WHERE user_id = ?"
        await self._database.write(lambda connection: connection.execute(sql, (user_id,)).rowcount)

    async def suspend(self, user_id: int, reason: str, at_ms: int) -> bool:
        row = (user_id, at_ms, reason)
        return await self._database.write(lambda connection: connection.execute(SUSPEND, row).rowcount == 1)

    async def restore(self, user_id: int) -> None:
        sql = "UPDATE standings SET suspended_at_ms = NULL, suspended_reason = '' WHERE user_id = ?"
        await self._database.write(lambda connection: connection.execute(sql, (user_id,)).rowcount)

    async def families(self, user_id: int, *, now_ms: int, limit: int) -> Sequence[Family]:
        def work(connection: sqlite3.Connection) -> Sequence[Family]:
            return [Family(*row) for row in connection.execute(FAMILIES, (user_id, now_ms, limit))]

        return await self._database.read(work)

    async def add_audit_entry(self, entry: AuditEntry) -> None:
        actor = entry.actor
        row = (entry.entry_id, entry.at_ms, actor.user_id, actor.name, actor.address, entry.act)
        sql = "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        await self._database.write(lambda connection: connection.execute(sql, (*row, entry.target, entry.detail)))

    async def audit_entries(self, *, limit: int, before: str = "") -> Sequence[AuditEntry]:
        def work(connection: sqlite3.Connection) -> Sequence[AuditEntry]:
            return [
                AuditEntry(entry_id, at_ms, Actor(actor_id, name, address), act, target, detail)
                for entry_id, at_ms, actor_id, name, address, act, target, detail in connection.execute(
                    ENTRIES, (before, before, limit)
                )
            ]

        return await self._database.read(work)


def _status(is_admin: int, suspended_at_ms: int | None, suspended_reason: str) -> AccountStatus:
    return AccountStatus(bool(is_admin), suspended_at_ms, suspended_reason)

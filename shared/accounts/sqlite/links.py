"""Invites and password resets in SQLite: a part of `shared.accounts.sqlite.store`."""

import sqlite3
from collections.abc import Sequence

from shared.accounts.links import Invite
from shared.accounts.sqlite.admin import SqliteAdministration

LINKS_MIGRATION = """
    CREATE TABLE invites (
        invite_id TEXT PRIMARY KEY,
        created_by TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL,
        expires_at_ms INTEGER NOT NULL,
        uses INTEGER NOT NULL,
        uses_left INTEGER NOT NULL,
        digest BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE password_resets (
        user_id INTEGER PRIMARY KEY REFERENCES users,
        digest BLOB NOT NULL,
        expires_at_ms INTEGER NOT NULL
    ) STRICT;
    ALTER TABLE users ADD COLUMN is_deleted INTEGER NOT NULL DEFAULT 0;
"""

INVITES = """
    SELECT invite_id, created_by, created_at_ms, expires_at_ms, uses, uses_left FROM invites
    WHERE expires_at_ms > ? ORDER BY created_at_ms DESC, invite_id
"""
USE_INVITE = """
    UPDATE invites SET uses_left = uses_left - 1
    WHERE invite_id = ? AND digest = ? AND expires_at_ms > ? AND uses_left > 0
"""
RETURN_USE = "UPDATE invites SET uses_left = uses_left + 1 WHERE invite_id = ? AND uses_left < uses"
ADD_RESET = """
    INSERT INTO password_resets (user_id, digest, expires_at_ms) VALUES (?, ?, ?)
    ON CONFLICT (user_id) DO UPDATE SET digest = excluded.digest, expires_at_ms = excluded.expires_at_ms
"""
USE_RESET = "DELETE FROM password_resets WHERE user_id = ? AND digest = ? AND expires_at_ms > ?"


class SqliteLinks(SqliteAdministration):
    """The part of an `AccountStore` for invites and password resets."""

    async def add_invite(self, invite: Invite, digest: bytes) -> None:
        columns = (invite.invite_id, invite.created_by, invite.created_at_ms, invite.expires_at_ms)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM invites WHERE expires_at_ms <= ?", (invite.created_at_ms,))
            row = (*columns, invite.uses, invite.uses_left, digest)
            connection.execute("INSERT INTO invites VALUES (?, ?, ?, ?, ?, ?, ?)", row)

        await self._database.write(work)

    async def invites(self, *, now_ms: int) -> Sequence[Invite]:
        def work(connection: sqlite3.Connection) -> Sequence[Invite]:
            return [Invite(*row) for row in connection.execute(INVITES, (now_ms,))]

        return await self._database.read(work)

    async def use_invite(self, invite_id: str, digest: bytes, *, now_ms: int) -> bool:
        return await self._changes(USE_INVITE, invite_id, digest, now_ms)

    async def return_use(self, invite_id: str) -> None:
        await self._changes(RETURN_USE, invite_id)

    async def revoke_invite(self, invite_id: str) -> bool:
        return await self._changes("DELETE FROM invites WHERE invite_id = ?", invite_id)

    async def add_password_reset(self, user_id: int, digest: bytes, expires_at_ms: int) -> None:
        await self._changes(ADD_RESET, user_id, digest, expires_at_ms)

    async def use_password_reset(self, user_id: int, digest: bytes, *, now_ms: int) -> bool:
        return await self._changes(USE_RESET, user_id, digest, now_ms)

    async def _changes(self, sql: str, *parameters: object) -> bool:
        """Execute a statement, and return whether it changed a row."""
        return await self._database.write(lambda connection: connection.execute(sql, parameters).rowcount == 1)

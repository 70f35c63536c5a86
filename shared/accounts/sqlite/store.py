"""Accounts in SQLite: the embedded twin of `shared.accounts.store`.

A search looks for its terms in the searched text of both names, the column `folded`. Where SQLite has trigram indexes,
one selects the candidates.
"""

import json
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from shared.accounts.names import search_terms, searched_text
from shared.accounts.people import WhoMayStart
from shared.accounts.sqlite.admin import ADMIN_MIGRATION
from shared.accounts.sqlite.links import LINKS_MIGRATION
from shared.accounts.sqlite.people import OPENINGS_MIGRATION, PEOPLE_MIGRATION, SqlitePeople
from shared.accounts.store import AccountStore, Credentials, Family, Rotation, SigningKey, User, may_repeat
from shared.contract.ids import MAX_ID
from shared.drivers.sqlite import Database, open_database

MAX_EXPIRED = 100
"""Expired sign-ins deleted with each new one: more than one, so that they do not accumulate."""

MIGRATIONS = (
    """
    CREATE TABLE users (
        user_id INTEGER PRIMARY KEY,
        name TEXT NOT NULL COLLATE NOCASE UNIQUE,
        display_name TEXT NOT NULL,
        about TEXT NOT NULL,
        version INTEGER NOT NULL,
        created_at_ms INTEGER NOT NULL,
        password_hash TEXT NOT NULL,
        folded TEXT NOT NULL
    ) STRICT;
    CREATE TABLE families (
        family_id TEXT PRIMARY KEY,
        user_id INTEGER NOT NULL REFERENCES users,
        device_name TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL,
        current_digest BLOB NOT NULL,
        expires_at_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX families_by_user ON families (user_id);
    CREATE INDEX families_by_end ON families (expires_at_ms);
    CREATE TABLE refresh_tokens (
        digest BLOB PRIMARY KEY,
        family_id TEXT NOT NULL REFERENCES families ON DELETE CASCADE,
        expires_at_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family_id, expires_at_ms);
    CREATE TABLE signing_keys (
        key_id TEXT PRIMARY KEY,
        jwk TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL
    ) STRICT;
    """,
    ADMIN_MIGRATION,
    # `folded` was the two names with a line break between them. The index is created again when the file is opened.
    """
    UPDATE users SET folded = '  ' || replace(replace(replace(folded, ' ', '  '), char(10), '  '), '  @', '  ');
    DROP TABLE IF EXISTS users_index;
    """,
    LINKS_MIGRATION,
    "ALTER TABLE families ADD COLUMN refreshed_at_ms INTEGER NOT NULL DEFAULT 0;",
    PEOPLE_MIGRATION,
    "ALTER TABLE users ADD COLUMN last_seen_ms INTEGER NOT NULL DEFAULT 0;",
    "ALTER TABLE users ADD COLUMN shows_read_marks INTEGER NOT NULL DEFAULT 1;",
    "ALTER TABLE users ADD COLUMN avatar TEXT NOT NULL DEFAULT '';",
    OPENINGS_MIGRATION,
)

_COLUMNS = """
    user_id, name, display_name, about, version, created_at_ms, is_deleted, who_may_start, shows_presence,
    shows_read_marks, avatar
"""
"""The columns of a User, as `_users` reads them."""

ADD_USER = """
    INSERT INTO users (user_id, name, display_name, about, version, created_at_ms, password_hash, folded)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING
"""
USERS = f"""
    SELECT {_COLUMNS}
    FROM json_each(?) AS asked JOIN users ON user_id = asked.value GROUP BY user_id ORDER BY min(asked.key)
"""  # noqa: S608 - no input
FIND_BY_SCAN = f"""
    SELECT {_COLUMNS}
    FROM users
    WHERE name > :after AND NOT EXISTS (SELECT 1 FROM json_each(:terms) WHERE NOT instr(folded, value))
    ORDER BY name LIMIT :limit
"""  # noqa: S608 - no input
FIND_BY_INDEX = f"""
    SELECT {_COLUMNS}
    FROM users
    WHERE user_id IN (SELECT rowid FROM users_index WHERE folded MATCH :phrases) AND name > :after
    AND NOT EXISTS (SELECT 1 FROM json_each(:terms) WHERE NOT instr(folded, value))
    ORDER BY name LIMIT :limit
"""  # noqa: S608 - no input
LIST_USERS = f"""
    SELECT {_COLUMNS}
    FROM users
    WHERE user_id <= ? ORDER BY user_id DESC LIMIT ?
"""  # noqa: S608 - no input
UPDATE_PROFILE = f"""
    UPDATE users
    SET display_name = ?, about = ?, version = version + 1, who_may_start = coalesce(?, who_may_start),
        shows_presence = coalesce(?, shows_presence), shows_read_marks = coalesce(?, shows_read_marks),
        avatar = coalesce(?, avatar)
    WHERE user_id = ? AND version = ? AND NOT is_deleted
    RETURNING {_COLUMNS}
"""  # noqa: S608 - no input
DELETE_USER = """
    UPDATE users
    SET display_name = '', about = '', version = version + 1, password_hash = '', folded = '', is_deleted = 1,
        last_seen_ms = 0, avatar = ''
    WHERE user_id = ? AND NOT is_deleted
"""
NOTE_LAST_SEEN = "UPDATE users SET last_seen_ms = max(last_seen_ms, ?) WHERE user_id = ? AND NOT is_deleted"
LAST_SEEN = """
    SELECT user_id, last_seen_ms FROM users WHERE user_id IN (SELECT value FROM json_each(?)) AND last_seen_ms
"""
START_FAMILY = """
    INSERT INTO families (family_id, user_id, device_name, created_at_ms, current_digest, expires_at_ms)
    VALUES (?, ?, ?, ?, ?, ?)
"""
CLEAR_EXPIRED = """
    DELETE FROM families WHERE family_id IN (SELECT family_id FROM families WHERE expires_at_ms <= ? LIMIT ?)
"""
FAMILY_OF = """
    SELECT family_id, user_id, device_name, created_at_ms, refreshed_at_ms, current_digest, families.expires_at_ms
    FROM refresh_tokens JOIN families USING (family_id) WHERE digest = ?
"""


@asynccontextmanager
async def open_sqlite_accounts(path: Path, *, trigrams: bool = True) -> AsyncIterator[AccountStore]:
    """Open the file of accounts, which only its owner may read.

    Without `trigrams`, or where SQLite has none (before 3.34), a search reads every account.
    """
    async with open_database(path, MIGRATIONS) as database:
        yield SqliteAccounts(database, indexed=trigrams and await database.write(_index))


class SqliteAccounts(SqlitePeople):
    """An `AccountStore`. `indexed`: the file has an index of trigrams."""

    def __init__(self, database: Database, *, indexed: bool) -> None:
        super().__init__(database)
        self._indexed = indexed

    async def add_user(self, user: User, password_hash: str) -> bool:
        columns = (user.user_id, user.name, user.display_name, user.about, user.version, user.created_at_ms)
        folded = searched_text(user.name, user.display_name)

        def work(connection: sqlite3.Connection) -> bool:
            added = connection.execute(ADD_USER, (*columns, password_hash, folded)).rowcount == 1
            if added and self._indexed:
                connection.execute("INSERT INTO users_index (rowid, folded) VALUES (?, ?)", (user.user_id, folded))
            return added

        return await self._database.write(work)

    async def users(self, user_ids: Sequence[int]) -> Sequence[User]:
        return _users(await self._rows(USERS, [json.dumps(user_ids)]))

    async def find_users(self, query: str, *, after_name: str, limit: int) -> Sequence[User]:
        terms = search_terms(query)
        if not terms:
            return []
        parameters = {"terms": json.dumps(terms), "after": after_name, "limit": limit}
        if self._indexed:
            parameters["phrases"] = " AND ".join('"' + term.replace('"', '""') + '"' for term in terms)
        rows = await self._rows(FIND_BY_INDEX if self._indexed else FIND_BY_SCAN, parameters)
        return _users(rows)

    async def list_users(self, *, after_id: int, limit: int) -> Sequence[User]:
        return _users(await self._rows(LIST_USERS, [after_id - 1 if after_id else MAX_ID, limit]))

    async def delete_user(self, user_id: int) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(DELETE_USER, (user_id,))
            connection.execute("DELETE FROM password_resets WHERE user_id = ?", (user_id,))
            if self._indexed:
                connection.execute("DELETE FROM users_index WHERE rowid = ?", (user_id,))

        await self._database.write(work)

    async def user_id_of(self, name: str) -> int | None:
        rows = await self._rows("SELECT user_id FROM users WHERE name = ?", [name])
        return int(rows[0][0]) if rows else None

    async def credentials(self, name: str) -> Credentials | None:
        rows = await self._rows("SELECT user_id, password_hash FROM users WHERE name = ? AND NOT is_deleted", [name])
        return Credentials(*rows[0]) if rows else None

    async def password_hash(self, user_id: int) -> str | None:
        rows = await self._rows("SELECT password_hash FROM users WHERE user_id = ? AND NOT is_deleted", [user_id])
        return str(rows[0][0]) if rows else None

    async def set_password(self, user_id: int, password_hash: str, *, former: str | None = None) -> bool:
        sql = """
            UPDATE users SET password_hash = ? WHERE user_id = ? AND password_hash = coalesce(?, password_hash)
            AND NOT is_deleted
        """
        return await self._changes(sql, password_hash, user_id, former)

    async def update_profile(
        self,
        user_id: int,
        *,
        display_name: str,
        about: str,
        version: int,
        who_may_start: WhoMayStart | None = None,
        shows_presence: bool | None = None,
        shows_read_marks: bool | None = None,
        avatar: str | None = None,
    ) -> User | None:
        columns = (display_name, about, who_may_start, shows_presence, shows_read_marks, avatar)

        def work(connection: sqlite3.Connection) -> User | None:
            row = connection.execute(UPDATE_PROFILE, (*columns, user_id, version)).fetchone()
            if row is None:
                return None
            (user,) = _users([row])
            folded = searched_text(user.name, user.display_name)
            connection.execute("UPDATE users SET folded = ? WHERE user_id = ?", (folded, user_id))
            if self._indexed:
                connection.execute("UPDATE users_index SET folded = ? WHERE rowid = ?", (folded, user_id))
            return user

        return await self._database.write(work)

    async def note_last_seen(self, seen: Mapping[int, int]) -> None:
        rows = [(at_ms, user_id) for user_id, at_ms in seen.items()]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(NOTE_LAST_SEEN, rows)

        await self._database.write(work)

    async def last_seen(self, user_ids: Sequence[int]) -> Mapping[int, int]:
        return dict(await self._rows(LAST_SEEN, [json.dumps(user_ids)]))

    async def start_family(self, family: Family, token_digest: bytes, expires_at_ms: int) -> None:
        columns = (family.family_id, family.user_id, family.device_name, family.created_at_ms)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(CLEAR_EXPIRED, (family.created_at_ms, MAX_EXPIRED))
            connection.execute(START_FAMILY, (*columns, token_digest, expires_at_ms))
            _add_token(connection, token_digest, family.family_id, expires_at_ms)

        await self._database.write(work)

    async def rotate(
        self, old_digest: bytes, new_digest: bytes, *, now_ms: int, expires_at_ms: int
    ) -> Family | Rotation:
        def work(connection: sqlite3.Connection) -> Family | Rotation:
            row = connection.execute(FAMILY_OF, (old_digest,)).fetchone()
            if row is None:
                return Rotation.UNKNOWN
            *columns, current_digest, ends_at_ms = row
            family = Family(*columns)
            if current_digest == new_digest and may_repeat(ends_at_ms, expires_at_ms):
                return family
            if current_digest != old_digest:
                connection.execute("DELETE FROM families WHERE family_id = ?", (family.family_id,))
                return Rotation.REUSED
            if ends_at_ms <= now_ms:
                return Rotation.EXPIRED
            _replace_token(connection, family.family_id, new_digest, now_ms, expires_at_ms)
            return family

        return await self._database.write(work)

    async def family_of(self, token_digest: bytes) -> Family | None:
        rows = await self._rows(FAMILY_OF, [token_digest])
        return Family(*rows[0][:5]) if rows else None

    async def end_family(self, family_id: str) -> None:
        await self._execute("DELETE FROM families WHERE family_id = ?", family_id)

    async def end_families(self, user_id: int, *, except_family_id: str = "") -> Sequence[str]:
        def work(connection: sqlite3.Connection) -> Sequence[str]:
            sql = "DELETE FROM families WHERE user_id = ? AND family_id <> ? RETURNING family_id"
            return [family_id for (family_id,) in connection.execute(sql, (user_id, except_family_id)).fetchall()]

        return await self._database.write(work)

    async def is_live(self, family_id: str) -> bool:
        return bool(await self._rows("SELECT 1 FROM families WHERE family_id = ?", [family_id]))

    async def signing_keys(self) -> Sequence[SigningKey]:
        sql = "SELECT key_id, jwk, created_at_ms FROM signing_keys ORDER BY created_at_ms DESC, key_id"
        return [SigningKey(*row) for row in await self._rows(sql, [])]

    async def add_signing_key(self, key: SigningKey, *, if_none: bool = False) -> None:
        sql = "INSERT INTO signing_keys SELECT ?, ?, ? WHERE NOT ? OR NOT EXISTS (SELECT 1 FROM signing_keys)"
        await self._execute(sql, key.key_id, key.jwk, key.created_at_ms, if_none)

    async def remove_signing_key(self, key_id: str) -> None:
        await self._execute("DELETE FROM signing_keys WHERE key_id = ?", key_id)

    async def _rows(self, sql: str, parameters: Sequence[object] | dict[str, object]) -> list[Any]:
        return await self._database.read(lambda connection: connection.execute(sql, parameters).fetchall())

    async def _execute(self, sql: str, *parameters: object) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(sql, parameters)

        await self._database.write(work)


def _users(rows: Iterable[Any]) -> list[User]:
    return [
        User(
            user_id,
            name,
            display_name,
            about,
            version,
            created_at_ms,
            bool(is_deleted),
            who_may_start=WhoMayStart(who),
            shows_presence=bool(presence),
            shows_read_marks=bool(marks),
            avatar=avatar,
        )
        for user_id, name, display_name, about, version, created_at_ms, is_deleted, who, presence, marks, avatar in rows
    ]


def _index(connection: sqlite3.Connection) -> bool:
    """Create the index of trigrams if it is missing; False if this SQLite does not support it.

    It is not a migration: a file without the index gets it when a newer SQLite opens the file.
    """
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'users_index'").fetchone():
        return True
    try:
        connection.execute("CREATE VIRTUAL TABLE users_index USING fts5(folded, tokenize = 'trigram')")
    except sqlite3.OperationalError:
        return False
    connection.execute("INSERT INTO users_index (rowid, folded) SELECT user_id, folded FROM users")
    return True


def _add_token(connection: sqlite3.Connection, digest: bytes, family_id: str, expires_at_ms: int) -> None:
    connection.execute("INSERT INTO refresh_tokens VALUES (?, ?, ?)", (digest, family_id, expires_at_ms))


def _replace_token(
    connection: sqlite3.Connection, family_id: str, digest: bytes, now_ms: int, expires_at_ms: int
) -> None:
    """Make `digest` the family's current token, and delete its expired ones."""
    connection.execute("DELETE FROM refresh_tokens WHERE family_id = ? AND expires_at_ms <= ?", (family_id, now_ms))
    _add_token(connection, digest, family_id, expires_at_ms)
    connection.execute(
        "UPDATE families SET current_digest = ?, expires_at_ms = ?, refreshed_at_ms = ? WHERE family_id = ?",
        (digest, expires_at_ms, now_ms, family_id),
    )

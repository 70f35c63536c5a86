"""Accounts on Cassandra: the distributed twin of `shared.accounts.store`.

A lightweight transaction inserts the row of a name with all data of the account. The other rows are made from it in
idempotent steps, which the next operation on that name completes after an interruption.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from shared.accounts.cassandra.admin import ADMIN_STATEMENTS
from shared.accounts.cassandra.links import LINK_STATEMENTS, REMOVE_RESET
from shared.accounts.cassandra.people import PEOPLE_STATEMENTS, CassandraPeople
from shared.accounts.cassandra.schema import month_at
from shared.accounts.cassandra.search import SEARCH_STATEMENTS, NameIndex, fold, for_all_users
from shared.accounts.cassandra.sign_ins import SIGN_IN_STATEMENTS
from shared.accounts.people import WhoMayStart
from shared.accounts.store import AccountStore, Credentials, SigningKey, User, batches
from shared.contract.errors import Unavailable
from shared.contract.ids import MAX_ID, time_of
from shared.drivers.cassandra.migrations import Progress
from shared.drivers.cassandra.session import CassandraSession
from shared.drivers.cassandra.statements import Statements

TAKE_NAME = """
    INSERT INTO user_by_name
    (name, user_id, written_name, display_name, about, version, created_at_ms, password_hash)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS
"""
TAKEN_NAME = """
    SELECT user_id, written_name, display_name, about, version, created_at_ms, password_hash
    FROM user_by_name WHERE name = ?
"""
CLEAR_NAME_ROW = """
    UPDATE user_by_name
    SET written_name = null, display_name = null, about = null, version = null, created_at_ms = null,
        password_hash = null
    WHERE name = ? IF user_id = ?
"""
ADD_USER = """
    INSERT INTO users (user_id, name, display_name, about, version, created_at_ms, password_hash)
    VALUES (?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS
"""
ALL_USERS = """
    SELECT user_id, name, display_name, about, version, created_at_ms, is_deleted, who_may_start, shows_presence,
        shows_read_marks, avatar
    FROM users
"""
USER = ALL_USERS + "WHERE user_id = ?"
USERS = ALL_USERS + "WHERE user_id IN ?"
LIST_MONTH = "INSERT INTO user_months (all_months, month) VALUES (0, ?)"
LIST_USER = "INSERT INTO users_by_month (month, user_id) VALUES (?, ?)"
MONTHS = "SELECT month FROM user_months WHERE all_months = 0"
USERS_OF_MONTH = "SELECT user_id FROM users_by_month WHERE month = ? AND user_id <= ? LIMIT ?"
PASSWORD_HASH = "SELECT password_hash FROM users WHERE user_id = ?"  # noqa: S105 - CQL
SET_PASSWORD = "UPDATE users SET password_hash = ? WHERE user_id = ? IF password_hash != null"  # noqa: S105 - CQL
REPLACE_PASSWORD = "UPDATE users SET password_hash = ? WHERE user_id = ? IF password_hash = ?"  # noqa: S105 - CQL
UPDATE_PROFILE = """
    UPDATE users SET display_name = ?, about = ?, version = ?, who_may_start = ?, shows_presence = ?,
        shows_read_marks = ?, avatar = ?
    WHERE user_id = ? IF version = ?
"""
DELETE_USER = """
    UPDATE users SET display_name = '', about = '', version = ?, password_hash = null, is_deleted = true,
        avatar = null
    WHERE user_id = ? IF version = ?
"""
NOTE_LAST_SEEN = "INSERT INTO last_seen (user_id, at_ms) VALUES (?, ?) USING TIMESTAMP ?"
LAST_SEEN = "SELECT user_id, at_ms FROM last_seen WHERE user_id = ?"
FORGET_LAST_SEEN = "DELETE FROM last_seen USING TIMESTAMP 4611686018427387904 WHERE user_id = ?"
SIGNING_KEYS = "SELECT key_id, jwk, created_at_ms FROM signing_keys WHERE all_keys = 0"
ADD_KEY = """
    UPDATE signing_keys SET has_any = true, jwk = ?, created_at_ms = ? WHERE all_keys = 0 AND key_id = ?
    IF jwk = null
"""
ADD_FIRST_KEY = """
    UPDATE signing_keys SET has_any = true, jwk = ?, created_at_ms = ? WHERE all_keys = 0 AND key_id = ?
    IF has_any = null
"""
REMOVE_KEY = "DELETE FROM signing_keys WHERE all_keys = 0 AND key_id = ? IF jwk != null"

ACCOUNT_STATEMENTS = (
    TAKE_NAME,
    TAKEN_NAME,
    CLEAR_NAME_ROW,
    ADD_USER,
    USER,
    USERS,
    LIST_MONTH,
    LIST_USER,
    MONTHS,
    USERS_OF_MONTH,
    PASSWORD_HASH,
    SET_PASSWORD,
    REPLACE_PASSWORD,
    UPDATE_PROFILE,
    DELETE_USER,
    NOTE_LAST_SEEN,
    LAST_SEEN,
    FORGET_LAST_SEEN,
    SIGNING_KEYS,
    ADD_KEY,
    ADD_FIRST_KEY,
    REMOVE_KEY,
)


@asynccontextmanager
async def open_cassandra_accounts(session: CassandraSession) -> AsyncIterator[AccountStore]:
    """Open the store on a session in the keyspace of its tables. Raises Unavailable if Cassandra does not answer."""
    statements = Statements(session)
    own = (ACCOUNT_STATEMENTS, SEARCH_STATEMENTS, SIGN_IN_STATEMENTS)
    rooms = (*own, ADMIN_STATEMENTS, LINK_STATEMENTS, PEOPLE_STATEMENTS)
    await statements.prepare([statement for room in rooms for statement in room])
    yield CassandraAccounts(statements)


class CassandraAccounts(CassandraPeople):
    """An `AccountStore`. An operation that raised Unavailable may be retried with the same arguments; it takes effect
    once."""

    def __init__(self, statements: Statements) -> None:
        super().__init__(statements)
        self._index = NameIndex(statements, self.users)

    async def add_user(self, user: User, password_hash: str) -> bool:
        """As in the protocol; also True if this account has the name from an interrupted attempt."""
        columns = (user.user_id, user.name, user.display_name, user.about, user.version, user.created_at_ms)
        if await self._statements.apply(TAKE_NAME, _key(user.name), *columns, password_hash):
            await self._complete(user, password_hash)
            return True
        owner_id = await self.user_id_of(user.name)
        if owner_id is None:
            raise Unavailable("a name that is taken could not be read: are reads less consistent than writes?")
        return owner_id == user.user_id

    async def users(self, user_ids: Sequence[int]) -> Sequence[User]:
        if len(user_ids) == 1:  # the driver sends this to a replica
            return _users(await self._statements.run(USER, user_ids[0]))
        asked = list(dict.fromkeys(user_ids))
        rows = await self._statements.run(USERS, asked) if asked else []
        found = {user.user_id: user for user in _users(rows)}
        return [found[user_id] for user_id in asked if user_id in found]

    async def find_users(self, query: str, *, after_name: str, limit: int) -> Sequence[User]:
        return await self._index.find(query, after_name=after_name, limit=limit)

    async def list_users(self, *, after_id: int, limit: int) -> Sequence[User]:
        newest = after_id - 1 if after_id else MAX_ID
        rows = await self._newest(MONTHS, USERS_OF_MONTH, _month(newest), newest, limit)
        return [user for batch in batches(user_id for (user_id,) in rows) for user in await self.users(batch)]

    async def delete_user(self, user_id: int) -> None:
        """As in the protocol. The names leave the index first, while they are known."""
        await self._statements.apply(REMOVE_RESET, user_id)
        while (user := await self._user(user_id)) is not None and not user.is_deleted:
            await self.user_id_of(user.name)  # the row of its name has the password until its creation is completed
            await self._index.remove(user, user.version)
            await self._statements.apply(DELETE_USER, user.version + 1, user_id, user.version)
        await self._statements.run(FORGET_LAST_SEEN, user_id)

    async def user_id_of(self, name: str) -> int | None:
        """As in the protocol. It completes an account whose creation was interrupted."""
        rows = await self._statements.run(TAKEN_NAME, _key(name)) if name else []
        if not rows:
            return None
        user_id, written_name, *columns, password_hash = rows[0]
        if password_hash is not None:
            await self._complete(User(user_id, written_name, *columns), password_hash)
        return int(user_id)

    async def credentials(self, name: str) -> Credentials | None:
        user_id = await self.user_id_of(name)
        password_hash = None if user_id is None else await self.password_hash(user_id)
        return None if user_id is None or password_hash is None else Credentials(user_id, password_hash)

    async def password_hash(self, user_id: int) -> str | None:
        rows = await self._statements.run(PASSWORD_HASH, user_id)
        return str(rows[0][0]) if rows and rows[0][0] is not None else None

    async def set_password(self, user_id: int, password_hash: str, *, former: str | None = None) -> bool:
        if former is None:
            return await self._statements.apply(SET_PASSWORD, password_hash, user_id)
        return await self._statements.apply(REPLACE_PASSWORD, password_hash, user_id, former)

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
        """As in the protocol; also the account if an interrupted attempt has made the same change.

        The new names are added to the index before the change, and the old ones removed after it, so that the account
        is always found. Rows left by an interruption are removed by the search that reads them.
        """
        before = await self._user(user_id)
        if before is None or before.is_deleted:
            return None
        given: dict[str, Any] = {
            "who_may_start": who_may_start,
            "shows_presence": shows_presence,
            "shows_read_marks": shows_read_marks,
            "avatar": avatar,
        }
        changed = {name: value for name, value in given.items() if value is not None}
        wanted = replace(before, display_name=display_name, about=about, version=version + 1, **changed)
        if before.version != version:
            return before if before == wanted else None
        moved = fold(before.display_name) != fold(display_name)
        if moved:
            await self._index.add(wanted)
        settings = (str(wanted.who_may_start), wanted.shows_presence, wanted.shows_read_marks, wanted.avatar)
        columns = (display_name, about, version + 1, *settings)
        applied = await self._statements.apply(UPDATE_PROFILE, *columns, user_id, version)
        after = wanted if applied else (await self._user(user_id)) or before
        for user in (before, wanted) if moved else ():
            if fold(user.display_name) != fold(after.display_name):
                await self._index.remove(user, after.version)
        return wanted if after == wanted else None

    async def note_last_seen(self, seen: Mapping[int, int]) -> None:
        """As in the protocol: the time is the timestamp of the write, so that the latest stays."""
        rows = [(user_id, at_ms, at_ms * 1000) for user_id, at_ms in seen.items()]
        await self._statements.run_all(NOTE_LAST_SEEN, rows)

    async def last_seen(self, user_ids: Sequence[int]) -> Mapping[int, int]:
        found = await self._statements.run_all(LAST_SEEN, [(user_id,) for user_id in dict.fromkeys(user_ids)])
        return {user_id: at_ms for rows in found for user_id, at_ms in rows}

    async def signing_keys(self) -> Sequence[SigningKey]:
        keys = [SigningKey(*row) for row in await self._statements.run(SIGNING_KEYS)]
        return sorted(keys, key=lambda key: (-key.created_at_ms, key.key_id))

    async def add_signing_key(self, key: SigningKey, *, if_none: bool = False) -> None:
        statement = ADD_FIRST_KEY if if_none else ADD_KEY
        await self._statements.apply(statement, key.jwk, key.created_at_ms, key.key_id)

    async def remove_signing_key(self, key_id: str) -> None:
        await self._statements.apply(REMOVE_KEY, key_id)

    async def _user(self, user_id: int) -> User | None:
        return next(iter(await self.users([user_id])), None)

    async def _complete(self, user: User, password_hash: str) -> None:
        """Create the account from the row of its name, and clear the other columns of that row."""
        await self._index.add(user)
        columns = (user.user_id, user.name, user.display_name, user.about, user.version, user.created_at_ms)
        await self._statements.apply(ADD_USER, *columns, password_hash)
        await _list(self._statements, [user])
        await self._statements.apply(CLEAR_NAME_ROW, _key(user.name), user.user_id)


async def list_all(session: CassandraSession, progress: Progress) -> None:
    """Add every account to the list of its month. Repeating it changes nothing. Raises Unavailable."""
    await for_all_users(session, progress, _list)


async def _list(statements: Statements, users: Iterable[User]) -> None:
    """Add the accounts to the lists of their months: the months first, since an unlisted month is never read."""
    rows = [(_month(user.user_id), user.user_id) for user in users]
    await statements.run_all(LIST_MONTH, [(month,) for month in {month for month, _ in rows}])
    await statements.run_all(LIST_USER, rows)


def _key(name: str) -> str:
    """The name as the key of its row: its letters of ASCII in lower case, as `NOCASE` of SQLite compares names. Folded,
    other letters would find the account too, and limits by name count their names apart."""
    return name.encode().lower().decode()


def _month(user_id: int) -> int:
    """The month in which the account was created, by the time in its id."""
    return month_at(time_of(user_id))


def _users(rows: Iterable[Sequence[Any]]) -> list[User]:
    return [
        User(
            user_id,
            name,
            display_name,
            about,
            version,
            created_at_ms,
            bool(is_deleted),
            who_may_start=WhoMayStart(who or WhoMayStart.EVERYONE),
            shows_presence=presence is not False,
            shows_read_marks=marks is not False,
            avatar=avatar or "",
        )
        for user_id, name, display_name, about, version, created_at_ms, is_deleted, who, presence, marks, avatar in rows
    ]

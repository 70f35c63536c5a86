"""Search by names on Cassandra: an index from the trigrams of `searched_text` to accounts.

The index may also hold rows of former names, so a search checks its results against the accounts. Rows are written with
the version of the profile as their timestamp, so that a late write or removal does not affect a later version.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from shared.accounts.names import is_match, search_terms, searched_text, trigrams_of
from shared.accounts.store import User
from shared.drivers.cassandra.migrations import Progress, pages_from
from shared.drivers.cassandra.session import CassandraSession
from shared.drivers.cassandra.statements import Statements

PAGE = 200
"""Rows of the index in one read."""

MAX_SCANNED = 10_000
"""Most rows of the index that one search reads. If more rows have the query's rarest trigram but not its terms, the
accounts after these are not found: a longer query, or one with rarer characters, finds them."""

MAX_PROBED = 8
"""Most trigrams of the query among which the rarest is chosen."""

MAX_CHECKED = 100
"""Most accounts in one read."""

ADD = "INSERT INTO names_by_trigram (trigram, name, display_name, user_id) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
REMOVE = "DELETE FROM names_by_trigram USING TIMESTAMP ? WHERE trigram = ? AND name = ? AND display_name = ?"
AFTER_NAME = """
    SELECT name, display_name, user_id FROM names_by_trigram WHERE trigram = ? AND name > ? LIMIT ?
"""
AFTER_ROW = """
    SELECT name, display_name, user_id FROM names_by_trigram
    WHERE trigram = ? AND (name, display_name) > (?, ?) LIMIT ?
"""
SOME_USERS = """
    SELECT token(user_id), user_id, name, display_name, about, version, created_at_ms FROM users
    WHERE token(user_id) > ? LIMIT ?
"""

SEARCH_STATEMENTS = (ADD, REMOVE, AFTER_NAME, AFTER_ROW)

Row = tuple[Any, ...]
"""Name and display name, case-folded, and the user's id."""

Users = Callable[[Sequence[int]], Awaitable[Sequence[User]]]
"""Returns the existing accounts of up to a hundred ids."""


class NameIndex:
    """Finds accounts by their names. A search reads pages of `page` rows, and about `max_scanned` rows at most."""

    def __init__(
        self, statements: Statements, users: Users, *, page: int = PAGE, max_scanned: int = MAX_SCANNED
    ) -> None:
        self._statements = statements
        self._users = users
        self._page = page
        self._max_scanned = max_scanned

    async def add(self, user: User) -> None:
        """Add the user's names to the index. Repeating it changes nothing."""
        await self._statements.run_all(ADD, _rows(user))

    async def remove(self, user: User, version: int) -> None:
        """Remove names that the account no longer has at this version. Rows of later versions stay."""
        await self._remove(fold(user.name), fold(user.display_name), version)

    async def find(self, query: str, *, after_name: str, limit: int) -> Sequence[User]:
        """Return the accounts that the query finds, by name."""
        terms, scanned, found = search_terms(query), 0, dict[int, User]()
        trigram, rows = await self._rarest(terms, fold(after_name))
        while True:
            scanned += len(rows)
            await self._match(rows, terms, limit, found)
            if len(found) >= limit or len(rows) < self._page or scanned >= self._max_scanned:
                return [*found.values()]
            name, display_name, _ = rows[-1]
            rows = await self._statements.run(AFTER_ROW, trigram, name, display_name, self._page)

    async def _rarest(self, terms: Sequence[str], after_name: str) -> tuple[str, list[Row]]:
        """Return the terms' rarest trigram, whose first page gets furthest in the order of names, and that page."""
        trigrams = trigrams_of(*terms)[:MAX_PROBED]
        pages = await self._statements.run_all(AFTER_NAME, [(each, after_name, self._page) for each in trigrams])
        return max(zip(trigrams, pages, strict=True), key=lambda each: self._reach(each[1]), default=("", []))

    def _reach(self, rows: Sequence[Row]) -> Row:
        """Rank a page by how far it gets: one that is not full reaches the end, and then fewer rows are better."""
        return (True, -len(rows)) if len(rows) < self._page else (False, rows[-1])

    async def _match(self, rows: Sequence[Row], terms: Sequence[str], limit: int, found: dict[int, User]) -> None:
        """Add the accounts of these rows that match the terms to `found`, by id, up to the limit.

        The current names decide: an account may have changed since the rows were read, and occur in them twice.
        """
        candidates = [row for row in rows if is_match(terms, row[0], row[1])]
        while candidates and len(found) < limit:
            count = min(limit - len(found), MAX_CHECKED)
            for user in await self._check(candidates[:count]):
                if not user.is_deleted and is_match(terms, user.name, user.display_name):
                    found[user.user_id] = user
            candidates = candidates[count:]

    async def _check(self, rows: Sequence[Row]) -> Sequence[User]:
        """Return the accounts of these rows, without unfinished accounts; remove rows of former names."""
        users = await self._users([user_id for _, _, user_id in rows])
        by_id = {user.user_id: user for user in users}
        for name, display_name, user_id in rows:
            user = by_id.get(user_id)
            if user is not None and fold(user.display_name) != display_name:
                await self._remove(name, display_name, user.version)
        return users

    async def _remove(self, name: str, display_name: str, version: int) -> None:
        trigrams = trigrams_of(searched_text(name, display_name))
        rows = [(2 * version + 1, each, name, display_name) for each in trigrams]
        await self._statements.run_all(REMOVE, rows)


async def index_all(session: CassandraSession, progress: Progress) -> None:
    """Add every account to the index, PAGE at a time. Repeating it changes nothing. Raises Unavailable."""

    async def add(statements: Statements, users: Sequence[User]) -> None:
        await statements.run_all(ADD, [row for user in users for row in _rows(user)])

    await for_all_users(session, progress, add)


async def for_all_users(
    session: CassandraSession,
    progress: Progress,
    write: Callable[[Statements, Sequence[User]], Awaitable[None]],
) -> None:
    """Write rows for every account, PAGE at a time, for a migration. Raises Unavailable."""
    statements = Statements(session)
    async for rows in pages_from(session, progress, "users", SOME_USERS, PAGE):
        await write(statements, [User(*columns) for _, *columns in rows])


def fold(name: str) -> str:
    """Case-fold a name."""
    return name.casefold()


def _rows(user: User) -> list[Row]:
    """Return the parameters of ADD for each row of the user."""
    name, display_name = fold(user.name), fold(user.display_name)
    trigrams = trigrams_of(searched_text(name, display_name))
    return [(each, name, display_name, user.user_id, 2 * user.version) for each in trigrams]

"""Search by part of a name on Cassandra: an index from each three characters in a row to the accounts that have them.

The index holds what a name has, and may hold what it had: what a search finds is checked against the accounts. Rows are
written with the version of the profile as their timestamp, so that a late write or removal harms no later one's.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from shared.accounts.store import User
from shared.drivers.cassandra.statements import Statements

PAGE = 200
"""Rows of the index read at once."""

MAX_SCANNED = 10_000
"""Rows of the index that one search looks at. Where more have the part's rarest three characters but not the part, the
accounts beyond are not found: a longer part, or one with rarer characters, finds them."""

MAX_PROBED = 8
"""Trigrams of the part of which the rarest is looked for."""

MAX_CHECKED = 100
"""Accounts asked for at once."""

ADD = "INSERT INTO names_by_trigram (trigram, name, display_name, user_id) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
REMOVE = "DELETE FROM names_by_trigram USING TIMESTAMP ? WHERE trigram = ? AND name = ? AND display_name = ?"
AFTER_NAME = """
    SELECT name, display_name, user_id FROM names_by_trigram WHERE trigram = ? AND name > ? LIMIT ?
"""
AFTER_ROW = """
    SELECT name, display_name, user_id FROM names_by_trigram
    WHERE trigram = ? AND (name, display_name) > (?, ?) LIMIT ?
"""

SEARCH_STATEMENTS = (ADD, REMOVE, AFTER_NAME, AFTER_ROW)

Row = tuple[Any, ...]
"""Name and display name, case-folded, and the id of the user whose they are."""

Users = Callable[[Sequence[int]], Awaitable[Sequence[User]]]
"""Gives the accounts that exist of up to a hundred ids."""


class NameIndex:
    """Finds accounts by part of a name. It reads `page` rows at once, and looks at about `max_scanned` for a search."""

    def __init__(
        self, statements: Statements, users: Users, *, page: int = PAGE, max_scanned: int = MAX_SCANNED
    ) -> None:
        self._statements = statements
        self._users = users
        self._page = page
        self._max_scanned = max_scanned

    async def add(self, user: User) -> None:
        """Let the account be found by these names, once it has them. Doing it again changes nothing."""
        name, display_name = fold(user.name), fold(user.display_name)
        rows = [(each, name, display_name, user.user_id, 2 * user.version) for each in _trigrams(name, display_name)]
        await self._statements.run_all(ADD, rows)

    async def remove(self, user: User, version: int) -> None:
        """Forget names which the account does not have at this version. Adding them for a later one is not undone."""
        await self._remove(fold(user.name), fold(user.display_name), version)

    async def find(self, part: str, *, after_name: str, limit: int) -> Sequence[User]:
        """Accounts with the part in either name, by name."""
        part, scanned, found = fold(part), 0, dict[int, User]()
        trigram, rows = await self._rarest(part, fold(after_name))
        while True:
            scanned += len(rows)
            await self._match(rows, part, limit, found)
            if len(found) >= limit or len(rows) < self._page or scanned >= self._max_scanned:
                return [*found.values()]
            name, display_name, _ = rows[-1]
            rows = await self._statements.run(AFTER_ROW, trigram, name, display_name, self._page)

    async def _rarest(self, part: str, after_name: str) -> tuple[str, list[Row]]:
        """The trigram of the part whose rows get furthest in the order of names, and the first of these."""
        trigrams = _trigrams(part)[:MAX_PROBED]
        pages = await self._statements.run_all(AFTER_NAME, [(each, after_name, self._page) for each in trigrams])
        return max(zip(trigrams, pages, strict=True), key=lambda each: self._reach(each[1]), default=("", []))

    def _reach(self, rows: Sequence[Row]) -> Row:
        """How far a page of a trigram's rows gets: to the end if it is not full, and then fewer are better."""
        return (True, -len(rows)) if len(rows) < self._page else (False, rows[-1])

    async def _match(self, rows: Sequence[Row], part: str, limit: int, found: dict[int, User]) -> None:
        """Add the accounts in these rows that have the part to those found, by id, up to the limit.

        What an account has now decides: it may have changed since the rows were read, and be in them twice.
        """
        candidates = [row for row in rows if part in _searched(row[0], row[1])]
        while candidates and len(found) < limit:
            count = min(limit - len(found), MAX_CHECKED)
            for user in await self._check(candidates[:count]):
                if part in _searched(fold(user.name), fold(user.display_name)):
                    found[user.user_id] = user
            candidates = candidates[count:]

    async def _check(self, rows: Sequence[Row]) -> Sequence[User]:
        """The accounts in these rows, but for such as are still being made. Rows of names from before are removed."""
        users = await self._users([user_id for _, _, user_id in rows])
        by_id = {user.user_id: user for user in users}
        for name, display_name, user_id in rows:
            user = by_id.get(user_id)
            if user is not None and fold(user.display_name) != display_name:
                await self._remove(name, display_name, user.version)
        return users

    async def _remove(self, name: str, display_name: str, version: int) -> None:
        rows = [(2 * version + 1, each, name, display_name) for each in _trigrams(name, display_name)]
        await self._statements.run_all(REMOVE, rows)


def fold(name: str) -> str:
    """The same for all names that differ by case alone."""
    return name.casefold()


def _searched(name: str, display_name: str) -> str:
    """What a search looks in. No part that is asked for holds the line break between the two."""
    return f"{name}\n{display_name}"


def _trigrams(*texts: str) -> list[str]:
    """Every three characters in a row, each once, in order."""
    return list(dict.fromkeys(text[start : start + 3] for text in texts for start in range(len(text) - 2)))

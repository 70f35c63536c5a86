"""The search of public groups on Cassandra: an index from the trigrams of their names, like that of people's names.

The index may also hold former names, and groups that are not public any more, so a search checks its results against
the heads of the groups. Rows have twice the version of their settings as timestamp, so that a late write or removal
does not affect a later version.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from messaging.archive.store.cassandra.writes import Writes
from messaging.archive.store.protocol import PublicCursor
from rookery.v1.archive_pb2 import PublicChat
from rookery.v1.groups_pb2 import GroupSettings
from shared.accounts.names import is_match, search_terms, searched_text, trigrams_of
from shared.drivers.cassandra import CassandraSession
from shared.drivers.cassandra.statements import Statements

ALL = "-"
"""In place of a trigram: the row of all public groups."""

PAGE = 100
"""Rows of the index in one read, whose groups are read at once."""

MAX_SCANNED = 10_000
"""Most rows of the index that one search reads: groups after them are not found. A longer query finds them."""

MAX_PROBED = 8
"""Most trigrams of the query among which the rarest is chosen."""

_ADD = "INSERT INTO public_chats_by_trigram (trigram, name, chat_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
_REMOVE = "DELETE FROM public_chats_by_trigram USING TIMESTAMP ? WHERE trigram = ? AND name = ? AND chat_id = ?"
_AFTER = """
    SELECT name, chat_id FROM public_chats_by_trigram WHERE trigram = ? AND (name, chat_id) > (?, ?) LIMIT ?
"""
_HEADS = "SELECT chat_id, version, settings, member_count FROM chat_heads WHERE chat_id IN ?"
PUBLIC_WRITES = (_ADD, _REMOVE)


def add_public(
    writes: Writes,
    statements: Mapping[str, Any],
    chat_id: str,
    settings: GroupSettings,
    version: int,
    former: GroupSettings,
) -> None:
    """Add the rows of a group with these settings of this version, and remove the rows of the stored settings."""
    if settings.is_public:
        for row in _rows(chat_id, settings.name.casefold()):
            writes.add(row[0], statements[_ADD], (*row, 2 * version))
    if former.is_public and (not settings.is_public or former.name.casefold() != settings.name.casefold()):
        for row in _rows(chat_id, former.name.casefold()):
            writes.add(row[0], statements[_REMOVE], (2 * version - 1, *row))


class PublicChats:
    """Finds public groups by their names. Its methods raise Unavailable if Cassandra does not answer."""

    def __init__(self, session: CassandraSession) -> None:
        self._statements = Statements(session)

    async def find(self, query: str, *, after: PublicCursor, limit: int) -> Sequence[PublicChat]:
        """The public groups with members that the query finds, by name, without the user's own part."""
        terms, found, scanned = search_terms(query), list[PublicChat](), 0
        trigram, rows = await self._rarest(terms, after)
        while True:
            scanned += len(rows)
            found += await self._check([row for row in rows if is_match(terms, row.name)])
            if len(found) >= limit or len(rows) < PAGE or scanned >= MAX_SCANNED:
                return found[:limit]
            rows = await self._page(trigram, rows[-1])

    async def _rarest(self, terms: Sequence[str], after: PublicCursor) -> tuple[str, list[PublicCursor]]:
        """The terms' rarest trigram, whose first page gets furthest in the order of names, and that page."""
        trigrams = trigrams_of(*terms)[:MAX_PROBED] or [ALL]
        pages = await self._statements.run_all(_AFTER, [(each, *after, PAGE) for each in trigrams])
        cursors = [[PublicCursor(*row) for row in rows] for rows in pages]
        return max(zip(trigrams, cursors, strict=True), key=lambda each: _reach(each[1]))

    async def _page(self, trigram: str, after: PublicCursor) -> list[PublicCursor]:
        return [PublicCursor(*row) for row in await self._statements.run(_AFTER, trigram, *after, PAGE)]

    async def _check(self, rows: Sequence[PublicCursor]) -> list[PublicChat]:
        """The groups of these rows that are public now, by this name; remove the rows of others, and of groups without
        members, which nobody can join any more."""
        if not rows:
            return []
        heads = {each[0]: each[1:] for each in await self._statements.run(_HEADS, [row.chat_id for row in rows])}
        found: list[PublicChat] = []
        for name, chat_id in rows:
            version, content, member_count = heads.get(chat_id, (None, None, None))
            settings = GroupSettings.FromString(content or b"")
            is_left = version is not None and not member_count
            if is_left or not settings.is_public or settings.name.casefold() != name:
                removed = [(2 * (version or 0) + 1, *row) for row in _rows(chat_id, name)]
                await self._statements.run_all(_REMOVE, removed)
            elif member_count:  # else its settings are recorded before a control change of a lower version
                found.append(PublicChat(chat_id=chat_id, settings=settings, member_count=member_count))
        return found


def _rows(chat_id: str, name: str) -> list[tuple[str, str, str]]:
    """The rows of a group with this case-folded name."""
    return [(trigram, name, chat_id) for trigram in (ALL, *trigrams_of(searched_text(name)))]


def _reach(rows: Sequence[PublicCursor]) -> tuple[bool, int | PublicCursor]:
    """Rank a page by how far it gets: one that is not full reaches the end, and then fewer rows are better."""
    return (True, -len(rows)) if len(rows) < PAGE else (False, rows[-1])

"""The chat store on SQLite: chats, messages, changes and marks in a file of their own.

Events and the offsets up to which the log is recorded are one transaction, so events that a crash or a power loss
undoes are recorded again from the log.
"""

import json
import sqlite3
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import chain, islice
from pathlib import Path

from messaging.archive.store.laws import EDIT, EVERYONE, PRIVATE, SHARED, own_key
from messaging.archive.store.protocol import (
    MAX_CHANGES,
    MAX_PAGE_CHANGES,
    MAX_VERSIONS,
    MENTIONS_LIMIT,
    MENTIONS_SCAN,
    UNREAD_LIMIT,
    UNREAD_SCAN,
    ChatCursor,
    Logged,
    Membership,
    Page,
    PublicCursor,
    with_changes,
)
from messaging.archive.store.sqlite.files import SqliteFiles
from messaging.archive.store.sqlite.groups import (
    read_group,
    read_marks,
    read_member,
    read_membership,
    read_present,
    read_public,
    settings_at,
)
from messaging.archive.store.sqlite.recording import record, record_unknown
from messaging.archive.store.sqlite.schema import MIGRATIONS
from rookery.v1.archive_pb2 import (
    CHAT_KIND_DIRECT,
    CHAT_KIND_GROUP,
    Chat,
    FileClass,
    Group,
    HistoryMessage,
    ListMembersResponse,
    Mark,
    PublicChat,
)
from rookery.v1.groups_pb2 import GroupSettings
from rookery.v1.session_pb2 import Change, Event, Message
from shared.contract.changes import KINDS
from shared.contract.chats import direct_members
from shared.contract.groups import OPEN
from shared.contract.ids import MAX_AGE_MS, MAX_ID, time_of
from shared.drivers.sqlite import Database, open_database

_CHECKPOINT_PAGES = 4_000
"""Pages (16 MB) in the write-ahead log before a checkpoint: 4 times SQLite's default, so that a page that is written
often is copied less often. Measured: 10 % less CPU per message."""

_LIST_CHATS = """
    SELECT chats.chat, chat_id, version, member_count, newest_sent_id,
        max(ifnull(until_ms, chats.changed_ms), chats_by_user.changed_ms) AS changed,
        chats.chat IN (SELECT value FROM json_each(?)) AS is_pinned
    FROM chats_by_user JOIN chats USING (chat)
    WHERE user_id = ? AND is_listed AND changed >= ? AND (is_pinned, changed, chat_id) < (?, ?, ?)
    ORDER BY is_pinned DESC, changed DESC, chat_id DESC LIMIT ?
"""
# CROSS JOIN sets the order of the tables: the planner would read the states of all users' chats first.
_PINS = """
    SELECT chat, event FROM chats_by_user CROSS JOIN state USING (chat)
    WHERE user_id = ? AND target_id = 0 AND kind = ? AND key = ?
"""
_GET_CHAT = """
    SELECT chats.chat, chat_id, version, member_count, newest_sent_id,
        max(ifnull(until_ms, chats.changed_ms), ifnull(chats_by_user.changed_ms, 0))
    FROM chats LEFT JOIN chats_by_user ON user_id = ? AND chats_by_user.chat = chats.chat WHERE chat_id = ?
"""
# Of control changes, only that by which another member has added the user.
_COUNT_UNREAD = """
    SELECT count(*) FROM (
        SELECT 1 FROM (
            SELECT event_id, author_id, length(content) AS size FROM events
            WHERE chat = ? AND target_id IS NULL AND event_id > ?
            ORDER BY event_id DESC LIMIT ?
        ) AS newest WHERE size > 0 AND author_id <> ? AND (
            event_id = ? OR NOT EXISTS (SELECT 1 FROM controls WHERE controls.event_id = newest.event_id)
        ) LIMIT ?
    )
"""
# The newest text counts: that of the newest edit, else the message's own.
_COUNT_MENTIONS = """
    WITH mentioning AS (
        SELECT * FROM (
            SELECT message_id, event_id FROM mentions WHERE user_id = ? AND chat = ? AND message_id > ?
            ORDER BY message_id DESC LIMIT ?
        ) UNION SELECT * FROM (
            SELECT message_id, event_id FROM mentions WHERE user_id = ? AND chat = ? AND message_id > ?
            ORDER BY message_id DESC LIMIT ?
        )
    )
    SELECT count(*) FROM (
        SELECT DISTINCT message_id FROM mentioning JOIN events ON events.event_id = message_id
        LEFT JOIN state ON state.target_id = message_id AND state.chat = events.chat AND state.kind = ?
        WHERE events.chat = ? AND author_id <> ? AND length(content) > 0
        AND mentioning.event_id = ifnull(state.event_id, message_id)
        LIMIT ?
    )
"""
_MESSAGES = """
    SELECT event_id, author_id, client_id, content FROM events WHERE chat = ? AND target_id IS NULL AND author_id <> 0
"""
_MESSAGES_BEFORE = _MESSAGES + "AND event_id < ? ORDER BY event_id DESC LIMIT ?"
_MESSAGES_AFTER = _MESSAGES + "AND event_id > ? ORDER BY event_id LIMIT ?"
_FROM_ON = _MESSAGES + "AND event_id >= ? LIMIT 1"
_UP_TO = _MESSAGES + "AND event_id <= ? LIMIT 1"
_MESSAGE = _MESSAGES + "AND event_id = ?"
_NEWEST = _MESSAGES + "AND event_id <= ? ORDER BY event_id DESC LIMIT 1"
_HAVING = """
    SELECT events.event_id, author_id, client_id, content FROM state JOIN events ON events.event_id = state.target_id
    WHERE state.chat = ? AND state.kind = ? AND key = ? AND state.target_id < ? AND is_listed IS NOT NULL
    AND events.chat = state.chat AND events.target_id IS NULL AND author_id <> 0
    ORDER BY state.target_id DESC LIMIT ?
"""
_WITH_FILES = """
    SELECT event_id, author_id, client_id, content FROM events WHERE event_id IN (
        SELECT DISTINCT message_id FROM file_uses WHERE chat = ? AND file_class = ? AND message_id < ?
        ORDER BY message_id DESC LIMIT ?
    ) ORDER BY event_id DESC
"""
_EVENTS = "SELECT event_id, author_id, client_id, content, target_id FROM events "
_SENT = _EVENTS + "WHERE chat = ? AND author_id = ? AND client_id = ? AND client_id <> ''"
_MESSAGES_SENT_AFTER = _EVENTS + "WHERE chat = ? AND target_id IS NULL AND event_id > ? AND author_id <> 0"
_CHANGES_AFTER = _EVENTS + "WHERE chat = ? AND target_id IS NOT NULL AND event_id > ? AND length(content) > 0"
_LATE_IDS = "(SELECT event_id FROM late WHERE chat = ? AND at_ms > ? AND event_id <= ?)"
_LATE_AFTER = f"{_EVENTS} WHERE event_id IN {_LATE_IDS} AND iif(target_id IS NULL, author_id <> 0, length(content) > 0)"
_VERSIONS = """
    SELECT content FROM events WHERE target_id = ? AND kind = ? AND chat = ? AND length(content) > 0
    ORDER BY event_id DESC LIMIT ?
"""
_STATE = "SELECT target_id, event_id, event FROM state WHERE chat = ? AND target_id IN ({}) LIMIT ?"
_STATE_FOR = """
    SELECT target_id, event_id, event FROM state WHERE chat = ?1
    AND target_id IN (SELECT value FROM json_each(?2)) AND kind IN (SELECT value FROM json_each(?3))
    UNION ALL
    SELECT target_id, event_id, event FROM state WHERE chat = ?1
    AND target_id IN (SELECT value FROM json_each(?2)) AND kind IN (SELECT value FROM json_each(?4)) AND key = ?5
    LIMIT ?6
"""
_ALL_MARKS = "SELECT user_id, delivered_up_to, read_up_to FROM marks WHERE chat = ? ORDER BY user_id"
_OWN_MARK = "SELECT user_id, delivered_up_to, read_up_to FROM marks WHERE chat = ? AND user_id = ?"
# Without the private changes of others, of whom a channel has up to 99,999: not even to skip them.
_STATE_OF_CHAT = """
    SELECT event FROM (
        SELECT event, event_id FROM state
        WHERE target_id = 0 AND chat = ?1 AND kind IN (SELECT value FROM json_each(?2))
        UNION ALL
        SELECT event, event_id FROM state
        WHERE target_id = 0 AND chat = ?1 AND kind IN (SELECT value FROM json_each(?3)) AND key = ?4
    ) ORDER BY event_id LIMIT ?5
"""
_KINDS = json.dumps(SHARED), json.dumps(PRIVATE)


class SqliteChats:
    """A ChatStore in one file. Made by `open_sqlite_chats`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.files = SqliteFiles(database)

    async def record(self, events: Sequence[Logged], offsets: Mapping[int, int]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            record(connection, events)
            connection.executemany("INSERT OR REPLACE INTO recorded VALUES (?, ?)", list(offsets.items()))

        await self._database.write(work)

    async def recorded_offsets(self) -> Mapping[int, int]:
        return await self._database.read(lambda connection: dict(connection.execute("SELECT * FROM recorded")))

    async def raise_watermarks(self, watermarks: Mapping[int, int]) -> None:
        query = "INSERT INTO watermarks VALUES (?, ?) ON CONFLICT DO UPDATE SET at_ms = max(at_ms, excluded.at_ms)"
        rows = list(watermarks.items())
        await self._database.write(lambda connection: connection.executemany(query, rows))

    async def watermarks(self) -> Mapping[int, int]:
        return await self._database.read(lambda connection: dict(connection.execute("SELECT * FROM watermarks")))

    async def list_chats(
        self, user_id: int, *, changed_since_ms: int, limit: int, after: ChatCursor | None
    ) -> Sequence[Chat]:
        start = after or ChatCursor(MAX_ID, "", is_pinned=True)

        def read(connection: sqlite3.Connection) -> Sequence[Chat]:
            pins = connection.execute(_PINS, (user_id, KINDS["chat_pinned"].number, own_key(user_id)))
            pinned = [chat for chat, event in pins if Event.FromString(event).change.chat_pinned.set]
            values = json.dumps(pinned), user_id, changed_since_ms, *start.sort_key, limit
            rows = connection.execute(_LIST_CHATS, values).fetchall()
            return [chat for *row, _ in rows if (chat := _chat(connection, user_id, *row))]

        return await self._database.read(read)

    async def get_chat(self, user_id: int, chat_id: str) -> Chat | None:
        def read(connection: sqlite3.Connection) -> Chat | None:
            row = connection.execute(_GET_CHAT, (user_id, chat_id)).fetchone()
            return None if row is None else _chat(connection, user_id, *row)

        return await self._database.read(read)

    async def get_group(self, chat_id: str, user_ids: Collection[int] = ()) -> Group | None:
        return await self._database.read(
            lambda connection: read_group(connection, chat_id, _number(connection, chat_id), user_ids)
        )

    async def list_public_chats(
        self, user_id: int, query: str, *, after: PublicCursor, limit: int
    ) -> Sequence[PublicChat]:
        return await self._database.read(lambda connection: read_public(connection, user_id, query, after, limit))

    async def get_member(self, chat_id: str, user_id: int) -> Membership | None:
        return await self._database.read(
            lambda connection: read_membership(connection, _number(connection, chat_id), user_id)
        )

    async def list_members(self, chat_id: str, *, after: int, limit: int) -> ListMembersResponse:
        return await self._database.read(
            lambda connection: read_present(connection, _number(connection, chat_id), after, limit)
        )

    async def list_marks(self, chat_id: str, *, from_id: int, limit: int) -> Sequence[Mark]:
        of_group = direct_members(chat_id) is None
        return await self._database.read(
            lambda connection: read_marks(connection, _number(connection, chat_id), from_id, limit, of_group=of_group)
        )

    async def messages_before(self, chat_id: str, before_id: int, limit: int, viewer_id: int | None = None) -> Page:
        def read(connection: sqlite3.Connection) -> Page:
            chat = _number(connection, chat_id)
            newest_first = _messages(connection, chat_id, _MESSAGES_BEFORE, chat, before_id, limit + 1)
            has_newer = bool(_messages(connection, chat_id, _FROM_ON, chat, before_id))
            messages = newest_first[:limit][::-1]
            return Page(_with_changes(connection, chat, messages, viewer_id), len(newest_first) > limit, has_newer)

        return await self._database.read(read)

    async def messages_after(self, chat_id: str, after_id: int, limit: int, viewer_id: int | None = None) -> Page:
        def read(connection: sqlite3.Connection) -> Page:
            chat = _number(connection, chat_id)
            messages = _messages(connection, chat_id, _MESSAGES_AFTER, chat, after_id, limit + 1)
            has_older = bool(_messages(connection, chat_id, _UP_TO, chat, after_id))
            shown = _with_changes(connection, chat, messages[:limit], viewer_id)
            return Page(shown, has_older, len(messages) > limit)

        return await self._database.read(read)

    async def messages_having(
        self, chat_id: str, kind: int, key: str, before_id: int, limit: int, viewer_id: int | None = None
    ) -> Page:
        return await self._newest(chat_id, _HAVING, (kind, key, before_id), limit, viewer_id)

    async def messages_with_files(
        self, chat_id: str, file_class: FileClass, before_id: int, limit: int, viewer_id: int | None = None
    ) -> Page:
        return await self._newest(chat_id, _WITH_FILES, (file_class, before_id), limit, viewer_id)

    async def _newest(
        self, chat_id: str, query: str, values: Sequence[int | str], limit: int, viewer_id: int | None
    ) -> Page:
        """The first `limit` messages of a chat that the query finds, the newest first."""

        def read(connection: sqlite3.Connection) -> Page:
            chat = _number(connection, chat_id)
            newest_first = _messages(connection, chat_id, query, chat, *values, limit + 1)
            messages = _with_changes(connection, chat, newest_first[:limit][::-1], viewer_id)
            return Page(messages, has_older=len(newest_first) > limit, has_newer=False)

        return await self._database.read(read)

    async def events_after(self, chat_id: str, after_id: int) -> Sequence[Event]:
        def read(connection: sqlite3.Connection) -> Sequence[Event]:
            chat = _number(connection, chat_id)
            late = chat, time_of(after_id) + MAX_AGE_MS, after_id
            queries = (_MESSAGES_SENT_AFTER, (chat, after_id)), (_CHANGES_AFTER, (chat, after_id)), (_LATE_AFTER, late)
            rows = chain.from_iterable(connection.execute(*query) for query in queries)
            return [_event(chat_id, *row) for row in sorted(islice(rows, MAX_CHANGES + 1))]

        return await self._database.read(read)

    async def versions(self, chat_id: str, target_id: int, kind: int) -> Sequence[Event]:
        def read(connection: sqlite3.Connection) -> Sequence[Event]:
            values = target_id, kind, _number(connection, chat_id), MAX_VERSIONS
            rows = connection.execute(_VERSIONS, values).fetchall()
            return [Event.FromString(content) for (content,) in reversed(rows)]

        return await self._database.read(read)

    async def get_message(self, chat_id: str, message_id: int, viewer_id: int | None = None) -> HistoryMessage | None:
        def read(connection: sqlite3.Connection) -> HistoryMessage | None:
            chat = _number(connection, chat_id)
            messages = _messages(connection, chat_id, _MESSAGE, chat, message_id)
            found = _with_changes(connection, chat, messages, viewer_id)
            return found[0] if found else None

        return await self._database.read(read)

    async def find_sent(self, chat_id: str, author_id: int, client_id: str) -> Event | None:
        """As in the protocol. Found at any distance."""

        def read(connection: sqlite3.Connection) -> Event | None:
            sent = _number(connection, chat_id), author_id, client_id
            row = connection.execute(_SENT, sent).fetchone()
            return None if row is None else _event(chat_id, *row)

        return await self._database.read(read)


@asynccontextmanager
async def open_sqlite_chats(path: Path) -> AsyncIterator[SqliteChats]:
    """Open the store in this file, creating it if needed. Raises Unavailable if the file can't be used."""
    async with open_database(path, MIGRATIONS, synchronous="NORMAL") as database:
        await database.write(lambda connection: connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}"))
        await database.write(
            lambda connection: connection.execute("PRAGMA secure_delete = ON")
        )  # deleted text is zeros
        await database.write(record_unknown)
        yield SqliteChats(database)


# ---- reading, in a reader's thread


def _chat(
    connection: sqlite3.Connection,
    user_id: int,
    chat: int,
    chat_id: str,
    version: int,
    member_count: int,
    newest_sent_id: int,
    changed_ms: int,
) -> Chat | None:
    """The chat as the user sees it; None if it is a group of which they never were a member."""
    members = direct_members(chat_id)
    own = read_member(connection, chat, user_id) if members is None else None
    if members is None and own is None:
        return None
    begin, end = (0, OPEN) if own is None else (own.spans[-1].first, own.spans[-1].last)
    query, values = (_ALL_MARKS, (chat,)) if own is None else (_OWN_MARK, (chat, user_id))
    marks = [
        Mark(user_id=member, delivered_up_to=delivered, read_up_to=read)
        for member, delivered, read in connection.execute(query, values)
    ]
    unread = mentions = 0
    if end == OPEN:
        read_up_to = next((mark.read_up_to for mark in marks if mark.user_id == user_id), 0)
        above = chat, max(read_up_to, begin - 1)
        counted = *above, UNREAD_SCAN, user_id, begin, UNREAD_LIMIT
        (unread,) = connection.execute(_COUNT_UNREAD, counted).fetchone()
        if unread:
            scans = user_id, *above, MENTIONS_SCAN, EVERYONE, *above, MENTIONS_SCAN
            mentioning = *scans, EDIT.number, chat, user_id, MENTIONS_LIMIT
            (mentions,) = connection.execute(_COUNT_MENTIONS, mentioning).fetchone()
    if own is not None:
        version = version if own.role else own.version
    settings = GroupSettings() if own is None else settings_at(connection, chat, version)
    messages = _messages(connection, chat_id, _NEWEST, chat, end or MAX_ID)
    newest = _with_changes(connection, chat, messages, user_id if settings.is_channel else None)
    state = chat, *_KINDS, own_key(user_id), MAX_PAGE_CHANGES
    changes = connection.execute(_STATE_OF_CHAT, state)
    found = Chat(
        chat_id=chat_id,
        kind=CHAT_KIND_DIRECT if own is None else CHAT_KIND_GROUP,
        member_ids=members,
        newest=newest[0] if newest else None,
        unread=unread,
        unread_mentions=mentions,
        marks=marks,
        changed_at_ms=changed_ms,
        changes=[Event.FromString(event) for (event,) in changes],
        own=own,
    )
    if own is not None:
        found.version = version
        found.settings.CopyFrom(settings)
        found.member_count = member_count if own.role else 0
    if not found.newest.message.HasField("control"):
        newest_sent_id = found.newest.message.message_id
    found.newest_sent_id = newest_sent_id if own is None or own.role else 0
    return found


def _number(connection: sqlite3.Connection, chat_id: str) -> int:
    """The chat's number in the other tables; 0, which no chat has, if nothing is recorded in it."""
    row = connection.execute("SELECT chat FROM chats WHERE chat_id = ?", (chat_id,)).fetchone()
    return 0 if row is None else row[0]


def _messages(connection: sqlite3.Connection, chat_id: str, query: str, *values: int | str) -> list[Message]:
    return [_message(chat_id, *row) for row in connection.execute(query, values)]


def _message(chat_id: str, message_id: int, sender_id: int, client_id: str, content: bytes) -> Message:
    """The message; a stub if its content is gone."""
    if content:
        return Message.FromString(content)
    return Message(message_id=message_id, chat_id=chat_id, sender_id=sender_id, client_message_id=client_id)


def _event(chat_id: str, event_id: int, author_id: int, client_id: str, content: bytes, target_id: int | None) -> Event:
    """The event of a message or a change; without body if its content is gone."""
    if target_id is None:
        return Event(event_id=event_id, message=_message(chat_id, event_id, author_id, client_id, content))
    if content:
        return Event.FromString(content)
    change = Change(chat_id=chat_id, target_id=target_id, actor_id=author_id, client_change_id=client_id)
    return Event(event_id=event_id, change=change)


def _with_changes(
    connection: sqlite3.Connection, chat: int, messages: Sequence[Message], viewer_id: int | None
) -> list[HistoryMessage]:
    """The messages, oldest first, with their states; with a viewer, without the private changes of other users."""
    if not messages:
        return []
    targets = [message.message_id for message in messages]
    if viewer_id is not None:
        values = chat, json.dumps(targets), *_KINDS, own_key(viewer_id), MAX_PAGE_CHANGES
        return with_changes(messages, connection.execute(_STATE_FOR, values))
    query = _STATE.format(", ".join("?" * len(messages)))
    return with_changes(messages, connection.execute(query, (chat, *targets, MAX_PAGE_CHANGES)))

"""The chat store on SQLite: chats, history, reactions and receipts in a file of their own.

Events and the offsets up to which the log is recorded are one transaction, so events that a crash or a power loss
undoes are recorded again from the log.
"""

import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from messaging.archive.store.protocol import (
    MAX_PAGE_REACTIONS,
    UNREAD_LIMIT,
    UNREAD_SCAN,
    ChatCursor,
    Page,
    with_reactions,
)
from messaging.archive.store.sqlite.recording import record
from rookery.v1.archive_pb2 import CHAT_KIND_DIRECT, Chat, HistoryMessage
from rookery.v1.session_pb2 import Change as Receipt
from rookery.v1.session_pb2 import Event, Message
from shared.contract.chats import direct_members
from shared.contract.ids import MAX_ID
from shared.drivers.sqlite import Database, open_database

_CHECKPOINT_PAGES = 4_000
"""Pages (16 MB) in the write-ahead log before a checkpoint: 4 times SQLite's default, so that a page that is written
often is copied less often. Measured: 10 % less CPU per message."""

MIGRATIONS = (
    """
    CREATE TABLE chats (
        chat INTEGER PRIMARY KEY, -- in place of chat_id in the other tables, at an eighth of its size
        chat_id TEXT NOT NULL UNIQUE,
        changed_ms INTEGER NOT NULL,
        listed INTEGER NOT NULL DEFAULT 0 -- whether it is in its members' lists
    );
    CREATE TABLE chats_by_user (
        user_id INTEGER NOT NULL,
        chat INTEGER NOT NULL,
        PRIMARY KEY (user_id, chat)
    ) WITHOUT ROWID;
    CREATE TABLE messages (
        message_id INTEGER PRIMARY KEY, -- rising, so that new messages of all chats share the last pages
        chat INTEGER NOT NULL,
        sender_id INTEGER NOT NULL,
        client_message_id TEXT NOT NULL,
        message BLOB NOT NULL
    );
    CREATE INDEX messages_by_chat ON messages (chat);
    CREATE UNIQUE INDEX messages_by_send ON messages (chat, sender_id, client_message_id);
    CREATE TABLE reactions (
        chat INTEGER NOT NULL,
        message_id INTEGER NOT NULL,
        emoji TEXT NOT NULL,
        user_id INTEGER NOT NULL,
        event_id INTEGER NOT NULL,
        PRIMARY KEY (chat, message_id, emoji, user_id)
    ) WITHOUT ROWID;
    CREATE TABLE receipts (
        chat INTEGER NOT NULL,
        user_id INTEGER NOT NULL,
        delivered_up_to INTEGER NOT NULL,
        read_up_to INTEGER NOT NULL,
        PRIMARY KEY (chat, user_id)
    ) WITHOUT ROWID;
    CREATE TABLE recorded (partition INTEGER PRIMARY KEY, offset INTEGER NOT NULL)
    """,
)

_LIST_CHATS = """
    SELECT chats.chat, chat_id, changed_ms FROM chats_by_user JOIN chats USING (chat)
    WHERE user_id = ? AND changed_ms >= ? AND (changed_ms, chat_id) < (?, ?)
    ORDER BY changed_ms DESC, chat_id DESC LIMIT ?
"""
_COUNT_UNREAD = """
    SELECT count(*) FROM (
        SELECT 1 FROM (
            SELECT sender_id FROM messages WHERE chat = ? AND message_id > ? ORDER BY message_id DESC LIMIT ?
        ) WHERE sender_id <> ? LIMIT ?
    )
"""
_MESSAGES_BEFORE = "SELECT message FROM messages WHERE chat = ? AND message_id < ? ORDER BY message_id DESC LIMIT ?"
_MESSAGES_AFTER = "SELECT message FROM messages WHERE chat = ? AND message_id > ? ORDER BY message_id LIMIT ?"
_MESSAGE_OF_SEND = "SELECT message FROM messages WHERE chat = ? AND sender_id = ? AND client_message_id = ?"
_FROM_ON = "SELECT 1 FROM messages WHERE chat = ? AND message_id >= ? LIMIT 1"
_UP_TO = "SELECT 1 FROM messages WHERE chat = ? AND message_id <= ? LIMIT 1"
_REACTIONS = """
    SELECT message_id, emoji, user_id FROM (
        SELECT * FROM reactions WHERE chat = ? AND message_id BETWEEN ? AND ? LIMIT ?
    ) ORDER BY event_id
"""


class SqliteChats:
    """A ChatStore in one file. Made by `open_sqlite_chats`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, events: Sequence[Event], offsets: Mapping[int, int]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            record(connection, events)
            connection.executemany("INSERT OR REPLACE INTO recorded VALUES (?, ?)", list(offsets.items()))

        await self._database.write(work)

    async def recorded_offsets(self) -> Mapping[int, int]:
        return await self._database.read(lambda connection: dict(connection.execute("SELECT * FROM recorded")))

    async def list_chats(
        self, user_id: int, *, changed_since_ms: int, limit: int, after: ChatCursor | None
    ) -> Sequence[Chat]:
        start = after or ChatCursor(MAX_ID, "")
        values = user_id, changed_since_ms, start.changed_at_ms, start.chat_id, limit
        return await self._database.read(
            lambda connection: [
                _chat(connection, user_id, *row) for row in connection.execute(_LIST_CHATS, values).fetchall()
            ]
        )

    async def get_chat(self, user_id: int, chat_id: str) -> Chat | None:
        def read(connection: sqlite3.Connection) -> Chat | None:
            query = "SELECT chat, chat_id, changed_ms FROM chats WHERE chat_id = ?"
            row = connection.execute(query, (chat_id,)).fetchone()
            return None if row is None else _chat(connection, user_id, *row)

        return await self._database.read(read)

    async def messages_before(self, chat_id: str, before_id: int, limit: int) -> Page:
        def read(connection: sqlite3.Connection) -> Page:
            chat = _number(connection, chat_id)
            newest_first = _messages(connection, _MESSAGES_BEFORE, chat, before_id, limit + 1)
            has_newer = _exists(connection, _FROM_ON, chat, before_id)
            messages = newest_first[:limit][::-1]
            return Page(_with_reactions(connection, chat, messages), len(newest_first) > limit, has_newer)

        return await self._database.read(read)

    async def messages_after(self, chat_id: str, after_id: int, limit: int) -> Page:
        def read(connection: sqlite3.Connection) -> Page:
            chat = _number(connection, chat_id)
            messages = _messages(connection, _MESSAGES_AFTER, chat, after_id, limit + 1)
            has_older = _exists(connection, _UP_TO, chat, after_id)
            return Page(_with_reactions(connection, chat, messages[:limit]), has_older, len(messages) > limit)

        return await self._database.read(read)

    async def get_message(self, chat_id: str, message_id: int) -> HistoryMessage | None:
        def read(connection: sqlite3.Connection) -> HistoryMessage | None:
            chat = _number(connection, chat_id)
            query = "SELECT message FROM messages WHERE message_id = ? AND chat = ?"
            row = connection.execute(query, (message_id, chat)).fetchone()
            return None if row is None else _with_reactions(connection, chat, [Message.FromString(row[0])])[0]

        return await self._database.read(read)

    async def find_message(self, chat_id: str, sender_id: int, client_message_id: str) -> Message | None:
        """As in the protocol. Found at any distance."""

        def read(connection: sqlite3.Connection) -> Message | None:
            send = _number(connection, chat_id), sender_id, client_message_id
            row = connection.execute(_MESSAGE_OF_SEND, send).fetchone()
            return None if row is None else Message.FromString(row[0])

        return await self._database.read(read)


@asynccontextmanager
async def open_sqlite_chats(path: Path) -> AsyncIterator[SqliteChats]:
    """Open the store in this file, creating it if needed. Raises Unavailable if the file can't be used."""
    async with open_database(path, MIGRATIONS, synchronous="NORMAL") as database:
        await database.write(lambda connection: connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}"))
        yield SqliteChats(database)


# ---- reading, in a reader's thread


def _chat(connection: sqlite3.Connection, user_id: int, chat: int, chat_id: str, changed_ms: int) -> Chat:
    """The chat as the user sees it."""
    query = "SELECT user_id, delivered_up_to, read_up_to FROM receipts WHERE chat = ? ORDER BY user_id"
    receipts = [
        Receipt(chat_id=chat_id, user_id=member, delivered_up_to=delivered, read_up_to=read)
        for member, delivered, read in connection.execute(query, (chat,))
    ]
    read_up_to = next((receipt.read_up_to for receipt in receipts if receipt.user_id == user_id), 0)
    bounds = (chat, read_up_to, UNREAD_SCAN, user_id, UNREAD_LIMIT)
    (unread,) = connection.execute(_COUNT_UNREAD, bounds).fetchone()
    query = "SELECT message FROM messages WHERE chat = ? ORDER BY message_id DESC LIMIT 1"
    newest = connection.execute(query, (chat,)).fetchone()
    return Chat(
        chat_id=chat_id,
        kind=CHAT_KIND_DIRECT,
        member_ids=direct_members(chat_id),
        newest=None if newest is None else Message.FromString(newest[0]),
        unread=unread,
        receipts=receipts,
        changed_at_ms=changed_ms,
    )


def _number(connection: sqlite3.Connection, chat_id: str) -> int:
    """The chat's number in the other tables; 0, which no chat has, if nothing is recorded in it."""
    row = connection.execute("SELECT chat FROM chats WHERE chat_id = ?", (chat_id,)).fetchone()
    return 0 if row is None else row[0]


def _messages(connection: sqlite3.Connection, query: str, chat: int, anchor: int, limit: int) -> list[Message]:
    return [Message.FromString(message) for (message,) in connection.execute(query, (chat, anchor, limit))]


def _exists(connection: sqlite3.Connection, query: str, chat: int, anchor: int) -> bool:
    return connection.execute(query, (chat, anchor)).fetchone() is not None


def _with_reactions(connection: sqlite3.Connection, chat: int, messages: Sequence[Message]) -> list[HistoryMessage]:
    """The messages, oldest first, with their reactions in the order in which they were set."""
    if not messages:
        return []
    span = messages[0].message_id, messages[-1].message_id
    return with_reactions(messages, connection.execute(_REACTIONS, (chat, *span, MAX_PAGE_REACTIONS)))

"""The file table in SQLite. The tables are defined in `schema`."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set

from messaging.archive.store.files import Exceeded, FileRow, class_of, completed
from messaging.text_links import first_link
from rookery.v1.archive_pb2 import (
    FILE_CLASS_LINKS,
    FILE_CLASS_MEDIA,
    FILE_CLASS_OTHER,
    FILE_STATE_BLOCKED,
    FILE_STATE_COMPLETE,
    FILE_STATE_UPLOADING,
    StoredFile,
)
from rookery.v1.session_pb2 import Message
from shared.drivers.sqlite import Database

NO_FILE = 0
"""In place of the id of a file in the row of a message with a link."""

_ROWS = "SELECT file, ifnull(client_file_id, ''), changed_ms, ifnull(condemned_ms, 0) FROM files "
_ROW = _ROWS + "WHERE file_id = ?"
_ROWS_IN = _ROWS + "JOIN json_each(?) ON file_id = value"
_PAGE = _ROWS + "WHERE file_id > ? ORDER BY file_id LIMIT ?"
_BY_CLIENT_ID = "SELECT file FROM files WHERE owner_id = ? AND client_file_id = ?"
_USAGE = f"""
    SELECT ifnull(sum(size) FILTER (WHERE state <> {FILE_STATE_BLOCKED}), 0),
        count(*) FILTER (WHERE state = {FILE_STATE_UPLOADING}) FROM files
    WHERE owner_id = ? AND condemned_ms IS NULL
"""  # noqa: S608 - no input
_ADD = "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, NULL, ?)"
_COMPLETE = "UPDATE files SET state = ?, size = ?, changed_ms = ?, file = ? WHERE file_id = ?"
_CONDEMN = """
    UPDATE files SET condemned_ms = ?, client_file_id = NULL WHERE file_id = ? AND state = ? AND condemned_ms IS NULL
"""
_REVIVE = "UPDATE files SET condemned_ms = NULL WHERE file_id = ? AND state = ? AND condemned_ms IS NOT NULL"
_FORGET = "DELETE FROM files WHERE file_id = ? AND condemned_ms = ?"
# A retry, which is not stored, uses nothing; nor does a deleted message, whose content is empty.
_USE = """
    INSERT OR IGNORE INTO file_uses SELECT ?1, ?2, ?3, ?4 FROM events
    WHERE event_id = ?2 AND chat = ?3 AND length(content) > 0
"""
GIVEN_MESSAGES = """
    SELECT json_extract(value, '$[0]') AS message_id, json_extract(value, '$[1]') AS chat FROM json_each(?)
"""
"""The messages of a JSON text with the id of each and the number of its chat: one statement for any number of them."""

# CROSS JOIN sets the order of the tables: the planner would read all uses first.
_REMOVE_USES = f"""
    DELETE FROM file_uses WHERE (file_id, message_id) IN (
        SELECT file_id, message_id FROM ({GIVEN_MESSAGES}) CROSS JOIN file_uses USING (message_id, chat)
        WHERE file_class IN ({FILE_CLASS_MEDIA}, {FILE_CLASS_OTHER}, {FILE_CLASS_LINKS})
    )
"""  # noqa: S608 - no input
_USED = """
    SELECT value FROM json_each(?) AS file WHERE EXISTS (SELECT 1 FROM file_uses WHERE file_id = file.value)
"""
_CONTENT = """
    SELECT content FROM events JOIN chats USING (chat)
    WHERE chat_id = ? AND event_id = ? AND target_id IS NULL AND author_id <> 0
"""


class SqliteFiles:
    """A FileTable in the file of the chat store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(
        self, client_file_id: str, file: StoredFile, *, quota_bytes: int, max_uploads: int
    ) -> StoredFile | Exceeded:
        def work(connection: sqlite3.Connection) -> StoredFile | Exceeded:
            owner_id, size = file.owner_id, file.file.size
            if first := connection.execute(_BY_CLIENT_ID, (owner_id, client_file_id)).fetchone():
                return StoredFile.FromString(first[0])
            used, uploads = connection.execute(_USAGE, (owner_id,)).fetchone()
            if used + size > quota_bytes:
                return Exceeded.QUOTA
            if uploads + 1 > max_uploads:
                return Exceeded.UPLOADS
            row = file.file.file_id, owner_id, client_file_id, file.state, size, file.reserved_at_ms
            connection.execute(_ADD, (*row, file.SerializeToString()))
            return file

        return await self._database.write(work)

    async def complete(self, file: StoredFile, at_ms: int) -> StoredFile | None:
        """As in the protocol. It survives a power loss, as the messages do that have the file: no log repeats it."""

        def work(connection: sqlite3.Connection) -> StoredFile | None:
            row = _row(connection, file.file.file_id)
            if row is None or row.file.owner_id != file.owner_id or row.condemned_ms:
                return None
            if row.file.state != FILE_STATE_UPLOADING:
                return row.file
            stored = completed(row.file, file)
            values = file.state, file.file.size, at_ms, stored.SerializeToString(), file.file.file_id
            connection.execute(_COMPLETE, values)
            return stored

        stored = await self._database.write(work)
        await self._database.sync()
        return stored

    async def cancel(self, owner_id: int, file_id: int, at_ms: int) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            row = _row(connection, file_id)
            if row is None or row.file.owner_id != owner_id or row.condemned_ms:
                return True
            return bool(connection.execute(_CONDEMN, (at_ms, file_id, FILE_STATE_UPLOADING)).rowcount)

        return await self._database.write(work)

    async def rows(self, file_ids: Collection[int]) -> Mapping[int, FileRow]:
        rows = await self._database.read(
            lambda connection: connection.execute(_ROWS_IN, (json.dumps([*file_ids]),)).fetchall()
        )
        return {row.file.file.file_id: row for row in map(_file_row, rows)}

    async def page(self, cursor: int, limit: int) -> tuple[Sequence[FileRow], int | None]:
        """As in the protocol: in the order of the ids, which are the cursors."""
        found = await self._database.read(lambda connection: connection.execute(_PAGE, (cursor, limit)).fetchall())
        rows = [*map(_file_row, found)]
        return rows, rows[-1].file.file.file_id if len(rows) == limit else None

    async def used(self, file_ids: Collection[int]) -> Set[int]:
        rows = await self._database.read(
            lambda connection: connection.execute(_USED, (json.dumps([*file_ids]),)).fetchall()
        )
        return {file_id for (file_id,) in rows}

    async def held_by(self, messages: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], Set[int]]:
        def read(connection: sqlite3.Connection) -> Mapping[tuple[str, int], Set[int]]:
            rows = ((key, connection.execute(_CONTENT, key).fetchone()) for key in messages)
            contents = ((key, Message.FromString(row[0])) for key, row in rows if row)
            return {key: {file.file_id for file in content.files} for key, content in contents}

        return await self._database.read(read)

    async def condemn(self, rows: Collection[FileRow], at_ms: int) -> None:
        values = [(at_ms, row.file.file.file_id, row.file.state) for row in rows]
        await self._database.write(lambda connection: connection.executemany(_CONDEMN, values))

    async def revive(self, file_ids: Collection[int]) -> None:
        """As in the protocol. The client_file_id of a revived file stays free."""
        await self._database.write(lambda connection: revive(connection, file_ids))

    async def forget(self, rows: Collection[FileRow]) -> Collection[FileRow]:
        def work(connection: sqlite3.Connection) -> Collection[FileRow]:
            values = ((row, (row.file.file.file_id, row.condemned_ms)) for row in rows)
            return [row for row, each in values if connection.execute(_FORGET, each).rowcount]

        return await self._database.write(work)


def add_uses(connection: sqlite3.Connection, chats: Mapping[str, int], messages: Iterable[tuple[str, Message]]) -> None:
    """Add the uses of stored messages, and a row for links. Messages are given with their chat_ids, and `chats` has the
    numbers of these. Most have neither, at 0.3 microseconds."""
    uses = [
        use
        for chat_id, message in messages
        if message.files or "://" in message.text.body
        for use in _uses(chats[chat_id], message)
    ]
    if uses:
        connection.executemany(_USE, uses)
        revive(connection, [file_id for file_id, *_ in uses])


def _uses(chat: int, message: Message) -> Iterator[tuple[int, int, int, int]]:
    for file in message.files:
        yield file.file_id, message.message_id, chat, class_of(file)
    if first_link(message.text.body):
        yield NO_FILE, message.message_id, chat, FILE_CLASS_LINKS


def remove_uses(connection: sqlite3.Connection, messages: str) -> None:
    """Remove the uses of messages that are deleted, given as for GIVEN_MESSAGES."""
    connection.execute(_REMOVE_USES, (messages,))


def revive(connection: sqlite3.Connection, file_ids: Iterable[int]) -> None:
    """As `FileTable.revive`."""
    connection.executemany(_REVIVE, [(file_id, FILE_STATE_COMPLETE) for file_id in file_ids])


def _row(connection: sqlite3.Connection, file_id: int) -> FileRow | None:
    row = connection.execute(_ROW, (file_id,)).fetchone()
    return None if row is None else _file_row(row)


def _file_row(row: tuple[bytes, str, int, int]) -> FileRow:
    return FileRow(StoredFile.FromString(row[0]), *row[1:])

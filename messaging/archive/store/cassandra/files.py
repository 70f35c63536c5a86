"""The file table in Cassandra. The tables are defined in `schema`.

A row of `files` changes by lightweight transactions only, which its first write precedes by its timestamp. The rows of
`files_by_owner` and of uses change before or after it: each method repairs them if it is called again. A use is a row
that no deletion removes, so it counts if the message still has the file: deletions read nothing, and any order of
recording is right.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from typing import Any

from messaging.archive.store.cassandra.batch import message_reads
from messaging.archive.store.cassandra.writes import Writes
from messaging.archive.store.files import Exceeded, FileRow, classes_of, completed
from rookery.v1.archive_pb2 import FILE_STATE_BLOCKED, FILE_STATE_COMPLETE, FILE_STATE_UPLOADING, StoredFile
from rookery.v1.session_pb2 import Message
from shared.contract.errors import Unavailable
from shared.contract.ids import MAX_ID
from shared.drivers.cassandra import CassandraSession
from shared.drivers.cassandra.session import Row
from shared.drivers.cassandra.statements import Statements

USES_AT_ONCE = 20
"""Uses of a file in one read: the first is usually of a message that is not deleted."""

_COLUMNS = "file, client_file_id, changed_ms, condemned_ms FROM files"
_ROWS = f"SELECT {_COLUMNS} WHERE file_id = ?"
_PAGE = f"SELECT token(file_id), {_COLUMNS} WHERE token(file_id) > ? LIMIT ?"
_ADD = """
    INSERT INTO files (file_id, owner_id, client_file_id, state, changed_ms, file) VALUES (?, ?, ?, ?, ?, ?)
    USING TIMESTAMP 1
"""
_COMPLETE = """
    UPDATE files SET state = ?, changed_ms = ?, file = ? WHERE file_id = ? IF state = ? AND condemned_ms = null
"""
_CONDEMN = "UPDATE files SET condemned_ms = ? WHERE file_id = ? IF state = ? AND condemned_ms = null"
_REVIVE = "UPDATE files SET condemned_ms = null WHERE file_id = ? IF state = ? AND condemned_ms > 0"
_FORGET = "DELETE FROM files WHERE file_id = ? IF condemned_ms = ?"
_WITHDRAW = "DELETE FROM files WHERE file_id = ? IF state = ?"
_CLAIM = """
    INSERT INTO files_by_owner (owner_id, client_file_id, file_id, size, is_uploading) VALUES (?, ?, ?, ?, ?)
    IF NOT EXISTS
"""
_CLAIMED = "SELECT file_id FROM files_by_owner WHERE owner_id = ? AND client_file_id = ?"
_RESIZE = """
    UPDATE files_by_owner SET size = ?, is_uploading = null WHERE owner_id = ? AND client_file_id = ? IF file_id = ?
"""
_RELEASE = "DELETE FROM files_by_owner WHERE owner_id = ? AND client_file_id = ? IF file_id = ?"
_USAGE = "SELECT sum(size), count(is_uploading) FROM files_by_owner WHERE owner_id = ?"
_ADD_USE = "INSERT INTO uses_by_file (file_id, chat_id, message_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
_ADD_TO_CHAT = "INSERT INTO files_by_chat (chat_id, file_class, message_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
_USES = "SELECT chat_id, message_id FROM uses_by_file WHERE file_id = ? AND (chat_id, message_id) > (?, ?) LIMIT ?"
_REMOVE_USES = "DELETE FROM uses_by_file USING TIMESTAMP ? WHERE file_id = ?"
_CONTENTS = """
    SELECT chat_id, message_id, sender_id, message FROM messages_by_chat
    WHERE chat_id IN ? AND bucket = ? AND message_id IN ?
"""
USE_STATEMENTS = (_ADD_USE, _ADD_TO_CHAT)


class CassandraFiles:
    """A FileTable in the keyspace of the chat store."""

    def __init__(self, session: CassandraSession) -> None:
        self._statements = Statements(session)

    async def reserve(
        self, client_file_id: str, file: StoredFile, *, quota_bytes: int, max_uploads: int
    ) -> StoredFile | Exceeded:
        """As in the protocol. A retry at the same moment may return a file that is then cancelled, since it exceeds a
        limit."""
        owner_id, file_id = file.owner_id, file.file.file_id
        if first := await self._first(owner_id, client_file_id):
            return first
        # Before the claim too: if Cassandra fails after it, a retry finds the claim, and gets the file.
        if excess := await self._excess(owner_id, quota_bytes - file.file.size, max_uploads - 1):
            return excess
        row = file_id, owner_id, client_file_id, file.state, file.reserved_at_ms, file.SerializeToString()
        await self._statements.run(_ADD, *row)
        if not await self._statements.apply(_CLAIM, owner_id, client_file_id, file_id, file.file.size, True):
            first = await self._first(owner_id, client_file_id)
            if first is None or first.file.file_id != file_id:  # else another archive has the same request
                await self._statements.apply(_WITHDRAW, file_id, FILE_STATE_UPLOADING)
            if first is not None:
                return first
            raise Unavailable("the client_file_id is being reserved and released by others")
        excess = await self._excess(owner_id, quota_bytes, max_uploads)  # with this file, and with concurrent ones
        if excess is None:
            return file
        await self._statements.apply(_RELEASE, owner_id, client_file_id, file_id)
        await self._statements.apply(_WITHDRAW, file_id, FILE_STATE_UPLOADING)
        return excess

    async def _excess(self, owner_id: int, max_bytes: int, max_uploads: int) -> Exceeded | None:
        """The limit that the files of the owner exceed, if any."""
        ((used, uploads),) = await self._statements.run(_USAGE, owner_id)
        if used > max_bytes:
            return Exceeded.QUOTA
        return Exceeded.UPLOADS if uploads > max_uploads else None

    async def _first(self, owner_id: int, client_file_id: str) -> StoredFile | None:
        """The file that the owner has reserved with this client_file_id. The client_file_id of a condemned or forgotten
        file is released."""
        for (file_id,) in await self._statements.run(_CLAIMED, owner_id, client_file_id):
            row = (await self.rows([file_id])).get(file_id)
            if row is not None and not row.condemned_ms:
                return row.file
            await self._statements.apply(_RELEASE, owner_id, client_file_id, file_id)
        return None

    async def complete(self, file: StoredFile, at_ms: int) -> StoredFile | None:
        file_id = file.file.file_id
        row = await self._row_of(file.owner_id, file_id)
        if row is not None and row.file.state == FILE_STATE_UPLOADING:
            stored = completed(row.file, file)
            await self._resize(row, stored)  # first: a file that is complete may not be completed again
            values = stored.state, at_ms, stored.SerializeToString(), file_id, FILE_STATE_UPLOADING
            if await self._statements.apply(_COMPLETE, *values):
                return stored
            row = await self._row_of(file.owner_id, file_id)  # completed by another call, or condemned
        if row is None or row.file.state == FILE_STATE_UPLOADING:
            return None
        await self._resize(row, row.file)
        return row.file

    async def _resize(self, row: FileRow, file: StoredFile) -> None:
        """Count a file no more as an upload, and with its final size: a blocked one has no bytes."""
        key = row.file.owner_id, row.client_file_id, row.file.file.file_id
        size = 0 if file.state == FILE_STATE_BLOCKED else file.file.size
        await self._statements.apply(_RESIZE, size, *key)

    async def cancel(self, owner_id: int, file_id: int, at_ms: int) -> bool:
        row = (await self.rows([file_id])).get(file_id)
        if row is None or row.file.owner_id != owner_id:
            return True
        if row.condemned_ms:
            await self._release([row])  # an earlier call may have failed before it did
            return True
        if row.file.state == FILE_STATE_UPLOADING:
            await self.condemn([row], at_ms)
        return await self._row_of(owner_id, file_id) is None

    async def _row_of(self, owner_id: int, file_id: int) -> FileRow | None:
        """The row of a file of this owner that is not condemned."""
        row = (await self.rows([file_id])).get(file_id)
        return row if row is not None and row.file.owner_id == owner_id and not row.condemned_ms else None

    async def rows(self, file_ids: Collection[int]) -> Mapping[int, FileRow]:
        found = await self._statements.run_all(_ROWS, [(file_id,) for file_id in {*file_ids}])
        return {row.file.file.file_id: row for rows in found for row in _file_rows(rows)}

    async def page(self, cursor: int, limit: int) -> tuple[Sequence[FileRow], int | None]:
        """As in the protocol: in the order of the tokens, which are the cursors."""
        rows = await self._statements.run(_PAGE, cursor, limit)
        return [*_file_rows(row[1:] for row in rows)], rows[-1][0] if len(rows) == limit else None

    async def used(self, file_ids: Collection[int]) -> Set[int]:
        """As in the protocol. Reads the uses of a file up to the first of a message that is not deleted. One whose
        message is not written yet counts."""
        used: set[int] = set()
        after = dict.fromkeys(file_ids, ("", 0))
        while after:
            reads = [(file_id, *use, USES_AT_ONCE) for file_id, use in after.items()]
            pages = dict(zip(after, await self._statements.run_all(_USES, reads), strict=True))
            contents = await self._contents({use for uses in pages.values() for use in uses})
            for file_id, uses in pages.items():
                if any(use not in contents or _has(contents[use], file_id) for use in uses):
                    used.add(file_id)
            after = {
                file_id: uses[-1]
                for file_id, uses in pages.items()
                if len(uses) == USES_AT_ONCE and file_id not in used
            }
        return used

    async def held_by(self, messages: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], Set[int]]:
        contents = await self._contents(messages)
        return {key: {file.file_id for file in content.files} for key, content in contents.items()}

    async def _contents(self, messages: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], Message]:
        """The recorded messages by chat_id and message_id; a deleted message without its content."""
        pages = await self._statements.run_all(_CONTENTS, message_reads(messages))
        return {
            (chat_id, message_id): Message.FromString(content or b"")
            for rows in pages
            for chat_id, message_id, sender_id, content in rows
            if (chat_id, message_id) in messages and sender_id is not None
        }

    async def condemn(self, rows: Collection[FileRow], at_ms: int) -> None:
        values = [(at_ms, row.file.file.file_id, row.file.state) for row in rows]
        results = await self._statements.run_all(_CONDEMN, values)
        condemned = [row for row, ((applied, *_),) in zip(rows, results, strict=True) if applied]
        await self._release(condemned)
        await self._claim_revived(condemned)

    async def revive(self, file_ids: Collection[int]) -> None:
        """As in the protocol. The bytes count first: if Cassandra fails after that, the file is still condemned, and a
        repetition revives it."""
        found = (await self.rows(file_ids)).items()
        rows = {file_id: row for file_id, row in found if row.condemned_ms and row.file.state == FILE_STATE_COMPLETE}
        if not rows:
            return
        await self._claim(rows.values())
        await self._statements.run_all(_REVIVE, [(file_id, FILE_STATE_COMPLETE) for file_id in rows])
        left = await self._claim_revived(rows.values())
        await self._release([row for file_id, row in rows.items() if file_id not in left])  # forgotten meanwhile

    async def forget(self, rows: Collection[FileRow]) -> Collection[FileRow]:
        current = await self.rows([row.file.file.file_id for row in rows])
        rows = [row for row in rows if current.get(row.file.file.file_id) == row]
        await self._release(rows)  # first: without the row of the file, nothing would repeat it
        results = await self._statements.run_all(_FORGET, [(row.file.file.file_id, row.condemned_ms) for row in rows])
        outcomes = [(row, applied) for row, ((applied, *_),) in zip(rows, results, strict=True)]
        forgotten = [row for row, is_forgotten in outcomes if is_forgotten]
        await self._statements.run_all(_REMOVE_USES, [(MAX_ID, row.file.file.file_id) for row in forgotten])
        await self._claim_revived([row for row, is_forgotten in outcomes if not is_forgotten])
        return forgotten

    async def _claim(self, rows: Iterable[FileRow]) -> None:
        """Take the client_file_id and the bytes of complete files."""
        values = [
            (row.file.owner_id, row.client_file_id, row.file.file.file_id, row.file.file.size, None) for row in rows
        ]
        await self._statements.run_all(_CLAIM, values)

    async def _claim_revived(self, rows: Collection[FileRow]) -> Mapping[int, FileRow]:
        """Claim the revived files among these again: a call at the same moment may have released their claims. Return
        the rows of the files that still have one, by file_id."""
        left = await self.rows([row.file.file.file_id for row in rows])
        await self._claim([row for row in left.values() if not row.condemned_ms])
        return left

    async def _release(self, rows: Iterable[FileRow]) -> None:
        """Free the client_file_id and the bytes of files."""
        values = [(row.file.owner_id, row.client_file_id, row.file.file.file_id) for row in rows]
        await self._statements.run_all(_RELEASE, values)


def add_uses(writes: Writes, statements: Mapping[str, Any], message: Message) -> None:
    """Add the uses of a message, and list it by its files and links. These rows have its id as timestamp."""
    chat_id, message_id = message.chat_id, message.message_id
    for file in message.files:
        use = file.file_id, chat_id, message_id, message_id
        writes.add(("file", file.file_id), statements[_ADD_USE], use)
    for file_class in classes_of(message):
        row = chat_id, file_class, message_id, message_id
        writes.add(("files", chat_id, file_class), statements[_ADD_TO_CHAT], row)


def _file_rows(rows: Iterable[Row]) -> Iterable[FileRow]:
    for content, client_file_id, changed_ms, condemned_ms in rows:
        yield FileRow(StoredFile.FromString(content), client_file_id, changed_ms, condemned_ms or 0)


def _has(message: Message, file_id: int) -> bool:
    return any(file.file_id == file_id for file in message.files)

"""Changes in Cassandra whose kind the recording release did not know: they are applied to the state once it is known.

Repeating it changes nothing, nor does running it in several archives: each row has the timestamp of its event.
"""

from messaging.archive.store.cassandra.batch import bucket_of
from messaging.archive.store.cassandra.change_rows import CHANGE_STATEMENTS, add_change
from messaging.archive.store.cassandra.writes import Writes
from rookery.v1.session_pb2 import Event
from shared.contract.changes import kind_of
from shared.drivers.cassandra import CassandraSession

CHANGES = 100
"""Changes that are applied at once."""

_UNKNOWN = "SELECT chat_id, event_id, target_id FROM unknown_changes"
_OF_MESSAGE = """
    SELECT event FROM changes_by_target WHERE chat_id = ? AND bucket = ? AND target_id = ? AND event_id = ?
"""
_OF_CHAT = "SELECT event FROM changes_by_chat WHERE chat_id = ? AND bucket = ? AND event_id = ?"
_REMOVE = "DELETE FROM unknown_changes USING TIMESTAMP ? WHERE chat_id = ? AND event_id = ?"


async def apply_unknown(session: CassandraSession) -> None:
    """Apply the stored changes of unknown kinds whose kind is known now. All their ids are in memory meanwhile. Raises
    Unavailable if Cassandra does not answer."""
    rows = await session.execute(await session.prepare(_UNKNOWN))
    if not rows:
        return
    of_message, of_chat, remove = [await session.prepare(cql) for cql in (_OF_MESSAGE, _OF_CHAT, _REMOVE)]
    statements = {cql: await session.prepare(cql) for cql in CHANGE_STATEMENTS}
    for start in range(0, len(rows), CHANGES):
        some = rows[start : start + CHANGES]
        found = await session.execute_all(
            [
                (of_message, (chat_id, bucket_of(target_id), target_id, event_id))
                if target_id
                else (of_chat, (chat_id, bucket_of(event_id), event_id))
                for chat_id, event_id, target_id in some
            ]
        )
        writes, ended = Writes(), []
        for (chat_id, event_id, _), contents in zip(some, found, strict=True):
            event = Event.FromString(contents[0][0]) if contents else None  # None: its message was deleted
            if event and not kind_of(event.change):
                continue
            if event:
                add_change(writes, statements, event)
            ended.append((remove, (event_id, chat_id, event_id)))
        await session.execute_all(await writes.requests())
        await session.execute_all(ended)

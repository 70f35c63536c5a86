"""The conversion of the rows that former releases have stored: each reaction becomes a change, each change gets its
kind, the heads of groups get the users who ask to join, and the rows of control changes are marked.

Repeating it changes nothing, nor does running it while archives record: a later change of a reaction wins."""

from collections.abc import Callable, Iterable

from messaging.archive.store.cassandra.batch import bucket_of
from messaging.archive.store.cassandra.change_rows import CHANGE_STATEMENTS, add_change
from messaging.archive.store.cassandra.group_rows import ASKS
from messaging.archive.store.cassandra.recording import MARK_CONTROL
from messaging.archive.store.cassandra.writes import Writes
from rookery.v1.groups_pb2 import Member
from rookery.v1.session_pb2 import Change, Event, Reacted
from shared.contract.changes import kind_of
from shared.drivers.cassandra import CassandraSession
from shared.drivers.cassandra.migrations import Progress, pages_from
from shared.drivers.cassandra.session import Row

PARTITIONS = 20
"""Partitions that are converted at once. All their rows are in memory: mostly some kilobytes, megabytes of a busy
chat."""

_PARTITIONS = "SELECT DISTINCT token({key}), {key} FROM {table} WHERE token({key}) > ? LIMIT ?"
_REACTIONS = "SELECT message_id, emoji, user_id, first_id FROM reactions_by_chat WHERE chat_id = ? AND bucket = ?"
_CHANGES = "SELECT target_id, event_id, kind, event FROM changes_by_target WHERE chat_id = ? AND bucket = ?"
_SET_KIND = """
    UPDATE changes_by_target USING TIMESTAMP ? SET kind = ?
    WHERE chat_id = ? AND bucket = ? AND target_id = ? AND event_id = ?
"""

# The filter reads the rows of one partition only.
_NO_MEMBERS = """
    SELECT user_id, version, member FROM members_by_chat WHERE chat_id = ? AND shard = ? AND role = 0 ALLOW FILTERING
"""
_CONTROLS = "SELECT event_id FROM versions_by_chat WHERE chat_id = ?"

_Convert = Callable[..., None]
"""Adds the writes for the rows of a partition: called with the Writes, the columns of the partition's key, and the
rows."""


async def convert_rows(session: CassandraSession, progress: Progress) -> None:
    """Convert all rows, as a `Fill`. Raises Unavailable."""
    await _convert_reactions(session, progress)
    await _set_kinds(session, progress)
    await _note_asking(session, progress)
    await _mark_controls(session, progress)


async def _convert_reactions(session: CassandraSession, progress: Progress) -> None:
    statements = {cql: await session.prepare(cql) for cql in CHANGE_STATEMENTS}

    def convert(writes: Writes, chat_id: str, bucket: int, rows: Iterable[Row]) -> None:
        for row in rows:
            add_change(writes, statements, _event(chat_id, *row))

    await _for_all_partitions(session, progress, "reactions_by_chat", _REACTIONS, convert)


async def _set_kinds(session: CassandraSession, progress: Progress) -> None:
    set_kind = await session.prepare(_SET_KIND)

    def convert(writes: Writes, chat_id: str, bucket: int, rows: Iterable[Row]) -> None:
        for target_id, event_id, number, content in rows:
            if number is None and (kind := kind_of(Event.FromString(content).change)):
                row = event_id, kind.number, chat_id, bucket, target_id, event_id
                writes.add((chat_id, bucket), set_kind, row)

    await _for_all_partitions(session, progress, "changes_by_target", _CHANGES, convert)


async def _note_asking(session: CassandraSession, progress: Progress) -> None:
    asks = await session.prepare(ASKS)

    def convert(writes: Writes, chat_id: str, shard: int, rows: Iterable[Row]) -> None:
        for user_id, version, content in rows:
            if Member.FromString(content).asked_at_ms:
                writes.add(chat_id, asks, (version, {user_id}, chat_id))

    await _for_all_partitions(session, progress, "members_by_chat", _NO_MEMBERS, convert, "chat_id, shard")


async def _mark_controls(session: CassandraSession, progress: Progress) -> None:
    mark = await session.prepare(MARK_CONTROL)

    def convert(writes: Writes, chat_id: str, rows: Iterable[Row]) -> None:
        for (event_id,) in rows:
            bucket = bucket_of(event_id)
            writes.add((chat_id, bucket), mark, (chat_id, bucket, event_id, event_id))

    await _for_all_partitions(session, progress, "versions_by_chat", _CONTROLS, convert, "chat_id")


async def _for_all_partitions(
    session: CassandraSession,
    progress: Progress,
    table: str,
    read: str,
    convert: _Convert,
    key: str = "chat_id, bucket",
) -> None:
    """Convert the partitions of a table from its place on, PARTITIONS at once; `read` reads the rows of one."""
    partitions, rows_of = _PARTITIONS.format(table=table, key=key), await session.prepare(read)
    async for found in pages_from(session, progress, table, partitions, PARTITIONS):
        keys = [tuple(key) for _, *key in found]
        writes = Writes()
        for each, rows in zip(keys, await session.execute_all([(rows_of, each) for each in keys]), strict=True):
            convert(writes, *each, rows)
        await session.execute_all(await writes.requests())


def _event(chat_id: str, message_id: int, emoji: str, user_id: int, first_id: int) -> Event:
    reacted = Reacted(emoji=emoji, set=True)
    change = Change(chat_id=chat_id, target_id=message_id, actor_id=user_id, reacted=reacted)
    return Event(event_id=first_id, change=change)

"""The conversion of the rows that former releases have stored: each reaction becomes a change, each change gets its
kind, and the heads of groups get the users who ask to join.

Repeating it changes nothing, nor does running it while archives record: a later change of a reaction wins."""

from collections.abc import AsyncIterator, Awaitable, Callable

from messaging.archive.store.cassandra.change_rows import CHANGE_STATEMENTS, add_change
from messaging.archive.store.cassandra.group_rows import ASKS
from messaging.archive.store.cassandra.writes import Writes
from rookery.v1.groups_pb2 import Member
from rookery.v1.session_pb2 import Change, Event, Reacted
from shared.contract.changes import kind_of
from shared.drivers.cassandra import CassandraSession

PARTITIONS = 100
"""Partitions that are found at a time."""

_MIN_TOKEN = -(2**63)
"""Below the token of every row."""

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

Renew = Callable[[], Awaitable[None]]


async def convert_rows(session: CassandraSession, renew: Renew) -> None:
    """Convert all rows; `renew` as for `Fill`. Raises Unavailable."""
    await _convert_reactions(session, renew)
    await _set_kinds(session, renew)
    await _note_asking(session, renew)


async def _convert_reactions(session: CassandraSession, renew: Renew) -> None:
    reactions = await session.prepare(_REACTIONS)
    statements = {cql: await session.prepare(cql) for cql in CHANGE_STATEMENTS}
    async for chat_id, bucket in _partitions(session, "reactions_by_chat"):
        writes = Writes()
        for row in await session.execute(reactions, (chat_id, bucket)):
            add_change(writes, statements, _event(chat_id, *row))
        await session.execute_all(await writes.requests())
        await renew()


async def _set_kinds(session: CassandraSession, renew: Renew) -> None:
    changes, set_kind = await session.prepare(_CHANGES), await session.prepare(_SET_KIND)
    async for key in _partitions(session, "changes_by_target"):
        writes = Writes()
        for target_id, event_id, number, content in await session.execute(changes, key):
            if number is None and (kind := kind_of(Event.FromString(content).change)):
                writes.add(key, set_kind, (event_id, kind.number, *key, target_id, event_id))
        await session.execute_all(await writes.requests())
        await renew()


async def _note_asking(session: CassandraSession, renew: Renew) -> None:
    no_members, asks = await session.prepare(_NO_MEMBERS), await session.prepare(ASKS)
    async for chat_id, shard in _partitions(session, "members_by_chat", "chat_id, shard"):
        writes = Writes()
        for user_id, version, content in await session.execute(no_members, (chat_id, shard)):
            if Member.FromString(content).asked_at_ms:
                writes.add(chat_id, asks, (version, {user_id}, chat_id))
        await session.execute_all(await writes.requests())
        await renew()


async def _partitions(
    session: CassandraSession, table: str, key: str = "chat_id, bucket"
) -> AsyncIterator[tuple[str, int]]:
    partitions = await session.prepare(_PARTITIONS.format(table=table, key=key))
    last_token = _MIN_TOKEN
    while found := await session.execute(partitions, (last_token, PARTITIONS)):
        for _, chat_id, number in found:
            yield chat_id, number
        last_token = found[-1][0]


def _event(chat_id: str, message_id: int, emoji: str, user_id: int, first_id: int) -> Event:
    reacted = Reacted(emoji=emoji, set=True)
    change = Change(chat_id=chat_id, target_id=message_id, actor_id=user_id, reacted=reacted)
    return Event(event_id=first_id, change=change)

"""The conversion of the reactions that former releases have stored: each becomes a change."""

from collections.abc import Awaitable, Callable

from messaging.archive.store.cassandra.change_rows import CHANGE_STATEMENTS, add_change
from messaging.archive.store.cassandra.writes import Writes
from rookery.v1.session_pb2 import Change, Event, Reacted
from shared.drivers.cassandra import CassandraSession

PARTITIONS = 100
"""Partitions of reactions that are read at a time."""

_MIN_TOKEN = -(2**63)
"""Below the token of every row."""

_PARTITIONS = """
    SELECT DISTINCT token(chat_id, bucket), chat_id, bucket FROM reactions_by_chat
    WHERE token(chat_id, bucket) > ? LIMIT ?
"""
_REACTIONS = "SELECT message_id, emoji, user_id, first_id FROM reactions_by_chat WHERE chat_id = ? AND bucket = ?"


async def convert_reactions(session: CassandraSession, renew: Callable[[], Awaitable[None]]) -> None:
    """Make a change of every reaction. Repeating it changes nothing, nor does running it while archives record: a later
    change of a reaction wins. Raises Unavailable."""
    partitions, reactions = await session.prepare(_PARTITIONS), await session.prepare(_REACTIONS)
    statements = {cql: await session.prepare(cql) for cql in CHANGE_STATEMENTS}
    last_token = _MIN_TOKEN
    while found := await session.execute(partitions, (last_token, PARTITIONS)):
        for _, *key in found:
            writes = Writes()
            for row in await session.execute(reactions, key):
                add_change(writes, statements, _event(key[0], *row))
            await session.execute_all(await writes.requests())
            await renew()
        last_token = found[-1][0]


def _event(chat_id: str, message_id: int, emoji: str, user_id: int, first_id: int) -> Event:
    reacted = Reacted(emoji=emoji, set=True)
    change = Change(chat_id=chat_id, target_id=message_id, actor_id=user_id, reacted=reacted)
    return Event(event_id=first_id, change=change)

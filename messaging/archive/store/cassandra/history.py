"""Reads of history in Cassandra: one bucket after another, of the buckets with messages, until a page is full.

A chat's messages may be spread thinly over years, so each round reads twice as many buckets: n buckets take about
log n rounds, of which only the last reads more than is used.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from messaging.archive.store.cassandra.recording import bucket_of
from messaging.archive.store.protocol import MAX_PAGE_REACTIONS, Page, with_reactions
from rookery.v1.archive_pb2 import HistoryMessage
from rookery.v1.session_pb2 import Message
from shared.drivers.cassandra import CassandraSession

MAX_BUCKETS_AT_ONCE = 16
"""Buckets of a chat that are read concurrently."""

_BUCKETS = "SELECT bucket FROM buckets_by_chat WHERE chat_id = ?"
_BEFORE = """
    SELECT message FROM messages_by_chat WHERE chat_id = ? AND bucket = ? AND message_id < ?
    ORDER BY message_id DESC LIMIT ?
"""
_AFTER = """
    SELECT message FROM messages_by_chat WHERE chat_id = ? AND bucket = ? AND message_id > ?
    ORDER BY message_id ASC LIMIT ?
"""
_FROM_ON = "SELECT message_id FROM messages_by_chat WHERE chat_id = ? AND bucket = ? AND message_id >= ? LIMIT 1"
_UP_TO = "SELECT message_id FROM messages_by_chat WHERE chat_id = ? AND bucket = ? AND message_id <= ? LIMIT 1"
_SENDERS = """
    SELECT sender_id FROM messages_by_chat WHERE chat_id = ? AND bucket = ? AND message_id > ?
    ORDER BY message_id DESC LIMIT ?
"""
_MESSAGE = "SELECT message FROM messages_by_chat WHERE chat_id = ? AND bucket = ? AND message_id = ?"
_REACTIONS = """
    SELECT message_id, emoji, user_id, first_id FROM reactions_by_chat
    WHERE chat_id = ? AND bucket = ? AND message_id >= ? AND message_id <= ? LIMIT ?
"""
HISTORY_STATEMENTS = _BUCKETS, _BEFORE, _AFTER, _FROM_ON, _UP_TO, _SENDERS, _MESSAGE, _REACTIONS


class History:
    """Reads messages with their reactions. Its methods raise Unavailable if Cassandra does not answer."""

    def __init__(self, session: CassandraSession, statements: Mapping[str, Any]) -> None:
        self._session = session
        self._statements = statements

    async def page_before(self, chat_id: str, before_id: int, limit: int) -> Page:
        """The newest messages below the id, at most `limit` of them."""
        buckets = await self._buckets(chat_id)
        older = [bucket for bucket in buckets if bucket <= bucket_of(before_id - 1)]
        rows = await self._scan(_BEFORE, chat_id, older, before_id, limit + 1)
        messages = _decoded(rows[:limit][::-1])
        newer = [bucket for bucket in buckets if bucket >= bucket_of(before_id)]
        has_newer = bool(await self._scan(_FROM_ON, chat_id, newer, before_id, 1))
        return Page(await self._with_reactions(chat_id, messages), has_older=len(rows) > limit, has_newer=has_newer)

    async def page_after(self, chat_id: str, after_id: int, limit: int) -> Page:
        """The oldest messages above the id, at most `limit` of them."""
        buckets = (await self._buckets(chat_id))[::-1]
        newer = [bucket for bucket in buckets if bucket >= bucket_of(after_id)]
        rows = await self._scan(_AFTER, chat_id, newer, after_id, limit + 1)
        messages = _decoded(rows[:limit])
        older = [bucket for bucket in buckets if bucket <= bucket_of(after_id)]
        has_older = bool(await self._scan(_UP_TO, chat_id, older, after_id, 1))
        return Page(await self._with_reactions(chat_id, messages), has_older=has_older, has_newer=len(rows) > limit)

    async def message(self, chat_id: str, message_id: int) -> HistoryMessage | None:
        """One message; None if it does not exist."""
        bucket = bucket_of(message_id)
        found, reactions = await self._session.execute_all(
            [
                (self._statements[_MESSAGE], (chat_id, bucket, message_id)),
                (self._statements[_REACTIONS], (chat_id, bucket, message_id, message_id, MAX_PAGE_REACTIONS)),
            ]
        )
        return _with_reactions([Message.FromString(found[0][0])], reactions)[0] if found else None

    async def senders(self, chats: Sequence[tuple[str, int, int]], limit: int) -> list[list[int]]:
        """For each chat, given as chat_id, an id and the id of its newest message: the senders of the messages above
        the id, newest first, at most `limit`."""
        remaining = [[bucket_of(newest_id)] for _, _, newest_id in chats]
        longer = [n for n, (_, above_id, _) in enumerate(chats) if bucket_of(above_id) != remaining[n][0]]
        lists = await self._session.execute_all([(self._statements[_BUCKETS], (chats[n][0],)) for n in longer])
        for n, rows in zip(longer, lists, strict=True):
            remaining[n] = [bucket for (bucket,) in rows if bucket >= bucket_of(chats[n][1])]
        senders: list[list[int]] = [[] for _ in chats]
        while unfinished := [n for n, buckets in enumerate(remaining) if buckets and len(senders[n]) < limit]:
            pages = await self._session.execute_all(
                [
                    (
                        self._statements[_SENDERS],
                        (chats[n][0], remaining[n].pop(0), chats[n][1], limit - len(senders[n])),
                    )
                    for n in unfinished
                ]
            )
            for n, rows in zip(unfinished, pages, strict=True):
                senders[n] += [sender_id for (sender_id,) in rows]
        return senders

    async def _buckets(self, chat_id: str) -> list[int]:
        """The buckets with messages, newest first."""
        return [bucket for (bucket,) in await self._session.execute(self._statements[_BUCKETS], (chat_id,))]

    async def _scan(self, cql: str, chat_id: str, buckets: Sequence[int], anchor: int, limit: int) -> list[Any]:
        """The first `limit` values beyond the anchor, from the buckets in this order."""
        values: list[Any] = []
        at_once = 1
        while buckets and len(values) < limit:
            batch, buckets = buckets[:at_once], buckets[at_once:]
            at_once = min(at_once * 2, MAX_BUCKETS_AT_ONCE)
            bounds = (anchor,) if limit == 1 else (anchor, limit - len(values))
            pages = await self._session.execute_all(
                [(self._statements[cql], (chat_id, bucket, *bounds)) for bucket in batch]
            )
            values += [value for rows in pages for (value,) in rows]
        return values[:limit]

    async def _with_reactions(self, chat_id: str, messages: Sequence[Message]) -> list[HistoryMessage]:
        """The messages, oldest first, with their reactions in the order in which they were set."""
        if not messages:
            return []
        span = messages[0].message_id, messages[-1].message_id
        buckets = sorted({bucket_of(message.message_id) for message in messages})
        pages = await self._session.execute_all(
            [(self._statements[_REACTIONS], (chat_id, bucket, *span, MAX_PAGE_REACTIONS)) for bucket in buckets]
        )
        return _with_reactions(messages, [row for rows in pages for row in rows])


def _decoded(rows: Sequence[bytes]) -> list[Message]:
    """The messages, oldest first, and only the oldest of each send: two archives that record a message and its retry at
    the same moment store both."""
    messages = [Message.FromString(message) for message in rows]
    first = {(message.sender_id, message.client_message_id): message for message in reversed(messages)}
    return [message for message in messages if first[message.sender_id, message.client_message_id] is message]


def _with_reactions(messages: Sequence[Message], reactions: Sequence[tuple[Any, ...]]) -> list[HistoryMessage]:
    in_order = sorted(reactions[:MAX_PAGE_REACTIONS], key=lambda row: row[3])
    return with_reactions(messages, [row[:3] for row in in_order])

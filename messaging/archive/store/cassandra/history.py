"""Reads of history in Cassandra: one bucket after another, of the buckets with messages, until a page is full.

A chat's messages may be spread thinly over years, so each round reads twice as many buckets: n buckets take about
log n rounds, of which only the last reads more than is used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from messaging.archive.store.cassandra.recording import bucket_of
from messaging.archive.store.protocol import MAX_PAGE_REACTIONS, UNREAD_LIMIT, UNREAD_SCAN, Page, with_reactions
from rookery.v1.archive_pb2 import HistoryMessage
from rookery.v1.session_pb2 import Message
from shared.drivers.cassandra import CassandraSession

MAX_BUCKETS_AT_ONCE = 16
"""Buckets of a chat that are read concurrently."""

COUNTED_AT_ONCE = 200
"""Messages of a chat in one read of a count: so many usually include UNREAD_LIMIT messages of other members."""

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
    SELECT message_id, sender_id FROM messages_by_chat
    WHERE chat_id = ? AND bucket = ? AND message_id > ? AND message_id <= ? ORDER BY message_id DESC LIMIT ?
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

    async def count_of_others(self, user_id: int, chats: Sequence[tuple[str, int, int]]) -> list[int]:
        """For each chat, given as chat_id, an id and the id of its newest message: the number of messages of others
        above the id, at most UNREAD_LIMIT, of the newest UNREAD_SCAN messages."""
        counts = [_Count(chat_id, above, newest, [bucket_of(newest)]) for chat_id, above, newest in chats]
        longer = [count for count in counts if bucket_of(count.above_id) != count.buckets[0]]
        lists = await self._session.execute_all([(self._statements[_BUCKETS], (count.chat_id,)) for count in longer])
        for count, rows in zip(longer, lists, strict=True):
            count.buckets = [bucket for (bucket,) in rows if bucket >= bucket_of(count.above_id)]
        while unfinished := [count for count in counts if not count.is_finished]:
            pages = await self._session.execute_all(
                [(self._statements[_SENDERS], count.next_page()) for count in unfinished]
            )
            for count, rows in zip(unfinished, pages, strict=True):
                count.add(rows, user_id)
        return [min(count.others, UNREAD_LIMIT) for count in counts]

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


@dataclass(slots=True)
class _Count:
    """The count of the messages of others in one chat, page by page, newest first."""

    chat_id: str
    above_id: int
    up_to_id: int
    """The newest id that is not read yet."""
    buckets: list[int]
    """The buckets that are not read to their end, newest first."""
    others: int = 0
    scanned: int = 0

    @property
    def is_finished(self) -> bool:
        return not self.buckets or self.others >= UNREAD_LIMIT or self.scanned >= UNREAD_SCAN

    def next_page(self) -> tuple[str, int, int, int, int]:
        return self.chat_id, self.buckets[0], self.above_id, self.up_to_id, COUNTED_AT_ONCE

    def add(self, rows: Sequence[tuple[int, int]], user_id: int) -> None:
        self.others += sum(sender_id != user_id for _, sender_id in rows)
        self.scanned += len(rows)
        if len(rows) < COUNTED_AT_ONCE:
            self.buckets.pop(0)
        else:
            self.up_to_id = rows[-1][0] - 1


def _decoded(rows: Sequence[bytes]) -> list[Message]:
    """The messages, oldest first, and only the oldest of each send: two archives that record a message and its retry at
    the same moment store both."""
    messages = [Message.FromString(message) for message in rows]
    first = {(message.sender_id, message.client_message_id): message for message in reversed(messages)}
    return [message for message in messages if first[message.sender_id, message.client_message_id] is message]


def _with_reactions(messages: Sequence[Message], reactions: Sequence[tuple[Any, ...]]) -> list[HistoryMessage]:
    in_order = sorted(reactions[:MAX_PAGE_REACTIONS], key=lambda row: row[3])
    return with_reactions(messages, [row[:3] for row in in_order])

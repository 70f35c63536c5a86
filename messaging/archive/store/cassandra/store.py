"""The chat store on Cassandra: the distributed twin of `messaging.archive.store.sqlite.store`.

`recording` writes events, `history` reads messages, `feed` reads events, and `schema` defines the tables.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from messaging.archive.store.cassandra.feed import FEED_STATEMENTS, Feed
from messaging.archive.store.cassandra.history import HISTORY_STATEMENTS, History
from messaging.archive.store.cassandra.recording import ChatRecording, prepare_recording
from messaging.archive.store.protocol import ChatCursor, Logged, Page
from rookery.v1.archive_pb2 import CHAT_KIND_DIRECT, Chat, HistoryMessage, Mark
from rookery.v1.session_pb2 import Event
from shared.contract.chats import direct_members
from shared.contract.ids import MAX_ID, first_id_at, time_of, wall_clock_ms
from shared.drivers.cassandra import CassandraSession, unlogged

# The filter reads the rows of one partition only, which costs less than sending them.
_CHANGED_CHATS = (
    "SELECT chat_id, changed_id, newest_id FROM chats_by_user WHERE user_id = ? AND changed_id >= ? ALLOW FILTERING"
)
_CHATS = """
    SELECT chat_id, changed_id, newest_id, delivered, read, changes FROM chats_by_user
    WHERE user_id = ? AND chat_id IN ?
"""
_CHANGED_IDS = "SELECT changed_id FROM chats_by_user WHERE user_id IN ? AND chat_id = ?"
_RAISE_WATERMARK = "INSERT INTO watermarks (id, log_partition, at_ms) VALUES (0, ?, ?) USING TIMESTAMP ?"
_WATERMARKS = "SELECT log_partition, at_ms FROM watermarks WHERE id = 0"


class CassandraChats:
    """A ChatStore in a keyspace. Made by `open_cassandra_chats`."""

    def __init__(self, session: CassandraSession, recording: ChatRecording, statements: Mapping[str, Any]) -> None:
        self._session = session
        self._recording = recording
        self._statements = statements
        self._history = History(session, statements)
        self._feed = Feed(session, statements, self._history)

    async def record(self, events: Sequence[Logged], offsets: Mapping[int, int]) -> None:
        """As in the protocol. The offsets are not stored: the offsets that the consumer group commits are enough."""
        await self._recording.record(events)

    async def recorded_offsets(self) -> Mapping[int, int]:
        return {}

    async def raise_watermarks(self, watermarks: Mapping[int, int]) -> None:
        raised = self._statements[_RAISE_WATERMARK]
        rows = [(raised, (partition, at_ms, at_ms)) for partition, at_ms in watermarks.items()]
        if rows:
            await self._session.execute(unlogged(rows))

    async def watermarks(self) -> Mapping[int, int]:
        return dict(await self._session.execute(self._statements[_WATERMARKS]))

    async def list_chats(
        self, user_id: int, *, changed_since_ms: int, limit: int, after: ChatCursor | None
    ) -> Sequence[Chat]:
        """As in the protocol. Reads about 60 bytes of each of the user's chats that changed since then."""
        since = first_id_at(changed_since_ms)
        rows = await self._session.execute(self._statements[_CHANGED_CHATS], (user_id, since))
        start = after or ChatCursor(MAX_ID, "")
        listed = sorted(
            (
                (time_of(changed_id), chat_id)
                for chat_id, changed_id, newest_id in rows
                if newest_id is not None and (time_of(changed_id), chat_id) < (start.changed_at_ms, start.chat_id)
            ),
            reverse=True,
        )
        return await self._chats(user_id, user_id, [chat_id for _, chat_id in listed[:limit]])

    async def get_chat(self, user_id: int, chat_id: str) -> Chat | None:
        members = direct_members(chat_id)
        if members is None:
            return None
        chats = await self._chats(user_id, user_id if user_id in members else members[0], [chat_id])
        return chats[0] if chats else None

    async def messages_before(self, chat_id: str, before_id: int, limit: int) -> Page:
        return await self._history.page_before(chat_id, before_id, limit)

    async def messages_after(self, chat_id: str, after_id: int, limit: int) -> Page:
        return await self._history.page_after(chat_id, after_id, limit)

    async def messages_having(self, chat_id: str, kind: int, key: str, before_id: int, limit: int) -> Page:
        return await self._history.page_having(chat_id, kind, key, before_id, limit)

    async def events_after(self, chat_id: str, after_id: int) -> Sequence[Event]:
        """As in the protocol. Changes that a deletion has removed count too; if there are more than MAX_CHANGES, the
        events have no content."""
        members = direct_members(chat_id)
        if members is None:
            return []
        rows = await self._session.execute(self._statements[_CHANGED_IDS], (members, chat_id))  # private changes differ
        changed_id = max((changed_id or 0 for (changed_id,) in rows), default=0)
        return await self._feed.events_after(chat_id, after_id, changed_id) if changed_id > after_id else []

    async def versions(self, chat_id: str, target_id: int, kind: int) -> Sequence[Event]:
        return await self._feed.versions(chat_id, target_id, kind)

    async def get_message(self, chat_id: str, message_id: int) -> HistoryMessage | None:
        return await self._history.message(chat_id, message_id)

    async def find_sent(self, chat_id: str, author_id: int, client_id: str) -> Event | None:
        """As in the protocol. Found up to DEDUPE_BEHIND ago; in the same bucket, at any distance."""
        now = first_id_at(wall_clock_ms())
        event_id = await self._recording.find_first(chat_id, author_id, client_id, now)
        return None if event_id is None else await self._history.event(chat_id, author_id, client_id, event_id)

    async def _chats(self, user_id: int, owner_id: int, chat_ids: Sequence[str]) -> list[Chat]:
        """The chats in this order, as the user sees them, read from the owner's rows."""
        if not chat_ids:
            return []
        rows = await self._session.execute(self._statements[_CHATS], (owner_id, chat_ids))
        by_id = {row[0]: row for row in rows}
        newest_ids = {chat_id: newest_id for chat_id, _, newest_id, *_ in rows if newest_id is not None}
        newest = await self._history.messages(newest_ids.items())
        chats = [
            _chat(*by_id[chat_id], newest=newest.get((chat_id, newest_ids.get(chat_id, 0))))
            for chat_id in chat_ids
            if chat_id in by_id
        ]
        await self._count_unread(user_id, chats, newest_ids)
        return chats

    async def _count_unread(self, user_id: int, chats: Iterable[Chat], newest_ids: Mapping[str, int]) -> None:
        unread: list[tuple[Chat, int]] = []
        for chat in chats:
            read_up_to = next((mark.read_up_to for mark in chat.marks if mark.user_id == user_id), 0)
            if newest_ids.get(chat.chat_id, 0) > read_up_to:
                unread.append((chat, read_up_to))
        counts = await self._history.count_of_others(
            user_id, [(chat.chat_id, mark, newest_ids[chat.chat_id]) for chat, mark in unread]
        )
        for (chat, _), count in zip(unread, counts, strict=True):
            chat.unread = count


_STATEMENTS = (
    _CHANGED_CHATS,
    _CHATS,
    _CHANGED_IDS,
    _RAISE_WATERMARK,
    _WATERMARKS,
    *HISTORY_STATEMENTS,
    *FEED_STATEMENTS,
)


@asynccontextmanager
async def open_cassandra_chats(session: CassandraSession) -> AsyncIterator[CassandraChats]:
    """Open the store on a session with the keyspace of the tables. Raises Unavailable if Cassandra does not answer."""
    recording = await prepare_recording(session)
    statements = {cql: await session.prepare(cql) for cql in _STATEMENTS}
    yield CassandraChats(session, recording, statements)


def _chat(
    chat_id: str,
    changed_id: int,
    newest_id: int | None,
    delivered: Mapping[int, int] | None,
    read: Mapping[int, int] | None,
    changes: Mapping[str, bytes] | None,
    *,
    newest: HistoryMessage | None,
) -> Chat:
    """The chat, without its count of unread messages."""
    delivered, read = delivered or {}, read or {}
    state = sorted(map(Event.FromString, (changes or {}).values()), key=lambda event: event.event_id)
    return Chat(
        chat_id=chat_id,
        kind=CHAT_KIND_DIRECT,
        member_ids=direct_members(chat_id),
        newest=newest,
        marks=[
            Mark(user_id=user, delivered_up_to=delivered.get(user, 0), read_up_to=read.get(user, 0))
            for user in sorted({*delivered, *read})
        ],
        changed_at_ms=time_of(changed_id),
        changes=state,
    )

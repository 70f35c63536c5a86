"""The chat store on Cassandra: the distributed twin of `messaging.archive.store.sqlite.store`.

`recording` writes events, `unknown_changes` applies changes whose kind was not known, `history` reads messages, `feed`
reads events, `groups` reads groups, `heads` shares reads of their heads, `mentions` writes and counts mentions,
`public_chats` finds public groups, `files` has the file table, and `schema` defines the tables.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from messaging.archive.store.cassandra.feed import FEED_STATEMENTS, Feed
from messaging.archive.store.cassandra.files import CassandraFiles
from messaging.archive.store.cassandra.groups import GROUP_READS, MEMBERSHIPS, Groups
from messaging.archive.store.cassandra.history import HISTORY_STATEMENTS, History
from messaging.archive.store.cassandra.mentions import MENTION_READS, count_mentions
from messaging.archive.store.cassandra.public_chats import PublicChats
from messaging.archive.store.cassandra.recording import ChatRecording, prepare_recording
from messaging.archive.store.cassandra.unknown_changes import apply_unknown
from messaging.archive.store.laws import own_key
from messaging.archive.store.protocol import ChatCursor, Logged, Membership, Page, PublicCursor
from rookery.v1.archive_pb2 import (
    CHAT_KIND_DIRECT,
    Chat,
    FileClass,
    Group,
    HistoryMessage,
    ListMembersResponse,
    Mark,
    PublicChat,
)
from rookery.v1.session_pb2 import Event
from shared.contract.changes import KINDS
from shared.contract.chats import direct_members, is_group
from shared.contract.ids import MAX_ID, first_id_at, time_of, wall_clock_ms
from shared.drivers.cassandra import CassandraSession, unlogged

LIST_READINGS = 5
"""Readings of a page of chats, at most, while one of its chats is pinned or unpinned during each."""

# The filter reads the rows of one partition only, which costs less than sending them.
_CHANGED_CHATS = """
    SELECT chat_id, changed_id, newest_id, changes[?] FROM chats_by_user WHERE user_id = ? AND changed_id >= ?
    ALLOW FILTERING
"""
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
        self._groups = Groups(session, statements)
        self._public_chats = PublicChats(session)
        self.files = CassandraFiles(session)

    async def record(self, events: Sequence[Logged], offsets: Mapping[int, int]) -> None:
        """As in the protocol. The offsets are not stored: the offsets that the consumer group commits are enough."""
        await self._recording.record(events)
        messages = [event.message for event, _ in events if event.HasField("message")]
        if used := {file.file_id for message in messages for file in message.files}:
            await self.files.revive(used)

    async def recorded_offsets(self) -> None:
        return None

    async def raise_watermarks(self, watermarks: Mapping[int, int]) -> None:
        raised = self._statements[_RAISE_WATERMARK]
        rows = [(raised, (partition, at_ms, at_ms)) for partition, at_ms in watermarks.items()]
        if rows:
            await self._session.execute(unlogged(rows))

    async def watermarks(self) -> Mapping[int, int]:
        return dict(await self._session.execute(self._statements[_WATERMARKS]))

    async def list_chats(
        self,
        user_id: int,
        *,
        changed_since_ms: int,
        limit: int,
        after: ChatCursor | None,
        readings: int = LIST_READINGS,
    ) -> Sequence[Chat]:
        """As in the protocol. Reads about 60 bytes of each of the user's direct chats that changed since then, and 100
        bytes of each of their groups; of a chat that they have ever pinned, 60 bytes more."""
        since, pin = first_id_at(changed_since_ms), f"{KINDS['chat_pinned'].number} {own_key(user_id)}"
        rows, memberships = await self._session.execute_all(
            [
                (self._statements[_CHANGED_CHATS], (pin, user_id, since)),
                (self._statements[MEMBERSHIPS], (pin, user_id)),
            ]
        )
        changed_ids = {chat_id: changed_id for chat_id, changed_id, newest_id, _ in rows if newest_id is not None}
        groups = await self._groups.changed_ids(memberships)
        changed_ids |= {chat_id: changed_id for chat_id, changed_id in groups.items() if changed_id >= since}
        pins = [(row[0], row[-1]) for row in (*rows, *memberships) if row[-1] is not None]
        pinned = {chat_id for chat_id, event in pins if Event.FromString(event).change.chat_pinned.set}
        start = after or ChatCursor(MAX_ID, "", is_pinned=True)
        keys = ((each in pinned, time_of(changed_id), each) for each, changed_id in changed_ids.items())
        listed = sorted((key for key in keys if key < start.sort_key), reverse=True)
        chats = await self._chats(user_id, user_id, [chat_id for *_, chat_id in listed[:limit]])
        if readings > 1 and any(ChatCursor.of(chat).is_pinned != (chat.chat_id in pinned) for chat in chats):
            return await self.list_chats(
                user_id, changed_since_ms=changed_since_ms, limit=limit, after=after, readings=readings - 1
            )
        return chats

    async def get_chat(self, user_id: int, chat_id: str) -> Chat | None:
        members = direct_members(chat_id)
        owner_id = user_id if members is None or user_id in members else members[0]
        chats = await self._chats(user_id, owner_id, [chat_id])
        return chats[0] if chats else None

    async def get_group(self, chat_id: str, user_ids: Collection[int] = ()) -> Group | None:
        return await self._groups.group(chat_id, user_ids)

    async def list_public_chats(
        self, user_id: int, query: str, *, after: PublicCursor, limit: int
    ) -> Sequence[PublicChat]:
        """As in the protocol. Not found is a group after the first MAX_SCANNED with the rarest trigram of the query."""
        chats = await self._public_chats.find(query, after=after, limit=limit)
        await self._groups.add_own(chats, user_id)
        return chats

    async def get_member(self, chat_id: str, user_id: int) -> Membership | None:
        return await self._groups.member(chat_id, user_id)

    async def list_members(self, chat_id: str, *, after: int, limit: int) -> ListMembersResponse:
        return await self._groups.members(chat_id, after, limit)

    async def list_marks(self, chat_id: str, *, from_id: int, limit: int) -> Sequence[Mark]:
        members = direct_members(chat_id)
        if members is None:
            marks: Iterable[Mark] = await self._groups.marks(chat_id)
        else:
            rows = await self._session.execute(self._statements[_CHATS], (members[0], [chat_id]))
            marks = [mark for _, _, _, delivered, read, _ in rows for mark in _marks(delivered, read)]
        reached = [mark for mark in marks if max(mark.delivered_up_to, mark.read_up_to) >= from_id]
        reached.sort(key=lambda mark: (-mark.read_up_to, -mark.delivered_up_to, mark.user_id))
        return reached[:limit]

    async def messages_before(self, chat_id: str, before_id: int, limit: int, viewer_id: int | None = None) -> Page:
        return await self._history.page_before(chat_id, before_id, limit, viewer_id)

    async def messages_after(self, chat_id: str, after_id: int, limit: int, viewer_id: int | None = None) -> Page:
        return await self._history.page_after(chat_id, after_id, limit, viewer_id)

    async def messages_having(
        self, chat_id: str, kind: int, key: str, before_id: int, limit: int, viewer_id: int | None = None
    ) -> Page:
        return await self._history.page_having(chat_id, kind, key, before_id, limit, viewer_id)

    async def messages_with_files(
        self, chat_id: str, file_class: FileClass, before_id: int, limit: int, viewer_id: int | None = None
    ) -> Page:
        return await self._history.page_with_files(chat_id, file_class, before_id, limit, viewer_id)

    async def events_after(self, chat_id: str, after_id: int) -> Sequence[Event]:
        """As in the protocol. Changes that a deletion has removed count too; if there are more than MAX_CHANGES, the
        events have no content."""
        members = direct_members(chat_id)
        if members is None:
            changed_id = await self._groups.logged_id(chat_id)
        else:  # private changes differ
            rows = await self._session.execute(self._statements[_CHANGED_IDS], (members, chat_id))
            changed_id = max((changed_id or 0 for (changed_id,) in rows), default=0)
        return await self._feed.events_after(chat_id, after_id, changed_id) if changed_id > after_id else []

    async def versions(self, chat_id: str, target_id: int, kind: int) -> Sequence[Event]:
        return await self._feed.versions(chat_id, target_id, kind)

    async def get_message(self, chat_id: str, message_id: int, viewer_id: int | None = None) -> HistoryMessage | None:
        return await self._history.message(chat_id, message_id, viewer_id)

    async def find_sent(self, chat_id: str, author_id: int, client_id: str) -> Event | None:
        """As in the protocol. Found up to DEDUPE_BEHIND ago; in the same bucket, at any distance."""
        now = first_id_at(wall_clock_ms())
        event_id = await self._recording.find_first(chat_id, author_id, client_id, now)
        return None if event_id is None else await self._history.event(chat_id, author_id, client_id, event_id)

    async def _chats(self, user_id: int, owner_id: int, chat_ids: Sequence[str]) -> list[Chat]:
        """The chats in this order, as the user sees them; direct ones are read from the owner's rows."""
        direct_ids = [chat_id for chat_id in chat_ids if not is_group(chat_id)]
        found = await self._groups.chats(user_id, [chat_id for chat_id in chat_ids if is_group(chat_id)])
        if direct_ids:
            for row in await self._session.execute(self._statements[_CHATS], (owner_id, direct_ids)):
                found[row[0]] = _chat(*row), row[2] or 0
        listed = [found[chat_id] for chat_id in chat_ids if chat_id in found]
        newest: dict[tuple[str, int], HistoryMessage] = {}
        for of_channels in (False, True):
            keys = [(chat.chat_id, at) for chat, at in listed if at and chat.settings.is_channel == of_channels]
            newest |= await self._history.messages(keys, user_id if of_channels else None)
        shown: list[tuple[Chat, int]] = []
        for chat, newest_id in listed:
            message = newest.get((chat.chat_id, newest_id))
            if message is None and newest_id:  # it is not written yet: the chat is as before it
                viewer_id = user_id if chat.settings.is_channel else None
                page = await self._history.page_before(chat.chat_id, newest_id, 1, viewer_id)
                message = page.messages[-1] if page.messages else None
            if message is not None:
                chat.newest.CopyFrom(message)
            chat.newest_sent_id = _newest_sent_id(chat)
            shown.append((chat, chat.newest.message.message_id))
        await self._count_unread(user_id, shown)
        return [chat for chat, _ in shown]

    async def _count_unread(self, user_id: int, chats: Iterable[tuple[Chat, int]]) -> None:
        """Count the unread messages and the unread mentions of the chats, which are given with the ids of their
        newest messages."""
        unread = [(chat, above, newest) for chat, newest in chats if newest > (above := _read_up_to(user_id, chat))]
        counts = await self._history.count_of_others(
            user_id, [(chat.chat_id, above, newest, _joined_id(chat)) for chat, above, newest in unread]
        )
        for (chat, _, _), count in zip(unread, counts, strict=True):
            chat.unread = count
        listed = [(chat, above, newest) for chat, above, newest in unread if chat.unread]
        mentions = await count_mentions(
            self._session, self._statements, user_id, [(chat.chat_id, above, newest) for chat, above, newest in listed]
        )
        for (chat, _, _), count in zip(listed, mentions, strict=True):
            chat.unread_mentions = count


_STATEMENTS = (
    _CHANGED_CHATS,
    _CHATS,
    _CHANGED_IDS,
    _RAISE_WATERMARK,
    _WATERMARKS,
    *HISTORY_STATEMENTS,
    *FEED_STATEMENTS,
    *GROUP_READS,
    *MENTION_READS,
)


@asynccontextmanager
async def open_cassandra_chats(session: CassandraSession) -> AsyncIterator[CassandraChats]:
    """Open the store on a session with the keyspace of the tables. Raises Unavailable if Cassandra does not answer."""
    recording = await prepare_recording(session)
    statements = {cql: await session.prepare(cql) for cql in _STATEMENTS}
    await apply_unknown(session)
    yield CassandraChats(session, recording, statements)


def _chat(
    chat_id: str,
    changed_id: int | None,
    newest_id: int | None,
    delivered: Mapping[int, int] | None,
    read: Mapping[int, int] | None,
    changes: Mapping[str, bytes] | None,
) -> Chat:
    """A direct chat, without its newest message and without the number of unread messages. `changed_id` is None if the
    chat has nothing but private changes and marks of the other member."""
    state = sorted(map(Event.FromString, (changes or {}).values()), key=lambda event: event.event_id)
    return Chat(
        chat_id=chat_id,
        kind=CHAT_KIND_DIRECT,
        member_ids=direct_members(chat_id),
        marks=_marks(delivered, read),
        changed_at_ms=time_of(changed_id or 0),
        changes=state,
    )


def _marks(delivered: Mapping[int, int] | None, read: Mapping[int, int] | None) -> list[Mark]:
    delivered, read = delivered or {}, read or {}
    return [
        Mark(user_id=user, delivered_up_to=delivered.get(user, 0), read_up_to=read.get(user, 0))
        for user in sorted({*delivered, *read})
    ]


def _newest_sent_id(chat: Chat) -> int:
    """The newest message that is no control change; 0 if only a former release has recorded it. `chat` has the one of
    the head of its group, which may be newer than its newest message, since that is not written yet."""
    newest = chat.newest.message
    if not newest.HasField("control"):
        return newest.message_id
    return chat.newest_sent_id if chat.newest_sent_id < newest.message_id else 0


def _read_up_to(user_id: int, chat: Chat) -> int:
    """The id up to which the user has read the chat. In a group, messages before their newest span are no unread ones;
    a former member has read everything."""
    mark = next((mark.read_up_to for mark in chat.marks if mark.user_id == user_id), 0)
    if chat.kind == CHAT_KIND_DIRECT:
        return mark
    return max(mark, _joined_id(chat) - 1) if chat.own.role else MAX_ID


def _joined_id(chat: Chat) -> int:
    """The id of the control change by which the user joined a group last; 0 for a direct chat."""
    return chat.own.spans[-1].first if chat.own.spans else 0

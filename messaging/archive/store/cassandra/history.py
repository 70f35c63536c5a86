"""Reads of history in Cassandra: one bucket after another, of the buckets with messages, until a page is full.

The first bucket is read together with the list of the buckets, since it is nearly always known. A chat's messages may
be spread thinly over years, so each round reads twice as many buckets: n buckets take about log n rounds, of which only
the last reads more than is used.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from messaging.archive.store.cassandra.batch import bucket_of, message_reads
from messaging.archive.store.files import classes_of
from messaging.archive.store.laws import PRIVATE, SHARED, is_listed, key_text, own_key
from messaging.archive.store.protocol import MAX_PAGE_CHANGES, UNREAD_LIMIT, UNREAD_SCAN, Page, with_changes
from rookery.v1.archive_pb2 import FileClass, HistoryMessage
from rookery.v1.session_pb2 import Change, Event, Message
from shared.contract.changes import kind_of
from shared.contract.ids import first_id_at, wall_clock_ms
from shared.drivers.cassandra import CassandraSession
from shared.drivers.cassandra.session import Row

MAX_BUCKETS_AT_ONCE = 16
"""Buckets of a chat that are read concurrently."""

COUNTED_AT_ONCE = 200
"""Messages of a chat in one read of a count: so many usually include UNREAD_LIMIT messages of other members."""

_BUCKETS = "SELECT bucket FROM buckets_by_chat WHERE chat_id = ?"
_MESSAGES = "SELECT chat_id, message_id, sender_id, client_message_id, message FROM messages_by_chat "
_IDS = "SELECT message_id FROM messages_by_chat "
# A row without sender has no place on a page: only the deletion of its message is recorded yet. The filter reads the
# rows of one partition only.
_SENT = "WHERE chat_id = ? AND bucket = ? AND sender_id > 0 "
_BEFORE = _MESSAGES + _SENT + "AND message_id < ? ORDER BY message_id DESC LIMIT ? ALLOW FILTERING"
_AFTER = _MESSAGES + _SENT + "AND message_id > ? ORDER BY message_id ASC LIMIT ? ALLOW FILTERING"
_FROM_ON = _IDS + _SENT + "AND message_id >= ? LIMIT ? ALLOW FILTERING"
_UP_TO = _IDS + _SENT + "AND message_id <= ? LIMIT ? ALLOW FILTERING"
_MESSAGE = _MESSAGES + "WHERE chat_id = ? AND bucket = ? AND message_id = ?"
_MESSAGES_IN = _MESSAGES + "WHERE chat_id IN ? AND bucket = ? AND message_id IN ?"
# A message has its id as timestamp, and the stub of a deleted one the id of its deletion.
_SENDERS = """
    SELECT message_id, sender_id, writetime(message), is_control FROM messages_by_chat
    WHERE chat_id = ? AND bucket = ? AND message_id > ? AND message_id <= ? ORDER BY message_id DESC LIMIT ?
"""
_STATE = """
    SELECT target_id, event_id, event FROM state_by_chat
    WHERE chat_id = ? AND bucket = ? AND target_id >= ? AND target_id <= ? LIMIT ?
"""
_STATES_IN = """
    SELECT chat_id, target_id, event_id, event FROM state_by_chat
    WHERE chat_id IN ? AND bucket = ? AND target_id IN ? LIMIT ?
"""
# Of these kinds, and of these kinds with this key.
_SHARED_IN = """
    SELECT chat_id, target_id, event_id, event FROM state_by_chat
    WHERE chat_id IN ? AND bucket = ? AND target_id IN ? AND kind IN ? LIMIT ?
"""
_PRIVATE_IN = """
    SELECT chat_id, target_id, event_id, event FROM state_by_chat
    WHERE chat_id IN ? AND bucket = ? AND target_id IN ? AND kind IN ? AND key = ? LIMIT ?
"""
# The filter reads the rows of one partition only.
_LISTED = """
    SELECT target_id FROM listed_by_chat WHERE chat_id = ? AND kind = ? AND key = ? AND target_id < ? AND is_set = true
    LIMIT ? ALLOW FILTERING
"""
_WITH_FILES = "SELECT message_id FROM files_by_chat WHERE chat_id = ? AND file_class = ? AND message_id < ? LIMIT ?"
_CHANGE = "SELECT target_id, event FROM changes_by_chat WHERE chat_id = ? AND bucket = ? AND event_id = ?"
_CHANGE_OF_TARGET = """
    SELECT event FROM changes_by_target WHERE chat_id = ? AND bucket = ? AND target_id = ? AND event_id = ?
"""
HISTORY_STATEMENTS = (
    *(_BUCKETS, _BEFORE, _AFTER, _FROM_ON, _UP_TO, _SENDERS, _MESSAGE, _MESSAGES_IN),
    *(_STATE, _STATES_IN, _SHARED_IN, _PRIVATE_IN, _LISTED, _WITH_FILES, _CHANGE, _CHANGE_OF_TARGET),
)


class History:
    """Reads messages with their states. Its methods raise Unavailable if Cassandra does not answer."""

    def __init__(self, session: CassandraSession, statements: Mapping[str, Any]) -> None:
        self._session = session
        self._statements = statements

    async def page_before(self, chat_id: str, before_id: int, limit: int, viewer_id: int | None) -> Page:
        """The newest messages below the id, at most `limit` of them."""
        page = _Scan(_BEFORE, chat_id, before_id, limit + 1, begin=bucket_of(before_id - 1), goes_up=False)
        newer = _Scan(_FROM_ON, chat_id, before_id, 1, begin=bucket_of(before_id), goes_up=True)
        await self._run(chat_id, page, newer)
        messages = decoded(page.rows[:limit][::-1])
        shown = await self._with_changes(chat_id, messages, viewer_id)
        return Page(shown, has_older=len(page.rows) > limit, has_newer=bool(newer.rows))

    async def page_after(self, chat_id: str, after_id: int, limit: int, viewer_id: int | None) -> Page:
        """The oldest messages above the id, at most `limit` of them."""
        page = _Scan(_AFTER, chat_id, after_id, limit + 1, begin=bucket_of(after_id + 1), goes_up=True)
        older = _Scan(_UP_TO, chat_id, after_id, 1, begin=bucket_of(after_id), goes_up=False)
        await self._run(chat_id, page, older)
        messages = decoded(page.rows[:limit])
        shown = await self._with_changes(chat_id, messages, viewer_id)
        return Page(shown, has_older=bool(older.rows), has_newer=len(page.rows) > limit)

    async def page_having(
        self, chat_id: str, kind: int, key: str, before_id: int, limit: int, viewer_id: int | None
    ) -> Page:
        """The newest messages below the id, at most `limit` of them, with a current change of this kind and key that is
        set."""
        has = partial(_has, kind=kind, key=key)
        return await self._page_of(_LISTED, (chat_id, kind, key), before_id, limit, viewer_id, has)

    async def page_with_files(
        self, chat_id: str, file_class: FileClass, before_id: int, limit: int, viewer_id: int | None
    ) -> Page:
        """The newest messages below the id, at most `limit` of them, with a file of this class, or a link."""
        key = chat_id, file_class
        return await self._page_of(
            _WITH_FILES, key, before_id, limit, viewer_id, lambda each: file_class in classes_of(each.message)
        )

    async def _page_of(
        self,
        cql: str,
        key: tuple[str, *tuple[object, ...]],
        before_id: int,
        limit: int,
        viewer_id: int | None,
        has: Callable[[HistoryMessage], bool],
    ) -> Page:
        """The newest messages below the id, at most `limit`, that the query finds in the chat, the first value of the
        key, and for which `has` is true. Each `limit` messages that the query finds, but that were deleted or for which
        `has` is no longer true, cost a further round of reads."""
        chat_id = key[0]
        found: list[HistoryMessage] = []  # newest first
        is_last = False
        while not is_last and len(found) <= limit:
            rows = await self._session.execute(self._statements[cql], (*key, before_id, limit + 1))
            messages = await self.messages(((chat_id, target_id) for (target_id,) in rows), viewer_id)
            found += [each for (target_id,) in rows if (each := messages.get((chat_id, target_id))) and has(each)]
            is_last, before_id = len(rows) <= limit, rows[-1][0] if rows else 0
        return Page(found[:limit][::-1], has_older=len(found) > limit, has_newer=False)

    async def message(self, chat_id: str, message_id: int, viewer_id: int | None) -> HistoryMessage | None:
        """One message; None if it does not exist."""
        return (await self.messages([(chat_id, message_id)], viewer_id)).get((chat_id, message_id))

    async def messages(
        self, wanted: Iterable[tuple[str, int]], viewer_id: int | None = None
    ) -> dict[tuple[str, int], HistoryMessage]:
        """The messages that are given as chat_id and message_id, by these, each with MAX_PAGE_CHANGES changes at most.
        One whose row is not written yet is left out."""
        ordered = sorted({*wanted})
        wanted = frozenset(ordered)
        reads = message_reads(wanted)
        results = await self._session.execute_all(
            [(self._statements[_MESSAGES_IN], read) for read in reads]
            + [request for read in reads for request in self._state_reads(*read, viewer_id)]
        )
        if len(ordered) > 1 and any(len(some) >= MAX_PAGE_CHANGES for some in results[len(reads) :]):
            middle = len(ordered) // 2  # the changes of some messages were cut
            halves = [await self.messages(half, viewer_id) for half in (ordered[:middle], ordered[middle:])]
            return halves[0] | halves[1]
        # A read finds messages of other chats too, and changes in one chat whose target is a message of another.
        rows = [[row for row in some if row[:2] in wanted] for some in results]
        messages = [_message(*row) for some in rows[: len(reads)] for row in some if row[2] is not None]
        changes = [row[1:] for some in rows[len(reads) :] for row in some]
        return {(each.message.chat_id, each.message.message_id): each for each in with_changes(messages, changes)}

    async def event(self, chat_id: str, author_id: int, client_id: str, event_id: int) -> Event | None:
        """The event with this id, of a message or a change that the author sent with this client id; without body if a
        deletion has removed that. None if it does not exist."""
        key = chat_id, bucket_of(event_id), event_id
        messages, changes = await self._session.execute_all(
            [(self._statements[cql], key) for cql in (_MESSAGE, _CHANGE)]
        )
        for message in decoded(messages):
            return Event(event_id=event_id, message=message)
        for target_id, content in changes:
            if content := content or await self._change_of_target(chat_id, target_id, event_id):
                return Event.FromString(content)
            change = Change(chat_id=chat_id, target_id=target_id, actor_id=author_id, client_change_id=client_id)
            return Event(event_id=event_id, change=change)
        return None

    async def _change_of_target(self, chat_id: str, target_id: int, event_id: int) -> bytes:
        """The encoded event of a change; nothing if the target is deleted."""
        key = chat_id, bucket_of(target_id), target_id, event_id
        rows: list[Row] = await self._session.execute(self._statements[_CHANGE_OF_TARGET], key)
        return rows[0][0] if rows else b""

    async def count_of_others(self, user_id: int, chats: Sequence[tuple[str, int, int, int]]) -> list[int]:
        """For each chat, given as chat_id, an id, the id of its newest message and that of the control change by which
        the user joined: the number of messages of others above the id, at most UNREAD_LIMIT, of the newest UNREAD_SCAN
        messages. Other control changes do not count."""
        counts = [
            _Count(chat_id, above, newest, joined, [bucket_of(newest)]) for chat_id, above, newest, joined in chats
        ]
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

    async def _run(self, chat_id: str, *scans: "_Scan") -> None:
        """Run scans of one chat together. Each round takes as long as one read."""
        now = bucket_of(first_id_at(wall_clock_ms()))
        reads = [(scan, values) for scan in scans for values in scan.first_reads(now)]
        listed, *pages = await self._session.execute_all(
            [
                (self._statements[_BUCKETS], (chat_id,)),
                *((self._statements[scan.cql], values) for scan, values in reads),
            ]
        )
        _add_rows(reads, pages)
        for scan in scans:
            scan.continue_in([bucket for (bucket,) in listed])
        while reads := [(scan, values) for scan in scans for values in scan.next_reads()]:
            _add_rows(
                reads,
                await self._session.execute_all([(self._statements[scan.cql], values) for scan, values in reads]),
            )

    def _state_reads(
        self, chat_ids: Sequence[str], bucket: int, message_ids: Sequence[int], viewer_id: int | None
    ) -> list[tuple[Any, tuple[object, ...]]]:
        """The reads of the states of messages of one bucket; with a viewer, without private changes of other users."""
        key = chat_ids, bucket, message_ids
        if viewer_id is None:
            return [(self._statements[_STATES_IN], (*key, MAX_PAGE_CHANGES))]
        return [
            (self._statements[_SHARED_IN], (*key, SHARED, MAX_PAGE_CHANGES)),
            (self._statements[_PRIVATE_IN], (*key, PRIVATE, own_key(viewer_id), MAX_PAGE_CHANGES)),
        ]

    async def _with_changes(
        self, chat_id: str, messages: Sequence[Message], viewer_id: int | None
    ) -> list[HistoryMessage]:
        """The messages, oldest first, with their states; with a viewer, without the private changes of other users."""
        if not messages:
            return []
        if viewer_id is not None:
            reads = message_reads((chat_id, message.message_id) for message in messages)
            requests = [request for read in reads for request in self._state_reads(*read, viewer_id)]
            found = [row[1:] for rows in await self._session.execute_all(requests) for row in rows]
            return with_changes(messages, found[:MAX_PAGE_CHANGES])
        span = messages[0].message_id, messages[-1].message_id
        buckets = sorted({bucket_of(message.message_id) for message in messages})
        pages = await self._session.execute_all(
            [(self._statements[_STATE], (chat_id, bucket, *span, MAX_PAGE_CHANGES)) for bucket in buckets]
        )
        return with_changes(messages, [row for rows in pages for row in rows][:MAX_PAGE_CHANGES])


_Values = tuple[str, int, int, int]
"""The values of a read of a scan: chat_id, bucket, anchor, limit."""


@dataclass(slots=True)
class _Scan:
    """A search for the `limit` rows nearest to an anchor, bucket by bucket."""

    cql: str
    chat_id: str
    anchor: int
    limit: int
    begin: int
    """The bucket nearest to the anchor that may have such rows."""
    goes_up: bool
    """Whether the further ones are above it, or else below it."""
    rows: list[Row] = field(default_factory=list)
    """The rows so far, nearest first; more than `limit` if the last round has found more."""
    _likely: int | None = None
    """The bucket that was read first."""
    _buckets: Sequence[int] = ()
    """The buckets to read, nearest first."""
    _at_once: int = 1

    def first_reads(self, now: int) -> list[_Values]:
        """The values for the bucket that most likely has the nearest rows, to read before the buckets of the chat are
        known; none if the present bucket, `now`, can't have such rows."""
        if self.goes_up and self.begin > now:
            return []
        self._likely = min(self.begin, now)
        return [self._values(self._likely)]

    def continue_in(self, listed: Iterable[int]) -> None:
        """Continue in the buckets of the chat. Drop the rows so far unless the first of these has them."""
        if self.goes_up:
            self._buckets = sorted(bucket for bucket in listed if bucket >= self.begin)
        else:
            self._buckets = sorted((bucket for bucket in listed if bucket <= self.begin), reverse=True)
        if self._buckets and self._buckets[0] == self._likely:
            self._buckets = self._buckets[1:]
        else:
            self.rows.clear()

    def next_reads(self) -> list[_Values]:
        """The values for the next buckets; none if there are rows enough, or no further bucket."""
        if len(self.rows) >= self.limit:
            return []
        some, self._buckets = self._buckets[: self._at_once], self._buckets[self._at_once :]
        self._at_once = min(self._at_once * 2, MAX_BUCKETS_AT_ONCE)
        return [self._values(bucket) for bucket in some]

    def _values(self, bucket: int) -> _Values:
        return self.chat_id, bucket, self.anchor, self.limit - len(self.rows)


def _add_rows(reads: Iterable[tuple[_Scan, _Values]], pages: Iterable[Iterable[Row]]) -> None:
    for (scan, _), rows in zip(reads, pages, strict=True):
        scan.rows += rows


@dataclass(slots=True)
class _Count:
    """The count of the messages of others in one chat, page by page, newest first."""

    chat_id: str
    above_id: int
    up_to_id: int
    """The newest id that is not read yet."""
    joined_id: int
    """The control change by which the user joined; 0 in a direct chat."""
    buckets: list[int]
    """The buckets that are not read to their end, newest first."""
    others: int = 0
    scanned: int = 0

    @property
    def is_finished(self) -> bool:
        return not self.buckets or self.others >= UNREAD_LIMIT or self.scanned >= UNREAD_SCAN

    def next_page(self) -> tuple[str, int, int, int, int]:
        return self.chat_id, self.buckets[0], self.above_id, self.up_to_id, COUNTED_AT_ONCE

    def add(self, rows: Sequence[tuple[int, int | None, int, bool | None]], user_id: int) -> None:
        self.others += sum(
            sender_id != user_id and written == message_id and (not is_control or message_id == self.joined_id)
            for message_id, sender_id, written, is_control in rows
        )
        self.scanned += len(rows)
        if len(rows) < COUNTED_AT_ONCE:
            self.buckets.pop(0)
        else:
            self.up_to_id = rows[-1][0] - 1


def decoded(rows: Sequence[Row]) -> list[Message]:
    """The messages, oldest first, and only the oldest of each send: two archives that record a message and its retry at
    the same moment store both. A row without sender is left out: only the deletion of its message is recorded yet."""
    messages = [_message(*row) for row in rows if row[2] is not None]
    first = {_send(message): message for message in reversed(messages)}
    return [message for message in messages if first[_send(message)] is message]


def _has(message: HistoryMessage, kind: int, key: str) -> bool:
    """Whether a change of this kind and key is set in the state of the message."""
    current = [(kind_of(event.change), event.change) for event in message.changes]
    return any(
        each.number == kind and is_listed(each, change) and key_text(each, change) == key
        for each, change in current
        if each
    )


def _send(message: Message) -> tuple[int, str | int]:
    return message.sender_id, message.client_message_id or message.message_id


def _message(
    chat_id: str, message_id: int, sender_id: int, client_message_id: str | None, content: bytes | None
) -> Message:
    """The message; a stub if a deletion has emptied it."""
    if content:
        message = Message.FromString(content)
    else:
        message = Message(message_id=message_id, chat_id=chat_id, sender_id=sender_id)
    if client_message_id:  # else it is in the content, as former releases stored it
        message.client_message_id = client_message_id
    return message

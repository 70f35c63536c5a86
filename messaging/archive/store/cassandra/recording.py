"""Recording of events in Cassandra: read the stored rows that a batch depends on, then write all rows concurrently.

The writes need no order, and a partial write is harmless: every write is idempotent and has the timestamp of its event,
so repeating it, or running it late, changes nothing; and the log is read again from before it. Until then a chat may be
listed before its message is in history, or a message may be stored that is in no list and in no known bucket: it
appears a moment later. A retry is later in the log than the message that it repeats, so its read finds that message.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from messaging.archive.store.cassandra.change_rows import CHANGE_STATEMENTS, add_change, add_late
from messaging.archive.store.cassandra.schema import BUCKET_BITS
from messaging.archive.store.cassandra.writes import Writes
from messaging.archive.store.laws import DELETION, MARKS, MAX_AGE_MS, check_change, is_late, key_text, raised
from messaging.archive.store.protocol import Logged
from rookery.v1.session_pb2 import Change, Event, Message
from shared.contract.changes import kind_of
from shared.contract.chats import direct_members
from shared.contract.ids import MAX_ID, first_id_at
from shared.drivers.cassandra import CassandraSession

MAX_EVENT_BYTES = 1 << 20
"""Of an encoded message or change: a sixteenth of a node's limit for one write, far above the limit of a gateway."""

MAX_KEY_BYTES = 65_000
"""Of a text in a row's key. Cassandra allows 65,535 bytes for the whole key, ids included."""

DEDUPE_BEHIND = 1 << 50
"""How far back from a retry, in ids, the first message of its send is certain to be found: 2^28 ms, 3.1 days. A retry
comes within seconds, and gateways find those; this is for a client that was off over a long weekend, and clients are
promised 3 days. Further back it is found within the same bucket only."""

DEDUPE_AHEAD = 1 << 44
"""The same distance forward, 70 minutes: a frozen gateway's message is recorded after its retry at another gateway."""

KEYS_PER_READ = 100
"""Keys in one read of sends, over all its chats. Each chat is also searched for the sends of the others, which is
cheaper than one read per chat for so few."""

MESSAGES_PER_READ = 20
"""Messages in one read over several chats. Each chat is also searched for the messages of the others."""

MAX_CACHED_BUCKETS = 100_000
"""Buckets that are cached as written, about 20 MB. A bucket that is not cached is written again."""

_SENDS = """
    SELECT chat_id, sender_id, client_message_id, message_id FROM sends_by_chat
    WHERE chat_id IN ? AND bucket = ? AND (sender_id, client_message_id) IN ?
"""
_FIRST_OF_SEND = """
    SELECT message_id FROM sends_by_chat
    WHERE chat_id = ? AND bucket = ? AND sender_id = ? AND client_message_id = ?
"""
_ADD_MESSAGE = """
    INSERT INTO messages_by_chat (chat_id, bucket, message_id, sender_id, client_message_id, message)
    VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?
"""
_CONTENTS = """
    SELECT chat_id, message_id, message FROM messages_by_chat WHERE chat_id IN ? AND bucket = ? AND message_id IN ?
"""
_ADD_CLIENT_ID = """
    INSERT INTO messages_by_chat (chat_id, bucket, message_id, client_message_id) VALUES (?, ?, ?, ?)
    USING TIMESTAMP ?
"""
# If two archives record two events of one send at the same moment, the older event wins.
_ADD_SEND = """
    INSERT INTO sends_by_chat (chat_id, bucket, sender_id, client_message_id, message_id) VALUES (?, ?, ?, ?, ?)
    USING TIMESTAMP ?
"""
_ADD_BUCKET = "INSERT INTO buckets_by_chat (chat_id, bucket) VALUES (?, ?)"
_CHANGE = "INSERT INTO chats_by_user (user_id, chat_id, changed_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
_NEWEST = "INSERT INTO chats_by_user (user_id, chat_id, newest_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
_NEWEST_CHANGE = """
    INSERT INTO chats_by_user (user_id, chat_id, changed_id, newest_id) VALUES (?, ?, ?, ?) USING TIMESTAMP ?
"""
# A former release kept a copy of the newest message here.
_EMPTY_NEWEST = "INSERT INTO chats_by_user (user_id, chat_id, newest) VALUES (?, ?, 0x) USING TIMESTAMP ?"
_DELIVERED = "UPDATE chats_by_user USING TIMESTAMP ? SET delivered[?] = ? WHERE user_id = ? AND chat_id = ?"
_READ = "UPDATE chats_by_user USING TIMESTAMP ? SET read[?] = ? WHERE user_id = ? AND chat_id = ?"

Send = tuple[str, int, str]
"""chat_id, author's id, client id: the same for a message or a change and its retries."""


class Batch:
    """The events of a batch, grouped by the tables that they are written to. Sans-I/O."""

    def __init__(self, events: Iterable[Logged]) -> None:
        """Raises ValueError for an invalid event."""
        self.changed: dict[str, int] = {}  # by chat_id, the highest event_id or late_id
        self.changed_for: dict[tuple[str, int], int] = {}  # the same of private changes, by chat_id and user_id
        self.sends: dict[Send, Event] = {}  # of each send the first
        self.marks: dict[tuple[str, int], tuple[int, int]] = {}  # by chat_id and user_id: delivered, read
        self.late_ids: dict[int, int] = {}  # by event_id: see `add_late`
        self._without_client_id: list[Event] = []
        for event, at_ms in events:
            match event.WhichOneof("event"):
                case "message":
                    message = event.message
                    if message.message_id < 1:
                        raise ValueError(f"message_id must be 1 or more, not {message.message_id}")
                    self._note_change(message.chat_id, self._counted_id(event.event_id, at_ms))
                    self._add(event, message, message.sender_id, message.client_message_id)
                case "change":
                    self._add_change(event, event.change, self._counted_id(event.event_id, at_ms))
                case _:  # not stored
                    continue

    @property
    def events(self) -> Sequence[Event]:
        """The events to write, without marks."""
        return [*self.sends.values(), *self._without_client_id]

    def _add_change(self, event: Event, change: Change, counted_id: int) -> None:
        kind = kind_of(change)
        check_change(kind, change)
        if kind is not None and kind.is_private:
            own = _check_chat_id(change.chat_id), change.actor_id
            self.changed_for[own] = max(counted_id, self.changed_for.get(own, 0))
        else:
            self._note_change(change.chat_id, counted_id)
        if kind is MARKS:
            key = change.chat_id, change.actor_id
            self.marks[key] = raised(self.marks.get(key, (0, 0)), change)
            return
        if kind is not None:
            _check_size("the key", key_text(kind, change))
        self._add(event, change, change.actor_id, change.client_change_id)

    def _add(self, event: Event, content: Message | Change, author_id: int, client_id: str) -> None:
        if content.ByteSize() > MAX_EVENT_BYTES:
            name = event.WhichOneof("event")
            raise ValueError(f"the {name} must have {MAX_EVENT_BYTES} bytes at most, not {content.ByteSize()}")
        _check_size("the client id", client_id)
        if client_id:
            self.sends.setdefault((content.chat_id, author_id, client_id), event)
        else:
            self._without_client_id.append(event)

    def _counted_id(self, event_id: int, at_ms: int) -> int:
        """The id of the event, or of the time for which it counts if it is late."""
        if event_id < 1:
            raise ValueError(f"event_id must be 1 or more, not {event_id}")
        if not is_late(event_id, at_ms):
            return event_id
        self.late_ids[event_id] = first_id_at(at_ms - MAX_AGE_MS)
        return self.late_ids[event_id]

    def _note_change(self, chat_id: str, event_id: int) -> None:
        newest = self.changed.get(chat_id)
        if newest is None:
            self.changed[_check_chat_id(chat_id)] = event_id
        elif event_id > newest:
            self.changed[chat_id] = event_id

    def send_reads(self) -> list[tuple[list[str], int, list[tuple[int, str]]]]:
        """The reads that find the first events of these sends: chats, a bucket, and sends in it."""
        wanted: dict[tuple[int, str], list[tuple[int, str]]] = {}  # by bucket and chat
        for (chat_id, author_id, client_id), event in self.sends.items():
            for bucket in buckets_around(event.event_id):
                wanted.setdefault((bucket, chat_id), []).append((author_id, client_id))
        reads: list[tuple[list[str], int, list[tuple[int, str]]]] = []
        for (bucket, chat_id), sends in sorted(wanted.items()):
            for start in range(0, len(sends), KEYS_PER_READ):
                some = sends[start : start + KEYS_PER_READ]
                last = reads[-1] if reads else None
                if last and last[1] == bucket and (len(last[0]) + 1) * (len(last[2]) + len(some)) <= KEYS_PER_READ:
                    last[0].append(chat_id)
                    last[2].extend(some)
                else:
                    reads.append(([chat_id], bucket, some))
        return reads

    def drop_retries(self, rows: Iterable[tuple[str, int, str, int]]) -> None:
        """Drop the events whose send has another event in the store. `rows` are the results of `send_reads`."""
        for chat_id, author_id, client_id, event_id in rows:
            event = self.sends.get((chat_id, author_id, client_id))
            if event is not None and event.event_id != event_id:
                del self.sends[chat_id, author_id, client_id]

    def deletions(self) -> list[Change]:
        """The deletions, retries included."""
        return [event.change for event in self.events if event.HasField("change") and kind_of(event.change) is DELETION]


def bucket_of(snowflake: int) -> int:
    """The bucket of a message or of a change in its chat."""
    return snowflake >> BUCKET_BITS


def buckets_around(snowflake: int) -> set[int]:
    """The buckets, at most 3, in which the first event of a send is searched that is retried with this id."""
    behind = max(snowflake - DEDUPE_BEHIND, 0)
    return {bucket_of(behind), bucket_of(snowflake), bucket_of(snowflake + DEDUPE_AHEAD)}


def message_reads(messages: Iterable[tuple[str, int]]) -> list[tuple[list[str], int, list[int]]]:
    """The reads of messages, each given as chat_id and message_id: chats, a bucket, and ids in it. They may also find
    messages that are not wanted."""
    wanted: dict[int, list[tuple[str, int]]] = {}
    for chat_id, message_id in messages:
        wanted.setdefault(bucket_of(message_id), []).append((chat_id, message_id))
    reads: list[tuple[list[str], int, list[int]]] = []
    for bucket, each in wanted.items():
        for start in range(0, len(each), MESSAGES_PER_READ):
            some = each[start : start + MESSAGES_PER_READ]
            reads.append(([*{chat_id for chat_id, _ in some}], bucket, [message_id for _, message_id in some]))
    return reads


def _check_chat_id(chat_id: str) -> str:
    if direct_members(chat_id) is None:
        raise ValueError("chat_id is not that of a direct chat")
    return chat_id


def _check_size(name: str, text: str) -> None:
    if len(text) * 4 > MAX_KEY_BYTES and len(text.encode()) > MAX_KEY_BYTES:
        raise ValueError(f"{name} must have {MAX_KEY_BYTES} bytes at most")


class ChatRecording:
    """Records batches. Made by `prepare_recording`."""

    def __init__(self, session: CassandraSession, statements: dict[str, Any]) -> None:
        self._session = session
        self._statements = statements
        self._cached_buckets: dict[tuple[str, int], None] = {}  # the latest written comes last

    async def find_first(self, chat_id: str, author_id: int, client_id: str, at: int) -> int | None:
        """The id of a send's first event, within DEDUPE_BEHIND of the id `at`; None if there is none."""
        statement = self._statements[_FIRST_OF_SEND]
        buckets = buckets_around(at)
        pages = await self._session.execute_all(
            [(statement, (chat_id, bucket, author_id, client_id)) for bucket in buckets]
        )
        return min((event_id for rows in pages for (event_id,) in rows), default=None)

    async def record(self, events: Sequence[Logged]) -> None:
        """Write the events. Raises ValueError, and writes nothing, for an invalid event."""
        batch = Batch(events)
        writes = Writes()
        await self._read(batch, writes)
        buckets = self._add_events(writes, batch)
        self._change_chats(writes, batch)
        await self._session.execute_all(await writes.requests())
        self._remember(buckets)

    async def _read(self, batch: Batch, writes: Writes) -> None:
        """Drop from the batch the events that are stored already. Take the client id out of a message that a former
        release stored, before its deletion empties it."""
        sends = [(self._statements[_SENDS], read) for read in batch.send_reads()]
        deleted = {(deletion.chat_id, deletion.target_id) for deletion in batch.deletions()}
        contents = [(self._statements[_CONTENTS], read) for read in message_reads(deleted)]
        if not sends and not contents:
            return
        results = await self._session.execute_all([*sends, *contents])
        for rows in results[: len(sends)]:
            batch.drop_retries(rows)
        for chat_id, message_id, content in (row for rows in results[len(sends) :] for row in rows):
            client_id = Message.FromString(content or b"").client_message_id
            if client_id and (chat_id, message_id) in deleted:
                bucket = bucket_of(message_id)
                row = chat_id, bucket, message_id, client_id, message_id
                writes.add(("bucket", chat_id, bucket), self._statements[_ADD_CLIENT_ID], row)

    def _add_events(self, writes: Writes, batch: Batch) -> set[tuple[str, int]]:
        """Write the messages and the changes; returns the buckets of the messages."""
        buckets: set[tuple[str, int]] = set()
        for event in batch.events:
            late_id = batch.late_ids.get(event.event_id)
            if event.HasField("change"):
                change = event.change
                add_change(writes, self._statements, event, late_id)
                self._add_send(writes, change.chat_id, change.actor_id, change.client_change_id, event.event_id)
            else:
                buckets.add(self._add_message(writes, event.message))
                if late_id is not None:
                    add_late(writes, self._statements, late_id, event.message.chat_id, event.event_id)
        for chat_id, bucket in buckets:
            if (chat_id, bucket) not in self._cached_buckets:
                writes.add(("chat", chat_id), self._statements[_ADD_BUCKET], (chat_id, bucket))
        return buckets

    def _add_message(self, writes: Writes, message: Message) -> tuple[str, int]:
        """Write the message; returns its bucket."""
        chat_id, sender_id, client_id, message_id = (
            message.chat_id,
            message.sender_id,
            message.client_message_id,
            message.message_id,
        )
        bucket = bucket_of(message_id)
        stored = Message()
        stored.CopyFrom(message)
        stored.ClearField("client_message_id")
        content = stored.SerializeToString()
        row = chat_id, bucket, message_id, sender_id, client_id, content, message_id
        writes.add(("bucket", chat_id, bucket), self._statements[_ADD_MESSAGE], row, size=len(content))
        self._add_send(writes, chat_id, sender_id, client_id, message_id)
        return chat_id, bucket

    def _add_send(self, writes: Writes, chat_id: str, author_id: int, client_id: str, event_id: int) -> None:
        if client_id:
            bucket = bucket_of(event_id)
            send = chat_id, bucket, author_id, client_id, event_id, MAX_ID - event_id
            writes.add(("bucket", chat_id, bucket), self._statements[_ADD_SEND], send)

    def _change_chats(self, writes: Writes, batch: Batch) -> None:
        """Write the rows of both members in the list of chats."""
        newest: dict[str, int] = {}
        for event in batch.events:
            if event.HasField("message"):
                chat_id = event.message.chat_id
                newest[chat_id] = max(newest.get(chat_id, 0), event.message.message_id)
        for chat_id, changed_id in batch.changed.items():
            newest_id = newest.get(chat_id)
            for member in direct_members(chat_id) or ():
                if newest_id == changed_id:  # the usual case: one row in place of two
                    row = member, chat_id, changed_id, newest_id, changed_id
                    writes.add(member, self._statements[_NEWEST_CHANGE], row)
                    continue
                writes.add(member, self._statements[_CHANGE], (member, chat_id, changed_id, changed_id))
                if newest_id:
                    writes.add(member, self._statements[_NEWEST], (member, chat_id, newest_id, newest_id))
        for (chat_id, user_id), changed_id in batch.changed_for.items():
            writes.add(user_id, self._statements[_CHANGE], (user_id, chat_id, changed_id, changed_id))
        for deletion in batch.deletions():
            chat_id = deletion.chat_id
            for member in direct_members(chat_id) or ():
                writes.add(member, self._statements[_EMPTY_NEWEST], (member, chat_id, batch.changed[chat_id]))
        for (chat_id, user_id), (delivered, read) in batch.marks.items():
            for member in direct_members(chat_id) or ():
                if read:
                    writes.add(member, self._statements[_READ], (read, user_id, read, member, chat_id))
                if delivered or not read:  # a change without marks stores a mark of 0
                    mark = delivered, user_id, delivered, member, chat_id
                    writes.add(member, self._statements[_DELIVERED], mark)

    def _remember(self, buckets: Iterable[tuple[str, int]]) -> None:
        for bucket in buckets:
            self._cached_buckets.pop(bucket, None)
            self._cached_buckets[bucket] = None
        while len(self._cached_buckets) > MAX_CACHED_BUCKETS:
            del self._cached_buckets[next(iter(self._cached_buckets))]


_STATEMENTS = (
    *(_SENDS, _FIRST_OF_SEND, _CONTENTS, _ADD_MESSAGE, _ADD_CLIENT_ID, _ADD_SEND, _ADD_BUCKET),
    *(_CHANGE, _NEWEST, _NEWEST_CHANGE, _EMPTY_NEWEST, _DELIVERED, _READ),
    *CHANGE_STATEMENTS,
)


async def prepare_recording(session: CassandraSession) -> ChatRecording:
    """Raises Unavailable if Cassandra does not answer."""
    return ChatRecording(session, {cql: await session.prepare(cql) for cql in _STATEMENTS})

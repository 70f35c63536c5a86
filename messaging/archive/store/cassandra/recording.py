"""Recording of events in Cassandra: read the stored rows that a batch depends on, then write all rows concurrently.

The writes need no order, and a partial write is harmless: every write is idempotent and has the timestamp of its event,
so repeating it, or running it late, changes nothing; and the log is read again from before it. Until then a chat may be
listed before its message is in history, or a message may be stored that is in no list and in no known bucket: it
appears a moment later. A retry is later in the log than the message that it repeats, so its read finds that message.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from messaging.archive.store.cassandra.reactions import ReactionKey, Runs
from messaging.archive.store.cassandra.schema import BUCKET_BITS
from messaging.archive.store.cassandra.writes import Writes
from rookery.v1.session_pb2 import Change as Reaction
from rookery.v1.session_pb2 import Change as Receipt
from rookery.v1.session_pb2 import Event, Message
from shared.contract.chats import direct_members
from shared.contract.ids import MAX_ID
from shared.drivers.cassandra import CassandraSession

MAX_MESSAGE_BYTES = 1 << 20
"""Of an encoded message: a sixteenth of a node's limit for one write, and far above the limit of a gateway."""

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

MAX_CACHED_BUCKETS = 100_000
"""Buckets that are cached as written, about 20 MB. A bucket that is not cached is written again."""

_SENDS = """
    SELECT chat_id, sender_id, client_message_id, message_id FROM sends_by_chat
    WHERE chat_id IN ? AND bucket = ? AND (sender_id, client_message_id) IN ?
"""
_MESSAGE_OF_SEND = """
    SELECT message_id FROM sends_by_chat
    WHERE chat_id = ? AND bucket = ? AND sender_id = ? AND client_message_id = ?
"""
_ADD_MESSAGE = """
    INSERT INTO messages_by_chat (chat_id, bucket, message_id, sender_id, message) VALUES (?, ?, ?, ?, ?)
    USING TIMESTAMP ?
"""
# If two archives record two messages of one send at the same moment, the older message wins.
_ADD_SEND = """
    INSERT INTO sends_by_chat (chat_id, bucket, sender_id, client_message_id, message_id) VALUES (?, ?, ?, ?, ?)
    USING TIMESTAMP ?
"""
_ADD_BUCKET = "INSERT INTO buckets_by_chat (chat_id, bucket) VALUES (?, ?)"
_CHANGE = "INSERT INTO chats_by_user (user_id, chat_id, changed_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
_NEWEST = "INSERT INTO chats_by_user (user_id, chat_id, newest_id, newest) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
_NEWEST_CHANGE = """
    INSERT INTO chats_by_user (user_id, chat_id, changed_id, newest_id, newest) VALUES (?, ?, ?, ?, ?)
    USING TIMESTAMP ?
"""
_DELIVERED = "UPDATE chats_by_user USING TIMESTAMP ? SET delivered[?] = ? WHERE user_id = ? AND chat_id = ?"
_READ = "UPDATE chats_by_user USING TIMESTAMP ? SET read[?] = ? WHERE user_id = ? AND chat_id = ?"

Send = tuple[str, int, str]
"""chat_id, sender_id, client_message_id: the same for a message and its retries."""


class Batch:
    """The events of a batch, grouped by the tables that they are written to. Sans-I/O."""

    def __init__(self, events: Iterable[Event]) -> None:
        """Raises ValueError for an invalid event."""
        self.changed: dict[str, int] = {}  # by chat_id, the newest event's id
        self.messages: dict[Send, Message] = {}  # of each send the first
        self.runs = Runs()
        self.marks: dict[tuple[str, int], tuple[int, int]] = {}  # by chat_id and user_id: delivered, read
        for event in events:
            content: Message | Reaction | Receipt
            match event.WhichOneof("event"):
                case "message":
                    content = event.message
                    self._add_message(content)
                case "reaction":
                    content = event.reaction
                    _check_size("emoji", content.emoji)
                    self.runs.add(event.event_id, content)
                case "receipt":
                    content = event.receipt
                    key = content.chat_id, content.user_id
                    delivered, read = self.marks.get(key, (0, 0))
                    self.marks[key] = max(delivered, content.delivered_up_to), max(read, content.read_up_to)
                case _:  # not stored
                    continue
            self._note_change(content.chat_id, event.event_id)

    def _add_message(self, message: Message) -> None:
        if message.message_id < 1:
            raise ValueError(f"message_id must be 1 or more, not {message.message_id}")
        if message.ByteSize() > MAX_MESSAGE_BYTES:
            raise ValueError(f"the message must have {MAX_MESSAGE_BYTES} bytes at most, not {message.ByteSize()}")
        _check_size("client_message_id", message.client_message_id)
        self.messages.setdefault((message.chat_id, message.sender_id, message.client_message_id), message)

    def _note_change(self, chat_id: str, event_id: int) -> None:
        if event_id < 1:
            raise ValueError(f"event_id must be 1 or more, not {event_id}")
        newest = self.changed.get(chat_id)
        if newest is None and direct_members(chat_id) is None:
            raise ValueError("chat_id is not that of a direct chat")
        if newest is None or event_id > newest:
            self.changed[chat_id] = event_id

    def send_reads(self) -> list[tuple[list[str], int, list[tuple[int, str]]]]:
        """The reads that find the first messages of these sends: chats, a bucket, and sends in it."""
        wanted: dict[tuple[int, str], list[tuple[int, str]]] = {}  # by bucket and chat
        for (chat_id, sender_id, client_message_id), message in self.messages.items():
            for bucket in buckets_around(message.message_id):
                wanted.setdefault((bucket, chat_id), []).append((sender_id, client_message_id))
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
        """Drop the messages whose send has another message in the store. `rows` are the results of `send_reads`."""
        for chat_id, sender_id, client_message_id, message_id in rows:
            message = self.messages.get((chat_id, sender_id, client_message_id))
            if message is not None and message.message_id != message_id:
                del self.messages[chat_id, sender_id, client_message_id]


def bucket_of(snowflake: int) -> int:
    """The bucket of a message in its chat."""
    return snowflake >> BUCKET_BITS


def buckets_around(snowflake: int) -> set[int]:
    """The buckets, at most 3, in which the first message of a send is searched that is retried with this id."""
    behind = max(snowflake - DEDUPE_BEHIND, 0)
    return {bucket_of(behind), bucket_of(snowflake), bucket_of(snowflake + DEDUPE_AHEAD)}


def _check_size(name: str, text: str) -> None:
    if len(text) * 4 > MAX_KEY_BYTES and len(text.encode()) > MAX_KEY_BYTES:
        raise ValueError(f"{name} must have {MAX_KEY_BYTES} bytes at most")


class ChatRecording:
    """Records batches. Made by `prepare_recording`."""

    def __init__(self, session: CassandraSession, statements: dict[str, Any]) -> None:
        self._session = session
        self._statements = statements
        self._cached_buckets: dict[tuple[str, int], None] = {}  # the latest written comes last

    async def find_first(self, chat_id: str, sender_id: int, client_message_id: str, at: int) -> int | None:
        """The id of a send's first message, within DEDUPE_BEHIND of the id `at`; None if there is none."""
        statement = self._statements[_MESSAGE_OF_SEND]
        buckets = buckets_around(at)
        pages = await self._session.execute_all(
            [(statement, (chat_id, bucket, sender_id, client_message_id)) for bucket in buckets]
        )
        return min((message_id for rows in pages for (message_id,) in rows), default=None)

    async def record(self, events: Sequence[Event]) -> None:
        """Write the events. Raises ValueError, and writes nothing, for an invalid event."""
        batch = Batch(events)
        await self._read(batch)
        writes = Writes()
        buckets = self._add_messages(writes, batch)
        for statement, key, parameters in batch.runs.changes():
            writes.add(("bucket", key.chat_id, key.bucket), self._statements[statement], parameters)
        self._change_chats(writes, batch)
        await self._session.execute_all(await writes.requests())
        self._remember(buckets)

    async def _read(self, batch: Batch) -> None:
        """Drop from the batch the messages that are stored already, and load the current runs of its reactions."""
        sends = batch.send_reads()
        reactions = batch.runs.reads()
        work: list[tuple[Any, Sequence[Any]]] = [(self._statements[_SENDS], read) for read in sends]
        work += [(self._statements[Runs.READ], read) for read in reactions]
        if not work:
            return
        results = await self._session.execute_all(work)
        for rows in results[: len(sends)]:
            batch.drop_retries(rows)
        for (chat_id, bucket, _), rows in zip(reactions, results[len(sends) :], strict=True):
            for message_id, emoji, user_id, first_id in rows:
                batch.runs.begin(ReactionKey(chat_id, bucket, message_id, emoji, user_id), first_id)

    def _add_messages(self, writes: Writes, batch: Batch) -> set[tuple[str, int]]:
        """Write the messages; returns their buckets."""
        add_message, add_send = self._statements[_ADD_MESSAGE], self._statements[_ADD_SEND]
        buckets: set[tuple[str, int]] = set()
        for (chat_id, sender_id, client_message_id), message in batch.messages.items():
            message_id = message.message_id
            bucket = bucket_of(message_id)
            buckets.add((chat_id, bucket))
            partition = "bucket", chat_id, bucket
            row = chat_id, bucket, message_id, sender_id, message.SerializeToString(), message_id
            writes.add(partition, add_message, row, size=len(row[4]))
            send = chat_id, bucket, sender_id, client_message_id, message_id, MAX_ID - message_id
            writes.add(partition, add_send, send)
        for chat_id, bucket in buckets:
            if (chat_id, bucket) not in self._cached_buckets:
                writes.add(("chat", chat_id), self._statements[_ADD_BUCKET], (chat_id, bucket))
        return buckets

    def _change_chats(self, writes: Writes, batch: Batch) -> None:
        """Write the rows of both members in the list of chats."""
        newest: dict[str, Message] = {}
        for message in batch.messages.values():
            if message.chat_id not in newest or message.message_id > newest[message.chat_id].message_id:
                newest[message.chat_id] = message
        for chat_id, changed_id in batch.changed.items():
            newest_id, content = 0, b""
            if chat_id in newest:
                newest_id, content = newest[chat_id].message_id, newest[chat_id].SerializeToString()
            for member in direct_members(chat_id) or ():
                if newest_id == changed_id:  # the usual case: one row in place of two
                    both = member, chat_id, changed_id, newest_id, content, changed_id
                    writes.add(member, self._statements[_NEWEST_CHANGE], both, size=len(content))
                    continue
                writes.add(member, self._statements[_CHANGE], (member, chat_id, changed_id, changed_id))
                if newest_id:
                    row = member, chat_id, newest_id, content, newest_id
                    writes.add(member, self._statements[_NEWEST], row, size=len(content))
        for (chat_id, user_id), (delivered, read) in batch.marks.items():
            for member in direct_members(chat_id) or ():
                if read:
                    writes.add(member, self._statements[_READ], (read, user_id, read, member, chat_id))
                if delivered or not read:  # a receipt without marks stores a mark of 0
                    mark = delivered, user_id, delivered, member, chat_id
                    writes.add(member, self._statements[_DELIVERED], mark)

    def _remember(self, buckets: Iterable[tuple[str, int]]) -> None:
        for bucket in buckets:
            self._cached_buckets.pop(bucket, None)
            self._cached_buckets[bucket] = None
        while len(self._cached_buckets) > MAX_CACHED_BUCKETS:
            del self._cached_buckets[next(iter(self._cached_buckets))]


_STATEMENTS = (
    *(_SENDS, _MESSAGE_OF_SEND, _ADD_MESSAGE, _ADD_SEND, _ADD_BUCKET),
    *(_CHANGE, _NEWEST, _NEWEST_CHANGE, _DELIVERED, _READ),
    *(Runs.READ, Runs.SET, Runs.UNSET),
)


async def prepare_recording(session: CassandraSession) -> ChatRecording:
    """Raises Unavailable if Cassandra does not answer."""
    return ChatRecording(session, {cql: await session.prepare(cql) for cql in _STATEMENTS})

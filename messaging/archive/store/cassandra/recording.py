"""Recording of events in Cassandra: read the stored rows that a batch depends on, then write all rows concurrently.

The writes need no order, and a partial write is harmless: every write is idempotent and has the timestamp of its event,
so repeating it, or running it late, changes nothing; and the log is read again from before it. Until then a chat may be
listed before its message is in history, or a message may be stored that is in no list and in no known bucket: it
appears a moment later. A retry is later in the log than the message that it repeats, so its read finds that message.

Only control changes of groups need an order: see `group_rows`.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from messaging.archive.store.cassandra.batch import Batch, bucket_of, buckets_around, message_reads
from messaging.archive.store.cassandra.change_rows import CHANGE_STATEMENTS, add_change, add_late
from messaging.archive.store.cassandra.files import USE_STATEMENTS, add_uses
from messaging.archive.store.cassandra.group_rows import (
    GROUP_STATEMENTS,
    Controls,
    add_heads,
    control_reads,
    member_read,
)
from messaging.archive.store.cassandra.mentions import MENTION_WRITES, add_mentions
from messaging.archive.store.cassandra.writes import Writes
from messaging.archive.store.protocol import Logged
from rookery.v1.groups_pb2 import GroupSettings, Invite
from rookery.v1.session_pb2 import Message
from shared.contract.chats import direct_members, is_group
from shared.contract.ids import MAX_ID
from shared.drivers.cassandra import CassandraSession

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
MARK_CONTROL = """
    INSERT INTO messages_by_chat (chat_id, bucket, message_id, is_control) VALUES (?, ?, ?, true) USING TIMESTAMP ?
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
        groups = await self._read_controls(batch)
        buckets = self._add_events(writes, batch)
        self._change_chats(writes, batch)
        for group in groups:
            group.add_members(writes, self._statements)
            group.add_invites(writes, self._statements)
        await self._session.execute_all(await writes.requests())
        self._remember(buckets)
        if groups:
            versions = Writes()
            for group in groups:
                group.add_versions(versions, self._statements)
            await self._session.execute_all(await versions.requests())

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

    async def _read_controls(self, batch: Batch) -> Sequence[Controls]:
        """Drop from the batch the control changes whose version another event has. Return the others, by group."""
        reads = [control_reads(self._statements, chat_id, min(each)) for chat_id, each in batch.controls.items()]
        if not reads:
            return []
        results = iter(await self._session.execute_all([*chain.from_iterable(reads)]))
        groups: list[Controls] = []
        for chat_id, controls in batch.controls.items():
            versions, heads, invites = next(results), next(results), next(results)
            batch.drop_other_versions(chat_id, {version: event_id for version, event_id, _ in versions})
            counts = {version: count or 0 for version, _, count in versions}
            newest, content, asking = heads[0] if heads else (None, None, None)
            settings, links = GroupSettings.FromString(content or b""), [Invite.FromString(each) for (each,) in invites]
            groups.append(Controls(chat_id, controls, counts, newest or 0, settings, asking or (), links))
        counted = [group for group in groups if group.counted]
        if counted:
            found = await self._session.execute_all([member_read(self._statements, each.chat_id) for each in counted])
            for group, members in zip(counted, found, strict=True):
                group.members = {user_id: (version, role) for user_id, version, role in members}
        return groups

    def _add_events(self, writes: Writes, batch: Batch) -> set[tuple[str, int]]:
        """Write the messages and the changes; returns the buckets of the messages."""
        buckets: set[tuple[str, int]] = set()
        for event in batch.events:
            late_id = batch.late_ids.get(event.event_id)
            add_mentions(writes, self._statements, event)
            if event.HasField("change"):
                change = event.change
                add_change(writes, self._statements, event, late_id)
                self._add_send(writes, change.chat_id, change.actor_id, change.client_change_id, event.event_id)
            else:
                buckets.add(self._add_message(writes, event.message))
                add_uses(writes, self._statements, event.message)
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
        if message.HasField("control"):
            control = chat_id, bucket, message_id, message_id
            writes.add(("bucket", chat_id, bucket), self._statements[MARK_CONTROL], control)
        self._add_send(writes, chat_id, sender_id, client_id, message_id)
        return chat_id, bucket

    def _add_send(self, writes: Writes, chat_id: str, author_id: int, client_id: str, event_id: int) -> None:
        if client_id:
            bucket = bucket_of(event_id)
            send = chat_id, bucket, author_id, client_id, event_id, MAX_ID - event_id
            writes.add(("bucket", chat_id, bucket), self._statements[_ADD_SEND], send)

    def _change_chats(self, writes: Writes, batch: Batch) -> None:
        """Write the heads of groups, and the rows of both members of direct chats in the list of chats."""
        newest = batch.newest_ids()
        add_heads(writes, self._statements, batch, newest)
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
            if not is_group(chat_id):
                writes.add(user_id, self._statements[_CHANGE], (user_id, chat_id, changed_id, changed_id))
        for chat_id in {deletion.chat_id for deletion in batch.deletions()}:
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
    *(_SENDS, _FIRST_OF_SEND, _CONTENTS, _ADD_MESSAGE, MARK_CONTROL, _ADD_CLIENT_ID, _ADD_SEND, _ADD_BUCKET),
    *(_CHANGE, _NEWEST, _NEWEST_CHANGE, _EMPTY_NEWEST, _DELIVERED, _READ),
    *CHANGE_STATEMENTS,
    *GROUP_STATEMENTS,
    *MENTION_WRITES,
    *USE_STATEMENTS,
)


async def prepare_recording(session: CassandraSession) -> ChatRecording:
    """Raises Unavailable if Cassandra does not answer."""
    return ChatRecording(session, {cql: await session.prepare(cql) for cql in _STATEMENTS})

"""Reads events of a chat in Cassandra, in order of their ids: the missed ones, and the versions of a message."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from messaging.archive.store.cassandra.batch import bucket_of
from messaging.archive.store.cassandra.change_rows import NO_TARGET
from messaging.archive.store.cassandra.history import MAX_BUCKETS_AT_ONCE, History, decoded
from messaging.archive.store.protocol import MAX_CHANGES, MAX_VERSIONS
from rookery.v1.session_pb2 import Event
from shared.drivers.cassandra import CassandraSession
from shared.drivers.cassandra.session import Row

CONTENTS_PER_READ = 100
"""Changes in one read of contents."""

_MESSAGES = """
    SELECT chat_id, message_id, sender_id, client_message_id, message FROM messages_by_chat
    WHERE chat_id = ? AND bucket = ? AND message_id > ? LIMIT ?
"""
_CHANGES = """
    SELECT event_id, target_id, event FROM changes_by_chat WHERE chat_id = ? AND bucket = ? AND event_id > ? LIMIT ?
"""
_LATE = """
    SELECT event_id, target_id, event FROM late_by_chat WHERE chat_id = ? AND bucket = ? AND late_id > ? LIMIT ?
"""
_CONTENTS = """
    SELECT event FROM changes_by_target WHERE chat_id = ? AND bucket = ? AND (target_id, event_id) IN ?
"""
# The filter reads the rows of one target only.
_VERSIONS = """
    SELECT event FROM changes_by_target WHERE chat_id = ? AND bucket = ? AND target_id = ? AND kind = ?
    ORDER BY target_id DESC, event_id DESC LIMIT ? ALLOW FILTERING
"""
FEED_STATEMENTS = (_MESSAGES, _CHANGES, _LATE, _CONTENTS, _VERSIONS)

_TOO_MANY = (Event(),) * (MAX_CHANGES + 1)


class Feed:
    """Reads events. Its methods raise Unavailable if Cassandra does not answer."""

    def __init__(self, session: CassandraSession, statements: Mapping[str, Any], history: History) -> None:
        self._session = session
        self._statements = statements
        self._history = history

    async def events_after(self, chat_id: str, after_id: int, changed_id: int) -> Sequence[Event]:
        """The events as in the protocol, in the buckets up to that of the chat's `changed_id`. If more than MAX_CHANGES
        have rows, removed changes included, as many empty events."""
        messages: dict[int, Row] = {}
        others: dict[int, tuple[int, bytes]] = {}  # changes and late messages: target_id and content
        buckets: Sequence[int] = range(bucket_of(after_id), bucket_of(changed_id) + 1)
        at_once = 1
        while buckets:
            some, buckets = buckets[:at_once], buckets[at_once:]
            at_once = min(2 * at_once, MAX_BUCKETS_AT_ONCE)
            results = await self._read_after(chat_id, some, after_id)
            messages.update((row[1], row) for rows in results[: len(some)] for row in rows)
            others.update((row[0], row[1:]) for rows in results[len(some) :] for row in rows)
            if len(messages.keys() | others) > MAX_CHANGES or any(len(rows) > MAX_CHANGES for rows in results):
                return _TOO_MANY
        sent = decoded([messages[message_id] for message_id in sorted(messages)])
        late = [(chat_id, event_id) for event_id, (target_id, _) in others.items() if target_id == NO_TARGET]
        if late:
            sent += [
                each.message for key, each in (await self._history.messages(late)).items() if key[1] not in messages
            ]
        found = [Event(event_id=message.message_id, message=message) for message in sent]
        changes = [(event_id, *other) for event_id, other in others.items() if other[0] != NO_TARGET]
        found += await self._changes(chat_id, changes)
        return sorted(found, key=lambda event: event.event_id)

    async def versions(self, chat_id: str, target_id: int, kind: int) -> list[Event]:
        """The newest MAX_VERSIONS changes of this kind and target, oldest first."""
        key = chat_id, bucket_of(target_id), target_id, kind, MAX_VERSIONS
        rows = await self._session.execute(self._statements[_VERSIONS], key)
        return [Event.FromString(content) for (content,) in reversed(rows)]

    async def _read_after(self, chat_id: str, buckets: Sequence[int], after_id: int) -> list[list[Row]]:
        """The rows of each bucket, MAX_CHANGES + 1 at most: of messages, then of changes, then of late events."""
        return await self._session.execute_all(
            [
                (self._statements[cql], (chat_id, bucket, after_id, MAX_CHANGES + 1))
                for cql in (_MESSAGES, _CHANGES, _LATE)
                for bucket in buckets
            ]
        )

    async def _changes(self, chat_id: str, changes: Iterable[tuple[int, int, bytes]]) -> list[Event]:
        """The changes, given as event_id, target_id and content, without the changes that a deletion has removed."""
        contents: list[bytes] = []
        wanted: dict[int, list[tuple[int, int]]] = {}  # by bucket
        for event_id, target_id, content in changes:
            if content:
                contents.append(content)
            else:
                wanted.setdefault(bucket_of(target_id), []).append((target_id, event_id))
        reads = [
            (self._statements[_CONTENTS], (chat_id, bucket, keys[start : start + CONTENTS_PER_READ]))
            for bucket, keys in wanted.items()
            for start in range(0, len(keys), CONTENTS_PER_READ)
        ]
        contents += [content for rows in await self._session.execute_all(reads) for (content,) in rows]
        return [Event.FromString(content) for content in contents]

"""Mentions in Cassandra: the rows that messages and edits write, and the count of the unread ones of a user.

No row is read or removed when a text is edited or a message deleted. A row has the newest event that mentions the user
in a message; the reader counts it if no edit of the message is newer.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from messaging.archive.store.cassandra.batch import bucket_of
from messaging.archive.store.cassandra.writes import Writes
from messaging.archive.store.laws import EDIT, EVERYONE, mentioned_in
from messaging.archive.store.protocol import MENTIONS_LIMIT, MENTIONS_SCAN
from rookery.v1.session_pb2 import Event
from shared.drivers.cassandra import CassandraSession

_ADD = "INSERT INTO mentions_by_user (user_id, chat_id, message_id, event_id) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
_NEWEST = """
    SELECT message_id, event_id FROM mentions_by_user WHERE user_id IN ? AND chat_id = ? AND message_id > ?
    AND message_id <= ? PER PARTITION LIMIT ?
"""
# A message has its id as timestamp, and the stub of a deleted one the id of its deletion.
_SENDERS = """
    SELECT message_id, sender_id, writetime(message) FROM messages_by_chat
    WHERE chat_id = ? AND bucket = ? AND message_id IN ?
"""
_EDITS = """
    SELECT target_id, event_id FROM state_by_chat WHERE chat_id = ? AND bucket = ? AND target_id IN ? AND kind = ?
"""
MENTION_WRITES = (_ADD,)
MENTION_READS = (_NEWEST, _SENDERS, _EDITS)


def add_mentions(writes: Writes, statements: Mapping[str, Any], event: Event) -> None:
    """Add the rows of a message, or of a change if it is an edit; none if its text mentions nobody."""
    if event.HasField("message"):
        chat_id, message_id, text = event.message.chat_id, event.message.message_id, event.message.text
    else:
        chat_id, message_id, text = event.change.chat_id, event.change.target_id, event.change.edited.text
    for user_id in mentioned_in(text):
        row = user_id, chat_id, message_id, event.event_id, event.event_id
        writes.add(("mentions", user_id, chat_id), statements[_ADD], row)


class _Place(NamedTuple):
    """A bucket of the chat with this number in the list, with messages that have mentioned the user."""

    number: int
    bucket: int


async def count_mentions(
    session: CassandraSession, statements: Mapping[str, Any], user_id: int, chats: Sequence[tuple[str, int, int]]
) -> list[int]:
    """For each chat, given as chat_id, an id and the id of its newest message: the messages of others above the first
    id, up to the second, that mention the user, at most MENTIONS_LIMIT, of the newest MENTIONS_SCAN. A round of reads
    finds these, and a second one, for chats with any, their newest texts. Raises Unavailable."""
    users = [user_id, EVERYONE]
    found = await session.execute_all(
        [(statements[_NEWEST], (users, chat_id, above, newest, MENTIONS_SCAN)) for chat_id, above, newest in chats]
    )
    places: dict[_Place, list[tuple[int, int]]] = {}  # each with the ids of messages and of the events that mention
    for number, rows in enumerate(found):
        for message_id, event_id in rows:
            places.setdefault(_Place(number, bucket_of(message_id)), []).append((message_id, event_id))
    keys = [(chats[place.number][0], place.bucket, [*{each for each, _ in rows}]) for place, rows in places.items()]
    states = await session.execute_all(
        [(statements[_SENDERS], key) for key in keys] + [(statements[_EDITS], (*key, EDIT.number)) for key in keys]
    )
    counts = [0] * len(chats)
    for (place, rows), senders, edits in zip(places.items(), states[: len(keys)], states[len(keys) :], strict=True):
        newest = {
            message_id: message_id for message_id, sender, at in senders if sender != user_id and at == message_id
        }
        newest |= {message_id: event_id for message_id, event_id in edits if message_id in newest}
        counts[place.number] += len({message_id for message_id, event_id in rows if newest.get(message_id) == event_id})
    return [min(count, MENTIONS_LIMIT) for count in counts]

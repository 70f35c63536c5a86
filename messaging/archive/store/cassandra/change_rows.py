"""The rows of a change in Cassandra: in the log of its chat, among the changes of its target, and in the state.

No row is read first. A later change of the same key has a higher timestamp. A deletion removes the rows of the other
changes with a timestamp above that of any change, so it does not matter which of them is recorded first.
"""

from collections.abc import Mapping
from typing import Any

from messaging.archive.store.cassandra.schema import BUCKET_BITS
from messaging.archive.store.cassandra.writes import Writes
from messaging.archive.store.laws import DELETION, key_text
from rookery.v1.session_pb2 import Event
from shared.contract.changes import kind_of
from shared.contract.ids import MAX_ID

_ADD_TO_CHAT = """
    INSERT INTO changes_by_chat (chat_id, bucket, event_id, target_id, event) VALUES (?, ?, ?, ?, ?)
    USING TIMESTAMP ?
"""
_ADD_TO_TARGET = """
    INSERT INTO changes_by_target (chat_id, bucket, target_id, event_id, event) VALUES (?, ?, ?, ?, ?)
    USING TIMESTAMP ?
"""
_SET_STATE = """
    INSERT INTO state_by_chat (chat_id, bucket, target_id, kind, key, event_id, event) VALUES (?, ?, ?, ?, ?, ?, ?)
    USING TIMESTAMP ?
"""
_REMOVE_CHANGES = "DELETE FROM changes_by_target USING TIMESTAMP ? WHERE chat_id = ? AND bucket = ? AND target_id = ?"
_REMOVE_LOWER_KINDS = """
    DELETE FROM state_by_chat USING TIMESTAMP ? WHERE chat_id = ? AND bucket = ? AND target_id = ? AND kind < ?
"""
_REMOVE_HIGHER_KINDS = """
    DELETE FROM state_by_chat USING TIMESTAMP ? WHERE chat_id = ? AND bucket = ? AND target_id = ? AND kind > ?
"""
_EMPTY_MESSAGE = """
    INSERT INTO messages_by_chat (chat_id, bucket, message_id, message) VALUES (?, ?, ?, 0x) USING TIMESTAMP ?
"""
# A former release kept reactions here.
_REMOVE_REACTIONS = (
    "DELETE FROM reactions_by_chat USING TIMESTAMP ? WHERE chat_id = ? AND bucket = ? AND message_id = ?"
)
CHANGE_STATEMENTS = (
    *(_ADD_TO_CHAT, _ADD_TO_TARGET, _SET_STATE),
    *(_REMOVE_CHANGES, _REMOVE_LOWER_KINDS, _REMOVE_HIGHER_KINDS, _REMOVE_REACTIONS, _EMPTY_MESSAGE),
)


def add_change(writes: Writes, statements: Mapping[str, Any], event: Event) -> None:
    """Add the rows of a change of any kind but one with LAW_MAX."""
    event_id, change = event.event_id, event.change
    chat_id, target_id, kind = change.chat_id, change.target_id, kind_of(change)
    content = event.SerializeToString()
    bucket, target = event_id >> BUCKET_BITS, (chat_id, target_id >> BUCKET_BITS, target_id)
    in_chat, in_target = ("bucket", chat_id, bucket), ("bucket", *target[:2])
    size = len(content)
    if kind is DELETION or not target_id:
        row = chat_id, bucket, event_id, target_id, content, event_id
        writes.add(in_chat, statements[_ADD_TO_CHAT], row, size=size)
    else:
        writes.add(in_chat, statements[_ADD_TO_CHAT], (chat_id, bucket, event_id, target_id, b"", event_id))
        writes.add(in_target, statements[_ADD_TO_TARGET], (*target, event_id, content, event_id), size=size)
    if kind is None:
        return
    at = MAX_ID - event_id if kind is DELETION else event_id  # of two deletions the first one stays
    state = *target, kind.number, key_text(kind, change), event_id, content, at
    writes.add(in_target, statements[_SET_STATE], state, size=size)
    if kind is DELETION:
        for rows in (_REMOVE_CHANGES, _REMOVE_REACTIONS):
            writes.add(in_target, statements[rows], (MAX_ID, *target))
        for others in (_REMOVE_LOWER_KINDS, _REMOVE_HIGHER_KINDS):
            writes.add(in_target, statements[others], (MAX_ID, *target, kind.number))
        writes.add(in_target, statements[_EMPTY_MESSAGE], (*target, event_id))

"""The rows of a change in Cassandra: in the log of its chat, among the changes of its target, and in the state.

No row is read first. A later change of the same key has a higher timestamp. A deletion removes the rows of the other
changes with a timestamp above that of any change, so it does not matter which of them is recorded first.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from messaging.archive.store.cassandra.schema import BUCKET_BITS
from messaging.archive.store.cassandra.writes import Writes
from messaging.archive.store.laws import DELETION, STAYING, is_listed, key_text
from rookery.v1.session_pb2 import Event
from shared.contract.changes import Kind, kind_of
from shared.contract.chats import direct_members
from shared.contract.ids import MAX_ID

NO_TARGET = -1
"""In place of the target in the row of a late message."""

_ADD_TO_CHAT = """
    INSERT INTO changes_by_chat (chat_id, bucket, event_id, target_id, event) VALUES (?, ?, ?, ?, ?)
    USING TIMESTAMP ?
"""
_ADD_TO_TARGET = """
    INSERT INTO changes_by_target (chat_id, bucket, target_id, event_id, kind, event) VALUES (?, ?, ?, ?, ?, ?)
    USING TIMESTAMP ?
"""
_SET_STATE = """
    INSERT INTO state_by_chat (chat_id, bucket, target_id, kind, key, event_id, event) VALUES (?, ?, ?, ?, ?, ?, ?)
    USING TIMESTAMP ?
"""
_REMOVED_KINDS = (
    f"kind < {STAYING[0]}",
    *(f"kind > {above} AND kind < {below}" for above, below in pairwise(STAYING)),
    f"kind > {STAYING[-1]}",
)
"""The ranges of kinds that a deletion removes: below, between and above the kinds that stay."""
_REMOVALS = tuple(
    f"DELETE FROM {table} USING TIMESTAMP {MAX_ID} WHERE chat_id = ? AND bucket = ? AND {rows}"  # noqa: S608 - no input
    for table, rows in (
        ("changes_by_target", "target_id = ?"),
        ("reactions_by_chat", "message_id = ?"),  # a former release kept reactions here
        *(("state_by_chat", f"target_id = ? AND {kinds}") for kinds in _REMOVED_KINDS),
    )
)
"""The statements of a deletion that remove rows. Constants are no parameters: each one costs the driver CPU."""
_EMPTY_MESSAGE = """
    INSERT INTO messages_by_chat (chat_id, bucket, message_id, message) VALUES (?, ?, ?, 0x) USING TIMESTAMP ?
"""
_SET_STATE_OF_CHAT = "UPDATE chats_by_user USING TIMESTAMP ? SET changes[?] = ? WHERE user_id = ? AND chat_id = ?"
# Of groups: the state is in the head, and a private change is in the row of its actor.
_SET_STATE_OF_GROUP = "UPDATE chat_heads USING TIMESTAMP ? SET changes[?] = ? WHERE chat_id = ?"
_SET_OWN_STATE = "UPDATE memberships_by_user USING TIMESTAMP ? SET changes[?] = ? WHERE user_id = ? AND chat_id = ?"
_LIST = "INSERT INTO listed_by_chat (chat_id, kind, key, target_id, is_set) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"
_ADD_UNKNOWN = "INSERT INTO unknown_changes (chat_id, event_id, target_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
_ADD_LATE = """
    INSERT INTO late_by_chat (chat_id, bucket, late_id, event_id, target_id, event) VALUES (?, ?, ?, ?, ?, ?)
    USING TIMESTAMP ?
"""
CHANGE_STATEMENTS = (
    *(
        _ADD_TO_CHAT,
        _ADD_TO_TARGET,
        _ADD_UNKNOWN,
        _ADD_LATE,
        _SET_STATE,
        _SET_STATE_OF_CHAT,
        _SET_STATE_OF_GROUP,
        _SET_OWN_STATE,
        _LIST,
    ),
    *_REMOVALS,
    _EMPTY_MESSAGE,
)


def add_change(writes: Writes, statements: Mapping[str, Any], event: Event, late_id: int | None = None) -> None:
    """Add the rows of a change of any kind but one with LAW_MAX; `late_id` as for `add_late`."""
    event_id, change = event.event_id, event.change
    chat_id, target_id, kind = change.chat_id, change.target_id, kind_of(change)
    content = event.SerializeToString()
    stays = kind is not None and kind.number in STAYING
    kept = content if stays or not target_id else b""
    bucket, target = event_id >> BUCKET_BITS, (chat_id, target_id >> BUCKET_BITS, target_id)
    in_target, size = ("bucket", *target[:2]), len(content)
    row = chat_id, bucket, event_id, target_id, kept, event_id
    writes.add(("bucket", chat_id, bucket), statements[_ADD_TO_CHAT], row, size=len(kept))
    if late_id is not None:
        add_late(writes, statements, late_id, chat_id, event_id, target_id, kept)
    if not kept:
        row_of_target = *target, event_id, kind and kind.number, content, event_id
        writes.add(in_target, statements[_ADD_TO_TARGET], row_of_target, size=size)
    if kind is None:
        unknown = chat_id, event_id, target_id, event_id
        writes.add(("unknown", chat_id), statements[_ADD_UNKNOWN], unknown)
        return
    key = key_text(kind, change)
    if not target_id:
        _set_state_of_chat(writes, statements, kind, key, event, content)
        return
    at = MAX_ID - event_id if kind is DELETION else event_id  # of two deletions the first one stays
    writes.add(in_target, statements[_SET_STATE], (*target, kind.number, key, event_id, content, at), size=size)
    if kind.is_listed:
        listed = chat_id, kind.number, key, target_id, is_listed(kind, change), event_id
        writes.add(("listed", chat_id, kind.number, key), statements[_LIST], listed)
    if kind is DELETION:
        for removal in _REMOVALS:
            writes.add(in_target, statements[removal], target)
        # Above that of the content, also if the clock of the message was ahead: counts know a stub by it.
        emptied_at = max(event_id, min(target_id + 1, MAX_ID))
        writes.add(in_target, statements[_EMPTY_MESSAGE], (*target, emptied_at))


def _set_state_of_chat(
    writes: Writes, statements: Mapping[str, Any], kind: Kind, key: str, event: Event, content: bytes
) -> None:
    """Set a change in the rows of its audience: of its actor if it is private, else of all members."""
    change = event.change
    chat_id, actor_id, size = change.chat_id, change.actor_id, len(content)
    state = event.event_id, f"{kind.number} {key}", content
    both = direct_members(chat_id)
    if both is not None:
        for member in (actor_id,) if kind.is_private else both:
            writes.add(member, statements[_SET_STATE_OF_CHAT], (*state, member, chat_id), size=size)
    elif kind.is_private:
        writes.add(actor_id, statements[_SET_OWN_STATE], (*state, actor_id, chat_id), size=size)
    else:
        writes.add(("chat", chat_id), statements[_SET_STATE_OF_GROUP], (*state, chat_id), size=size)


def add_late(
    writes: Writes,
    statements: Mapping[str, Any],
    late_id: int,
    chat_id: str,
    event_id: int,
    target_id: int = NO_TARGET,
    kept: bytes = b"",
) -> None:
    """Add the row of a late event: of a change with `target_id`, or of a message. `late_id` is the first id of the time
    at which the log stored it, less MAX_AGE_MS: a client that has read up to a lower id has not read the event."""
    bucket = late_id >> BUCKET_BITS
    row = chat_id, bucket, late_id, event_id, target_id, kept, event_id
    writes.add(("bucket", chat_id, bucket), statements[_ADD_LATE], row, size=len(kept))

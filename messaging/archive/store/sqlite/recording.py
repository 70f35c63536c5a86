"""Recording of events in SQLite: each table is written once per batch. Runs in the writer's thread.

The tables are defined in `schema`.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence, Set

from messaging.archive.store.laws import DELETION, MARKS, check_change, key_text
from rookery.v1.session_pb2 import Change, Event, Message
from shared.contract.changes import kind_of
from shared.contract.chats import direct_members
from shared.contract.ids import time_of

_ROWS_PER_STATEMENT = 32
"""Messages in one statement: a statement releases Python's global lock once, not once per message."""

_CHANGE_CHAT = """
    INSERT INTO chats (chat_id, changed_ms) VALUES (?, ?)
    ON CONFLICT (chat_id) DO UPDATE SET changed_ms = max(changed_ms, excluded.changed_ms)
    RETURNING chat, listed
"""
_ADD_EVENTS = "INSERT INTO events (event_id, chat, author_id, client_id, content, target_id) VALUES "
# A row without author waits for its message, of which the deletion is recorded already.
_UNLESS_KNOWN = """
    ON CONFLICT (event_id) DO UPDATE SET
        chat = excluded.chat, author_id = excluded.author_id, client_id = excluded.client_id,
        content = CASE WHEN chat = excluded.chat THEN content ELSE excluded.content END
    WHERE author_id = 0 AND NOT EXISTS (
        SELECT 1 FROM events AS sent WHERE sent.chat = excluded.chat AND sent.author_id = excluded.author_id
        AND sent.client_id = excluded.client_id AND sent.client_id <> ''
    )
    ON CONFLICT DO NOTHING
"""
_ADD_CHANGE = _ADD_EVENTS + "(?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_IS_DELETED = "SELECT 1 FROM state WHERE chat = ? AND target_id = ? AND kind = ?"
_SET_STATE = """
    INSERT INTO state VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET event_id = excluded.event_id, change = excluded.change
"""
_IF_NEWER = " WHERE excluded.event_id > event_id"
_IF_OLDER = " WHERE excluded.event_id < event_id"
_REMOVE_STATE = "DELETE FROM state WHERE chat = ? AND target_id = ?"
_REMOVE_CHANGES = "UPDATE events SET content = x'' WHERE target_id = ? AND chat = ? AND event_id <> ?"
_REMOVE_MESSAGE = "UPDATE events SET content = x'' WHERE event_id = ? AND chat = ? AND target_id IS NULL"
_AWAIT_MESSAGE = _ADD_EVENTS + "(?, ?, 0, '', x'', NULL) ON CONFLICT DO NOTHING"
_RAISE_MARKS = """
    INSERT INTO marks VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    delivered_up_to = max(delivered_up_to, excluded.delivered_up_to),
    read_up_to = max(read_up_to, excluded.read_up_to)
"""


def record(connection: sqlite3.Connection, events: Iterable[Event]) -> None:
    """Write the events, and the row of each chat once. Raises ValueError for an invalid event."""
    changed: dict[str, int] = {}  # by chat_id, the newest event's id
    messages: list[Message] = []
    changes: list[Event] = []
    marks: list[Change] = []
    sends: set[tuple[str, int, str]] = set()  # of the changes, which are written after the messages
    for event in events:
        event_id = event.event_id
        content: Message | Change
        match event.WhichOneof("event"):
            case "message":
                content = event.message
                if (content.chat_id, content.sender_id, content.client_message_id) not in sends:
                    messages.append(content)
            case "change":
                content = event.change
                kind = kind_of(content)
                check_change(kind, content)
                if kind is MARKS:
                    marks.append(content)
                else:
                    changes.append(event)
                    if content.client_change_id:
                        sends.add((content.chat_id, content.actor_id, content.client_change_id))
            case _:  # not stored
                continue
        if event_id < 1:
            raise ValueError(f"event_id must be 1 or more, not {event_id}")
        chat_id = content.chat_id
        changed[chat_id] = max(changed.get(chat_id, 0), event_id)
    chats = _change_chats(connection, changed, listed={message.chat_id for message in messages})
    _add_messages(connection, chats, messages)
    for event in changes:
        _add_change(connection, chats[event.change.chat_id], event)
    _raise_marks(connection, chats, marks)


def _change_chats(connection: sqlite3.Connection, changed: Mapping[str, int], *, listed: Set[str]) -> dict[str, int]:
    """Set the chats' times of change, and list the chats in `listed`; return the number of each chat by chat_id."""
    chats: dict[str, int] = {}
    for chat_id, event_id in changed.items():
        chat, is_listed = connection.execute(_CHANGE_CHAT, (chat_id, time_of(event_id))).fetchone()
        chats[chat_id] = chat
        if is_listed:
            continue
        members = direct_members(chat_id)
        if members is None:
            raise ValueError("chat_id is not that of a direct chat")
        if chat_id in listed:
            connection.executemany("INSERT INTO chats_by_user VALUES (?, ?)", [(member, chat) for member in members])
            connection.execute("UPDATE chats SET listed = 1 WHERE chat = ?", (chat,))
    return chats


def _add_messages(connection: sqlite3.Connection, chats: Mapping[str, int], messages: Sequence[Message]) -> None:
    for start in range(0, len(messages), _ROWS_PER_STATEMENT):
        some = messages[start : start + _ROWS_PER_STATEMENT]
        values: list[int | str | bytes] = []
        for message in some:
            if message.message_id < 1:
                raise ValueError(f"message_id must be 1 or more, not {message.message_id}")
            values += (
                message.message_id,
                chats[message.chat_id],
                message.sender_id,
                message.client_message_id,
                message.SerializeToString(),
            )
        rows = ", ".join(["(?, ?, ?, ?, ?, NULL)"] * len(some))
        connection.execute(_ADD_EVENTS + rows + _UNLESS_KNOWN, values)


def _add_change(connection: sqlite3.Connection, chat: int, event: Event) -> None:
    """Add the change to the log, and apply it to the state. One that is in the log already has been applied."""
    event_id, change = event.event_id, event.change
    kind, target_id = kind_of(change), change.target_id
    is_deleted = connection.execute(_IS_DELETED, (chat, target_id, DELETION.number)).fetchone()
    content = b"" if is_deleted and kind is not DELETION else change.SerializeToString()
    row = event_id, chat, change.actor_id, change.client_change_id, content, target_id
    if not connection.execute(_ADD_CHANGE, row).rowcount or kind is None or not content:
        return
    current = chat, target_id, kind.number, key_text(kind, change), event_id, content
    if kind is not DELETION:
        connection.execute(_SET_STATE + _IF_NEWER, current)
        return
    if not is_deleted:
        _remove_contents(connection, chat, target_id, event_id)
    connection.execute(_SET_STATE + _IF_OLDER, current)


def _remove_contents(connection: sqlite3.Connection, chat: int, target_id: int, deletion_id: int) -> None:
    """Remove the content of a message, its state, and the content of its changes."""
    connection.execute(_REMOVE_STATE, (chat, target_id))
    connection.execute(_REMOVE_CHANGES, (target_id, chat, deletion_id))
    if not connection.execute(_REMOVE_MESSAGE, (target_id, chat)).rowcount:
        connection.execute(_AWAIT_MESSAGE, (target_id, chat))


def _raise_marks(connection: sqlite3.Connection, chats: Mapping[str, int], changes: Sequence[Change]) -> None:
    marks: dict[tuple[int, int], tuple[int, int]] = {}
    for change in changes:
        key, mark = (chats[change.chat_id], change.actor_id), change.marked
        delivered, read = marks.get(key, (0, 0))
        marks[key] = max(delivered, mark.delivered_up_to), max(read, mark.read_up_to)
    connection.executemany(_RAISE_MARKS, [(*key, *mark) for key, mark in marks.items()])

"""Recording of events in SQLite: each table is written once per batch. Runs in the writer's thread.

The tables are defined in `schema`.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence, Set

from messaging.archive.store.laws import (
    DELETION,
    EDIT,
    MARKS,
    MAX_AGE_MS,
    OUTLIVING,
    check_change,
    is_late,
    is_listed,
    is_own,
    key_text,
    mentioned_in,
    raised,
)
from messaging.archive.store.protocol import Logged
from messaging.archive.store.sqlite.files import add_uses, remove_uses
from messaging.archive.store.sqlite.groups import fold
from rookery.v1.session_pb2 import Change, Event, Message
from shared.contract.changes import kind_of
from shared.contract.chats import direct_members, is_group
from shared.contract.ids import first_id_at, time_of

_ROWS_PER_STATEMENT = 32
"""Messages or changes in one statement: a statement releases Python's global lock once, not once per message."""

_CHANGE_CHAT = """
    INSERT INTO chats (chat_id, changed_ms) VALUES (?, ?)
    ON CONFLICT (chat_id) DO UPDATE SET changed_ms = max(changed_ms, excluded.changed_ms)
    RETURNING chat, listed
"""
_LIST_FOR = "INSERT INTO chats_by_user (user_id, chat) VALUES (?, ?) ON CONFLICT DO UPDATE SET is_listed = 1"
# The change may be recorded before the chat is in the user's list.
_CHANGE_FOR = """
    INSERT INTO chats_by_user (changed_ms, user_id, chat, is_listed) VALUES (?, ?, ?, 0)
    ON CONFLICT DO UPDATE SET changed_ms = max(changed_ms, excluded.changed_ms)
"""
_ADD_EVENTS = "INSERT OR IGNORE INTO events (event_id, chat, author_id, client_id, content, target_id) VALUES "
_ADD_CHANGES = "INSERT OR IGNORE INTO events (event_id, chat, author_id, client_id, content, target_id, kind) VALUES "
# A row without author waits for its message, of which the deletion is recorded already.
_FILL_AWAITED = """
    UPDATE OR IGNORE events SET
        author_id = ?, client_id = ?, content = CASE WHEN chat = ? THEN content ELSE ? END, chat = ?
    WHERE event_id = ? AND author_id = 0
"""
# A change of a deleted message has no content from the beginning, unless its kind outlives the deletion.
_CHANGE_ROW = """
    (?, ?, ?, ?, CASE WHEN EXISTS (SELECT 1 FROM state WHERE target_id = ? AND chat = ? AND kind = ?)
    THEN x'' ELSE ? END, ?, ?)
"""
_RETURN_ADDED = " RETURNING event_id, length(content) > 0"
_SET_STATE = "INSERT INTO state VALUES "
_STATE_ROW = "(?, ?, ?, ?, ?, ?, ?)"
_IF_NEWER = """
    ON CONFLICT DO UPDATE SET event_id = excluded.event_id, event = excluded.event, is_listed = excluded.is_listed
    WHERE excluded.event_id > event_id
"""
_IF_OLDER = """
    ON CONFLICT DO UPDATE SET event_id = excluded.event_id, event = excluded.event WHERE excluded.event_id < event_id
"""
_IS_DELETED = "SELECT 1 FROM state WHERE target_id = ? AND chat = ? AND kind = ?"
_ADD_DELETION = _ADD_CHANGES + "(?, ?, ?, ?, ?, ?, ?)"
_REMOVE_STATE = "DELETE FROM state WHERE target_id = ? AND chat = ? AND kind NOT IN (SELECT value FROM json_each(?))"
_REMOVE_CHANGES = """
    UPDATE events SET content = x'' WHERE target_id = ? AND chat = ? AND event_id <> ?
    AND ifnull(kind, 0) NOT IN (SELECT value FROM json_each(?))
"""
_REMOVE_MESSAGE = "UPDATE events SET content = x'' WHERE event_id = ? AND chat = ? AND target_id IS NULL"
_AWAIT_MESSAGE = _ADD_EVENTS + "(?, ?, 0, '', x'', NULL)"
_RAISE_MARKS = """
    INSERT INTO marks VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    delivered_up_to = max(delivered_up_to, excluded.delivered_up_to),
    read_up_to = max(read_up_to, excluded.read_up_to)
"""
_MENTION = """
    INSERT INTO mentions VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET event_id = excluded.event_id WHERE excluded.event_id > event_id
"""
# An event that was ignored gets no row.
_ADD_LATE = "INSERT OR IGNORE INTO late SELECT chat, ?, event_id FROM events WHERE event_id = ? AND chat = ?"
# By the index unknown_changes. A change without content is that of a deleted message.
_UNKNOWN = "SELECT content FROM events WHERE target_id IS NOT NULL AND kind IS NULL AND length(content) > 0"
_REMOVE_UNKNOWN = "DELETE FROM events WHERE event_id = ?"


def record(connection: sqlite3.Connection, events: Sequence[Logged]) -> None:
    """Write the events, and the row of each chat once. Raises ValueError for an invalid event."""
    # The highest id of an event, or of the time for which a late event counts: by chat_id, and by user_id too of
    # changes that count only for their actor.
    changed: dict[str, int] = {}
    changed_for: dict[tuple[str, int], int] = {}
    messages: list[tuple[str, Message]] = []  # each with its chat_id, which costs time to read
    changes: list[Event] = []
    deletions: list[Event] = []
    marks: list[Change] = []
    late: list[tuple[int, int, str]] = []
    sends: set[tuple[str, int, str]] = set()  # of changes: messages are written before them
    for event, at_ms in events:
        event_id = event.event_id
        content: Message | Change
        kind = None
        match event.WhichOneof("event"):
            case "message":
                content, chat_id = event.message, event.message.chat_id
                if not sends or (chat_id, content.sender_id, content.client_message_id) not in sends:
                    messages.append((chat_id, content))
            case "change":
                content, chat_id = event.change, event.change.chat_id
                kind = kind_of(content)
                check_change(kind, content)
                send = chat_id, content.actor_id, content.client_change_id
                if kind is MARKS:
                    marks.append(content)
                elif send not in sends:
                    (deletions if kind is DELETION else changes).append(event)
                    if content.client_change_id:
                        sends.add(send)
            case _:  # not stored
                continue
        if event_id < 1:
            raise ValueError(f"event_id must be 1 or more, not {event_id}")
        if is_late(event_id, at_ms):
            late.append((at_ms, event_id, chat_id))
            event_id = first_id_at(at_ms - MAX_AGE_MS)
        if kind is not None and is_own(kind, event.change):
            key = chat_id, event.change.actor_id
            changed_for[key] = max(event_id, changed_for.get(key, 0))
            changed.setdefault(chat_id, 0)
        elif event_id > changed.get(chat_id, 0):
            changed[chat_id] = event_id
    chats = _change_chats(connection, changed, listed={chat_id for chat_id, _ in messages})
    if any(map(is_group, chats)):
        controls = [event.message for event, _ in events if event.message.HasField("control")]
        if ignored := fold(connection, chats, controls):
            messages = [each for each in messages if each[1].message_id not in ignored]
        counted = {event_id: first_id_at(at_ms - MAX_AGE_MS) for at_ms, event_id, _ in late}
        for message in controls:
            if message.message_id in counted:  # also for former members, in whose lists no other event counts
                for member in message.control.members:
                    key = message.chat_id, member.user_id
                    changed_for[key] = max(counted[message.message_id], changed_for.get(key, 0))
    for (chat_id, user_id), event_id in changed_for.items():
        connection.execute(_CHANGE_FOR, (time_of(event_id), user_id, chats[chat_id]))
    _add_messages(connection, chats, messages)
    for start in range(0, len(changes), _ROWS_PER_STATEMENT):
        _add_changes(connection, chats, changes[start : start + _ROWS_PER_STATEMENT])
    for event in deletions:  # last, so that they remove the content of all others
        _add_deletion(connection, chats[event.change.chat_id], event)
    _raise_marks(connection, chats, marks)
    for at_ms, event_id, chat_id in late:
        connection.execute(_ADD_LATE, (at_ms, event_id, chats[chat_id]))


def record_unknown(connection: sqlite3.Connection) -> None:
    """Record again the stored changes whose kind the recording release did not know and this one knows: only now can
    they be applied to the state. All of them are in memory meanwhile."""
    events = [Event.FromString(content) for (content,) in connection.execute(_UNKNOWN)]
    known = [event for event in events if kind_of(event.change)]
    connection.executemany(_REMOVE_UNKNOWN, [(event.event_id,) for event in known])
    record(connection, [Logged(event, time_of(event.event_id)) for event in known])


def _change_chats(connection: sqlite3.Connection, changed: Mapping[str, int], *, listed: Set[str]) -> dict[str, int]:
    """Set the chats' times of change, and list the chats in `listed`; return the number of each chat by chat_id."""
    chats: dict[str, int] = {}
    for chat_id, event_id in changed.items():
        chat, is_listed = connection.execute(_CHANGE_CHAT, (chat_id, time_of(event_id))).fetchone()
        chats[chat_id] = chat
        if is_listed:
            continue
        members = direct_members(chat_id)
        if members is None and not is_group(chat_id):
            raise ValueError("chat_id is not that of a direct chat or a group")
        if chat_id in listed:  # a group is listed for each member by the control changes
            connection.executemany(_LIST_FOR, [(member, chat) for member in members or ()])
            connection.execute("UPDATE chats SET listed = 1 WHERE chat = ?", (chat,))
    return chats


def _add_messages(
    connection: sqlite3.Connection, chats: Mapping[str, int], messages: Sequence[tuple[str, Message]]
) -> None:
    for start in range(0, len(messages), _ROWS_PER_STATEMENT):
        some = messages[start : start + _ROWS_PER_STATEMENT]
        values: list[int | str | bytes] = []
        for chat_id, message in some:
            message_id = message.message_id
            if message_id < 1:
                raise ValueError(f"message_id must be 1 or more, not {message_id}")
            values += (
                message_id,
                chats[chat_id],
                message.sender_id,
                message.client_message_id,
                message.SerializeToString(),
            )
        rows = ", ".join(["(?, ?, ?, ?, ?, NULL)"] * len(some))
        if connection.execute(_ADD_EVENTS + rows, values).rowcount < len(some):
            for chat_id, message in some:
                _fill_awaited(connection, chats[chat_id], message)
    mentions = [
        (user_id, chats[chat_id], message.message_id, message.message_id)
        for chat_id, message in messages
        for user_id in mentioned_in(message.text)
    ]
    if mentions:
        connection.executemany(_MENTION, mentions)
    add_uses(connection, chats, messages)


def _fill_awaited(connection: sqlite3.Connection, chat: int, message: Message) -> None:
    """Make a stub of a message of which the deletion is recorded already. Other messages stay as they are."""
    content = chat, message.SerializeToString(), chat
    values = message.sender_id, message.client_message_id, *content, message.message_id
    connection.execute(_FILL_AWAITED, values)


def _add_changes(connection: sqlite3.Connection, chats: Mapping[str, int], events: Sequence[Event]) -> None:
    """Add changes to the log, and to the state where each is the newest of its key. Changes that
    the log has already have been applied."""
    values: list[int | str | bytes | None] = []
    contents: dict[int, bytes] = {}
    for event in events:
        change, content = event.change, event.SerializeToString()
        chat, target_id, kind = chats[change.chat_id], change.target_id, kind_of(change)
        values += (event.event_id, chat, change.actor_id, change.client_change_id)
        removed_by = 0 if kind and kind.outlives else DELETION.number  # no kind has the number 0
        values += (target_id, chat, removed_by, content, target_id, kind.number if kind else None)
        contents[event.event_id] = content
    query = _ADD_CHANGES + ", ".join([_CHANGE_ROW] * len(events)) + _RETURN_ADDED
    added = dict(connection.execute(query, values).fetchall())
    rows: list[int | str | bytes | None] = []
    mentions: list[tuple[int, int, int, int]] = []
    for event in events:
        change, kind = event.change, kind_of(event.change)
        if kind is not None and added.get(event.event_id):
            if kind is EDIT:
                edited = chats[change.chat_id], change.target_id, event.event_id
                mentions += [(user_id, *edited) for user_id in mentioned_in(change.edited.text)]
            rows += (change.target_id, chats[change.chat_id], kind.number, key_text(kind, change))
            rows += (event.event_id, contents[event.event_id], is_listed(kind, change) or None)
    if rows:
        query = _SET_STATE + ", ".join([_STATE_ROW] * (len(rows) // 7)) + _IF_NEWER
        connection.execute(query, rows)
    if mentions:
        connection.executemany(_MENTION, mentions)


def _add_deletion(connection: sqlite3.Connection, chat: int, event: Event) -> None:
    """Add a deletion to the log, and to the state where it is the oldest of its target."""
    event_id, change, content = event.event_id, event.change, event.SerializeToString()
    target_id = change.target_id
    row = event_id, chat, change.actor_id, change.client_change_id, content, target_id, DELETION.number
    if not connection.execute(_ADD_DELETION, row).rowcount:
        return
    if not connection.execute(_IS_DELETED, (target_id, chat, DELETION.number)).fetchone():
        _remove_contents(connection, chat, target_id, event_id)
    state = target_id, chat, DELETION.number, key_text(DELETION, change), event_id, content, None
    connection.execute(_SET_STATE + _STATE_ROW + _IF_OLDER, state)


def _remove_contents(connection: sqlite3.Connection, chat: int, target_id: int, deletion_id: int) -> None:
    """Remove the content of a message, its uses of files, its state, and the content of its changes, except of kinds
    that outlive it."""
    outliving = json.dumps(OUTLIVING)
    connection.execute(_REMOVE_STATE, (target_id, chat, outliving))
    connection.execute(_REMOVE_CHANGES, (target_id, chat, deletion_id, outliving))
    remove_uses(connection, chat, target_id)
    if not connection.execute(_REMOVE_MESSAGE, (target_id, chat)).rowcount:
        connection.execute(_AWAIT_MESSAGE, (target_id, chat))


def _raise_marks(connection: sqlite3.Connection, chats: Mapping[str, int], changes: Sequence[Change]) -> None:
    marks: dict[tuple[int, int], tuple[int, int]] = {}
    for change in changes:
        key = chats[change.chat_id], change.actor_id
        marks[key] = raised(marks.get(key, (0, 0)), change)
    connection.executemany(_RAISE_MARKS, [(*key, *mark) for key, mark in marks.items()])

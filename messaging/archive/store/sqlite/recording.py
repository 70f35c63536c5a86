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
    STAYING,
    check_change,
    counted_as,
    is_listed,
    is_own,
    key_text,
    mentioned_in,
    raised,
)
from messaging.archive.store.protocol import Logged
from messaging.archive.store.sqlite.files import GIVEN_MESSAGES, add_uses, remove_uses
from messaging.archive.store.sqlite.groups import fold
from rookery.v1.session_pb2 import Change, Event, Message
from shared.contract.changes import Kind, kind_of
from shared.contract.chats import direct_members, is_group
from shared.contract.ids import time_of

_ROWS_PER_STATEMENT = 32
"""Messages or changes in one statement: a statement releases Python's global lock once, not once per message."""

_CHANGE_CHAT = """
    INSERT INTO chats (chat_id, changed_ms, newest_sent_id) VALUES (?, ?, ?)
    ON CONFLICT (chat_id) DO UPDATE SET
    changed_ms = max(changed_ms, excluded.changed_ms), newest_sent_id = max(newest_sent_id, excluded.newest_sent_id)
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
# Of two deletions of a message the first one stays, of other changes of a key the last one.
_BY_LAW = f"""
    ON CONFLICT DO UPDATE SET event_id = excluded.event_id, event = excluded.event, is_listed = excluded.is_listed
    WHERE iif(kind = {DELETION.number}, excluded.event_id < event_id, excluded.event_id > event_id)
"""
_STAYING = f"({', '.join(map(str, STAYING))})"
_REMOVE_STATE = f"""
    DELETE FROM state WHERE (target_id, chat) IN ({GIVEN_MESSAGES}) AND kind NOT IN {_STAYING}
"""  # noqa: S608 - no input
_EMPTY = f"""
    UPDATE events SET content = x'' FROM ({GIVEN_MESSAGES}) AS deleted WHERE events.chat = deleted.chat
"""  # noqa: S608 - no input
_REMOVE_CHANGES = f"{_EMPTY} AND target_id = message_id AND ifnull(kind, 0) NOT IN {_STAYING}"
_REMOVE_MESSAGES = f"{_EMPTY} AND event_id = message_id AND target_id IS NULL"
_AWAIT_MESSAGES = f"""
    INSERT OR IGNORE INTO events (event_id, chat, author_id, client_id, content, target_id)
    SELECT message_id, chat, 0, '', x'', NULL FROM ({GIVEN_MESSAGES})
"""  # noqa: S608 - no input
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
    changes: list[tuple[str, Kind | None, Event]] = []
    marks: list[Change] = []
    late: list[tuple[int, int, str]] = []
    late_ids: dict[int, int] = {}  # by event_id, the id as which a late event counts
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
                    changes.append((chat_id, kind, event))
                    if content.client_change_id:
                        sends.add(send)
            case _:  # not stored
                continue
        if event_id < 1:
            raise ValueError(f"event_id must be 1 or more, not {event_id}")
        counted_id = counted_as(event_id, at_ms)
        if counted_id > event_id:
            late.append((at_ms, event_id, chat_id))
            late_ids[event_id] = counted_id
        if kind is not None and is_own(kind, event.change):
            key = chat_id, event.change.actor_id
            changed_for[key] = max(counted_id, changed_for.get(key, 0))
            changed.setdefault(chat_id, 0)
        elif counted_id > changed.get(chat_id, 0):
            changed[chat_id] = counted_id
    groups = set(filter(is_group, changed))
    sent: dict[str, int] = {}  # the newest message of each group that is no control change
    for chat_id, message in messages if groups else ():
        if chat_id in groups and message.message_id > sent.get(chat_id, 0) and not message.HasField("control"):
            sent[chat_id] = message.message_id
    chats = _change_chats(connection, changed, sent, listed={chat_id for chat_id, _ in messages})
    if groups:
        controls = [event.message for event, _ in events if event.message.HasField("control")]
        if ignored := fold(connection, chats, controls):
            messages = [each for each in messages if each[1].message_id not in ignored]
        for message in controls:
            if message.message_id in late_ids:  # also for former members, in whose lists no other event counts
                for member in message.control.members:
                    key = message.chat_id, member.user_id
                    changed_for[key] = max(late_ids[message.message_id], changed_for.get(key, 0))
    for (chat_id, user_id), event_id in changed_for.items():
        connection.execute(_CHANGE_FOR, (time_of(event_id), user_id, chats[chat_id]))
    _add_messages(connection, chats, messages)
    deleted: list[tuple[int, int]] = []
    for start in range(0, len(changes), _ROWS_PER_STATEMENT):
        deleted += _add_changes(connection, chats, changes[start : start + _ROWS_PER_STATEMENT])
    if deleted:  # when all others are added
        _remove_contents(connection, deleted)
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


def _change_chats(
    connection: sqlite3.Connection, changed: Mapping[str, int], sent: Mapping[str, int], *, listed: Set[str]
) -> dict[str, int]:
    """Set the chats' times of change, and the newest messages of the groups in `sent`, and list the chats in `listed`;
    return the number of each chat by chat_id."""
    chats: dict[str, int] = {}
    for chat_id, event_id in changed.items():
        row = chat_id, time_of(event_id), sent.get(chat_id, 0)
        chat, is_listed = connection.execute(_CHANGE_CHAT, row).fetchone()
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


def _add_changes(
    connection: sqlite3.Connection, chats: Mapping[str, int], changes: Sequence[tuple[str, Kind | None, Event]]
) -> list[tuple[int, int]]:
    """Add changes to the log, and to the state by the laws of their kinds. Changes that the log has already have been
    applied. Return the messages that the others delete, each with the number of its chat."""
    values: list[int | str | bytes | None] = []
    contents: dict[int, bytes] = {}
    for chat_id, kind, event in changes:
        event_id, change, content = event.event_id, event.change, event.SerializeToString()
        chat, target_id, number = chats[chat_id], change.target_id, kind.number if kind else None
        removed_by = 0 if number in STAYING else DELETION.number  # no kind has the number 0
        values += (event_id, chat, change.actor_id, change.client_change_id)
        values += (target_id, chat, removed_by, content, target_id, number)
        contents[event_id] = content
    query = _ADD_CHANGES + ", ".join([_CHANGE_ROW] * len(changes)) + _RETURN_ADDED
    added = dict(connection.execute(query, values).fetchall())
    rows: list[int | str | bytes | None] = []
    mentions: list[tuple[int, int, int, int]] = []
    deleted: list[tuple[int, int]] = []
    for chat_id, kind, event in changes:
        event_id = event.event_id
        if kind is not None and added.get(event_id):
            change, chat = event.change, chats[chat_id]
            target_id = change.target_id
            if kind is EDIT:
                edited = chat, target_id, event_id
                mentions += [(user_id, *edited) for user_id in mentioned_in(change.edited.text)]
            elif kind is DELETION:
                deleted.append((target_id, chat))
            rows += (target_id, chat, kind.number, key_text(kind, change))
            rows += (event_id, contents[event_id], is_listed(kind, change) or None)
    if rows:
        connection.execute(_SET_STATE + ", ".join([_STATE_ROW] * (len(rows) // 7)) + _BY_LAW, rows)
    if mentions:
        connection.executemany(_MENTION, mentions)
    return deleted


def _remove_contents(connection: sqlite3.Connection, messages: Sequence[tuple[int, int]]) -> None:
    """Remove the content of messages, their uses of files, their state, and the content of their changes, except of
    kinds that stay. Each message is given with the number of its chat."""
    given = json.dumps(messages)
    connection.execute(_REMOVE_STATE, (given,))
    connection.execute(_REMOVE_CHANGES, (given,))
    remove_uses(connection, given)
    if connection.execute(_REMOVE_MESSAGES, (given,)).rowcount < len(messages):
        connection.execute(_AWAIT_MESSAGES, (given,))


def _raise_marks(connection: sqlite3.Connection, chats: Mapping[str, int], changes: Sequence[Change]) -> None:
    marks: dict[tuple[int, int], tuple[int, int]] = {}
    for change in changes:
        key = chats[change.chat_id], change.actor_id
        marks[key] = raised(marks.get(key, (0, 0)), change)
    connection.executemany(_RAISE_MARKS, [(*key, *mark) for key, mark in marks.items()])

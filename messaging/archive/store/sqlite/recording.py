"""Recording of events in SQLite: each table is written once per batch. Runs in the writer's thread.

The tables are defined in `store`.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence, Set

from rookery.v1.session_pb2 import Change as Reaction
from rookery.v1.session_pb2 import Change as Receipt
from rookery.v1.session_pb2 import Event, Message
from shared.contract.chats import direct_members
from shared.contract.ids import time_of

_ROWS_PER_STATEMENT = 32
"""Messages in one statement: a statement releases Python's global lock once, not once per message."""

_CHANGE_CHAT = """
    INSERT INTO chats (chat_id, changed_ms) VALUES (?, ?)
    ON CONFLICT (chat_id) DO UPDATE SET changed_ms = max(changed_ms, excluded.changed_ms)
    RETURNING chat, listed
"""
_ADD_MESSAGES = "INSERT OR IGNORE INTO messages VALUES "
_UNSET_REACTION = "DELETE FROM reactions WHERE chat = ? AND message_id = ? AND emoji = ? AND user_id = ?"
_MOVE_RECEIPT = """
    INSERT INTO receipts VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    delivered_up_to = max(delivered_up_to, excluded.delivered_up_to),
    read_up_to = max(read_up_to, excluded.read_up_to)
"""


def record(connection: sqlite3.Connection, events: Iterable[Event]) -> None:
    """Write the events, and the row of each chat once. Raises ValueError for an invalid event."""
    changed: dict[str, int] = {}  # by chat_id, the newest event's id
    messages: list[Message] = []
    reactions: list[tuple[int, Reaction]] = []
    receipts: list[Receipt] = []
    for event in events:
        event_id = event.event_id
        content: Message | Reaction | Receipt
        match event.WhichOneof("event"):
            case "message":
                content = event.message
                messages.append(content)
            case "reaction":
                content = event.reaction
                reactions.append((event_id, content))
            case "receipt":
                content = event.receipt
                receipts.append(content)
            case _:  # not stored
                continue
        if event_id < 1:
            raise ValueError(f"event_id must be 1 or more, not {event_id}")
        chat_id = content.chat_id
        changed[chat_id] = max(changed.get(chat_id, 0), event_id)
    chats = _change_chats(connection, changed, listed={message.chat_id for message in messages})
    _add_messages(connection, chats, messages)
    _set_reactions(connection, chats, reactions)
    _move_receipts(connection, chats, receipts)


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
        connection.execute(_ADD_MESSAGES + ", ".join(["(?, ?, ?, ?, ?)"] * len(some)), values)


def _set_reactions(
    connection: sqlite3.Connection, chats: Mapping[str, int], reactions: Sequence[tuple[int, Reaction]]
) -> None:
    """A reaction that is set again keeps its first event, so that a replay changes nothing."""
    for event_id, reaction in reactions:
        key = chats[reaction.chat_id], reaction.message_id, reaction.emoji, reaction.user_id
        if reaction.set:
            connection.execute("INSERT OR IGNORE INTO reactions VALUES (?, ?, ?, ?, ?)", (*key, event_id))
        else:
            connection.execute(_UNSET_REACTION, key)


def _move_receipts(connection: sqlite3.Connection, chats: Mapping[str, int], receipts: Sequence[Receipt]) -> None:
    marks: dict[tuple[int, int], tuple[int, int]] = {}
    for receipt in receipts:
        key = chats[receipt.chat_id], receipt.user_id
        delivered, read = marks.get(key, (0, 0))
        marks[key] = max(delivered, receipt.delivered_up_to), max(read, receipt.read_up_to)
    connection.executemany(_MOVE_RECEIPT, [(*key, *mark) for key, mark in marks.items()])

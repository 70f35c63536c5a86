"""The tables of the chat store on SQLite, and the steps from each release to the next."""

import sqlite3

from messaging.archive.store.laws import key_text
from rookery.v1.groups_pb2 import Member
from rookery.v1.session_pb2 import Change, Event, Reacted
from shared.contract.changes import KINDS, kind_of

_CHATS = """
    CREATE TABLE chats (
        chat INTEGER PRIMARY KEY, -- in place of chat_id in the other tables, at an eighth of its size
        chat_id TEXT NOT NULL UNIQUE,
        changed_ms INTEGER NOT NULL,
        listed INTEGER NOT NULL DEFAULT 0 -- whether it is in its members' lists
    );
    CREATE TABLE chats_by_user (
        user_id INTEGER NOT NULL,
        chat INTEGER NOT NULL,
        PRIMARY KEY (user_id, chat)
    ) WITHOUT ROWID;
    CREATE TABLE messages (
        message_id INTEGER PRIMARY KEY, -- rising, so that new messages of all chats share the last pages
        chat INTEGER NOT NULL,
        sender_id INTEGER NOT NULL,
        client_message_id TEXT NOT NULL,
        message BLOB NOT NULL
    );
    CREATE INDEX messages_by_chat ON messages (chat);
    CREATE UNIQUE INDEX messages_by_send ON messages (chat, sender_id, client_message_id);
    CREATE TABLE reactions (
        chat INTEGER NOT NULL,
        message_id INTEGER NOT NULL,
        emoji TEXT NOT NULL,
        user_id INTEGER NOT NULL,
        event_id INTEGER NOT NULL,
        PRIMARY KEY (chat, message_id, emoji, user_id)
    ) WITHOUT ROWID;
    CREATE TABLE receipts (
        chat INTEGER NOT NULL,
        user_id INTEGER NOT NULL,
        delivered_up_to INTEGER NOT NULL,
        read_up_to INTEGER NOT NULL,
        PRIMARY KEY (chat, user_id)
    ) WITHOUT ROWID;
    CREATE TABLE recorded (partition INTEGER PRIMARY KEY, offset INTEGER NOT NULL)
"""

# `events` has the messages and the changes, since their client ids are in one name space. The content is a Message, the
# Event of a change, or empty once it is deleted. A row without author is that of a message of which only the deletion
# is recorded.
_CHANGES = """
    ALTER TABLE messages RENAME TO events;
    ALTER TABLE events RENAME COLUMN message_id TO event_id;
    ALTER TABLE events RENAME COLUMN sender_id TO author_id;
    ALTER TABLE events RENAME COLUMN client_message_id TO client_id;
    ALTER TABLE events RENAME COLUMN message TO content;
    ALTER TABLE events ADD COLUMN target_id INTEGER; -- NULL in a message, 0 in a change of the chat
    DROP INDEX messages_by_chat;
    DROP INDEX messages_by_send;
    CREATE INDEX messages_by_chat ON events (chat) WHERE target_id IS NULL;
    CREATE INDEX changes_by_chat ON events (chat) WHERE target_id IS NOT NULL;
    CREATE INDEX changes_by_target ON events (target_id) WHERE target_id IS NOT NULL;
    CREATE UNIQUE INDEX events_by_send ON events (chat, author_id, client_id) WHERE client_id <> '';
    CREATE TABLE state ( -- the changes that are current, by their keys
        target_id INTEGER NOT NULL, -- rising, so that the changes of recent messages of all chats share the last pages
        chat INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        key TEXT NOT NULL,
        event_id INTEGER NOT NULL,
        event BLOB NOT NULL,
        PRIMARY KEY (target_id, chat, kind, key)
    ) WITHOUT ROWID;
    ALTER TABLE receipts RENAME TO marks
"""

_FEED = """
    CREATE TABLE late ( -- the late events, by the time at which the log stored them
        chat INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        event_id INTEGER NOT NULL,
        PRIMARY KEY (chat, at_ms, event_id)
    ) WITHOUT ROWID;
    ALTER TABLE chats_by_user ADD COLUMN changed_ms INTEGER NOT NULL DEFAULT 0; -- by the user's private changes
    CREATE TABLE watermarks (partition INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL);
    ALTER TABLE state ADD COLUMN is_listed INTEGER; -- NULL for false, so that the index has no rows for other changes
    CREATE INDEX listed_by_chat ON state (chat, kind, key, target_id) WHERE is_listed IS NOT NULL;
    ALTER TABLE events ADD COLUMN kind INTEGER; -- NULL in a message, and in a change whose kind is not known
    DROP INDEX changes_by_target
"""
_INDEX_KINDS = "CREATE INDEX changes_by_target ON events (target_id, kind) WHERE target_id IS NOT NULL"

_GROUPS = """
    ALTER TABLE chats ADD COLUMN version INTEGER NOT NULL DEFAULT 0; -- up to which every control change is recorded
    ALTER TABLE chats ADD COLUMN member_count INTEGER NOT NULL DEFAULT 0; -- of a group
    ALTER TABLE chats_by_user ADD COLUMN until_ms INTEGER; -- when the last span of a former member ended, else NULL
    CREATE TABLE controls ( -- of groups: the first recorded control change of each version
        chat INTEGER NOT NULL,
        version INTEGER NOT NULL,
        event_id INTEGER NOT NULL,
        settings BLOB, -- NULL if they did not change
        PRIMARY KEY (chat, version)
    ) WITHOUT ROWID;
    CREATE INDEX settings_by_chat ON controls (chat, version) WHERE settings IS NOT NULL;
    CREATE TABLE members ( -- present and former members of groups
        chat INTEGER NOT NULL,
        user_id INTEGER NOT NULL,
        version INTEGER NOT NULL, -- of the control change that changed the member last
        role INTEGER NOT NULL, -- 0 of a former member
        member BLOB NOT NULL,
        PRIMARY KEY (chat, user_id)
    ) WITHOUT ROWID
"""

_MENTIONS = """
    CREATE TABLE mentions ( -- the messages that have ever mentioned a user, in their text or in an edit
        user_id INTEGER NOT NULL, -- 0 for all members
        chat INTEGER NOT NULL,
        message_id INTEGER NOT NULL,
        event_id INTEGER NOT NULL, -- of the message or of the newest edit that does: it counts if no edit is newer
        PRIMARY KEY (user_id, chat, message_id)
    ) WITHOUT ROWID
"""

_JOINING = """
    CREATE TABLE invites ( -- the invite links of groups
        chat INTEGER NOT NULL,
        invite_id INTEGER NOT NULL,
        version INTEGER NOT NULL, -- of the control change that changed the link last
        invite BLOB NOT NULL,
        PRIMARY KEY (chat, invite_id)
    ) WITHOUT ROWID;
    CREATE TABLE public_chats ( -- the public groups that have members
        chat INTEGER PRIMARY KEY,
        chat_id TEXT NOT NULL,
        name TEXT NOT NULL, -- case-folded
        searched TEXT NOT NULL -- see shared.accounts.names
    );
    CREATE INDEX public_chats_by_name ON public_chats (name, chat_id)
"""

_CHANNELS = """
    ALTER TABLE controls ADD COLUMN member_count INTEGER NOT NULL DEFAULT 0; -- 0 if a former release made the change
    ALTER TABLE members ADD COLUMN asks INTEGER; -- to join, NULL for false: the index has no rows for others
    CREATE INDEX asking_by_chat ON members (chat) WHERE asks IS NOT NULL
"""

_FILES = """
    CREATE TABLE files (
        file_id INTEGER PRIMARY KEY,
        owner_id INTEGER NOT NULL,
        client_file_id TEXT, -- NULL of a file that is, or was, condemned
        state INTEGER NOT NULL,
        size INTEGER NOT NULL,
        changed_ms INTEGER NOT NULL, -- when it was reserved, completed or blocked
        condemned_ms INTEGER, -- NULL if it is not condemned
        file BLOB NOT NULL
    );
    CREATE UNIQUE INDEX files_by_client_id ON files (owner_id, client_file_id);
    CREATE INDEX files_by_owner ON files (owner_id, condemned_ms, state, size);
    CREATE TABLE file_uses ( -- the files of messages that are not deleted, and messages with links
        file_id INTEGER NOT NULL, -- 0 for links
        message_id INTEGER NOT NULL,
        chat INTEGER NOT NULL,
        file_class INTEGER NOT NULL, -- a FileClass
        PRIMARY KEY (file_id, message_id)
    ) WITHOUT ROWID;
    CREATE INDEX messages_with_files ON file_uses (chat, file_class, message_id)
"""

# A row that is not listed has the time of changes that were recorded before the chat was in the user's list.
_LISTED = "ALTER TABLE chats_by_user ADD COLUMN is_listed INTEGER NOT NULL DEFAULT 1"

# So that a count of messages tells control changes apart.
_INDEX_CONTROLS = "CREATE INDEX controls_by_event ON controls (event_id)"

# It has rows only after a release was replaced by a former one.
_INDEX_UNKNOWN = "CREATE INDEX unknown_changes ON events (event_id) WHERE target_id IS NOT NULL AND kind IS NULL"

# Of a group: the newest message that is no control change; 0 if there is none.
_NEWEST_SENT = """
    ALTER TABLE chats ADD COLUMN newest_sent_id INTEGER NOT NULL DEFAULT 0;
    UPDATE chats SET newest_sent_id = ifnull((
        SELECT event_id FROM events WHERE events.chat = chats.chat AND target_id IS NULL AND author_id <> 0
        AND NOT EXISTS (SELECT 1 FROM controls WHERE controls.event_id = events.event_id)
        ORDER BY event_id DESC LIMIT 1
    ), 0) WHERE chat_id LIKE 'g-%'
"""


def _convert_reactions(connection: sqlite3.Connection) -> None:
    """Make changes of the reactions."""
    rows = connection.execute(
        "SELECT chat, chat_id, message_id, emoji, user_id, event_id FROM reactions JOIN chats USING (chat)"
    )
    kind = KINDS["reacted"]
    for chat, chat_id, message_id, emoji, user_id, event_id in rows:
        reacted = Reacted(emoji=emoji, set=True)
        change = Change(chat_id=chat_id, target_id=message_id, actor_id=user_id, reacted=reacted)
        content = Event(event_id=event_id, change=change).SerializeToString()
        event = event_id, chat, user_id, "", content, message_id
        connection.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?)", event)
        current = message_id, chat, kind.number, key_text(kind, change), event_id, content
        connection.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?, ?)", current)


def _fill_kinds(connection: sqlite3.Connection) -> None:
    """Set the kinds of the changes that have content."""

    def number(content: bytes) -> int | None:
        kind = kind_of(Event.FromString(content).change)
        return kind.number if kind else None

    connection.create_function("kind_of", 1, number)
    connection.execute("UPDATE events SET kind = kind_of(content) WHERE target_id IS NOT NULL")


def _fill_asking(connection: sqlite3.Connection) -> None:
    """Note which users ask to join."""
    connection.create_function("asks", 1, lambda content: bool(Member.FromString(content).asked_at_ms) or None)
    connection.execute("UPDATE members SET asks = asks(member) WHERE role = 0")


MIGRATIONS = (
    *(_CHATS, _CHANGES, _convert_reactions, "DROP TABLE reactions", _FEED, _fill_kinds, _INDEX_KINDS, _GROUPS),
    *(_MENTIONS, _JOINING, _CHANNELS, _fill_asking, _FILES, _LISTED, _INDEX_CONTROLS, _INDEX_UNKNOWN, _NEWEST_SENT),
)

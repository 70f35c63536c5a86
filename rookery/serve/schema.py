"""The schema of the Cassandra keyspace: the migrations of every store, in the order in which they are applied."""

from collections.abc import Mapping

from messaging.archive.store.cassandra.former_rows import convert_rows
from messaging.archive.store.cassandra.schema import (
    CHANGES_SCHEMA,
    CHANNELS_SCHEMA,
    CHAT_INDEXES_SCHEMA,
    CHATS_SCHEMA,
    CONTROLS_SCHEMA,
    FEED_SCHEMA,
    FILES_SCHEMA,
    GROUPS_SCHEMA,
    JOINING_SCHEMA,
    MENTIONS_SCHEMA,
    NEWEST_SENT_SCHEMA,
    UNKNOWN_CHANGES_SCHEMA,
)
from shared.accounts.cassandra.schema import (
    ACCOUNT_INDEXES_SCHEMA,
    ACCOUNT_LIST_SCHEMA,
    ACCOUNTS_SCHEMA,
    ADMIN_SCHEMA,
    AVATARS_SCHEMA,
    LAST_SEEN_SCHEMA,
    LINKS_SCHEMA,
    OPENINGS_SCHEMA,
    PEOPLE_SCHEMA,
    PRESENCE_SCHEMA,
    READ_MARKS_SCHEMA,
)
from shared.accounts.cassandra.search import index_all
from shared.accounts.cassandra.store import list_all
from shared.drivers.cassandra.migrations import Fill, Progress
from shared.drivers.cassandra.schema import Migration
from shared.drivers.cassandra.session import CassandraSession

MIGRATIONS = (
    Migration(1, "chats", CHATS_SCHEMA),
    Migration(2, "accounts", ACCOUNTS_SCHEMA),
    Migration(3, "admin", ADMIN_SCHEMA),
    Migration(4, "words of names", ()),
    Migration(5, "links", LINKS_SCHEMA),
    Migration(6, "last seen", LAST_SEEN_SCHEMA),
    Migration(7, "changes", CHANGES_SCHEMA),
    Migration(8, "feed", FEED_SCHEMA),
    Migration(9, "groups", GROUPS_SCHEMA),
    Migration(10, "mentions", MENTIONS_SCHEMA),
    Migration(11, "people", PEOPLE_SCHEMA),
    Migration(12, "presence", PRESENCE_SCHEMA),
    Migration(13, "joining", JOINING_SCHEMA),
    Migration(14, "read marks", READ_MARKS_SCHEMA),
    Migration(15, "channels", CHANNELS_SCHEMA),
    Migration(16, "files", FILES_SCHEMA),
    Migration(17, "avatars", AVATARS_SCHEMA),
    Migration(18, "account list", ACCOUNT_LIST_SCHEMA),
    Migration(19, "report openings", OPENINGS_SCHEMA),
    Migration(20, "controls", CONTROLS_SCHEMA),
    Migration(21, "unknown changes", UNKNOWN_CHANGES_SCHEMA),
    Migration(22, "newest sent", NEWEST_SENT_SCHEMA),
    Migration(23, "tombstones", (*ACCOUNT_INDEXES_SCHEMA, *CHAT_INDEXES_SCHEMA)),
)


async def _convert(session: CassandraSession, progress: Progress) -> None:
    """Convert the rows of former releases, which may write such rows until this has run again after their end."""
    await list_all(session, progress)
    await convert_rows(session, progress)


FILLS: Mapping[int, Fill] = {4: index_all, len(MIGRATIONS): _convert}
"""Rows that a migration adds: 4 adds the beginnings of words to the index of names. The last one lists the accounts by
month, makes changes of reactions, adds the kinds of changes, adds the users who ask to join to the heads of groups, and
marks the rows of control changes."""

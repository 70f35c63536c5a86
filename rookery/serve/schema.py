"""The schema of the Cassandra keyspace: the migrations of every store, in the order in which they are applied."""

from messaging.archive.store.cassandra.schema import CHATS_SCHEMA
from shared.accounts.cassandra.schema import ACCOUNTS_SCHEMA, ADMIN_SCHEMA, LINKS_SCHEMA
from shared.drivers.cassandra.schema import Migration

MIGRATIONS = (
    Migration(1, "chats", CHATS_SCHEMA),
    Migration(2, "accounts", ACCOUNTS_SCHEMA),
    Migration(3, "admin", ADMIN_SCHEMA),
    Migration(4, "links", LINKS_SCHEMA),
)

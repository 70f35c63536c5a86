"""The tables of accounts on Cassandra, with the reason for each key."""

from datetime import UTC, datetime

ACCOUNTS_SCHEMA: tuple[str, ...] = (
    # Written by lightweight transactions only: mixed with plain writes, differing clocks would decide which one wins.
    """
    CREATE TABLE IF NOT EXISTS users (
        user_id bigint PRIMARY KEY,
        name text,
        display_name text,
        about text,
        version int,
        created_at_ms bigint,
        password_hash text
    )
    """,
    # `name` has its letters of ASCII in lower case. The columns after `user_id` are set only until the row in `users`
    # has been made from them.
    """
    CREATE TABLE IF NOT EXISTS user_by_name (
        name text PRIMARY KEY,
        user_id bigint,
        written_name text,
        display_name text,
        about text,
        version int,
        created_at_ms bigint,
        password_hash text
    )
    """,
    # A row for each trigram of the searched text of the two names, both case-folded. The largest partitions, of the
    # first letters of words, have some 20 MB for a million accounts. The display name is in the key, so that the rows
    # of a new display name exist beside the rows of the old one until the old rows are removed.
    """
    CREATE TABLE IF NOT EXISTS names_by_trigram (
        trigram text,
        name text,
        display_name text,
        user_id bigint,
        PRIMARY KEY (trigram, name, display_name)
    )
    """,
    # A sign-in with its current refresh token. Written by lightweight transactions only.
    """
    CREATE TABLE IF NOT EXISTS families (
        family_id text PRIMARY KEY,
        user_id bigint,
        device_name text,
        created_at_ms bigint,
        current_digest blob,
        expires_at_ms bigint
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS families_by_user (
        user_id bigint,
        family_id text,
        PRIMARY KEY (user_id, family_id)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS refresh_tokens (
        digest blob PRIMARY KEY,
        family_id text
    )
    """,
    # One partition, as there are a few keys: a transaction tests its static column for whether there is any key.
    """
    CREATE TABLE IF NOT EXISTS signing_keys (
        all_keys int,
        key_id text,
        jwk text,
        created_at_ms bigint,
        has_any boolean static,
        PRIMARY KEY (all_keys, key_id)
    )
    """,
)

ADMIN_SCHEMA: tuple[str, ...] = (
    # Null means no. Written by lightweight transactions only, so that no user is ever both an admin and suspended.
    """
    CREATE TABLE IF NOT EXISTS standings (
        user_id bigint PRIMARY KEY,
        is_admin boolean,
        suspended_at_ms bigint,
        suspended_reason text
    )
    """,
    # A partition holds the acts of a month (of UTC, counted from the year 0): thousands of rows at most.
    """
    CREATE TABLE IF NOT EXISTS audit_by_month (
        month int,
        entry_id text,
        at_ms bigint,
        actor_id bigint,
        actor_name text,
        address text,
        act text,
        target text,
        detail text,
        PRIMARY KEY (month, entry_id)
    ) WITH CLUSTERING ORDER BY (entry_id DESC)
    """,
    # The months with entries: twelve rows a year, in one partition.
    """
    CREATE TABLE IF NOT EXISTS audit_months (
        all_months int,
        month int,
        PRIMARY KEY (all_months, month)
    ) WITH CLUSTERING ORDER BY (month DESC)
    """,
)

LINKS_SCHEMA: tuple[str, ...] = (
    # One partition, as there are a hundred invites at most. Written by lightweight transactions only.
    """
    CREATE TABLE IF NOT EXISTS invites (
        all_invites int,
        invite_id text,
        created_by text,
        created_at_ms bigint,
        expires_at_ms bigint,
        uses int,
        uses_left int,
        digest blob,
        PRIMARY KEY (all_invites, invite_id)
    )
    """,
    # Written by lightweight transactions only.
    """
    CREATE TABLE IF NOT EXISTS password_resets (
        user_id bigint PRIMARY KEY,
        digest blob,
        expires_at_ms bigint
    )
    """,
    # Null means no. Cassandra knows IF NOT EXISTS for columns since 4.1.
    "ALTER TABLE users ADD IF NOT EXISTS is_deleted boolean",
)

# Null means never refreshed.
LAST_SEEN_SCHEMA: tuple[str, ...] = ("ALTER TABLE families ADD IF NOT EXISTS refreshed_at_ms bigint",)

PEOPLE_SCHEMA: tuple[str, ...] = (
    # The relationship of two users: null or 0 means no. `low_id` is the lower of their ids. Written by lightweight
    # transactions only, so that both have the same connection.
    """
    CREATE TABLE IF NOT EXISTS relationships (
        low_id bigint,
        high_id bigint,
        low_wants_ms bigint,
        high_wants_ms bigint,
        low_blocks_ms bigint,
        high_blocks_ms bigint,
        version bigint,
        PRIMARY KEY ((low_id, high_id))
    )
    """,
    # A partition holds up to 2,000 users in lists of a user. A row may be left of a relationship that has ended. The
    # timestamp of a write is the version of the relationship, since writes of two processes may cross.
    """
    CREATE TABLE IF NOT EXISTS relationships_by_user (
        user_id bigint,
        other_id bigint,
        PRIMARY KEY (user_id, other_id)
    )
    """,
    # Written by lightweight transactions only, so that a report is closed once.
    """
    CREATE TABLE IF NOT EXISTS reports (
        report_id bigint PRIMARY KEY,
        reporter_id bigint,
        user_id bigint,
        chat_id text,
        messages text,
        reason text,
        resolution text,
        note text,
        closed_by bigint,
        closed_at_ms bigint
    )
    """,
    # One partition each: a million closed reports have some 40 MB. A row may be left of a report in the other state.
    """
    CREATE TABLE IF NOT EXISTS open_reports (
        all_reports int,
        report_id bigint,
        PRIMARY KEY (all_reports, report_id)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS closed_reports (
        all_reports int,
        report_id bigint,
        PRIMARY KEY (all_reports, report_id)
    ) WITH CLUSTERING ORDER BY (report_id DESC)
    """,
    # Null means `everyone`, and true.
    "ALTER TABLE users ADD IF NOT EXISTS who_may_start text",
    "ALTER TABLE users ADD IF NOT EXISTS shows_presence boolean",
)

PRESENCE_SCHEMA: tuple[str, ...] = (
    # When the last session of a user ended. The timestamp of a write is that time; of the deletion of an account, one
    # above all times, so that no later write counts. It is not in `users`, which has lightweight transactions only.
    """
    CREATE TABLE IF NOT EXISTS last_seen (
        user_id bigint PRIMARY KEY,
        at_ms bigint
    )
    """,
)

READ_MARKS_SCHEMA: tuple[str, ...] = (
    # Null means true.
    "ALTER TABLE users ADD IF NOT EXISTS shows_read_marks boolean",
)

AVATARS_SCHEMA: tuple[str, ...] = (
    # Null means none.
    "ALTER TABLE users ADD IF NOT EXISTS avatar text",
)

ACCOUNT_LIST_SCHEMA: tuple[str, ...] = (
    # A partition holds the accounts that were created in a month, by their ids: a million have some 30 MB.
    """
    CREATE TABLE IF NOT EXISTS users_by_month (
        month int,
        user_id bigint,
        PRIMARY KEY (month, user_id)
    ) WITH CLUSTERING ORDER BY (user_id DESC)
    """,
    # The months with accounts, as `audit_months`.
    """
    CREATE TABLE IF NOT EXISTS user_months (
        all_months int,
        month int,
        PRIMARY KEY (all_months, month)
    ) WITH CLUSTERING ORDER BY (month DESC)
    """,
)

OPENINGS_SCHEMA: tuple[str, ...] = (
    # A partition holds the openings of a report: of at most 200 files, by each admin.
    """
    CREATE TABLE IF NOT EXISTS report_openings (
        report_id bigint,
        file_id bigint,
        admin_id bigint,
        PRIMARY KEY (report_id, file_id, admin_id)
    )
    """,
)

# A removed row leaves a tombstone for `gc_grace_seconds`, and a read fails that passes 100,000 of them. The default, 10
# days, is for repairs: a removed row reappears if a node missed its removal, and no repair came before the tombstone
# was dropped. In these tables that does no harm, since each reader checks the rows against their source: sign-ins,
# accounts, relationships. A day is longer than nodes keep hints, 3 hours.
ACCOUNT_INDEXES_SCHEMA: tuple[str, ...] = (
    "ALTER TABLE families_by_user WITH gc_grace_seconds = 86400",
    "ALTER TABLE names_by_trigram WITH gc_grace_seconds = 86400",
    "ALTER TABLE relationships_by_user WITH gc_grace_seconds = 86400",
)


def month_at(at_ms: int) -> int:
    """The month of a time (milliseconds since 1970), of UTC and counted from the year 0: a partition of a list."""
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return at.year * 12 + at.month - 1

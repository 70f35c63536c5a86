"""The tables of accounts on Cassandra, and why each has the key it has."""

ACCOUNTS_SCHEMA: tuple[str, ...] = (
    # Only lightweight transactions write here: mixed with plain writes, clocks that differ would decide who wins.
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
    # `name` is case-folded. What stands behind `user_id` is there only until the row in `users` has been made of it.
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
    # A row for each three characters in a row of the two names, both case-folded. The display name is in the key, so
    # that the rows of a new one stand beside those of the old one until these are removed.
    """
    CREATE TABLE IF NOT EXISTS names_by_trigram (
        trigram text,
        name text,
        display_name text,
        user_id bigint,
        PRIMARY KEY (trigram, name, display_name)
    )
    """,
    # A sign-in, and which of its refresh tokens is the current one. Only lightweight transactions write here.
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
    # One partition, as there are a few keys: its static column lets a transaction ask whether there is any.
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
    # What is left at null is not so. Only lightweight transactions write here, so that nobody is ever both an admin and
    # suspended. A table of its own: columns can't be added to one such that doing it again does no harm.
    """
    CREATE TABLE IF NOT EXISTS standings (
        user_id bigint PRIMARY KEY,
        is_admin boolean,
        suspended_at_ms bigint,
        suspended_reason text
    )
    """,
    # A month (of UTC, counted from the year 0) holds what its admins did: thousands of rows at most.
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
    # Which months hold anything: twelve rows a year, in one partition.
    """
    CREATE TABLE IF NOT EXISTS audit_months (
        all_months int,
        month int,
        PRIMARY KEY (all_months, month)
    ) WITH CLUSTERING ORDER BY (month DESC)
    """,
)

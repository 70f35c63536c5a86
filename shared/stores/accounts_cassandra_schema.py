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

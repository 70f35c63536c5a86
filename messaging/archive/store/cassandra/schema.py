"""The tables of the chat store on Cassandra.

A snowflake is the timestamp of nearly every write (`USING TIMESTAMP`): of two writes, the write of the newer event
wins in any order of arrival, so events can be recorded again in any order. Where the write of the older event has to
win, the timestamp is MAX_ID less the snowflake. The timestamp of a group's cells is the version of the control change
that sets them. Consequence: to delete a row by hand, give the DELETE the timestamp of the row (a lower one changes
nothing, and a higher one removes later writes too); and leave the node's guardrails `minimum_timestamp` and
`maximum_timestamp` off.
"""

BUCKET_BITS = 52
"""A bucket is an id without its lowest 52 bits: a span of 2^30 ms, 12.4 days, so there are 2,048 until the ids end.
At 300 bytes per message, ten messages a minute without a pause make a partition of 54 MB, below the 100 MB that
Cassandra handles well; in a chat with a few messages a day one bucket fills a page."""

CHATS_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS messages_by_chat (
        chat_id text, bucket int, message_id bigint, sender_id bigint, message blob,
        PRIMARY KEY ((chat_id, bucket), message_id)
    ) WITH CLUSTERING ORDER BY (message_id DESC)
    """,
    # The first message of each send, written atomically with that message: both have the same partition key.
    """
    CREATE TABLE IF NOT EXISTS sends_by_chat (
        chat_id text, bucket int, sender_id bigint, client_message_id text, message_id bigint,
        PRIMARY KEY ((chat_id, bucket), sender_id, client_message_id)
    )
    """,
    # first_id is the event since which the reaction is set.
    """
    CREATE TABLE IF NOT EXISTS reactions_by_chat (
        chat_id text, bucket int, message_id bigint, emoji text, user_id bigint, first_id bigint,
        PRIMARY KEY ((chat_id, bucket), message_id, emoji, user_id)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS buckets_by_chat (
        chat_id text, bucket int,
        PRIMARY KEY (chat_id, bucket)
    ) WITH CLUSTERING ORDER BY (bucket DESC)
    """,
    # changed_id is the newest event of the chat. A chat is listed once it has a newest message. A row has the marks of
    # both members, by user, so that a page of the list costs one read. Rows are overwritten often: levelled compaction
    # keeps a user's list in few files.
    """
    CREATE TABLE IF NOT EXISTS chats_by_user (
        user_id bigint, chat_id text, changed_id bigint, newest_id bigint, newest blob,
        delivered map<bigint, bigint>, read map<bigint, bigint>,
        PRIMARY KEY (user_id, chat_id)
    ) WITH compaction = {'class': 'LeveledCompactionStrategy'}
    """,
)

CHANGES_SCHEMA = (
    # The row of a message has its client id beside the message, so that it stays when a deletion empties the message.
    "ALTER TABLE messages_by_chat ADD IF NOT EXISTS client_message_id text",
    # The log of changes. The event is here if no deletion may remove it; else it is in changes_by_target.
    """
    CREATE TABLE IF NOT EXISTS changes_by_chat (
        chat_id text, bucket int, event_id bigint, target_id bigint, event blob,
        PRIMARY KEY ((chat_id, bucket), event_id)
    )
    """,
    # Of one target, so that a deletion removes all of them by one range, whether they are recorded before or after it.
    """
    CREATE TABLE IF NOT EXISTS changes_by_target (
        chat_id text, bucket int, target_id bigint, event_id bigint, event blob,
        PRIMARY KEY ((chat_id, bucket), target_id, event_id)
    )
    """,
    # The changes of messages that are current, by their keys. The bucket is that of the target.
    """
    CREATE TABLE IF NOT EXISTS state_by_chat (
        chat_id text, bucket int, target_id bigint, kind int, key text, event_id bigint, event blob,
        PRIMARY KEY ((chat_id, bucket), target_id, kind, key)
    )
    """,
)

FEED_SCHEMA = (
    # The number of the kind, so that the changes of one kind are found.
    "ALTER TABLE changes_by_target ADD IF NOT EXISTS kind int",
    # The state of the chat itself, by kind and key; private changes are in the row of their actor only.
    "ALTER TABLE chats_by_user ADD IF NOT EXISTS changes map<text, blob>",
    # Late events, by the first id of the time at which the log stored them, less MAX_AGE_MS. The bucket is that of this
    # id. Changes are as in changes_by_chat; a message has the target_id -1 and is in messages_by_chat.
    """
    CREATE TABLE IF NOT EXISTS late_by_chat (
        chat_id text, bucket int, late_id bigint, event_id bigint, target_id bigint, event blob,
        PRIMARY KEY ((chat_id, bucket), late_id, event_id)
    )
    """,
    # The messages with a change of a kind that `is_listed`, and whether it is set. A deletion changes no row here: a
    # message is listed only if state_by_chat has the change too.
    """
    CREATE TABLE IF NOT EXISTS listed_by_chat (
        chat_id text, kind int, key text, target_id bigint, is_set boolean,
        PRIMARY KEY ((chat_id, kind, key), target_id)
    ) WITH CLUSTERING ORDER BY (target_id DESC)
    """,
    # The watermark is the timestamp of its row too, so that the highest stays. `id` is 0: all rows are read together.
    """
    CREATE TABLE IF NOT EXISTS watermarks (
        id int, log_partition int, at_ms bigint,
        PRIMARY KEY (id, log_partition)
    )
    """,
)

GROUPS_SCHEMA = (
    # A group as a whole. changed_id is the newest event of the chat, private_id the newest change that only its actor
    # receives. The version, the number of members and the settings are those after the newest control change; a group
    # without a version is not listed. `changes` is the state of the chat itself, without private changes.
    """
    CREATE TABLE IF NOT EXISTS chat_heads (
        chat_id text PRIMARY KEY, changed_id bigint, private_id bigint, newest_id bigint,
        version bigint, member_count int, settings blob, changes map<text, blob>
    ) WITH compaction = {'class': 'LeveledCompactionStrategy'}
    """,
    # Present and former members, each as after the control change with the version. The shard is 0: a channel has
    # few enough members for one partition, of 10 MB.
    """
    CREATE TABLE IF NOT EXISTS members_by_chat (
        chat_id text, shard int, user_id bigint, version bigint, role int, member blob,
        PRIMARY KEY ((chat_id, shard), user_id)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS marks_by_chat (
        chat_id text, shard int, user_id bigint, delivered bigint, read bigint,
        PRIMARY KEY ((chat_id, shard), user_id)
    ) WITH compaction = {'class': 'LeveledCompactionStrategy'}
    """,
    # The groups of a user, with the user's own marks and private changes; changed_id is the newest event that counts
    # for this user only. ended_id is the event by which the user left, 0 while they are a member, and null if they
    # never were one. Messages write no row here.
    """
    CREATE TABLE IF NOT EXISTS memberships_by_user (
        user_id bigint, chat_id text, ended_id bigint, member blob,
        changed_id bigint, delivered bigint, read bigint, changes map<text, blob>,
        PRIMARY KEY (user_id, chat_id)
    ) WITH compaction = {'class': 'LeveledCompactionStrategy'}
    """,
    # The control changes of a group. Of two with one version, the first recorded one stays.
    """
    CREATE TABLE IF NOT EXISTS versions_by_chat (
        chat_id text, version bigint, event_id bigint,
        PRIMARY KEY (chat_id, version)
    )
    """,
    # The settings of a group after each control change that has changed them: former members see old ones.
    """
    CREATE TABLE IF NOT EXISTS settings_by_chat (
        chat_id text, version bigint, settings blob,
        PRIMARY KEY (chat_id, version)
    ) WITH CLUSTERING ORDER BY (version DESC)
    """,
)

MENTIONS_SCHEMA = (
    # The messages that have ever mentioned a user, 0 for all members; event_id is the message, or the newest edit, that
    # does.
    """
    CREATE TABLE IF NOT EXISTS mentions_by_user (
        user_id bigint, chat_id text, message_id bigint, event_id bigint,
        PRIMARY KEY ((user_id, chat_id), message_id)
    ) WITH CLUSTERING ORDER BY (message_id DESC)
    """,
)

JOINING_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS invites_by_chat (
        chat_id text, invite_id bigint, invite blob,
        PRIMARY KEY (chat_id, invite_id)
    )
    """,
    # A row for each trigram of the searched text of the name of a public group, which is case-folded, and one with "-"
    # in place of the trigram.
    """
    CREATE TABLE IF NOT EXISTS public_chats_by_trigram (
        trigram text, name text, chat_id text,
        PRIMARY KEY (trigram, name, chat_id)
    )
    """,
)

CHANNELS_SCHEMA = (
    # After the control change; 0 or null in one that a former release made.
    "ALTER TABLE versions_by_chat ADD IF NOT EXISTS member_count int",
    # The users with a request to join, and perhaps users whose request has ended: members_by_chat decides.
    "ALTER TABLE chat_heads ADD IF NOT EXISTS asking set<bigint>",
)

FILES_SCHEMA = (
    # changed_ms is when the file was reserved, completed or blocked; condemned_ms is null if it is not condemned.
    """
    CREATE TABLE IF NOT EXISTS files (
        file_id bigint PRIMARY KEY, owner_id bigint, client_file_id text, state int, changed_ms bigint,
        condemned_ms bigint, file blob
    )
    """,
    # Without the condemned ones; is_uploading is null of a file that is complete or blocked.
    """
    CREATE TABLE IF NOT EXISTS files_by_owner (
        owner_id bigint, client_file_id text, file_id bigint, size bigint, is_uploading boolean,
        PRIMARY KEY (owner_id, client_file_id)
    )
    """,
    # The messages that have ever had a file. A deletion changes no row here: a message uses the file only if it has it.
    """
    CREATE TABLE IF NOT EXISTS uses_by_file (
        file_id bigint, chat_id text, message_id bigint,
        PRIMARY KEY (file_id, chat_id, message_id)
    )
    """,
    # The messages that have ever had a file of the class, or a link, as above.
    """
    CREATE TABLE IF NOT EXISTS files_by_chat (
        chat_id text, file_class int, message_id bigint,
        PRIMARY KEY ((chat_id, file_class), message_id)
    ) WITH CLUSTERING ORDER BY (message_id DESC)
    """,
)

# True in the row of a control change, null in every other one: a count of messages tells them apart.
CONTROLS_SCHEMA = ("ALTER TABLE messages_by_chat ADD IF NOT EXISTS is_control boolean",)

UNKNOWN_CHANGES_SCHEMA = (
    # The changes whose kind the recording release did not know: it has rows only after a release was replaced by a
    # former one.
    """
    CREATE TABLE IF NOT EXISTS unknown_changes (
        chat_id text, event_id bigint, target_id bigint,
        PRIMARY KEY (chat_id, event_id)
    )
    """,
)

# The newest message that is no control change; null if none was recorded since this column exists.
NEWEST_SENT_SCHEMA = ("ALTER TABLE chat_heads ADD IF NOT EXISTS newest_sent_id bigint",)

# As ACCOUNT_INDEXES_SCHEMA. A search checks public_chats_by_trigram against the heads. A head loses nothing but ids
# of its set of join requests, and members_by_chat decides whether a request is open. Not files_by_owner: a row that
# reappears would count towards the quota of its owner.
CHAT_INDEXES_SCHEMA = (
    "ALTER TABLE public_chats_by_trigram WITH gc_grace_seconds = 86400",
    "ALTER TABLE chat_heads WITH gc_grace_seconds = 86400",
)

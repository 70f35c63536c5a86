"""Every metric of Rookery. `document.py` writes the table in docs/metrics.md from it.

Labels have few values: codes, roles, routes, names of operations; never text or ids of users.
"""

from typing import Final

from shared.contract.errors import Code
from shared.telemetry.metrics.instruments import Counter, Gauge, Histogram, Instrument

FAST: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds. A write to a local disk takes a millisecond; after 5 s it is refused."""

SLOW: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds, for operations that may wait for others; after 10 s callers have timed out."""

LOOP: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds. An idle event loop is late by a millisecond at most."""

TRANSPORTS: Final = ("websocket", "grpc")

SESSION_ENDS: Final = ("left", "moved", "reconnect", *Code)
"""Why a session ended: `left`, its client closed it or was lost; `moved`, it was sent to its user's gateway;
`reconnect`, the gateway stops or has lost the partition; or the code of its Goodbye."""

SIGN_IN_RESULTS: Final = ("ok", "wrong_password", "throttled", "suspended", "unavailable")

REFRESH_RESULTS: Final = ("ok", "ended", "suspended", "unavailable")

REGISTRATION_RESULTS: Final = ("ok", "name_taken", "invite_required", "throttled", "unavailable")

PASSWORD_RESET_RESULTS: Final = ("ok", "wrong_link", "throttled", "unavailable")

REPORT_RESULTS: Final = ("ok", "throttled", "invalid", "not_found", "unavailable")

PICTURE_RESULTS: Final = ("rendered", "refused", "unavailable")

GROUP_CHANGES: Final = (
    *("create", "add_members", "remove_member", "change_member", "change_settings"),
    *("join", "decline_user", "create_invite", "revoke_invite"),
)
"""The fields of `ChangeGroupRequest.change`."""

# ---- sessions

SESSIONS = Gauge(
    "rookery_sessions",
    "Open sessions, including sessions that have not authenticated yet",
    labels=("transport",),
    roles=["gateway"],
)
SESSION_USERS = Gauge("rookery_session_users", "Users with a session on this gateway", roles=["gateway"])
SESSIONS_OPENED = Counter(
    "rookery_sessions_opened_total",
    "Sessions that began",
    labels=("transport",),
    roles=["gateway"],
    known=TRANSPORTS,
)
SESSIONS_ENDED = Counter(
    "rookery_sessions_ended_total",
    "Sessions that ended: the client `left`, was `moved` to another gateway or had to `reconnect`, or the code of its "
    "Goodbye",
    labels=("reason",),
    roles=["gateway"],
    known=SESSION_ENDS,
)
SESSION_FRAMES = Counter(
    "rookery_session_frames_total",
    "Frames received from clients (`in`) and written to their sockets (`out`)",
    labels=("direction",),
    roles=["gateway"],
    known=("in", "out"),
)
SESSION_QUEUE_FRAMES = Gauge(
    "rookery_session_queue_frames", "Frames queued for clients, over all sessions", roles=["gateway"]
)
SESSION_QUEUE_BYTES = Gauge(
    "rookery_session_queue_bytes",
    "Approximate size of the queued events, over all sessions",
    unit="bytes",
    roles=["gateway"],
)
SESSION_DROPPED = Counter(
    "rookery_session_dropped_events_total",
    "Events dropped because the queue of their session was full: the client gets a Gap instead",
    roles=["gateway"],
)
WEBSOCKET_HANDSHAKES = Gauge(
    "rookery_websocket_handshakes", "WebSocket connections whose handshake has not completed", roles=["gateway"]
)

# ---- messages

ACCEPT = Histogram(
    "rookery_accept_seconds",
    "From the receipt of a message's frame to the queueing of its Accepted; the count is that of accepted messages",
    bounds=FAST,
    roles=["gateway"],
)
DELIVERY = Histogram(
    "rookery_delivery_seconds",
    "From a message's time in the log to the write of its frame to a recipient's socket; without replays",
    bounds=SLOW,
    roles=["gateway"],
)
GROUP_CHANGE = Histogram(
    "rookery_group_change_seconds",
    "From the receipt of a request to change a group to its response; the count is that of accepted requests",
    bounds=SLOW,
    labels=("kind",),
    roles=["gateway"],
    known=GROUP_CHANGES,
)
REFUSALS = Counter(
    "rookery_refusals_total",
    "Frames of clients that were refused without ending the session",
    labels=("code",),
    roles=["gateway"],
    known=tuple(Code),
)

LINK_PREVIEWS = Counter(
    "rookery_link_previews_total",
    "Links of accepted messages, by result: `made`, `none`, or `dropped` (the queue or the user's limit was full)",
    labels=("result",),
    roles=["gateway"],
    known=("made", "none", "dropped"),
)

# ---- the log

PARTITIONS = Gauge("rookery_partitions", "Partitions of the log", roles=["gateway"])
PARTITIONS_OWNED = Gauge("rookery_partitions_owned", "Partitions whose users this gateway serves", roles=["gateway"])
PARTITIONS_REBUILDING = Gauge(
    "rookery_partitions_rebuilding",
    "Partitions assigned to this gateway that it does not serve yet: it can't look them up yet, reads their tails "
    "or waits for its fence",
    roles=["gateway"],
)
REBUILDS = Counter(
    "rookery_rebuilds_total", "Tails read completely, after which the gateway owns the partition", roles=["gateway"]
)
TAIL_EVENTS = Gauge("rookery_tail_events", "Events in the tails of the partitions", roles=["gateway"])
TAIL_BYTES = Gauge("rookery_tail_bytes", "Approximate memory of the tails", unit="bytes", roles=["gateway"])
ROSTER_BYTES = Gauge(
    "rookery_roster_bytes", "Approximate memory of the cached rosters of groups", unit="bytes", roles=["gateway"]
)
PUBLISH = Histogram(
    "rookery_publish_seconds",
    "From passing records to the log to its acknowledgement that all are on disk",
    bounds=FAST,
    roles=["bff", "gateway"],
)
PUBLISH_FAILURES = Counter(
    "rookery_publish_failures_total", "Calls that the log refused or did not acknowledge", roles=["bff", "gateway"]
)
PUBLISHED_RECORDS = Counter(
    "rookery_published_records_total", "Records that the log has acknowledged", roles=["bff", "gateway"]
)
PUBLISH_PENDING = Gauge("rookery_publish_pending_calls", "Calls that the log has not acknowledged yet")
PUBLISH_BATCHES = Counter("rookery_publish_batches_total", "Batches in which the log acknowledged calls")
PUBLISH_CALLS = Counter("rookery_publish_calls_total", "Calls that the log has answered")
LATE_RECORDS = Counter(
    "rookery_late_records_total",
    "Records of truth dropped by consumers of the group: they came after the fence of their partition's next owner",
    labels=("group",),
    roles=["gateway", "archive"],
    known=("gateway", "archive"),
)
CONSUMER_LAG = Gauge(
    "rookery_consumer_lag",
    "Records in the log that a consumer of the group has not read, by partition assigned to it",
    labels=("group", "partition"),
    roles=["gateway", "archive"],
)
WATERMARK_AGE = Gauge(
    "rookery_recorder_watermark_age_seconds",
    "Time since the last moment up to which a partition is recorded, by partition assigned to the archive",
    labels=("partition",),
    roles=["archive"],
)
RECORDED_EVENTS = Counter("rookery_recorded_events_total", "Events written to the chat store", roles=["archive"])
RECORDED_BATCHES = Counter(
    "rookery_recorded_batches_total", "Batches of events written to the chat store", roles=["archive"]
)
RECORDER_RETRIES = Counter(
    "rookery_recorder_retries_total",
    "Retries of the recorder after a failed read or write",
    roles=["archive"],
)
DEAD_LETTERS = Counter(
    "rookery_dead_letters_total",
    "Unusable records moved to the dead letters",
    labels=("group",),
    roles=["archive"],
)

# ---- stores and engines

STORE = Histogram(
    "rookery_store_seconds",
    "Operations of a store, including failed ones; `store` is accounts or chats",
    bounds=FAST,
    labels=("store", "operation"),
)
STORE_ERRORS = Counter("rookery_store_errors_total", "Operations of a store that failed", labels=("store", "operation"))
SQLITE_PENDING = Gauge(
    "rookery_sqlite_pending_writes", "Writes queued for the writer thread", labels=("database",), needs="SQLite"
)
SQLITE_WRITES = Counter("rookery_sqlite_writes_total", "Completed writes", labels=("database",), needs="SQLite")
SQLITE_COMMITS = Counter(
    "rookery_sqlite_commits_total", "Transactions, each with one or more writes", labels=("database",), needs="SQLite"
)
CASSANDRA_UNDER_WAY = Gauge(
    "rookery_cassandra_requests_under_way", "Requests sent and not answered yet", needs="Cassandra"
)
CASSANDRA_WAITING = Gauge(
    "rookery_cassandra_calls_waiting", "Calls with requests that are not sent yet", needs="Cassandra"
)
CASSANDRA_REQUESTS = Counter("rookery_cassandra_requests_total", "Requests sent", needs="Cassandra")
CASSANDRA_CIRCUIT_OPEN = Gauge(
    "rookery_cassandra_circuit_open",
    "Sessions with Cassandra whose circuit breaker is open: no node answers, and requests are refused at once",
    needs="Cassandra",
)
REDIS_PENDING = Gauge("rookery_redis_pending_commands", "Commands that Redis has not answered yet", needs="Redis")
REDIS_COMMANDS = Counter("rookery_redis_commands_total", "Commands answered or abandoned", needs="Redis")
REDIS_AWAY = Gauge("rookery_redis_away", "1 if the last command did not reach Redis", needs="Redis")
DATA_FREE = Gauge(
    "rookery_data_free_bytes", "Free space on the disk of the data folder", unit="bytes", needs="the embedded log"
)
DATA_SIZE = Gauge(
    "rookery_data_size_bytes", "Size of the disk of the data folder", unit="bytes", needs="the embedded log"
)

# ---- signals

SIGNALS_PUBLISHED = Counter(
    "rookery_signals_published_total",
    "Signals that this process published: typing, marks in groups, presence, changed profiles",
    roles=["bff", "gateway"],
)
WATCHED_USERS = Gauge(
    "rookery_watched_users", "Users whose presence the sessions of this gateway watch", roles=["gateway"]
)
FOLLOWED_CHANNELS = Gauge(
    "rookery_followed_channels",
    "Channels that sessions of this gateway follow, once for each session",
    roles=["gateway"],
)
SIGNALS_LOST = Counter(
    "rookery_signals_lost_total",
    "Signals lost: Redis did not accept them in time (`not_sent`), or the gateway fell behind (`no_room`)",
    labels=("reason",),
    roles=["bff", "gateway"],
    known=("not_sent", "no_room"),
)

# ---- files

PICTURES = Counter(
    "rookery_pictures_total",
    "Pictures and PDFs: `rendered`, `refused` as broken, hostile or too large, or `unavailable`: no time or memory",
    labels=("result",),
    roles=["bff", "gateway"],
    known=PICTURE_RESULTS,
)
PICTURE_TIME = Histogram(
    "rookery_picture_seconds",
    "Renderings of pictures and PDFs, and their waits for a turn",
    bounds=SLOW,
    roles=["bff", "gateway"],
)

# ---- HTTP and accounts

HTTP = Histogram(
    "rookery_http_request_seconds",
    "HTTP requests, by route of the API (`other` for none)",
    bounds=SLOW,
    labels=("method", "route", "status"),
    roles=["bff"],
)
HTTP_CONNECTIONS = Gauge("rookery_http_connections", "Open HTTP connections", roles=["bff"])
SIGN_INS = Counter(
    "rookery_sign_ins_total",
    "Attempts to sign in with a password",
    labels=("result",),
    roles=["bff"],
    known=SIGN_IN_RESULTS,
)
REFRESHES = Counter(
    "rookery_refreshes_total",
    "Attempts to refresh tokens; `ended`: the refresh token was revoked, expired or reused",
    labels=("result",),
    roles=["bff"],
    known=REFRESH_RESULTS,
)
REGISTRATIONS = Counter(
    "rookery_registrations_total",
    "Attempts to create an account",
    labels=("result",),
    roles=["bff"],
    known=REGISTRATION_RESULTS,
)
PASSWORD_RESETS = Counter(
    "rookery_password_resets_total",
    "Attempts to set a password with the link of an admin; `wrong_link`: it has expired, or was used or replaced",
    labels=("result",),
    roles=["bff"],
    known=PASSWORD_RESET_RESULTS,
)
REPORTS = Counter(
    "rookery_reports_total",
    "Reports of users or messages to the admins",
    labels=("result",),
    roles=["bff"],
    known=REPORT_RESULTS,
)
PASSWORDS_UNDER_WAY = Gauge(
    "rookery_password_hashes_under_way", "Passwords that are being hashed (Argon2id)", roles=["bff"]
)
PASSWORDS_WAITING = Gauge("rookery_password_hashes_waiting", "Passwords queued to be hashed", roles=["bff"])

# ---- gRPC

RPC_CALLS = Counter(
    "rookery_rpc_server_calls_total",
    "Completed calls, by gRPC status. A session is one call",
    labels=("method", "status"),
    roles=["gateway", "archive"],
)
RPC_UNDER_WAY = Gauge(
    "rookery_rpc_server_calls_under_way", "Calls in progress", labels=("role",), roles=["gateway", "archive"]
)
RPC_CONNECTIONS = Gauge(
    "rookery_rpc_server_connections", "Open connections of clients", labels=("role",), roles=["gateway", "archive"]
)
RPC_REFUSED = Counter(
    "rookery_rpc_server_connections_refused_total",
    "Connections refused over the limit, closed for abuse, or failed in their handshake",
    labels=("role", "reason"),
    roles=["gateway", "archive"],
)
RPC_CLIENT_CALLS = Counter(
    "rookery_rpc_client_calls_total",
    "Calls to archives, by gRPC status, each attempt counted",
    labels=("status",),
    roles=["bff", "gateway"],
    known=("OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"),
)
RPC_CLIENT_RETRIES = Counter(
    "rookery_rpc_client_retries_total", "Retries of calls to archives", roles=["bff", "gateway"]
)
RPC_CLIENT_WAITING = Gauge(
    "rookery_rpc_client_calls_waiting", "Calls that wait for an archive or for a free slot", roles=["bff", "gateway"]
)
RPC_CLIENT_SERVERS = Gauge(
    "rookery_rpc_client_servers",
    "Archives by state: resolved, and of these the ones that serve calls",
    labels=("state",),
    roles=["bff", "gateway"],
)

# ---- the process

READY = Gauge("rookery_ready", "Whether /readyz answers 200: 1 or 0", labels=("role",))
BUILD_INFO = Gauge("rookery_build_info", "1, with the version as the label", labels=("version",))
EVENT_LOOP_LAG = Histogram(
    "rookery_event_loop_lag_seconds",
    "Lateness of a task that wakes up from a sleep, measured ten times a second",
    bounds=LOOP,
)
TASKS = Gauge("rookery_tasks", "Tasks of the event loop: some for each connection and each call")
SPANS_LOST = Counter(
    "rookery_spans_lost_total",
    "Spans lost: the collector did not accept them (`not_sent`), or the queue was full (`no_room`)",
    labels=("reason",),
    known=("not_sent", "no_room"),
)
CONNECTIONS_EVICTED = Counter(
    "rookery_connections_evicted_total",
    "Connections on which nobody had signed in, closed to make room for others",
)
CERTIFICATE_END = Gauge(
    "rookery_tls_certificate_not_after_seconds",
    "Expiry of the server certificate, in seconds since 1970",
    unit="seconds",
    needs="TLS",
)

CATALOGUE: Final[tuple[Instrument, ...]] = tuple(value for value in globals().values() if isinstance(value, Instrument))
"""All instruments, in the order of this file."""

"""Every metric of Rookery, in one place. docs/metrics.md has the table that `document.py` makes of it.

Labels have few values: codes, roles, routes, names of operations; never what a user chose, and never who it was.
"""

from typing import Final

from shared.contract.errors import Code
from shared.telemetry.metrics.instruments import Counter, Gauge, Histogram, Instrument

FAST: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds. What is kept on a disk nearby takes a millisecond; after 5 s it was refused."""

SLOW: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds. What may wait for something else; after 10 s nobody does."""

LOOP: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds. A loop that is idle is a millisecond late at most."""

TRANSPORTS: Final = ("websocket", "grpc")

SESSION_ENDS: Final = ("left", "moved", "reconnect", *Code)
"""Why a session ended: its client left or was lost; it was told where its user's gateway is; it was told to come back,
since the gateway stops or has lost the partition; or the code of its Goodbye."""

SIGN_IN_RESULTS: Final = ("ok", "wrong_password", "throttled", "suspended", "unavailable")

REFRESH_RESULTS: Final = ("ok", "ended", "suspended", "unavailable")

REGISTRATION_RESULTS: Final = ("ok", "name_taken", "throttled", "unavailable")

# ---- sessions

SESSIONS = Gauge(
    "rookery_sessions",
    "Sessions that are open, those included that have not authenticated yet",
    labels=("transport",),
    roles=["gateway"],
)
SESSION_USERS = Gauge("rookery_session_users", "Users that have a session here", roles=["gateway"])
SESSIONS_OPENED = Counter(
    "rookery_sessions_opened_total",
    "Sessions that began",
    labels=("transport",),
    roles=["gateway"],
    known=TRANSPORTS,
)
SESSIONS_ENDED = Counter(
    "rookery_sessions_ended_total",
    "Sessions that ended: the client left, was moved or told to reconnect, or the code of its Goodbye",
    labels=("reason",),
    roles=["gateway"],
    known=SESSION_ENDS,
)
SESSION_FRAMES = Counter(
    "rookery_session_frames_total",
    "Frames that came from clients (in) and that were handed to their sockets (out)",
    labels=("direction",),
    roles=["gateway"],
    known=("in", "out"),
)
SESSION_QUEUE_FRAMES = Gauge(
    "rookery_session_queue_frames", "Frames that wait for clients to read, of all sessions", roles=["gateway"]
)
SESSION_QUEUE_BYTES = Gauge(
    "rookery_session_queue_bytes",
    "Bytes of the events among them, about",
    unit="bytes",
    roles=["gateway"],
)
SESSION_DROPPED = Counter(
    "rookery_session_dropped_events_total",
    "Events that found the queue of their session full: the client gets a Gap instead",
    roles=["gateway"],
)
WEBSOCKET_HANDSHAKES = Gauge(
    "rookery_websocket_handshakes", "Connections of browsers that are not sessions yet", roles=["gateway"]
)

# ---- messages

ACCEPT = Histogram(
    "rookery_accept_seconds",
    "From a message's frame to its Accepted, queued for the client; the count is that of accepted messages",
    bounds=FAST,
    roles=["gateway"],
)
DELIVERY = Histogram(
    "rookery_delivery_seconds",
    "From a message's time in the log to its frame, handed to a recipient's socket; replays do not count",
    bounds=SLOW,
    roles=["gateway"],
)
REFUSALS = Counter(
    "rookery_refusals_total",
    "Frames of clients that were refused, their sessions living on",
    labels=("code",),
    roles=["gateway"],
    known=tuple(Code),
)

# ---- the log

PARTITIONS = Gauge("rookery_partitions", "Partitions of the log", roles=["gateway"])
PARTITIONS_OWNED = Gauge("rookery_partitions_owned", "Partitions whose users this gateway serves", roles=["gateway"])
PARTITIONS_REBUILDING = Gauge(
    "rookery_partitions_rebuilding",
    "Partitions that fell to this gateway, and whose tails it still reads",
    roles=["gateway"],
)
REBUILDS = Counter(
    "rookery_rebuilds_total", "Tails that were read, after which a partition is owned", roles=["gateway"]
)
TAIL_EVENTS = Gauge("rookery_tail_events", "Events in the tails of the partitions", roles=["gateway"])
TAIL_BYTES = Gauge("rookery_tail_bytes", "Memory that the tails take, about", unit="bytes", roles=["gateway"])
PUBLISH = Histogram(
    "rookery_publish_seconds",
    "From giving records to the log to its word that all are on disk",
    bounds=FAST,
    roles=["bff", "gateway"],
)
PUBLISH_FAILURES = Counter(
    "rookery_publish_failures_total", "Calls that the log refused or did not acknowledge", roles=["bff", "gateway"]
)
PUBLISH_PENDING = Gauge("rookery_publish_pending_calls", "Calls that the log has not acknowledged yet")
PUBLISH_BATCHES = Counter("rookery_publish_batches_total", "Bunches in which the log acknowledged calls")
PUBLISH_CALLS = Counter("rookery_publish_calls_total", "Calls that have their answer from the log")
CONSUMER_LAG = Gauge(
    "rookery_consumer_lag",
    "Records that wait in the log for a consumer of the group, by partition that it has",
    labels=("group", "partition"),
    roles=["gateway", "archive"],
)
RECORDED_EVENTS = Counter("rookery_recorded_events_total", "Events given to the store of chats", roles=["archive"])
RECORDED_BATCHES = Counter("rookery_recorded_batches_total", "Batches in which they were given", roles=["archive"])
RECORDER_RETRIES = Counter(
    "rookery_recorder_retries_total", "Times that the store or the log did not answer the recorder", roles=["archive"]
)
DEAD_LETTERS = Counter(
    "rookery_dead_letters_total",
    "Records that could not be used and were put aside",
    labels=("group",),
    roles=["archive"],
)

# ---- stores and engines

STORE = Histogram(
    "rookery_store_seconds",
    "What a store was asked and answered, also with an error; `store` is accounts or chats",
    bounds=FAST,
    labels=("store", "operation"),
)
STORE_ERRORS = Counter(
    "rookery_store_errors_total", "What a store was asked and did not do", labels=("store", "operation")
)
SQLITE_PENDING = Gauge(
    "rookery_sqlite_pending_writes", "Writes that wait for the only writer", labels=("database",), needs="SQLite"
)
SQLITE_WRITES = Counter("rookery_sqlite_writes_total", "Writes that were done", labels=("database",), needs="SQLite")
SQLITE_COMMITS = Counter(
    "rookery_sqlite_commits_total", "Transactions in which they were done", labels=("database",), needs="SQLite"
)
CASSANDRA_UNDER_WAY = Gauge(
    "rookery_cassandra_requests_under_way", "Requests that are sent and not answered", needs="Cassandra"
)
CASSANDRA_WAITING = Gauge(
    "rookery_cassandra_calls_waiting", "Calls that wait for a request of theirs to be sent", needs="Cassandra"
)
CASSANDRA_REQUESTS = Counter("rookery_cassandra_requests_total", "Requests that were sent", needs="Cassandra")
CASSANDRA_SILENT = Gauge(
    "rookery_cassandra_silent",
    "Sessions with Cassandra whose breaker is open: no node answers, and requests are refused at once",
    needs="Cassandra",
)
REDIS_PENDING = Gauge("rookery_redis_pending_commands", "Commands that Redis has not answered", needs="Redis")
REDIS_COMMANDS = Counter(
    "rookery_redis_commands_total", "Commands that have their answer, or were given up", needs="Redis"
)
REDIS_AWAY = Gauge("rookery_redis_away", "1 if the last command found no Redis", needs="Redis")
DATA_FREE = Gauge(
    "rookery_data_free_bytes", "Space left on the disk of the data folder", unit="bytes", needs="the embedded log"
)
DATA_SIZE = Gauge("rookery_data_size_bytes", "Space that this disk has", unit="bytes", needs="the embedded log")

# ---- HTTP and accounts

HTTP = Histogram(
    "rookery_http_request_seconds",
    "HTTP requests, by route of the API (`other` for none)",
    bounds=SLOW,
    labels=("method", "route", "status"),
    roles=["bff"],
)
HTTP_CONNECTIONS = Gauge("rookery_http_connections", "Connections that are open", roles=["bff"])
SIGN_INS = Counter(
    "rookery_sign_ins_total",
    "Attempts to sign in with a password",
    labels=("result",),
    roles=["bff"],
    known=SIGN_IN_RESULTS,
)
REFRESHES = Counter(
    "rookery_refreshes_total",
    "Attempts to get new tokens with a refresh token; `ended` ones were revoked, expired or used before",
    labels=("result",),
    roles=["bff"],
    known=REFRESH_RESULTS,
)
REGISTRATIONS = Counter(
    "rookery_registrations_total",
    "Attempts to make an account",
    labels=("result",),
    roles=["bff"],
    known=REGISTRATION_RESULTS,
)
PASSWORDS_UNDER_WAY = Gauge(
    "rookery_password_hashes_under_way", "Passwords that are being hashed (Argon2id)", roles=["bff"]
)
PASSWORDS_WAITING = Gauge("rookery_password_hashes_waiting", "Passwords that wait for that", roles=["bff"])

# ---- gRPC

RPC_CALLS = Counter(
    "rookery_rpc_server_calls_total",
    "Calls whose handlers have ended, by gRPC status. A session is one call",
    labels=("method", "status"),
    roles=["gateway", "archive"],
)
RPC_UNDER_WAY = Gauge(
    "rookery_rpc_server_calls_under_way", "Calls whose handlers run", labels=("role",), roles=["gateway", "archive"]
)
RPC_CONNECTIONS = Gauge(
    "rookery_rpc_server_connections", "Clients that are connected", labels=("role",), roles=["gateway", "archive"]
)
RPC_REFUSED = Counter(
    "rookery_rpc_server_connections_refused_total",
    "Connections that were too many, abused, or failed their handshake",
    labels=("role", "reason"),
    roles=["gateway", "archive"],
)
RPC_CLIENT_CALLS = Counter(
    "rookery_rpc_client_calls_total",
    "Calls to archives, by gRPC status; each attempt counts",
    labels=("status",),
    roles=["bff", "gateway"],
    known=("OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"),
)
RPC_CLIENT_RETRIES = Counter(
    "rookery_rpc_client_retries_total", "Calls to archives that were made again", roles=["bff", "gateway"]
)
RPC_CLIENT_WAITING = Gauge(
    "rookery_rpc_client_calls_waiting", "Calls that wait for an archive, or for their turn", roles=["bff", "gateway"]
)
RPC_CLIENT_SERVERS = Gauge(
    "rookery_rpc_client_servers",
    "Archives that may be called, and those of them that take calls",
    labels=("state",),
    roles=["bff", "gateway"],
)

# ---- the process

READY = Gauge("rookery_ready", "Whether /readyz answers 200: 1 or 0", labels=("role",))
BUILD_INFO = Gauge("rookery_build_info", "1; the label has the version", labels=("version",))
EVENT_LOOP_LAG = Histogram(
    "rookery_event_loop_lag_seconds",
    "How late a task runs again that has slept, measured ten times a second",
    bounds=LOOP,
)
SPANS_LOST = Counter(
    "rookery_spans_lost_total",
    "Spans of which the collector of traces was not told: it did not take them, or too many waited for it",
    labels=("reason",),
    known=("not_sent", "no_room"),
)
CERTIFICATE_END = Gauge(
    "rookery_tls_certificate_not_after_seconds",
    "When the certificate ends, in seconds since 1970",
    unit="seconds",
    needs="TLS",
)

CATALOGUE: Final[tuple[Instrument, ...]] = tuple(value for value in globals().values() if isinstance(value, Instrument))
"""All of them, in the order in which they are written here."""

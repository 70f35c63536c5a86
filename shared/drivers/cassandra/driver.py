"""The configuration of cassandra-driver: connections, retries, and the translation of its errors.

Only this module, `requests.py` and `session.py` use the driver. The functions here block, so they run in threads.
"""

import logging
import ssl
import struct
from typing import Any

from cassandra import (
    AuthenticationFailed,
    ConsistencyLevel,
    OperationTimedOut,
    ProtocolVersion,
    RequestExecutionException,
    RequestValidationException,
    Unauthorized,
    UnresolvableContactPoints,
)
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.connection import ConnectionException
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    RetryPolicy,
    TokenAwarePolicy,
)
from cassandra.query import tuple_factory

from shared.contract.errors import Unavailable
from shared.net.pem import explain_errors, load_pair
from shared.settings import CassandraSettings

CONNECT_SECONDS = 3.0
"""Time-out of one connection attempt: longer than a node's garbage collection, shorter than callers wait."""

HEARTBEAT_SECONDS = 2.0
"""Silence after which a connection sends a heartbeat, which must be answered within twice that. The driver's default of
30 leaves a frozen node in use for a minute."""

RECONNECT_SECONDS = (0.1, 1.0)
"""First and longest pause between attempts to reconnect to a node, so that it is in use a second after its return."""

_EXECUTOR_THREADS = 4
"""The driver's threads for connections and retries: twice its default, so that nodes that hang do not block retries."""


_DEFAULT_PROFILE: Any = EXEC_PROFILE_DEFAULT  # type: ignore[has-type]


class _Retries(RetryPolicy):
    """Retries idempotent statements on the next node when a node fails or rejects them, within the request's time-out.
    Other errors are final: the coordinator has tried the replicas, and a retry would only add load."""

    def on_read_timeout(self, *_: Any, **__: Any) -> Any:
        return self.RETHROW, None

    def on_write_timeout(self, *_: Any, **__: Any) -> Any:
        return self.RETHROW, None

    def on_unavailable(self, *_: Any, **__: Any) -> Any:
        return self.RETHROW, None

    def on_request_error(self, query: Any, *_: Any, **__: Any) -> Any:
        return (self.RETRY_NEXT_HOST if query.is_idempotent else self.RETHROW), None


_Cluster: Any = Cluster  # its annotations are guesses from its defaults
_Connection = type(
    "_Connection",
    (_Cluster.connection_class,),
    {"_socket_writable": property(lambda _: True, lambda _self, _writable: None)},
)
"""A connection that queues bytes while the socket is full, where the driver would raise "busy" and leak the number of
the stream. `Requests` bounds the queue."""

# The nodes warn of statements that rely on the connection's keyspace. Ours carry their keyspace.
logging.getLogger("cassandra.protocol").addFilter(lambda record: "`USE <keyspace>`" not in record.getMessage())


def connect(settings: CassandraSettings) -> Session:
    """Return a session without a keyspace, on its own cluster object. Raises Unavailable if no node can be used, and
    UnusableCertificate."""
    cluster = _cluster(settings)
    try:
        session: Session = cluster.connect()
        return session
    except Exception as error:  # the boundary to the driver, which raises many types: each becomes Unavailable
        cluster.shutdown()
        if any(isinstance(each, AuthenticationFailed) for each in (error, *_causes(error))):
            raise Unavailable("Cassandra does not accept the user name or password") from error
        nodes = ", ".join(settings.hosts)
        raise Unavailable(
            f"no node of data centre {settings.local_datacenter} at {nodes} (port {settings.port}) answers"
        ) from error


def close(session: Session) -> None:
    """Close the session and its cluster object. Connections close first: the driver's own threads may wait on them."""
    driver: Any = session
    cluster = driver.cluster
    driver.shutdown()
    cluster.control_connection.shutdown()
    cluster.shutdown()


def is_no_response(error: Exception) -> bool:
    """Whether the error means that no node answered, rather than that one answered with an error."""
    return isinstance(error, OperationTimedOut | NoHostAvailable | ConnectionException)


def translate(error: Exception) -> Exception:
    """Translate the driver's error: ValueError for values that it can't send, else Unavailable.

    A node's refusal is Unavailable too, since it need not be about the statement: a node answers InvalidRequest while a
    disk is too full, or a table is missing.
    """
    match error:
        case Unavailable():
            return error
        case Unauthorized():
            return Unavailable(f"Cassandra does not allow this: {error}")
        case RequestValidationException():
            return Unavailable(f"Cassandra refuses this: {error}")
        case TypeError() | ValueError() | KeyError() | struct.error():
            return ValueError(f"not a value for Cassandra: {error}")
        case NoHostAvailable() if causes := [each for each in _causes(error) if isinstance(each, _BAD_VALUES)]:
            return ValueError(f"not a value for Cassandra: {causes[0]}")
        case OperationTimedOut():
            return Unavailable("Cassandra did not answer in time")
        case NoHostAvailable() | ConnectionException():
            return Unavailable("no node of Cassandra answers")
        case RequestExecutionException():
            return Unavailable(f"Cassandra could not do it: {error}")
        case _:
            return Unavailable(f"Cassandra failed: {error!r}")


_BAD_VALUES = TypeError, ValueError, struct.error


def _causes(error: Exception) -> list[object]:
    errors = getattr(error, "errors", None)
    return list(errors.values()) if isinstance(errors, dict) else []


def _cluster(settings: CassandraSettings) -> Any:
    profile: Any = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(settings.local_datacenter)),
        retry_policy=_Retries(),
        consistency_level=getattr(ConsistencyLevel, settings.consistency),
        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
        request_timeout=settings.timeout_seconds,
        row_factory=tuple_factory,
    )
    try:
        return _Cluster(
            list(settings.hosts),
            settings.port,
            protocol_version=ProtocolVersion.V5,
            execution_profiles={_DEFAULT_PROFILE: profile},
            auth_provider=_credentials(settings),
            ssl_context=_tls(settings),
            connection_class=_Connection,
            compression=False,  # the nodes are near, and it costs CPU
            connect_timeout=CONNECT_SECONDS,
            control_connection_timeout=CONNECT_SECONDS,
            reconnection_policy=_reconnections(),
            idle_heartbeat_interval=HEARTBEAT_SECONDS,
            idle_heartbeat_timeout=2 * HEARTBEAT_SECONDS,
            executor_threads=_EXECUTOR_THREADS,
            monitor_reporting_enabled=False,
            application_name="rookery",
        )
    except UnresolvableContactPoints as error:
        raise Unavailable(f"no such host: {', '.join(settings.hosts)}") from error


def _reconnections() -> Any:
    policy: Any = ExponentialReconnectionPolicy
    return policy(*RECONNECT_SECONDS, max_attempts=None)  # for ever: the default is 64 times


def _credentials(settings: CassandraSettings) -> PlainTextAuthProvider | None:
    if not settings.username:
        return None
    return PlainTextAuthProvider(settings.username, settings.password.get_secret_value())


def _tls(settings: CassandraSettings) -> ssl.SSLContext | None:
    """The context for the nodes; None for plain text. Raises UnusableCertificate."""
    if settings.ca_file is None:
        return None
    with explain_errors(settings.ca_file):
        context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.certificate_file is not None:
        load_pair(context, settings.certificate_file, settings.key_file)
    return context

"""cassandra-driver as Rookery uses it: how a cluster is reached, what is retried, and what its errors mean here.

With `requests.py` and `session.py` the only place that knows the driver. What is here blocks, and runs in threads.
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
from shared.settings import CassandraSettings

CONNECT_SECONDS = 3.0
"""For one connection to be made: longer than a collection of garbage in a node, shorter than anyone waits."""

HEARTBEAT_SECONDS = 2.0
"""After so long without an answer a connection is asked for a sign of life, which must come within twice that. The
driver's default of 30 leaves a node that froze in use for a minute."""

RECONNECT_SECONDS = (0.1, 1.0)
"""First and longest pause between attempts to reach a node again, so that it is in use a second after its return."""

_EXECUTOR_THREADS = 4
"""Of the driver, for making connections and for retries: twice its default, so that retries pass nodes that hang."""


_DEFAULT_PROFILE: Any = EXEC_PROFILE_DEFAULT  # type: ignore[has-type]


class _Retries(RetryPolicy):
    """What may safely be sent twice is sent to the next node when a node goes away or refuses, within the request's own
    time. What else the coordinator says is final: it has tried the replicas, and asking again would only add load."""

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
"""A connection that queues what the socket does not take at once, where the driver would refuse it as "busy" and lose
the number of its stream. `Requests` bounds how much there can be."""

# The nodes advise against statements that leave the keyspace to the connection. Ours say it themselves.
logging.getLogger("cassandra.protocol").addFilter(lambda record: "`USE <keyspace>`" not in record.getMessage())


def connect(settings: CassandraSettings) -> Session:
    """A session of its own cluster object, without a keyspace. Raises Unavailable if none of the nodes can be used."""
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
    """Close the session and its cluster object. Connections go first: the driver's own threads may wait on them."""
    driver: Any = session
    cluster = driver.cluster
    driver.shutdown()
    cluster.control_connection.shutdown()
    cluster.shutdown()


def is_silence(error: Exception) -> bool:
    """Whether the error means that no node answered, and not that one answered with an error."""
    return isinstance(error, OperationTimedOut | NoHostAvailable | ConnectionException)


def translate(error: Exception) -> Exception:
    """The driver's error as ours: ValueError for what can't be asked, Unavailable for what is not answered."""
    match error:
        case Unavailable():
            return error
        case Unauthorized():
            return Unavailable(f"Cassandra does not allow this: {error}")
        case RequestValidationException() | TypeError() | ValueError() | KeyError() | struct.error():
            return ValueError(f"not a statement for Cassandra: {error}")
        case NoHostAvailable() if causes := [each for each in _causes(error) if isinstance(each, _BAD_VALUES)]:
            return ValueError(f"not a statement for Cassandra: {causes[0]}")
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
    if settings.ca_file is None:
        return None
    context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.certificate_file is not None:
        context.load_cert_chain(settings.certificate_file, settings.key_file)
    return context

"""Counters of a server, its statistics, and their metrics."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shared.rpc.status import Status
from shared.telemetry.metrics import Readings
from shared.telemetry.metrics import catalogue as metrics
from shared.telemetry.metrics.instruments import Labels, Role


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """A server's statistics at one moment. Totals are since its start."""

    connections: int
    """Open connections that have finished their handshake."""
    handshaking: int
    """Open connections that have not."""
    connections_begun: int
    """Total of accepted connections."""
    connections_refused: int
    """Total of connections that were closed at once because of `max_connections`."""
    connections_abused: int
    """Total of connections that were closed because their clients exceeded `idle_frames`, or `max_header_bytes` by
    far."""
    handshakes_failed: int
    """Total of connections that ended before their handshake: too slow, TLS failed, not HTTP/2, closed by the client,
    the oldest of more than `max_handshakes`, or accepted while the server drained."""
    calls: int
    """Calls with a running handler."""
    calls_begun: int
    """Total of started handlers."""
    calls_refused: int
    """Total of requests that reached no handler: malformed, not gRPC, of an unknown method, or over `max_streams`."""
    calls_ended: Mapping[Status, int]
    """Totals of ended calls by their status. Calls that were reset, or lost with their connection, count as CANCELLED
    or UNAVAILABLE."""


@dataclass(slots=True)
class ServerCounters:
    """The running totals of a server."""

    connections_begun: int = 0
    connections_refused: int = 0
    connections_abused: int = 0
    handshakes_failed: int = 0
    calls_begun: int = 0
    calls_refused: int = 0
    calls_ended: Counter[Status] = field(default_factory=Counter)


def server_readings(role: Role, statistics: Callable[[], ServerStatistics]) -> Readings:
    """The metrics of the server of this role."""

    def refused() -> dict[Labels, float]:
        now = statistics()
        return {
            (role, "too_many"): now.connections_refused,
            (role, "abused"): now.connections_abused,
            (role, "handshake"): now.handshakes_failed,
        }

    return {
        metrics.RPC_UNDER_WAY: lambda: {(role,): statistics().calls},
        metrics.RPC_CONNECTIONS: lambda: {(role,): statistics().connections},
        metrics.RPC_REFUSED: refused,
    }

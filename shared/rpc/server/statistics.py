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
    """A server at one moment. Numbers of what has happened are since its start."""

    connections: int
    """Clients that are connected, and have finished their handshake."""
    handshaking: int
    """Clients that are connected, and have not."""
    connections_begun: int
    """Connections that were accepted, whatever became of them."""
    connections_refused: int
    """Connections that were closed at once, since there were `max_connections`."""
    connections_abused: int
    """Connections that were closed since their clients sent more than `idle_frames` that do no work, or headers far
    over `max_header_bytes`."""
    handshakes_failed: int
    """Connections that ended before their handshake did: too slow, not over TLS as it should be, not HTTP/2, given up
    by the client, or the oldest when there were `max_handshakes`."""
    calls: int
    """Calls whose handlers run."""
    calls_begun: int
    """Calls whose handlers were started."""
    calls_refused: int
    """Requests that reached no handler: malformed, no gRPC, to an unknown method, or one more than `max_streams`."""
    calls_ended: Mapping[Status, int]
    """Calls whose handlers have ended, by the status that they ended with; those that their clients reset or left
    count as CANCELLED or UNAVAILABLE."""


@dataclass(slots=True)
class ServerTally:
    """What a server counts as it happens."""

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

"""What gRPC servers and channels say at `/metrics`, from their statistics."""

from collections.abc import Callable

from shared.rpc.client.tally import ChannelStatistics
from shared.rpc.server.statistics import ServerStatistics
from shared.telemetry.metrics import Readings
from shared.telemetry.metrics import catalogue as metrics
from shared.telemetry.metrics.instruments import Labels, Role


def server_readings(role: Role, statistics: Callable[[], ServerStatistics]) -> Readings:
    """Of the server of this role."""

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


def channel_readings(statistics: Callable[[], ChannelStatistics]) -> Readings:
    """Of a channel: those of servers call archives, and nothing else."""

    def ended() -> dict[Labels, float]:
        return {(status.name,): calls for status, calls in statistics().calls_ended.items()}

    def servers() -> dict[Labels, float]:
        now = statistics()
        return {("known",): now.servers, ("ready",): now.servers_ready}

    return {
        metrics.RPC_CLIENT_CALLS: ended,
        metrics.RPC_CLIENT_RETRIES: lambda: statistics().retries,
        metrics.RPC_CLIENT_WAITING: lambda: statistics().calls_waiting,
        metrics.RPC_CLIENT_SERVERS: servers,
    }

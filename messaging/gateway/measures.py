"""The gauges of a gateway at `/metrics`."""

from messaging.gateway.gateway import Gateway
from messaging.gateway.log_consumer import GROUP
from messaging.gateway.transports.websocket import WebSocketServer
from shared.rpc.server.server import Server
from shared.rpc.server.statistics import server_readings
from shared.telemetry.metrics import Readings, lag_reading
from shared.telemetry.metrics import catalogue as metrics


def gateway_readings(gateway: Gateway, websocket: WebSocketServer, server: Server) -> Readings:
    """Read at each scrape: some milliseconds of work for ten thousand sessions."""
    registry, partitions = gateway.registry, gateway.partitions
    return {
        metrics.SESSIONS: lambda: {(transport,): registry.count(transport) for transport in metrics.TRANSPORTS},
        metrics.SESSION_USERS: lambda: len(registry.users()),
        metrics.SESSION_QUEUE_FRAMES: lambda: sum(session.queued_frames for session in registry),
        metrics.SESSION_QUEUE_BYTES: lambda: sum(session.queued_bytes for session in registry),
        metrics.WATCHED_USERS: lambda: len(gateway.signals.watches),
        metrics.FOLLOWED_CHANNELS: lambda: len(gateway.channels),
        metrics.WEBSOCKET_HANDSHAKES: lambda: websocket.handshakes,
        metrics.PARTITIONS: lambda: partitions.count,
        metrics.PARTITIONS_OWNED: lambda: len(partitions.owned),
        metrics.PARTITIONS_REBUILDING: lambda: partitions.unserved,
        metrics.TAIL_EVENTS: lambda: sum(map(len, partitions.tails.values())),
        metrics.TAIL_BYTES: lambda: sum(tail.size for tail in partitions.tails.values()),
        metrics.ROSTER_BYTES: lambda: gateway.rosters.size,
        metrics.CONSUMER_LAG: lag_reading(GROUP, gateway.log_consumer.lag),
        **server_readings("gateway", server.statistics),
    }

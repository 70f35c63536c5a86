"""What a gateway says at `/metrics` of what it has now."""

from messaging.gateway.gateway import Gateway
from messaging.gateway.log_consumer import GROUP
from messaging.gateway.transports.websocket import WebSocketServer
from shared.rpc.measures import server_readings
from shared.rpc.server.server import Server
from shared.telemetry.metrics import Readings, lag_reading
from shared.telemetry.metrics import catalogue as metrics


def gateway_readings(gateway: Gateway, websocket: WebSocketServer, server: Server) -> Readings:
    """Looked at when someone asks: some milliseconds of work where there are ten thousand sessions."""
    registry, log_consumer = gateway.registry, gateway.log_consumer
    return {
        metrics.SESSIONS: lambda: {(transport,): registry.count(transport) for transport in metrics.TRANSPORTS},
        metrics.SESSION_USERS: lambda: len(registry.users()),
        metrics.SESSION_QUEUE_FRAMES: lambda: sum(session.queued_frames for session in registry),
        metrics.SESSION_QUEUE_BYTES: lambda: sum(session.queued_bytes for session in registry),
        metrics.WEBSOCKET_HANDSHAKES: lambda: websocket.handshakes,
        metrics.PARTITIONS: lambda: gateway.partitions,
        metrics.PARTITIONS_OWNED: lambda: len(log_consumer.owned),
        metrics.PARTITIONS_REBUILDING: lambda: log_consumer.rebuilding,
        metrics.TAIL_EVENTS: lambda: sum(map(len, log_consumer.tails)),
        metrics.TAIL_BYTES: lambda: sum(tail.size for tail in log_consumer.tails),
        metrics.CONSUMER_LAG: lag_reading(GROUP, log_consumer.lag),
        **server_readings("gateway", server.statistics),
    }

"""What one connection may cost, and how long a peer may be silent."""

from dataclasses import dataclass

HTTP2_WINDOW = 65_535
"""The window of each stream and of the connection, in bytes, before anyone says otherwise."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a server's or a channel's connections. A connection's memory is bounded by
    `max_streams * (stream_window + max_message_bytes) + 2 * send_buffer`, and that only if its handlers read."""

    max_streams: int = 100
    """Calls at once on one connection; more are refused. RFC 9113 advises no fewer than 100."""
    max_header_bytes: int = 8 * 1024
    """A call's headers, counted as HTTP/2 does (32 bytes more for each). gRPC's default."""
    max_message_bytes: int = 4 * 1024 * 1024
    """A received message, unpacked. gRPC's default."""
    stream_window: int = 64 * 1024
    """Bytes that a stream may receive before its reader takes some; 65,535 or more, since that is what a client may
    send before it has heard of this."""
    connection_window: int = 1024 * 1024
    """Bytes that a peer may have under way on all streams: how fast it can be over a long line."""
    send_buffer: int = 64 * 1024
    """Bytes that wait for the socket before senders are made to wait."""
    keepalive_interval: float = 30.0
    """Seconds of silence after which the peer is asked whether it is there."""
    keepalive_timeout: float = 20.0
    """Seconds that it then has to say anything, before the connection is closed. gRPC's default."""
    drain_timeout: float = 5.0
    """Seconds that calls have to end by themselves when a server stops."""
    close_timeout: float = 1.0
    """Seconds for the last bytes of a connection to leave."""
    connect_timeout: float = 3.0
    """Seconds until a channel gives up to connect."""

    def __post_init__(self) -> None:
        if min(self.stream_window, self.connection_window) < HTTP2_WINDOW:
            raise ValueError(f"windows must be {HTTP2_WINDOW} bytes or more")


DEFAULT_LIMITS = Limits()

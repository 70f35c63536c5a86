"""Bounds of connections: their memory, number, and timeouts."""

from dataclasses import dataclass

from shared.net.open_files import MOST_CONNECTIONS

HTTP2_WINDOW = 65_535
"""HTTP/2's initial window of each stream and of the connection, in bytes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a server's or a channel's connections. A connection takes at most
    `max_streams * (stream_window + max_message_bytes) + 2 * send_buffer` bytes, and only if its handlers read."""

    max_streams: int = 100
    """Concurrent calls on one connection; more are refused. RFC 9113 advises no fewer than 100."""
    max_header_bytes: int = 8 * 1024
    """The size of a call's headers, counted as in HTTP/2 (32 bytes more for each). gRPC's default."""
    max_message_bytes: int = 4 * 1024 * 1024
    """The size of a received message, decompressed. gRPC's default."""
    stream_window: int = 64 * 1024
    """Bytes that a stream may receive before its reader takes some; at least 65,535, which a client may send before it
    has received this setting."""
    connection_window: int = 1024 * 1024
    """Bytes that a peer may have in flight on all streams: bounds its throughput at a high latency."""
    send_buffer: int = 64 * 1024
    """Unsent bytes at which senders wait for the socket."""
    send_timeout: float = 20.0
    """Seconds that a peer may take to receive one write. A peer that takes longer has stopped reading, and its
    connection is closed. As long as the keepalive timeout."""
    idle_frames: int = 1_000
    """Frames without work that a peer may send in a burst: pings, settings, priorities, empty data, resets of calls
    without a response, unknown frames. More end the connection. A client that cancels all its calls when a server
    hangs sends a hundred. A thousand take us some 30 ms, a thousand opened and reset calls 0.1 s."""
    idle_frames_per_second: float = 200.0
    """Frames without work that are allowed per second, beside two for each frame of data sent to the peer, which the
    peer may answer by opening two windows. Lets a client cancel all its `max_streams` calls twice a second."""
    max_connections: int = MOST_CONNECTIONS
    """Connections of a server, as far as its process may open so many files (`shared/net/admission.py`); a further one
    closes the oldest unauthenticated one, or is closed at once."""
    max_handshakes: int = 1_000
    """Connections that have not finished their handshake; one more closes the oldest. As many as can connect within a
    few round trips when all clients of a server reconnect. Each takes 6 KiB, over TLS 51."""
    handshake_timeout: float = 5.0
    """Seconds for the TLS handshake and the first frame of HTTP/2."""
    request_timeout: float = 60.0
    """Seconds until the message of a unary call must be complete: the largest takes 34 s at 1 Mbit/s."""
    keepalive_interval: float = 30.0
    """Seconds of silence after which the peer is pinged."""
    keepalive_timeout: float = 20.0
    """Seconds for the answer to that ping, after which the connection is closed. gRPC's default."""
    drain_timeout: float = 5.0
    """Seconds in which calls may finish when a server stops."""
    close_timeout: float = 1.0
    """Seconds for the last bytes of a connection, in both directions."""
    connect_timeout: float = 3.0
    """Seconds for a channel's attempt to connect."""

    def __post_init__(self) -> None:
        if min(self.stream_window, self.connection_window) < HTTP2_WINDOW:
            raise ValueError(f"windows must be {HTTP2_WINDOW} bytes or more")


DEFAULT_LIMITS = Limits()

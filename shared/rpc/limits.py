"""What one connection may cost, how many there may be, and how long a peer may be silent."""

from dataclasses import dataclass, field

from shared.net.open_files import connections_allowed

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
    send_timeout: float = 20.0
    """Seconds that a peer may take to receive what waits for the socket; one that takes longer reads no more, and its
    connection is closed. As patient as with a peer that says nothing."""
    idle_frames: int = 1_000
    """Frames that do no work which a peer may send at once: pings, settings, priorities, empty data, resets of calls
    that have no answer yet and what is unknown. More end the connection. A client that gives up all its calls when a
    server hangs sends a hundred; a thousand cost us some 30 ms, a thousand opened and reset calls 0.3 s."""
    idle_frames_per_second: float = 200.0
    """How many of them are forgiven per second, beside two for each frame of data that went to the peer, which it
    may answer by opening two windows. A client can have all its `max_streams` calls time out twice a second."""
    max_connections: int = field(default_factory=connections_allowed)
    """A server's connections; more are closed at once. By the files that the process may open: a process that has used
    them up can't reach its stores either."""
    max_handshakes: int = 1_000
    """Connections of those that have not finished their handshake; one more ends the oldest. As many as can connect
    anew within a few round trips, when all clients of a server must; they cost 6 KiB each, over TLS 51."""
    handshake_timeout: float = 5.0
    """Seconds that a client has for TLS and the first frame of HTTP/2."""
    request_timeout: float = 60.0
    """Seconds that the message of a unary call may take to come: the largest, over a line of 1 Mbit/s, takes 34."""
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

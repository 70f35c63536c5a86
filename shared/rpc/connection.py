"""The input and output of one connection: a task that reads, a task that writes, and the streams that they serve.

Streams write into h2's buffer, and the writer sends all of the buffer at once. The buffer is bounded: a stream waits
while it is full, and the reader stops while responses to received frames fill it. Waiting streams take turns: the
connection wakes one, which wakes the next after it has sent if there is still room.
"""

import math
import os
from collections.abc import Collection
from typing import Any, Generic, TypeVar, cast

import h2.events
import h2.exceptions
import structlog
import trio
from h2.errors import ErrorCodes

from shared.net.turns import Turn
from shared.rpc.limits import Limits
from shared.rpc.protocol import Event, Protocol
from shared.rpc.status import RpcError, Status
from shared.rpc.streams import MessageStream

READ_BYTES = 64 * 1024
"""Bytes per read of the socket: four frames of HTTP/2."""

SLICE_BYTES = 1024
"""Bytes that are processed before the turn's time is checked: the smallest frames, some 36 calls that are opened and
reset, take 2 ms. The rest of a longer frame is processed at once, since no part of it is work before it is whole."""

READ_AHEAD_BUFFERS = 4
"""The reader stops while this many times the send buffer is unsent: only responses to pings and the like reach it."""

KEEPALIVE_CHECKS = 4
"""Checks for silent peers per `keepalive_timeout`."""

_RESETS = {
    ErrorCodes.REFUSED_STREAM: Status.UNAVAILABLE,
    ErrorCodes.CANCEL: Status.CANCELLED,
    ErrorCodes.ENHANCE_YOUR_CALM: Status.RESOURCE_EXHAUSTED,
    ErrorCodes.INADEQUATE_SECURITY: Status.PERMISSION_DENIED,
}
"""The status of a call by the code of its reset, as gRPC maps them; any other code is INTERNAL."""

Stream = TypeVar("Stream", bound=MessageStream[Any, Any])

log = structlog.get_logger(__name__)


class Connection(Generic[Stream]):
    """The common part of a server's and a client's connection. Only `run` is asynchronous."""

    def __init__(
        self, transport: trio.abc.Stream, limits: Limits, turn: Turn, *, client_side: bool, received: bytes = b""
    ) -> None:
        """`turn` bounds the time of processing. `received`: bytes that were already read from the transport."""
        self.limits = limits
        self.streams: dict[int, Stream] = {}
        scheme = "https" if isinstance(transport, trio.SSLStream) else "http"
        self.protocol = Protocol(limits, client_side=client_side, scheme=scheme)
        self.http2 = self.protocol.http2
        self.waiting: dict[MessageStream[Any, Any], None] = {}
        """The streams that wait for the buffer or for the connection's window, in order of arrival."""
        self.going_away = False
        """Whether the connection refuses new streams."""
        self._transport = transport
        self._turn = turn
        self._received = received
        self._scope = trio.CancelScope()
        self._wake_writer = trio.Event()
        self._wake_reader = trio.Event()
        self._sending_since = math.inf
        self._sent_all = trio.Event()
        self._closing = False
        self._write_failed = False
        self._received_at = trio.current_time()
        self._pinged = False

    @property
    def has_room(self) -> bool:
        """Whether the send buffer is below its bound."""
        return self.http2.outbound_size < self.limits.send_buffer

    def wake_next(self) -> None:
        """Wake the stream that has waited longest, if there is room for it."""
        if self.waiting and self.has_room and self.http2.outbound_flow_control_window > 0:
            stream = next(iter(self.waiting))
            del self.waiting[stream]
            stream.window_opened()

    def flush(self) -> None:
        """Wake the writer."""
        self._wake_writer.set()

    def forget(self, stream: Stream) -> None:
        """Remove a stream that has ended. Close the connection if it is going away and has no other stream."""
        stream.detach()
        if self.streams.pop(stream.stream_id, None) is not None:
            self.http2.forget(stream.stream_id)
        if self.going_away and not self.streams:
            self.close()

    def close(self) -> None:
        """Send the buffer, then end once the peer has ended too."""
        self._closing = True
        self.flush()

    def cancel(self) -> None:
        """End the connection at once."""
        self._scope.cancel()

    def check_alive(self) -> None:
        """Ping a silent peer. End the connection if the peer has not answered in time, or does not read."""
        if self._write_failed:
            return  # its reader ends it within `close_timeout`
        now = trio.current_time()
        silence = now - self._received_at
        if now - self._sending_since > self.limits.send_timeout:
            log.info("rpc_peer_does_not_read", seconds=round(now - self._sending_since))
            self.cancel()
        elif silence > self.limits.keepalive_interval + self.limits.keepalive_timeout:
            log.info("rpc_peer_silent", seconds=round(silence))
            self.cancel()
        elif silence > self.limits.keepalive_interval and not self._pinged and not self._closing:
            self._pinged = True
            self.http2.ping(b"rookery?")
            self.flush()

    async def run(self) -> None:
        """Serve the connection until it ends, then end its streams."""
        try:
            with self._scope:
                await self._serve()
        finally:
            self._disconnect_streams()
            await trio.aclose_forcefully(self._transport)

    async def _serve(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._write)
            await self._read()
            self._disconnect_streams()
            self.close()
            with trio.move_on_after(self.limits.close_timeout):
                await self._sent_all.wait()
                await self._discard()
            self.cancel()

    async def _read(self) -> None:
        """Read until the peer ends the connection or breaks the protocol."""
        while data := await self._receive():
            now = trio.current_time()
            self.http2.forgive_idle_frames(now - self._received_at)
            self._received_at = now
            self._pinged = False
            start = 0
            while start < len(data):
                await self._turn.wait()
                end = start + max(SLICE_BYTES, self.http2.missing_bytes)
                with self._turn:
                    usable = self._process(data[start:end])
                if not usable:
                    return
                start = end
                while (
                    self.http2.outbound_size > READ_AHEAD_BUFFERS * self.limits.send_buffer and not self._write_failed
                ):
                    self._wake_reader = trio.Event()
                    await self._wake_reader.wait()

    async def _discard(self) -> None:
        """Read until the peer ends: closing a socket with unread bytes resets it, and the last sent bytes are lost."""
        while await self._receive():
            pass

    async def _receive(self) -> bytes:
        """Return received bytes; none if the peer has ended the connection."""
        if self._received:
            data, self._received = self._received, b""
            return data
        try:
            if isinstance(self._transport, trio.SocketStream):
                return await _read_socket(self._transport.socket.fileno())
            return bytes(await self._transport.receive_some(READ_BYTES))
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    def _process(self, data: bytes) -> bool:
        """Process received bytes. Return whether the connection is still usable."""
        try:
            events = self.protocol.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self._protocol_violated(error)
            return False
        for event in events:
            self._handle(event)
        if self.http2.outbound_size:
            self.flush()
        return True

    def _protocol_violated(self, error: h2.exceptions.ProtocolError) -> None:
        """Log that the peer has violated the protocol."""
        log.info("rpc_protocol_broken", error=str(error))

    async def _write(self) -> None:
        """Send the buffer whenever it fills, until the connection is closed and the buffer is empty."""
        try:
            while True:
                data = self.protocol.data_to_send()
                if data:
                    self._sending_since = trio.current_time()
                    await self._transport.send_all(data)
                    self._sending_since = math.inf
                    self._wake_reader.set()
                    self.wake_next()
                elif self._closing:
                    self._sent_all.set()
                    await self._end_output()
                    return
                else:
                    self._wake_writer = trio.Event()
                    await self._wake_writer.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            self._stop_writing()

    def _stop_writing(self) -> None:
        """Stop the writer after a failed write. The reader continues to the end of the connection, for `close_timeout`
        at most: the peer's last frames, such as the status of a call, may be unread."""
        self._write_failed = True
        self._closing = True
        self._sent_all.set()
        self._wake_reader.set()
        self._scope.deadline = trio.current_time() + self.limits.close_timeout

    async def _end_output(self) -> None:
        """Shut down the sending side. TLS's own close alert would end both directions, and HTTP/2 needs none."""
        transport = self._transport
        if isinstance(transport, trio.SSLStream):
            transport = transport.transport_stream
        if isinstance(transport, trio.abc.HalfCloseableStream):
            await transport.send_eof()

    def _handle(self, event: Event) -> None:
        """Handle an event. Subclasses add the events of their end."""
        match event:
            case h2.events.DataReceived():
                self.http2.release_window(event.flow_controlled_length)
                if stream := self.streams.get(event.stream_id):
                    stream.data_received(event.data, event.flow_controlled_length)
            case h2.events.StreamEnded():
                if stream := self.streams.get(event.stream_id):
                    stream.end_received()
            case h2.events.StreamReset():
                if stream := self.streams.get(event.stream_id):
                    stream.disconnect(_reset_error(event.error_code))
            case h2.events.WindowUpdated(stream_id=0):
                self.wake_next()
            case h2.events.WindowUpdated():
                if event.stream_id and (stream := self.streams.get(event.stream_id)):
                    stream.window_opened()
            case h2.events.RemoteSettingsChanged():
                self._settings_changed()
            case _:
                pass

    def _settings_changed(self) -> None:
        """Wake all streams: the windows of all may have changed."""
        for stream in self.streams.values():
            stream.window_opened()

    def _disconnect_streams(self) -> None:
        """End all streams: the peer is gone."""
        error = RpcError(Status.UNAVAILABLE, "the connection was lost")
        for stream in list(self.streams.values()):
            stream.disconnect(error)


async def keep_alive(connections: Collection[Connection[Any]], limits: Limits) -> None:
    """Check all connections for silent peers, for ever, in one task."""
    while True:
        await trio.sleep(limits.keepalive_timeout / KEEPALIVE_CHECKS)
        _check_alive(connections)


def _check_alive(connections: Collection[Connection[Any]]) -> None:
    """Check each connection once. In a function, since a local name of the caller would keep the last one alive."""
    for connection in list(connections):
        connection.check_alive()


async def _read_socket(number: int) -> bytes:
    """Read as SocketStream does, but wait for readability first: data is rarely there already, and data that arrives
    while other tasks run is read at once. `number` is the socket's descriptor. Raises OSError on a lost connection.
    """
    while True:
        await trio.lowlevel.wait_readable(number)
        try:
            return os.read(number, READ_BYTES)
        except BlockingIOError:
            pass


def _reset_error(code: ErrorCodes | int | None) -> RpcError:
    status = _RESETS.get(cast(ErrorCodes, code), Status.INTERNAL)
    return RpcError(status, f"the stream was reset with {code!r}", unprocessed=code == ErrorCodes.REFUSED_STREAM)

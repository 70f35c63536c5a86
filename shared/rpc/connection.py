"""One connection's input and output: a task that reads, one that writes, and the streams that they serve.

Everything that streams send gathers in h2's buffer, from which the writer takes all there is at once. The buffer is
bounded: a stream waits while it is full, and nothing more is read while answers to what was read fill it. Streams that
wait for the connection take turns: one is woken, and wakes the next if there is still room when it has sent.
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

from shared.rpc.limits import Limits
from shared.rpc.protocol import Event, Protocol
from shared.rpc.status import RpcError, Status
from shared.rpc.streams import MessageStream

READ_BYTES = 64 * 1024
"""Taken from the socket at once: four of HTTP/2's frames."""

SLICE_BYTES = 4 * 1024
"""Of what was read, taken before other tasks have their turn: one peer's smallest frames, some 90 calls that are opened
and reset, keep all others waiting for 30 ms at most."""

READ_AHEAD_BUFFERS = 4
"""Nothing is read while this many times the send buffer waits: only answers to pings and the like come to it."""

KEEPALIVE_CHECKS = 4
"""How often the silence of peers is looked at within `keepalive_timeout`."""

_RESETS = {
    ErrorCodes.REFUSED_STREAM: Status.UNAVAILABLE,
    ErrorCodes.CANCEL: Status.CANCELLED,
    ErrorCodes.ENHANCE_YOUR_CALM: Status.RESOURCE_EXHAUSTED,
    ErrorCodes.INADEQUATE_SECURITY: Status.PERMISSION_DENIED,
}
"""gRPC's reading of why a stream was reset; all others are INTERNAL."""

Stream = TypeVar("Stream", bound=MessageStream[Any, Any])

log = structlog.get_logger(__name__)


class Connection(Generic[Stream]):
    """What both ends have in common. `run` is its life; everything else is synchronous."""

    def __init__(self, transport: trio.abc.Stream, limits: Limits, *, client_side: bool, received: bytes = b"") -> None:
        """`received` are the peer's first bytes, if somebody has read them."""
        self.limits = limits
        self.streams: dict[int, Stream] = {}
        scheme = "https" if isinstance(transport, trio.SSLStream) else "http"
        self.protocol = Protocol(limits, client_side=client_side, scheme=scheme)
        self.http2 = self.protocol.http2
        self.waiting: dict[MessageStream[Any, Any], None] = {}
        """The streams that wait for the buffer or for the connection's window, in their order."""
        self.going_away = False
        """Whether no more streams may be opened."""
        self._transport = transport
        self._received = received
        self._scope = trio.CancelScope()
        self._wake_writer = trio.Event()
        self._wake_reader = trio.Event()
        self._sending_since = math.inf
        self._sent_all = trio.Event()
        self._closing = False
        self._output_lost = False
        self._heard_at = trio.current_time()
        self._pinged = False

    @property
    def has_room(self) -> bool:
        """Whether the buffer takes more."""
        return self.http2.outbound_size < self.limits.send_buffer

    def wake_next(self) -> None:
        """Let the stream that has waited longest go on, if there is room for it."""
        if self.waiting and self.has_room and self.http2.outbound_flow_control_window > 0:
            stream = next(iter(self.waiting))
            del self.waiting[stream]
            stream.window_opened()

    def flush(self) -> None:
        """Let the writer see that there is something to send."""
        self._wake_writer.set()

    def forget(self, stream: Stream) -> None:
        """A stream is done with. The last one of a connection that goes away closes it."""
        stream.leave()
        if self.streams.pop(stream.stream_id, None) is not None:
            self.http2.forget(stream.stream_id)
        if self.going_away and not self.streams:
            self.close()

    def close(self) -> None:
        """Send what waits, then end when the peer has ended too."""
        self._closing = True
        self.flush()

    def cancel(self) -> None:
        """End now."""
        self._scope.cancel()

    def check_alive(self) -> None:
        """Ask a silent peer whether it is there; end the connection if it did not answer in time, or does not read."""
        if self._output_lost:
            return  # its end is near
        now = trio.current_time()
        silence = now - self._heard_at
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
        """Serve the connection until it ends; its streams end with it."""
        try:
            with self._scope:
                await self._serve()
        finally:
            self._lose_peer()
            await trio.aclose_forcefully(self._transport)

    async def _serve(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._write)
            await self._read()
            self._lose_peer()
            self.close()
            with trio.move_on_after(self.limits.close_timeout):
                await self._sent_all.wait()
                await self._discard()
            self.cancel()

    async def _read(self) -> None:
        """Read until the peer ends the connection or breaks the protocol."""
        while data := await self._receive():
            now = trio.current_time()
            self.http2.pass_time(now - self._heard_at)
            self._heard_at = now
            self._pinged = False
            for start in range(0, len(data), SLICE_BYTES):
                if start:
                    await trio.lowlevel.checkpoint()
                if not self._take(data[start : start + SLICE_BYTES]):
                    return
                while self.http2.outbound_size > READ_AHEAD_BUFFERS * self.limits.send_buffer and not self._output_lost:
                    self._wake_reader = trio.Event()
                    await self._wake_reader.wait()

    async def _discard(self) -> None:
        """Read on until the peer ends: what is closed with unread bytes takes its last words back."""
        while await self._receive():
            pass

    async def _receive(self) -> bytes:
        """What has come; nothing if the peer has ended the connection."""
        if self._received:
            data, self._received = self._received, b""
            return data
        try:
            if isinstance(self._transport, trio.SocketStream):
                return await _read_socket(self._transport.socket.fileno())
            return bytes(await self._transport.receive_some(READ_BYTES))
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    def _take(self, data: bytes) -> bool:
        """Do what the peer says; whether the connection can go on."""
        try:
            events = self.protocol.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self._give_up(error)
            return False
        for event in events:
            self._handle(event)
        if self.http2.outbound_size:
            self.flush()
        return True

    def _give_up(self, error: h2.exceptions.ProtocolError) -> None:
        """The peer has broken the protocol."""
        log.info("rpc_protocol_broken", error=str(error))

    async def _write(self) -> None:
        """Send what gathers, until the connection is closed and everything is sent."""
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
            self._lose_output()

    def _lose_output(self) -> None:
        """A write has failed. What the peer sent before may still be unread, such as the status of a call: the reader
        goes on to the end of it, for `close_timeout` at most."""
        self._output_lost = True
        self._closing = True
        self._sent_all.set()
        self._wake_reader.set()
        self._scope.deadline = trio.current_time() + self.limits.close_timeout

    async def _end_output(self) -> None:
        """Let the peer see that nothing more comes. TLS has an end of its own, but not one that leaves the other way
        open; HTTP/2 needs none."""
        transport = self._transport
        if isinstance(transport, trio.SSLStream):
            transport = transport.transport_stream
        if isinstance(transport, trio.abc.HalfCloseableStream):
            await transport.send_eof()

    def _handle(self, event: Event) -> None:
        """Do what an event says. The two ends add what they have of their own."""
        match event:
            case h2.events.DataReceived():
                self.http2.give_back(event.flow_controlled_length)
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
        """Every stream's window may have changed."""
        for stream in self.streams.values():
            stream.window_opened()

    def _lose_peer(self) -> None:
        """The peer has gone: so have all its streams."""
        error = RpcError(Status.UNAVAILABLE, "the connection was lost")
        for stream in list(self.streams.values()):
            stream.disconnect(error)


async def keep_alive(connections: Collection[Connection[Any]], limits: Limits) -> None:
    """Look after the silence of all connections, for ever: one task for all of them."""
    while True:
        await trio.sleep(limits.keepalive_timeout / KEEPALIVE_CHECKS)
        _check_alive(connections)


def _check_alive(connections: Collection[Connection[Any]]) -> None:
    """A function, since a local name would hold one of them until the next time."""
    for connection in list(connections):
        connection.check_alive()


async def _read_socket(number: int) -> bytes:
    """As SocketStream does, but it waits first: what a peer sends is hardly ever there already, and what comes while
    others are at work is read together. `number` is the socket's descriptor. Raises OSError if the connection is lost.
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

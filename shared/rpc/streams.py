"""The streams of calls: what a handler gets of its call, and what a caller gets of its own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio
from google.protobuf.message import DecodeError, Message
from h2.errors import ErrorCodes

from shared.rpc.framing import MessageBuffer, frame_messages
from shared.rpc.http2 import SLIVER_BYTES
from shared.rpc.status import Metadata, RpcError, Status

if TYPE_CHECKING:
    from shared.rpc.client.connection import ClientConnection
    from shared.rpc.connection import Connection

Incoming = TypeVar("Incoming", bound=Message)
Outgoing = TypeVar("Outgoing", bound=Message)


class MessageStream(Generic[Incoming, Outgoing]):
    """Messages both ways, each side bounded by windows.

    A stream that is not read stops its peer after a window's worth; a peer that does not read makes `send` wait.
    Neither stops another stream.
    """

    def __init__(self, connection: "Connection[Any]", stream_id: int, incoming: type[Incoming]) -> None:
        self.stream_id = stream_id
        self.failure: RpcError | None = None
        """Why nothing more can be sent or received."""
        self.sends_gzip = False
        """Whether messages go out compressed."""
        self._connection = connection
        self._incoming = incoming
        self._inbound = MessageBuffer(connection.limits.max_message_bytes)
        self._ended = False  # nothing more will be received
        self._torn = False  # a message was sent in part, and its rest will never be
        self._arrived: trio.Event | None = None
        self._window_opened: trio.Event | None = None
        self._turn: trio.Lock | None = None

    async def receive(self) -> Incoming | None:
        """The peer's next message; None when it has sent all of them. Returns at once if one is there.

        Raises RpcError if the message is too large or can't be read, or if the call has failed.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while (data := self._inbound.take()) is None:
            if self.failure is not None:
                raise self.failure
            if self._ended:
                if self._inbound:
                    raise RpcError(Status.INTERNAL, "the stream ended within a message")
                return None
            self._inbound.accept_rest()
            self._give_credit()
            self._arrived = self._arrived or trio.Event()
            await self._arrived.wait()
        self._give_credit()
        try:
            return self._incoming.FromString(data)
        except DecodeError:
            raise RpcError(Status.INTERNAL, f"not a message of type {self._incoming.DESCRIPTOR.full_name}") from None

    @property
    def received_compressed(self) -> bool:
        """Whether the message that was received last had come compressed."""
        return self._inbound.took_compressed

    async def send(self, message: Outgoing, *, compress: bool = True) -> None:
        """Send a message. Returns when it is on its way: at once, unless the peer or the socket is behind.

        On a stream that sends gzip it is compressed, unless `compress` is false. Raises RpcError if the call has failed
        or has ended. Cancelled while a message is sent in part, it ends the stream.
        """
        await self.send_encoded((message.SerializeToString(),), compress=compress)

    async def send_encoded(self, messages: Sequence[bytes], *, compress: bool = True) -> None:
        """Send messages that are serialised already, together; otherwise as `send`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._send(frame_messages(messages, compress=compress and self.sends_gzip))

    def abort(self, error: RpcError) -> None:
        """End the stream for its user: what waits on it raises the error."""
        self.failure = self.failure or error
        self._notify_receiver()
        self.window_opened()

    def leave(self) -> None:
        """Whoever still holds the stream can do nothing with it any more."""
        self.abort(RpcError(Status.CANCELLED, "the call has ended"))

    def disconnect(self, error: RpcError) -> None:
        """The peer has reset the stream or is gone: nothing can be sent on it any more."""
        self.abort(error)

    def data_received(self, data: bytes, flow_controlled_length: int) -> None:
        """Keep what came. The rest of the flow-controlled length is padding, which nobody will read."""
        self._inbound.append(data)
        self._inbound.credit += flow_controlled_length - len(data)
        self._notify_receiver()

    def end_received(self) -> None:
        """The peer has sent all."""
        self._ended = True
        self._notify_receiver()

    def window_opened(self) -> None:
        """The peer may take more."""
        if self._window_opened is not None:
            self._window_opened.set()
            self._window_opened = None

    def _notify_receiver(self) -> None:
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    def _give_credit(self) -> None:
        """Open the stream's window by what was read, half a window at a time."""
        if self._inbound.credit >= self._connection.limits.stream_window // 2 and not self._ended and not self.failure:
            self._connection.http2.increment_flow_control_window(self._inbound.credit, self.stream_id)
            self._connection.flush()
            self._inbound.credit = 0

    async def _send(self, data: bytes) -> None:
        """Send framed messages, after those that other tasks are sending."""
        http2 = self._connection.http2
        if self.failure is not None:
            raise self.failure
        free = self._turn is None or not self._turn.locked()
        if free and self._connection.has_room and len(data) <= http2.sendable(self.stream_id):
            http2.send_data_frame(self.stream_id, data)
            self._connection.flush()
            return
        self._turn = self._turn or trio.Lock()
        async with self._turn:
            await self._send_in_parts(data)

    async def _send_in_parts(self, data: bytes) -> None:
        sent = 0
        try:
            while sent < len(data):
                size = await self._wait_for_room()
                part = data[sent : sent + size]
                sent += len(part)
                sliver = size < SLIVER_BYTES and sent < len(data)
                self._connection.http2.send_data_frame(self.stream_id, part, sliver=sliver)
                self._connection.flush()
        except BaseException:  # trio.Cancelled too: a message that is cut off breaks the stream; raised again
            if sent:
                self._torn = True
                self.abort(RpcError(Status.INTERNAL, "a message was cut off while it was sent"))
            raise
        finally:
            self._connection.waiting.pop(self, None)
            self._connection.wake_next()

    async def _wait_for_room(self) -> int:
        """Wait until the peer and the socket take more; the size of the next frame."""
        connection = self._connection
        while True:
            if self.failure is not None:
                raise self.failure
            size = connection.http2.sendable(self.stream_id)
            if size > 0 and connection.has_room:
                return size
            if connection.http2.streams[self.stream_id].outbound_flow_control_window > 0:
                connection.waiting[self] = None
            else:  # the turn is another's
                connection.wake_next()
            self._window_opened = self._window_opened or trio.Event()
            await self._window_opened.wait()


class ServerStream(MessageStream[Incoming, Outgoing]):
    """A client's call, for its handler. The handler's return ends it with OK; raising RpcError, with that status.

    When the client resets the call or its connection ends, when its deadline passes and when the server stops, the
    handler is cancelled.
    """

    def __init__(
        self,
        connection: "Connection[Any]",
        stream_id: int,
        incoming: type[Incoming],
        *,
        method: str,
        metadata: Metadata,
        peer: str,
        timeout: float | None,
        compressed: bool,
        takes_gzip: bool,
    ) -> None:
        super().__init__(connection, stream_id, incoming)
        self.method = method
        """`/<service>/<method>`"""
        self.metadata = metadata
        """What the client sent with the call."""
        self.peer = peer
        """The client's address."""
        self.trailing_metadata: Metadata = ()
        """What goes with the status, if the handler sets it."""
        self.scope = trio.CancelScope()
        """What the handler runs in."""
        if timeout is not None:
            self.scope.deadline = trio.current_time() + timeout
        self._inbound.compressed = compressed
        self._takes_gzip = takes_gzip
        self._responded = False
        self._disconnected = False

    @property
    def deadline(self) -> float:
        """Until when the client waits, by Trio's clock; infinity if it gave no timeout."""
        return self.scope.deadline

    def start_compression(self) -> bool:
        """Compress what is sent, if the client takes that: whether it does. Comes before all that is sent."""
        self.sends_gzip = self._takes_gzip and not self._responded
        return self.sends_gzip

    async def send_metadata(self, metadata: Metadata) -> None:
        """Send the answer's headers with this, before the first message. Raises ValueError for bad metadata."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._respond(metadata)
        self._connection.flush()

    def abort(self, error: RpcError) -> None:
        super().abort(error)
        self.scope.cancel()

    def disconnect(self, error: RpcError) -> None:
        self._disconnected = True
        super().disconnect(error)

    def finish(self, error: RpcError | None) -> None:
        """Send the status, and end the stream both ways. Raises ValueError, having sent nothing, for bad metadata."""
        if self._disconnected:
            return
        if self._torn:
            self._connection.protocol.reset(self.stream_id, ErrorCodes.INTERNAL_ERROR)
        else:
            self._connection.protocol.finish(self.stream_id, error, self.trailing_metadata, responded=self._responded)
        self._connection.flush()

    def _respond(self, metadata: Metadata = ()) -> None:
        if self.failure is not None:
            raise self.failure
        self._connection.protocol.respond(self.stream_id, metadata, compressed=self.sends_gzip)
        self._responded = True

    async def _send(self, data: bytes) -> None:
        if not self._responded:
            self._respond()
        await super()._send(data)


class ClientStream(MessageStream[Incoming, Outgoing]):
    """One's own call. Made by `open_stream`."""

    def __init__(self, connection: "ClientConnection", stream_id: int, incoming: type[Incoming]) -> None:
        super().__init__(connection, stream_id, incoming)
        self._server = connection
        self.metadata: Metadata = ()
        """What the server sent before its first message."""
        self.trailing_metadata: Metadata = ()
        """What the server sent with the status."""
        self._half_closed = False

    @property
    def outcome(self) -> Status | None:
        """How the call ended; None while it is under way."""
        if self.failure is not None:
            return self.failure.status
        return Status.OK if self._ended else None

    def doubt_server(self, silent_since: float) -> None:
        """There was no answer in time, though the server may have said something else since then."""
        self._server.doubt(silent_since)

    async def end(self) -> None:
        """Tell the server that nothing more will be sent; `receive` goes on."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._half_closed and not self._ended and self.failure is None:
            self._half_closed = True
            self._connection.protocol.end_request(self.stream_id)
            self._connection.flush()

    def response_started(self, metadata: Metadata, *, compressed: bool) -> None:
        """The server's first headers."""
        self.metadata = metadata
        self._inbound.compressed = compressed

    def call_ended(self, error: RpcError | None, metadata: Metadata) -> None:
        """The server's status: what came before it can still be received."""
        self.trailing_metadata = metadata
        self._ended = True
        if error is not None:
            self.abort(error)
        self._notify_receiver()

    def end_received(self) -> None:
        if not self._ended:
            self.call_ended(RpcError(Status.UNKNOWN, "the server ended the call without a status"), ())

    def disconnect(self, error: RpcError) -> None:
        if not self._ended:
            super().disconnect(error)

    def close(self) -> None:
        """Leave the call: the server hears of it if it has not ended it."""
        self._connection.protocol.reset(self.stream_id, ErrorCodes.CANCEL)
        self._connection.flush()
        self._connection.forget(self)

    async def _send(self, data: bytes) -> None:
        if self._ended and self.failure is None:
            raise RpcError(Status.CANCELLED, "the server has ended the call")
        await super()._send(data)

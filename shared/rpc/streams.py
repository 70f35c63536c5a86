"""The streams of calls: the side of a handler, and the side of a caller."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import trio
from google.protobuf.message import DecodeError, Message
from h2.errors import ErrorCodes

from shared.net.turns import MESSAGE_SECONDS, Turn
from shared.rpc.framing import PREFIX, MessageBuffer, frame_messages
from shared.rpc.http2 import SLIVER_BYTES, Http2Connection
from shared.rpc.status import Metadata, RpcError, Status

if TYPE_CHECKING:
    from shared.rpc import protocol
    from shared.rpc.limits import Limits

Incoming = TypeVar("Incoming", bound=Message)
Outgoing = TypeVar("Outgoing", bound=Message)


class StreamConnection(Protocol):
    """The part of a connection that its streams use."""

    limits: "Limits"
    protocol: "protocol.Protocol"
    http2: Http2Connection
    waiting: dict["MessageStream[Any, Any]", None]

    @property
    def has_room(self) -> bool:
        """Whether the send buffer is below its bound."""
        ...

    def flush(self) -> None:
        """Wake the writer."""

    def wake_next(self) -> None:
        """Wake the stream that has waited longest, if there is room for it."""


class ClientStreamConnection(StreamConnection, Protocol):
    """The part of a client's connection that its streams use."""

    def forget(self, stream: "ClientStream[Any, Any]") -> None:
        """Remove a stream that has ended."""

    def probe(self, silent_since: float) -> None:
        """Ping the server unless it has sent something since then."""


class ServerStreamConnection(StreamConnection, Protocol):
    """The part of a server's connection that its streams use."""

    @property
    def turn(self) -> Turn:
        """The turn of the client's address."""
        ...

    @property
    def is_authenticated(self) -> bool:
        """Whether a client has authenticated on the connection."""
        ...

    def authenticate(self) -> None:
        """Mark the connection as one of an authenticated client."""

    def end_authentication(self) -> None:
        """Take back one `authenticate`."""


class MessageStream(Generic[Incoming, Outgoing]):
    """Messages in both directions, each bounded by a window.

    A stream that is not read stops its peer once the window is full; a peer that does not read makes `send` wait.
    Neither stops another stream.
    """

    def __init__(self, connection: StreamConnection, stream_id: int, incoming: type[Incoming]) -> None:
        self.stream_id = stream_id
        self.failure: RpcError | None = None
        """The error that ended the stream, without a traceback; None while it is open."""
        self.sends_gzip = False
        """Whether sent messages are compressed."""
        self._connection = connection
        self._incoming = incoming
        self._inbound = MessageBuffer(connection.limits.max_message_bytes)
        self._ended = False  # the peer has sent its last message
        self._partly_sent = False  # the rest of a message will never be sent
        self._arrived: trio.Event | None = None
        self._window_opened: trio.Event | None = None
        self._send_lock: trio.Lock | None = None

    async def receive(self) -> Incoming | None:
        """Return the peer's next message; None after the last. Returns at once if one is there.

        Raises RpcError if the message is too large or can't be parsed, or if the call has failed.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while (data := self._inbound.take()) is None:
            if self.failure is not None:
                raise self.failure.again()
            if self._ended:
                if self._inbound:
                    raise RpcError(Status.INTERNAL, "the stream ended within a message")
                return None
            await self._wait_for_data()
        self._give_credit()
        try:
            return self._incoming.FromString(data)
        except DecodeError:
            raise RpcError(Status.INTERNAL, f"not a message of type {self._incoming.DESCRIPTOR.full_name}") from None

    async def _wait_for_data(self) -> None:
        """Open the window for the rest of an incomplete message, and wait until more has arrived or the call ends."""
        self._inbound.credit_unread()
        self._give_credit()
        self._arrived = self._arrived or trio.Event()
        await self._arrived.wait()

    async def receive_only(self) -> Incoming:
        """Return the message of a call that takes one, once the peer has ended the request.

        Until then the message stays packed, so that an unfinished request keeps no more memory than its bytes. Raises
        RpcError also if there is no message, or more than one.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._ended and self._inbound.holds_at_most_one():
            if self.failure is not None:
                raise self.failure.again()
            await self._wait_for_data()
        message = await self.receive()
        if message is None or self._inbound or not self._ended:
            raise RpcError(Status.UNIMPLEMENTED, "the method takes one message")
        return message

    @property
    def received_compressed(self) -> bool:
        """Whether the last received message was compressed."""
        return self._inbound.took_compressed

    async def send(self, message: Outgoing, *, compress: bool = True) -> None:
        """Send a message. Returns when the send buffer has it: at once, unless the peer or the socket is slow.

        On a stream that sends gzip the message is compressed, unless `compress` is false. Raises RpcError if the call
        has failed or has ended. A cancellation after a part of the message was sent ends the stream.
        """
        await self.send_encoded((message.SerializeToString(),), compress=compress)

    async def send_encoded(self, messages: Sequence[bytes], *, compress: bool = True) -> None:
        """Send serialised messages together; otherwise as `send`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._send([frame_messages(messages, compress=compress and self.sends_gzip)])

    async def send_shared(self, parts: Sequence[bytes]) -> None:
        """Send one serialised message, given in parts, not compressed. The parts are not copied until the peer takes
        them: streams that wait share those of all of them. Otherwise as `send`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._send([PREFIX.pack(False, sum(map(len, parts))), *parts])

    def abort(self, error: RpcError) -> None:
        """End the stream for its user: its waiting tasks raise the error."""
        self.failure = self.failure or error.again()
        self._notify_receiver()
        self.window_opened()

    def detach(self) -> None:
        """Make the stream unusable for a task that still holds it."""
        self.abort(RpcError(Status.CANCELLED, "the call has ended"))

    def disconnect(self, error: RpcError) -> None:
        """Abort the stream: the peer has reset it or is gone, so nothing can be sent on it any more."""
        self.abort(error)

    def data_received(self, data: bytes, flow_controlled_length: int) -> None:
        """Append received data. The rest of the flow-controlled length is padding, which is credited at once."""
        self._inbound.append(data)
        self._inbound.credit += flow_controlled_length - len(data)
        self._notify_receiver()

    def end_received(self) -> None:
        """Mark that the peer has sent its last message."""
        self._ended = True
        self._notify_receiver()

    def window_opened(self) -> None:
        """Wake the sender: the peer may take more."""
        if self._window_opened is not None:
            self._window_opened.set()
            self._window_opened = None

    def _notify_receiver(self) -> None:
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    def _give_credit(self) -> None:
        """Open the stream's window by the bytes that were read, once they are half a window."""
        if self._inbound.credit >= self._connection.limits.stream_window // 2 and not self._ended and not self.failure:
            self._connection.http2.increment_flow_control_window(self._inbound.credit, self.stream_id)
            self._connection.flush()
            self._inbound.credit = 0

    @property
    def _is_over(self) -> bool:
        """Whether the peer takes no more messages."""
        return self.failure is not None

    def _check_open(self) -> None:
        """Raise RpcError if the peer takes no more messages."""
        if self.failure is not None:
            raise self.failure.again()

    async def _send(self, parts: Sequence[bytes]) -> None:
        """Send framed messages, in parts, after the messages that other tasks are sending."""
        http2 = self._connection.http2
        self._check_open()
        free = self._send_lock is None or not self._send_lock.locked()
        if free and self._connection.has_room and sum(map(len, parts)) <= http2.sendable(self.stream_id):
            http2.send_data_frame(self.stream_id, parts[0] if len(parts) == 1 else b"".join(parts))
            self._connection.flush()
            return
        self._send_lock = self._send_lock or trio.Lock()
        async with self._send_lock:
            await self._send_frames(parts)

    async def _send_frames(self, parts: Sequence[bytes]) -> None:
        """Send the parts in frames of the size that the peer and the socket take."""
        has_sent = False
        try:
            for part in parts:
                sent = 0
                while sent < len(part):
                    size = await self._wait_for_room()
                    piece = part[sent : sent + size]
                    sent += len(piece)
                    has_sent = True
                    sliver = size < SLIVER_BYTES and sent < len(part)
                    self._connection.http2.send_data_frame(self.stream_id, piece, sliver=sliver)
                    self._connection.flush()
        except BaseException:  # trio.Cancelled too: a message that is cut off breaks the stream; raised again
            if has_sent:
                self._partly_sent = True
                if not self._is_over:
                    self.abort(RpcError(Status.INTERNAL, "a message was cut off while it was sent"))
            raise
        finally:
            self._connection.waiting.pop(self, None)
            self._connection.wake_next()

    async def _wait_for_room(self) -> int:
        """Wait until the peer and the socket take more. Returns the size of the next frame."""
        connection = self._connection
        while True:
            self._check_open()
            size = connection.http2.sendable(self.stream_id)
            if size > 0 and connection.has_room:
                return size
            if connection.http2.streams[self.stream_id].outbound_flow_control_window > 0:
                connection.waiting[self] = None
            else:  # its own window is closed: pass the turn on
                connection.wake_next()
            self._window_opened = self._window_opened or trio.Event()
            await self._window_opened.wait()


class ServerStream(MessageStream[Incoming, Outgoing]):
    """A client's call, for its handler. A return of the handler ends it with OK, an RpcError with its status.

    The handler is cancelled when the client resets the call, its connection ends, its deadline passes, or the server
    stops.
    """

    def __init__(
        self,
        connection: ServerStreamConnection,
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
        self._server = connection
        self.method = method
        """`/<service>/<method>`"""
        self.metadata = metadata
        """The metadata that the client sent with the call."""
        self.peer = peer
        """The client's address."""
        self.trailing_metadata: Metadata = ()
        """The metadata that is sent with the status; set by the handler."""
        self.scope = trio.CancelScope()
        """The scope in which the handler runs."""
        if timeout is not None:
            self.scope.deadline = trio.current_time() + timeout
        self._inbound.compressed = compressed
        self._takes_gzip = takes_gzip
        self._responded = False
        self._disconnected = False
        self._authenticated_by_call = False

    @property
    def deadline(self) -> float:
        """The client's deadline, by Trio's clock; infinity if the call has no timeout."""
        return self.scope.deadline

    @property
    def is_authenticated(self) -> bool:
        """Whether a client has authenticated on the call's connection."""
        return self._server.is_authenticated

    @property
    def authenticated_by_call(self) -> bool:
        """Whether this call itself has authenticated its client. It stays true after `end_authentication`."""
        return self._authenticated_by_call

    def authenticate(self) -> None:
        """Mark the call's connection as one of an authenticated client, which is not closed for newcomers or its age.
        For handlers and interceptors that have checked the client's credentials."""
        self._authenticated_by_call = True
        self._server.authenticate()

    def end_authentication(self) -> None:
        """Take back one `authenticate`: the client has signed out. A client that calls again without it, as services do
        between each other, stays authenticated."""
        self._server.end_authentication()

    async def receive(self) -> Incoming | None:
        if self._inbound:  # several messages arrived at once; a single one was counted as received bytes
            await self._server.turn.wait()
            self._server.turn.charge(MESSAGE_SECONDS)
        return await super().receive()

    def start_compression(self) -> bool:
        """Compress sent messages if the client accepts gzip; return whether it does. Call it before the first send."""
        self.sends_gzip = self._takes_gzip and not self._responded
        return self.sends_gzip

    async def send_metadata(self, metadata: Metadata) -> None:
        """Send the response's headers with metadata, before the first message. Raises ValueError for bad metadata."""
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
        """Send the status and end the stream in both directions. For bad metadata, raises ValueError; sends nothing."""
        if self._disconnected:
            return
        if self._partly_sent:
            self._connection.protocol.reset(self.stream_id, ErrorCodes.INTERNAL_ERROR)
        else:
            self._connection.protocol.finish(self.stream_id, error, self.trailing_metadata, responded=self._responded)
        self._connection.flush()

    def _respond(self, metadata: Metadata = ()) -> None:
        if self.failure is not None:
            raise self.failure.again()
        self._connection.protocol.respond(self.stream_id, metadata, compressed=self.sends_gzip)
        self._responded = True

    async def _send(self, parts: Sequence[bytes]) -> None:
        if not self._responded:
            self._respond()
        await super()._send(parts)


class ClientStream(MessageStream[Incoming, Outgoing]):
    """A call to a server. Made by `open_stream`."""

    def __init__(self, connection: ClientStreamConnection, stream_id: int, incoming: type[Incoming]) -> None:
        super().__init__(connection, stream_id, incoming)
        self._server = connection
        self.metadata: Metadata = ()
        """The metadata that the server sent before its first message."""
        self.trailing_metadata: Metadata = ()
        """The metadata that the server sent with the status."""
        self._half_closed = False

    @property
    def outcome(self) -> Status | None:
        """The status of the call; None while it is under way."""
        if self.failure is not None:
            return self.failure.status
        return Status.OK if self._ended else None

    def probe_server(self, silent_since: float) -> None:
        """Ping the server after a call that got no response in time, unless the server has sent anything since then."""
        self._server.probe(silent_since)

    async def end(self) -> None:
        """Half-close the call: nothing more will be sent. `receive` still works."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._half_closed and not self._ended and self.failure is None:
            self._half_closed = True
            self._connection.protocol.end_request(self.stream_id)
            self._connection.flush()

    def response_started(self, metadata: Metadata, *, compressed: bool) -> None:
        """Store the server's first headers."""
        self.metadata = metadata
        self._inbound.compressed = compressed

    def call_ended(self, error: RpcError | None, metadata: Metadata) -> None:
        """End the call with the server's status. Messages that arrived before it can still be received."""
        self.trailing_metadata = metadata
        self._ended = True
        if error is not None:
            self.abort(error)
        self._notify_receiver()
        self.window_opened()

    def end_received(self) -> None:
        if not self._ended:
            self.call_ended(RpcError(Status.UNKNOWN, "the server ended the call without a status"), ())

    def disconnect(self, error: RpcError) -> None:
        if not self._ended:
            super().disconnect(error)

    def close(self) -> None:
        """End the call: reset the stream if the server has not ended it."""
        self._connection.protocol.reset(self.stream_id, ErrorCodes.CANCEL)
        self._connection.flush()
        self._server.forget(self)

    @property
    def _is_over(self) -> bool:
        return self.outcome is not None

    def _check_open(self) -> None:
        super()._check_open()
        if self._ended:
            raise RpcError(Status.CANCELLED, "the server has ended the call")

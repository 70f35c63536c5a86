"""The server's side of one connection: its handshake, and its calls, each in a cancel scope of its own."""

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

import h2.events
import h2.exceptions
import structlog
import trio
from h2.errors import ErrorCodes

from shared.net.turns import Turn, await_client
from shared.rpc.connection import READ_BYTES, Connection
from shared.rpc.http2 import ALPN, StreamRefused
from shared.rpc.protocol import CallRefused, CallStarted, Event, ForeignRequest, MalformedRequest
from shared.rpc.server.foreign import ForeignStream
from shared.rpc.server.methods import AnyServerStream, Handler
from shared.rpc.status import RpcError, Status
from shared.rpc.streams import ServerStream

if TYPE_CHECKING:
    from shared.net.admission import ConnectionLimits, Slot
    from shared.rpc.limits import Limits
    from shared.rpc.server.methods import Methods
    from shared.rpc.server.statistics import ServerCounters

HANDLERS_PER_STREAM = 2
"""Handlers per allowed stream: a client may cancel all its calls and begin as many while the cancelled handlers end."""

log = structlog.get_logger(__name__)


async def complete_handshake(transport: trio.abc.Stream, turn: Turn) -> bytes:
    """Return the first bytes that a client sends in HTTP/2; none if the handshake fails. Over TLS, ALPN must choose h2.

    Until then a connection takes a task, and none of the state of HTTP/2.
    """
    try:
        await await_client(transport, turn)
        if isinstance(transport, trio.SSLStream):
            await transport.do_handshake()
            if transport.selected_alpn_protocol() != ALPN:
                return b""
        return bytes(await transport.receive_some(READ_BYTES))
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        log.debug("rpc_handshake_failed", peer=peer_of(transport), error=str(error.__cause__ or error))
        return b""


def has_certificate(transport: trio.abc.Stream) -> bool:
    """Whether the client has authenticated by a certificate, after the handshake."""
    return isinstance(transport, trio.SSLStream) and bool(transport.getpeercert())


class ServerConnection(Connection[AnyServerStream | ForeignStream]):
    """A client's connection."""

    def __init__(
        self,
        transport: trio.abc.Stream,
        received: bytes,
        limits: "Limits",
        methods: "Methods",
        counters: "ServerCounters",
        handshake_done: Callable[[], None],
        *,
        slot: "Slot",
        unauthenticated: "ConnectionLimits",
    ) -> None:
        """`received`: bytes that were already read. `handshake_done` is called when the client's settings arrive."""
        super().__init__(transport, limits, slot.turn, client_side=False, received=received)
        self._methods = methods
        self._counters = counters
        self._handshake_done = handshake_done
        self._is_handshaking = True
        self._peer = peer_of(transport)
        self._slot = slot
        self._unauthenticated = unauthenticated
        self._opened_at = self._idle_since = trio.current_time()
        self._authentications = int(slot.is_authenticated)

    @property
    def turn(self) -> Turn:
        """The turn of the client's address."""
        return self._slot.turn

    @property
    def is_authenticated(self) -> bool:
        """Whether a client has authenticated on the connection."""
        return self._slot.is_authenticated

    def authenticate(self) -> None:
        """Mark the connection as one of an authenticated client: only silence and idle frames still end it."""
        self._authentications += 1
        self._slot.authenticate()

    def end_authentication(self) -> None:
        """Take back one `authenticate`. After the last, the connection has to authenticate in time as a new one."""
        self._authentications -= 1
        if not self._authentications:
            self._opened_at = trio.current_time()
            self._slot.end_authentication()

    def check_alive(self) -> None:
        super().check_alive()
        if not self.is_authenticated and not self._closing:
            now = trio.current_time()
            is_idle = not self.streams and now - self._idle_since >= self._unauthenticated.idle_seconds
            if is_idle or now - self._opened_at >= self._unauthenticated.total_seconds:
                self._expire()

    def forget(self, stream: AnyServerStream | ForeignStream) -> None:
        super().forget(stream)
        if not self.streams:
            self._idle_since = trio.current_time()

    def go_away(self) -> None:
        """Send GOAWAY: refuse new calls, and close once the open ones have ended."""
        self.going_away = True
        self.http2.go_away()
        self.flush()
        if not self.streams:
            self.close()

    def abort_streams(self, error: RpcError) -> None:
        """Cancel all handlers and send their clients the error."""
        for stream in list(self.streams.values()):
            stream.abort(error)

    def _expire(self) -> None:
        """Send GOAWAY and the status of the open calls, then close without waiting for the client."""
        self.go_away()
        self.abort_streams(RpcError(Status.UNAVAILABLE, "nobody has signed in on this connection: connect again"))
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + self.limits.close_timeout)

    def _handle(self, event: Event) -> None:
        match event:
            case CallStarted():
                self._start_call(event)
            case CallRefused():
                self._refuse(event.stream_id, event.error)
            case ForeignRequest():
                self._respond_to_foreign(event.stream_id)
            case StreamRefused():
                self._counters.calls_refused += 1
            case MalformedRequest():
                self._reset_malformed(event.stream_id)
            case h2.events.RemoteSettingsChanged() if self._is_handshaking:
                self._is_handshaking = False
                self._handshake_done()
            case _:
                super()._handle(event)

    def _protocol_violated(self, error: h2.exceptions.ProtocolError) -> None:
        if isinstance(error, h2.exceptions.DenialOfServiceError):
            self._counters.connections_abused += 1
            log.warning("rpc_peer_abusive", peer=self._peer, error=str(error))
        else:
            super()._protocol_violated(error)

    def _start_call(self, call: CallStarted) -> None:
        if self._refuses(call.stream_id):
            return
        method = self._methods.find(call.service, call.method)
        if isinstance(method, RpcError):
            self._refuse(call.stream_id, method)
            return
        stream: AnyServerStream = ServerStream(
            self,
            call.stream_id,
            method.request_type,
            method=f"/{call.service}/{call.method}",
            metadata=call.metadata,
            peer=self._peer,
            timeout=call.timeout,
            compressed=call.compressed,
            takes_gzip=call.takes_gzip,
        )
        self.streams[call.stream_id] = stream
        self._counters.calls_begun += 1
        self._nursery.start_soon(self._run_call, stream, method.handler)

    def _refuses(self, stream_id: int) -> bool:
        """Refuse a stream, which the client may retry, while too many handlers of reset streams have not ended. Returns
        whether it was refused."""
        if len(self.streams) < HANDLERS_PER_STREAM * self.limits.max_streams:
            return False
        self._counters.calls_refused += 1
        self.protocol.reset(stream_id, ErrorCodes.REFUSED_STREAM)
        self.http2.forget(stream_id)
        return True

    def _reset_malformed(self, stream_id: int) -> None:
        self.protocol.reset(stream_id, ErrorCodes.PROTOCOL_ERROR)
        if stream := self.streams.get(stream_id):  # the trailers are malformed, the headers were not
            stream.disconnect(RpcError(Status.INTERNAL, "the request's trailers are not valid in HTTP/2"))
        else:
            self._counters.calls_refused += 1
            self.http2.forget(stream_id)

    def _refuse(self, stream_id: int, error: RpcError) -> None:
        """Send a call its status alone."""
        self._counters.calls_refused += 1
        self.protocol.finish(stream_id, error, responded=False)
        self.http2.forget(stream_id)

    def _respond_to_foreign(self, stream_id: int) -> None:
        if self._refuses(stream_id):
            return
        self._counters.calls_refused += 1
        self.streams[stream_id] = stream = ForeignStream(self, stream_id)
        self._nursery.start_soon(self._run_foreign, stream)

    async def _run_foreign(self, stream: ForeignStream) -> None:
        try:
            await stream.serve()
        except RpcError:
            pass  # the client has gone
        finally:
            self.forget(stream)

    async def _run_call(self, stream: AnyServerStream, handler: Handler) -> None:
        """Run a call's handler, and send its status."""
        status = Status.UNAVAILABLE  # if the whole connection is cancelled
        try:
            error = await _outcome(stream, handler)
            try:
                stream.finish(error)
            except ValueError as bad_metadata:
                stream.trailing_metadata = ()
                error = _internal_error(stream, bad_metadata)
                stream.finish(error)
            status = Status.OK if error is None else error.status
        finally:
            self._counters.calls_ended[status] += 1
            self.forget(stream)


async def _outcome(stream: AnyServerStream, handler: Handler) -> RpcError | None:
    """Run the handler in its stream's scope. Returns the error of the call, None for OK."""
    error: RpcError | None = None
    with stream.scope:
        try:
            await trio.lowlevel.checkpoint_if_cancelled()  # a call that was reset already never reaches its handler
            await handler(stream)
        except* RpcError as group:
            error = _first_leaf(group).again()
        except* Exception as group:  # supervision: a fault of a handler ends its own call only
            error = _internal_error(stream, group)
    if stream.scope.cancelled_caught:
        error = stream.failure or RpcError(Status.DEADLINE_EXCEEDED, "the call took longer than its client waits")
    return error


def _first_leaf(group: BaseExceptionGroup[RpcError]) -> RpcError:
    first = group.exceptions[0]
    return _first_leaf(first) if isinstance(first, BaseExceptionGroup) else first


def _internal_error(stream: AnyServerStream, error: Exception) -> RpcError:
    """Log a fault under an id, and return an error with that id alone."""
    if isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    error_id = secrets.token_hex(6)
    log.error("rpc_call_failed", method=stream.method, peer=stream.peer, error_id=error_id, exc_info=error)
    return RpcError(Status.INTERNAL, f"internal error {error_id}")


def peer_of(transport: trio.abc.Stream) -> str:
    """Return the peer's address, for logs; `unknown` unless the transport is a socket."""
    if isinstance(transport, trio.SSLStream):
        return peer_of(transport.transport_stream)
    if not isinstance(transport, trio.SocketStream):
        return "unknown"
    try:
        name = transport.socket.getpeername()
    except OSError:
        return "unknown"
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)

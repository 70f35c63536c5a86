"""A server's side of one connection: its handshake, and the calls that come over it, each in a scope of its own."""

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

import h2.events
import h2.exceptions
import structlog
import trio
from h2.errors import ErrorCodes

from shared.rpc.connection import READ_BYTES, Connection
from shared.rpc.http2 import ALPN, StreamRefused
from shared.rpc.protocol import CallRefused, CallStarted, Event, ForeignRequest, MalformedRequest
from shared.rpc.server.foreign import ForeignStream
from shared.rpc.server.methods import AnyServerStream, Handler
from shared.rpc.status import RpcError, Status
from shared.rpc.streams import ServerStream

if TYPE_CHECKING:
    from shared.rpc.limits import Limits
    from shared.rpc.server.methods import Methods
    from shared.rpc.server.statistics import ServerTally

HANDLERS_PER_STREAM = 2
"""Handlers to each stream that may be open: a client that cancels all its calls and makes others at once finds room,
while those of the cancelled ones end."""

log = structlog.get_logger(__name__)


async def shake_hands(transport: trio.abc.Stream) -> bytes:
    """The first bytes that a client sends in HTTP/2; none if it does not get that far. Over TLS it must choose that.

    Until then it costs a task, but none of what HTTP/2 needs.
    """
    try:
        if isinstance(transport, trio.SSLStream):
            await transport.do_handshake()
            if transport.selected_alpn_protocol() != ALPN:
                return b""
        return bytes(await transport.receive_some(READ_BYTES))
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        log.debug("rpc_handshake_failed", peer=peer_of(transport), error=str(error.__cause__ or error))
        return b""


class ServerConnection(Connection[AnyServerStream | ForeignStream]):
    """A client's connection."""

    def __init__(
        self,
        transport: trio.abc.Stream,
        received: bytes,
        limits: "Limits",
        methods: "Methods",
        tally: "ServerTally",
        shaken_hands: Callable[[], None],
    ) -> None:
        """`received` is what the client has said so far; `shaken_hands` is called when it has sent its settings."""
        super().__init__(transport, limits, client_side=False, received=received)
        self._methods = methods
        self._tally = tally
        self._shaken_hands = shaken_hands
        self._is_handshaking = True
        self._peer = peer_of(transport)

    def go_away(self) -> None:
        """Let the client open no more calls, and end when those that it has are done."""
        self.going_away = True
        self.http2.go_away()
        self.flush()
        if not self.streams:
            self.close()

    def abort_streams(self, error: RpcError) -> None:
        """Cancel all handlers; the clients see the error."""
        for stream in list(self.streams.values()):
            stream.abort(error)

    def _handle(self, event: Event) -> None:
        match event:
            case CallStarted():
                self._start_call(event)
            case CallRefused():
                self._refuse(event.stream_id, event.error)
            case ForeignRequest():
                self._answer_foreign(event.stream_id)
            case StreamRefused():
                self._tally.calls_refused += 1
            case MalformedRequest():
                self._tally.calls_refused += 1
                self.protocol.reset(event.stream_id, ErrorCodes.PROTOCOL_ERROR)
                self.http2.forget(event.stream_id)
            case h2.events.RemoteSettingsChanged() if self._is_handshaking:
                self._is_handshaking = False
                self._shaken_hands()
            case _:
                super()._handle(event)

    def _give_up(self, error: h2.exceptions.ProtocolError) -> None:
        if isinstance(error, h2.exceptions.DenialOfServiceError):
            self._tally.connections_abused += 1
            log.warning("rpc_peer_abusive", peer=self._peer, error=str(error))
        else:
            super()._give_up(error)

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
        self._tally.calls_begun += 1
        self._nursery.start_soon(self._run_call, stream, method.handler)

    def _refuses(self, stream_id: int) -> bool:
        """Refuse a stream, to be opened again, if the handlers of those that were reset do not end; whether it was."""
        if len(self.streams) < HANDLERS_PER_STREAM * self.limits.max_streams:
            return False
        self._tally.calls_refused += 1
        self.protocol.reset(stream_id, ErrorCodes.REFUSED_STREAM)
        self.http2.forget(stream_id)
        return True

    def _refuse(self, stream_id: int, error: RpcError) -> None:
        """Answer a call with a status alone."""
        self._tally.calls_refused += 1
        self.protocol.finish(stream_id, error, responded=False)
        self.http2.forget(stream_id)

    def _answer_foreign(self, stream_id: int) -> None:
        if self._refuses(stream_id):
            return
        self._tally.calls_refused += 1
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
        """Run a call's handler to its end, and send its status."""
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
            self._tally.calls_ended[status] += 1
            self.forget(stream)


async def _outcome(stream: AnyServerStream, handler: Handler) -> RpcError | None:
    """Run the handler in its stream's scope: why the call has failed, if it has."""
    error: RpcError | None = None
    with stream.scope:
        try:
            await trio.lowlevel.checkpoint_if_cancelled()  # a call that was reset already never reaches its handler
            await handler(stream)
        except* RpcError as group:
            error = _first_leaf(group)
        except* Exception as group:  # supervision: a fault of a handler ends its own call only
            error = _internal_error(stream, group)
    if stream.scope.cancelled_caught:
        error = stream.failure or RpcError(Status.DEADLINE_EXCEEDED, "the call took longer than its client waits")
    return error


def _first_leaf(group: BaseExceptionGroup[RpcError]) -> RpcError:
    first = group.exceptions[0]
    return _first_leaf(first) if isinstance(first, BaseExceptionGroup) else first


def _internal_error(stream: AnyServerStream, error: Exception) -> RpcError:
    """Log what went wrong; the client learns only under which id."""
    if isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    error_id = secrets.token_hex(6)
    log.error("rpc_call_failed", method=stream.method, peer=stream.peer, error_id=error_id, exc_info=error)
    return RpcError(Status.INTERNAL, f"internal error {error_id}")


def peer_of(transport: trio.abc.Stream) -> str:
    """The address at the other end, for logs; `unknown` if it is no socket."""
    if isinstance(transport, trio.SSLStream):
        return peer_of(transport.transport_stream)
    if not isinstance(transport, trio.SocketStream):
        return "unknown"
    try:
        name = transport.socket.getpeername()
    except OSError:
        return "unknown"
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)

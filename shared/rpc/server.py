"""The gRPC server: accepts connections, runs the handler of each call in its own scope, and drains when it stops."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import structlog
import trio
from google.protobuf.message import Message

from shared.rpc.compat import Cardinality, RPCSignature, Servicer
from shared.rpc.connection import Connection, keep_alive
from shared.rpc.limits import DEFAULT_LIMITS, Limits
from shared.rpc.protocol import CallRefused, CallStarted, Event
from shared.rpc.status import RpcError, Status
from shared.rpc.streams import ServerStream

AnyServerStream = ServerStream[Any, Any]
Handler = Callable[[AnyServerStream], Awaitable[None]]
StreamMethod = TypeVar("StreamMethod", bound=Callable[[Any, AnyServerStream], Awaitable[None]])
Interceptor = Callable[[AnyServerStream, Handler], Awaitable[None]]
"""Runs in place of a handler, in the call's scope, and calls it: `await handler(stream)`. What it raises ends the call
as what the handler raises does."""
Listener = trio.abc.Listener[trio.abc.Stream]

log = structlog.get_logger(__name__)


def stream_handler(method: StreamMethod) -> StreamMethod:
    """Mark a servicer's method as the handler of a call that streams in either direction, or in both.

    It takes a ServerStream and returns when the call is done.
    """
    method.__dict__["handles_stream"] = True
    return method


async def serve_rpc(
    services: Sequence[Servicer],
    listeners: Sequence[Listener],
    *,
    interceptors: Sequence[Interceptor] = (),
    limits: Limits = DEFAULT_LIMITS,
    task_status: trio.TaskStatus["Server"] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the services on the listeners until cancelled, then drain.

    A unary method is `async def Name(self, request) -> response`; any other must be a `stream_handler`. Both raise
    RpcError to end a call with another status than OK. Whatever else they raise goes to the log with an error id, and
    the client gets INTERNAL with that id. Raises TypeError at once if a method is neither. Each call goes through the
    interceptors, the first one outermost; `task_status.started` gets what reports the server's statistics.

    Cancelled, it stops listening and tells every client to open no more calls; calls that have not ended after
    `drain_timeout` are cancelled, and connections still open `close_timeout` later are cut off.
    """
    server = Server(services, limits, interceptors)
    async with trio.open_nursery() as nursery:
        connections: trio.Nursery = await nursery.start(_hold_nursery)
        try:
            connections.start_soon(keep_alive, server.connections, limits)
            serve = partial(trio.serve_listeners, handler_nursery=connections)
            await nursery.start(serve, server.serve_connection, list(listeners))
            task_status.started(server)
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await server.drain()
            connections.cancel_scope.cancel()


class Server:
    """The methods that are served, and the connections that are open."""

    def __init__(self, services: Sequence[Servicer], limits: Limits, interceptors: Sequence[Interceptor] = ()) -> None:
        self.connections: set[ServerConnection] = set()
        self._limits = limits
        self._services = {servicer.service.name: _methods_of(servicer, interceptors) for servicer in services}
        self._last_gone = trio.Event()

    async def serve_connection(self, transport: trio.abc.Stream) -> None:
        """Serve one client until its connection ends."""
        connection = ServerConnection(transport, self._limits, self.find_method)
        self.connections.add(connection)
        try:
            await connection.run()
        except* Exception as group:
            log.error("rpc_connection_failed", exc_info=group)
        finally:
            self.connections.discard(connection)
            if not self.connections:
                self._last_gone.set()

    def find_method(self, service: str, method: str) -> "Method | RpcError":
        """The method, or why there is none."""
        methods = self._services.get(service)
        if methods is None:
            return RpcError(Status.UNIMPLEMENTED, f"there is no service {service}")
        return methods.get(method) or RpcError(Status.UNIMPLEMENTED, f"there is no method {method} in {service}")

    async def drain(self) -> None:
        """Let calls end by themselves, then end them, then cut off what is left."""
        for connection in list(self.connections):
            connection.go_away()
        with trio.move_on_after(self._limits.drain_timeout):
            await self._wait_until_gone()
        for connection in list(self.connections):
            connection.abort_streams(RpcError(Status.UNAVAILABLE, "the server is stopping"))
        with trio.move_on_after(self._limits.close_timeout):
            await self._wait_until_gone()

    async def _wait_until_gone(self) -> None:
        while self.connections:
            self._last_gone = trio.Event()
            await self._last_gone.wait()


@dataclass(frozen=True, slots=True)
class Method:
    """What serves a call."""

    handler: Handler
    request_type: type[Message]


class ServerConnection(Connection[AnyServerStream]):
    """A client's connection."""

    def __init__(
        self,
        transport: trio.abc.Stream,
        limits: Limits,
        find_method: Callable[[str, str], Method | RpcError],
    ) -> None:
        super().__init__(transport, limits, client_side=False)
        self._find_method = find_method
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
            case _:
                super()._handle(event)

    def _start_call(self, call: CallStarted) -> None:
        method = self._find_method(call.service, call.method)
        if len(self.streams) >= self.limits.max_streams:  # those that were reset count until their handlers have ended
            method = RpcError(Status.RESOURCE_EXHAUSTED, f"{self.limits.max_streams} calls are under way")
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
        self._nursery.start_soon(self._run_call, stream, method.handler)

    def _refuse(self, stream_id: int, error: RpcError) -> None:
        """Answer a call with a status alone."""
        self.protocol.finish(stream_id, error, responded=False)
        self.http2.forget(stream_id)

    async def _run_call(self, stream: AnyServerStream, handler: Handler) -> None:
        """Run a call's handler to its end, and send its status."""
        try:
            error = await _outcome(stream, handler)
            try:
                stream.finish(error)
            except ValueError as bad_metadata:
                stream.trailing_metadata = ()
                stream.finish(_internal_error(stream, bad_metadata))
        finally:
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
        except* Exception as group:
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


def _behind(interceptor: Interceptor, handler: Handler) -> Handler:
    async def handle(stream: AnyServerStream) -> None:
        await interceptor(stream, handler)

    return handle


def _methods_of(servicer: Servicer, interceptors: Sequence[Interceptor]) -> dict[str, Method]:
    service = servicer.service
    return {
        name: _intercepted(_method(getattr(servicer, name), f"{service.name}/{name}", bound.signature), interceptors)
        for name, bound in service.methods.items()
    }


def _intercepted(method: Method, interceptors: Sequence[Interceptor]) -> Method:
    """The method behind the interceptors, the first one outermost."""
    handler = method.handler
    for interceptor in reversed(interceptors):
        handler = _behind(interceptor, handler)
    return Method(handler, method.request_type)


def _method(function: Callable[..., Awaitable[Any]], name: str, signature: RPCSignature) -> Method:
    request_type = cast(type[Message], signature.request_type)
    if getattr(function, "handles_stream", False):
        return Method(function, request_type)
    if signature.cardinality is not Cardinality.UNARY_UNARY:
        raise TypeError(f"the handler of {name} must be a stream_handler, since the method streams")

    async def handle(stream: AnyServerStream) -> None:
        request = await stream.receive()
        if request is None or await stream.receive() is not None:
            raise RpcError(Status.UNIMPLEMENTED, f"{name} takes one message")
        await stream.send(await function(request))

    return Method(handle, request_type)


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


async def _hold_nursery(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """A nursery whose tasks a cancellation from outside does not reach: its owner cancels it."""
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.shield = True
        task_status.started(nursery)
        await trio.sleep_forever()

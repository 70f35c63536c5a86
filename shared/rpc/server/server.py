"""The gRPC server: accepts connections up to a limit, and drains them when it stops."""

import math
from collections.abc import Sequence
from functools import partial

import structlog
import trio

from rookery.purerpc_compat import Servicer
from shared.net.accepting import serve_listeners
from shared.net.admission import Admission, ConnectionBudget, Slot
from shared.net.client_address import peer_address
from shared.rpc.connection import keep_alive
from shared.rpc.limits import DEFAULT_LIMITS, Limits
from shared.rpc.server.connection import ServerConnection, complete_handshake, has_certificate
from shared.rpc.server.methods import AnyServerStream, Handler, Interceptor, Methods, stream_handler
from shared.rpc.server.statistics import ServerCounters, ServerStatistics
from shared.rpc.status import RpcError, Status

__all__ = ["AnyServerStream", "Handler", "Interceptor", "Server", "serve_rpc", "stream_handler"]

REFUSED_PER_WARNING = 1_000
"""Refused connections per log event."""

Listener = trio.abc.Listener[trio.abc.Stream]

log = structlog.get_logger(__name__)


async def serve_rpc(
    services: Sequence[Servicer],
    listeners: Sequence[Listener],
    *,
    interceptors: Sequence[Interceptor] = (),
    limits: Limits = DEFAULT_LIMITS,
    admission: Admission | None = None,
    task_status: trio.TaskStatus["Server"] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the services on the listeners until cancelled, then drain.

    A unary method is `async def Name(self, request) -> response`; any other must be a `stream_handler`. Both raise
    RpcError to end a call with another status than OK. Any other exception is logged with an error id, and the client
    gets INTERNAL with that id. A generated method that is not overridden is UNIMPLEMENTED; a streaming method that is
    no `stream_handler` raises TypeError at once. Each call passes the interceptors, the first one outermost.
    `task_status.started` gets the Server, which reports statistics.

    `admission` bounds the connections together with those of other listeners. Without it, the server has a budget of
    its own and trusts its peers. A connection that is not authenticated (`ServerStream.authenticate`, or by a client
    certificate) is closed when it has been without a call for `idle_seconds`, or is `total_seconds` old.

    The listeners may return server-side `trio.SSLStream`s before their handshake; ALPN must then choose `h2`.

    When cancelled, it stops listening, closes connections that have not begun HTTP/2, and sends all others GOAWAY.
    Calls that have not ended after `drain_timeout` are cancelled, and connections that are still open `close_timeout`
    later are closed.
    """
    server = Server(services, limits, interceptors, admission)
    async with trio.open_nursery() as nursery:
        connections: trio.Nursery = await nursery.start(_hold_nursery)
        try:
            connections.start_soon(keep_alive, server.connections, limits)
            serve = partial(serve_listeners, handler_nursery=connections)
            await nursery.start(serve, server.serve_connection, list(listeners))
            task_status.started(server)
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await server.drain()
            connections.cancel_scope.cancel()


class Server:
    """The served methods, and the open connections."""

    def __init__(
        self,
        services: Sequence[Servicer],
        limits: Limits,
        interceptors: Sequence[Interceptor] = (),
        admission: Admission | None = None,
    ) -> None:
        self.connections: set[ServerConnection] = set()
        """The connections whose clients have begun HTTP/2."""
        self._limits = limits
        self._admission = admission or ConnectionBudget().add_listener(most=limits.max_connections, trusts_peers=True)
        self._methods = Methods(services, interceptors, limits)
        self._counters = ServerCounters()
        self._open = 0  # connections in any state
        self._handshakes: dict[trio.CancelScope, ServerConnection | None] = {}
        """Unfinished handshakes, the oldest first; each with its connection once the client has begun HTTP/2."""
        self._draining = False
        self._all_closed = trio.Event()

    def statistics(self) -> ServerStatistics:
        """Return the server's statistics."""
        counters = self._counters
        return ServerStatistics(
            connections=self._open - len(self._handshakes),
            handshaking=len(self._handshakes),
            connections_begun=counters.connections_begun,
            connections_refused=counters.connections_refused,
            connections_abused=counters.connections_abused,
            handshakes_failed=counters.handshakes_failed,
            calls=counters.calls_begun - counters.calls_ended.total(),
            calls_begun=counters.calls_begun,
            calls_refused=counters.calls_refused,
            calls_ended=dict(counters.calls_ended),
        )

    async def serve_connection(self, transport: trio.abc.Stream) -> None:
        """Serve one client until its connection ends."""
        self._counters.connections_begun += 1
        scope = trio.CancelScope(deadline=trio.current_time() + self._limits.handshake_timeout)
        slot = self._admission.admit(peer_address(transport), scope.cancel)
        if slot is None:
            await self._refuse(transport)
            return
        self._open += 1
        self._begin_handshake(scope)
        try:
            with scope:
                if received := await complete_handshake(transport, slot.turn):
                    if has_certificate(transport):
                        slot.authenticate()
                    await self._serve_http2(transport, received, scope, slot)
        except* Exception as group:  # supervision: a fault of one connection must not end the server
            log.error("rpc_connection_failed", exc_info=group)
        finally:
            self._open -= 1
            slot.release()
            if scope in self._handshakes:
                self._fail_handshake(scope)
            await trio.aclose_forcefully(transport)

    async def drain(self) -> None:
        """Let calls finish, then cancel them, then leave the open connections to be cancelled."""
        self._draining = True
        for handshake, connecting in self._handshakes.items():
            if connecting is None:
                handshake.cancel()
        for connection in list(self.connections):
            connection.go_away()
        with trio.move_on_after(self._limits.drain_timeout):
            await self._wait_until_closed()
        for connection in list(self.connections):
            connection.abort_streams(RpcError(Status.UNAVAILABLE, "the server is stopping"))
        with trio.move_on_after(self._limits.close_timeout):
            await self._wait_until_closed()

    async def _refuse(self, transport: trio.abc.Stream) -> None:
        if self._counters.connections_refused % REFUSED_PER_WARNING == 0:
            log.warning("rpc_connections_refused", connections=self._open)
        self._counters.connections_refused += 1
        await trio.aclose_forcefully(transport)

    async def _serve_http2(
        self, transport: trio.abc.Stream, received: bytes, scope: trio.CancelScope, slot: Slot
    ) -> None:
        def handshake_done() -> None:
            scope.deadline = math.inf
            self._handshakes.pop(scope, None)

        connection = ServerConnection(
            transport,
            received,
            self._limits,
            self._methods,
            self._counters,
            handshake_done,
            slot=slot,
            unauthenticated=self._admission.limits,
        )
        if scope in self._handshakes:  # else it was cancelled as the oldest, which takes effect at the next checkpoint
            self._handshakes[scope] = connection
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)
            if not self.connections:
                self._all_closed.set()

    def _begin_handshake(self, scope: trio.CancelScope) -> None:
        """Register a handshake. Over the limit, cancel the oldest, which is the least likely to be a client's. While
        the server drains, cancel the new one: its client connects to another server."""
        self._handshakes[scope] = None
        if self._draining:
            scope.cancel()
        if len(self._handshakes) > self._limits.max_handshakes:
            oldest = next(iter(self._handshakes))
            self._fail_handshake(oldest)
            oldest.cancel()

    def _fail_handshake(self, scope: trio.CancelScope) -> None:
        del self._handshakes[scope]
        self._counters.handshakes_failed += 1

    async def _wait_until_closed(self) -> None:
        while self.connections:
            self._all_closed = trio.Event()
            await self._all_closed.wait()


async def _hold_nursery(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """Hold a nursery that is shielded from outer cancellation: its owner cancels it."""
    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        await trio.lowlevel.checkpoint_if_cancelled()  # then nobody got the nursery, and nobody would cancel it
        nursery.cancel_scope.shield = True
        await trio.sleep_forever()

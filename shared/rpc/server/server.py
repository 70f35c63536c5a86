"""The gRPC server: accepts connections, as many as it may have, and drains them when it stops."""

import math
from collections.abc import Sequence
from functools import partial

import structlog
import trio

from shared.rpc.compat import Servicer
from shared.rpc.connection import keep_alive
from shared.rpc.limits import DEFAULT_LIMITS, Limits
from shared.rpc.server.connection import ServerConnection, shake_hands
from shared.rpc.server.methods import AnyServerStream, Handler, Interceptor, Methods, stream_handler
from shared.rpc.server.statistics import ServerStatistics, ServerTally
from shared.rpc.status import RpcError, Status

__all__ = ["AnyServerStream", "Handler", "Interceptor", "Server", "serve_rpc", "stream_handler"]

REFUSED_PER_WARNING = 1_000
"""Refused connections to one line of the log."""

Listener = trio.abc.Listener[trio.abc.Stream]

log = structlog.get_logger(__name__)


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
    the client gets INTERNAL with that id. A method that is left as it was generated is UNIMPLEMENTED; if another is
    neither, TypeError is raised at once. Each call goes through the interceptors, the first one outermost;
    `task_status.started` gets what reports the server's statistics.

    Streams that the listeners give may be server-side `trio.SSLStream`s that have not shaken hands yet: over TLS,
    clients must choose `h2` by ALPN.

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
        """Those whose clients have begun to speak HTTP/2."""
        self._limits = limits
        self._methods = Methods(services, interceptors, limits)
        self._tally = ServerTally()
        self._open = 0  # connections, whatever they have come to
        self._handshakes: dict[trio.CancelScope, None] = {}  # those of them that are not done, the oldest first
        self._last_gone = trio.Event()

    def statistics(self) -> ServerStatistics:
        """What the server has done, and is doing."""
        tally = self._tally
        return ServerStatistics(
            connections=self._open - len(self._handshakes),
            handshaking=len(self._handshakes),
            connections_begun=tally.connections_begun,
            connections_refused=tally.connections_refused,
            connections_abused=tally.connections_abused,
            handshakes_failed=tally.handshakes_failed,
            calls=tally.calls_begun - tally.calls_ended.total(),
            calls_begun=tally.calls_begun,
            calls_refused=tally.calls_refused,
            calls_ended=dict(tally.calls_ended),
        )

    async def serve_connection(self, transport: trio.abc.Stream) -> None:
        """Serve one client until its connection ends."""
        self._tally.connections_begun += 1
        if self._open >= self._limits.max_connections:
            await self._refuse(transport)
            return
        self._open += 1
        scope = trio.CancelScope(deadline=trio.current_time() + self._limits.handshake_timeout)
        self._begin_handshake(scope)
        try:
            with scope:
                if received := await shake_hands(transport):
                    await self._speak_http2(transport, received, scope)
        except* Exception as group:  # supervision: a fault of one connection must not end the server
            log.error("rpc_connection_failed", exc_info=group)
        finally:
            self._open -= 1
            if scope in self._handshakes:
                self._fail_handshake(scope)
            await trio.aclose_forcefully(transport)

    async def drain(self) -> None:
        """Let calls end by themselves, then end them, then cut off what is left."""
        for handshake in self._handshakes:
            handshake.cancel()
        for connection in list(self.connections):
            connection.go_away()
        with trio.move_on_after(self._limits.drain_timeout):
            await self._wait_until_gone()
        for connection in list(self.connections):
            connection.abort_streams(RpcError(Status.UNAVAILABLE, "the server is stopping"))
        with trio.move_on_after(self._limits.close_timeout):
            await self._wait_until_gone()

    async def _refuse(self, transport: trio.abc.Stream) -> None:
        if self._tally.connections_refused % REFUSED_PER_WARNING == 0:
            log.warning("rpc_connections_refused", connections=self._open)
        self._tally.connections_refused += 1
        await trio.aclose_forcefully(transport)

    async def _speak_http2(self, transport: trio.abc.Stream, received: bytes, scope: trio.CancelScope) -> None:
        def shaken_hands() -> None:
            scope.deadline = math.inf
            self._handshakes.pop(scope, None)

        connection = ServerConnection(transport, received, self._limits, self._methods, self._tally, shaken_hands)
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)
            if not self.connections:
                self._last_gone.set()

    def _begin_handshake(self, scope: trio.CancelScope) -> None:
        """Where there are too many, the one that has taken longest is hardly a client's: it ends."""
        self._handshakes[scope] = None
        if len(self._handshakes) > self._limits.max_handshakes:
            oldest = next(iter(self._handshakes))
            self._fail_handshake(oldest)
            oldest.cancel()

    def _fail_handshake(self, scope: trio.CancelScope) -> None:
        del self._handshakes[scope]
        self._tally.handshakes_failed += 1

    async def _wait_until_gone(self) -> None:
        while self.connections:
            self._last_gone = trio.Event()
            await self._last_gone.wait()


async def _hold_nursery(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """A nursery whose tasks a cancellation from outside does not reach: its owner cancels it."""
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.shield = True
        task_status.started(nursery)
        await trio.sleep_forever()

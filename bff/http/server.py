"""The HTTP/1.1 server: hypercorn's protocol and its bridge to the application, on connections of our own.

Hypercorn's own connections shield what they send, so that a client that never reads stays for ever, and they let a
client choose HTTP/2, which there has no bound on what waits to be sent. These have a deadline on every wait, are
counted, and end with the server.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import h11
import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

from shared.background import open_background
from shared.net.listening import ClientStream, listen, transport_of
from shared.net.tls import ServerTls

MAX_RECEIVE = 64 * 1024
"""Bytes taken from a socket at once: the usual size of a socket's buffer."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one connection and all of them may take. Times are in seconds."""

    idle_seconds: float = 15.0
    """Between requests, and for TLS's handshake and the head of a request to arrive in whole: browsers reuse a
    connection within seconds."""
    send_seconds: float = 10.0
    """For a client to take what it is sent, 64 KiB and the socket's buffer at a time."""
    linger_seconds: float = 1.0
    """For a client that is refused to stop sending, so that it can read why (RFC 9112, 9.6)."""
    last_seconds: float = 0.25
    """For a request to be read that was on its way when the server stops, on a connection that looks idle."""
    drain_seconds: float = 2.0
    """For requests that are in work when the server stops."""
    max_connections: int = 2_000
    """At once, some 30 KiB each, with TLS 50. One more ends the oldest that is idle; if none is, it is closed
    unanswered."""
    max_head_bytes: int = 16 * 1024
    """Of a request's line and headers together."""
    max_requests: int = 1_000
    """On one connection, before it is closed: memory that libraries keep for each stays bounded."""


class Server:
    """What is listening. Made by `open_http_server`."""

    def __init__(self, app: ASGIFramework, address: tuple[str, int], limits: HttpLimits) -> None:
        self.address = address
        self.limits = limits
        self.app = ASGIWrapper(app)
        self.config = _hypercorn_config(limits)
        self.context = WorkerContext(None)
        self._connections: dict[_Connection, None] = {}  # the oldest first
        self._empty = trio.Event()

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._connections)

    async def handle(self, stream: ClientStream) -> None:
        """Serve one connection until it ends, however that may be."""
        if len(self._connections) >= self.limits.max_connections and not self._make_room():
            await trio.aclose_forcefully(stream)
            return
        transport = transport_of(stream)
        connection = _Connection(self, stream)
        self._connections[connection] = None
        try:
            await connection.run()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as errors:
            _log.debug("connection_lost", reason=str(errors.exceptions[0]))
        except* Exception:
            _log.exception("connection_failed")
        finally:
            self._connections.pop(connection, None)
            if not self._connections:
                self._empty.set()
            await trio.aclose_forcefully(transport)

    def _make_room(self) -> bool:
        """End the oldest connection that is idle, so that who only connects keeps nobody out; whether there was one."""
        idle = next((connection for connection in self._connections if connection.is_idle), None)
        if idle is None:
            return False
        del self._connections[idle]
        idle.cancel()
        return True

    async def drain(self) -> None:
        """Close what is idle, once it has had time to say that it is not, and wait a little for the rest."""
        await self.context.terminated.set()
        self._empty = trio.Event()
        for connection in list(self._connections):
            connection.close_if_idle()
        if self._connections:
            with trio.move_on_after(self.limits.drain_seconds):
                await self._empty.wait()


@asynccontextmanager
async def open_http_server(
    app: ASGIFramework, host: str, port: int, limits: HttpLimits | None = None, *, tls: ServerTls | None = None
) -> AsyncIterator[Server]:
    """Serve the application while the block is open; then take no new connections, drain, and close the rest.

    Raises OSError if the address can't be had. Of several listeners (IPv4 and IPv6), the first's port is told.
    """
    listeners = await listen(host, port, tls=tls)
    server = Server(app, listeners[0].socket.getsockname()[:2], limits or HttpLimits())
    async with open_background() as connections:
        async with open_background() as accepting:
            accepting.start_soon(partial(trio.serve_listeners, server.handle, listeners, handler_nursery=connections))
            yield server
        await server.drain()


class _Connection:
    """One client's connection. It is busy from the head of a request to the end of its answer, else idle."""

    def __init__(self, server: Server, stream: ClientStream) -> None:
        self._server = server
        self._limits = server.limits
        self._stream = stream
        self._has_begun = False
        """Whether both sides may send: with TLS, after its handshake."""
        self._send_lock = trio.Lock()
        self._all = trio.CancelScope()
        self._reading = trio.CancelScope(deadline=trio.current_time() + self._limits.idle_seconds)

    @property
    def is_idle(self) -> bool:
        return self._reading.deadline < float("inf")

    def close_if_idle(self) -> None:
        """Close it soon, unless a request comes that was on its way: nobody could tell its client to ask elsewhere."""
        if self.is_idle:
            self._reading.deadline = min(self._reading.deadline, trio.current_time() + self._limits.last_seconds)

    def cancel(self) -> None:
        """End at once."""
        self._all.cancel()

    async def run(self) -> None:
        """Take requests until the client goes, is idle or too slow, or the protocol has ended."""
        with self._all:
            async with TaskGroup() as tasks:
                protocol = self._make_protocol(tasks)
                with self._reading:
                    await self._read(protocol)
                await protocol.handle(Closed())
            if self._has_begun and not self._server.context.terminated.is_set():
                await self._linger()

    def _make_protocol(self, tasks: TaskGroup) -> "_Http1":
        socket = transport_of(self._stream).socket
        return _Http1(
            self._server.app,
            self._server.config,
            self._server.context,
            tasks,
            ConnectionState({}),
            isinstance(self._stream, trio.SSLStream),
            _address(socket.getpeername()),
            _address(socket.getsockname()),
            self._on_event,
        )

    async def _read(self, protocol: H11Protocol) -> None:
        if isinstance(self._stream, trio.SSLStream):
            await self._stream.do_handshake()
        self._has_begun = True
        while data := await self._stream.receive_some(MAX_RECEIVE):
            await protocol.handle(RawData(bytes(data)))

    async def _on_event(self, event: Event) -> None:
        """What the protocol wants. No await but the sending: a request's task may be cancelled when it has ended."""
        match event:
            case RawData(data=data) if data:
                await self._send(data)
            case Updated(idle=True):
                self._reading.deadline = trio.current_time() + self._limits.idle_seconds
            case Updated():
                self._reading.deadline = float("inf")
            case Closed():
                self._reading.cancel()

    async def _send(self, data: bytes) -> None:
        """Send, or end the connection if the client does not take it in time."""
        with trio.move_on_after(self._limits.send_seconds) as scope:
            async with self._send_lock:
                await self._stream.send_all(data)
        if scope.cancelled_caught:
            self._all.cancel()

    async def _linger(self) -> None:
        """Say that there is no more, and throw away what the client still sends: a reset would lose our last words."""
        transport = transport_of(self._stream)
        with trio.move_on_after(self._limits.linger_seconds):
            if isinstance(self._stream, trio.SSLStream):
                with suppress(trio.BrokenResourceError):  # it is gone, or still sends: then TCP alone says it
                    await self._stream.unwrap()
            await transport.send_eof()
            while await transport.receive_some(MAX_RECEIVE):
                pass


class _Http1(H11Protocol):
    """HTTP/1.1 and nothing else: an `Upgrade`, to HTTP/2 or WebSocket, is passed over (RFC 9110, 7.8).

    A target that is a whole URL, as proxies send it, becomes its path (RFC 9112, 3.2.2).
    """

    async def _check_protocol(self, event: h11.Request) -> None:
        """Hypercorn would go on in HTTP/2 here."""

    async def _create_stream(self, request: h11.Request) -> None:
        target = request.target
        if not target.startswith(b"/"):
            target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
        headers = [(name, value) for name, value in request.headers.raw_items() if name.lower() != b"upgrade"]
        await super()._create_stream(
            h11.Request(method=request.method, target=target, headers=headers, http_version=request.http_version)
        )


def _hypercorn_config(limits: HttpLimits) -> Config:
    config = Config()
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.max_head_bytes
    config.keep_alive_max_requests = limits.max_requests
    return config


def _address(name: tuple[str, int] | tuple[str, int, int, int]) -> tuple[str, int]:
    return name[0], name[1]

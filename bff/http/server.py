"""The HTTP/1.1 server: hypercorn's protocol and its bridge to the application, on connections of our own.

Hypercorn's own connections shield their sends, so a client that never reads stays forever, and they accept HTTP/2,
where hypercorn does not bound the data that waits to be sent. These connections have a deadline on every wait, a limit
on their number, and end with the server.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import h11
import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ConnectionState,
    Scope,
)

from shared.background import open_background
from shared.net.accepting import serve_listeners
from shared.net.admission import Admission, ConnectionBudget, Slot
from shared.net.client_address import Network, peer_address
from shared.net.heads import ServerConnection, head_bytes, refusal_of_head
from shared.net.listening import ClientStream, listen, transport_of
from shared.net.tls import ServerTls
from shared.net.turns import REQUEST_SECONDS, Turn, await_client

MAX_RECEIVE = 64 * 1024
"""Bytes per read from a socket: the usual size of a socket's buffer."""

MAX_SEND = 64 * 1024
"""Bytes for which a client has `send_seconds`, so that slow ones receive large responses too."""

MAX_QUEUED = 2
"""Pieces of a body, of MAX_RECEIVE at most, that wait for the application; beyond, nothing is read from the socket."""

SPARED_OF_USER = 4
"""Connections of a user that no newcomer closes while they are busy: about as many as one open page uses."""

USUAL_HEAD_BYTES = 1_024
"""Bytes of the head of a request that takes REQUEST_SECONDS; a larger head costs its sender more, as each header takes
time."""

PIECE_SECONDS = 0.00005
"""Estimate of a piece of a body, without its parsing. A chunk of one byte is a piece."""

_AUTHENTICATE = "rookery.authenticate"
"""The key of a request's state for the function that authenticates its connection."""

_TURN = "rookery.turn"
"""The key of a request's state for the turn of its client."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits of one connection and of all together. Times are in seconds."""

    idle_seconds: float = 15.0
    """Time between requests, and for the TLS handshake and the head of a request to arrive completely: browsers reuse a
    connection within seconds."""
    send_seconds: float = 10.0
    """Time for a client to read one send: 64 KiB and the socket's buffer."""
    linger_seconds: float = 1.0
    """Time for a refused client to stop sending, so that it can read the response (RFC 9112, 9.6)."""
    last_seconds: float = 0.25
    """Time of an idle connection when the server stops: for a request that is already on its way."""
    drain_seconds: float = 2.0
    """Time for the running requests when the server stops."""
    max_connections: int = 2_000
    """Connections at once, about 30 KiB each, 50 with TLS, as far as the process may open so many files. One more
    closes the oldest that has not authenticated, else the oldest idle one, else the oldest of the user with the most if
    that user has more than SPARED_OF_USER; if there is none, the new one is closed without a response."""
    max_of_user: int = 64
    """Connections of one user that no newcomer closes; for one more, the user's oldest counts as not authenticated."""
    max_head_bytes: int = 16 * 1024
    """Bytes of a request's line and headers together."""
    max_requests: int = 1_000
    """On one connection before it is closed: bounds the memory that libraries keep per request."""


class Server:
    """A listening server. Made by `open_http_server`."""

    def __init__(self, app: ASGIFramework, address: tuple[str, int], limits: HttpLimits, admission: Admission) -> None:
        self.address = address
        self.limits = limits
        self.app = app
        self.config = _hypercorn_config(limits)
        self.context = WorkerContext(None)
        self.admission = admission
        self._connections: dict[_Connection, None] = {}  # the oldest first
        self._of_users: dict[int, dict[_Connection, None]] = {}  # by the user who authenticated last; the oldest first
        self._empty = trio.Event()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    async def handle(self, stream: ClientStream) -> None:
        """Serve one connection until it ends. The caller closes it."""
        scope = trio.CancelScope()
        slot = self._admit(peer_address(stream), scope.cancel)
        if slot is None:
            return
        connection = _Connection(self, stream, scope, slot)
        self._connections[connection] = None
        try:
            with scope:
                await connection.run()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as errors:
            _log.debug("connection_lost", reason=str(errors.exceptions[0]))
        except* Exception:  # supervises one connection: a fault in it must not end the others
            _log.exception("connection_failed")
        finally:
            slot.release()
            self._forget_user(connection)
            self._connections.pop(connection, None)
            if not self._connections:
                self._empty.set()

    def authenticate(self, connection: "_Connection", user_id: int) -> None:
        """Mark the connection as one of this user. Of the connections of a user, newcomers close none of the newest
        `max_of_user`."""
        connection.slot.authenticate()
        if connection.user_id == user_id:
            return
        self._forget_user(connection)
        connection.user_id = user_id
        own = self._of_users.setdefault(user_id, {})
        own[connection] = None
        if len(own) > self.limits.max_of_user:
            oldest = next(iter(own))
            self._forget_user(oldest)
            oldest.slot.end_authentication()

    def _forget_user(self, connection: "_Connection") -> None:
        own = self._of_users.get(connection.user_id, {})
        own.pop(connection, None)
        if not own:
            self._of_users.pop(connection.user_id, None)
        connection.user_id = 0

    def _admit(self, peer: str, close: Callable[[], None]) -> Slot | None:
        slot = self.admission.admit(peer, close)
        if slot is None and (old := self._oldest_idle() or self._oldest_of_many()):
            del self._connections[old]
            self._forget_user(old)
            old.slot.evict()
            slot = self.admission.admit(peer, close)
        return slot

    def _oldest_idle(self) -> "_Connection | None":
        """The oldest idle connection, if there is one."""
        return next((connection for connection in self._connections if connection.is_idle), None)

    def _oldest_of_many(self) -> "_Connection | None":
        """The oldest connection of the user with the most, if that user has more than SPARED_OF_USER."""
        most = max(self._of_users.values(), key=len, default={})
        return next(iter(most)) if len(most) > SPARED_OF_USER else None

    async def drain(self) -> None:
        """Close idle connections after `last_seconds`, and wait up to `drain_seconds` for the others."""
        await self.context.terminated.set()
        self._empty = trio.Event()
        for connection in list(self._connections):
            connection.close_if_idle()
        if self._connections:
            with trio.move_on_after(self.limits.drain_seconds):
                await self._empty.wait()


@asynccontextmanager
async def open_http_server(
    app: ASGIFramework,
    host: str,
    port: int,
    limits: HttpLimits | None = None,
    *,
    tls: ServerTls | None = None,
    budget: ConnectionBudget | None = None,
    trusted_proxies: Sequence[Network] = (),
) -> AsyncIterator[Server]:
    """Serve the application while the block is open; then stop accepting, drain, and close the rest.

    `budget` bounds the connections together with those of other listeners; those of `trusted_proxies` have no cap per
    address. A connection is authenticated once the application calls `mark_authenticated`. Raises OSError if the
    address can't be bound. `Server.address` is that of the first listener (IPv4 or IPv6).
    """
    limits = limits or HttpLimits()
    admission = (budget or ConnectionBudget()).add_listener(
        most=limits.max_connections, trusted_proxies=trusted_proxies
    )
    listeners = await listen(host, port, tls=tls)
    server = Server(app, listeners[0].socket.getsockname()[:2], limits, admission)
    async with open_background() as connections:
        async with open_background() as accepting:
            accepting.start_soon(partial(serve_listeners, server.handle, listeners, handler_nursery=connections))
            yield server
        await server.drain()


def mark_authenticated(scope: Mapping[str, Any], user_id: int) -> None:
    """Mark the connection of a request, of which this is the scope, as one of this user. Without effect on a request
    that no connection carries."""
    if authenticate := scope.get("state", {}).get(_AUTHENTICATE):
        authenticate(user_id)


def turn_of(scope: Mapping[str, Any]) -> Turn:
    """Return the turn of the client of a request, of which this is the scope; one of its own for a request that no
    connection carries."""
    return scope.get("state", {}).get(_TURN) or Turn()


def on_authenticated(scope: Scope, function: Callable[[], None]) -> Scope:
    """The scope of a request for which `mark_authenticated` also calls the function."""
    state = cast(Mapping[str, Any], scope).get("state", {})
    authenticate = state.get(_AUTHENTICATE)

    def authenticate_both(user_id: int) -> None:
        function()
        if authenticate:
            authenticate(user_id)

    return cast(Scope, {**scope, "state": {**state, _AUTHENTICATE: authenticate_both}})


class _Connection:
    """One client's connection. It is busy from the head of a request to the end of the response, else idle."""

    def __init__(self, server: Server, stream: ClientStream, scope: trio.CancelScope, slot: Slot) -> None:
        """`scope` ends it at once when it is cancelled."""
        self.slot = slot
        self.user_id = 0
        """The user of the newest authenticated request; 0 for none."""
        self._server = server
        self._limits = server.limits
        self._stream = stream
        self._is_established = False
        """Whether both sides may send: with TLS, after the handshake."""
        self._send_lock = trio.Lock()
        self._all = scope
        self._last_at = trio.current_time() + server.admission.limits.total_seconds
        self._reading = trio.CancelScope(deadline=self._idle_deadline())

    @property
    def is_idle(self) -> bool:
        return self._reading.deadline < float("inf")

    def close_if_idle(self) -> None:
        """Close it after `last_seconds`, unless a request arrives: its client might not retry it."""
        if self.is_idle:
            self._reading.deadline = min(self._reading.deadline, trio.current_time() + self._limits.last_seconds)

    async def run(self) -> None:
        """Serve requests until the client disconnects, is idle or too slow, or the protocol ends. Until a client has
        authenticated, an idle connection ends at its total age too."""
        with self._reading:
            await await_client(self._stream, self.slot.turn)
        if self._reading.cancelled_caught:
            return
        self._reading = trio.CancelScope(deadline=self._reading.deadline)
        async with TaskGroup() as tasks:
            protocol = self._make_protocol(tasks)
            with self._reading:
                await self._read(protocol)
            await protocol.handle(Closed())
        if self._is_established and not self._server.context.terminated.is_set():
            await self._linger()

    def _make_protocol(self, tasks: TaskGroup) -> "_Http1":
        socket = transport_of(self._stream).socket
        turn = self.slot.turn
        return _Http1(
            ASGIWrapper(partial(_receive_in_turn, self._server.app, turn)),
            self._server.config,
            self._server.context,
            tasks,
            ConnectionState({_AUTHENTICATE: partial(self._server.authenticate, self), _TURN: turn}),
            isinstance(self._stream, trio.SSLStream),
            _address(socket.getpeername()),
            _address(socket.getsockname()),
            self._on_event,
            turn=turn,
        )

    async def _read(self, protocol: H11Protocol) -> None:
        if isinstance(self._stream, trio.SSLStream):
            await self._stream.do_handshake()
        self._is_established = True
        while data := await self._stream.receive_some(MAX_RECEIVE):
            await self.slot.turn.wait()
            await protocol.handle(RawData(bytes(data)))

    async def _on_event(self, event: Event) -> None:
        """Handle a protocol event. Only sending awaits: a request's task may be cancelled as soon as it ends."""
        match event:
            case RawData(data=data) if data:
                await self._send(data)
            case Updated(idle=True):
                self._reading.deadline = self._idle_deadline()
            case Updated():
                self._reading.deadline = float("inf")
            case Closed():
                self._reading.cancel()

    def _idle_deadline(self) -> float:
        deadline = trio.current_time() + self._limits.idle_seconds
        return deadline if self.slot.is_authenticated else min(deadline, self._last_at)

    async def _send(self, data: bytes) -> None:
        """Send, or close the connection if the client does not read a piece in time."""
        try:
            async with self._send_lock:
                for at in range(0, len(data), MAX_SEND):
                    with trio.fail_after(self._limits.send_seconds):
                        await self._stream.send_all(memoryview(data)[at : at + MAX_SEND])
        except (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError):
            self._all.cancel()  # with the request's task, to which a lost client would be a fault

    async def _linger(self) -> None:
        """Send end-of-stream and discard further data of the client: a reset would drop the end of the response."""
        transport = transport_of(self._stream)
        with trio.move_on_after(self._limits.linger_seconds):
            if isinstance(self._stream, trio.SSLStream):
                with suppress(trio.BrokenResourceError):  # the client is gone, or still sends: then only TCP is closed
                    await self._stream.unwrap()
            await transport.send_eof()
            while await transport.receive_some(MAX_RECEIVE):
                pass


async def _receive_in_turn(
    app: ASGIFramework, turn: Turn, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
) -> None:
    """Run the application for a request, whose further pieces of a body it receives in the turn of the client."""
    has_more = False

    async def receive_next() -> ASGIReceiveEvent:
        nonlocal has_more
        if has_more:
            await turn.wait()
            turn.charge(PIECE_SECONDS)
        event = await receive()
        has_more = event["type"] == "http.request" and event.get("more_body", False)
        return event

    await app(scope, receive_next, send)


class _H11(ServerConnection):
    """Counts the time of parsing for the client's turn."""

    def __init__(self, turn: Turn, max_head_bytes: int) -> None:
        super().__init__(max_head_bytes)
        self._turn = turn

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        with self._turn:
            return super().next_event()


class _Http1(H11Protocol):
    """HTTP/1.1 only: an `Upgrade` to HTTP/2 or WebSocket is ignored (RFC 9110, 7.8).

    A target in absolute form, as proxies send it, becomes its path (RFC 9112, 3.2.2).
    """

    def __init__(self, *connection: Any, turn: Turn) -> None:
        """`connection` as for hypercorn's; `turn` bounds the time for received bytes and the number of requests."""
        super().__init__(*connection)
        self.connection = _H11(turn, self.config.h11_max_incomplete_size)
        self._turn = turn

    async def _check_protocol(self, event: h11.Request) -> None:
        """Hypercorn would switch to HTTP/2 here."""

    async def _create_stream(self, request: h11.Request) -> None:
        await self._turn.wait()
        self._turn.charge(REQUEST_SECONDS * max(1.0, head_bytes(request) / USUAL_HEAD_BYTES))
        if status := refusal_of_head(request):
            await self._send_error_response(status)
            await self.send(Closed())  # a further request on this connection may be a smuggled one
            return
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
    config.max_app_queue_size = MAX_QUEUED
    return config


def _address(name: tuple[str, int] | tuple[str, int, int, int]) -> tuple[str, int]:
    return name[0], name[1]

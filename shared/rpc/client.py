"""The gRPC client: a channel that keeps one connection and makes a new one when that is gone, and calls over it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import structlog
import trio
from google.protobuf.message import Message
from h2.events import ConnectionTerminated, RemoteSettingsChanged

from shared.rpc.connection import Connection, keep_alive
from shared.rpc.limits import DEFAULT_LIMITS, Limits
from shared.rpc.protocol import CallEnded, Event, OutgoingCall, ResponseStarted
from shared.rpc.status import Metadata, RpcError, Status
from shared.rpc.streams import ClientStream

FIRST_BACKOFF = 0.05
"""Seconds after a failed attempt to connect in which calls are refused at once; doubles with each further one."""

MAX_BACKOFF = 1.0
"""Seconds that it grows to: a server that is back is found within this time."""

LAST_STREAM_ID = 2**31 - 3
"""HTTP/2 has no more on one connection: the next call goes over a new one."""

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
AnyClientStream = ClientStream[Any, Any]

log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_channel(host: str, port: int, *, limits: Limits = DEFAULT_LIMITS) -> AsyncIterator["Channel"]:
    """A channel to the server, to make stubs of. It connects when it is first used: a server that is away does not
    fail the opening but the calls. Leaving the block ends the calls that are still under way."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        channel = Channel(nursery, host, port, limits)
        nursery.start_soon(keep_alive, channel.connections, limits)
        try:
            yield channel
        except Exception as error:
            failure = error  # raised below, since the nursery would wrap it
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def call_unary(
    method: Callable[[Request], Awaitable[Response]],
    request: Request,
    *,
    timeout: float,  # noqa: ASYNC109 - the server is told of it too
    metadata: Metadata = (),
    attempts: int = 1,
) -> Response:
    """Call a stub's unary method, such as `ArchiveServiceStub(channel).GetChat`, and return its answer.

    With more `attempts` than one, a call that ends as UNAVAILABLE is made again at once: for what may be done twice,
    where another server may have the answer. Raises RpcError: DEADLINE_EXCEEDED after `timeout` seconds of the last
    attempt, UNAVAILABLE if there is no connection, else what the server says.
    """
    for _ in range(attempts - 1):
        try:
            return await _call_once(method, request, timeout, metadata)
        except RpcError as error:
            if error.status is not Status.UNAVAILABLE:
                raise
    return await _call_once(method, request, timeout, metadata)


async def _call_once(
    method: Callable[[Request], Awaitable[Response]],
    request: Request,
    timeout: float,  # noqa: ASYNC109 - the server is told of it too
    metadata: Metadata,
) -> Response:
    async with open_stream(method, timeout=timeout, metadata=metadata) as stream:
        await stream.send(request)
        await stream.end()
        response = await stream.receive()
        if response is None or await stream.receive() is not None:
            raise RpcError(Status.UNIMPLEMENTED, "the server did not answer with one message")
        return cast(Response, response)


@asynccontextmanager
async def open_stream(
    method: Callable[..., Any],
    *,
    timeout: float | None = None,  # noqa: ASYNC109 - the server is told of it too
    metadata: Metadata = (),
    compressed: bool = False,
) -> AsyncIterator[AnyClientStream]:
    """Begin a call of a stub's method, such as `SessionServiceStub(channel).Connect`. Leaving the block ends it.

    With a `timeout` in seconds, the server knows of it, and the block is left with DEADLINE_EXCEEDED after it.
    With `compressed`, what is sent is gzip; what comes may be in any case.
    """
    invoke = cast(Any, method)._stream_fn  # purerpc's stub method is a partial of its Client's method
    name, _, response_type = invoke.args
    client = invoke.func.__self__
    channel: Channel = client.channel
    call = OutgoingCall(client.service_name, name, response_type, channel.authority, timeout, metadata, compressed)
    with trio.move_on_after(float("inf") if timeout is None else timeout) as scope:
        stream = await channel.start_call(call)
        try:
            yield stream
        finally:
            stream.close()
    if scope.cancelled_caught:
        raise RpcError(Status.DEADLINE_EXCEEDED, f"no answer within {timeout} s")


class Channel:
    """Calls to one server. Made by `open_channel`."""

    def __init__(self, nursery: trio.Nursery, host: str, port: int, limits: Limits) -> None:
        self.connections: set[ClientConnection] = set()
        """The current one, and those that only finish what they have."""
        self.authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._nursery = nursery
        self._host = host
        self._port = port
        self._limits = limits
        self._current: ClientConnection | None = None
        self._connecting = trio.Lock()
        self._backoff = FIRST_BACKOFF
        self._retry_at = float("-inf")

    async def start_call(self, call: OutgoingCall) -> AnyClientStream:
        """Begin a call as soon as the server takes one more. Raises RpcError with UNAVAILABLE if there is none."""
        while True:
            connection = await self._connection()
            if connection.has_slot:
                return connection.start_call(call)
            await connection.slots.park()

    async def _connection(self) -> "ClientConnection":
        """The current connection, or a new one. Does not wait if there is one."""
        if self._current is not None and self._current.usable:
            return self._current
        async with self._connecting:
            if self._current is not None and self._current.usable:
                return self._current
            if trio.current_time() < self._retry_at:
                raise RpcError(Status.UNAVAILABLE, f"no connection to {self.authority}")
            try:
                self._current = await self._connect()
            except (OSError, trio.TooSlowError) as error:
                self._retry_at = trio.current_time() + self._backoff
                self._backoff = min(2 * self._backoff, MAX_BACKOFF)
                raise RpcError(Status.UNAVAILABLE, f"no connection to {self.authority}") from error
            self._backoff = FIRST_BACKOFF
            return self._current

    async def _connect(self) -> "ClientConnection":
        """Connect and wait for the server's settings. Raises OSError or TooSlowError."""
        with trio.fail_after(self._limits.connect_timeout):
            transport = await trio.open_tcp_stream(self._host, self._port)
            connection = ClientConnection(transport, self._limits)
            self._nursery.start_soon(self._run, connection)
            try:
                await connection.settled.wait()
            except trio.Cancelled:
                connection.cancel()
                raise
        if not connection.usable:
            raise OSError("the server closed the connection at once")
        return connection

    async def _run(self, connection: "ClientConnection") -> None:
        self.connections.add(connection)
        try:
            await connection.run()
        except* Exception as group:
            log.error("rpc_connection_failed", exc_info=group)
        finally:
            self.connections.discard(connection)


class ClientConnection(Connection[AnyClientStream]):
    """A connection to a server."""

    def __init__(self, transport: trio.abc.Stream, limits: Limits) -> None:
        super().__init__(transport, limits, client_side=True)
        self.settled = trio.Event()
        """Set when the server has sent its settings, and when the connection ends."""
        self.slots = trio.lowlevel.ParkingLot()
        """Where calls wait until the server takes one more."""

    @property
    def usable(self) -> bool:
        """Whether calls may begin on it."""
        return not self.going_away and self.http2.highest_outbound_stream_id < LAST_STREAM_ID

    @property
    def has_slot(self) -> bool:
        """Whether the server takes one more call now."""
        return len(self.streams) < self.http2.remote_settings.max_concurrent_streams

    def start_call(self, call: OutgoingCall) -> AnyClientStream:
        """Send a call's headers. Raises ValueError for bad metadata."""
        stream_id = self.http2.get_next_available_stream_id()
        self.protocol.call(stream_id, call)
        stream: AnyClientStream = ClientStream(self, stream_id, call.response_type)
        stream.sends_gzip = call.compressed
        self.streams[stream_id] = stream
        self.flush()
        return stream

    def forget(self, stream: AnyClientStream) -> None:
        super().forget(stream)
        self.slots.unpark()

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            self.settled.set()

    def _handle(self, event: Event) -> None:
        match event:
            case ResponseStarted():
                if stream := self.streams.get(event.stream_id):
                    stream.response_started(event.metadata, compressed=event.compressed)
            case CallEnded():
                if stream := self.streams.get(event.stream_id):
                    stream.call_ended(event.error, event.metadata)
            case ConnectionTerminated():
                self._server_goes_away(event.last_stream_id or 0)
            case RemoteSettingsChanged():
                super()._handle(event)
                self.settled.set()
                self.slots.unpark_all()
            case _:
                super()._handle(event)

    def _lose_peer(self) -> None:
        self._retire()
        super()._lose_peer()

    def _server_goes_away(self, last_stream_id: int) -> None:
        """Finish the calls that the server has taken; the others it has never seen."""
        self._retire()
        for stream in list(self.streams.values()):
            if stream.stream_id > last_stream_id:
                stream.disconnect(RpcError(Status.UNAVAILABLE, "the server is going away", unprocessed=True))
        if not self.streams:
            self.close()

    def _retire(self) -> None:
        """Let no more calls begin here; those that wait go to the next connection."""
        self.going_away = True
        self.slots.unpark_all()

"""Fixtures and helpers of the rpc tests: servers with the handlers of a test, and a client of raw HTTP/2."""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h2.events
import pytest
import trio
import trio.testing
import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from hyperframe.frame import Frame, GoAwayFrame
from trio.testing import MockClock

from rookery.v1.archive_pb2 import GetChatRequest
from rookery.v1.session_grpc import SessionServiceServicer
from rookery.v1.session_pb2 import ClientFrame, Ping, Pong, ServerFrame
from shared.background import open_background
from shared.rpc import (
    Balancer,
    Channel,
    Limits,
    Prepare,
    ServerStream,
    Servicer,
    open_channel,
    serve_rpc,
    stream_handler,
)
from shared.rpc.framing import frame_messages
from shared.rpc.server.methods import Interceptor
from shared.rpc.server.server import Server
from tests.shared.rpc.calling import Archive, GetChat, echo_chat

CONNECT = "/rookery.v1.SessionService/Connect"
GET_CHAT = "/rookery.v1.ArchiveService/GetChat"

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

FRAME = ServerFrame(pong=Pong(payload=bytes(1_000)))

QUICK = Limits(drain_timeout=0.2, close_timeout=0.2)
"""For servers that stop while calls are open."""

STANDSTILL = 0.01
"""Seconds without traffic on any socket after which nothing is in flight in the kernel either."""

SessionStream = ServerStream[ClientFrame, ServerFrame]
Connect = Callable[[SessionStream], Awaitable[None]]


@pytest.fixture
def autojump_clock() -> MockClock:
    """Replaces pytest-trio's clock, which jumps once all tasks are blocked, even while a socket has data in flight."""
    return MockClock(autojump_threshold=STANDSTILL)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


class Sessions(SessionServiceServicer):
    """Sessions with a test's Connect."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    @stream_handler
    async def Connect(self, stream: SessionStream) -> None:
        await self._connect(stream)


async def echo_frames(stream: SessionStream) -> None:
    """Answer each ping with a pong."""
    while (frame := await stream.receive()) is not None:
        await stream.send(ServerFrame(pong=Pong(payload=frame.ping.payload)))


async def flood(stream: SessionStream) -> None:
    """Send messages without end."""
    while True:
        await stream.send(FRAME)


def make_services(*, get_chat: GetChat = echo_chat, connect: Connect = echo_frames) -> list[Servicer]:
    return [Archive(get_chat), Sessions(connect)]


@dataclass(slots=True)
class RunningServer:
    """A server that runs until it is stopped or the test ends."""

    port: int = 0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    server: Server = field(init=False)
    """The server's statistics and connections."""

    async def run(
        self,
        services: Sequence[Servicer],
        listeners: list[trio.SocketListener],
        limits: Limits,
        tls: ssl.SSLContext | None = None,
        *,
        task_status: trio.TaskStatus[object],
    ) -> None:
        self.port = listeners[0].socket.getsockname()[1]
        secured = [trio.SSLListener(listener, tls) for listener in listeners] if tls else listeners
        with self.scope:
            await serve_rpc(services, secured, limits=limits, task_status=task_status)
        self.ended.set()

    async def stop(self) -> None:
        """Stop the server, and wait until it has stopped."""
        self.scope.cancel()
        await self.ended.wait()


@contextmanager
def kept_port() -> Iterator[int]:
    """Reserve a port by binding it without listening, which refuses connections."""
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        yield keeper.getsockname()[1]


@dataclass(slots=True)
class Serve:
    """Starts servers, each on a port of its own or on a given one."""

    _nursery: trio.Nursery
    _ports: ExitStack

    async def __call__(
        self,
        *,
        get_chat: GetChat = echo_chat,
        connect: Connect = echo_frames,
        limits: Limits = QUICK,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> RunningServer:
        port = port or self._ports.enter_context(kept_port())
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1", backlog=4_096)
        server, services = RunningServer(), make_services(get_chat=get_chat, connect=connect)
        server.server = await self._nursery.start(server.run, services, listeners, limits, tls)
        return server


@pytest.fixture
def serve(nursery: trio.Nursery) -> Iterator[Serve]:
    with ExitStack() as ports:
        yield Serve(nursery, ports)


class IdleHandler:
    """A Connect that sends one frame and waits for ever. `inside` counts the waiting calls, `entered` all calls."""

    def __init__(self) -> None:
        self.inside = 0
        self.entered = 0

    async def __call__(self, stream: SessionStream) -> None:
        self.inside += 1
        self.entered += 1
        try:
            await stream.send(ServerFrame())
            await trio.sleep_forever()
        finally:
            self.inside -= 1


@pytest.fixture
def idle_handler() -> IdleHandler:
    return IdleHandler()


def ready(balancer: Balancer, count: int) -> Callable[[], bool]:
    """Return whether so many servers of a balancer are ready, as a condition for `eventually`."""
    return lambda: balancer.statistics().servers_ready == count


async def eventually(condition: Callable[[], bool]) -> None:
    """Poll a condition that another thread or the kernel fulfils. Only a test that has failed reaches the limit."""
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.005)


class _LastingConnection(H2Connection):
    """Lets a client finish its calls after GOAWAY, which h2 treats as the end of the connection."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[h2.events.Event]]:
        event = h2.events.ConnectionTerminated()
        event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
        return [], [event]


class RawClient:
    """A client of raw HTTP/2. `events` has the received events that no method has returned yet."""

    def __init__(self, stream: trio.abc.Stream, server: Server) -> None:
        self.stream = stream
        self.server = server
        self.http2 = _LastingConnection(
            H2Configuration(header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self.events: list[h2.events.Event] = []

    async def flush(self) -> None:
        """Send h2's buffer."""
        await self.stream.send_all(self.http2.data_to_send())

    async def call(self, path: str = CONNECT, *headers: tuple[str, str | bytes], end: bool = False) -> int:
        """Begin a call. Returns its stream id."""
        stream_id = self.begin(path, *headers, end=end)
        await self.flush()
        return stream_id

    def begin(self, path: str = CONNECT, *headers: tuple[str, str | bytes], end: bool = False) -> int:
        """Begin a call, to be sent by `flush`. The headers override the usual ones."""
        usual: dict[str, str | bytes] = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "test"}
        usual |= {"te": "trailers", "content-type": "application/grpc"}
        stream_id = self.http2.get_next_available_stream_id()
        self.http2.send_headers(stream_id, list((usual | dict(headers)).items()), end_stream=end)
        return stream_id

    async def send(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Send any data."""
        self.http2.send_data(stream_id, data, end_stream=end)
        await self.flush()

    async def ping(self, stream_id: int, payload: bytes = b"", *, end: bool = False) -> None:
        """Send a ping of the session protocol."""
        frame = ClientFrame(ping=Ping(payload=payload))
        await self.send(stream_id, frame_messages([frame.SerializeToString()]), end=end)

    async def receive(self) -> bool:
        """Receive once. Returns False if the server has ended the connection."""
        with trio.fail_after(30):  # only for a test that has failed
            data = await self.stream.receive_some(65_536)
        self.events += self.http2.receive_data(data)
        await self.flush()
        return bool(data)

    async def receive_until(self, is_wanted: Callable[[Any], bool]) -> Any:
        """Receive until an event matches; remove it from `events` and return it."""
        while True:
            for event in self.events:
                if is_wanted(event):
                    self.events.remove(event)
                    return event
            assert await self.receive(), "the server has ended the connection"

    async def status_of(self, stream_id: int) -> tuple[int, str]:
        """Return the status of a call, and its message as encoded on the wire."""

        def has_status(event: h2.events.Event) -> bool:
            if not isinstance(event, h2.events.TrailersReceived | h2.events.ResponseReceived):
                return False
            return event.stream_id == stream_id and any(str(name) == "grpc-status" for name, _ in event.headers)

        fields = dict((await self.receive_until(has_status)).headers)
        return int(fields["grpc-status"]), fields.get("grpc-message", "")

    async def reset_of(self, stream_id: int) -> ErrorCodes:
        """Return the code with which the server resets a stream."""
        event = await self.receive_until(
            lambda e: isinstance(e, h2.events.StreamReset) and e.remote_reset and e.stream_id == stream_id
        )
        return ErrorCodes(event.error_code)

    async def data_of(self, stream_id: int) -> bytes:
        """Return the next data of a stream, and open its window again."""
        event = await self.receive_until(
            lambda e: isinstance(e, h2.events.DataReceived) and e.stream_id == stream_id and bool(e.data)
        )
        self.http2.acknowledge_received_data(event.flow_controlled_length, stream_id)
        await self.flush()
        return bytes(event.data)

    async def prove_alive(self) -> None:
        """Check that a whole call succeeds on this connection."""
        stream_id = await self.call(GET_CHAT)
        request = GetChatRequest(chat_id="d-1-2").SerializeToString()
        await self.send(stream_id, frame_messages([request]), end=True)
        assert b"d-1-2" in await self.data_of(stream_id)
        assert await self.status_of(stream_id) == (0, "")


@dataclass(slots=True)
class ConnectRaw:
    """Connects raw clients in memory."""

    _nursery: trio.Nursery

    async def __call__(
        self,
        *,
        get_chat: GetChat = echo_chat,
        connect: Connect = echo_frames,
        limits: Limits = QUICK,
        server: Server | None = None,
        lockstep: bool = False,
    ) -> RawClient:
        """Connect a client to the server, by default to a new one with these handlers and limits. With `lockstep`,
        there is no buffer between the ends: a send waits until the other end reads."""
        near, far = (trio.testing.lockstep_stream_pair if lockstep else trio.testing.memory_stream_pair)()
        server = server or Server(make_services(get_chat=get_chat, connect=connect), limits)
        self._nursery.start_soon(server.serve_connection, far)
        client = RawClient(near, server)
        client.http2.initiate_connection()
        await client.flush()
        return client


@pytest.fixture
def connect_raw(nursery: trio.Nursery) -> ConnectRaw:
    return ConnectRaw(nursery)


@asynccontextmanager
async def open_client(
    services: Sequence[Servicer], *interceptors: Interceptor, prepare: Sequence[Prepare] = ()
) -> AsyncIterator[Channel]:
    """Serve the services behind interceptors, and open a channel to them."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with open_background() as nursery:
        await nursery.start(partial(serve_rpc, services, listeners, interceptors=interceptors, limits=QUICK))
        async with open_channel("127.0.0.1", listeners[0].socket.getsockname()[1], prepare=prepare) as channel:
            yield channel

"""Small requests without a token that would unpack to large ones: memory stays where it was."""

import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial

import grpc
import pytest
import trio
from google.protobuf.message import Message
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, Event, ResponseReceived, StreamEnded, TrailersReceived
from hpack import Encoder
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame

from shared.rpc.framing import frame_messages
from shared.rpc.standard.reflection_pb2 import ServerReflectionRequest
from tests.hostile.test_fairness import PREFACE
from tools.launch.process import Rookery, port_of, wait_until

MIB = 1024 * 1024

CALLS = 50
"""Over each connection, one after the other."""

CONNECTIONS = 6

BOMB = frame_messages([bytes(4 * MIB)], compress=True)
"""4 KiB."""

UNFINISHED = 240
"""Unfinished requests over CONNECTIONS, of 1 MiB unpacked."""

GROWTH_BYTES = 64 * MIB
"""The most that the process may grow meanwhile: a fourth of the unpacked size of the requests."""

HELD_PER_CONNECTION = 100
"""Calls without a token that a connection holds: as many as it may have at once."""

SESSION = "/rookery.v1.SessionService/Connect"
UNARY = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"

pytestmark = pytest.mark.usefixtures("chatting")


def status_in(events: list[Event]) -> str:
    """The gRPC status of a response; empty while it has none."""
    assert not any(isinstance(event, ConnectionTerminated) for event in events)
    heads = [event.headers for event in events if isinstance(event, ResponseReceived | TrailersReceived)]
    return next((str(value) for head in heads for name, value in head or () if str(name) == "grpc-status"), "")


async def send_bombs(port: int, path: str) -> None:
    """Call the method once after the other over one connection: each call is refused because of its unpacked size."""
    http2 = H2Connection(H2Configuration(header_encoding="utf-8"))
    http2.initiate_connection()
    headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "te": "trailers"}
    headers |= {"content-type": "application/grpc", "grpc-encoding": "gzip"}
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for _ in range(CALLS):
            number = http2.get_next_available_stream_id()
            http2.send_headers(number, [*headers.items()])
            http2.send_data(number, BOMB, end_stream=True)
            events: list[Event] = []
            while not any(isinstance(event, StreamEnded) for event in events):
                await stream.send_all(http2.data_to_send())
                data = bytes(await stream.receive_some())
                assert data, "the connection was closed"
                events += http2.receive_data(data)
            assert status_in(events) == str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])


@pytest.mark.parametrize(("name", "path"), [("grpc", SESSION), ("archive", UNARY)])
async def test_bombs_of_gzip_that_are_refused_leave_no_more_memory_than_their_packed_bytes(
    name: str, path: str, rookery: Rookery
) -> None:
    """The first round fills caches and the memory that Python keeps; a fifth of the bytes of the second one stays."""
    before = 0
    for _ in range(2):
        before = rookery.resident_bytes
        async with trio.open_nursery() as nursery:
            for _ in range(CONNECTIONS):
                nursery.start_soon(send_bombs, port_of(rookery.addresses[name]), path)
    assert rookery.resident_bytes - before <= CONNECTIONS * CALLS * len(BOMB)


def held_calls(path: str, message: Message | None) -> bytes:
    """Return the bytes of a connection that opens calls with this message, and takes no byte of a response."""
    encoder = Encoder()
    headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "te": "trailers"}
    headers |= {"content-type": "application/grpc"}
    sent = PREFACE + SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}).serialize()
    for stream in range(1, 2 * HELD_PER_CONNECTION, 2):
        sent += HeadersFrame(stream, encoder.encode(list(headers.items())), flags=["END_HEADERS"]).serialize()
        if message is not None:
            sent += DataFrame(stream, frame_messages([message.SerializeToString()])).serialize()
    return sent


@pytest.mark.parametrize(
    ("name", "path", "message", "connections", "most"),
    [
        ("grpc", REFLECTION, ServerReflectionRequest(file_containing_symbol="rookery.v1.SessionService"), 10, 16 * MIB),
        (
            "archive",
            REFLECTION,
            ServerReflectionRequest(file_containing_symbol="rookery.v1.ArchiveService"),
            10,
            16 * MIB,
        ),
        ("grpc", SESSION, None, 100, 48 * MIB),
    ],
    ids=["reflections, gateway", "reflections, archive", "sessions"],
)
async def test_calls_without_a_token_that_are_held_take_a_bounded_memory(
    name: str, path: str, message: Message | None, connections: int, most: int, rookery: Rookery
) -> None:
    """`most`: bytes by which the process may grow meanwhile, a fourth of the bytes of all calls."""
    sent = held_calls(path, message)
    before = rookery.resident_bytes
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        for _ in range(connections):
            stream = await trio.open_tcp_stream("127.0.0.1", port_of(rookery.addresses[name]))
            stack.push_async_callback(trio.aclose_forcefully, stream)
            await stream.send_all(sent)
            nursery.start_soon(read_all, stream)
        too_large = partial(wait_until, lambda: rookery.resident_bytes - before > most, 5)
        assert not await trio.to_thread.run_sync(too_large), rookery.resident_bytes - before
        nursery.cancel_scope.cancel()


async def read_all(stream: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while await stream.receive_some():
            pass


@pytest.mark.slow
async def test_packed_requests_of_a_stock_client_that_never_end_take_their_packed_size(rookery: Rookery) -> None:
    await trio.to_thread.run_sync(hold_packed_requests, rookery)


def hold_packed_requests(rookery: Rookery) -> None:
    channels = open_channels(rookery)
    ended = threading.Event()
    packed = bytes(MIB - 100)

    def request() -> Iterator[bytes]:
        yield packed
        ended.wait(60)

    before = rookery.resident_bytes
    calls = [
        channel.stream_unary(UNARY).future(request()) for channel in channels for _ in range(UNFINISHED // CONNECTIONS)
    ]
    try:
        assert not wait_until(lambda: rookery.resident_bytes - before > GROWTH_BYTES, 2)
        assert not any(call.done() for call in calls)
    finally:
        ended.set()
    for call in calls:
        call.exception(timeout=30)
    for channel in channels:
        channel.close()


def open_channels(rookery: Rookery) -> list[grpc.Channel]:
    """Return channels of a connection each; gRPC would share one between channels of the same options."""
    target = rookery.addresses["grpc"]
    return [
        grpc.insecure_channel(target, [("connection", number)], compression=grpc.Compression.Gzip)
        for number in range(CONNECTIONS)
    ]

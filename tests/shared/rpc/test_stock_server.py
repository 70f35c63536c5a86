"""The client against a stock grpcio server."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trio
import trio.testing

from rookery.v1.archive_grpc import ArchiveServiceStub
from rookery.v1.archive_pb2 import GetChatRequest, GetChatResponse, ListChatsRequest
from rookery.v1.session_grpc import SessionServiceStub
from rookery.v1.session_pb2 import ClientFrame, Pong, ServerFrame
from shared.rpc import (
    Limits,
    RpcError,
    ServerStream,
    Status,
    call_unary,
    open_channel,
    open_stream,
)
from tests.shared.rpc.calling import PATIENCE, failure_of, get_chat, ping

if TYPE_CHECKING:
    from shared.rpc.client.connection import ClientConnection
    from tests.shared.rpc.conftest import GrpcStubs

SessionStream = ServerStream[ClientFrame, ServerFrame]
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]


def connect(frames: Iterator[ClientFrame], context: Any) -> Iterator[ServerFrame]:
    """Connect in grpcio: it answers pings, and ends with ABORTED on an empty one."""
    context.send_initial_metadata([("first", "1")])
    context.set_trailing_metadata([("last", "2")])
    for frame in frames:
        if not frame.ping.payload:
            context.abort(grpc.StatusCode.ABORTED, "50 % é")
        yield ServerFrame(pong=Pong(payload=frame.ping.payload))


def get_compressed_chat(request: GetChatRequest, context: Any) -> GetChatResponse:
    """GetChat in grpcio, with a compressed answer."""
    context.set_compression(grpc.Compression.Gzip)
    response = GetChatResponse()
    response.chat.chat_id = request.chat_id
    return response


MakeGrpcio = Callable[..., tuple[grpc.Server, int]]


@pytest.fixture
async def make_grpcio(grpc_stubs: "GrpcStubs") -> AsyncIterator[MakeGrpcio]:
    """Makes grpcio servers with options of its own, that have no other method than those two."""
    archive = type(
        "Archive", (grpc_stubs.archive.ArchiveServiceServicer,), {"GetChat": staticmethod(get_compressed_chat)}
    )
    sessions = type("Sessions", (grpc_stubs.session.SessionServiceServicer,), {"Connect": staticmethod(connect)})
    servers: list[grpc.Server] = []
    with ThreadPoolExecutor(4) as pool:

        def make(port: int = 0, **options: int) -> tuple[grpc.Server, int]:
            server = grpc.server(pool, options=[(f"grpc.{name}", value) for name, value in options.items()])
            servers.append(server)
            grpc_stubs.archive.add_ArchiveServiceServicer_to_server(archive(), server)
            grpc_stubs.session.add_SessionServiceServicer_to_server(sessions(), server)
            port = server.add_insecure_port(f"127.0.0.1:{port}")
            server.start()
            return server, port

        yield make
        for server in servers:
            await trio.to_thread.run_sync(server.stop(None).wait)


async def test_a_grpcio_server_is_understood(make_grpcio: MakeGrpcio) -> None:
    _, port = make_grpcio()
    async with open_channel("127.0.0.1", port) as channel:
        for number in range(20):
            chat_id = f"{number}" * 1_000
            assert await get_chat(channel, chat_id) == chat_id
        async with open_stream(SessionServiceStub(channel).Connect, timeout=PATIENCE) as stream:
            for payload in (b"x" * size for size in (1, 10_000, 1_000_000)):
                await stream.send(ping(payload))
                answer = await stream.receive()
                assert answer is not None
                assert answer.pong.payload == payload
            assert ("first", "1") in stream.metadata
            await stream.send(ping())
            with pytest.raises(RpcError) as failure:
                await stream.receive()
            assert (failure.value.status, failure.value.message) == (Status.ABORTED, "50 % é")
            assert ("last", "2") in stream.trailing_metadata
        with pytest.raises(RpcError) as failure:
            await call_unary(ArchiveServiceStub(channel).ListChats, ListChatsRequest(), timeout=PATIENCE)
        assert failure.value.status is Status.UNIMPLEMENTED


async def test_no_call_is_lost_to_a_grpcio_server_that_ends_its_connections_now_and_then(
    make_grpcio: MakeGrpcio,
) -> None:
    _, port = make_grpcio(max_connection_age_ms=50, max_connection_age_grace_ms=10_000)
    connections: set[ClientConnection] = set()
    async with open_channel("127.0.0.1", port) as channel, trio.open_nursery() as nursery:

        async def call_again_and_again() -> None:
            with trio.fail_after(PATIENCE):
                while len(connections) < 5:
                    await get_chat(channel)
                    connections.update(channel.connections)

        for _ in range(3):
            nursery.start_soon(call_again_and_again)


async def test_a_call_under_way_at_a_grpcio_server_that_stops_ends_well(make_grpcio: MakeGrpcio) -> None:
    server, port = make_grpcio()
    async with open_channel("127.0.0.1", port) as channel:
        async with open_stream(SessionServiceStub(channel).Connect, timeout=PATIENCE) as stream:
            await stream.send(ping(b"1"))
            await stream.receive()
            stopping = server.stop(PATIENCE)
            with trio.fail_after(PATIENCE):
                while channel.statistics().servers_ready:
                    await trio.sleep(0.005)
            await stream.send(ping(b"2"))
            answer = await stream.receive()
            assert answer is not None
            assert answer.pong.payload == b"2"
            await stream.end()
            assert await stream.receive() is None
        await trio.to_thread.run_sync(stopping.wait)
        assert (await failure_of(channel)).status is Status.UNAVAILABLE


async def test_a_grpcio_server_that_wants_fewer_pings_gets_fewer(make_grpcio: MakeGrpcio) -> None:
    _, port = make_grpcio()
    limits = Limits(keepalive_interval=0.02, keepalive_timeout=PATIENCE)
    async with open_channel("127.0.0.1", port, limits=limits) as channel:
        intervals = []
        for _ in range(3):
            await get_chat(channel)
            (connection,) = channel.connections
            intervals.append(connection.limits.keepalive_interval)
            with trio.fail_after(PATIENCE):
                while connection in channel.connections:
                    connection.check_alive()
                    await trio.sleep(0.005)
    assert intervals == [0.02, 0.04, 0.08]

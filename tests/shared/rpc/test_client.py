"""The client: calls, deadlines and reconnects, against our server and against grpcio's."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trio
import trio.testing

from rookery.v1.archive_grpc import ArchiveServiceStub
from rookery.v1.archive_pb2 import GetChatRequest, GetChatResponse, ListChatsRequest
from rookery.v1.session_grpc import SessionServiceStub
from rookery.v1.session_pb2 import ClientFrame, Ping, Pong, ServerFrame
from shared.rpc import Channel, Limits, RpcError, ServerStream, Status, call_unary, open_channel, open_stream
from shared.rpc.client import FIRST_BACKOFF

if TYPE_CHECKING:
    from tests.shared.rpc.conftest import GrpcStubs, IdleListeners, Serve

SessionStream = ServerStream[ClientFrame, ServerFrame]
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

PATIENCE = 30.0
"""Seconds that calls may take: only a test that has failed takes that long."""


def ping(payload: bytes = b"") -> ClientFrame:
    return ClientFrame(ping=Ping(payload=payload))


async def get_chat(channel: Channel, chat_id: str = "d-1-2", *, within: float = PATIENCE) -> str:
    response: GetChatResponse = await call_unary(
        ArchiveServiceStub(channel).GetChat, GetChatRequest(chat_id=chat_id), timeout=within
    )
    return response.chat.chat_id


async def answers(channel: Channel) -> bool:
    try:
        return await get_chat(channel) == "d-1-2"
    except RpcError:
        return False


async def failure_of(channel: Channel) -> RpcError:
    with pytest.raises(RpcError) as failure:
        await get_chat(channel)
    return failure.value


async def test_calls_go_over_one_connection(serve: "Serve") -> None:
    async with open_channel("127.0.0.1", (await serve()).port) as channel:
        for number in range(50):
            assert await get_chat(channel, f"{number}") == f"{number}"
        assert len(channel.connections) == 1


async def test_calls_at_once_share_the_connection_and_wait_for_their_turn(serve: "Serve") -> None:
    under_way: list[int] = [0, 0]

    async def get_slowly(request: GetChatRequest) -> GetChatResponse:
        under_way[0] += 1
        under_way[1] = max(under_way)
        await trio.sleep(0.002)
        under_way[0] -= 1
        return GetChatResponse()

    port = (await serve(get_chat=get_slowly, limits=Limits(max_streams=5))).port
    async with open_channel("127.0.0.1", port) as channel:
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(get_chat, channel)
        assert len(channel.connections) == 1
    assert under_way == [0, 5]


async def test_a_stream_goes_both_ways_until_both_have_ended(serve: "Serve") -> None:
    async with (
        open_channel("127.0.0.1", (await serve()).port) as channel,
        open_stream(SessionServiceStub(channel).Connect) as stream,
    ):
        for number in range(10):
            payload = bytes([number]) * 100_000
            await stream.send(ping(payload))
            answer = await stream.receive()
            assert answer is not None
            assert answer.pong.payload == payload
        await stream.end()
        assert await stream.receive() is None


async def test_metadata_goes_both_ways(serve: "Serve") -> None:
    async def connect(stream: SessionStream) -> None:
        await stream.send_metadata([("name", dict(stream.metadata)["name"]), ("bytes-bin", b"\0\1")])
        await stream.send(ServerFrame())
        stream.trailing_metadata = [("last", "")]
        raise RpcError(Status.NOT_FOUND, "50 %: é\n", [("reason", "none")])

    async with (
        open_channel("127.0.0.1", (await serve(connect=connect)).port) as channel,
        open_stream(SessionServiceStub(channel).Connect, metadata=[("name", "value")]) as stream,
    ):
        assert await stream.receive() == ServerFrame()
        assert list(stream.metadata) == [("name", "value"), ("bytes-bin", b"\0\1")]
        with pytest.raises(RpcError) as failure:
            await stream.receive()
    assert (failure.value.status, failure.value.message) == (Status.NOT_FOUND, "50 %: é\n")
    assert list(failure.value.metadata) == [("last", ""), ("reason", "none")]


@pytest.mark.parametrize(
    "pair", [("Upper", "x"), ("grpc-timeout", "1S"), ("name", "é"), ("name-bin", "text"), ("n", b"")]
)
async def test_metadata_that_can_not_be_sent_is_refused(pair: tuple[str, str | bytes], serve: "Serve") -> None:
    async with open_channel("127.0.0.1", (await serve()).port) as channel:
        with pytest.raises(ValueError, match="name"):
            async with open_stream(SessionServiceStub(channel).Connect, metadata=[pair]):
                pass
        assert await get_chat(channel) == "d-1-2"


async def listen_for_ever(channel: Channel, *, within: float) -> None:
    async with open_stream(SessionServiceStub(channel).Connect, timeout=within) as stream:
        await stream.receive()
        await trio.sleep_forever()


async def test_a_deadline_holds_on_both_sides(
    serve: "Serve", idle_listeners: "IdleListeners", eventually: Eventually
) -> None:
    deadlines: list[float] = []

    async def connect(stream: SessionStream) -> None:
        deadlines.append(stream.deadline - trio.current_time())
        await idle_listeners(stream)

    async with open_channel("127.0.0.1", (await serve(connect=connect)).port) as channel:
        with pytest.raises(RpcError) as failure:
            await listen_for_ever(channel, within=0.2)
        assert failure.value.status is Status.DEADLINE_EXCEEDED
        await eventually(lambda: idle_listeners.inside == 0)
    assert 0 < deadlines[0] <= 0.2


async def test_a_long_deadline_keeps_to_eight_digits(serve: "Serve") -> None:
    async with open_channel("127.0.0.1", (await serve()).port) as channel:
        assert await get_chat(channel, within=98.7654321) == "d-1-2"
        assert await get_chat(channel, within=100_000.5) == "d-1-2"


async def test_leaving_a_stream_cancels_its_handler(
    serve: "Serve", idle_listeners: "IdleListeners", eventually: Eventually
) -> None:
    async with open_channel("127.0.0.1", (await serve(connect=idle_listeners)).port) as channel:
        async with open_stream(SessionServiceStub(channel).Connect) as stream:
            await stream.receive()
            assert idle_listeners.inside == 1
        await eventually(lambda: idle_listeners.inside == 0)
        assert await get_chat(channel) == "d-1-2"


async def test_a_cancelled_call_leaves_the_channel_whole(serve: "Serve") -> None:
    async def get_slowly(request: GetChatRequest) -> GetChatResponse:
        if request.chat_id == "slow":
            await trio.sleep_forever()
        return GetChatResponse()

    async with open_channel("127.0.0.1", (await serve(get_chat=get_slowly)).port) as channel:
        with trio.move_on_after(0.02):
            await get_chat(channel, "slow")
        await get_chat(channel)
        (connection,) = channel.connections
        assert not connection.streams


async def test_a_server_that_is_away_is_unavailable_at_once_and_found_when_it_is_back(serve: "Serve") -> None:
    server = await serve()
    await server.stop()
    async with open_channel("127.0.0.1", server.port) as channel:
        for _ in range(5):
            assert (await failure_of(channel)).status is Status.UNAVAILABLE
        await serve(port=server.port)
        with trio.fail_after(PATIENCE):
            while not await answers(channel):
                await trio.sleep(FIRST_BACKOFF)


async def test_a_call_after_a_restart_goes_over_a_new_connection(
    serve: "Serve", idle_listeners: "IdleListeners"
) -> None:
    server = await serve(connect=idle_listeners)
    async with open_channel("127.0.0.1", server.port) as channel:
        async with open_stream(SessionServiceStub(channel).Connect) as stream:
            await stream.receive()
            await server.stop()
            with pytest.raises(RpcError) as failure:
                await stream.receive()
        assert failure.value.status is Status.UNAVAILABLE
        await serve(port=server.port)
        assert await get_chat(channel) == "d-1-2"


async def test_a_call_that_is_under_way_survives_a_drain(serve: "Serve", eventually: Eventually) -> None:
    entered, go_on = trio.Event(), trio.Event()

    async def get_slowly(request: GetChatRequest) -> GetChatResponse:
        entered.set()
        await go_on.wait()
        return GetChatResponse()

    server = await serve(get_chat=get_slowly, limits=Limits(drain_timeout=PATIENCE))
    async with open_channel("127.0.0.1", server.port) as channel, trio.open_nursery() as nursery:
        nursery.start_soon(get_chat, channel)
        await entered.wait()
        nursery.start_soon(server.stop)
        (connection,) = channel.connections
        await eventually(lambda: connection.going_away)
        assert (await failure_of(channel)).status is Status.UNAVAILABLE
        go_on.set()


async def test_an_error_in_a_channels_block_is_raised_as_it_is(serve: "Serve") -> None:
    async def fail() -> None:
        async with open_channel("127.0.0.1", server.port) as channel:
            await get_chat(channel)
            raise KeyError

    server = await serve()
    with pytest.raises(KeyError):
        await fail()


async def test_a_port_that_speaks_something_else_is_unavailable(nursery: trio.Nursery) -> None:
    async def speak_http1(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    (listener,) = await nursery.start(partial(trio.serve_tcp, speak_http1, 0, host="127.0.0.1"))
    async with open_channel("127.0.0.1", listener.socket.getsockname()[1]) as channel:
        assert (await failure_of(channel)).status is Status.UNAVAILABLE


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


@pytest.fixture
async def grpcio_port(grpc_stubs: "GrpcStubs") -> AsyncIterator[int]:
    """A grpcio server that has no other method than those two."""
    archive = type(
        "Archive", (grpc_stubs.archive.ArchiveServiceServicer,), {"GetChat": staticmethod(get_compressed_chat)}
    )
    sessions = type("Sessions", (grpc_stubs.session.SessionServiceServicer,), {"Connect": staticmethod(connect)})
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool)
        grpc_stubs.archive.add_ArchiveServiceServicer_to_server(archive(), server)
        grpc_stubs.session.add_SessionServiceServicer_to_server(sessions(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield port
        await trio.to_thread.run_sync(server.stop(None).wait)


async def test_a_grpcio_server_is_understood(grpcio_port: int) -> None:
    async with open_channel("127.0.0.1", grpcio_port) as channel:
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

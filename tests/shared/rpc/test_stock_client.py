"""The server as a stock grpcio client sees it, with stubs of the stock tools.

Each row of the table in section 4 of the design, of what purerpc's own server does wrong, has a test here or in
`test_stock_client_bounds.py` and `test_stock_client_leaks.py`, which says which one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import psutil
import pytest
import trio

from rookery.v1.archive_pb2 import GetChatRequest, GetChatResponse
from rookery.v1.session_pb2 import ClientFrame, Ping, Pong, ServerFrame
from shared.rpc import Limits, RpcError, ServerStream, Status

if TYPE_CHECKING:
    from tests.shared.rpc.conftest import GrpcStubs, IdleListeners, OpenGrpc, Serve

SessionStream = ServerStream[ClientFrame, ServerFrame]
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

PATIENCE = 30.0
"""Seconds that calls may take: only a test that has failed takes that long."""


def established(port: int) -> int:
    """How many connections the server has."""
    connections = psutil.Process().net_connections("tcp4")
    return sum(c.status == psutil.CONN_ESTABLISHED and c.laddr.port == port for c in connections)


async def status_of(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    """How a blocking call fails."""
    with pytest.raises(grpc.RpcError) as failure:
        await trio.to_thread.run_sync(call)
    error: Any = failure.value
    return error.code(), error.details()


async def run_asyncio(main: Coroutine[Any, Any, None]) -> None:
    """Run what uses grpcio's own event loop in a thread."""
    await trio.to_thread.run_sync(lambda: asyncio.run(main))


async def test_unary_calls_and_streams_work(serve: "Serve", grpc_stubs: "GrpcStubs", open_grpc: "OpenGrpc") -> None:
    channel = open_grpc((await serve()).port)
    frames = [ClientFrame(ping=Ping(payload=bytes([number]) * 50_000)) for number in range(20)]

    def use() -> tuple[GetChatResponse, list[ServerFrame]]:
        get_chat = grpc_stubs.archive.ArchiveServiceStub(channel).GetChat
        connect = grpc_stubs.session.SessionServiceStub(channel).Connect
        return get_chat(GetChatRequest(chat_id="d-1-2"), timeout=PATIENCE), list(
            connect(iter(frames), timeout=PATIENCE)
        )

    response, answers = await trio.to_thread.run_sync(use)
    assert response.chat.chat_id == "d-1-2"
    assert [answer.pong.payload for answer in answers] == [frame.ping.payload for frame in frames]


async def test_metadata_goes_both_ways(serve: "Serve", grpc_stubs: "GrpcStubs", open_grpc: "OpenGrpc") -> None:
    received: list[tuple[str, str | bytes]] = []

    async def connect(stream: SessionStream) -> None:
        received.extend(stream.metadata)
        await stream.send_metadata([("first", "1"), ("first-bin", b"\0\xff")])
        stream.trailing_metadata = [("last", "2")]
        raise RpcError(Status.ABORTED, "stopped: 50 % of été", [("reason-bin", b"\1")])

    channel = open_grpc((await serve(connect=connect)).port)

    def use() -> Any:
        call = grpc_stubs.session.SessionServiceStub(channel).Connect(
            iter(()), metadata=[("name", "value"), ("bytes-bin", b"\0\1\2")], timeout=PATIENCE
        )
        return call.initial_metadata(), call.code(), call.details(), call.trailing_metadata()

    first, code, details, last = await trio.to_thread.run_sync(use)
    assert ("name", "value") in received
    assert ("bytes-bin", b"\0\1\2") in received
    assert {("first", "1"), ("first-bin", b"\0\xff")} <= {tuple(pair) for pair in first}
    assert (code, details) == (grpc.StatusCode.ABORTED, "stopped: 50 % of été")
    assert {("last", "2"), ("reason-bin", b"\1")} <= {tuple(pair) for pair in last}


@pytest.mark.parametrize("leave", ["cancel", "disconnect"])
async def test_no_handler_and_no_socket_stays_behind_listeners_that_leave(
    leave: str, serve: "Serve", grpc_stubs: "GrpcStubs", idle_listeners: "IdleListeners", eventually: Eventually
) -> None:
    """Row: RST_STREAM and a closed connection do not cancel handlers."""
    port = (await serve(connect=idle_listeners)).port
    all_listen = trio.Event()
    token = trio.lowlevel.current_trio_token()

    async def listen() -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) for _ in range(4)]
        stubs = [grpc_stubs.session.SessionServiceStub(channel) for channel in channels]
        calls = [stub.Connect() for stub in stubs for _ in range(50)]
        for call in calls:
            await call.read()
        token.run_sync_soon(all_listen.set)
        if leave == "cancel":
            for call in calls:
                call.cancel()
            while idle_listeners.inside:
                await asyncio.sleep(0.005)
        for channel in channels:
            await channel.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_asyncio, listen())
        await all_listen.wait()
    await eventually(lambda: idle_listeners.inside == 0)
    await eventually(lambda: established(port) == 0)
    assert idle_listeners.entered == 200


async def test_a_deadline_is_kept(
    serve: "Serve", grpc_stubs: "GrpcStubs", open_grpc: "OpenGrpc", eventually: Eventually
) -> None:
    """Row: grpc-timeout is parsed and never used."""
    entered, cancelled = trio.Event(), trio.Event()

    async def get_chat(request: GetChatRequest) -> GetChatResponse:
        entered.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    stub = grpc_stubs.archive.ArchiveServiceStub(open_grpc((await serve(get_chat=get_chat)).port))
    timeout = 0.1
    while not entered.is_set():  # a call may be late before it is there
        timeout *= 2
        began = trio.current_time()
        code, _ = await status_of(lambda: stub.GetChat(GetChatRequest(), timeout=timeout))  # noqa: B023 - called at once
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert trio.current_time() - began >= 0.95 * timeout
    await eventually(cancelled.is_set)


async def test_a_compressed_call_works_or_fails_alone(
    serve: "Serve", grpc_stubs: "GrpcStubs", open_grpc: "OpenGrpc"
) -> None:
    """Row: a compressed request wedges the connection."""
    stub = grpc_stubs.archive.ArchiveServiceStub(open_grpc((await serve()).port))
    request = GetChatRequest(chat_id="x" * 10_000)

    def call(compression: grpc.Compression) -> Any:
        return stub.GetChat(request, compression=compression, timeout=PATIENCE).chat.chat_id

    assert await trio.to_thread.run_sync(call, grpc.Compression.Gzip) == request.chat_id
    code, _ = await status_of(lambda: call(grpc.Compression.Deflate))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert await trio.to_thread.run_sync(call, grpc.Compression.NoCompression) == request.chat_id


async def test_an_unknown_method_or_service_is_unimplemented(serve: "Serve", open_grpc: "OpenGrpc") -> None:
    """Row: unknown methods are a connection error."""
    server = await serve()
    channel = open_grpc(server.port)
    for path in ("/rookery.v1.ArchiveService/Nothing", "/rookery.v1.Nothing/GetChat"):
        call = channel.unary_unary(path)
        code, _ = await status_of(lambda: call(b"", timeout=PATIENCE))  # noqa: B023 - called at once
        assert code is grpc.StatusCode.UNIMPLEMENTED
    assert server.server.statistics().connections_begun == 1


async def test_an_exception_leaks_no_text(serve: "Serve", grpc_stubs: "GrpcStubs", open_grpc: "OpenGrpc") -> None:
    """Row: the text of an uncaught exception goes to the client."""

    async def get_chat(request: GetChatRequest) -> GetChatResponse:
        raise RuntimeError("swordfish")

    stub = grpc_stubs.archive.ArchiveServiceStub(open_grpc((await serve(get_chat=get_chat)).port))
    code, details = await status_of(lambda: stub.GetChat(GetChatRequest(), timeout=PATIENCE))
    assert code is grpc.StatusCode.INTERNAL
    assert details.startswith("internal error ")
    assert "swordfish" not in details


async def test_a_message_that_is_too_large_is_refused(
    serve: "Serve", grpc_stubs: "GrpcStubs", open_grpc: "OpenGrpc"
) -> None:
    """Row: 1 GiB windows."""
    channel = open_grpc((await serve(limits=Limits(max_message_bytes=100_000))).port)
    stub = grpc_stubs.archive.ArchiveServiceStub(channel)
    code, _ = await status_of(lambda: stub.GetChat(GetChatRequest(chat_id="x" * 1_000_000), timeout=PATIENCE))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await trio.to_thread.run_sync(lambda: stub.GetChat(GetChatRequest(chat_id="x")))).chat.chat_id == "x"


async def test_calls_over_the_limit_wait_their_turn(
    serve: "Serve", grpc_stubs: "GrpcStubs", open_grpc: "OpenGrpc"
) -> None:
    """Row: 65,536 streams."""

    async def get_chat(request: GetChatRequest) -> GetChatResponse:
        await trio.sleep(0.01)
        return GetChatResponse()

    stub = grpc_stubs.archive.ArchiveServiceStub(
        open_grpc((await serve(get_chat=get_chat, limits=Limits(max_streams=2))).port)
    )

    def use() -> int:
        calls = [stub.GetChat.future(GetChatRequest(), timeout=PATIENCE) for _ in range(20)]
        return sum(call.result() == GetChatResponse() for call in calls)

    assert await trio.to_thread.run_sync(use) == 20


async def test_a_client_that_does_not_read_its_stream_stops_nothing_else(
    serve: "Serve", grpc_stubs: "GrpcStubs", open_grpc: "OpenGrpc"
) -> None:
    sent = 0

    async def flood(stream: SessionStream) -> None:
        nonlocal sent
        frame = ServerFrame(pong=Pong(payload=bytes(10_000)))
        while True:
            await stream.send(frame)
            sent += 1

    channel = open_grpc((await serve(connect=flood)).port)

    def use() -> int:
        stub = grpc_stubs.archive.ArchiveServiceStub(channel)
        call = grpc_stubs.session.SessionServiceStub(channel).Connect(iter(()), timeout=PATIENCE)
        next(call)
        before = -1
        while before != sent:  # its client opens larger windows for a while
            before = sent
            for _ in range(200):
                stub.GetChat(GetChatRequest(), timeout=PATIENCE)
        assert call.is_active()
        call.cancel()
        return before

    assert await trio.to_thread.run_sync(use) < 1_000


async def test_more_than_a_thousand_calls_go_over_one_connection(
    serve: "Serve", grpc_stubs: "GrpcStubs", open_grpc: "OpenGrpc"
) -> None:
    port = (await serve()).port
    stub = grpc_stubs.archive.ArchiveServiceStub(open_grpc(port))

    def use() -> set[str]:
        return {stub.GetChat(GetChatRequest(chat_id=f"{number}")).chat.chat_id for number in range(1_200)}

    assert len(await trio.to_thread.run_sync(use)) == 1_200
    assert established(port) == 1


async def test_the_server_stops_in_time_with_clients_that_never_end(
    serve: "Serve", grpc_stubs: "GrpcStubs", idle_listeners: "IdleListeners"
) -> None:
    """Rows: cancellation is swallowed; no GOAWAY, no drain."""
    all_listen = trio.Event()
    token = trio.lowlevel.current_trio_token()
    codes: list[grpc.StatusCode] = []

    async def listen(port: int) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            calls = [grpc_stubs.session.SessionServiceStub(channel).Connect() for _ in range(10)]
            for call in calls:
                await call.read()
            token.run_sync_soon(all_listen.set)
            codes.extend([await call.code() for call in calls])

    server = await serve(connect=idle_listeners)
    async with trio.open_nursery() as clients:
        clients.start_soon(run_asyncio, listen(server.port))
        await all_listen.wait()
        with trio.fail_after(PATIENCE):
            await server.stop()
        assert idle_listeners.inside == 0
    assert codes == [grpc.StatusCode.UNAVAILABLE] * 10

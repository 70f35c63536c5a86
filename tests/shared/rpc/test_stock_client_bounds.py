"""What a stock grpcio client may cost the server, and how long it stays: the rest of the design's table, section 4."""

from collections.abc import Awaitable, Callable, Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trio

from rookery.v1.archive_pb2 import GetChatRequest, GetChatResponse
from rookery.v1.session_pb2 import ClientFrame, Ping, ServerFrame
from shared.rpc import Limits, ServerStream
from shared.rpc.http2 import MAX_FRAME_BYTES

if TYPE_CHECKING:
    from tests.shared.rpc.conftest import GrpcStubs, OpenGrpc, Serve

SessionStream = ServerStream[ClientFrame, ServerFrame]
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

PATIENCE = 30.0
"""Seconds that calls may take: only a test that has failed takes that long."""


async def failure_of(call: Callable[[], Any]) -> grpc.StatusCode:
    """How a blocking call fails."""
    with pytest.raises(grpc.RpcError) as failure:
        await trio.to_thread.run_sync(call)
    error: Any = failure.value
    code: grpc.StatusCode = error.code()
    return code


async def test_what_nobody_reads_stays_with_the_client(
    serve: "Serve", grpc_stubs: "GrpcStubs", open_grpc: "OpenGrpc", eventually: Eventually
) -> None:
    """Row: unbounded inbound queue, 64 Mi of window per stream."""
    streams: list[SessionStream] = []

    async def never_read(stream: SessionStream) -> None:
        streams.append(stream)
        await trio.sleep_forever()

    limits = Limits(close_timeout=0.2, drain_timeout=0.2)
    channel = open_grpc((await serve(connect=never_read, limits=limits)).port)
    produced = 0

    def frames() -> Iterator[ClientFrame]:
        nonlocal produced
        for frame in repeat(ClientFrame(ping=Ping(payload=bytes(10_000))), 10_000):
            produced += 1
            yield frame

    def is_full() -> bool:
        return bool(streams) and len(streams[0]._inbound) >= limits.stream_window

    def use() -> int:
        stub = grpc_stubs.archive.ArchiveServiceStub(channel)
        call = grpc_stubs.session.SessionServiceStub(channel).Connect(frames(), timeout=PATIENCE)
        before = -1
        while before != produced or not is_full():  # it has stopped when it has not moved while others were served
            before = produced
            for _ in range(100):
                stub.GetChat(GetChatRequest(), timeout=PATIENCE)
        call.cancel()
        return before

    assert await trio.to_thread.run_sync(use) < 100
    assert len(streams[0]._inbound) <= limits.stream_window + MAX_FRAME_BYTES


async def test_headers_are_bounded(serve: "Serve", grpc_stubs: "GrpcStubs", open_grpc: "OpenGrpc") -> None:
    """Row: unbounded headers."""
    server = await serve()
    stub = grpc_stubs.archive.ArchiveServiceStub(open_grpc(server.port))

    def call(metadata: str) -> Any:
        return stub.GetChat(GetChatRequest(chat_id="x"), metadata=[("name", metadata)], timeout=PATIENCE).chat.chat_id

    assert await failure_of(lambda: call("x" * 10_000)) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await trio.to_thread.run_sync(call, "x" * 5_000) == "x"
    assert server.server.statistics().connections_begun == 1


async def test_a_call_that_sends_nothing_gets_a_status(
    serve: "Serve", grpc_stubs: "GrpcStubs", open_grpc: "OpenGrpc"
) -> None:
    """Row: headers that end the stream are a connection error."""
    server = await serve()
    channel = open_grpc(server.port)

    def use() -> list[ServerFrame]:
        return list(grpc_stubs.session.SessionServiceStub(channel).Connect(iter(()), timeout=PATIENCE))

    for _ in range(3):
        assert await trio.to_thread.run_sync(use) == []
    assert server.server.statistics().connections_begun == 1


async def test_what_is_no_message_fails_its_call_alone(serve: "Serve", open_grpc: "OpenGrpc") -> None:
    """Row: bad frames are a connection error."""
    server = await serve()
    call = open_grpc(server.port).unary_unary("/rookery.v1.ArchiveService/GetChat")
    for _ in range(3):
        assert await failure_of(lambda: call(b"\xff\xff\xff", timeout=PATIENCE)) is grpc.StatusCode.INTERNAL
        assert GetChatResponse.FromString(await trio.to_thread.run_sync(call, b"")) is not None
    assert server.server.statistics().connections_begun == 1


async def test_a_client_that_is_asked_whether_it_is_there_stays(
    serve: "Serve", grpc_stubs: "GrpcStubs", open_grpc: "OpenGrpc", eventually: Eventually
) -> None:
    """Row: no keepalive."""
    server = await serve(limits=Limits(keepalive_interval=0.05, keepalive_timeout=PATIENCE, close_timeout=0.2))
    stub = grpc_stubs.archive.ArchiveServiceStub(open_grpc(server.port))

    def call() -> Any:
        return stub.GetChat(GetChatRequest(chat_id="x"), timeout=PATIENCE).chat.chat_id

    assert await trio.to_thread.run_sync(call) == "x"
    (connection,) = server.server.connections
    for _ in range(3):
        heard_at = connection._heard_at
        await trio.sleep(0.06)
        connection.check_alive()
        await eventually(lambda: connection._heard_at > heard_at)  # noqa: B023 - called at once
    assert await trio.to_thread.run_sync(call) == "x"
    assert server.server.statistics().connections_begun == 1


async def test_calls_under_way_finish_while_the_server_stops(
    serve: "Serve", grpc_stubs: "GrpcStubs", open_grpc: "OpenGrpc", eventually: Eventually
) -> None:
    """Row: no GOAWAY, no drain."""
    entered, leave = trio.Event(), trio.Event()

    async def get_chat(request: GetChatRequest) -> GetChatResponse:
        entered.set()
        await leave.wait()
        return GetChatResponse()

    server = await serve(get_chat=get_chat, limits=Limits(drain_timeout=PATIENCE, close_timeout=1))
    stub = grpc_stubs.archive.ArchiveServiceStub(open_grpc(server.port))
    answers: list[GetChatResponse] = []

    def call() -> None:
        answers.append(stub.GetChat(GetChatRequest(), timeout=PATIENCE))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, call)
        await entered.wait()
        nursery.start_soon(server.stop)
        (connection,) = server.server.connections
        await eventually(lambda: connection.going_away)
        assert await failure_of(call) is grpc.StatusCode.UNAVAILABLE
        assert not answers
        leave.set()
    assert answers == [GetChatResponse()]

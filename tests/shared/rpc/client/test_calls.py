"""Calls: streams, metadata, deadlines, cancellation."""

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from rookery.v1.archive_pb2 import GetChatRequest, GetChatResponse
from rookery.v1.session_grpc import SessionServiceStub
from rookery.v1.session_pb2 import ServerFrame
from shared.rpc import Limits, OutgoingCall, RpcError, Status, open_channel, open_stream
from tests.shared.rpc.calling import PATIENCE, failure_of, get_chat, listen
from tests.shared.rpc.conftest import IdleHandler, Serve, SessionStream, eventually


async def test_calls_at_once_share_the_connection_and_wait_for_their_turn(serve: Serve) -> None:
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


async def test_metadata_goes_both_ways(serve: Serve) -> None:
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
async def test_metadata_that_can_not_be_sent_is_refused(pair: tuple[str, str | bytes], serve: Serve) -> None:
    async with open_channel("127.0.0.1", (await serve()).port) as channel:
        with pytest.raises(ValueError, match="name"):
            async with open_stream(SessionServiceStub(channel).Connect, metadata=[pair]):
                pass
        assert await get_chat(channel) == "d-1-2"


async def test_a_deadline_holds_on_both_sides(
    serve: Serve, idle_handler: IdleHandler, autojump_clock: MockClock
) -> None:
    deadlines: list[float] = []

    async def connect(stream: SessionStream) -> None:
        deadlines.append(stream.deadline - trio.current_time())
        await idle_handler(stream)

    async with open_channel("127.0.0.1", (await serve(connect=connect)).port) as channel:
        with pytest.raises(RpcError) as failure:
            await listen(channel, timeout=0.2)
        assert failure.value.status is Status.DEADLINE_EXCEEDED
        await eventually(lambda: idle_handler.inside == 0)
    assert 0 < deadlines[0] <= 0.2


async def test_a_long_deadline_keeps_to_eight_digits(serve: Serve) -> None:
    async with open_channel("127.0.0.1", (await serve()).port) as channel:
        assert await get_chat(channel, timeout=98.7654321) == "d-1-2"
        assert await get_chat(channel, timeout=100_000.5) == "d-1-2"


async def test_a_call_waits_no_longer_than_its_deadline(serve: Serve, autojump_clock: MockClock) -> None:
    server = await serve()
    await server.stop()
    async with open_channel("127.0.0.1", server.port) as channel:
        failure = await failure_of(channel, timeout=60, attempts=5, wait_for_ready=True)
        assert failure.status is Status.DEADLINE_EXCEEDED
        assert trio.current_time() == pytest.approx(60, abs=1)
        assert channel.statistics().calls_waiting == 0


async def test_a_deadline_covers_the_wait_for_a_turn(serve: Serve, nursery: trio.Nursery) -> None:
    entered = trio.Event()

    async def hang(request: GetChatRequest) -> GetChatResponse:
        entered.set()
        return await trio.sleep_forever()

    async def hold_the_slot() -> None:
        with suppress(RpcError):
            await get_chat(channel)

    server = await serve(get_chat=hang, limits=Limits(max_streams=1, drain_timeout=0, close_timeout=0.2))
    async with open_channel("127.0.0.1", server.port) as channel:
        nursery.start_soon(hold_the_slot)
        await entered.wait()
        assert (await failure_of(channel, timeout=0.05)).status is Status.DEADLINE_EXCEEDED
        assert channel.statistics().calls_under_way == 1


async def test_prepare_functions_change_the_call_in_order(serve: Serve) -> None:
    received: list[tuple[str, str | bytes]] = []

    async def connect(stream: SessionStream) -> None:
        received.extend(stream.metadata)

    def name_method(call: OutgoingCall) -> OutgoingCall:
        return call.with_metadata(("method", f"{call.service}/{call.method}"), ("at", call.authority))

    def count_metadata(call: OutgoingCall) -> OutgoingCall:
        return call.with_metadata(("count", str(len(call.metadata))))

    port = (await serve(connect=connect)).port
    async with (
        open_channel("127.0.0.1", port, prepare=[name_method, count_metadata]) as channel,
        open_stream(SessionServiceStub(channel).Connect, timeout=PATIENCE, metadata=[("first", "")]) as stream,
    ):
        await stream.receive()
    assert received == [
        ("first", ""),
        ("method", "rookery.v1.SessionService/Connect"),
        ("at", f"127.0.0.1:{port}"),
        ("count", "3"),
    ]


async def test_a_call_raises_the_error_of_its_prepare_function(serve: Serve) -> None:
    def refuse(call: OutgoingCall) -> OutgoingCall:
        raise RpcError(Status.UNAUTHENTICATED, "there is no token")

    async with open_channel("127.0.0.1", (await serve()).port, prepare=[refuse]) as channel:
        assert (await failure_of(channel)).status is Status.UNAUTHENTICATED
        assert channel.statistics().calls_ended == {Status.UNAUTHENTICATED: 1}

"""The channel: its connection while the server is up, down or stopping, and its statistics."""

from itertools import count

import pytest
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from trio.testing import MockClock

from rookery.v1.archive_grpc import ArchiveServiceStub
from rookery.v1.archive_pb2 import ListChatsRequest
from rookery.v1.session_grpc import SessionServiceStub
from shared.rpc import ChannelStatistics, Limits, RpcError, Status, call_unary, open_channel, open_stream
from shared.rpc.client.connection import LAST_STREAM_ID
from shared.rpc.server.server import Server
from tests.shared.rpc.calling import PATIENCE, Archive, failure_of, get_chat, listen
from tests.shared.rpc.conftest import IdleHandler, Serve, eventually
from tests.shared.rpc.servers import Proxy, respond_in_http1, serve_streams


async def test_a_server_that_is_away_is_unavailable_at_once_and_found_when_it_is_back(serve: Serve) -> None:
    server = await serve()
    await server.stop()
    async with open_channel("127.0.0.1", server.port) as channel:
        for _ in range(5):
            assert (await failure_of(channel)).status is Status.UNAVAILABLE
        await serve(port=server.port)
        assert await get_chat(channel, wait_for_ready=True) == "d-1-2"


async def test_a_call_after_a_restart_goes_over_a_new_connection(serve: Serve, idle_handler: IdleHandler) -> None:
    server = await serve(connect=idle_handler)
    async with open_channel("127.0.0.1", server.port) as channel:
        async with open_stream(SessionServiceStub(channel).Connect) as stream:
            await stream.receive()
            await server.stop()
            with pytest.raises(RpcError) as failure:
                await stream.receive()
        assert failure.value.status is Status.UNAVAILABLE
        await serve(port=server.port)
        assert await get_chat(channel) == "d-1-2"


async def test_a_call_that_times_out_while_the_channel_connects_does_not_stop_it(
    serve: Serve, nursery: trio.Nursery
) -> None:
    slow = Proxy((await serve()).port)
    await nursery.start(slow.run)
    slow.freeze()
    async with open_channel("127.0.0.1", slow.port, limits=Limits(connect_timeout=PATIENCE)) as channel:
        assert (await failure_of(channel, timeout=0.05)).status is Status.DEADLINE_EXCEEDED
        slow.thaw()
        assert await get_chat(channel) == "d-1-2"
        assert slow.connections == 1


async def test_an_unused_channel_does_not_reconnect(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    tried: list[str] = []

    async def leave(stream: trio.SocketStream) -> None:
        tried.append("")
        await stream.aclose()

    async with open_channel("127.0.0.1", await serve_streams(nursery, leave)) as channel:
        await trio.sleep(60)
        assert not tried
        assert (await failure_of(channel)).status is Status.UNAVAILABLE
        await trio.sleep(60)
        assert len(tried) == 1


async def test_calls_go_over_a_new_connection_when_one_has_no_more_streams(serve: Serve) -> None:
    connections = []
    async with open_channel("127.0.0.1", (await serve()).port) as channel:
        for number in range(6):
            async with open_stream(SessionServiceStub(channel).Connect, timeout=PATIENCE) as stream:
                await stream.end()
                assert await stream.receive() is None
            connection = stream._server
            connections.append(connection)
            if number == 0:
                connection.http2.highest_outbound_stream_id = LAST_STREAM_ID - 4
    assert [connections.index(connection) for connection in connections] == [0, 0, 0, 3, 3, 3]


async def test_a_server_that_goes_away_before_the_first_call_is_connected_to_again(nursery: trio.Nursery) -> None:
    """Servers that limit the age of connections do so when the client was too busy to use one."""
    server, accepted = Server([Archive()], Limits()), count()

    async def serve_all_but_the_first(stream: trio.SocketStream) -> None:
        if next(accepted):
            await server.serve_connection(stream)
            return
        http2 = H2Connection(H2Configuration(client_side=False))
        http2.initiate_connection()
        http2.close_connection()
        async with stream:
            await stream.send_all(http2.data_to_send())
            while await stream.receive_some():
                pass

    async with open_channel("127.0.0.1", await serve_streams(nursery, serve_all_but_the_first)) as channel:
        assert await get_chat(channel) == "d-1-2"


async def test_a_server_of_another_protocol_is_unavailable(nursery: trio.Nursery) -> None:
    async with open_channel("127.0.0.1", await serve_streams(nursery, respond_in_http1)) as channel:
        assert (await failure_of(channel)).status is Status.UNAVAILABLE


async def test_statistics_count_the_calls_of_a_channel(serve: Serve, idle_handler: IdleHandler) -> None:
    async with open_channel("127.0.0.1", (await serve(connect=idle_handler)).port) as channel:
        assert channel.statistics() == ChannelStatistics(
            servers=1, servers_ready=0, connections=0, calls_waiting=0, calls_begun=0, calls_ended={}, retries=0
        )
        await get_chat(channel)
        with pytest.raises(RpcError):
            await call_unary(ArchiveServiceStub(channel).ListChats, ListChatsRequest(), timeout=PATIENCE)
        async with open_stream(SessionServiceStub(channel).Connect) as stream:
            await stream.receive()
            assert channel.statistics().calls_under_way == 1
        with pytest.raises(RpcError):
            await listen(channel, timeout=0.05)
        await eventually(lambda: channel.statistics().servers_ready == 1)  # a late response has caused a ping
        statistics = channel.statistics()
    ended = {Status.OK: 1, Status.UNIMPLEMENTED: 1, Status.CANCELLED: 1, Status.DEADLINE_EXCEEDED: 1}
    assert statistics.calls_ended == ended
    assert (statistics.calls_begun, statistics.calls_under_way) == (4, 0)
    assert (statistics.servers_ready, statistics.connections) == (1, 1)

"""The client's connection: frames that the server sent before the connection broke still reach their calls."""

import math
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection
from trio.testing import MockClock

from rookery.v1.archive_pb2 import GetChatResponse
from shared.rpc import Limits, OutgoingCall, RpcError, Status
from shared.rpc.client.connecting import secure
from shared.rpc.client.connection import ClientConnection
from tests.shared.rpc.servers import refuse, showing, trusting

LATE_CALLS = 3

CALL = OutgoingCall("rookery.v1.ArchiveService", "GetChat", GetChatResponse, math.inf, ())


class ResettableStream(trio.abc.HalfCloseableStream):
    """A stream that can be reset as a socket is: writes fail, but received bytes can be read."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._stream = stream
        self._is_reset = False
        self._failed = trio.Event()

    def reset(self) -> None:
        """Fail all writes, and delay reads until one has failed."""
        self._is_reset = True

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_reset:
            self._failed.set()
            raise trio.BrokenResourceError
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        if self._is_reset:
            await self._failed.wait()
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


Ends = tuple[trio.abc.Stream, trio.abc.Stream]


async def plain(near: trio.abc.HalfCloseableStream, far: trio.abc.Stream) -> Ends:
    return near, far


async def over_tls(near: trio.abc.HalfCloseableStream, far: trio.abc.Stream) -> Ends:
    authority = trustme.CA()
    context = showing(authority.issue_cert("localhost"), "h2")
    server = trio.SSLStream(far, context, server_side=True, https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        client = await secure(near, trusting(authority, "h2"), "localhost")
    return client, server


@pytest.mark.parametrize("wrap", [plain, over_tls])
async def test_frames_sent_before_a_reset_of_the_connection_reach_their_calls(
    wrap: Callable[..., Awaitable[Ends]], nursery: trio.Nursery
) -> None:
    """A status per call, then GOAWAY, in several reads. The last call, which the server never saw, is unprocessed."""
    near, far = trio.testing.memory_stream_pair()
    raw = ResettableStream(near)
    client, server = await wrap(raw, far)
    http2 = H2Connection(H2Configuration(client_side=False))
    http2.initiate_connection()
    await server.send_all(http2.data_to_send())
    connection = ClientConnection(client, Limits(), trio.lowlevel.ParkingLot())
    nursery.start_soon(connection.run)
    await connection.settled.wait()
    streams = [connection.start_call(CALL) for _ in range(LATE_CALLS)]
    await trio.testing.wait_all_tasks_blocked()
    while http2.open_inbound_streams < LATE_CALLS:
        http2.receive_data(await server.receive_some())
    raw.reset()
    for stream in streams:
        refuse(http2, stream.stream_id, Status.NOT_FOUND)
        await server.send_all(http2.data_to_send())
    unseen = connection.start_call(CALL)
    http2.close_connection()
    await server.send_all(http2.data_to_send())
    await far.aclose()
    for stream in streams:
        with pytest.raises(RpcError) as failure:
            await stream.receive()
        assert failure.value.status is Status.NOT_FOUND
    with pytest.raises(RpcError) as failure:
        await unseen.receive()
    assert failure.value.unprocessed


async def test_no_call_begins_on_a_connection_whose_writes_fail(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    near, far = trio.testing.memory_stream_pair()
    raw = ResettableStream(near)
    connection = ClientConnection(raw, Limits(close_timeout=1), trio.lowlevel.ParkingLot())
    nursery.start_soon(connection.run)
    await trio.testing.wait_all_tasks_blocked()
    raw.reset()
    stream = connection.start_call(CALL)
    await trio.testing.wait_all_tasks_blocked()
    assert not connection.usable
    with pytest.raises(RpcError) as failure:  # though the server never ends the connection
        await stream.receive()
    assert failure.value.status is Status.UNAVAILABLE
    assert trio.current_time() == pytest.approx(1)
    await far.aclose()

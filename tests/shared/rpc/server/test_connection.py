"""A server's connection: streams, windows and buffers are bounded, dead peers are found, and it ends in time."""

import pytest
import trio
import trio.testing
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, PingReceived, WindowUpdated
from h2.settings import SettingCodes
from trio.testing import MockClock

from rookery.v1.session_pb2 import ClientFrame, ServerFrame
from shared.rpc import Limits, Status
from shared.rpc.connection import keep_alive
from shared.rpc.framing import frame_messages
from shared.rpc.http2 import MAX_FRAME_BYTES
from shared.rpc.limits import HTTP2_WINDOW
from tests.shared.rpc.conftest import (
    CONNECT,
    FRAME,
    PREFACE,
    ConnectRaw,
    IdleHandler,
    RawClient,
    Serve,
    SessionStream,
    flood,
)

STOP_SECONDS = Limits().send_timeout / 2
"""For a stop that takes 0.2 s, on a machine that may stall for some seconds. A client that never reads would be closed
after the whole timeout anyway."""


async def never_read(stream: SessionStream) -> None:
    await trio.sleep_forever()


def unsent(client: RawClient) -> int:
    """Return the unsent bytes of the server's only connection."""
    (connection,) = client.server.connections
    return connection.http2.outbound_size


async def test_streams_over_the_limit_are_refused_one_by_one(
    idle_handler: IdleHandler, connect_raw: ConnectRaw
) -> None:
    client = await connect_raw(connect=idle_handler, limits=Limits(max_streams=3))
    stream_ids = [client.begin() for _ in range(5)]
    await client.flush()
    for refused in stream_ids[3:]:
        assert await client.reset_of(refused) is ErrorCodes.REFUSED_STREAM
    assert idle_handler.inside == 3
    client.http2.reset_stream(stream_ids[0], ErrorCodes.CANCEL)
    await client.flush()
    await trio.testing.wait_all_tasks_blocked()
    await client.prove_alive()


async def test_a_handler_that_does_not_read_stops_only_its_own_client(connect_raw: ConnectRaw) -> None:
    limits = Limits(stream_window=70_000, connection_window=100_000)
    client = await connect_raw(connect=never_read, limits=limits)
    await client.prove_alive()
    for _ in range(10):
        stream_id = await client.call()
        while room := min(client.http2.local_flow_control_window(stream_id), MAX_FRAME_BYTES):
            await client.send(stream_id, bytes(room))
        await client.receive_until(lambda event: isinstance(event, WindowUpdated) and event.stream_id == 0)
    await client.prove_alive()
    assert not any(isinstance(event, WindowUpdated) and event.stream_id for event in client.events)


async def test_a_message_larger_than_the_window_comes_through(connect_raw: ConnectRaw) -> None:
    client = await connect_raw(limits=Limits(stream_window=HTTP2_WINDOW))
    payload = bytes(range(256)) * 400
    frame = ClientFrame()
    frame.ping.payload = payload
    wire = frame_messages([frame.SerializeToString()])
    stream_id = await client.call()
    received = b""
    while wire:
        room = min(client.http2.local_flow_control_window(stream_id), MAX_FRAME_BYTES)
        if room == 0:
            await client.receive()
        else:
            await client.send(stream_id, wire[:room])
            wire = wire[room:]
    while len(received) < len(payload):
        received += await client.data_of(stream_id)
    assert payload in received


async def test_a_client_that_opens_no_window_stops_only_its_own_stream(connect_raw: ConnectRaw) -> None:
    client = await connect_raw(connect=flood)
    client.http2.increment_flow_control_window(10 * HTTP2_WINDOW)
    stream_id = await client.call()
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(5):
        await client.prove_alive()
    sent = sum(len(event.data) for event in client.events if isinstance(event, DataReceived))
    assert sent == HTTP2_WINDOW
    assert unsent(client) == 0
    client.http2.reset_stream(stream_id, ErrorCodes.CANCEL)
    await client.flush()


async def test_a_call_that_has_ended_leaves_nothing_behind(connect_raw: ConnectRaw) -> None:
    client = await connect_raw()
    for _ in range(100):
        await client.prove_alive()
        await client.call("/rookery.v1.Nothing/Nothing")
    await client.prove_alive()
    (connection,) = client.server.connections
    assert not connection.streams
    assert not connection.http2.streams


async def test_many_messages_go_in_few_frames(connect_raw: ConnectRaw) -> None:
    async def connect(stream: SessionStream) -> None:
        await stream.send_encoded([ServerFrame(sequence=number).SerializeToString() for number in range(1, 1_001)])

    client = await connect_raw(connect=connect)
    stream_id = await client.call()
    wire = await client.data_of(stream_id)
    assert len(wire) == sum(5 + ServerFrame(sequence=number).ByteSize() for number in range(1, 1_001))


@pytest.fixture
async def kept_alive(connect_raw: ConnectRaw, idle_handler: IdleHandler, nursery: trio.Nursery) -> RawClient:
    """A client with a call, whose server pings after 30 seconds and closes 20 seconds later."""
    limits = Limits(keepalive_interval=30, keepalive_timeout=20)
    client = await connect_raw(connect=idle_handler, limits=limits)
    nursery.start_soon(keep_alive, client.server.connections, limits)
    await client.data_of(await client.call())
    return client


async def test_a_silent_client_is_pinged_and_then_closed(
    kept_alive: RawClient, idle_handler: IdleHandler, autojump_clock: MockClock
) -> None:
    began = trio.current_time()
    while idle_handler.inside:
        await trio.sleep(1)
    assert 50 < trio.current_time() - began <= 56
    events = kept_alive.http2.receive_data(await kept_alive.stream.receive_some())
    assert any(isinstance(event, PingReceived) for event in events)


async def test_a_client_that_answers_pings_stays(
    kept_alive: RawClient, idle_handler: IdleHandler, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(300):
        while True:
            kept_alive.events.clear()
            data = await kept_alive.stream.receive_some()
            kept_alive.http2.receive_data(data)
            await kept_alive.flush()
    assert idle_handler.inside == 1


async def test_a_client_that_stays_after_a_protocol_error_is_cut_off(
    connect_raw: ConnectRaw, autojump_clock: MockClock
) -> None:
    client = await connect_raw(limits=Limits(close_timeout=1))
    await client.prove_alive()
    await client.stream.send_all(b"no frame" * 10)
    await client.receive_until(lambda event: isinstance(event, ConnectionTerminated))
    while await client.receive():
        pass
    assert trio.current_time() == 0
    await trio.testing.wait_all_tasks_blocked()
    assert client.server.connections
    await trio.sleep(1.1)
    assert not client.server.connections


async def test_a_frame_that_is_too_large_is_refused_before_it_is_complete(connect_raw: ConnectRaw) -> None:
    client = await connect_raw()
    await client.prove_alive()
    await client.stream.send_all((MAX_FRAME_BYTES + 1).to_bytes(3, "big"))
    assert await client.receive_until(lambda event: isinstance(event, ConnectionTerminated))


async def test_the_end_of_a_connection_cancels_its_handlers(idle_handler: IdleHandler, connect_raw: ConnectRaw) -> None:
    client = await connect_raw(connect=idle_handler)
    for _ in range(10):
        await client.data_of(await client.call())
    assert idle_handler.inside == 10
    await client.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert idle_handler.inside == 0
    assert not client.server.connections


async def test_a_deadline_ends_its_handler_and_no_other(
    idle_handler: IdleHandler, connect_raw: ConnectRaw, autojump_clock: MockClock
) -> None:
    client = await connect_raw(connect=idle_handler)
    await client.call()
    stream_id = await client.call(CONNECT, ("grpc-timeout", "500m"))
    assert (await client.status_of(stream_id))[0] == Status.DEADLINE_EXCEEDED
    assert trio.current_time() == pytest.approx(0.5)
    assert idle_handler.inside == 1


async def test_a_drain_lets_calls_finish_and_refuses_new_ones(
    connect_raw: ConnectRaw, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = await connect_raw(limits=Limits(drain_timeout=5))
    stream_id = await client.call()
    await client.ping(stream_id, b"before")
    assert b"before" in await client.data_of(stream_id)
    nursery.start_soon(client.server.drain)
    await trio.testing.wait_all_tasks_blocked()
    late = await client.call()
    assert await client.reset_of(late) is ErrorCodes.REFUSED_STREAM
    await client.ping(stream_id, b"after", end=True)
    assert b"after" in await client.data_of(stream_id)
    assert (await client.status_of(stream_id))[0] == Status.OK
    assert not await client.receive()
    await client.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert not client.server.connections
    assert trio.current_time() == 0


async def test_a_drain_ends_calls_that_do_not_end_themselves(
    idle_handler: IdleHandler, connect_raw: ConnectRaw, autojump_clock: MockClock
) -> None:
    limits = Limits(drain_timeout=5, close_timeout=1)
    client = await connect_raw(connect=idle_handler, limits=limits)
    stream_id = await client.call()
    await client.data_of(stream_id)
    await client.server.drain()
    assert trio.current_time() == pytest.approx(6)
    assert idle_handler.inside == 0
    assert (await client.status_of(stream_id))[0] == Status.UNAVAILABLE


@pytest.mark.parametrize("sent", [b"", PREFACE], ids=["nothing", "preface"])
async def test_a_connection_accepted_while_the_server_drains_is_refused(
    sent: bytes, connect_raw: ConnectRaw, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = await connect_raw(connect=never_read)
    await client.call()
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(client.server.drain)
    await trio.testing.wait_all_tasks_blocked()
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(sent)
    nursery.start_soon(client.server.serve_connection, far)
    assert await near.receive_some() == b""
    assert trio.current_time() == 0
    assert len(client.server.connections) == 1


async def test_a_connection_whose_settings_come_while_the_server_drains_gets_goaway(
    connect_raw: ConnectRaw, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The client may have sent calls already; GOAWAY shows that none of them was processed."""
    client = await connect_raw()
    await client.prove_alive()
    near, far = trio.testing.memory_stream_pair()
    late = type(client)(near, client.server)
    late.http2.initiate_connection()
    wire = late.http2.data_to_send()
    nursery.start_soon(client.server.serve_connection, far)
    await near.send_all(wire[: len(PREFACE)])
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(client.server.drain)
    await trio.testing.wait_all_tasks_blocked()
    await near.send_all(wire[len(PREFACE) :])
    stream_id = await late.call()
    goaway = await late.receive_until(lambda event: isinstance(event, ConnectionTerminated))
    assert goaway.last_stream_id < stream_id
    assert goaway.error_code == ErrorCodes.NO_ERROR
    await near.aclose()
    await client.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert not client.server.connections


async def test_a_server_stops_in_time_with_a_client_that_never_reads(serve: Serve) -> None:
    stuck = trio.Event()

    async def flood_until_stuck(stream: SessionStream) -> None:
        while not stuck.is_set():
            with trio.move_on_after(0.05) as scope:
                await stream.send(FRAME)
            if scope.cancelled_caught:
                stuck.set()
        await flood(stream)

    server = await serve(connect=flood_until_stuck, limits=Limits(drain_timeout=0.1, close_timeout=0.1))
    http2 = H2Connection()
    http2.initiate_connection()
    http2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
    http2.increment_flow_control_window(2**30)
    headers = {":method": "POST", ":scheme": "http", ":path": CONNECT, ":authority": "test", "te": "trailers"}
    http2.send_headers(1, [*headers.items(), ("content-type", "application/grpc")])
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as transport:
        await transport.send_all(http2.data_to_send())
        await stuck.wait()
        with trio.fail_after(STOP_SECONDS):
            await server.stop()

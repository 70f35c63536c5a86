"""Clients that read as little as possible: senders wait without work, memory is bounded, and others are served."""

import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived
from h2.settings import SettingCodes
from hyperframe.frame import PingFrame
from trio.testing import MockClock

from shared.rpc import Limits
from shared.rpc.connection import keep_alive
from shared.rpc.framing import frame_messages
from shared.rpc.http2 import MAX_FRAME_BYTES
from shared.rpc.limits import HTTP2_WINDOW
from tests.shared.rpc.conftest import FRAME, ConnectRaw, RawClient, SessionStream, flood

FRAME_BYTES = len(frame_messages([FRAME.SerializeToString()]))


async def send_one(stream: SessionStream) -> None:
    await stream.send(FRAME)


async def receive_all(client: RawClient) -> None:
    """Receive until the server sends nothing more."""
    with trio.move_on_after(0.01):
        while await client.receive():
            pass


def data_of(client: RawClient, stream_id: int | None = None) -> bytes:
    """Return the received data of one stream, or of all."""
    return b"".join(
        event.data
        for event in client.events
        if isinstance(event, DataReceived) and stream_id in (None, event.stream_id)
    )


class CountSteps(trio.abc.Instrument):
    """Counts the steps of all tasks."""

    steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1


async def test_a_window_that_opens_by_a_byte_at_a_time_is_served_but_not_for_ever(
    connect_raw: ConnectRaw, autojump_clock: MockClock
) -> None:
    client = await connect_raw(connect=flood, limits=Limits(idle_frames=100))
    client.http2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1})
    stream_id = await client.call()
    ended = False
    for _ in range(50):
        assert len(await read_data(client, stream_id)) == 1
        client.http2.increment_flow_control_window(1, stream_id)
        await client.flush()
    while not ended:
        client.http2.increment_flow_control_window(1, stream_id)
        await client.flush()
        await client.receive()
        ended = any(isinstance(event, ConnectionTerminated) for event in client.events)
    assert len(data_of(client)) < 100


async def read_data(client: RawClient, stream_id: int) -> bytes:
    event = await client.receive_until(lambda e: isinstance(e, DataReceived) and e.stream_id == stream_id)
    return bytes(event.data)


async def test_windows_that_the_settings_close_stop_what_is_sent_and_open_it_again(
    connect_raw: ConnectRaw, autojump_clock: MockClock
) -> None:
    """The window may become negative; nothing is sent until it is positive."""
    client = await connect_raw(connect=flood)
    client.http2.increment_flow_control_window(10 * HTTP2_WINDOW)
    await client.call()
    await receive_all(client)
    assert len(data_of(client)) == HTTP2_WINDOW
    for size, more in [(1_000, 0), (HTTP2_WINDOW - 1, 0), (HTTP2_WINDOW + 10, 10), (0, 0), (2 * HTTP2_WINDOW, 65_525)]:
        client.events.clear()
        client.http2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: size})
        await client.flush()
        await receive_all(client)
        assert len(data_of(client)) == more


async def test_a_byte_of_window_wakes_one_sender_not_all(connect_raw: ConnectRaw, autojump_clock: MockClock) -> None:
    client = await connect_raw(connect=flood)
    client.http2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**20})
    for _ in range(100):
        client.begin()
    await client.flush()
    await receive_all(client)
    assert len(data_of(client)) == HTTP2_WINDOW
    steps = CountSteps()
    trio.lowlevel.add_instrument(steps)
    client.http2.increment_flow_control_window(1)
    await client.flush()
    await trio.testing.wait_all_tasks_blocked()
    trio.lowlevel.remove_instrument(steps)
    await receive_all(client)
    assert len(data_of(client)) == HTTP2_WINDOW + 1
    assert steps.steps < 30


async def test_every_stream_that_waits_for_the_connection_gets_its_turn(
    connect_raw: ConnectRaw, autojump_clock: MockClock
) -> None:
    limits = Limits(send_buffer=5_000)
    client = await connect_raw(connect=send_one, limits=limits)
    waiting = await fill_window(client, streams=100)
    for _ in range(5):
        client.http2.reset_stream(waiting.pop(), ErrorCodes.CANCEL)
    client.http2.increment_flow_control_window(100 * FRAME_BYTES)
    await client.flush()
    await receive_all(client)
    for stream_id in waiting:
        assert len(data_of(client, stream_id)) == FRAME_BYTES
        assert await client.status_of(stream_id) == (0, "")


async def fill_window(client: RawClient, *, streams: int) -> list[int]:
    """Begin calls until they exceed the connection's window. Returns the streams that have sent nothing."""
    stream_ids = [client.begin() for _ in range(streams)]
    await client.flush()
    await receive_all(client)
    assert len(data_of(client)) == HTTP2_WINDOW < streams * FRAME_BYTES
    return [stream_id for stream_id in stream_ids if not data_of(client, stream_id)]


@pytest.mark.parametrize("cause", ["no-window", "reset"])
async def test_a_stream_that_can_not_use_its_turn_passes_it_on(
    cause: str, connect_raw: ConnectRaw, autojump_clock: MockClock
) -> None:
    """Its own window is closed, or it is reset just after it was woken."""
    client = await connect_raw(connect=send_one)
    await fill_window(client, streams=100)
    (connection,) = client.server.connections
    first, *others = [stream.stream_id for stream in connection.waiting]
    part = data_of(client, first)
    client.http2.increment_flow_control_window(100 * FRAME_BYTES)
    if cause == "reset":
        client.http2.reset_stream(first, ErrorCodes.CANCEL)
    else:
        connection.http2.streams[first].outbound_flow_control_window = 0
    await client.flush()
    await receive_all(client)
    assert data_of(client, first) == part
    assert all(len(data_of(client, stream_id)) == FRAME_BYTES for stream_id in others)


async def flooded(connect_raw: ConnectRaw, nursery: trio.Nursery, *, send_timeout: float) -> RawClient:
    """Connect a client that has opened its windows wide and called `flood`."""
    limits = Limits(send_timeout=send_timeout)
    client = await connect_raw(connect=flood, limits=limits, lockstep=True)
    nursery.start_soon(keep_alive, client.server.connections, limits)
    client.http2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
    client.http2.increment_flow_control_window(2**30)
    await client.call()
    return client


async def test_a_client_that_never_reads_is_closed(
    connect_raw: ConnectRaw, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Even if it goes on sending, which is read."""
    client = await flooded(connect_raw, nursery, send_timeout=20)
    (connection,) = client.server.connections
    nursery.start_soon(ping_forever, client)
    while client.server.connections:
        assert connection.http2.outbound_size <= Limits().send_buffer + MAX_FRAME_BYTES
        await trio.sleep(1)
    assert 20 <= trio.current_time() <= 27
    assert client.server.statistics().calls == 0


async def ping_forever(client: RawClient) -> None:
    while True:
        await trio.sleep(1)
        try:
            await client.stream.send_all(PingFrame(0, b"12345678").serialize())
        except trio.BrokenResourceError:
            return


async def test_a_client_that_reads_slowly_stays(
    connect_raw: ConnectRaw, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = await flooded(connect_raw, nursery, send_timeout=20)
    for _ in range(40):
        await trio.sleep(3)
        await client.stream.receive_some(20_000)
        await client.stream.send_all(PingFrame(0, b"12345678").serialize())
    assert client.server.statistics().calls == 1

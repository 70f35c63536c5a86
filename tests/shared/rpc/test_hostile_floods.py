"""Clients that flood the server with cheap frames: they are cut off soon, and others are served meanwhile."""

from collections import Counter
from itertools import count

import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated
from h2.settings import SettingCodes
from hyperframe.frame import (
    DataFrame,
    ExtensionFrame,
    Frame,
    GoAwayFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from trio.testing import MockClock

from rookery.v1.session_pb2 import Pong, ServerFrame
from shared.net import turns
from shared.net.turns import MESSAGE_SECONDS, TURN_SECONDS
from shared.rpc import Limits, Status
from shared.rpc.connection import READ_AHEAD_BUFFERS
from shared.rpc.framing import frame_messages
from shared.rpc.http2 import MAX_FRAME_BYTES, WINDOWS_PER_FRAME
from shared.rpc.protocol import Event, Protocol
from tests.shared.rpc.conftest import PREFACE, ConnectRaw, IdleHandler, RawClient, Serve, SessionStream, eventually
from tests.waiting import counting_passes

FLOOD = 20_000
"""Frames of an attack: twenty times the limit."""

FEW = 200

FRAMES: dict[str, Frame] = {
    "ping": PingFrame(0, b"12345678"),
    "settings": SettingsFrame(0, {SettingCodes.INITIAL_WINDOW_SIZE: 65_535}),
    "settings-of-nothing": SettingsFrame(0),
    "settings-acknowledged": SettingsFrame(0, flags=["ACK"]),
    "priority": PriorityFrame(1, depends_on=0),
    "window": WindowUpdateFrame(0, window_increment=1),
    "window-of-a-stream": WindowUpdateFrame(1, window_increment=1),
    "empty-data": DataFrame(1),
    "padding-alone": DataFrame(1, pad_length=0, flags=["PADDED"]),
    "reset-of-nothing": RstStreamFrame(1),
    "goaway": GoAwayFrame(0),
    "unknown": ExtensionFrame(0xFA, 0),
}


async def end_of(client: RawClient) -> ConnectionTerminated:
    """Return the server's GOAWAY, after which it ends the connection."""
    last: ConnectionTerminated = await client.receive_until(lambda event: isinstance(event, ConnectionTerminated))
    while await client.receive():
        pass
    await client.stream.aclose()
    return last


async def send_while_others_call(attacker: RawClient, other: RawClient, data: bytes) -> None:
    """Send the attack in one write, while the other client calls until the attacker has received GOAWAY."""
    await attacker.stream.send_all(data)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call_for_ever, other)
        assert (await end_of(attacker)).error_code == ErrorCodes.ENHANCE_YOUR_CALM
        nursery.cancel_scope.cancel()
    await other.prove_alive()


async def call_for_ever(client: RawClient) -> None:
    while True:
        with trio.CancelScope(shield=True):
            await client.prove_alive()
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("kind", FRAMES)
async def test_a_flood_of_frames_that_do_no_work_ends_its_connection_alone(
    kind: str, connect_raw: ConnectRaw, autojump_clock: MockClock
) -> None:
    attacker = await connect_raw()
    other = await connect_raw(server=attacker.server)
    await attacker.call()
    await trio.testing.wait_all_tasks_blocked()
    await send_while_others_call(attacker, other, FRAMES[kind].serialize() * FLOOD)
    assert attacker.server.statistics().connections_abused == 1
    await trio.testing.wait_all_tasks_blocked()
    assert len(attacker.server.connections) == 1


async def test_the_answers_to_a_flood_take_bounded_memory(connect_raw: ConnectRaw) -> None:
    limits = Limits(idle_frames=1_000_000, send_buffer=5_000)
    attacker = await connect_raw(limits=limits, lockstep=True)
    (connection,) = attacker.server.connections
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attacker.stream.send_all, PingFrame(0, b"12345678").serialize() * FLOOD)
        await trio.testing.wait_all_tasks_blocked()
        assert 0 < connection.http2.outbound_size <= READ_AHEAD_BUFFERS * limits.send_buffer + 2 * MAX_FRAME_BYTES
        nursery.cancel_scope.cancel()


async def test_rapid_resets_end_their_connection_alone(
    connect_raw: ConnectRaw, idle_handler: IdleHandler, autojump_clock: MockClock
) -> None:
    """CVE-2023-44487: streams that are opened and reset do not count as open ones, but cost as much."""
    attacker = await connect_raw(connect=idle_handler)
    other = await connect_raw(server=attacker.server)
    for _ in range(5_000):
        attacker.http2.reset_stream(attacker.begin(), ErrorCodes.CANCEL)
    await send_while_others_call(attacker, other, attacker.http2.data_to_send())
    assert idle_handler.inside == 0
    statistics = attacker.server.statistics()
    assert statistics.connections_abused == 1
    answered = idle_handler.entered  # between two slices: those calls do not count, and their messages earn frames
    assert answered < FEW
    assert statistics.calls_ended[Status.CANCELLED] <= Limits().idle_frames + (1 + WINDOWS_PER_FRAME) * answered


async def test_streams_that_are_refused_without_end_end_their_connection(
    connect_raw: ConnectRaw, idle_handler: IdleHandler, autojump_clock: MockClock
) -> None:
    attacker = await connect_raw(connect=idle_handler, limits=Limits(max_streams=10))
    other = await connect_raw(server=attacker.server)
    for _ in range(2_000):
        attacker.begin()
    await send_while_others_call(attacker, other, attacker.http2.data_to_send())
    assert idle_handler.entered <= 10
    answered = WINDOWS_PER_FRAME * idle_handler.entered  # frames that the handlers' messages allow
    assert 0 < attacker.server.statistics().calls_refused <= Limits().idle_frames + answered


async def test_a_stream_that_the_server_resets_cancels_its_handler(
    connect_raw: ConnectRaw, idle_handler: IdleHandler
) -> None:
    """CVE-2025-8671: an overflowing window makes the server reset the stream, whose handler must be cancelled."""
    client = await connect_raw(connect=idle_handler)
    for _ in range(50):
        stream_id = await client.call()
        await client.data_of(stream_id)
        await client.stream.send_all(WindowUpdateFrame(stream_id, window_increment=2**31 - 1).serialize())
        assert await client.reset_of(stream_id) is ErrorCodes.FLOW_CONTROL_ERROR
    await client.prove_alive()
    assert idle_handler.inside == 0


async def test_the_connections_of_one_client_share_one_turn(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood may arrive at once, on many connections; other tasks run between small parts of it."""
    passes_at = []
    receive_data = Protocol.receive_data
    clock = count(step=0.6 * TURN_SECONDS)  # read before and after each slice: a turn has two

    def noted(protocol: Protocol, data: bytes) -> list[Event]:
        passes_at.append(passes.passed)
        return receive_data(protocol, data)

    server = await serve(limits=Limits(idle_frames=1_000_000))
    monkeypatch.setattr(turns, "thread_time", lambda: next(clock))
    attack = PREFACE + SettingsFrame(0).serialize() + PriorityFrame(1).serialize() * 2_000
    async with counting_passes() as passes, trio.open_nursery() as nursery:
        attackers = [await trio.open_tcp_stream("127.0.0.1", server.port) for _ in range(10)]
        await eventually(lambda: server.server.statistics().handshaking == len(attackers))
        monkeypatch.setattr(Protocol, "receive_data", noted)
        for attacker in attackers:
            nursery.start_soon(attacker.send_all, attack)
        await eventually(lambda: len(passes_at) >= 200)
        nursery.cancel_scope.cancel()
    for attacker in attackers:
        await attacker.aclose()
    assert max(Counter(passes_at[:200]).values()) <= 4  # the tasks of two passes may run in either order


async def test_messages_that_arrive_at_once_take_turns(connect_raw: ConnectRaw) -> None:
    messages, ended = 400, trio.Event()

    async def connect(stream: SessionStream) -> None:
        async with counting_passes() as passes:
            for _ in range(messages):
                await stream.receive()
        turns = messages * MESSAGE_SECONDS / TURN_SECONDS
        assert passes.passed >= turns - 3  # the count begins a pass late, and tasks of a pass run in any order
        ended.set()

    client = await connect_raw(connect=connect)
    await client.send(await client.call(), frame_messages([b""] * messages))
    with trio.fail_after(30):  # only for a test that has failed
        await ended.wait()


async def test_frames_without_work_are_forgiven_in_time(connect_raw: ConnectRaw, autojump_clock: MockClock) -> None:
    limits = Limits(idle_frames=100, idle_frames_per_second=10)
    client = await connect_raw(limits=limits)
    await client.prove_alive()
    for _ in range(10):
        await client.stream.send_all(PingFrame(0, b"12345678").serialize() * 80)
        await trio.sleep(8)
    await client.prove_alive()
    await client.stream.send_all(PingFrame(0, b"12345678").serialize() * 110)
    assert (await end_of(client)).error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_a_client_that_opens_both_windows_for_each_message_is_served(
    connect_raw: ConnectRaw, autojump_clock: MockClock
) -> None:
    async def connect(stream: SessionStream) -> None:
        for number in count(1):
            await stream.receive()
            await stream.send(ServerFrame(sequence=number, pong=Pong()))

    client = await connect_raw(connect=connect, limits=Limits(idle_frames=100))
    stream_id = await client.call()
    for _ in range(300):
        await client.ping(stream_id)
        size = len(await client.data_of(stream_id))
        client.http2.increment_flow_control_window(size)
        client.http2.increment_flow_control_window(size, stream_id)
        await client.flush()
    await client.prove_alive()


async def test_a_client_that_cancels_answered_calls_is_served(
    connect_raw: ConnectRaw, idle_handler: IdleHandler, autojump_clock: MockClock
) -> None:
    client = await connect_raw(connect=idle_handler, limits=Limits(idle_frames=100))
    for _ in range(300):
        stream_id = await client.call()
        await client.data_of(stream_id)
        client.http2.reset_stream(stream_id, ErrorCodes.CANCEL)
    await client.flush()
    await client.prove_alive()
    assert idle_handler.inside == 0

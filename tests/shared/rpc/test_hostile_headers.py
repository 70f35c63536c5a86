"""Clients whose small requests would unpack to large ones, or whose requests stay incomplete."""

import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated
from hpack import Encoder
from hyperframe.frame import ContinuationFrame, HeadersFrame, SettingsFrame
from trio.testing import MockClock

from shared.rpc import Limits, Status
from shared.rpc.framing import GZIP_WINDOW_BITS, PREFIX
from tests.shared.rpc.conftest import GET_CHAT, ConnectRaw, IdleHandler

MIB = 1024 * 1024


@contextmanager
def no_more_memory_than(limit: int) -> Iterator[None]:
    """Fail if Python's memory grows by `limit` bytes at any time."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit


def whole(block: bytes) -> bytes:
    return HeadersFrame(1, block, flags=["END_HEADERS"]).serialize()


def hpack_bomb() -> bytes:
    """A header of 4,000 bytes and 12,000 references of one byte to it: 48 MB."""
    return whole(Encoder().encode([("x", "y" * 4_000)], huffman=False) + b"\xbe" * 12_000)


def many_headers() -> bytes:
    """5,000 headers without a name or a value, of 3 bytes each."""
    return whole(b"\x00\x00\x00" * 5_000)


def changes_of_the_table() -> bytes:
    """16,000 changes of the table's size, of one byte each."""
    return whole(b"\x20" * 16_000)


def headers_in_pieces() -> bytes:
    """Too many fragments of the size of a frame."""
    return HeadersFrame(1, bytes(16_000)).serialize() + ContinuationFrame(1, bytes(16_000)).serialize() * 60


def headers_in_empty_pieces() -> bytes:
    """Empty fragments without end, as in CVE-2024-27316."""
    return HeadersFrame(1, b"").serialize() + ContinuationFrame(1, b"").serialize() * 10_000


@pytest.mark.parametrize(
    "attack", [hpack_bomb, many_headers, changes_of_the_table, headers_in_pieces, headers_in_empty_pieces]
)
async def test_headers_without_measure_end_their_connection_in_little_memory(
    attack: Callable[[], bytes], connect_raw: ConnectRaw
) -> None:
    client = await connect_raw()
    await trio.testing.wait_all_tasks_blocked()
    wire = attack()
    with no_more_memory_than(3 * MIB):
        await client.stream.send_all(wire)
        await client.receive_until(lambda event: isinstance(event, ConnectionTerminated))
    await client.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert not client.server.connections


async def test_unknown_settings_are_not_stored(connect_raw: ConnectRaw) -> None:
    """65,536 of them would take 50 MB for 400 KB on the wire."""
    client = await connect_raw()
    await client.prove_alive()
    with no_more_memory_than(10 * MIB):
        for first in range(1_000, 65_000, 2_000):
            await client.stream.send_all(settings_of(range(first, first + 2_000)))
        await client.prove_alive()
    (connection,) = client.server.connections
    assert len(connection.http2.remote_settings) < 10


def settings_of(codes: Sequence[int]) -> bytes:
    """Return a settings frame. hyperframe truncates codes to a byte."""
    body = b"".join(struct.pack(">HL", code, 1) for code in codes)
    return struct.pack(">HBBBL", len(body) >> 8, len(body) & 0xFF, SettingsFrame.type, 0, 0) + body


async def test_a_bomb_of_gzip_is_not_unpacked(connect_raw: ConnectRaw) -> None:
    client = await connect_raw(limits=Limits(max_message_bytes=MIB))
    compressor = zlib.compressobj(9, wbits=GZIP_WINDOW_BITS)
    packed = b"".join(compressor.compress(bytes(MIB)) for _ in range(40)) + compressor.flush()
    stream_id = await client.call(GET_CHAT, ("grpc-encoding", "gzip"))
    with no_more_memory_than(4 * MIB):
        wire = PREFIX.pack(1, len(packed)) + packed
        for start in range(0, len(wire), 16_000):
            await client.send(stream_id, wire[start : start + 16_000], end=start + 16_000 >= len(wire))
        status, _ = await client.status_of(stream_id)
    assert status == Status.RESOURCE_EXHAUSTED
    await client.prove_alive()


async def test_calls_whose_message_never_arrives_time_out(connect_raw: ConnectRaw, autojump_clock: MockClock) -> None:
    limits = Limits(request_timeout=20)
    client = await connect_raw(limits=limits)
    stream_ids = [client.begin(GET_CHAT) for _ in range(limits.max_streams)]
    await client.flush()
    assert await client.reset_of(await client.call(GET_CHAT)) is ErrorCodes.REFUSED_STREAM
    for stream_id in stream_ids:
        assert (await client.status_of(stream_id))[0] == Status.DEADLINE_EXCEEDED
    assert trio.current_time() == pytest.approx(20)
    await client.prove_alive()
    statistics = client.server.statistics()
    assert (statistics.calls, statistics.calls_refused) == (0, 1)
    assert statistics.calls_ended == {Status.DEADLINE_EXCEEDED: limits.max_streams, Status.OK: 1}


async def test_the_handler_of_a_unary_call_has_all_of_the_clients_timeout(
    connect_raw: ConnectRaw, idle_handler: IdleHandler, autojump_clock: MockClock
) -> None:
    async def get_chat(request: object) -> None:
        await trio.sleep(1_000)

    client = await connect_raw(get_chat=get_chat, limits=Limits(request_timeout=1))  # type: ignore[arg-type]
    stream_id = await client.call(GET_CHAT, ("grpc-timeout", "20S"))
    await client.send(stream_id, PREFIX.pack(0, 0), end=True)
    assert (await client.status_of(stream_id))[0] == Status.DEADLINE_EXCEEDED
    assert trio.current_time() == pytest.approx(20)

"""Random input: our HTTP/2 returns events or raises h2's ProtocolError, sends little, and the server goes on."""

import cProfile
import math
import struct
from itertools import pairwise

import trio
import trio.testing
from h2.exceptions import ProtocolError
from hpack import Encoder
from hyperframe.frame import SettingsFrame
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

from rookery.v1.session_pb2 import ServerFrame
from shared.rpc import Limits, RpcError, Status
from shared.rpc.framing import frame_messages
from shared.rpc.protocol import CallStarted, OutgoingCall, Protocol
from shared.rpc.server.server import Server
from tests.fuzzing import examples
from tests.shared.rpc.conftest import PREFACE, make_services

HANDSHAKE = PREFACE + SettingsFrame(0).serialize()

LIMITS = Limits(max_header_bytes=1_000, close_timeout=0.01, request_timeout=0.1, max_streams=5)

ANSWER_BYTES = 5
"""The most bytes sent per received byte: an empty frame of nine bytes may be answered by two frames of thirteen, or
by the headers of a refusal."""

CALLS = 50

STEPS_PER_CALL = 450
"""Two thirds of h2's and purerpc's."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION, ALTSVC = range(5, 11)
UNKNOWN = 0xFA

WORDS: dict[str, list[str]] = {
    ":method": ["POST", "GET", "HEAD", ""],
    ":scheme": ["http", "https", ""],
    ":path": ["/rookery.v1.SessionService/Connect", "/rookery.v1.ArchiveService/GetChat", "/", "", "*"],
    ":authority": ["test", ""],
    ":status": ["200", "404", "100", "x", "-1"],
    "te": ["trailers", "gzip"],
    "content-type": ["application/grpc", "application/grpc+proto", "text/html"],
    "content-length": ["0", "5", "-1", "x"],
    "grpc-timeout": ["1S", "1000000n", "0m", "99999999H", "1_0S", "\u0663S", ""],
    "grpc-encoding": ["gzip", "identity", "snappy"],
    "grpc-accept-encoding": ["gzip", ",,", ""],
    "grpc-status": ["0", "5", "17", "-1", "x", "\u0661"],
    "grpc-message": ["%", "%41%", "%ff", "fine"],
    "grpc-status-details-bin": ["", "AA", "CAUSBGdvbmU", "!"],
    "grpc-retry-pushback-ms": ["1", "-1", "x"],
    "name-bin": ["AA", "A", "AA,AA", "\0"],
    "connection": ["close"],
}

some_words = st.sampled_from(sorted(WORDS)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(WORDS[name])))
any_header = st.tuples(st.binary(max_size=10), st.binary(max_size=10))
call = [(name, WORDS[name][0]) for name in (":method", ":scheme", ":path", ":authority", "te", "content-type")]
answer = [(":status", "200"), ("content-type", "application/grpc")]
trailers = [("grpc-status", "0")]
header_lists = st.one_of(
    st.sampled_from([call, answer, trailers]),
    st.builds(list.__add__, st.sampled_from([call, answer, trailers]), st.lists(some_words | any_header, max_size=5)),
    st.lists(some_words | any_header, max_size=20),
)
blocks = st.builds(lambda headers: Encoder().encode(headers), header_lists) | st.binary(max_size=40)
numbers = st.sampled_from([0, 1, 2, 65_535, 2**30, 2**31 - 1, 2**32 - 1]).map(struct.Struct(">L").pack)
setting = st.builds(struct.Struct(">HL").pack, st.integers(0, 9), st.sampled_from([0, 1, 65_535, 2**24, 2**31]))
messages = st.lists(st.binary(max_size=30), max_size=3).map(frame_messages)

BODIES: dict[int, st.SearchStrategy[bytes]] = {
    DATA: messages | st.binary(max_size=40),
    HEADERS: blocks,
    PRIORITY: st.binary(min_size=5, max_size=5),
    RST_STREAM: numbers,
    SETTINGS: st.lists(setting, max_size=4).map(b"".join),
    PUSH_PROMISE: st.builds(bytes.__add__, numbers, blocks),
    PING: st.binary(min_size=8, max_size=8),
    GOAWAY: st.builds(bytes.__add__, numbers, numbers),
    WINDOW_UPDATE: numbers,
    CONTINUATION: blocks,
    ALTSVC: st.binary(max_size=20),
    UNKNOWN: st.binary(max_size=20),
}
FLAGS = [0x0, 0x1, 0x4, 0x5, 0x4, 0x5, 0x8, 0x2C, 0xFF]
STREAM_IDS = [0, 1, 1, 1, 2, 3, 3, 5, 7, 2**31 - 1]


def frames(kind: int) -> st.SearchStrategy[bytes]:
    """Generate frames of a kind with any flags, on any stream; some with the body of another kind."""
    body = BODIES[kind] | BODIES[kind] | st.binary(max_size=12)
    return st.builds(as_frame, st.just(kind), st.sampled_from(FLAGS), st.sampled_from(STREAM_IDS), body)


def as_frame(kind: int, flags: int, stream_id: int, body: bytes) -> bytes:
    return struct.pack(">HBBBL", len(body) >> 8, len(body) & 0xFF, kind, flags, stream_id) + body


wires = st.lists(st.sampled_from(sorted(BODIES)).flatmap(frames), max_size=10).map(b"".join) | st.binary(max_size=200)
cuts = st.lists(st.integers(0, 1_000), max_size=4)


def pieces(wire: bytes, at: list[int]) -> list[bytes]:
    bounds = [0, *sorted(cut for cut in at if cut < len(wire)), len(wire)]
    return [wire[start:end] for start, end in pairwise(bounds)]


def feed(protocol: Protocol, wire: bytes, at: list[int]) -> None:
    """Feed the bytes in pieces, until the protocol raises an error."""
    protocol.data_to_send()
    for piece in pieces(wire, at):
        try:
            protocol.receive_data(piece)
        except ProtocolError:
            break
    assert protocol.http2.outbound_size <= ANSWER_BYTES * len(wire) + 100


@given(wire=wires, at=cuts)
def test_a_server_survives_any_input(wire: bytes, at: list[int]) -> None:
    protocol = Protocol(LIMITS, client_side=False)
    protocol.receive_data(HANDSHAKE)
    feed(protocol, wire, at)


@given(wire=wires, at=cuts, settings_first=st.booleans())
def test_a_client_survives_any_input(wire: bytes, at: list[int], settings_first: bool) -> None:
    protocol = Protocol(LIMITS, client_side=True)
    outgoing = OutgoingCall("rookery.v1.SessionService", "Connect", ServerFrame, 1_000.0, ())
    for stream_id in (1, 3):
        protocol.call(stream_id, outgoing, 1.0)
    feed(protocol, SettingsFrame(0).serialize() * settings_first + wire, at)


@examples(60)
@given(wire=wires, at=cuts)
async def test_a_connection_ends_without_a_fault_after_any_input(
    wire: bytes, at: list[int], autojump_clock: MockClock
) -> None:
    """Including its handlers, refusals and writer: no unexpected exception, and no call or connection is left."""
    server = Server(make_services(), LIMITS)
    near, far = trio.testing.memory_stream_pair()
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_connection, far)
            await near.send_all(HANDSHAKE)
            for piece in pieces(wire, at):
                try:
                    await near.send_all(piece)
                except trio.BrokenResourceError:
                    break
                await trio.testing.wait_all_tasks_blocked()
            await near.aclose()
    assert not [entry for entry in logs if entry["log_level"] == "error"]
    assert server.statistics().calls == 0
    assert not server.connections


def test_a_call_to_an_unknown_method_takes_few_steps() -> None:
    """It needs no token: its price bounds a flood of such calls. Counted in calls of functions, which do not depend on
    the machine's speed as time does."""
    client, server = Protocol(Limits(), client_side=True), Protocol(Limits(), client_side=False)
    server.receive_data(client.data_to_send())
    call = OutgoingCall("no.Such", "Method", ServerFrame, math.inf, [("token", "x")])
    wire = []
    for stream_id in range(1, 2 * CALLS, 2):
        client.call(stream_id, call, math.inf)
        client.http2.end_stream(stream_id)
        wire.append(client.data_to_send())
    with cProfile.Profile() as profile:
        for data in wire:
            for event in server.receive_data(data):
                if isinstance(event, CallStarted):
                    server.finish(event.stream_id, RpcError(Status.UNIMPLEMENTED, "no such"), responded=False)
                    server.http2.forget(event.stream_id)
    assert sum(entry.callcount for entry in profile.getstats()) < STEPS_PER_CALL * CALLS

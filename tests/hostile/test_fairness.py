"""One address floods a listener over many connections: probes of another are answered meanwhile."""

import json
from collections.abc import Callable
from contextlib import suppress

import pytest
import trio
from hpack import Encoder
from hyperframe.frame import HeadersFrame, RstStreamFrame, SettingsFrame
from wsproto.frame_protocol import Opcode

from tests.hostile.test_slots import websocket_upgrade
from tests.messaging.gateway.browsers import frame
from tools.launch.people import sign_up
from tools.launch.process import Rookery, port_of

ATTACKER = "127.0.0.2"

CALLS = 2_000
"""Of each connection: twice as many as it may cancel at once."""

MESSAGES = 2_900
"""Of each session: the burst that is served, and 900 that are refused for their rate."""

PROBES = 20

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

CALL: dict[bytes | str, bytes | str] = {
    ":method": "POST",
    ":scheme": "http",
    ":path": "/rookery.v1.SessionService/Connect",
    ":authority": "x",
    "te": "trailers",
    "content-type": "application/grpc",
}

PROBE = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

pytestmark = pytest.mark.usefixtures("chatting")


def cancelled_calls(at_once: int) -> bytes:
    """Return the bytes that an attacking connection sends: so many calls are opened, then all of them are cancelled."""
    encoder = Encoder()
    sent = PREFACE + SettingsFrame(0).serialize()
    for first in range(1, 2 * CALLS, 2 * at_once):
        streams = range(first, first + 2 * at_once, 2)
        calls = [HeadersFrame(each, encoder.encode(CALL), flags=["END_HEADERS"]) for each in streams]
        sent += b"".join(frame.serialize() for frame in [*calls, *map(RstStreamFrame, streams)])
    return sent


def refused_messages(token: str) -> bytes:
    """Messages of a signed-in client, each refused, and its close."""
    sign_in = json.dumps({"authenticate": {"access_token": token}}).encode()
    signed_in = websocket_upgrade() + frame(Opcode.TEXT, sign_in)
    return signed_in + frame(Opcode.TEXT, b'{"send":{}}') * MESSAGES + frame(Opcode.CLOSE)


def requests(_: str) -> bytes:
    """Requests that are refused for want of a token, all sent at once."""
    return b"GET /v1/me HTTP/1.1\r\nHost: x\r\n\r\n" * 40 + PROBE


def large_heads(_: str) -> bytes:
    """A request whose trailers have 20,000 fields."""
    head = b"POST /v1/tokens HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"0\r\n" + b"a:\n" * 20_000 + b"\r\n"


def large_frames(_: str) -> bytes:
    """A session that begins with a frame of 64 KB, with 21,000 files, without a sign-in."""
    files = json.dumps({"send": {"files": [{}] * 21_000}}, separators=(",", ":")).encode()
    return websocket_upgrade() + frame(Opcode.TEXT, files, mask=bytes(4)) + frame(Opcode.CLOSE)


async def attack_again(port: int, sent: bytes) -> None:
    """Attack over one connection after the other, for ever."""
    while True:
        await attack(port, sent)


async def attack(port: int, sent: bytes) -> None:
    """Send all, and read until the server has closed the connection."""
    stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=ATTACKER)
    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(send_all, stream, sent)
        with suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass
        nursery.cancel_scope.cancel()


async def send_all(stream: trio.SocketStream, sent: bytes) -> None:
    with suppress(trio.BrokenResourceError):
        await stream.send_all(sent)


async def count_probes(port: int, *, attacked: trio.Event) -> int:
    """Return how many probes were answered until the event."""
    answered = 0
    while True:
        await probe(port)
        if attacked.is_set():
            return answered
        answered += 1


async def probe(port: int) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(PROBE)
        assert b" 200 " in await stream.receive_some()


@pytest.mark.parametrize(
    ("name", "bytes_of", "connections", "fewest"),
    [
        ("grpc", lambda _: cancelled_calls(1), 10, 4),  # they never reach their handlers
        pytest.param("grpc", lambda _: cancelled_calls(100), 10, 4, marks=pytest.mark.slow),
        pytest.param(
            "websocket", refused_messages, 15, 30, marks=pytest.mark.slow
        ),  # all sessions that a user may have
        pytest.param("page", requests, 50, 80, marks=pytest.mark.slow),
    ],
    ids=["gRPC, cancelled at once", "gRPC, cancelled later", "WebSocket", "HTTP"],
)
async def test_a_flood_of_one_address_delays_no_probe_for_long(
    name: str, bytes_of: Callable[[str], bytes], connections: int, fewest: int, rookery: Rookery
) -> None:
    """`fewest` probes are answered during the attack, one after the other: a quarter to a half of the usual number,
    which was 1 to 2, 6 and 46 when each connection had its own turn. Both take the server's CPU time, so the machine's
    speed does not matter."""
    sent = bytes_of((await sign_up(rookery.url)).access_token)
    attacked, answered = trio.Event(), list[int]()

    async def probe_until_attacked() -> None:
        answered.append(await count_probes(port_of(rookery.url), attacked=attacked))

    async with trio.open_nursery() as probing:
        probing.start_soon(probe_until_attacked)
        async with trio.open_nursery() as attacking:
            for _ in range(connections):
                attacking.start_soon(attack, port_of(rookery.addresses[name]), sent)
        attacked.set()
    assert answered[0] >= fewest


@pytest.mark.parametrize(
    ("name", "bytes_of"),
    [("page", large_heads), ("websocket", large_frames)],
    ids=["large heads", "large frames"],
)
async def test_large_input_of_one_address_takes_little_of_the_time_of_a_probe(
    name: str, bytes_of: Callable[[str], bytes], rookery: Rookery
) -> None:
    """Over 30 connections, each again and again. The time is the CPU time of the server, in units of that of a probe
    alone: 6 of them; it was 100 with large heads, and thousands with large frames."""
    sent = bytes_of("")
    await probe_often(rookery, 1)
    alone = await probe_often(rookery, PROBES)
    async with trio.open_nursery() as attacking:
        for _ in range(30):
            attacking.start_soon(attack_again, port_of(rookery.addresses[name]), sent)
        await trio.sleep(0.3)
        attacked = await probe_often(rookery, PROBES)
        attacking.cancel_scope.cancel()
    assert attacked < 30 * alone


async def probe_often(rookery: Rookery, probes: int) -> float:
    """Send so many probes, one after the other. Return the seconds for which the process has run meanwhile."""
    before = rookery.cpu_seconds
    for _ in range(probes):
        await probe(port_of(rookery.url))
    return rookery.cpu_seconds - before

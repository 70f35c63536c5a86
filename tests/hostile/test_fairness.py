"""A client that opens and cancels calls on ten connections: probes are answered meanwhile."""

import pytest
import trio
from hpack import Encoder
from hyperframe.frame import HeadersFrame, RstStreamFrame, SettingsFrame

from tools.launch.process import Rookery, port_of, wait_until

CONNECTIONS = 10

CALLS = 2_000
"""Of each connection: twice as many as it may cancel at once."""

FEWEST_PROBES = 6
"""Probes, one after the other, that are answered during the attack: one or two if each connection has its own turn,
about 30 if they share one. Both take the server's CPU time, so the machine's speed does not matter."""

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


def cancelled_calls(at_once: int) -> bytes:
    """Return the bytes that an attacking connection sends: so many calls are opened, then all of them are cancelled."""
    encoder = Encoder()
    sent = PREFACE + SettingsFrame(0).serialize()
    for first in range(1, 2 * CALLS, 2 * at_once):
        streams = range(first, first + 2 * at_once, 2)
        calls = [HeadersFrame(each, encoder.encode(CALL), flags=["END_HEADERS"]) for each in streams]
        sent += b"".join(frame.serialize() for frame in [*calls, *map(RstStreamFrame, streams)])
    return sent


async def attack(port: int, sent: bytes) -> None:
    """Send all, and wait until the server has closed the connection."""
    try:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(sent)
            while await stream.receive_some():
                pass
    except trio.BrokenResourceError:
        pass  # closed while the attack was sent


async def count_probes(port: int, *, attacked: trio.Event) -> int:
    """Return how many probes were answered until the event."""
    answered = 0
    while True:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(PROBE)
            assert b" 200 " in await stream.receive_some()
        if attacked.is_set():
            return answered
        answered += 1


@pytest.mark.parametrize("at_once", [1, 100])
async def test_calls_that_are_cancelled_on_ten_connections_delay_no_probe_for_long(
    at_once: int, rookery: Rookery
) -> None:
    """Calls that are cancelled at once never reach their handlers."""
    files, sent, attacked, answered = rookery.open_files, cancelled_calls(at_once), trio.Event(), []

    async def probe() -> None:
        answered.append(await count_probes(port_of(rookery.url), attacked=attacked))

    async with trio.open_nursery() as probing:
        probing.start_soon(probe)
        async with trio.open_nursery() as attacking:
            for _ in range(CONNECTIONS):
                attacking.start_soon(attack, port_of(rookery.grpc), sent)
        attacked.set()
    assert answered[0] >= FEWEST_PROBES
    assert await trio.to_thread.run_sync(wait_until, lambda: rookery.open_files <= files)

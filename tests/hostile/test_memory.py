"""Small requests without a token that would unpack to large ones, from a stock client: memory stays where it was."""

import threading
from collections.abc import Iterator

import grpc
import pytest

from tools.launch.process import Rookery, wait_until

MIB = 1024 * 1024

CALLS = 100
"""Over CONNECTIONS; each kept its MiB when errors were stored with their frames."""

CONNECTIONS = 6

UNFINISHED = 240
"""Unfinished requests over CONNECTIONS, of 1 MiB unpacked."""

GROWTH_BYTES = 64 * MIB
"""The most that the process may grow: a fourth to a tenth of the unpacked size of the requests."""

SESSION = "/rookery.v1.SessionService/Connect"
UNARY = "/grpc.health.v1.Health/Check"


def open_channels(rookery: Rookery) -> list[grpc.Channel]:
    """Return channels of a connection each; gRPC would share one between channels of the same options."""
    target = rookery.addresses["grpc"]
    return [
        grpc.insecure_channel(target, [("connection", number)], compression=grpc.Compression.Gzip)
        for number in range(CONNECTIONS)
    ]


def test_bombs_of_gzip_that_are_refused_leave_no_memory_behind(rookery: Rookery) -> None:
    channels = open_channels(rookery)
    bomb = bytes(4 * MIB)
    before = rookery.resident_bytes
    for number in range(CALLS):
        call = channels[number % CONNECTIONS].stream_stream(SESSION)(iter([bomb]))
        with pytest.raises(grpc.RpcError):
            next(call)
        assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert rookery.resident_bytes - before < GROWTH_BYTES, number
    for channel in channels:
        channel.close()


@pytest.mark.slow
def test_packed_requests_that_never_end_take_their_packed_size(rookery: Rookery) -> None:
    channels = open_channels(rookery)
    ended = threading.Event()
    packed = bytes(MIB - 100)

    def request() -> Iterator[bytes]:
        yield packed
        ended.wait(60)

    before = rookery.resident_bytes
    calls = [
        channel.stream_unary(UNARY).future(request()) for channel in channels for _ in range(UNFINISHED // CONNECTIONS)
    ]
    try:
        assert not wait_until(lambda: rookery.resident_bytes - before > GROWTH_BYTES, 2)
        assert not any(call.done() for call in calls)
    finally:
        ended.set()
    for call in calls:
        call.exception(timeout=30)
    for channel in channels:
        channel.close()

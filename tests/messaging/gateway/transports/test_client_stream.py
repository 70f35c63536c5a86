"""A browser's socket, plain and under TLS: order, whole frames, silence, and an end without loss."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from messaging.gateway.transports import client_stream as module
from messaging.gateway.transports.client_stream import CONNECTION_ERRORS, ClientStream, client_stream
from tests.messaging.gateway.browsers import Tls
from tests.messaging.gateway.harness import PATIENCE

Pair = tuple[ClientStream, trio.abc.HalfCloseableStream | trio.SSLStream[trio.SocketStream]]
OpenPair = Callable[[], AbstractAsyncContextManager[Pair]]

BIG = 4_000_000
"""Bytes: more than sockets buffer."""


@pytest.fixture(params=["plain", "tls"])
def pair(request: pytest.FixtureRequest, tls: Tls) -> OpenPair:
    """Opens a connected pair: the server's stream and the client's."""

    @asynccontextmanager
    async def plain() -> AsyncIterator[Pair]:
        ours, theirs = sockets()
        stream = client_stream(ours)
        yield stream, theirs
        stream.close()
        await trio.aclose_forcefully(theirs)

    @asynccontextmanager
    async def encrypted() -> AsyncIterator[Pair]:
        ours, theirs = sockets()
        stream = client_stream(trio.SSLStream(ours, tls.server, server_side=True))
        client = trio.SSLStream(theirs, tls.client, server_hostname="127.0.0.1")
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.do_handshake)
                nursery.start_soon(client.do_handshake)
        yield stream, client
        stream.close()
        await trio.aclose_forcefully(client)

    return plain if request.param == "plain" else encrypted


def sockets() -> tuple[trio.SocketStream, trio.SocketStream]:
    left, right = socket.socketpair()
    streams = [trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in (left, right)]
    return streams[0], streams[1]


async def read_exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = b""
    with trio.fail_after(PATIENCE):
        while len(data) < size:
            received = await stream.receive_some()
            assert received, "the stream has ended"
            data += received
    return data


async def test_data_arrives_in_both_directions(pair: OpenPair) -> None:
    async with pair() as (stream, client):
        assert stream.send_now(b"to the client")
        assert await read_exactly(client, 13) == b"to the client"
        await client.send_all(b"to the server")
        assert await stream.receive_some() == b"to the server"


async def test_no_data_is_sent_between_the_parts_of_a_frame(pair: OpenPair) -> None:
    """The socket accepts a part of a frame, then a pong is sent before the session's writer sends the rest."""
    big, pong = b"f" * BIG, b"pong"
    async with pair() as (stream, client):
        assert not stream.send_now(big)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send, pong)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(stream.send_unsent)
            assert await read_exactly(client, BIG + len(pong)) == big + pong


async def test_a_cancelled_sender_leaves_its_frame_whole(pair: OpenPair) -> None:
    async with pair() as (stream, client):
        with trio.move_on_after(0.01) as scope:
            await stream.send(b"f" * BIG)
        assert scope.cancelled_caught
        assert not stream.send_now(b"next")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_unsent)
            assert await read_exactly(client, BIG + 4) == b"f" * BIG + b"next"


async def test_a_cancelled_reader_loses_nothing(pair: OpenPair) -> None:
    async with pair() as (stream, client):
        with trio.move_on_after(0.01):
            await stream.receive_some()
        await client.send_all(b"here")
        assert await stream.receive_some() == b"here"


async def test_silence_is_counted_only_while_a_task_reads(pair: OpenPair, autojump_clock: MockClock) -> None:
    async with pair() as (stream, client), trio.open_nursery() as nursery:
        autojump_clock.autojump_threshold = float("inf")
        autojump_clock.jump(100)
        assert stream.silence == 0
        nursery.start_soon(stream.receive_some)
        await trio.testing.wait_all_tasks_blocked(0.01)
        autojump_clock.jump(5)
        assert stream.silence == 5
        await client.send_all(b"a")
        while stream.silence:
            await trio.testing.wait_all_tasks_blocked()


async def test_the_end_of_the_clients_stream_is_received(pair: OpenPair) -> None:
    async with pair() as (stream, client):
        await client.aclose()
        assert await stream.receive_some() == b""


async def test_a_client_that_still_sends_reads_the_last_data(pair: OpenPair) -> None:
    async with pair() as (stream, client):
        await client.send_all(b"x" * 10_000)
        assert stream.send_now(b"last")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.finish)
            await client.send_all(b"x" * 10_000)
            assert await read_exactly(client, 4) == b"last"
            assert await client.receive_some() == b""
            await client.aclose()


async def test_a_client_that_sends_forever_is_not_read_forever(pair: OpenPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_BYTES", 500_000)
    async with pair() as (stream, client), trio.open_nursery() as nursery:

        async def send_forever() -> None:
            while True:
                await client.send_all(b"x" * 10_000)

        nursery.start_soon(send_forever)
        with trio.fail_after(PATIENCE):
            await stream.finish()
        nursery.cancel_scope.cancel()


async def test_a_lost_connection_raises(pair: OpenPair) -> None:
    async with pair() as (stream, client):
        await trio.aclose_forcefully(client)
        with pytest.raises(CONNECTION_ERRORS), trio.fail_after(PATIENCE):  # noqa: PT012 - the first may still go out
            while True:
                await stream.send(b"x" * 100_000)


async def test_a_fault_in_the_tls_handshake_is_answered_with_an_alert(tls: Tls) -> None:
    ours, theirs = sockets()
    stream = client_stream(trio.SSLStream(ours, tls.server, server_side=True))
    await theirs.send_all(b"\x16\x03\x01\x00\x05hello")  # a handshake of nonsense
    with pytest.raises(trio.BrokenResourceError), trio.fail_after(PATIENCE):
        await stream.do_handshake()
    assert (await read_exactly(theirs, 7))[:1] == b"\x15"  # an alert
    stream.close()
    await theirs.aclose()

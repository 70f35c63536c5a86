"""Clients that mean harm, or are dead and do not know it: each is bounded and found, and others do not notice."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import trio

from messaging.gateway.transports.client_stream import ClientStream
from messaging.gateway.transports.connection import ConnectionLost
from messaging.gateway.transports.messages import MessageReader
from messaging.gateway.transports.websocket import CHECKS_PER_HEARTBEAT, WebSocketTransport
from shared.configuration import LiveConfiguration
from tests.messaging.gateway.browsers import (
    CLOSE,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    RawClient,
    Server,
    frame,
    gone,
    handshake,
    hear,
    raw_session,
    request,
    say,
    serving,
    signed_in,
    text,
    until_closed,
)
from tests.messaging.gateway.harness import Platform

ANN, BEN = 1, 2


@asynccontextmanager
async def undisturbed(server: Server) -> AsyncIterator[None]:
    """Ann's session answers all the while."""
    async with signed_in(server, ANN) as ann, trio.open_nursery() as nursery:

        async def ask_for_ever() -> None:
            while True:
                with trio.fail_after(PATIENCE):
                    await say(ann, ping={})
                    assert "pong" in await hear(ann)
                await trio.sleep(0.01)

        nursery.start_soon(ask_for_ever)
        yield
        nursery.cancel_scope.cancel()


async def ended(server: Server) -> None:
    """Wait until no handshake is in the middle of it."""
    with trio.fail_after(PATIENCE):
        while server.transport.handshakes:
            await trio.sleep(0.005)


# ---- handshakes


@pytest.mark.parametrize("begun", [b"", b"G", b"GET /session HTTP/1.1\r\nHost: x\r\n", b"\x00" * 10])
async def test_a_handshake_that_does_not_end_is_ended(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr("messaging.gateway.transports.websocket.HANDSHAKE_DEADLINE", 0.1)
    async with serving(platform) as server, await server.connect() as stream:
        await stream.send_all(begun)
        await until_closed(stream)
        await ended(server)


async def test_a_handshake_of_one_byte_at_a_time_has_the_same_deadline(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.gateway.transports.websocket.HANDSHAKE_DEADLINE", 0.3)
    async with serving(platform) as server, await server.connect() as stream, trio.open_nursery() as nursery:

        async def trickle() -> None:
            with suppress(trio.BrokenResourceError):  # it has ended, and the reader has yet to hear of it
                for byte in request(Cookie="x" * 10_000):
                    await stream.send_all(bytes([byte]))
                    await trio.sleep(0.01)

        nursery.start_soon(trickle)
        with trio.fail_after(PATIENCE):
            await ended_by_server(stream)
        nursery.cancel_scope.cancel()


async def ended_by_server(stream: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):  # it was sending at the time
        assert await stream.receive_some() == b""


async def test_headers_without_end_take_no_room(platform: Platform) -> None:
    async with serving(platform) as server, undisturbed(server):
        async with await server.connect() as stream:
            await stream.send_all(b"GET /session HTTP/1.1\r\n")
            with trio.fail_after(PATIENCE), pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - sooner or later
                while True:
                    await stream.send_all(b"X-Header: " + b"x" * 1_000 + b"\r\n")
        await ended(server)


async def test_thousands_that_begin_a_handshake_keep_nobody_out(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room for handshakes is full all the time, and whoever is quick still comes in: the oldest makes room."""
    monkeypatch.setattr("messaging.gateway.transports.websocket.HANDSHAKE_DEADLINE", float("inf"))
    async with serving(platform) as server, AsyncExitStack() as stack:
        limit = server.transport.max_handshakes
        count = 2 * limit // 10 * 10
        streams: list[trio.SocketStream] = []
        async with trio.open_nursery() as nursery:

            async def begin() -> None:
                for number in range(count // 10):
                    stream = await server.connect()
                    stack.push_async_callback(trio.aclose_forcefully, stream)
                    await stream.send_all(request()[: number % 100])
                    streams.append(stream)

            for _ in range(10):
                nursery.start_soon(begin)
        assert len(streams) == count
        with trio.fail_after(PATIENCE):
            while server.transport.handshakes < limit:
                await trio.sleep(0.005)
        async with signed_in(server, ANN) as ann:
            await say(ann, ping={})
            assert "pong" in await hear(ann)
        await until_closed(streams[0])


async def test_a_full_gateway_lets_nobody_in_until_someone_leaves(platform: Platform) -> None:
    async with serving(platform) as server:
        server.transport.max_sessions = 1
        async with signed_in(server, ANN) as ann:
            async with handshake(server) as (_, head):
                assert head.startswith(b"HTTP/1.1 503 ")
            await say(ann, ping={})
            assert "pong" in await hear(ann)
        await gone(server)
        async with handshake(server) as (_, head):
            assert head.startswith(b"HTTP/1.1 101 ")


# ---- floods


async def test_a_flood_of_pings_gets_less_than_it_sends(platform: Platform) -> None:
    async with serving(platform) as server, undisturbed(server), raw_session(server, BEN) as client:
        await client.send(frame(PING, b"x" * 100) * 900)
        await client.send(frame(CLOSE))
        frames = await client.until_end()
        assert 1 < len(frames) <= 900 * 106 // 1_000, "one for each read of some thousand bytes"


async def test_one_that_pings_and_never_reads_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pongs fill the socket, then nothing more is read from it, and in the end it is taken for dead."""
    monkeypatch.setattr("messaging.gateway.transports.websocket.SEND_DEADLINE", 0.05)
    ours, theirs = trio.socket.socketpair()
    stream = ClientStream(trio.SocketStream(ours))
    transport = WebSocketTransport(stream, MessageReader(1_000), frame(PING))
    assert not stream.send_now(b"x" * 4_000_000)
    with trio.fail_after(PATIENCE), pytest.raises(ConnectionLost):
        await transport.receive()
    stream.close()
    theirs.close()


# ---- the dead


async def test_a_silent_client_is_pinged_and_found_by_the_second_heartbeat(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library answers pings by itself. This client does not, nor does it answer the close."""
    monkeypatch.setattr("messaging.gateway.transports.websocket.CLOSE_DEADLINE", 0.1)
    async with serving(platform, LiveConfiguration(heartbeat_seconds=1)) as server, undisturbed(server):
        async with raw_session(server, BEN) as silent:
            began = trio.current_time()
            *pings, goodbye, close = await silent.until_end()
            assert trio.current_time() - began > 1
        # One at each look of the second heartbeat but the last: so it was found by that, on a machine that is in time.
        assert [(ping.opcode, ping.payload) for ping in pings] == [(PING, b"")] * (CHECKS_PER_HEARTBEAT - 1)
        assert b"Nothing was received" in goodbye.payload
        assert close.opcode == CLOSE
        await gone(server, 1)


async def test_a_client_that_answers_pings_is_kept(platform: Platform) -> None:
    async with serving(platform, LiveConfiguration(heartbeat_seconds=1)) as server, raw_session(server, BEN) as client:
        for _ in range(2):
            ping = await client.next()
            assert ping is not None
            assert ping.opcode == PING
            await client.send(frame(PONG))
        await say_and_hear(client)


async def say_and_hear(client: RawClient) -> None:
    await client.send(text(ping={}))
    while (answer := await client.next()) is not None and answer.opcode == PING:
        pass
    assert answer is not None
    assert answer.opcode == TEXT

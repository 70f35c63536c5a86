"""Browsers' sessions over real sockets: the handshake, what ends a connection, and who is not disturbed by that."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from messaging.gateway import websocket as websocket_module
from messaging.gateway.connection import Flusher
from messaging.gateway.gateway import Gateway
from messaging.gateway.websocket import SUBPROTOCOL, ClientStream, WebSocketServer, text_message
from shared.background import open_background
from shared.configuration import LiveConfiguration
from tests.messaging.gateway.harness import Platform

ANN, BEN = 1, 2
PATIENCE = 20.0


@dataclass
class Server:
    gateway: Gateway
    transport: WebSocketServer
    port: int
    platform: Any

    async def token(self, user_id: int) -> str:
        token: str = await self.platform.token(user_id)
        return token


@asynccontextmanager
async def serving(
    platform: Platform, configuration: LiveConfiguration | None = None, origins: Sequence[str] = ()
) -> AsyncIterator[Server]:
    gateway, flusher = await platform.start_gateway(configuration), Flusher()
    transport = WebSocketServer(gateway, flusher, origins)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with open_background() as nursery:
        nursery.start_soon(flusher.run)
        nursery.start_soon(transport.ping_for_ever)
        await nursery.start(trio.serve_listeners, transport.serve_connection, listeners)
        yield Server(gateway, transport, listeners[0].socket.getsockname()[1], platform)


@asynccontextmanager
async def open_connection(
    server: Server, *, path: str = "/session", **options: Any
) -> AsyncIterator[WebSocketConnection]:
    options.setdefault("subprotocols", [SUBPROTOCOL])
    async with open_background() as nursery, await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        host = f"127.0.0.1:{server.port}"
        with trio.fail_after(PATIENCE):
            connection = await wrap_client_stream(nursery, stream, host, path, **options)
        try:
            yield connection
        finally:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def signed_in(server: Server, user_id: int) -> AsyncIterator[WebSocketConnection]:
    async with open_connection(server) as connection:
        await say(connection, authenticate={"access_token": await server.token(user_id)})
        assert "welcome" in await hear(connection)
        yield connection


async def say(connection: WebSocketConnection, **frame: Any) -> None:
    await connection.send_message(json.dumps(frame))


async def hear(connection: WebSocketConnection) -> dict[str, Any]:
    with trio.fail_after(PATIENCE):
        frame: dict[str, Any] = json.loads(await connection.get_message())
    return frame


async def heard_close(connection: WebSocketConnection) -> int:
    """The code that the server closed with; frames before it are passed over."""
    with trio.fail_after(PATIENCE), suppress(ConnectionClosed):
        while True:
            await connection.get_message()
    assert connection.closed is not None
    return int(connection.closed.code)


async def gone(server: Server, count: int = 0) -> None:
    """Wait until so many sessions are left."""
    with trio.fail_after(PATIENCE):
        while len(server.gateway.registry) != count:
            await trio.sleep(0.005)


async def test_two_browsers_chat_in_json(platform: Platform) -> None:
    async with serving(platform) as server, signed_in(server, ANN) as ann, signed_in(server, BEN) as ben:
        await say(ann, send={"client_message_id": "a", "recipient_id": "2", "text": {"body": "hé <b>"}})
        accepted = await hear(ann)
        event = await hear(ben)
        assert accepted["accepted"]["client_message_id"] == "a"
        assert event["sequence"] == "2"
        assert event["event"]["message"] == {
            "message_id": accepted["accepted"]["message_id"],
            "chat_id": "d-1-2",
            "sender_id": "1",
            "client_message_id": "a",
            "text": {"body": "hé <b>"},
        }


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"path": "/elsewhere"}, 404),
        ({"protocol": "chat"}, 400),
        ({"protocol": ""}, 400),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1.evil.example"}, 403),
        ({"origin": "http://[::bad"}, 403),
        ({"origin": "http://127.0.0.1:8080"}, 101),
        ({}, 101),
    ],
)
async def test_only_our_own_handshakes_are_taken(platform: Platform, options: dict[str, str], status: int) -> None:
    async with serving(platform) as server:
        assert await handshake_status(server, **options) == status


async def test_pages_of_the_listed_origins_may_connect(platform: Platform) -> None:
    async with serving(platform, origins=["https://chat.example.org"]) as server:
        assert await handshake_status(server, origin="https://chat.example.org") == 101
        assert await handshake_status(server, origin="http://127.0.0.1:8080") == 403


@pytest.mark.parametrize("text", ["{", "[]", '{"send":{"text":5}}', '{"nothing":1}', "{}"])
async def test_a_malformed_frame_is_refused_and_the_session_lives(platform: Platform, text: str) -> None:
    async with serving(platform) as server, signed_in(server, ANN) as ann:
        await ann.send_message(text)
        assert (await hear(ann))["refused"]["code"] == "malformed"
        await ann.send_message(b"\x00\x01")
        assert "text messages" in (await hear(ann))["refused"]["message"]
        await say(ann, ping={"payload": "aGk="})
        assert (await hear(ann))["pong"]["payload"] == "aGk="


async def test_an_oversized_frame_closes_that_connection_alone(platform: Platform) -> None:
    async with (
        serving(platform, LiveConfiguration(max_frame_bytes=2048)) as server,
        signed_in(server, ANN) as ann,
        signed_in(server, BEN) as ben,
    ):
        await ann.send_message("x" * 3000)
        assert await heard_close(ann) == 1009
        await gone(server, 1)
        await say(ben, ping={})
        assert "pong" in await hear(ben)


async def test_text_that_is_not_utf8_closes_that_connection_alone(platform: Platform) -> None:
    async with serving(platform) as server, signed_in(server, BEN) as ben:
        async with raw_session(server) as stream:
            await stream.send_all(b"\x81\x82\x00\x00\x00\x00\xff\xfe")
            await until_closed(stream)
        await gone(server, 1)
        await say(ben, ping={})
        assert "pong" in await hear(ben)


async def test_a_frame_before_authentication_is_answered_by_goodbye(platform: Platform) -> None:
    async with serving(platform) as server, open_connection(server) as connection:
        await say(connection, ping={})
        assert (await hear(connection))["goodbye"]["code"] == "unauthenticated"
        assert await heard_close(connection) == 1000


async def test_a_client_that_vanishes_leaves_nothing(platform: Platform) -> None:
    async with serving(platform) as server:
        for _ in range(20):
            async with raw_session(server) as stream:
                await gone(server, 1)
                await trio.aclose_forcefully(stream)
            await gone(server)


async def test_a_client_that_never_reads_is_ended_and_others_are_served(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket fills, its queue fills, events are dropped for it alone, and in the end it is closed."""
    monkeypatch.setattr("messaging.gateway.connection.SEND_DEADLINE", 0.5)
    async with (
        serving(platform, LiveConfiguration(session_queue_frames=50)) as server,
        signed_in(server, ANN) as ann,
        raw_session(server) as stalled,
    ):
        await stalled.send_all(masked(json.dumps({"authenticate": {"access_token": await server.token(BEN)}})))
        await gone(server, 2)
        body = "x" * 15_000
        with trio.fail_after(PATIENCE):
            for number in range(400):
                await say(ann, send={"client_message_id": str(number), "recipient_id": "2", "text": {"body": body}})
                assert "accepted" in await hear(ann)
        await gone(server, 1)


async def test_a_client_that_never_reads_is_gone_soon_after_its_session_has_ended(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.gateway.connection.GOODBYE_DEADLINE", 0.2)
    async with serving(platform) as server, signed_in(server, ANN) as ann, raw_session(server) as stalled:
        await stalled.send_all(masked(json.dumps({"authenticate": {"access_token": await server.token(BEN)}})))
        await gone(server, 2)
        for number in range(400):
            text = {"body": "x" * 15_000}
            await say(ann, send={"client_message_id": str(number), "recipient_id": "2", "text": text})
            assert "accepted" in await hear(ann)
        assert len(server.gateway.registry) == 2
        (session,) = server.gateway.registry.of(BEN)
        session.reconnect(0)
        await gone(server, 1)


async def test_a_silent_client_is_pinged_and_then_ended(platform: Platform) -> None:
    """A library answers pings by itself; one that does not is gone within two heartbeats."""
    async with serving(platform, LiveConfiguration(heartbeat_seconds=1)) as server, signed_in(server, ANN) as ann:
        async with raw_session(server) as silent:
            await silent.send_all(masked(json.dumps({"authenticate": {"access_token": await server.token(BEN)}})))
            await gone(server, 2)
            data = await until_closed(silent)
            assert b"\x89\x00" in data
            assert b"Nothing was heard" in data
        await gone(server, 1)
        await say(ann, ping={})
        assert "pong" in await hear(ann)


async def test_a_handshake_that_does_not_end_is_ended(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_module, "HANDSHAKE_DEADLINE", 0.1)
    async with serving(platform) as server, await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(b"GET /session HTTP/1.1\r\nHost: x\r\n")
        await until_closed(stream)


async def test_nothing_gets_in_between_the_parts_of_a_frame() -> None:
    """The socket takes a part of what the session sends; then a pong is due before the session's writer comes to it."""
    ours, theirs = trio.socket.socketpair()
    stream, client = ClientStream(trio.SocketStream(ours)), trio.SocketStream(theirs)
    big, pong = b"f" * 4_000_000, b"pong"
    received = b""

    async def read() -> None:
        nonlocal received
        while len(received) < len(big) + len(pong):
            received += await client.receive_some()

    assert not stream.send_now(big)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, pong)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(stream.send_unsent)
            nursery.start_soon(read)
    assert received == big + pong
    await stream.aclose()
    await client.aclose()


@given(st.text(min_size=0, max_size=300) | st.sampled_from(["x" * 125, "x" * 126, "x" * 65_535, "x" * 65_536]))
def test_a_text_message_is_read_by_another_implementation(text: str) -> None:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(text_message(text))
    received = [event for event in client.events() if isinstance(event, TextMessage)]
    assert "".join(event.data for event in received) == text
    assert received[-1].message_finished


async def handshake_status(server: Server, **options: str) -> int:
    async with handshake(server, **options) as (_, head):
        return int(head.split()[1])


@asynccontextmanager
async def raw_session(server: Server) -> AsyncIterator[trio.SocketStream]:
    """A socket on which the handshake is done, and nothing more."""
    async with handshake(server) as (stream, head):
        assert head.startswith(b"HTTP/1.1 101")
        yield stream


@asynccontextmanager
async def handshake(
    server: Server, path: str = "/session", protocol: str = SUBPROTOCOL, origin: str = ""
) -> AsyncIterator[tuple[trio.SocketStream, bytes]]:
    """A socket that has asked for a session, and the head of the answer."""
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    head += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    head += f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
    head += f"Origin: {origin}\r\n" if origin else ""
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(head.encode() + b"\r\n")
        answer = b""
        with trio.fail_after(PATIENCE):
            while not answer.endswith(b"\r\n\r\n"):
                answer += await stream.receive_some(1)
        try:
            yield stream, answer
        finally:
            await trio.aclose_forcefully(stream)


def masked(text: str) -> bytes:
    """One text message as a client sends it, masked with zeros."""
    data = text.encode()
    return b"\x81" + bytes([0x80 | 126]) + len(data).to_bytes(2, "big") + bytes(4) + data


async def until_closed(stream: trio.SocketStream) -> bytes:
    """Everything that comes until the server closes."""
    data = b""
    with trio.fail_after(PATIENCE):
        try:
            while more := await stream.receive_some():
                data += more
        except trio.BrokenResourceError:
            pass
    return data

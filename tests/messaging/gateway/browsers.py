"""A gateway's WebSocket listener, browsers that speak to it through trio-websocket, and sockets that say anything."""

import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from messaging.gateway.gateway import Gateway
from messaging.gateway.transports.connection import Flusher
from messaging.gateway.transports.handshake import SUBPROTOCOL
from messaging.gateway.transports.websocket import WebSocketServer
from shared.background import open_background
from shared.configuration import LiveConfiguration
from tests.asyncapi import problems
from tests.messaging.gateway.harness import Platform

PATIENCE = 20.0
"""Seconds; only ends a test that has failed."""

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10


@dataclass
class Server:
    gateway: Gateway
    transport: WebSocketServer
    port: int
    platform: Platform

    async def token(self, user_id: int) -> str:
        return await self.platform.token(user_id)

    async def connect(self) -> trio.SocketStream:
        """A socket on which nothing was said yet."""
        return await trio.open_tcp_stream("127.0.0.1", self.port)


@asynccontextmanager
async def serving(
    platform: Platform,
    configuration: LiveConfiguration | None = None,
    origins: Sequence[str] = (),
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Server]:
    gateway, flusher = await platform.start_gateway(configuration), Flusher()
    transport = WebSocketServer(gateway, flusher, origins)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=4096)

    async def serve(stream: trio.SocketStream) -> None:
        await transport.serve_connection(trio.SSLStream(stream, tls, server_side=True) if tls else stream)

    async with open_background() as nursery:
        nursery.start_soon(flusher.run)
        nursery.start_soon(transport.ping_forever)
        await nursery.start(trio.serve_listeners, serve, listeners)
        yield Server(gateway, transport, listeners[0].socket.getsockname()[1], platform)


# ---- browsers


@asynccontextmanager
async def open_connection(
    server: Server, *, path: str = "/session", tls: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[WebSocketConnection]:
    options.setdefault("subprotocols", [SUBPROTOCOL])
    socket = await server.connect()
    stream = trio.SSLStream(socket, tls, server_hostname="127.0.0.1", https_compatible=True) if tls else socket
    async with open_background() as nursery, stream:
        host = f"127.0.0.1:{server.port}"
        with trio.fail_after(PATIENCE):
            connection = await wrap_client_stream(nursery, stream, host, path, **options)
        try:
            yield connection
        finally:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def signed_in(
    server: Server, user_id: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[WebSocketConnection]:
    async with open_connection(server, tls=tls) as connection:
        await say(connection, authenticate={"access_token": await server.token(user_id)})
        assert "welcome" in await hear(connection)
        yield connection


async def say(connection: WebSocketConnection, **frame: Any) -> None:
    await connection.send_message(json.dumps(frame))


async def hear(connection: WebSocketConnection) -> dict[str, Any]:
    with trio.fail_after(PATIENCE):
        frame: dict[str, Any] = json.loads(await connection.get_message())
    assert problems("ServerFrame", frame) == []
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


# ---- raw sockets


class Frame(NamedTuple):
    """One frame as the server sent it."""

    opcode: int
    payload: bytes
    first_byte: int
    is_masked: bool


def frame(opcode: int, payload: bytes = b"", *, flags: int = FIN, mask: bytes | None = b"\x01\x02\x03\x04") -> bytes:
    """A frame as a client sends it, of any kind; unmasked without a mask."""
    size = len(payload)
    masked = 0x80 if mask is not None else 0
    if size < 126:
        head = bytes((flags | opcode, masked | size))
    elif size < 1 << 16:
        head = bytes((flags | opcode, masked | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((flags | opcode, masked | 127)) + size.to_bytes(8, "big")
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def text(**said: Any) -> bytes:
    """One frame of a session in one text message."""
    return frame(TEXT, json.dumps(said).encode())


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


class RawClient:
    """A socket on which the handshake is done, and that may say anything then."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._received = b""

    async def send(self, *data: bytes) -> None:
        await self.stream.send_all(b"".join(data))

    async def next(self) -> Frame | None:
        """The server's next frame; None if it has ended the connection."""
        while (parsed := _parse(self._received)) is None:
            with trio.fail_after(PATIENCE):
                data = await self.stream.receive_some()
            if not data:
                assert self._received == b"", "it ended in the middle of a frame"
                return None
            self._received += data
        found, self._received = parsed
        return found

    async def hear(self) -> dict[str, Any]:
        """The next frame of the session."""
        found = await self.next()
        assert found is not None
        assert found.opcode == TEXT, found
        said: dict[str, Any] = json.loads(found.payload)
        return said

    async def until_end(self) -> list[Frame]:
        """Every frame up to the end of the connection, which must be an orderly one."""
        found = []
        while (each := await self.next()) is not None:
            found.append(each)
        return found

    async def close_code(self) -> int | None:
        """The code of the server's close frame, which must be its last; None if the frame names none."""
        *_, last = await self.until_end()
        assert last.opcode == CLOSE, last
        return int.from_bytes(last.payload[:2], "big") if last.payload else None


def _parse(data: bytes) -> tuple[Frame, bytes] | None:
    if len(data) < 2:
        return None
    size, start = data[1] & 0x7F, 2
    if size >= 126:
        start += 2 if size == 126 else 8
        size = int.from_bytes(data[2:start], "big")
    if len(data) < start + size:
        return None
    found = Frame(data[0] & 0x0F, data[start : start + size], data[0], bool(data[1] & 0x80))
    return found, data[start + size :]


@asynccontextmanager
async def raw_client(server: Server) -> AsyncIterator[RawClient]:
    """A raw client that is let in."""
    async with handshake(server) as (stream, head):
        assert head.startswith(b"HTTP/1.1 101")
        yield RawClient(stream)


@asynccontextmanager
async def raw_session(server: Server, user_id: int) -> AsyncIterator[RawClient]:
    """A raw client whose session is live."""
    async with raw_client(server) as client:
        await client.send(text(authenticate={"access_token": await server.token(user_id)}))
        assert "welcome" in await client.hear()
        yield client


def request(path: str = "/session", protocol: str = SUBPROTOCOL, origin: str = "", **changed: str | None) -> bytes:
    """A request for a session; `changed` headers, with `_` for a hyphen, are as given, or not there if None."""
    headers: dict[str, str | None] = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": protocol or None,
        "Origin": origin or None,
    }
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"GET {path} HTTP/1.1"] + [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join((*lines, "", "")).encode()


@asynccontextmanager
async def handshake(server: Server, asked: bytes = request()) -> AsyncIterator[tuple[trio.SocketStream, bytes]]:
    """A socket that has asked for a session, and the head of the answer."""
    async with await server.connect() as stream:
        await stream.send_all(asked)
        answer = b""
        with trio.fail_after(PATIENCE):
            while not answer.endswith(b"\r\n\r\n"):
                received = await stream.receive_some(1)
                assert received, answer
                answer += received
        try:
            yield stream, answer
        finally:
            await trio.aclose_forcefully(stream)


async def until_closed(stream: trio.abc.ReceiveStream) -> bytes:
    """Everything that comes until the server closes, or resets."""
    data = b""
    with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
        while more := await stream.receive_some():
            data += more
    return data

"""A gateway's WebSocket listener, and browsers as raw sockets, which can send any bytes."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import trio

from messaging.gateway.gateway import Gateway
from messaging.gateway.transports.connection import Flusher
from messaging.gateway.transports.handshake import SUBPROTOCOL
from messaging.gateway.transports.websocket import WebSocketServer
from shared.background import open_background
from shared.configuration import LiveConfiguration
from tests.asyncapi import problems
from tests.messaging.gateway.harness import PATIENCE, Platform

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Tls(NamedTuple):
    """The context of a server, and of its clients."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@dataclass
class Server:
    gateway: Gateway
    transport: WebSocketServer
    port: int
    platform: Platform
    tls: Tls | None

    async def connect_plain(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def connect(self) -> Stream:
        """A connection, under TLS if the server is; the handshake of TLS is done with the first data."""
        stream = await self.connect_plain()
        return stream if self.tls is None else trio.SSLStream(stream, self.tls.client, server_hostname="127.0.0.1")

    async def until_sessions(self, count: int) -> None:
        """Wait until there are so many sessions."""
        with trio.fail_after(PATIENCE):
            while len(self.gateway.registry) != count:
                await trio.sleep(0.005)


@asynccontextmanager
async def serving(
    platform: Platform, configuration: LiveConfiguration | None = None, tls: Tls | None = None
) -> AsyncIterator[Server]:
    gateway, flusher = await platform.start_gateway(configuration), Flusher()
    transport = WebSocketServer(gateway, flusher, ())
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=4096)

    async def serve(stream: trio.SocketStream) -> None:
        await transport.serve_connection(trio.SSLStream(stream, tls.server, server_side=True) if tls else stream)

    async with open_background() as nursery:
        nursery.start_soon(flusher.run)
        nursery.start_soon(transport.ping_forever)
        await nursery.start(trio.serve_listeners, serve, listeners)
        yield Server(gateway, transport, listeners[0].socket.getsockname()[1], platform, tls)


class Frame(NamedTuple):
    """One frame from the server."""

    opcode: int
    payload: bytes
    first_byte: int
    is_masked: bool


def frame(opcode: int, payload: bytes = b"", *, flags: int = FIN, mask: bytes | None = b"\x01\x02\x03\x04") -> bytes:
    """A frame from a client, of any kind; unmasked without a mask."""
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


def text(**session_frame: Any) -> bytes:
    """One frame of a session in one text message."""
    return frame(TEXT, json.dumps(session_frame).encode())


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


class Browser:
    """A connection after the opening handshake."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._received = b""

    async def send(self, *data: bytes) -> None:
        await self.stream.send_all(b"".join(data))

    async def send_text(self, number: int, recipient_id: int, body: str) -> dict[str, Any]:
        """Send a text message under this number, and return its Accepted."""
        message = {"client_message_id": f"{number}", "recipient_id": f"{recipient_id}", "text": {"body": body}}
        await self.send(text(send=message))
        accepted: dict[str, Any] = (await self.receive())["accepted"]
        assert accepted["client_id"] == f"{number}"
        return accepted

    async def ping(self) -> None:
        """Check that the session responds."""
        await self.send(text(ping={"payload": "aGk="}))
        assert (await self.receive())["pong"] == {"payload": "aGk="}

    async def next(self) -> Frame | None:
        """The server's next frame; None if it has ended the connection."""
        while (parsed := _parse(self._received)) is None:
            with trio.fail_after(PATIENCE):
                data = await self.stream.receive_some()
            if not data:
                assert self._received == b"", "the connection ended in the middle of a frame"
                return None
            self._received += data
        found, self._received = parsed
        return found

    async def receive(self) -> dict[str, Any]:
        """The next frame of the session. A pause of this process, which has both ends, is silence, after which the
        server pings."""
        while (found := await self.next()) is not None and found.opcode == PING:
            pass
        assert found is not None
        assert found.opcode == TEXT, found
        session_frame: dict[str, Any] = json.loads(found.payload)
        assert problems("ServerFrame", session_frame) == []
        return session_frame

    async def until_end(self) -> list[Frame]:
        """Every frame up to the end of the connection, which must be in order."""
        found = []
        while (each := await self.next()) is not None:
            found.append(each)
        return found


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
async def connected(server: Server) -> AsyncIterator[Browser]:
    """A browser whose handshake is accepted."""
    async with handshake(server) as (stream, head):
        assert head.startswith(b"HTTP/1.1 101")
        yield Browser(stream)


@asynccontextmanager
async def signed_in(server: Server, user_id: int) -> AsyncIterator[Browser]:
    """A browser whose session is live."""
    async with connected(server) as browser:
        await browser.send(text(authenticate={"access_token": await server.platform.token(user_id)}))
        assert "welcome" in await browser.receive()
        yield browser


def request(path: str = "/session", protocol: str = SUBPROTOCOL, origin: str = "", **changed: str | None) -> bytes:
    """A request for a session; `changed` headers, with `_` for a hyphen, replace the usual ones; None removes one."""
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
async def handshake(server: Server, sent: bytes = request()) -> AsyncIterator[tuple[Stream, bytes]]:
    """A connection that has sent a request for a session, and the head of the response."""
    stream = await server.connect()
    try:
        await stream.send_all(sent)
        head = b""
        with trio.fail_after(PATIENCE):
            while not head.endswith(b"\r\n\r\n"):
                received = await stream.receive_some(1)
                assert received, head
                head += received
        yield stream, head
    finally:
        await trio.aclose_forcefully(stream)


async def until_closed(stream: trio.abc.ReceiveStream) -> bytes:
    """All data until the server closes or resets the connection."""
    data = b""
    with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
        while more := await stream.receive_some():
            data += more
    return data

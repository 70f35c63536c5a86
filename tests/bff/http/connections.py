"""Raw clients of the HTTP server, in plain text and over TLS."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from bff.http.server import HttpLimits, Server, mark_authenticated, open_http_server
from shared.net.admission import ConnectionBudget
from shared.net.tls import ServerTls

PATIENCE = 20.0
"""Seconds; only ends a test that has failed."""

NEVER = 600.0
"""Seconds: for a limit that must not end anything, however slow the machine is."""

MEGABYTE = 1024 * 1024

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


async def application(scope: Any, receive: Receive, send: Send) -> None:
    """Responds by path: `/large` with 64 MB, `/broken` not at all, others with scheme, client and path; `/me` has
    accepted an access token."""
    if scope["path"] == "/me":
        mark_authenticated(scope, 1)
    if scope["path"] == "/broken":
        raise RuntimeError("broken")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/large":
        for _ in range(64):
            await send({"type": "http.response.body", "body": bytes(MEGABYTE), "more_body": True})
    body = f"{scope['scheme']} {scope['client'][0]} {scope['path']}".encode()
    await send({"type": "http.response.body", "body": body, "more_body": False})


class Client:
    """A raw connection to a server."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream

    async def send(self, text: str | bytes) -> None:
        await self.stream.send_all(text.encode() if isinstance(text, str) else text)

    async def get(self, path: str = "/", headers: str = "") -> None:
        await self.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")

    async def last_get(self, path: str = "/") -> bytes:
        """The response to a request after which the server closes."""
        await self.get(path, "Connection: close\r\n")
        return await self.rest()

    async def until(self, end: bytes) -> bytes:
        """The bytes up to and with `end`."""
        received = b""
        with trio.fail_after(PATIENCE):
            while end not in received:
                data = await self.stream.receive_some(4096)
                assert data, f"closed after {received[-200:]!r}"
                received += data
        return received

    async def rest(self) -> bytes:
        """The bytes until the server closes. In plain text it may reset the connection."""
        received = bytearray()
        with trio.fail_after(PATIENCE):
            try:
                while data := await self.stream.receive_some(65_536):
                    received += data
            except trio.BrokenResourceError:
                if isinstance(self.stream, trio.SSLStream):
                    raise
        return bytes(received)


@asynccontextmanager
async def serving(
    app: Any = application,
    tls: ServerTls | None = None,
    *,
    linger_seconds: float = 0.05,
    budget: ConnectionBudget | None = None,
    **limits: Any,
) -> AsyncIterator[Server]:
    """A server on a free port, with these limits."""
    all_limits = HttpLimits(linger_seconds=linger_seconds, **limits)
    async with open_http_server(app, "127.0.0.1", 0, all_limits, tls=tls, budget=budget) as server:
        yield server


@asynccontextmanager
async def connected(
    server: Server, context: ssl.SSLContext | None = None, *, lenient: bool = False, receive_buffer: int | None = None
) -> AsyncIterator[Client]:
    """A connection; with a context over TLS, after the handshake. Unless it is lenient, as clients of HTTPS are,
    reading raises BrokenResourceError if the stream ends without TLS's close message. The system may enlarge the
    receive buffer, unless its size in bytes is given, and offers room to the server only when much of it is free."""
    tcp = await open_tcp(*server.address, receive_buffer)
    stream: trio.abc.Stream = tcp
    try:
        if context is not None:
            name = server.address[0]
            stream = secure = trio.SSLStream(tcp, context, server_hostname=name, https_compatible=lenient)
            with trio.fail_after(PATIENCE):
                await secure.do_handshake()
        yield Client(stream)
    finally:
        await trio.aclose_forcefully(stream)


async def open_tcp(host: str, port: int, receive_buffer: int | None) -> trio.SocketStream:
    """Connect, with a receive buffer of this size in bytes, which has to be set before the handshake of TCP."""
    if receive_buffer is None:
        return await trio.open_tcp_stream(host, port)
    sock = trio.socket.socket()
    try:
        sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer)
        await sock.connect((host, port))
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


async def until_connections(server: Server, count: int) -> None:
    """Wait until the server has this number of connections."""
    with trio.fail_after(PATIENCE):
        while server.connections != count:
            await trio.sleep(0.005)

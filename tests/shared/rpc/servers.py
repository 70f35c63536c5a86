"""Servers for the client's tests: one that can hang, and one whose response to each call a test defines."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h2.events
import h2.exceptions
import trio
import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection

from shared.rpc import Servicer, serve_rpc
from shared.rpc.framing import frame_messages


def showing(certificate: trustme.LeafCert, *alpn: str) -> ssl.SSLContext:
    """Return the context of a server with this certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def trusting(authority: trustme.CA, *alpn: str) -> ssl.SSLContext:
    """Return the context of a client that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


async def serve_streams(nursery: trio.Nursery, handler: Callable[[trio.SocketStream], Awaitable[object]]) -> int:
    """Serve connections; return the port."""
    (listener,) = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
    return int(listener.socket.getsockname()[1])


async def respond_in_http1(stream: trio.SocketStream) -> None:
    """Respond, as a web server without HTTP/2, to any data."""
    async with stream:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


async def serve_services(nursery: trio.Nursery, *services: Servicer, **options: Any) -> int:
    """Serve gRPC services, with these options of `serve_rpc`; return the port."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(partial(serve_rpc, services, [listener], **options))
    return int(listener.socket.getsockname()[1])


class Proxy:
    """A proxy that can be frozen: data stays where it is, and connections stay open."""

    def __init__(self, port: int) -> None:
        self.port = 0
        """The port to connect to."""
        self.connections = 0
        """Total of accepted connections."""
        self._to = port
        self._open = trio.Event()
        self._open.set()

    def freeze(self) -> None:
        """Stop forwarding."""
        self._open = trio.Event()

    def thaw(self) -> None:
        """Forward the waiting data, and go on forwarding."""
        self._open.set()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, client: trio.SocketStream) -> None:
        self.connections += 1
        async with client, trio.open_nursery() as nursery:
            await self._open.wait()
            server = await trio.open_tcp_stream("127.0.0.1", self._to)
            nursery.start_soon(self._forward, client, server)
            await self._forward(server, client)
            nursery.cancel_scope.cancel()
            await trio.aclose_forcefully(server)

    async def _forward(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        try:
            while data := await source.receive_some():
                await self._open.wait()
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(sink)


@dataclass(slots=True)
class RawServer:
    """An HTTP/2 server without gRPC: `on_call` responds, through h2, to each complete call."""

    on_call: Callable[[H2Connection, int], None]
    port: int = 0
    calls: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of each call."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        http2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        http2.initiate_connection()
        async with stream:
            await stream.send_all(http2.data_to_send())
            try:
                while data := await stream.receive_some():
                    for event in http2.receive_data(data):
                        self._handle(http2, event)
                    await stream.send_all(http2.data_to_send())
            except (trio.BrokenResourceError, trio.ClosedResourceError, h2.exceptions.ProtocolError):
                pass  # the client is gone, or has sent a frame after GOAWAY

    def _handle(self, http2: H2Connection, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.headers.append({str(name): str(value) for name, value in event.headers})
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id is not None:
            self.calls += 1
            self.on_call(http2, event.stream_id)


def answer(http2: H2Connection, stream_id: int, message: bytes = b"") -> None:
    """Send a complete response with OK."""
    http2.send_headers(stream_id, [(":status", "200"), ("content-type", "application/grpc")])
    http2.send_data(stream_id, frame_messages([message]))
    http2.send_headers(stream_id, [("grpc-status", "0")], end_stream=True)


def refuse(http2: H2Connection, stream_id: int, status: int, *headers: tuple[str, str]) -> None:
    """Send a status alone."""
    first = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", str(status))]
    http2.send_headers(stream_id, [*first, *headers], end_stream=True)

"""Sessions of browsers: frames as JSON text over WebSocket, sub-protocol `rookery.v1.json`, at `/session`."""

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, WebSocketRequest, wrap_server_stream

from messaging.gateway.connection import Connection, ConnectionLost, Flusher, Rest
from messaging.gateway.frames import JsonEncoding
from messaging.gateway.gateway import Gateway
from rookery.v1.session_pb2 import ClientFrame
from shared import wire
from shared.errors import Code, Refusal

if TYPE_CHECKING:
    from messaging.gateway.session import Session

SUBPROTOCOL = "rookery.v1.json"
PATH = "/session"

HANDSHAKE_DEADLINE = 5.0
"""Seconds from the connection to the end of the handshake."""

CLOSE_DEADLINE = 2.0
"""Seconds that a client has to answer a close."""

MESSAGE_QUEUE = 4
"""Frames read from the socket ahead of the session, which keeps its order; past that TCP holds the client back."""

RECEIVE_BYTES = 4096
"""Read from a socket at once at most: several frames of usual size."""

_TEXT = 0x81  # a whole text message
_PING = b"\x89\x00"  # an empty ping

_log = structlog.get_logger(__name__)


class ClientStream(trio.abc.Stream):
    """The client's socket: it knows when it last heard of the client, and writes one thing after the other.

    trio-websocket writes pongs and closes through it, the session many frames at once. What a socket did not take is
    kept here and goes out before anything else, so that nothing gets in between the parts of a frame.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._socket = socket.socket(fileno=stream.socket.fileno())  # the same one, for writes that never wait
        self._lock = trio.Lock()
        self._unsent = b""
        self.heard_at = trio.current_time()

    def send_now(self, data: bytes) -> bool:
        """Send what the socket takes at once, and keep the rest for `send_unsent`; whether there is none.

        Raises OSError if the connection is lost. Not again before the rest is sent.
        """
        sent = 0
        if not self._lock.locked():
            with suppress(BlockingIOError):
                sent = self._socket.send(data)
        self._unsent = data[sent:]
        return not self._unsent

    async def send_unsent(self) -> None:
        """Send what `send_now` has left."""
        await self.send_all(b"")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        async with self._lock:
            if self._unsent:
                unsent, self._unsent = self._unsent, b""
                await self._stream.send_all(unsent)
            if data:
                await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As SocketStream does, but it waits first: what a client sends is hardly ever there already."""
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError
        await trio.lowlevel.wait_readable(self._socket)
        try:
            data = self._socket.recv(max_bytes or RECEIVE_BYTES)
        except BlockingIOError:
            return await self._stream.receive_some(max_bytes)
        except OSError as error:
            raise trio.BrokenResourceError from error
        self.heard_at = trio.current_time()
        return data

    async def aclose(self) -> None:
        self._socket.detach()
        await self._stream.aclose()


class BrowserTransport:
    """A Transport over one WebSocket."""

    def __init__(self, connection: WebSocketConnection, stream: ClientStream) -> None:
        self._connection = connection
        self._stream = stream

    async def receive(self) -> ClientFrame | Refusal | None:
        try:
            message = await self._connection.get_message()
        except ConnectionClosed:
            raise ConnectionLost from None
        if isinstance(message, bytes):
            return Refusal(Code.MALFORMED, "Frames are JSON in text messages.")
        return wire.from_json(ClientFrame, message)

    def send(self, frames: list[str | bytes]) -> Rest | None:
        try:
            all_sent = self._stream.send_now(b"".join(map(text_message, frames)))
        except OSError:
            raise ConnectionLost from None
        return None if all_sent else self._send_rest

    async def _send_rest(self) -> None:
        try:
            await self._stream.send_unsent()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ConnectionLost from None


class WebSocketServer:
    """Serves connections; one for each gateway. `origins` are those that may connect; empty for the same host only."""

    def __init__(self, gateway: Gateway, flusher: Flusher, origins: Sequence[str]) -> None:
        self._gateway = gateway
        self._flusher = flusher
        self._origins = frozenset(origins)
        self._streams: dict[Session, ClientStream] = {}

    async def serve_connection(self, socket: trio.SocketStream) -> None:
        """Handshake, session, close. Whatever a client does ends here, and ends only its own connection."""
        stream = ClientStream(socket)
        try:
            async with trio.open_nursery() as nursery:
                connection = None
                with trio.move_on_after(HANDSHAKE_DEADLINE):
                    connection = await self._shake_hands(nursery, stream)
                if connection is not None:
                    await self._converse(connection, stream)
                nursery.cancel_scope.cancel()
        except* (HandshakeError, ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client is gone
        except* Exception:
            _log.exception("connection_failed")
        finally:
            await trio.aclose_forcefully(stream)

    async def ping_for_ever(self) -> None:
        """Ping the silent, and end those that stay silent for as long again."""
        while True:
            heartbeat = self._gateway.live.value.heartbeat_seconds
            await trio.sleep(heartbeat / 4)
            async with trio.open_nursery() as nursery:
                for session, stream in tuple(self._streams.items()):
                    silence = trio.current_time() - stream.heard_at
                    if silence >= 2 * heartbeat:
                        session.end(Refusal(Code.TIMED_OUT, "Nothing was heard of the client."))
                    elif silence >= heartbeat:
                        nursery.start_soon(_ping, stream, heartbeat / 4)

    async def _shake_hands(self, nursery: trio.Nursery, stream: ClientStream) -> WebSocketConnection | None:
        limit = self._gateway.live.value.max_frame_bytes
        request = await wrap_server_stream(nursery, stream, MESSAGE_QUEUE, limit)
        if refusal := self._refuse_request(request):
            status, reason = refusal
            await request.reject(status, body=reason.encode())
            return None
        return await request.accept(subprotocol=SUBPROTOCOL)

    def _refuse_request(self, request: WebSocketRequest) -> tuple[int, str] | None:
        """The HTTP status and the reason; None if the request is good."""
        headers = {bytes(name).lower(): bytes(value).decode("latin-1") for name, value in request.headers}
        if urlsplit(request.path).path != PATH:
            return 404, f"sessions are at {PATH}\n"
        origin = headers.get(b"origin")
        if origin is not None and not self._allows(origin, _host_of(request)):
            return 403, "pages of this origin may not connect\n"
        if SUBPROTOCOL not in request.proposed_subprotocols:
            return 400, f"the sub-protocol {SUBPROTOCOL} is needed\n"
        return None

    def _allows(self, origin: str, host: str) -> bool:
        if self._origins:
            return origin in self._origins
        try:
            here = urlsplit(f"//{host}").hostname
            return here is not None and urlsplit(origin).hostname == here
        except ValueError:
            return False

    async def _converse(self, connection: WebSocketConnection, stream: ClientStream) -> None:
        session = self._gateway.open_session(JsonEncoding())
        self._streams[session] = stream
        try:
            if await Connection(self._gateway, session, BrowserTransport(connection, stream), self._flusher).run():
                # Before the session is given back, since a gateway that stops cuts off what has none: the client would
                # lose the last frames, if it was still sending.
                with trio.move_on_after(CLOSE_DEADLINE):
                    await connection.aclose(1000)
        finally:
            del self._streams[session]
            self._gateway.close_session(session)


def _host_of(request: WebSocketRequest) -> str:
    """The Host header, which trio-websocket 0.12 takes out of `request.headers` and has no public name for."""
    return request._event.host


def text_message(text: str | bytes) -> bytes:
    """One unmasked, unfragmented text message (RFC 6455, section 5.2)."""
    data = text.encode() if isinstance(text, str) else text
    size = len(data)
    if size < 126:
        return bytes((_TEXT, size)) + data
    if size < 1 << 16:
        return bytes((_TEXT, 126)) + size.to_bytes(2, "big") + data
    return bytes((_TEXT, 127)) + size.to_bytes(8, "big") + data


async def _ping(stream: ClientStream, deadline: float) -> None:
    # A connection that is lost ends its session by itself.
    with trio.move_on_after(deadline), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await stream.send_all(_PING)

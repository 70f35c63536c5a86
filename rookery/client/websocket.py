"""The stream of a session over WebSocket, for networks that block gRPC: the same frames, as JSON text."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import trio
import trio_websocket

from rookery.client.connection import CONNECT_DEADLINE, SessionStream
from rookery.client.errors import Refused, Unreachable, reason_of
from rookery.client.trust import client_tls
from rookery.v1.session_pb2 import ClientFrame, ServerFrame
from shared.background import open_background
from shared.contract.errors import Refusal
from shared.contract.wire import from_json, to_json

SUBPROTOCOL = "rookery.v1.json"

CLOSE_DEADLINE = 1.0
"""Seconds for the server to answer a close; then the connection is closed."""

MAX_MESSAGE = 4 * 1024 * 1024
"""Bytes of a frame: more than a server sends."""

MESSAGE_QUEUE = 32
"""Bound of the frames that are read ahead of the session; beyond it TCP throttles the server."""

ENDED = (1000, 1001)
"""Close codes (RFC 6455) of a session that the server has ended, or can't serve any longer."""

FULL = 503
"""The HTTP status with which a gateway rejects a handshake while it is full."""

LOST = (OSError, trio.BrokenResourceError, trio_websocket.HandshakeError)

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


@asynccontextmanager
async def connect_websocket(url: str, ca_file: Path | None = None) -> AsyncIterator[SessionStream]:
    """Open a stream to a `ws://` or `wss://` URL. `ca_file` is that of `open_client`. Raises Unreachable, or
    a retryable Refused of a gateway that is full."""
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise Unreachable(f"{url!r} is not the URL of a WebSocket")
    with _unreachable():
        with trio.fail_after(CONNECT_DEADLINE):
            stream = await _connect(parts, ca_file)
        async with stream, open_background() as nursery:
            with trio.fail_after(CONNECT_DEADLINE):
                websocket = await trio_websocket.wrap_client_stream(
                    nursery, stream, parts.netloc, f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}",
                    subprotocols=[SUBPROTOCOL], message_queue_size=MESSAGE_QUEUE, max_message_size=MAX_MESSAGE,
                )  # fmt: skip
            yield _WebSocketSession(websocket)
            with trio.move_on_after(CLOSE_DEADLINE):
                await websocket.aclose()


async def _connect(parts: SplitResult, ca_file: Path | None) -> Stream:
    host = parts.hostname or ""
    if parts.scheme == "ws":
        return await trio.open_tcp_stream(host, parts.port or 80)
    context = client_tls(ca_file, "http/1.1")
    stream = await trio.open_ssl_over_tcp_stream(host, parts.port or 443, ssl_context=context, https_compatible=True)
    try:
        await stream.do_handshake()  # here, as a rejected certificate raises only in the handshake
    except BaseException:  # trio.Cancelled too: only to close the stream; raised again
        await trio.aclose_forcefully(stream)
        raise
    return stream


class _WebSocketSession:
    def __init__(self, websocket: trio_websocket.WebSocketConnection) -> None:
        self._websocket = websocket

    async def send(self, frame: ClientFrame) -> None:
        with _unreachable():
            await self._websocket.send_message(to_json(frame).decode())

    async def receive(self) -> ServerFrame | None:
        try:
            text = await self._websocket.get_message()
        except trio_websocket.ConnectionClosed as closed:
            if closed.reason is not None and closed.reason.code in ENDED:
                return None
            raise Unreachable(f"the connection was lost: {closed.reason or 'it broke'}") from closed
        frame = from_json(ServerFrame, text)
        if isinstance(frame, Refusal):
            raise Unreachable(f"this is not a frame of Rookery: {frame.message}")
        return frame


@contextmanager
def _unreachable() -> Iterator[None]:
    """Map the transport's exceptions to Unreachable, and the refusal of a full gateway to Refused."""
    try:
        yield
    except trio_websocket.ConnectionClosed as closed:
        raise Unreachable(f"the connection was lost: {closed.reason or 'it broke'}") from closed
    except trio.TooSlowError as error:
        raise Unreachable(f"no WebSocket within {CONNECT_DEADLINE:g} s") from error
    except LOST as error:
        raise _failure(error) from error
    except ExceptionGroup as group:  # raised by the task that reads the socket
        if group.split(LOST)[1] is not None:
            raise
        raise _failure(group.exceptions[0]) from group


def _failure(error: Exception) -> Unreachable | Refused:
    if isinstance(error, trio_websocket.ConnectionRejected) and error.status_code == FULL:
        seconds = dict(error.headers or ()).get(b"retry-after", b"")
        after_ms = 1_000 * int(seconds) if seconds.isdigit() else 0
        return Refused("unavailable", reason_of(error), retryable=True, retry_after_ms=after_ms)
    return Unreachable(reason_of(error))

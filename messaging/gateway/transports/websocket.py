"""Sessions of browsers: frames as JSON text over WebSocket, sub-protocol `rookery.v1.json`, at `/session`.

`handshake.py` lets clients in, `messages.py` makes messages of their bytes, `client_stream.py` is their socket.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import structlog
import trio

from messaging.gateway.frames import JsonEncoding
from messaging.gateway.gateway import Gateway
from messaging.gateway.session import Session, State
from messaging.gateway.transports.client_stream import LOST, ClientStream, client_stream
from messaging.gateway.transports.connection import SEND_DEADLINE, Connection, ConnectionLost, Flusher, Rest
from messaging.gateway.transports.handshake import Handshake
from messaging.gateway.transports.messages import DONE, PING, STOPPING, Closing, MessageReader, text_message
from rookery.v1.session_pb2 import ClientFrame
from shared.contract import wire
from shared.contract.errors import Code, Refusal
from shared.net.open_files import connections_allowed

HANDSHAKE_DEADLINE = 5.0
"""Seconds from the connection to the end of the handshake, TLS included."""

CLOSE_DEADLINE = 2.0
"""Seconds that a client has to answer a close, and to read why it was closed."""

MAX_HANDSHAKES = 2_048
"""Connections that may be in the middle of it, some 30 KiB each. One more ends the oldest: a good client is done in two
round trips, so it is those who do nothing that make room."""

LOOKS = 4
"""How often in a heartbeat the silent are looked for."""

_log = structlog.get_logger(__name__)


class BrowserTransport:
    """A Transport over one WebSocket."""

    def __init__(self, stream: ClientStream, reader: MessageReader, unread: bytes) -> None:
        self._stream = stream
        self._reader = reader
        self._unread = unread

    async def receive(self) -> ClientFrame | Refusal | None:
        reader = self._reader
        while not reader.messages:
            if reader.is_over:
                return None
            await self._read()
        return wire.from_json(ClientFrame, reader.messages.popleft())

    def send(self, frames: list[str | bytes]) -> Rest | None:
        try:
            all_sent = self._stream.send_now(b"".join(map(text_message, frames)))
        except LOST:
            raise ConnectionLost from None
        return None if all_sent else self._send_rest

    async def close(self, closing: Closing) -> None:
        """Close as the client's fault or its own close asks, or else with this; what comes meanwhile is passed over."""
        stream, reader = self._stream, self._reader
        with trio.move_on_after(CLOSE_DEADLINE), suppress(*LOST):
            await stream.send(reader.close(closing))
            while not reader.is_over and (data := await stream.receive_some()):
                reader.feed(data, trio.current_time())
            if not reader.client_has_closed:
                await stream.finish()

    async def _read(self) -> None:
        """Take what comes next, and answer pings. A client that takes no answer is lost."""
        try:
            data, self._unread = self._unread or await self._stream.receive_some(), b""
            pong = self._reader.feed(data, trio.current_time())
            if pong and not self._stream.send_now(pong):
                with trio.fail_after(SEND_DEADLINE):
                    await self._stream.send_unsent()
        except (*LOST, trio.TooSlowError):
            raise ConnectionLost from None
        if not data:
            raise ConnectionLost

    async def _send_rest(self) -> None:
        try:
            await self._stream.send_unsent()
        except LOST:
            raise ConnectionLost from None


class WebSocketServer:
    """Serves connections; one for each gateway. `origins` are those that may connect; empty for the same host only."""

    def __init__(self, gateway: Gateway, flusher: Flusher, origins: Sequence[str]) -> None:
        self._gateway = gateway
        self._flusher = flusher
        self._origins = frozenset(origins)
        self._streams: dict[Session, ClientStream] = {}
        self._handshakes: dict[trio.CancelScope, None] = {}
        self.max_sessions = connections_allowed()
        """More are refused: what else the process does needs files too."""
        self.max_handshakes = min(MAX_HANDSHAKES, self.max_sessions // 4)

    @property
    def handshakes(self) -> int:
        """Connections in the middle of their handshake."""
        return len(self._handshakes)

    async def serve_connection(self, connection: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        """Handshake, session, close. Whatever a client does ends here, and ends only its own connection.

        Under TLS, the stream must not have shaken hands yet: that is done here, within the deadline.
        """
        stream = client_stream(connection)
        try:
            transport = None
            with self._shaking_hands():
                transport = await self._shake_hands(stream)
            if transport is not None:
                await self._converse(transport, stream)
        except* LOST:
            pass  # the client is gone
        except* Exception:
            _log.exception("connection_failed")
        finally:
            stream.close()

    async def ping_for_ever(self) -> None:
        """Ping the silent, and end those that leave all pings of a heartbeat unanswered: by the second they are found.

        Pings are counted, not seconds, which also pass while this process stands still, and hears nobody.
        """
        while True:
            heartbeat = self._gateway.live.value.heartbeat_seconds
            await trio.sleep(heartbeat / LOOKS)
            for session, stream in self._streams.items():
                if session.state is State.ENDED or stream.silence < heartbeat:
                    continue
                if stream.pings >= LOOKS - 1:
                    session.end(Refusal(Code.TIMED_OUT, "Nothing was heard of the client."))
                    continue
                stream.pings += 1
                with suppress(*LOST):  # its session ends by itself
                    stream.send_now(PING)

    @contextmanager
    def _shaking_hands(self) -> Iterator[None]:
        """The room and the time for one handshake."""
        if len(self._handshakes) >= self.max_handshakes:
            oldest = next(iter(self._handshakes))
            del self._handshakes[oldest]
            oldest.cancel()
        with trio.move_on_after(HANDSHAKE_DEADLINE) as scope:
            self._handshakes[scope] = None
            try:
                yield
            finally:
                self._handshakes.pop(scope, None)

    async def _shake_hands(self, stream: ClientStream) -> BrowserTransport | None:
        """None if the client is not let in."""
        await stream.shake_hands()
        handshake = Handshake(self._origins, is_full=len(self._streams) >= self.max_sessions)
        answer = None
        while answer is None:
            data = await stream.receive_some()
            if not data:
                return None
            answer = handshake.feed(data)
        await stream.send(answer.data)
        if not answer.is_accepted:
            await stream.finish()
            return None
        return BrowserTransport(stream, MessageReader(self._gateway.live.value.max_frame_bytes), answer.unread)

    async def _converse(self, transport: BrowserTransport, stream: ClientStream) -> None:
        session = self._gateway.open_session(JsonEncoding())
        self._streams[session] = stream
        try:
            if await Connection(self._gateway, session, transport, self._flusher).run():
                # Before the session is given back, since a gateway that stops cuts off what has none: the client would
                # lose the last frames, if it was still sending.
                await transport.close(STOPPING if self._gateway.is_draining else DONE)
        finally:
            del self._streams[session]
            self._gateway.close_session(session)

"""Sessions of browsers: frames as JSON text over WebSocket, sub-protocol `rookery.v1.json`, at `/session`.

`handshake.py` accepts clients, `messages.py` decodes their messages, `client_stream.py` is their socket.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import structlog
import trio

from messaging.gateway.frames import JsonEncoding
from messaging.gateway.gateway import Gateway
from messaging.gateway.session import Session, State
from messaging.gateway.transports.client_stream import CONNECTION_ERRORS, ClientStream, client_stream
from messaging.gateway.transports.connection import SEND_DEADLINE, Connection, ConnectionLost, Flusher, SendUnsent
from messaging.gateway.transports.handshake import Handshake
from messaging.gateway.transports.messages import DONE, PING, STOPPING, Closing, MessageReader, text_message
from rookery.v1.session_pb2 import ClientFrame
from shared.contract import wire
from shared.contract.errors import Code, Refusal
from shared.net.admission import Admission, ConnectionBudget, Slot
from shared.net.client_address import peer_address
from shared.net.turns import MESSAGE_SECONDS, Turn, await_client

HANDSHAKE_DEADLINE = 5.0
"""Seconds from the connection to the end of the handshake, including that of TLS."""

CLOSE_DEADLINE = 2.0
"""Seconds that a client has to read our close and to answer it."""

MAX_HANDSHAKES = 2_048
"""Connections that may be in their handshake, some 30 KiB each. One more ends the oldest: a good client completes its
handshake in two round trips, so the evicted ones are idle."""

SLICE_BYTES = 1024
"""Bytes that are decoded before the turn's time is checked: the smallest frames, 170 pings, take 2 ms."""

SHORT_FRAME = 256
"""Characters of a frame whose decoding takes MESSAGE_SECONDS at most, with any content. The decoding of longer frames
is measured."""

MAX_ITEMS = 1_000
"""Most items of a list in a frame; no list of a valid frame is nearly as long. A frame of 64 KiB, of a client that has
not signed in, could have 21,800 empty files, which take 25 ms."""

CHECKS_PER_HEARTBEAT = 4
"""How often in a heartbeat silent clients are pinged or ended."""

_log = structlog.get_logger(__name__)


class WebSocketTransport:
    """A Transport over one WebSocket."""

    def __init__(self, stream: ClientStream, reader: MessageReader, unread: bytes, turn: Turn) -> None:
        """`unread`: bytes that were already read from the stream. `turn` bounds the time for received bytes."""
        self._stream = stream
        self._reader = reader
        self._unread = unread
        self._turn = turn

    async def receive(self) -> ClientFrame | Refusal | None:
        reader = self._reader
        if reader.messages:  # several arrived at once; a single one was counted as received bytes
            await self._turn.wait()
            self._turn.charge(MESSAGE_SECONDS)
        while not reader.messages:
            if reader.is_over:
                return None
            await self._read()
        if len(reader.messages[0]) > SHORT_FRAME:
            await self._turn.wait()
            with self._turn:
                return wire.from_json(ClientFrame, reader.messages.popleft(), MAX_ITEMS)
        return wire.from_json(ClientFrame, reader.messages.popleft(), MAX_ITEMS)

    def send(self, frames: list[bytes]) -> SendUnsent | None:
        try:
            all_sent = self._stream.send_now(b"".join(map(text_message, frames)))
        except CONNECTION_ERRORS:
            raise ConnectionLost from None
        return None if all_sent else self._send_unsent

    async def close(self, closing: Closing) -> None:
        """Close with the code of the client's fault or of its own close, else with this; discard later frames."""
        stream, reader = self._stream, self._reader
        with trio.move_on_after(CLOSE_DEADLINE), suppress(*CONNECTION_ERRORS):
            await stream.send(reader.close(closing))
            while not reader.is_over and (await self._feed_next())[0]:
                pass
            if not reader.client_has_closed:
                await stream.finish()

    async def _read(self) -> None:
        """Read the next bytes, and answer pings. Raises ConnectionLost, also if the client does not read its pong."""
        try:
            data, pong = await self._feed_next()
            if pong and not self._stream.send_now(pong):
                with trio.fail_after(SEND_DEADLINE):
                    await self._stream.send_unsent()
        except (*CONNECTION_ERRORS, trio.TooSlowError):
            raise ConnectionLost from None
        if not data:
            raise ConnectionLost

    async def _feed_next(self) -> tuple[bytes, bytes]:
        """Feed the next bytes, at most a slice, to the reader during the turn. Return them, empty at the end of the
        client's stream, and the pong to send, empty if none is due."""
        data = self._unread or await self._stream.receive_some()
        data, self._unread = data[:SLICE_BYTES], data[SLICE_BYTES:]
        await self._turn.wait()
        with self._turn:
            return data, self._reader.feed(data, trio.current_time())

    async def _send_unsent(self) -> None:
        try:
            await self._stream.send_unsent()
        except CONNECTION_ERRORS:
            raise ConnectionLost from None


class WebSocketServer:
    """Serves sessions over WebSocket; one for each gateway. Pages of these `origins` may connect; if empty, pages of
    the same host only."""

    def __init__(
        self, gateway: Gateway, flusher: Flusher, origins: Sequence[str], admission: Admission | None = None
    ) -> None:
        self._gateway = gateway
        self._flusher = flusher
        self._origins = frozenset(origins)
        self._streams: dict[Session, ClientStream] = {}
        self._handshakes: dict[trio.CancelScope, None] = {}
        self.admission = admission or ConnectionBudget().add_listener()
        self.max_handshakes = MAX_HANDSHAKES

    @property
    def handshakes(self) -> int:
        """The number of connections in their handshake."""
        return len(self._handshakes)

    async def serve_connection(self, connection: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        """Serve one connection: handshake, session, close. A fault ends only its own connection.

        Under TLS, the stream must not have done its handshake: it is part of this one, within the deadline.
        """
        scope = trio.CancelScope()
        peer = peer_address(connection)
        slot = self.admission.admit(peer, scope.cancel)
        if slot is None:
            await trio.aclose_forcefully(connection)
            return
        stream = client_stream(connection)
        try:
            with scope:
                transport = None
                with self._handshake_slot():
                    await await_client(connection, slot.turn)
                    transport = await self._do_handshake(stream, slot, peer)
                if transport is not None:
                    await self._serve_session(transport, stream, slot)
        except* CONNECTION_ERRORS:
            pass  # the client is gone
        except* Exception:  # supervision: a fault of one connection must not end the listener with all others
            _log.exception("connection_failed")
        finally:
            stream.close()
            slot.release()

    async def ping_forever(self) -> None:
        """Ping silent clients, and end clients that answer no ping of a heartbeat, until cancelled.

        A dead client is ended by the second heartbeat. Pings are counted rather than seconds, which also pass while
        this process is stopped and reads nothing.
        """
        while True:
            heartbeat = self._gateway.live.value.heartbeat_seconds
            await trio.sleep(heartbeat / CHECKS_PER_HEARTBEAT)
            for session, stream in self._streams.items():
                if session.state is State.ENDED or stream.silence < heartbeat:
                    continue
                if stream.pings >= CHECKS_PER_HEARTBEAT - 1:
                    session.end(Refusal(Code.TIMED_OUT, "Nothing was received from the client."))
                    continue
                stream.pings += 1
                with suppress(*CONNECTION_ERRORS):  # its reader ends the session
                    stream.send_now(PING)

    @contextmanager
    def _handshake_slot(self) -> Iterator[None]:
        """Bound one handshake in time, and the number of handshakes: when all slots are taken, end the oldest."""
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

    async def _do_handshake(self, stream: ClientStream, slot: Slot, peer: str) -> WebSocketTransport | None:
        """None if the client is rejected, or ends."""
        await stream.do_handshake()
        handshake = Handshake(self._origins, is_full=self.admission.is_full)
        response = None
        while response is None:
            data = await stream.receive_some()
            if not data:
                return None
            await slot.turn.wait()
            with slot.turn:
                response = handshake.feed(data)
        self.admission.apply_forwarded(slot, peer, response.forwarded_for)
        await stream.send(response.data)
        if not response.is_accepted:
            await stream.finish()
            return None
        return WebSocketTransport(
            stream, MessageReader(self._gateway.live.value.max_frame_bytes), response.unread, slot.turn
        )

    async def _serve_session(self, transport: WebSocketTransport, stream: ClientStream, slot: Slot) -> None:
        session = self._gateway.open_session(JsonEncoding())
        session.on_sign_in = slot.authenticate
        self._streams[session] = stream
        try:
            if await Connection(self._gateway.dispatcher, session, transport, self._flusher).run():
                # Before `close_session`: a gateway that drains waits for open sessions only, and would cut the client
                # off from its last frames.
                await transport.close(STOPPING if self._gateway.is_draining else DONE)
        finally:
            del self._streams[session]
            self._gateway.close_session(session)

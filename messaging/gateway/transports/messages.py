"""WebSocket's messages (RFC 6455), sans I/O: decodes a client's bytes to text messages, and encodes text messages.

wsproto parses the frames. This module bounds the size of a message, and the rate of frames that end none.
"""

from collections import deque
from typing import NamedTuple

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason

EXTRA_FRAMES = 1_000
"""Frames that end no message (pings, pongs, fragments) that a client may send in a second, and as many once more as a
burst: some 1 % of a processor's time. Messages have the session's own rate."""

CLOSE_CODES = {
    1000: "the session ended, with the reason in its last frame; or the client closed the connection",
    1001: "the gateway is stopping: request the gateway's address from the BFF and connect again",
    1002: "a violation of RFC 6455 in the client's frames, or an invalid close code of the client",
    1003: "a binary message: frames are JSON in text messages",
    1007: "text that is not UTF-8",
    1008: f"more than {EXTRA_FRAMES:,} pings, pongs and fragments in a second",
    1009: "a frame of more than `max_frame_bytes`",
}
"""The server's close codes, and when it sends them. A client's close is answered with the same code."""

PING = b"\x89\x00"
"""An empty ping."""

_TEXT = 0x81  # FIN, and the opcode of text
_SHORT_HEADERS = [bytes((_TEXT, size)) for size in range(126)]


class Closing(NamedTuple):
    """A close frame's content: a code of RFC 6455, section 7.4, and a sentence for people."""

    code: int
    reason: str = ""


DONE = Closing(CloseReason.NORMAL_CLOSURE)
STOPPING = Closing(CloseReason.GOING_AWAY, "This gateway stops.")
NOT_TEXT = Closing(CloseReason.UNSUPPORTED_DATA, "Frames are JSON in text messages.")
FLOOD = Closing(CloseReason.POLICY_VIOLATION, f"More than {EXTRA_FRAMES} frames a second end no message.")


class MessageReader:
    """One client's messages, in order, up to its close or its first fault; later frames are ignored."""

    def __init__(self, max_message_bytes: int) -> None:
        self.messages: deque[str] = deque()
        """Complete messages that are not taken yet: at most the messages of one read."""
        self.closing: Closing | None = None
        """The close frame to send once the messages are taken; None while there is no reason to close."""
        self.is_over = False
        """Whether the client has closed or is at fault."""
        self._connection = Connection(ConnectionType.SERVER)
        self._has_closed = False
        self._max_bytes = max_message_bytes
        self._fragments: list[str] = []
        self._bytes = 0
        self._extra = 0.0
        self._counted_at = 0.0

    def feed(self, data: bytes, now: float) -> bytes:
        """Feed bytes that were received at `now` (seconds); returns the bytes to send at once. Of several pings only
        the newest is answered, as section 5.5.3 allows, so that no client gets more bytes than it sends."""
        if self.is_over:
            return b""
        self._connection.receive_data(data)
        pong = b""
        for event in self._connection.events():
            if isinstance(event, CloseConnection):  # the client's own, or wsproto's for a fault
                self._end(Closing(event.code, event.reason or ""))
            elif not self._has_closed:
                self._take(event, now)
                if isinstance(event, Ping) and not self.is_over:
                    pong = self._connection.send(event.response())
            if self.is_over:
                break
        return pong

    @property
    def client_has_closed(self) -> bool:
        """Whether the client has sent a close of its own, or answered ours, so that nothing can follow."""
        return self._connection.state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED)

    def close(self, closing: Closing) -> bytes:
        """The close frame for the client: of the earlier reason to close if there is one, else with this."""
        self.closing = self.closing or closing
        self._has_closed = True
        return self._connection.send(CloseConnection(*self.closing))

    def _take(self, event: Event, now: float) -> None:
        if isinstance(event, BytesMessage):
            self._end(NOT_TEXT)
        elif not isinstance(event, TextMessage):
            self._count_extra(now)
        else:
            self._take_text(event)
            if event.frame_finished and not event.message_finished:
                self._count_extra(now)

    def _take_text(self, event: TextMessage) -> None:
        """Append to the message, which exceeds its limit by one read at the most; empty fragments take no memory."""
        text = event.data
        self._bytes += len(text) if text.isascii() else len(text.encode())
        if self._bytes > self._max_bytes:
            self._fragments.clear()
            self._end(Closing(CloseReason.MESSAGE_TOO_BIG, f"A frame has at most {self._max_bytes} bytes."))
        elif event.message_finished:
            self.messages.append("".join((*self._fragments, text)) if self._fragments else text)
            self._fragments.clear()
            self._bytes = 0
        elif text:
            self._fragments.append(text)

    def _count_extra(self, now: float) -> None:
        self._extra = max(self._extra - (now - self._counted_at) * EXTRA_FRAMES, 0.0) + 1
        self._counted_at = now
        if self._extra > EXTRA_FRAMES:
            self._end(FLOOD)

    def _end(self, closing: Closing) -> None:
        self.is_over = True
        self.closing = self.closing or closing


def text_message(data: bytes) -> bytes:
    """One unmasked, unfragmented text message (RFC 6455, section 5.2) of this UTF-8."""
    size = len(data)
    if size < 126:
        return _SHORT_HEADERS[size] + data
    if size < 1 << 16:
        return bytes((_TEXT, 126)) + size.to_bytes(2, "big") + data
    return bytes((_TEXT, 127)) + size.to_bytes(8, "big") + data

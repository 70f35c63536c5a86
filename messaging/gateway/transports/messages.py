"""WebSocket's messages (RFC 6455), without I/O: what a client's bytes come to, and text as a client reads it.

wsproto takes the frames apart. What is bounded here is what a message may hold, and how many frames may carry none.
"""

from collections import deque
from typing import NamedTuple

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason

EXTRA_FRAMES = 1_000
"""Frames that end no message (pings, pongs, pieces) that a client may send in a second, and once more as many: some 1 %
of a processor's time. Messages have the session's own rate."""

CLOSE_CODES = {
    1000: "the session has ended, and its last frame says why; or the client has closed",
    1001: "the gateway stops: connect again, asking the BFF where",
    1002: "the client's frames are not as RFC 6455 has them, or it has closed with a code that may not be sent",
    1003: "a binary message: frames are JSON in text messages",
    1007: "text that is not UTF-8",
    1008: f"more than {EXTRA_FRAMES:,} pings, pongs and fragments in a second",
    1009: "a frame of more than `max_frame_bytes`",
}
"""What the server closes with, and when. To a client's close it answers with the same code."""

PING = b"\x89\x00"
"""An empty ping."""

_TEXT = 0x81  # a whole text message


class Closing(NamedTuple):
    """Why a connection is closed: a code of RFC 6455, section 7.4, and a sentence for people."""

    code: int
    reason: str = ""


DONE = Closing(CloseReason.NORMAL_CLOSURE)
STOPPING = Closing(CloseReason.GOING_AWAY, "This gateway stops.")
NOT_TEXT = Closing(CloseReason.UNSUPPORTED_DATA, "Frames are JSON in text messages.")
FLOOD = Closing(CloseReason.POLICY_VIOLATION, f"More than {EXTRA_FRAMES} frames a second end no message.")


class MessageReader:
    """One client's messages, in order, up to its close or its first fault, after which nothing counts."""

    def __init__(self, max_message_bytes: int) -> None:
        self.messages: deque[str] = deque()
        """Whole ones that nobody has taken yet: no more than one read brings."""
        self.closing: Closing | None = None
        """With what to close, once the messages are taken; None while there is no reason to."""
        self.is_over = False
        """Whether the client has closed or is at fault."""
        self._connection = Connection(ConnectionType.SERVER)
        self._has_closed = False
        self._max_bytes = max_message_bytes
        self._pieces: list[str] = []
        self._bytes = 0
        self._extra = 0.0
        self._counted_at = 0.0

    def feed(self, data: bytes, now: float) -> bytes:
        """Take what came, at `now` in seconds; what to send at once. Of pings that came together only the newest is
        answered, as section 5.5.3 allows, so that nobody gets more than they send."""
        if self.is_over:
            return b""
        self._connection.receive_data(data)
        pong = b""
        for event in self._connection.events():
            if isinstance(event, CloseConnection):  # the client's own, or wsproto's word for a fault
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
        """The last frame for the client: it closes with what there is to say already, or else with this."""
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
        """Add to the message, which is never longer than one read above its limit; empty pieces take no room."""
        text = event.data
        self._bytes += len(text) if text.isascii() else len(text.encode())
        if self._bytes > self._max_bytes:
            self._pieces.clear()
            self._end(Closing(CloseReason.MESSAGE_TOO_BIG, f"A frame has at most {self._max_bytes} bytes."))
        elif event.message_finished:
            self.messages.append("".join((*self._pieces, text)) if self._pieces else text)
            self._pieces.clear()
            self._bytes = 0
        elif text:
            self._pieces.append(text)

    def _count_extra(self, now: float) -> None:
        self._extra = max(self._extra - (now - self._counted_at) * EXTRA_FRAMES, 0.0) + 1
        self._counted_at = now
        if self._extra > EXTRA_FRAMES:
            self._end(FLOOD)

    def _end(self, closing: Closing) -> None:
        self.is_over = True
        self.closing = self.closing or closing


def text_message(text: str | bytes) -> bytes:
    """One unmasked, unfragmented text message (RFC 6455, section 5.2)."""
    data = text.encode() if isinstance(text, str) else text
    size = len(data)
    if size < 126:
        return bytes((_TEXT, size)) + data
    if size < 1 << 16:
        return bytes((_TEXT, 126)) + size.to_bytes(2, "big") + data
    return bytes((_TEXT, 127)) + size.to_bytes(8, "big") + data

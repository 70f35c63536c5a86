"""Bodies of requests that are streamed: each piece is read from the connection when it is wanted, so that a client
sends no faster than its content is stored.

Quart collects a body in memory as fast as it arrives. So `StreamedBody` stands between the server and Quart, which
gets an empty body.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPRequestEvent, Scope
from quart import request

from shared.contract.errors import Code, Refusal
from shared.files.protocol import MAX_PART_BYTES
from shared.net.turns import FILES

STREAMED = re.compile(r"PUT /v1/files/[^/]+/parts/[^/]+|POST /v1/avatars")
"""Methods and paths of the requests whose body is streamed."""

PIECE_SECONDS = 20.0
"""Longest silence of a client in the middle of a body."""

LEAST_RATE = 8 * 1024
"""Bytes a second that a client sends at least, on the average, after PIECE_SECONDS of waiting for it: slow bodies hold
the places of others. A part of a file that arrives in time has 14 KB a second."""

DISCARD_SECONDS = 10.0
"""Seconds for the rest of a refused body, before the response: many clients read no response before they have sent
all."""

_SCOPE_KEY = "rookery.body"


class ClientGone(Exception):
    """The client disconnected in the middle of a body."""


class TooSlow(Exception):
    """The client sent nothing for PIECE_SECONDS in the middle of a body, or less than LEAST_RATE."""


class StreamedBody:
    """The body of one request, as an iterator of pieces of at most 64 KiB, and the empty body that Quart receives."""

    def __init__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self._receive = receive
        self._send = send
        self._is_whole = False
        self._gone: Any = None
        """The event by which the client disconnected."""
        self._waited = 0.0
        """Seconds for which the client was waited for. The time in which its bytes are stored does not count."""
        self._waits_since: float | None = None
        self._received = 0
        self._is_given = False
        self._responds = trio.Event()

    def __aiter__(self) -> "StreamedBody":
        return self

    async def __anext__(self) -> bytes:
        if self._is_whole:
            raise StopAsyncIteration
        if self._gone is None:
            await FILES.take_piece()
            with trio.move_on_after(self._seconds_left()):
                if (piece := await self._receive_piece()) is not None:
                    return piece
        if self._gone is None:
            raise TooSlow
        self._responds.set()  # so that Quart, too, learns of it
        raise ClientGone

    @property
    def is_whole(self) -> bool:
        return self._is_whole

    @property
    def waited(self) -> float:
        """Seconds for which the client was waited for, up to now."""
        return self._waited + (0.0 if self._waits_since is None else trio.current_time() - self._waits_since)

    @property
    def rate(self) -> float:
        """Bytes for each second in which the client was waited for."""
        return self._received / max(self.waited, 0.001)

    async def _receive_piece(self) -> bytes | None:
        """The next piece; None if the client disconnected."""
        began = self._waits_since = trio.current_time()
        try:
            event = await self._receive()
        finally:
            self._waits_since = None
        self._waited += trio.current_time() - began
        if event["type"] != "http.request":
            self._gone = event
            return None
        self._is_whole = not event.get("more_body", False)
        piece: bytes = event.get("body", b"")
        self._received += len(piece)
        return piece

    def _seconds_left(self) -> float:
        """The time until the next piece has to be there."""
        return min(PIECE_SECONDS, max(PIECE_SECONDS + self._received / LEAST_RATE - self._waited, 0.0))

    async def receive(self) -> Any:
        """Return the next event for Quart: an empty body, and once the response begins, the client's disconnection."""
        if not self._is_given:
            self._is_given = True
            return HTTPRequestEvent(type="http.request", body=b"", more_body=False)
        await self._responds.wait()
        while self._gone is None:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                self._gone = event
        return self._gone

    async def send(self, event: Any) -> None:
        """Send an event of the response, after the body."""
        if event["type"] == "http.response.start":
            await self._discard()
            self._responds.set()
        await self._send(event)

    async def _discard(self) -> None:
        """Receive the rest of the body, of MAX_PART_BYTES in all at most: outside the turn of files, which wanted
        bodies need, since anybody can send a refused one. If there is more, the connection ends with the response."""
        with trio.move_on_after(min(DISCARD_SECONDS, self._seconds_left())):
            while not self._is_whole and self._gone is None and self._received < MAX_PART_BYTES:
                await self._receive_piece()


@dataclass(frozen=True, slots=True)
class Content:
    """A body and its size in bytes. The iterator raises ClientGone or TooSlow if the body ends early."""

    size: int
    pieces: StreamedBody


def slowest(bodies: Iterable[StreamedBody], seconds: float) -> StreamedBody | None:
    """The body that comes slowest of these that have more to come, and for whose clients the server has waited for at
    least so many seconds; None without one."""
    slow = [body for body in bodies if not body.is_whole and body.waited >= seconds]
    return min(slow, key=lambda body: body.rate, default=None)


def stream_body(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> StreamedBody | None:
    """Take the body of a request away from Quart, which gets the methods of the result as `receive` and `send`. None
    for a request whose body Quart collects."""
    if scope["type"] != "http" or not STREAMED.fullmatch(f"{scope['method']} {scope['path']}"):
        return None
    body = StreamedBody(receive, send)
    fields: Any = scope
    fields[_SCOPE_KEY] = body
    return body


def streamed_content() -> Content | Refusal:
    """Return the streamed body of the present request, whose size must be stated."""
    size = request.content_length
    if size is None:
        return Refusal(Code.MALFORMED, "The size of the body must be stated: `Content-Length`.", field="body")
    if size > MAX_PART_BYTES:
        return Refusal(Code.TOO_LARGE, f"A body may have {MAX_PART_BYTES} bytes at most.", field="body")
    scope: Any = request.scope
    return Content(size, scope[_SCOPE_KEY])

"""Bodies of HTTP messages for httpx. Its own ones stay unfinished if they are given up: Python warns of that later."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import trio

CHUNK_BYTES = 64 << 10
"""Bytes that are sent at once: a time-out for sending counts for each chunk."""


class BytesBody(httpx.AsyncByteStream):
    """The body of a request. `on_sent` is called with the number of bytes that were sent; from 0 again if the body is
    sent again."""

    def __init__(self, content: bytes, on_sent: Callable[[int], object] = lambda _: None) -> None:
        self._content = memoryview(content)
        self._on_sent = on_sent
        self._sent = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._sent = 0
        self._on_sent(0)
        return self

    async def __anext__(self) -> bytes:
        self._on_sent(self._sent)  # the caller comes back when the former chunk is sent
        chunk = bytes(self._content[self._sent : self._sent + CHUNK_BYTES])
        if not chunk:
            raise StopAsyncIteration
        self._sent += len(chunk)
        return chunk


@asynccontextmanager
async def body_of(response: httpx.Response) -> AsyncIterator[AsyncIterator[bytes]]:
    """Yield the chunks of the body of a response. At the end of the block the rest is given up.

    httpx reads a body by several generators inside each other, all of which only an exception of the innermost one
    ends: the cancellation of its next read."""
    chunks = response.aiter_raw()
    try:
        yield chunks
    finally:
        with suppress(httpx.TransportError), trio.CancelScope() as scope:
            scope.cancel()
            async for _ in chunks:
                pass

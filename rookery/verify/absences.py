"""Clients that are away for a while, and come back with a position that the server does not hold any more."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from rookery.client import SessionStream, Unreachable
from rookery.client.reconnector import Connect
from rookery.v1.session_pb2 import ClientFrame, ServerFrame

AWAY_SECONDS = 8.0
"""Seconds of an absence: more than a new session has replayed."""

PAUSE_SECONDS = 1.0
"""Seconds between the beginnings of two absences."""

UNKNOWN_EPOCH = 0
"""The epoch of a position from which no server can resume: it answers with a Gap, as after a longer absence."""


class Presence:
    """The connections of one client, which `leave` interrupts."""

    def __init__(self) -> None:
        self.is_away = False
        self._back = trio.Event()
        self._back.set()
        self._receiving: trio.CancelScope | None = None
        self._has_lost_position = False

    def wrap(self, connect: Connect) -> Connect:
        """Return `connect` with connections that can be interrupted."""

        @asynccontextmanager
        async def connect_if_present(endpoint: str) -> AsyncIterator[SessionStream]:
            await self._back.wait()
            async with connect(endpoint) as stream:
                yield _InterruptibleStream(stream, self)

        return connect_if_present

    async def leave(self) -> None:
        """Lose the connection and the position, and connect again after `AWAY_SECONDS`."""
        self.is_away, self._back = True, trio.Event()
        if self._receiving is not None:
            self._receiving.cancel()
        try:
            await trio.sleep(AWAY_SECONDS)
        finally:
            self._has_lost_position = True
            self._back.set()

    async def receive(self, stream: SessionStream) -> ServerFrame | None:
        """Return the stream's next frame. Raises Unreachable also when the client leaves."""
        with trio.CancelScope() as self._receiving:
            if not self._back.is_set():
                self._receiving.cancel()
            return await stream.receive()
        raise Unreachable("the client is away")

    async def send(self, stream: SessionStream, frame: ClientFrame) -> None:
        if frame.authenticate.HasField("last_position") and self._has_lost_position:
            self._has_lost_position = False
            frame.authenticate.last_position.epoch = UNKNOWN_EPOCH
        await stream.send(frame)


class _InterruptibleStream:
    def __init__(self, stream: SessionStream, presence: Presence) -> None:
        self._stream = stream
        self._presence = presence

    async def send(self, frame: ClientFrame) -> None:
        await self._presence.send(self._stream, frame)

    async def receive(self) -> ServerFrame | None:
        return await self._presence.receive(self._stream)

"""The thread that receives notifications by other processes, and reconnects when necessary."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from shared.contract.errors import Unavailable
from shared.drivers.redis.link import Link

RETRY_SECONDS = 0.5
"""Pause between two attempts to connect: by this much a notification may be late after an outage."""

PING_SECONDS = 5.0
"""Silence after which a ping is sent."""

CLOSE_SECONDS = 0.3
"""Deadline of closing for the thread. It may be resolving a host, which nothing can interrupt."""


class Subscriber:
    """Subscribes to every channel that begins with the prefix. Its public methods are for the Trio thread."""

    def __init__(self, link: Link, prefix: str, timeout_seconds: float) -> None:
        self.connections = 0
        """Number of connections so far. Notifications between two of them were missed."""
        self._link = link
        self._prefix = prefix
        self._timeout_seconds = timeout_seconds
        self._watchers: dict[str, set[trio.MemorySendChannel[None]]] = {}
        self._token = trio.lowlevel.current_trio_token()
        self._closing = threading.Event()
        self._ended = trio.Event()
        self._failure: Exception | None = None

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[trio.MemoryReceiveChannel[None]]:
        """Open a channel that yields soon after a notification, and after each new connection; they are coalesced.
        Raises ValueError if the name does not begin with the prefix."""
        if not channel.startswith(self._prefix):
            raise ValueError(f"{channel} does not begin with {self._prefix}")
        send, receive = trio.open_memory_channel[None](1)  # one slot: notifications are coalesced
        self._watchers.setdefault(channel, set()).add(send)
        try:
            yield receive
        finally:
            self._watchers[channel].discard(send)
            receive.close()
            send.close()

    async def run(self) -> None:
        """Receive notifications until cancelled."""
        thread = threading.Thread(target=self._run, name="redis subscriber", daemon=True)
        thread.start()
        try:
            await self._ended.wait()
        finally:
            self._closing.set()
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                while not self._ended.is_set():
                    self._link.cut()
                    with trio.move_on_after(0.01):
                        await self._ended.wait()
                thread.join()  # setting `_ended` was its last act
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        """The body of the thread."""
        with suppress(trio.RunFinishedError):
            try:
                while not self._closing.is_set():
                    with suppress(Unavailable):
                        self._listen()
                    self._closing.wait(RETRY_SECONDS)
            except Exception as error:  # supervision of the thread: raised again on the Trio side
                self._failure = error
            finally:
                self._link.close()
                self._token.run_sync_soon(self._ended.set)

    def _listen(self) -> None:
        """Receive notifications in the thread. Raises Unavailable when the connection ends or a ping is unanswered."""
        try:
            self._link.send(b"PSUBSCRIBE", _literal(self._prefix).encode() + b"*")
            while not self._closing.is_set():
                reply = self._link.read(PING_SECONDS)
                if reply is None:
                    self._link.send(b"PING")
                    reply = self._link.read(self._timeout_seconds)
                match reply:
                    case None:
                        raise Unavailable("Redis does not answer")
                    case ["psubscribe", *_]:
                        self._token.run_sync_soon(self._connected)
                    case ["pmessage", _, str(channel), _]:
                        self._token.run_sync_soon(self._notify, channel)
                    case _:  # the reply to a ping
                        pass
        finally:
            self._link.close()

    def _connected(self) -> None:
        self.connections += 1
        for channel in self._watchers:
            self._notify(channel)

    def _notify(self, channel: str) -> None:
        for watcher in self._watchers.get(channel, ()):
            with suppress(trio.WouldBlock):
                watcher.send_nowait(None)


def _literal(text: str) -> str:
    """Escape the text for a pattern that matches it alone."""
    return "".join(f"\\{character}" if character in "*?[]\\^-" else character for character in text)

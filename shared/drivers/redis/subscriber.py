"""The thread that listens to what other processes announce, and connects again whenever it has to."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from shared.contract.errors import Unavailable
from shared.drivers.redis.link import Link

RETRY_SECONDS = 0.5
"""Between two attempts to connect: what a change may be late after an outage."""

PING_SECONDS = 5.0
"""Silence after which Redis is asked whether it is still there."""

CLOSE_SECONDS = 0.3
"""That closing waits for the thread. It may be in the middle of looking up a host, which nothing ends early."""


class Subscriber:
    """Listens to every channel that begins with the prefix. Its methods are for the Trio thread."""

    def __init__(self, link: Link, prefix: str, timeout_seconds: float) -> None:
        self.connections = 0
        """How often it has connected. Whatever was announced between two connections was missed."""
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
        """Something to wait for: it yields soon after each notice on the channel, and after each new connection;
        several may give one."""
        if not channel.startswith(self._prefix):
            raise ValueError(f"{channel} does not begin with {self._prefix}")
        send, receive = trio.open_memory_channel[None](1)  # one slot: what is already to be told need not be told twice
        self._watchers.setdefault(channel, set()).add(send)
        try:
            yield receive
        finally:
            self._watchers[channel].discard(send)
            receive.close()
            send.close()

    async def run(self) -> None:
        """Listen until cancelled."""
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
                thread.join()  # to say so was its last act
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        """The thread."""
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
        """Raises Unavailable when the connection ends, or when a ping has no answer."""
        try:
            self._link.send(b"PSUBSCRIBE", _literal(self._prefix).encode() + b"*")
            while not self._closing.is_set():
                said = self._link.read(PING_SECONDS)
                if said is None:
                    self._link.send(b"PING")
                    said = self._link.read(self._timeout_seconds)
                match said:
                    case None:
                        raise Unavailable("Redis does not answer")
                    case ["psubscribe", *_]:
                        self._token.run_sync_soon(self._connected)
                    case ["pmessage", _, str(channel), _]:
                        self._token.run_sync_soon(self._tell, channel)
                    case _:  # the answer to a ping
                        pass
        finally:
            self._link.close()

    def _connected(self) -> None:
        self.connections += 1
        for channel in self._watchers:
            self._tell(channel)

    def _tell(self, channel: str) -> None:
        for watcher in self._watchers.get(channel, ()):
            with suppress(trio.WouldBlock):
                watcher.send_nowait(None)


def _literal(text: str) -> str:
    """The pattern that only this text matches."""
    return "".join(f"\\{character}" if character in "*?[]\\^-" else character for character in text)

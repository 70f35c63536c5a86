"""The thread that receives notifications by other processes of their changes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from shared.drivers.redis.link import Link, Reply
from shared.drivers.redis.listening import ListeningThread

SUFFIX = ":changes"
"""The end of the name of every channel with notifications. Other channels have messages: see `messages.py`."""


class Subscriber(ListeningThread):
    """Subscribes to every channel from the prefix to SUFFIX. Its public methods are for the Trio thread."""

    def __init__(self, link: Link, prefix: str, timeout_seconds: float) -> None:
        super().__init__("redis subscriber", link, timeout_seconds)
        self.connections = 0
        """Number of connections so far. Notifications between two of them were missed."""
        self._prefix = prefix
        self._watchers: dict[str, set[trio.MemorySendChannel[None]]] = {}

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[trio.MemoryReceiveChannel[None]]:
        """Open a channel that yields soon after a notification, and after each new connection; they are coalesced.
        Raises ValueError if the name does not begin with the prefix or does not end with SUFFIX."""
        if not (channel.startswith(self._prefix) and channel.endswith(SUFFIX)):
            raise ValueError(f"{channel} does not begin with {self._prefix} and end with {SUFFIX}")
        send, receive = trio.open_memory_channel[None](1)  # one slot: notifications are coalesced
        self._watchers.setdefault(channel, set()).add(send)
        try:
            yield receive
        finally:
            self._watchers[channel].discard(send)
            receive.close()
            send.close()

    def _subscribe(self) -> None:
        self._link.send(b"PSUBSCRIBE", f"{_literal(self._prefix)}*{SUFFIX}".encode())

    def _handle(self, reply: Reply) -> None:
        match reply:
            case ["psubscribe", *_]:
                self._token.run_sync_soon(self._connected)
            case ["pmessage", _, str(channel), _]:
                self._token.run_sync_soon(self._notify, channel)
            case _:  # the reply to a ping
                pass

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

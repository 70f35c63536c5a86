"""Signals: short values that processes publish to channels, and that nothing keeps.

A signal reaches the listeners that listen to its channel at that moment, or is lost: while the engine is away, or when
a listener falls behind. Publishing never waits, so that a session never does.
"""

from collections import deque
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import trio

from shared.telemetry.metrics.catalogue import SIGNALS_LOST

MAX_WAITING = 10_000
"""Signals that a listener has not received yet: about 2 MB. Further ones are lost."""


class Listener(Protocol):
    """Receives the signals of some channels."""

    def listen_to(self, channels: Collection[str]) -> None:
        """Listen to these channels from now on, and to no others. Between processes it takes effect within
        milliseconds, or once the engine is back."""
        ...

    async def receive(self) -> Sequence[bytes]:
        """Wait for signals; return those that have arrived, MAX_WAITING at most."""
        ...


class Signals(Protocol):
    """The channels of a platform. Names of channels are short texts."""

    def publish(self, channel: str, value: bytes) -> None:
        """Publish a signal to all listeners of the channel, this process's included. It never waits, and never
        fails."""
        ...

    def listen(self) -> AbstractAsyncContextManager[Listener]:
        """Open a listener, which listens to no channel yet."""
        ...


class SignalQueue:
    """The signals that a listener has not received yet, MAX_WAITING at most. Any thread may call `put`."""

    def __init__(self) -> None:
        self._values: deque[bytes] = deque()
        self._lost = 0
        self._arrived = trio.Event()

    def put(self, value: bytes) -> None:
        """Append a signal, or lose it. `wake` must follow in Trio's thread."""
        if len(self._values) < MAX_WAITING:
            self._values.append(value)
        else:
            self._lost += 1

    def wake(self) -> None:
        self._arrived.set()

    async def receive(self) -> Sequence[bytes]:
        await trio.lowlevel.checkpoint()
        while not self._values:
            self._arrived = trio.Event()
            await self._arrived.wait()
        lost, self._lost = self._lost, 0
        SIGNALS_LOST.inc("no_room", by=lost)
        return [self._values.popleft() for _ in range(len(self._values))]

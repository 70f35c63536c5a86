"""Signals in memory: the embedded twin of `shared.signals.protocol`, for a platform of one process."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from shared.signals.protocol import Listener, SignalQueue
from shared.telemetry.metrics.catalogue import SIGNALS_PUBLISHED


class LocalSignals:
    """The `Signals` of one process."""

    def __init__(self) -> None:
        self._listeners: set[_LocalListener] = set()

    def publish(self, channel: str, value: bytes) -> None:
        SIGNALS_PUBLISHED.inc()
        for listener in self._listeners:
            if channel in listener.channels:
                listener.put(value)
                listener.wake()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[Listener]:
        listener = _LocalListener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)


class _LocalListener(SignalQueue):
    def __init__(self) -> None:
        super().__init__()
        self.channels: frozenset[str] = frozenset()

    def listen_to(self, channels: Collection[str]) -> None:
        self.channels = frozenset(channels)

"""Signals over PUBLISH and SUBSCRIBE of Redis: the distributed twin of `shared.signals.protocol`.

They have connections and threads of their own, so that neither a slow Redis nor many signals hold up other commands.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from shared.drivers.redis.messages import (
    MessageListener,
    MessagePublisher,
    open_message_listener,
    open_message_publisher,
)
from shared.settings import RedisSettings
from shared.signals.protocol import Listener, SignalQueue
from shared.telemetry.metrics.catalogue import SIGNALS_LOST, SIGNALS_PUBLISHED


class RedisSignals:
    """The `Signals` of a platform. Made by `open_redis_signals`."""

    def __init__(self, settings: RedisSettings, publisher: MessagePublisher) -> None:
        self._settings = settings
        self._publisher = publisher
        self._prefix = f"{settings.prefix}signals:"

    def publish(self, channel: str, value: bytes) -> None:
        SIGNALS_PUBLISHED.inc()
        self._publisher.publish(self._prefix + channel, value, _count_lost)

    def listen(self) -> AbstractAsyncContextManager[Listener]:
        return self._listen()

    @asynccontextmanager
    async def _listen(self) -> AsyncIterator["_RedisListener"]:
        queue = SignalQueue()
        async with open_message_listener(self._settings, self._publisher, queue.put, queue.wake) as listener:
            yield _RedisListener(queue, listener, self._prefix)


class _RedisListener:
    def __init__(self, queue: SignalQueue, listener: MessageListener, prefix: str) -> None:
        self.receive = queue.receive
        self._listener = listener
        self._prefix = prefix

    def listen_to(self, channels: Collection[str]) -> None:
        self._listener.listen_to([self._prefix + channel for channel in channels])


def _count_lost() -> None:
    SIGNALS_LOST.inc("not_sent")


@asynccontextmanager
async def open_redis_signals(settings: RedisSettings) -> AsyncIterator[RedisSignals]:
    """Open the signals under the prefix of the settings. It never waits for Redis."""
    async with open_message_publisher(settings) as publisher:
        yield RedisSignals(settings, publisher)

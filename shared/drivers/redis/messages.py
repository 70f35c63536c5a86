"""Messages over channels of Redis: one thread publishes them in pipelines, another receives those of some channels.

Unlike a notification, a message has a value, and none is kept: a message that Redis does not accept at once is lost.
"""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import structlog
import trio

from shared.background import open_background
from shared.bridge import BatchThread, open_batch_thread
from shared.contract.errors import Unavailable
from shared.drivers.redis.link import Link, Refused, Reply, Unreachable, connector
from shared.drivers.redis.listening import CLOSE_SECONDS, ListeningThread
from shared.settings import RedisSettings

MAX_PENDING = 1_000
"""Bound of the queue of messages that Redis has not accepted yet."""

MAX_AGE_SECONDS = 2.0
"""A message that has waited longer is not sent any more, but lost."""

_log = structlog.get_logger(__name__)


class _Message(NamedTuple):
    channel: bytes
    value: bytes
    deadline: float
    """In seconds of time.monotonic."""


class MessagePublisher:
    """Made by `open_message_publisher`. Its methods are for the Trio thread, and never wait."""

    def __init__(self, thread: BatchThread[_Message, None]) -> None:
        self._thread = thread
        self._is_away = False
        self.is_closed = False
        """Whether its connection is cut: failures are not logged any more."""

    def publish(self, channel: str, value: bytes, lose: Callable[[], None] = lambda: None) -> None:
        """Publish a message. `lose` is called if it did not reach Redis."""

        def done(result: Exception | None) -> None:
            if isinstance(result, Exception):
                lose()
            is_away = isinstance(result, Exception)
            if self._is_away != is_away and not self.is_closed:
                self._is_away = is_away
                if is_away:
                    _log.warning("messages_lost", error=str(result))
                else:
                    _log.info("messages_accepted")

        try:
            self._thread.submit(_Message(channel.encode(), value, time.monotonic() + MAX_AGE_SECONDS), done)
        except Unavailable:
            lose()


class MessageListener(ListeningThread):
    """Made by `open_message_listener`. `put` is called in the thread for each message, and `wake` soon after it in the
    Trio thread."""

    def __init__(
        self,
        link: Link,
        settings: RedisSettings,
        publisher: MessagePublisher,
        put: Callable[[bytes], None],
        wake: Callable[[], None],
    ) -> None:
        super().__init__("redis listener", link, settings.timeout_seconds)
        self._publisher = publisher
        self._put = put
        self._wake = wake
        self._own_channel = f"{settings.prefix}wake:{secrets.token_hex(8)}"
        self._wanted: frozenset[bytes] = frozenset({self._own_channel.encode()})
        self._subscribed: frozenset[bytes] = frozenset()  # of the thread

    def listen_to(self, channels: Collection[str]) -> None:
        """Receive the messages of these channels, and of no others. A message to the thread's own channel wakes it up;
        if that is lost, it takes effect with the next message, or after `PING_SECONDS`."""
        self._wanted = frozenset(channel.encode() for channel in (self._own_channel, *channels))
        self._publisher.publish(self._own_channel, b"")

    def _subscribe(self) -> None:
        self._subscribed = self._wanted
        self._link.send(b"SUBSCRIBE", *self._subscribed)

    def _handle(self, reply: Reply) -> None:
        match reply:
            case [b"message", channel, bytes(value)] if channel != self._own_channel.encode():
                self._put(value)
                self._token.run_sync_soon(self._wake, idempotent=True)
            case _:  # the reply to a ping or to a subscription
                pass
        self._update()

    def _update(self) -> None:
        """Subscribe to the channels that are wanted now. Raises Unavailable."""
        wanted, subscribed = self._wanted, self._subscribed
        if gained := wanted - subscribed:
            self._link.send_on(b"SUBSCRIBE", *gained)
        if lost := subscribed - wanted:
            self._link.send_on(b"UNSUBSCRIBE", *lost)
        self._subscribed = wanted


@asynccontextmanager
async def open_message_publisher(settings: RedisSettings) -> AsyncIterator[MessagePublisher]:
    """Open a publisher. Opening never waits for Redis; closing takes a second at most."""
    link = Link(settings, connector(settings))

    def handle(batch: list[_Message]) -> Sequence[Exception | None]:
        now = time.monotonic()
        in_time = [message for message in batch if message.deadline > now]
        commands = [(b"PUBLISH", message.channel, message.value) for message in in_time]
        replies = iter(link.exchange(commands) if commands else [])
        late = Unreachable(f"Redis is {MAX_AGE_SECONDS:g} s behind")
        return [_failure(next(replies)) if message.deadline > now else late for message in batch]

    async with open_batch_thread(
        "redis publisher",
        lambda: handle,
        stop=link.close,
        max_pending=MAX_PENDING,
        close_deadline=CLOSE_SECONDS,
    ) as thread:
        publisher = MessagePublisher(thread)
        try:
            yield publisher
        finally:
            publisher.is_closed = True
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                while thread.statistics().pending:
                    link.cut()
                    await trio.sleep(0.01)


@asynccontextmanager
async def open_message_listener(
    settings: RedisSettings, publisher: MessagePublisher, put: Callable[[bytes], None], wake: Callable[[], None]
) -> AsyncIterator[MessageListener]:
    """Listen while the block is open; `put` and `wake` are as in MessageListener."""
    listener = MessageListener(Link(settings, connector(settings, texts=False)), settings, publisher, put, wake)
    async with open_background() as nursery:
        nursery.start_soon(listener.run)
        yield listener


def _failure(reply: Reply) -> Exception | None:
    return reply if isinstance(reply, Refused) else None

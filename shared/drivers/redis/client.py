"""Commands to Redis from Trio: one thread sends the queued commands as one pipeline, another receives notifications."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

import structlog
import trio

from shared.background import open_background
from shared.bridge import BatchThread, BridgeStatistics, open_batch_thread
from shared.drivers.redis.link import Argument, Link, Refused, Reply, Unreachable, connector
from shared.drivers.redis.subscriber import Subscriber
from shared.settings import RedisSettings
from shared.telemetry.metrics import Readings, register_readings
from shared.telemetry.metrics.catalogue import REDIS_AWAY, REDIS_COMMANDS, REDIS_PENDING

CLOSE_SECONDS = 0.3
"""Deadline of closing for a running command, after its connection was cut, and then for the thread. No caller is
waiting for the replies any more."""

MAX_PENDING = 1_000
"""Bound of the queue of commands. A process sends a few each second."""

_log = structlog.get_logger(__name__)


class _Command(NamedTuple):
    words: Sequence[bytes]
    deadline: float
    """In seconds of time.monotonic. After it the command is not sent: its caller has timed out."""


class RedisClient:
    """A client that reconnects by itself; while Redis is unavailable, calls raise Unavailable. Made by `open_redis`."""

    def __init__(self, thread: BatchThread[_Command, Reply], subscriber: Subscriber, settings: RedisSettings) -> None:
        self._thread = thread
        self._subscriber = subscriber
        self._timeout_seconds = settings.timeout_seconds
        self._refusal = ""
        self._is_closed = False
        self.is_unavailable = False
        """Whether the last command did not reach Redis."""

    @property
    def connections(self) -> int:
        """Number of the subscriber's connections: after a new one, notifications may be missing, and Redis's data."""
        return self._subscriber.connections

    def statistics(self) -> BridgeStatistics:
        return self._thread.statistics()

    async def call(self, *words: Argument) -> Reply:
        """Execute one command and return its reply, with texts as `str`. Raises Unavailable, within the time-out of the
        settings; the command may have been executed all the same."""
        command = _Command([_encoded(word) for word in words], time.monotonic() + self._timeout_seconds)
        try:
            with trio.fail_after(self._timeout_seconds):
                reply = await self._thread.call(command)
        except trio.TooSlowError:
            late = Unreachable(f"Redis did not answer within {self._timeout_seconds:g} s")
            self._log_change(late)
            raise late from None
        except (Unreachable, Refused) as error:
            self._log_change(error)
            raise
        self._log_change(None)
        return reply

    async def evaluate(self, script: str, keys: Sequence[str], *arguments: Argument) -> Reply:
        """Run a Lua script atomically. Raises Unavailable, as `call` does."""
        return await self.call("EVAL", script, len(keys), *keys, *arguments)

    def subscribe(self, channel: str) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[None]]:
        """Open a channel that yields soon after a notification of any process, and after each new connection;
        notifications are coalesced. The name must begin with the prefix of the settings and end with `:changes`."""
        return self._subscriber.subscribe(channel)

    def _log_change(self, error: Unreachable | Refused | None) -> None:
        """Log the first failure and the recovery after it, and each new kind of refusal."""
        if self._is_closed:
            return
        if isinstance(error, Refused) and str(error) != self._refusal:
            _log.warning("redis_refused", error=str(error))
            self._refusal = str(error)
        is_unavailable = isinstance(error, Unreachable)
        if is_unavailable and not self.is_unavailable:
            _log.warning("redis_unavailable", error=str(error))
        elif self.is_unavailable and not is_unavailable:
            _log.info("redis_available")
        self.is_unavailable = is_unavailable

    async def _close(self, link: Link) -> None:
        """Cut the connection, so that a thread that waits for Redis ends. No caller waits for its replies any more."""
        self._is_closed = True
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            while self._thread.statistics().pending:
                link.cut()
                await trio.sleep(0.01)


def _encoded(word: Argument) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


@asynccontextmanager
async def open_redis(settings: RedisSettings) -> AsyncIterator[RedisClient]:
    """Open a client. Opening never waits for Redis; closing takes a second at most. Raises UnusableSetting for
    an invalid option in the URL."""
    connect = connector(settings)
    commands, notices = Link(settings, connect), Link(settings, connect)
    async with (
        open_background() as nursery,
        open_batch_thread(
            "redis",
            lambda: _handler(commands),
            stop=commands.close,
            max_pending=MAX_PENDING,
            close_deadline=CLOSE_SECONDS,
        ) as thread,
    ):
        subscriber = Subscriber(notices, settings.prefix, settings.timeout_seconds)
        nursery.start_soon(subscriber.run)
        client = RedisClient(thread, subscriber, settings)
        readings: Readings = {
            REDIS_PENDING: lambda: client.statistics().pending,
            REDIS_COMMANDS: lambda: client.statistics().jobs,
            REDIS_AWAY: lambda: client.is_unavailable,
        }
        try:
            with register_readings(readings):
                yield client
        finally:
            await client._close(commands)


def _handler(link: Link) -> Callable[[list[_Command]], Sequence[Reply | Exception]]:
    """Return the function that runs a batch of commands in the thread."""

    def handle(batch: list[_Command]) -> Sequence[Reply | Exception]:
        now = time.monotonic()
        in_time = [command for command in batch if command.deadline > now]
        replies: list[Reply | Refused | Unreachable]
        try:
            replies = link.exchange([command.words for command in in_time]) if in_time else []
        except Unreachable as error:
            replies = [error] * len(in_time)
        next_reply = iter(replies)
        return [next(next_reply) if command.deadline > now else Unreachable("Redis is behind") for command in batch]

    return handle

"""Live configuration in Redis: a hash that every process reads, and a channel on which each change is announced."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec

from shared.configuration.protocol import StoredValue
from shared.ids import wall_clock_ms
from shared.redis import RedisClient

_SET = "redis.call('HSET', KEYS[1], ARGV[2], ARGV[3]) redis.call('PUBLISH', ARGV[1], ARGV[2])"

_UNSET = "redis.call('HDEL', KEYS[1], ARGV[2]) redis.call('PUBLISH', ARGV[1], ARGV[2])"


class _Record(msgspec.Struct):
    """What the hash has for a key, as JSON."""

    value: str
    changed_at_ms: int


class RedisConfigurationStore:
    """A `ConfigurationStore`. Made by `open_redis_configuration`."""

    def __init__(self, client: RedisClient, key: str, clock_ms: Callable[[], int]) -> None:
        self._client = client
        self._key = key
        self._channel = f"{key}:changes"
        self._clock_ms = clock_ms

    async def load(self) -> Mapping[str, StoredValue]:
        flat: list[str] = await self._client.call("HGETALL", self._key)
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return {key: _stored(key, text) for key, text in sorted(pairs)}

    async def set(self, key: str, value: str) -> None:
        record = msgspec.json.encode(_Record(value, self._clock_ms()))
        await self._client.evaluate(_SET, [self._key], self._channel, key, record)

    async def unset(self, key: str) -> None:
        await self._client.evaluate(_UNSET, [self._key], self._channel, key)

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[None]]:
        """As the protocol says; also after each new connection, since something may have been missed."""
        return self._client.subscribe(self._channel)


def _stored(key: str, text: str) -> StoredValue:
    """What a record says. One that is none, such as a person may have put there, is taken for the value itself: it is
    validated like any other."""
    try:
        record = msgspec.json.decode(text, type=_Record)
    except msgspec.MsgspecError:
        return StoredValue(key, text, 0)
    return StoredValue(key, record.value, record.changed_at_ms)


@asynccontextmanager
async def open_redis_configuration(
    client: RedisClient, prefix: str, *, clock_ms: Callable[[], int] = wall_clock_ms
) -> AsyncIterator[RedisConfigurationStore]:
    """The configuration under the prefix, which is that of the client's settings. It asks nothing of Redis yet."""
    yield RedisConfigurationStore(client, f"{prefix}configuration", clock_ms)

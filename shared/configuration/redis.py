"""Live configuration in Redis: a hash of the values, a list of the newest changes, and a channel for notifications."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec

from shared.configuration.protocol import KEPT_CHANGES, Change, StoredValue
from shared.contract.ids import wall_clock_ms
from shared.drivers.redis import RedisClient

_CHANGE = f"""
local channel, key, record, by, at_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local old = redis.call('HGET', KEYS[1], key)
if record ~= '' then
  redis.call('HSET', KEYS[1], key, record)
else
  redis.call('HDEL', KEYS[1], key)
end
if old or record ~= '' then
  local id = redis.call('INCR', KEYS[3])
  redis.call('LPUSH', KEYS[2], cmsgpack.pack({{id, at_ms, by, key, old or '', record}}))
  redis.call('LTRIM', KEYS[2], 0, {KEPT_CHANGES - 1})
end
redis.call('PUBLISH', channel, key)
"""
"""Stores a record, or removes it if the new one is empty, and adds the change to the history, atomically."""

_HISTORY = """
local changes, before, limit = {}, tonumber(ARGV[1]), tonumber(ARGV[2])
for _, packed in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if #changes >= limit then break end
  local change = cmsgpack.unpack(packed)
  if before < 0 or change[1] < before then table.insert(changes, change) end
end
return changes
"""


class _Record(msgspec.Struct):
    """The value of a key in the hash, as JSON."""

    value: str
    changed_at_ms: int


class RedisConfigurationStore:
    """A `ConfigurationStore`. Made by `open_redis_configuration`."""

    def __init__(self, client: RedisClient, key: str, clock_ms: Callable[[], int]) -> None:
        self._client = client
        self._key = key
        self._channel = f"{key}:changes"
        self._keys = [key, f"{key}:history", f"{key}:history:number"]
        self._clock_ms = clock_ms

    async def load(self) -> Mapping[str, StoredValue]:
        flat: list[str] = await self._client.call("HGETALL", self._key)
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return {key: _stored(key, text) for key, text in sorted(pairs)}

    async def set(self, key: str, value: str, *, by: str = "") -> None:
        at_ms = self._clock_ms()
        await self._change(key, msgspec.json.encode(_Record(value, at_ms)), by, at_ms)

    async def unset(self, key: str, *, by: str = "") -> None:
        await self._change(key, b"", by, self._clock_ms())

    async def history(self, *, limit: int, before: int | None = None) -> Sequence[Change]:
        rows = await self._client.evaluate(_HISTORY, [self._keys[1]], -1 if before is None else before, limit)
        return [
            Change(change_id, int(at_ms), by, key, _value(key, old), _value(key, new))
            for change_id, at_ms, by, key, old, new in rows
        ]

    async def _change(self, key: str, record: bytes, by: str, at_ms: int) -> None:
        await self._client.evaluate(_CHANGE, self._keys, self._channel, key, record, by, at_ms)

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[None]]:
        """As in the protocol; it also yields after each new connection, since a notification may have been missed."""
        return self._client.subscribe(self._channel)


def _value(key: str, text: str) -> str | None:
    """Return the value in a record of the history; None for an empty one."""
    return _stored(key, text).value if text else None


def _stored(key: str, text: str) -> StoredValue:
    """Decode a record. Text that is no record, such as a person may have written, counts as the value itself; it is
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
    """Open the configuration under the prefix, which must be that of the client's settings. It sends no command."""
    yield RedisConfigurationStore(client, f"{prefix}configuration", clock_ms)

"""The directory in Redis: gateways refresh their claims at intervals, and every process keeps a copy of all entries.

A hash has an entry for each partition, which expires unless its gateway refreshes it. While Redis is unavailable, the
copies stay in force; when Redis is back, even empty, the gateways write their entries again at once.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

import msgspec
import structlog
import trio

from shared.background import open_background
from shared.contract.errors import Unavailable
from shared.coordination.ownership import Changes, GatewayAddress, OwnershipClaim, OwnershipClaims
from shared.drivers.redis import RedisClient

ENTRY_SECONDS = 30.0
"""Life of an entry that is not refreshed: after it, a dead gateway's partitions have no owner unless one took over."""

PUSH_SECONDS = 5.0
"""Interval at which a gateway refreshes its entries."""

READ_SECONDS = 5.0
"""Interval at which all entries are read again, in case a notification was missed."""

RETRY_SECONDS = 0.5
"""Pause between two attempts while Redis is unavailable."""

KEEP_MISSING_SECONDS = 5.0
"""How long a missing entry stays in force after an outage, so that its gateway has time to write it again."""

REMOVE_SECONDS = 0.4
"""Deadline for removing this process's entries when it stops."""

_PUSH = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local channel, websocket, grpc, internal = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local epoch, life = tonumber(ARGV[5]), tonumber(ARGV[6])
local mine = cjson.encode({
  websocket = websocket, grpc = grpc, internal = internal, epoch = epoch, ['until'] = now + life,
})
local owned = {}
for i = 7, #ARGV do owned[ARGV[i]] = true end
local changed = false
local stored = redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
  local partition = stored[i]
  local readable, entry = pcall(cjson.decode, stored[i + 1])
  if readable and type(entry) == 'table' and tonumber(entry.epoch) and tonumber(entry['until']) then
    local is_mine = entry.websocket == websocket and entry.grpc == grpc
    local is_over = tonumber(entry['until']) <= now
    if not owned[partition] then
      if is_mine then redis.call('HDEL', KEYS[1], partition) changed = true end
    elseif is_mine then
      redis.call('HSET', KEYS[1], partition, mine)
      changed = changed or is_over or tonumber(entry.epoch) ~= epoch or entry.internal ~= internal
      owned[partition] = nil
    elseif not is_over and tonumber(entry.epoch) > epoch then
      owned[partition] = nil
    end
  end
end
for partition in pairs(owned) do redis.call('HSET', KEYS[1], partition, mine) changed = true end
if changed then redis.call('PUBLISH', channel, websocket) end
"""

_READ = """
local time = redis.call('TIME')
return {time[1] * 1000 + math.floor(time[2] / 1000), redis.call('HGETALL', KEYS[1])}
"""

_log = structlog.get_logger(__name__)


class _Entry(msgspec.Struct, frozen=True):
    """The value of a partition in the hash, as JSON; `until` is in milliseconds since 1970 by the clock of Redis."""

    websocket: str
    grpc: str
    epoch: int
    until: float
    internal: str = ""
    """Absent in entries of a former release."""

    @property
    def address(self) -> GatewayAddress:
        return GatewayAddress(self.websocket, self.grpc, self.internal)


class RedisDirectory:
    """A `Directory`. Made by `open_redis_directory`."""

    def __init__(self, client: RedisClient, key: str) -> None:
        self._client = client
        self._key = key
        self._channel = f"{key}:changes"
        self._entries: Mapping[int, _Entry] = {}
        self._claims = OwnershipClaims()
        self._changes = Changes()
        self._to_push = trio.Event()
        self._missing: Mapping[int, _Entry] = {}
        self._missing_until = 0.0
        self._unreadable: frozenset[str] = frozenset()

    def owner(self, partition: int) -> GatewayAddress | None:
        """Return the owner by the newest copy of Redis's entries and by the claims of this process's own gateways."""
        entry, claim = self._entries.get(partition), self._claims.of(partition)
        if entry is not None and self._claims.has(entry.address):
            entry = None  # the claim of a gateway of this process is newer than its entry
        if entry is not None and (claim is None or entry.epoch > claim.epoch):
            return entry.address
        return None if claim is None else claim.address

    async def changed(self) -> None:
        await self._changes.wait()

    def publish(self, address: GatewayAddress, owned: Collection[int], epoch: int) -> None:
        self._claims.put(OwnershipClaim(address, frozenset(owned), epoch))
        self._changes.wake()
        self._to_push.set()

    async def _push_changes(self) -> None:
        """Write the claims when one changes, and every PUSH_SECONDS."""
        while True:
            self._to_push = trio.Event()
            delay = PUSH_SECONDS
            try:
                await self._push()
            except Unavailable:  # logged by the client
                delay = RETRY_SECONDS
            with trio.move_on_after(delay):
                await self._to_push.wait()

    async def _push(self) -> None:
        """Raises Unavailable."""
        for claim in self._claims.all():
            address = claim.address
            addresses = (address.websocket, address.grpc, address.internal)
            arguments = (self._channel, *addresses, claim.epoch, int(ENTRY_SECONDS * 1000))
            await self._client.evaluate(_PUSH, [self._key], *arguments, *claim.owned)
            if not claim.owned:
                self._claims.forget(claim)
                self._entries = _without(self._entries, address)
                self._missing = _without(self._missing, address)

    async def _read_changes(self) -> None:
        """Read all entries at each notification, and every READ_SECONDS."""
        connections = self._client.connections
        async with self._client.subscribe(self._channel) as notifications:
            while True:
                delay = READ_SECONDS
                try:
                    await self._read()
                except Unavailable:  # logged by the client
                    self._keep_missing()
                    delay = RETRY_SECONDS
                with trio.move_on_after(delay):
                    await anext(notifications)
                if self._client.connections != connections:
                    if connections:  # the first connection follows no outage
                        self._keep_missing()
                    connections = self._client.connections
                    self._to_push.set()

    def _keep_missing(self) -> None:
        """Keep the known entries in force for KEEP_MISSING_SECONDS: after an outage Redis may have lost its data, or
        have expired entries, until the gateways write theirs again."""
        self._missing = self._entries
        self._missing_until = trio.current_time() + KEEP_MISSING_SECONDS

    async def _read(self) -> None:
        """Raises Unavailable."""
        now_ms, flat = await self._client.evaluate(_READ, [self._key])
        entries = self._decode(dict(zip(flat[::2], flat[1::2], strict=True)))
        valid = {partition: entry for partition, entry in entries.items() if entry.until > now_ms}
        is_over = trio.current_time() >= self._missing_until
        self._missing = {} if is_over else {part: entry for part, entry in self._missing.items() if part not in valid}
        self._entries = {**self._missing, **valid}
        self._changes.wake()

    def _decode(self, texts: Mapping[str, str]) -> dict[int, _Entry]:
        entries: dict[int, _Entry] = {}
        unreadable = set()
        for partition, text in texts.items():
            try:
                entries[int(partition)] = msgspec.json.decode(text, type=_Entry)
            except (msgspec.MsgspecError, ValueError):
                unreadable.add(partition)
        if not unreadable <= self._unreadable:
            _log.error("directory_entries_unreadable", key=self._key, partitions=sorted(unreadable))
        self._unreadable = frozenset(unreadable)
        return entries

    async def _remove_entries(self) -> None:
        """Remove this process's entries if Redis is available, so that no client is sent to a stopped gateway."""
        for claim in self._claims.all():
            self._claims.put(OwnershipClaim(claim.address, frozenset(), claim.epoch))
        if self._client.is_unavailable or not self._claims.all():
            return
        with trio.move_on_after(REMOVE_SECONDS, shield=True):
            try:
                await self._push()
            except Unavailable:
                _log.info("directory_entries_left", seconds=ENTRY_SECONDS)


def _without(entries: Mapping[int, _Entry], address: GatewayAddress) -> Mapping[int, _Entry]:
    return {part: entry for part, entry in entries.items() if entry.address != address}


@asynccontextmanager
async def open_redis_directory(client: RedisClient, prefix: str) -> AsyncIterator[RedisDirectory]:
    """Open the directory under the prefix, which must be that of the client's settings, and keep it up to date.

    It opens at once. If Redis is unavailable, no partition has an owner until Redis is back.
    """
    directory = RedisDirectory(client, f"{prefix}owners")
    try:
        async with open_background() as nursery:
            nursery.start_soon(directory._push_changes)
            nursery.start_soon(directory._read_changes)
            yield directory
    finally:
        await directory._remove_entries()

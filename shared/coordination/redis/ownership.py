"""The directory in Redis: each gateway says again and again what it has, and every process keeps a copy of it all.

A hash has an entry for each partition, which ends by itself unless its gateway says it again. While Redis is away, what
is known stays in force; when it is back, even empty, the gateways put their entries there again at once.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

import msgspec
import structlog
import trio

from shared.background import open_background
from shared.contract.errors import Unavailable
from shared.coordination.ownership import Claim, Claims, GatewayAddress
from shared.drivers.redis import RedisClient

ENTRY_SECONDS = 30.0
"""Life of an entry that is not said again: when the entries of a dead gateway are gone, if nobody took over."""

PUSH_SECONDS = 5.0
"""Between two times that a gateway says what it has."""

READ_SECONDS = 5.0
"""Between two readings, in case a notice was missed."""

RETRY_SECONDS = 0.5
"""Between two attempts while Redis is away."""

KEEP_SECONDS = 5.0
"""After an outage, for how long an entry that is not there is believed all the same: its gateway is about to return."""

GOODBYE_SECONDS = 0.4
"""For taking this process's entries out when it stops."""

_PUSH = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local channel, websocket, grpc, epoch, life = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local mine = cjson.encode({websocket = websocket, grpc = grpc, epoch = epoch, ['until'] = now + life})
local owned = {}
for i = 6, #ARGV do owned[ARGV[i]] = true end
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
      changed = changed or is_over or tonumber(entry.epoch) ~= epoch
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
    """What the hash has for a partition, as JSON; `until` in milliseconds since 1970, of Redis's own clock."""

    websocket: str
    grpc: str
    epoch: int
    until: float

    @property
    def address(self) -> GatewayAddress:
        return GatewayAddress(self.websocket, self.grpc)


class RedisDirectory:
    """A `Directory`. Made by `open_redis_directory`."""

    def __init__(self, client: RedisClient, key: str) -> None:
        self._client = client
        self._key = key
        self._channel = f"{key}:changes"
        self._known: Mapping[int, _Entry] = {}
        self._claims = Claims()
        self._to_push = trio.Event()
        self._missing: Mapping[int, _Entry] = {}
        self._missing_until = 0.0
        self._unreadable: frozenset[str] = frozenset()

    def owner(self, partition: int) -> GatewayAddress | None:
        """What Redis said last, and what gateways of this process say now, whether Redis has heard of it or not."""
        known, claim = self._known.get(partition), self._claims.of(partition)
        if known is not None and self._claims.has(known.address):
            known = None  # its gateway is one of ours, and may say otherwise by now
        if known is not None and (claim is None or known.epoch > claim.epoch):
            return known.address
        return None if claim is None else claim.address

    def publish(self, address: GatewayAddress, owned: Collection[int], epoch: int) -> None:
        self._claims.put(Claim(address, frozenset(owned), epoch))
        self._to_push.set()

    async def _keep_pushing(self) -> None:
        """Say what is claimed, at once when it changes, and else now and then."""
        while True:
            self._to_push = trio.Event()
            delay = PUSH_SECONDS
            try:
                await self._push()
            except Unavailable:  # the client logs it
                delay = RETRY_SECONDS
            with trio.move_on_after(delay):
                await self._to_push.wait()

    async def _push(self) -> None:
        """Raises Unavailable."""
        for claim in self._claims.all():
            address = claim.address
            words = (self._channel, address.websocket, address.grpc, claim.epoch, int(ENTRY_SECONDS * 1000))
            await self._client.evaluate(_PUSH, [self._key], *words, *claim.owned)
            if not claim.owned:
                self._claims.forget(claim)
                self._known = _without(self._known, address)
                self._missing = _without(self._missing, address)

    async def _keep_reading(self) -> None:
        """Read all entries at each notice, and else now and then."""
        connections = self._client.connections
        async with self._client.subscribe(self._channel) as notices:
            while True:
                delay = READ_SECONDS
                try:
                    await self._read()
                except Unavailable:  # the client logs it
                    self._expect_gaps()
                    delay = RETRY_SECONDS
                with trio.move_on_after(delay):
                    await anext(notices)
                if self._client.connections != connections:
                    if connections:  # the first is no outage
                        self._expect_gaps()
                    connections = self._client.connections
                    self._to_push.set()

    def _expect_gaps(self) -> None:
        """Redis was away, and may be back without its data, or with entries that are over: until its gateway has said
        an entry again, or has had the time to, the one known stays in force."""
        self._missing = self._known
        self._missing_until = trio.current_time() + KEEP_SECONDS

    async def _read(self) -> None:
        """Raises Unavailable."""
        now_ms, flat = await self._client.evaluate(_READ, [self._key])
        entries = self._decoded(dict(zip(flat[::2], flat[1::2], strict=True)))
        valid = {partition: entry for partition, entry in entries.items() if entry.until > now_ms}
        over = trio.current_time() >= self._missing_until
        self._missing = {} if over else {part: entry for part, entry in self._missing.items() if part not in valid}
        self._known = {**self._missing, **valid}

    def _decoded(self, texts: Mapping[str, str]) -> dict[int, _Entry]:
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

    async def _say_goodbye(self) -> None:
        """Take this process's entries out, if Redis is there: nobody should be sent to a gateway that has stopped."""
        for claim in self._claims.all():
            self._claims.put(Claim(claim.address, frozenset(), claim.epoch))
        if self._client.is_away or not self._claims.all():
            return
        with trio.move_on_after(GOODBYE_SECONDS, shield=True):
            try:
                await self._push()
            except Unavailable:
                _log.info("directory_entries_left", seconds=ENTRY_SECONDS)


def _without(entries: Mapping[int, _Entry], address: GatewayAddress) -> Mapping[int, _Entry]:
    return {part: entry for part, entry in entries.items() if entry.address != address}


@asynccontextmanager
async def open_redis_directory(client: RedisClient, prefix: str) -> AsyncIterator[RedisDirectory]:
    """The directory under the prefix, which is that of the client's settings, followed while the block is open.

    It opens at once, also while Redis is away: nothing is known then until it is back.
    """
    directory = RedisDirectory(client, f"{prefix}owners")
    try:
        async with open_background() as nursery:
            nursery.start_soon(directory._keep_pushing)
            nursery.start_soon(directory._keep_reading)
            yield directory
    finally:
        await directory._say_goodbye()

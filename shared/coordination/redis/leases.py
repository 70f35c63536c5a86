"""Leases of generator numbers: what lets many processes make snowflakes, and no id twice.

Time is cut into slots of a quarter of a second, counted since 1970 by Redis's clock. A slot gives one lease: its number
is the slot's, modulo the 1,022 numbers there are. So who holds a lease for 120 s of his own clock, counted from before
he asked, is alone with it: the next of the same number comes 245 s after at the earliest. Nobody needs to say that he
still holds one, nobody can take one away, and none is given back. Each minute a process takes a new one, while the old
one is still good for another: an outage of Redis of a minute stops nothing, and a longer one stops ids, as
`SnowflakeGenerator` says, until there is a new lease.

What Redis has to remember is only which slot it gave last. If it forgets that, or another server takes its place
(after a restart without persistence, or a failover to a replica that lags), slots that may have been given are those
up to now. So after either the first lease is of a slot `SETTLE_MS` later than now, and is given when its time has come.
Those who hold a lease go on meanwhile.

What this relies on, and by how much:

- Clocks run at the same rate: a holder's may be slow by half, since 120 s must be over before 245 s.
- Redis's clock: a step forward brings the next lease of a number nearer, and may have 120 s. A step back is waited out,
  for AHEAD_MS at most: by then whatever was given before has ended.
- Servers that stand in for one another agree on the time within `SETTLE_MS`; and there is one at a time: of two that
  both believe to be the primary, each would give the same slots.
- An id has its process's wall clock in it, not Redis's: two that had a number one after the other are apart by 120 s,
  so that their clocks may differ by that, a process that starts again after its clock was set back included.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
import trio

from shared.background import open_background
from shared.contract.errors import Unavailable
from shared.contract.ids import SnowflakeGenerator
from shared.drivers.redis import RedisClient

LOWEST = 1
NUMBERS = 1022
"""1 to 1022: 0 is the embedded platform's, 1023 that of commands."""

SLOT_MS = 250
"""Four leases a second. At one a minute for each process, that is enough for 240 processes."""

BACKLOG_SLOTS = 40
"""The ten seconds of slots that are kept if nobody wants them, so that many processes can start at once."""

HOLD_SECONDS = 120.0
"""For how long a lease is good."""

RENEW_SECONDS = 60.0
"""When the next is taken, at the age of the last: what is left of it bridges an outage."""

SETTLE_MS = 2_000
"""By how much the clocks of servers may differ that stand in for one another; NTP keeps them within milliseconds."""

AHEAD_MS = 240_000
"""The furthest that the next slot is ever ahead: when it has come, all leases that were given have ended, even if the
clock was set 120 s forward meanwhile."""

RETRY_SECONDS = 1.0
"""Between two attempts while Redis is away; also how often to look at the clock, which runs while a machine sleeps."""

START_SECONDS = 5.0
"""How long to wait for the first lease, if Redis is there, before a process goes on without."""

PRELUDE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local about = redis.pcall('INFO', 'server')
local server = type(about) == 'string' and about:match('run_id:(%x+)') or 'unknown'
"""
"""What the rule needs to know. A server whose INFO is forbidden to us is told by its data alone."""

RULE = f"""
local slot = math.floor(now / {SLOT_MS})
local stored = redis.call('HMGET', KEYS[1], 'server', 'next')
local next = tonumber(stored[2]) or 0
if stored[1] ~= server or not stored[2] then
  next = math.max(next, slot + {SETTLE_MS // SLOT_MS} + 1)
end
next = math.min(math.max(next, slot - {BACKLOG_SLOTS}), slot + {AHEAD_MS // SLOT_MS})
local given = next <= slot
redis.call('HSET', KEYS[1], 'server', server, 'next', given and next + 1 or next)
if given then return {{next % {NUMBERS} + {LOWEST}, 0}} end
return {{0, next * {SLOT_MS} - now}}
"""
"""Gives {{number, 0}}, or {{0, milliseconds to wait}}. Done as one step."""

_log = structlog.get_logger(__name__)

Take = Callable[[], Awaitable[tuple[int, int]]]
"""Asks for a lease: its number and 0, or 0 and for how many milliseconds to wait. Raises Unavailable."""


def elapsed() -> float:
    """Seconds of a clock that never steps, and that counts the time for which the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Lease:
    """The generator number of this process, as it changes. `ids` is what makes ids of it: there is no other, since two
    with the same number would make the same ids."""

    def __init__(self, take: Take, clock: Callable[[], float] = elapsed) -> None:
        self._take = take
        self._clock = clock
        self._taken_at = -float("inf")
        self._number = 0
        self._held = trio.Event()
        self._was_held = False
        self._obstacle = ""
        self.tried = trio.Event()
        """Set once there was a first lease, or Redis was found away."""
        self.ids = SnowflakeGenerator(LOWEST, is_held=self.is_held)  # of no use before the first lease

    @property
    def number(self) -> int:
        """The number, 0 before the first lease. It is good while it is held."""
        return self._number

    def is_held(self) -> bool:
        return self._clock() < self._taken_at + HOLD_SECONDS

    async def wait(self) -> None:
        """Wait until it is held."""
        while not self.is_held():
            await self._held.wait()

    async def keep(self) -> None:
        """Take leases, each in time before the last ends, until cancelled."""
        while True:
            is_due = self._clock() >= self._taken_at + RENEW_SECONDS
            delay = await self._renew() if is_due else RETRY_SECONDS
            if self._was_held and not self.is_held():
                self._was_held = False
                _log.error("generator_not_held", reason=self._obstacle)
            await trio.sleep(min(delay, RETRY_SECONDS))

    async def _renew(self) -> float:
        """Ask for a lease; how many seconds to wait until the next look."""
        asked_at = self._clock()
        try:
            number, wait_ms = await self._take()
        except Unavailable as error:  # the client logs it
            self._obstacle = str(error)
            self.tried.set()
            return RETRY_SECONDS
        if not number:
            self._obstacle = f"the next lease comes in {wait_ms} ms: others took those until then, or a clock was set"
            return wait_ms / 1000
        self._taken_at, self._number = asked_at, number
        self.ids.renumber(number)
        if not self._was_held:
            self._was_held = True
            _log.info("generator_held", number=number)
        self._held.set()
        self._held = trio.Event()
        self.tried.set()
        return RETRY_SECONDS


@asynccontextmanager
async def open_generator_lease(client: RedisClient, prefix: str) -> AsyncIterator[Lease]:
    """Hold a generator number for as long as the block is open, or be about to."""

    async def take() -> tuple[int, int]:
        number, wait_ms = await client.evaluate(PRELUDE + RULE, [f"{prefix}generators"])
        return number, wait_ms

    lease = Lease(take)
    async with open_background() as nursery:
        nursery.start_soon(lease.keep)
        yield lease


@asynccontextmanager
async def open_generator(client: RedisClient, prefix: str) -> AsyncIterator[SnowflakeGenerator]:
    """What makes this process's ids. On a Redis that has just started it takes some two seconds to open; if Redis is
    away it opens all the same, and gives no ids until Redis is back."""
    async with open_generator_lease(client, prefix) as lease:
        with trio.move_on_after(START_SECONDS):
            await lease.tried.wait()
        yield lease.ids

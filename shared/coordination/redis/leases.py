"""Leases of generator numbers, which let many processes generate snowflake ids without a duplicate.

Time is divided into slots of a quarter of a second, counted since 1970 by the clock of Redis. Each slot grants one
lease, whose number is the slot's, modulo the 1,022 numbers. The next lease with the same number follows 245 s later at
the earliest, so a process that holds a lease for 120 s of its own clock, counted from before the request, is its only
holder. Leases are not renewed, revoked or returned. Each minute a process takes a new lease while the old one is valid
for another minute: an outage of Redis of a minute has no effect, and a longer one stops the generator, as
`SnowflakeGenerator` describes, until there is a new lease.

Redis stores only the last slot that it granted. If it loses that, or another server replaces it (a restart without
persistence, or a failover to a lagging replica), any slot up to now may have been granted. So the first lease after
that is of a slot `SETTLE_MS` later than now, and is granted at that slot's time. Existing leases stay valid meanwhile.

Assumptions, with their margins:

- Clocks run at the same rate: a holder's may be slow by half, since 120 s must be over before 245 s.
- The clock of Redis may step forward by 120 s, which brings the next lease of a number nearer. A step back is waited
  out, for AHEAD_MS at most: by then every earlier lease has ended.
- Servers that replace one another agree on the time within `SETTLE_MS`, and only one is primary at a time: two would
  grant the same slots.
- An id contains the wall clock of its process, not that of Redis, or a time up to 60 s (`MAX_AHEAD_MS`) ahead of the
  latest that it has shown.
  Two successive holders of a number are 125 s apart, so their clocks may differ by 60 s, also for a process that
  restarts after its clock was set back.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
import trio

from shared.background import open_background
from shared.clock import elapsed
from shared.contract.errors import Unavailable
from shared.contract.ids import SnowflakeGenerator
from shared.drivers.redis import RedisClient

LOWEST = 1
NUMBERS = 1022
"""1 to 1022: 0 is for the embedded platform, 1023 for commands."""

SLOT_MS = 250
"""Four leases a second. At one a minute for each process, that is enough for 240 processes."""

BACKLOG_SLOTS = 40
"""Unused slots that stay available, ten seconds of them, so that many processes can start at once."""

HOLD_SECONDS = 120.0
"""Life of a lease."""

RENEW_SECONDS = 60.0
"""Age of a lease at which the next one is taken: the rest of its life bridges an outage."""

SETTLE_MS = 2_000
"""Largest difference of the clocks of servers that replace one another; NTP keeps it within milliseconds."""

AHEAD_MS = 240_000
"""Furthest that the next slot is ever ahead: at its time all granted leases have ended, even if the clock was set 120 s
forward meanwhile."""

RETRY_SECONDS = 1.0
"""Pause between two attempts while Redis is unavailable; also the longest sleep between two checks of the clock, since
Trio's clock stops while the machine is suspended and ours does not."""

START_SECONDS = 5.0
"""How long `Lease.wait_first` waits for Redis, and for the slot of the first lease."""

PRELUDE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local about = redis.pcall('INFO', 'server')
local server = type(about) == 'string' and about:match('run_id:(%x+)') or 'unknown'
"""
"""Sets `now` and `server` for the rule. A server whose INFO is forbidden to us is identified by its data alone."""

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
"""Returns {{number, 0}}, or {{0, milliseconds to wait}}. It is atomic."""

_log = structlog.get_logger(__name__)

Take = Callable[[], Awaitable[tuple[int, int]]]
"""Requests a lease: returns its number and 0, or 0 and the milliseconds to wait. Raises Unavailable."""


class Lease:
    """The generator number of this process, as it changes. `ids` is its only generator, since two with the same number
    would generate the same ids."""

    def __init__(self, take: Take, clock: Callable[[], float] = elapsed) -> None:
        self._take = take
        self._clock = clock
        self._taken_at = -float("inf")
        self._number = 0
        self._was_held = False
        self._obstacle = ""
        self.tried = trio.Event()
        """Set after the first lease, or the first failed request."""
        self.ids = SnowflakeGenerator(LOWEST, is_held=self.is_held)  # generates nothing before the first lease

    @property
    def number(self) -> int:
        """The number, 0 before the first lease. It is valid while the lease is held."""
        return self._number

    def is_held(self) -> bool:
        return self._clock() < self._taken_at + HOLD_SECONDS

    async def wait_first(self) -> None:
        """Wait for the first lease: on a Redis that has just started this takes some two seconds. Raises Unavailable,
        whose text is the obstacle, after the first failed request or after START_SECONDS."""
        with trio.move_on_after(START_SECONDS):
            await self.tried.wait()
        if not self.is_held():
            raise Unavailable(self._obstacle or f"no generator number was leased within {START_SECONDS:g} s")

    async def keep(self) -> None:
        """Take a new lease before the current one ends, until cancelled."""
        while True:
            is_due = self._clock() >= self._taken_at + RENEW_SECONDS
            delay = await self._renew() if is_due else RETRY_SECONDS
            if self._was_held and not self.is_held():
                self._was_held = False
                _log.error("generator_not_held", reason=self._obstacle)
            await trio.sleep(min(delay, RETRY_SECONDS))

    async def _renew(self) -> float:
        """Request a lease, and return the seconds to wait before the next check."""
        requested_at = self._clock()
        try:
            number, wait_ms = await self._take()
        except Unavailable as error:  # logged by the client
            self._obstacle = str(error)
            self.tried.set()
            return RETRY_SECONDS
        if not number:
            self._obstacle = f"the next lease is free in {wait_ms} ms: earlier ones are taken, or a clock was set"
            return wait_ms / 1000
        self._taken_at, self._number = requested_at, number
        self.ids.renumber(number)
        if not self._was_held:
            self._was_held = True
            _log.info("generator_held", number=number)
        self.tried.set()
        return RETRY_SECONDS


@asynccontextmanager
async def open_generator_lease(client: RedisClient, prefix: str) -> AsyncIterator[Lease]:
    """Take one lease after the other while the block is open. It opens at once: while Redis is unavailable, there is no
    first lease."""

    async def take() -> tuple[int, int]:
        number, wait_ms = await client.evaluate(PRELUDE + RULE, [f"{prefix}generators"])
        return number, wait_ms

    lease = Lease(take)
    async with open_background() as nursery:
        nursery.start_soon(lease.keep)
        yield lease

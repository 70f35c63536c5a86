"""Snowflakes: ids that are unique over all generators, ascend, and contain their time.

41 bits of milliseconds since EPOCH_MS (until the year 2095), 10 of generator, 12 of sequence.
"""

import time
from collections.abc import Callable

import trio

from shared.contract.errors import Unavailable

EPOCH_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z, in milliseconds since 1970."""

GENERATORS = 1 << 10
SEQUENCES = 1 << 12

MAX_AHEAD_MS = 60_000
"""How far ids may run ahead of the clock to be above others: ids that are further ahead have a wrong clock's time."""

MAX_AGE_MS = 10_000
"""An event is late if its id is older than this when the log stores it: a retry keeps the id of its first sending, and
the clocks of gateways and brokers differ. Archives keep rows of their own for late events, so that a client that has
read further finds them. Gateways publish no control change of a group whose id is older."""

MAX_ID = 2**63 - 1


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def time_of(snowflake: int) -> int:
    """The time of the id, in milliseconds since 1970."""
    return (snowflake >> 22) + EPOCH_MS


def first_id_at(at_ms: int) -> int:
    """The lowest id of this time (milliseconds since 1970), within 0 to MAX_ID."""
    return min(max(at_ms - EPOCH_MS, 0) << 22, MAX_ID)


class SnowflakeGenerator:
    """Generates ascending ids. Each process has its own generator number, which it leases: while `is_held` is false, no
    id is generated. It is a hybrid clock: the next id is above every id that was followed.

    If the clock steps back, ids continue from the last id's time. `next` waits for the clock only where ids would be
    more than MAX_AHEAD_MS ahead of the latest time that the clock has shown.
    """

    def __init__(
        self,
        generator: int,
        clock_ms: Callable[[], int] = wall_clock_ms,
        *,
        is_held: Callable[[], bool] = lambda: True,
    ) -> None:
        if not 0 <= generator < GENERATORS:
            raise ValueError(f"generator must be 0 to {GENERATORS - 1}, not {generator}")
        self._generator = generator
        self._clock_ms = clock_ms
        self._is_held = is_held
        self._last_ms = 0
        self._sequence = 0
        self._newest = 0  # the highest id that was generated or followed
        self._latest_ms = 0  # the latest time that the clock has shown

    @property
    def last_ms(self) -> int:
        """The time of the newest id that was generated or followed, in milliseconds since 1970."""
        return EPOCH_MS + self._last_ms

    def follow(self, snowflake: int) -> bool:
        """Generate only ids above this one of any generator, unless it is MAX_AHEAD_MS or more ahead of the clock: then
        return false."""
        if snowflake > self._newest:
            if snowflake >> 22 >= self._read_clock() + MAX_AHEAD_MS:
                return False
            if snowflake >> 22 >= self._last_ms:
                self._last_ms, self._sequence = (snowflake >> 22) + 1, 0
            self._newest = snowflake
        return True

    def renumber(self, generator: int) -> None:
        """Use another generator number from now on. Ids stay ascending."""
        if not 0 <= generator < GENERATORS:
            raise ValueError(f"generator must be 0 to {GENERATORS - 1}, not {generator}")
        self._generator = generator
        self._last_ms, self._sequence = self._last_ms + 1, 0  # the new number may be the lower one

    def next_nowait(self) -> int | None:
        """The next id; None while the clock must catch up. Raises Unavailable while the number is not held."""
        if not self._is_held():
            raise Unavailable("the lease of this process's generator number has ended")
        now_ms = self._read_clock()
        if now_ms > self._last_ms:
            self._last_ms, self._sequence = now_ms, 0
        elif self._sequence == SEQUENCES:
            if self._last_ms >= self._latest_ms + MAX_AHEAD_MS:
                return None
            self._last_ms, self._sequence = self._last_ms + 1, 0
        self._newest = snowflake = self._last_ms << 22 | self._generator << 12 | self._sequence
        self._sequence += 1
        return snowflake

    def _read_clock(self) -> int:
        """Milliseconds since EPOCH_MS."""
        now_ms = self._clock_ms() - EPOCH_MS
        self._latest_ms = max(self._latest_ms, now_ms)
        return now_ms

    async def next(self) -> int:
        """Return the next id, once the clock allows one. Raises Unavailable while the number is not held."""
        while (snowflake := self.next_nowait()) is None:  # noqa: ASYNC110 - it waits for the wall clock
            await trio.sleep(0.001)
        return snowflake

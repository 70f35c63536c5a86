"""Snowflakes: ids that are unique over all generators, that rise, and that carry the time.

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
MAX_ID = 2**63 - 1


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def time_of(snowflake: int) -> int:
    """When the id was made, in milliseconds since 1970."""
    return (snowflake >> 22) + EPOCH_MS


def first_id_at(at_ms: int) -> int:
    """The lowest id that can be made at the moment (milliseconds since 1970), within 0 to MAX_ID."""
    return min(max(at_ms - EPOCH_MS, 0) << 22, MAX_ID)


class SnowflakeGenerator:
    """Makes ids that rise. One for each generator number and process: the number is leased, and `is_held` says whether
    it still is. While it is not, no id is made.

    A clock that steps back is waited out: until it is past the last id's time, ids go on from there while its
    sequence lasts, then wait.
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

    def start_above(self, snowflake: int) -> None:
        """Make only ids above this one, which another generator made."""
        if snowflake >> 22 >= self._last_ms:
            self._last_ms, self._sequence = (snowflake >> 22) + 1, 0

    def renumber(self, generator: int) -> None:
        """Use another generator number from now on. Ids go on rising."""
        if not 0 <= generator < GENERATORS:
            raise ValueError(f"generator must be 0 to {GENERATORS - 1}, not {generator}")
        self._generator = generator
        self._last_ms, self._sequence = self._last_ms + 1, 0  # the new number may be the lower one

    def next_nowait(self) -> int | None:
        """The next id; None while the clock has to catch up first. Raises Unavailable while the number is not held."""
        if not self._is_held():
            raise Unavailable("the lease of this process's generator number has ended")
        now_ms = self._clock_ms() - EPOCH_MS
        if now_ms > self._last_ms:
            self._last_ms, self._sequence = now_ms, 0
        elif self._sequence == SEQUENCES:
            return None
        snowflake = self._last_ms << 22 | self._generator << 12 | self._sequence
        self._sequence += 1
        return snowflake

    async def next(self) -> int:
        """The next id, when the clock allows one. Raises Unavailable while the generator number is not held."""
        while (snowflake := self.next_nowait()) is None:  # noqa: ASYNC110 - the wall clock is what is waited for
            await trio.sleep(0.001)
        return snowflake

"""Rate limits by key, in bounded memory. Sans-I/O: callers pass the time."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from shared.contract.errors import Code, Refusal

PERIOD = 60.0
"""Seconds over which a rate is counted, if not stated otherwise. All takes of a period may happen at once."""

HOUR = 60 * PERIOD
DAY = 24 * HOUR

MAX_KEYS = 50_000
"""Keys remembered at once, about 10 MB; beyond that the one that was idle longest is dropped."""


class Throttle:
    """Takes per period for each key: a leaky bucket, stored as the time at which it is empty. Times are in seconds."""

    def __init__(self, max_keys: int = MAX_KEYS, period: float = PERIOD) -> None:
        self._max_keys = max_keys
        self._period = period
        self._empty_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """The number of keys in memory."""
        return len(self._empty_at)

    def take(self, key: str, limit: int, now: float) -> float:
        """Count one take and return 0.0; above the rate count nothing and return the seconds to wait."""
        self._drop_idle(now)
        if wait := self.wait(key, limit, now):
            return wait
        self._empty_at[key] = max(self._empty_at.get(key, now), now) + self._period / limit
        self._empty_at.move_to_end(key)
        return 0.0

    def wait(self, key: str, limit: int, now: float) -> float:
        """Count nothing, and return the seconds to wait for a take; 0.0 for none."""
        excess = max(self._empty_at.get(key, now) - now, 0.0) + self._period / limit - self._period
        return excess if excess > 1e-6 else 0.0  # a rounding error of the additions

    def begin(self, key: str, limit: int, now: float) -> "Attempt | float":
        """Count an attempt that may be forgiven; above the rate count nothing and return the seconds to wait."""
        return take_all([Take(self, key, limit)], now)

    def undo(self, key: str, limit: int) -> None:
        """Undo one take of the key."""
        if key in self._empty_at:
            self._empty_at[key] -= self._period / limit

    def _drop_idle(self, now: float) -> None:
        """Drop the keys whose buckets are empty, and the oldest one if there are still too many."""
        while self._empty_at:
            key, empty_at = next(iter(self._empty_at.items()))
            if empty_at > now and len(self._empty_at) < self._max_keys:
                return
            del self._empty_at[key]


class Attempt:
    """An act that is under way. It counts until it is forgiven."""

    def __init__(self, takes: "Sequence[Take]") -> None:
        self._takes = takes

    def forgive(self) -> None:
        """Take it back: it failed without a fault of the client, or is none of the acts that are limited."""
        for throttle, key, limit in self._takes:
            throttle.undo(key, limit)


class Take(NamedTuple):
    """A take of a key under a limit."""

    throttle: Throttle
    key: str
    limit: int


def take_all(takes: Sequence[Take], now: float) -> Attempt | float:
    """Count an attempt of several takes; above one of their rates count nothing and return the seconds to wait."""
    for number, (throttle, key, limit) in enumerate(takes):
        if wait := throttle.take(key, limit, now):
            Attempt(takes[:number]).forgive()
            return wait
    return Attempt(takes)


def too_many(takes: str, wait: float) -> Refusal:
    """The refusal of a take for which a client has to wait. `takes` names the takes, such as `watch frames`."""
    seconds = math.ceil(wait)
    return Refusal(
        Code.RATE_LIMITED, f"Too many {takes}: try again in {seconds} seconds.", retry_after_ms=seconds * 1000
    )

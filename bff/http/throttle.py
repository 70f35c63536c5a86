"""Rate limits by key, in bounded memory. Sans-I/O: callers pass the time."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from shared.contract.errors import Code, Refusal

PERIOD = 60.0
"""Seconds over which a rate is counted, if not stated otherwise. All takes of a period may happen at once."""

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
        return _take_all([_Take(self, key, limit)], now)

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


def too_many(takes: str, wait: float) -> Refusal:
    """The refusal of a take for which a client has to wait. `takes` names what there are too many of."""
    seconds = math.ceil(wait)
    return Refusal(
        Code.RATE_LIMITED, f"Too many {takes}: try again in {seconds} seconds.", retry_after_ms=seconds * 1000
    )


ADDRESS_FACTOR = 10
"""Failed sign-ins per address, as a multiple of the limit per address and name: an office shares an address."""

HOUR = 60 * PERIOD

HOURLY_FACTOR = 6
"""Failed sign-ins per name and hour, from unknown devices at all addresses together, as a multiple of the limit per
minute."""


class Attempt:
    """A check of a password that is under way. It counts as failed until it is forgiven."""

    def __init__(self, takes: "Sequence[_Take]") -> None:
        self._takes = takes

    def forgive(self) -> None:
        """Take it back: its password was right, or could not be verified."""
        for throttle, key, limit in self._takes:
            throttle.undo(key, limit)


class _Take(NamedTuple):
    throttle: Throttle
    key: str
    limit: int


class SignInThrottle:
    """Limits failed sign-ins: by address and name together, by address, and more slowly by name.

    An attacker at another address can't use up the first two limits. The third stops guesses from many addresses; a
    known device passes it, with a limit of its own.
    """

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._by_device = Throttle(max_keys)
        self._by_address_and_name = Throttle(max_keys)
        self._by_address = Throttle(max_keys)
        self._by_name = Throttle(max_keys, HOUR)

    def begin(self, name: str, address: str, device_id: str | None, per_minute: int, now: float) -> Attempt | float:
        """Count an attempt; above a limit count nothing and return the seconds to wait.

        `device_id` is that of a verified device token for this name. A device above its limit counts as unknown.
        """
        if device_id is not None:
            known = self._by_device.begin(f"{device_id} {name}", per_minute, now)
            if isinstance(known, Attempt):
                return known
        takes = [
            _Take(self._by_address, address, per_minute * ADDRESS_FACTOR),
            _Take(self._by_address_and_name, f"{address} {name}", per_minute),
            _Take(self._by_name, name, per_minute * HOURLY_FACTOR),
        ]
        return _take_all(takes, now)


def _take_all(takes: Sequence[_Take], now: float) -> Attempt | float:
    for number, (throttle, key, limit) in enumerate(takes):
        if wait := throttle.take(key, limit, now):
            Attempt(takes[:number]).forgive()
            return wait
    return Attempt(takes)

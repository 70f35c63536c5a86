"""Rate limits by key, in bounded memory. Sans-I/O: callers pass the time."""

from collections import OrderedDict

PERIOD = 60.0
"""Seconds over which a rate is counted. All takes of a period may happen at once."""

MAX_KEYS = 50_000
"""Keys remembered at once, about 10 MB; beyond that the one that was idle longest is dropped."""


class Throttle:
    """Takes per minute for each key: a leaky bucket, stored as the time at which it is empty."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._empty_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """The number of keys in memory."""
        return len(self._empty_at)

    def take(self, key: str, per_minute: int, now: float) -> float:
        """Count one take and return 0.0; above the rate count nothing and return the seconds to wait."""
        self._drop_idle(now)
        empty_at = max(self._empty_at.get(key, now), now) + PERIOD / per_minute
        excess = empty_at - now - PERIOD
        if excess > 1e-6:  # a rounding error of the additions
            return excess
        self._empty_at[key] = empty_at
        self._empty_at.move_to_end(key)
        return 0.0

    def undo(self, key: str, per_minute: int) -> None:
        """Undo one take of the key."""
        if key in self._empty_at:
            self._empty_at[key] -= PERIOD / per_minute

    def _drop_idle(self, now: float) -> None:
        """Drop the keys whose buckets are empty, and the oldest one if there are still too many."""
        while self._empty_at:
            key, empty_at = next(iter(self._empty_at.items()))
            if empty_at > now and len(self._empty_at) < self._max_keys:
                return
            del self._empty_at[key]


ADDRESS_FACTOR = 10
"""Failed sign-ins per address, as a multiple of the limit per name: an office shares an address."""


class SignInThrottle:
    """Limits failed sign-ins by name and by address. An attempt counts as failed until it is forgiven."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._by_name = Throttle(max_keys)
        self._by_address = Throttle(max_keys)

    def begin(self, name: str, address: str, per_minute: int, now: float) -> float:
        """Count an attempt and return 0.0; above the rate count nothing and return the seconds to wait."""
        if wait := self._by_address.take(address, per_minute * ADDRESS_FACTOR, now):
            return wait
        if wait := self._by_name.take(name, per_minute, now):
            self._by_address.undo(address, per_minute * ADDRESS_FACTOR)
            return wait
        return 0.0

    def forgive(self, name: str, address: str, per_minute: int) -> None:
        """Take an attempt back: its password was right, or could not be verified."""
        self._by_name.undo(name, per_minute)
        self._by_address.undo(address, per_minute * ADDRESS_FACTOR)

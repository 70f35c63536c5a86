"""Limits on how often something is tried, by key, in bounded memory. Without I/O: callers say what time it is."""

from collections import OrderedDict

PERIOD = 60.0
"""Seconds that a rate is counted over. A whole period's worth may come at once."""

MAX_KEYS = 50_000
"""Keys remembered at once, about 10 MB; beyond that the one that was longest quiet is forgotten."""


class Throttle:
    """So many takes a minute for each key: a bucket that leaks, kept as the time at which it will be empty."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._empty_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._empty_at)

    def take(self, key: str, per_minute: int, now: float) -> float:
        """Count one. 0 if that is within the rate; else nothing is counted, and it is how many seconds to wait."""
        self._forget(now)
        empty_at = max(self._empty_at.get(key, now), now) + PERIOD / per_minute
        excess = empty_at - now - PERIOD
        if excess > 1e-6:  # what adding sixtieths leaves
            return excess
        self._empty_at[key] = empty_at
        self._empty_at.move_to_end(key)
        return 0.0

    def give_back(self, key: str, per_minute: int) -> None:
        """Undo one take of the key."""
        if key in self._empty_at:
            self._empty_at[key] -= PERIOD / per_minute

    def _forget(self, now: float) -> None:
        """Drop the keys whose buckets are empty, and the longest quiet one if there are still too many."""
        while self._empty_at:
            key, empty_at = next(iter(self._empty_at.items()))
            if empty_at > now and len(self._empty_at) < self._max_keys:
                return
            del self._empty_at[key]


ADDRESS_FACTOR = 10
"""Failed sign-ins from one address, as a multiple of those by one name: an office shares an address."""


class SignInThrottle:
    """Limits failed sign-ins by name and by address. An attempt counts as failed until it is forgiven."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._by_name = Throttle(max_keys)
        self._by_address = Throttle(max_keys)

    def begin(self, name: str, address: str, per_minute: int, now: float) -> float:
        """Count an attempt. 0 if it may go on, else in how many seconds one may (nothing counted)."""
        if wait := self._by_address.take(address, per_minute * ADDRESS_FACTOR, now):
            return wait
        if wait := self._by_name.take(name, per_minute, now):
            self._by_address.give_back(address, per_minute * ADDRESS_FACTOR)
            return wait
        return 0.0

    def forgive(self, name: str, address: str, per_minute: int) -> None:
        """The attempt was right, or could not be checked."""
        self._by_name.give_back(name, per_minute)
        self._by_address.give_back(address, per_minute * ADDRESS_FACTOR)

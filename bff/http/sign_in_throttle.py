"""Limits of failed sign-ins, in bounded memory. Sans-I/O: callers pass the time."""

from shared.throttle import HOUR, MAX_KEYS, Attempt, Take, Throttle, take_all

ADDRESS_FACTOR = 10
"""Failed sign-ins per address, as a multiple of the limit per address and name: an office shares an address."""

HOURLY_FACTOR = 6
"""Failed sign-ins per name and hour, from unknown devices at all addresses together, as a multiple of the limit per
minute."""


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
            Take(self._by_address, address, per_minute * ADDRESS_FACTOR),
            Take(self._by_address_and_name, f"{address} {name}", per_minute),
            Take(self._by_name, name, per_minute * HOURLY_FACTOR),
        ]
        return take_all(takes, now)

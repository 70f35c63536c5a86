"""When a client reconnects: soon after a gateway has died, and not all clients at once. No I/O."""

import random

FIRST = 0.5
"""Upper bound of the first random pause, in seconds; each failure doubles the bound, up to the longest."""

LONGEST_SOON = 2.0
"""Upper bound of a pause in seconds while another gateway takes over: that takes some seconds, which a pause must not
double."""

OUTAGE_SHARE = 1 / 4
"""In a longer outage a pause is at most this share of it, and at most `LONGEST`."""

LONGEST = 5.0
"""Upper bound of a pause in a longer outage, in seconds."""

MAX_DOUBLINGS = 10
"""Most doublings of the first bound: more would exceed any longest pause."""


class Backoff:
    """The pauses of one client. Every `now` is in seconds of one clock."""

    def __init__(self, now: float) -> None:
        self._failures = 0
        self._since = now
        self._was_moved = False

    def connected(self) -> None:
        """Count from zero again: a session is live."""
        self._failures = 0
        self._was_moved = False

    def pause(self, now: float, retry_after: float = 0.0, *, moved: bool = False) -> float:
        """Return the seconds to wait after a connection has failed or ended: at least the server's `retry_after`.

        A server that sets one is up, and waits for a gateway itself: that counts as no failure.

        A client that a gateway has `moved` to another one connects without a pause, after failures too, but only the
        first time in a row: two gateways that move a client to each other would keep it, and each other, busy.
        """
        is_first_move, self._was_moved = moved and not self._was_moved, moved
        if retry_after > 0:
            return retry_after + random.uniform(0, FIRST)  # noqa: S311 - not a secret
        if is_first_move:
            return 0.0
        if self._failures == 0:
            self._since = now
        self._failures = min(self._failures + 1, MAX_DOUBLINGS)
        longest = min(max((now - self._since) * OUTAGE_SHARE, LONGEST_SOON), LONGEST)
        return random.uniform(0, min(FIRST * 2 ** (self._failures - 1), longest))  # noqa: S311 - not a secret

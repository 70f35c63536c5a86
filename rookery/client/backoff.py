"""When a client tries again, so that a gateway's death is over soon and its clients do not come all at once. No I/O."""

import random

FIRST = 0.5
"""Seconds: the first pause is random, up to this; each failure doubles it, up to the longest."""

LONGEST_SOON = 2.0
"""Seconds, while another gateway is about to take over: it takes some seconds, and this must not double them."""

ADDED_PART = 1 / 4
LONGEST = 5.0
"""When it lasts longer than that, a pause may add this part to it, up to so many seconds: something is really down."""

MAX_DOUBLINGS = 10
"""More would change nothing."""


class Backoff:
    """The pauses of one client. `now` is always one clock, in seconds."""

    def __init__(self, now: float) -> None:
        self._failures = 0
        self._since = now

    def connected(self) -> None:
        """There is a session: the next failure is the first again."""
        self._failures = 0

    def pause(self, now: float, told: float = 0.0, *, moved: bool = False) -> float:
        """Seconds to wait now that a connection has failed or ended: no less than the server has `told`.

        Whoever is told the right gateway goes there at once: but not if that is the answer again, since two gateways
        that send a client to each other would keep it, and each other, busy.
        """
        if self._failures == 0:
            self._since = now
        self._failures = min(self._failures + 1, MAX_DOUBLINGS)
        if moved and self._failures == 1:
            return told
        longest = min(max((now - self._since) * ADDED_PART, LONGEST_SOON), LONGEST)
        return max(told, random.uniform(0, min(FIRST * 2 ** (self._failures - 1), longest)))  # noqa: S311 - not a secret

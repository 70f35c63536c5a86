"""Pauses between attempts: random, so that many who failed together do not come back together."""

import random


class Backoff:
    """Each pause is anything from nothing up to a bound, which doubles from one to the next, up to the longest.

    The literature calls that full jitter: it empties a queue of waiting clients soonest, with the fewest attempts.
    """

    def __init__(self, first: float, longest: float) -> None:
        """Bounds in seconds: of the first pause, and of the longest."""
        self._first = first
        self._longest = longest
        self._bound = first

    def next(self) -> float:
        """Seconds to wait now."""
        bound, self._bound = self._bound, min(2 * self._bound, self._longest)
        return random.uniform(0, bound)  # noqa: S311 - spreads load, guards nothing

    def reset(self) -> None:
        """It has worked: the next failure is the first again."""
        self._bound = self._first

"""Random pauses between attempts, so that clients that failed together do not retry together."""

import random


class Backoff:
    """Pauses from 0 up to a bound, which doubles with each pause up to the longest.

    This is full jitter, which empties a queue of waiting clients soonest, with the fewest attempts.
    """

    def __init__(self, first: float, longest: float) -> None:
        """Takes the bounds of the first and of the longest pause, in seconds."""
        self._first = first
        self._longest = longest
        self._bound = first

    def next(self) -> float:
        """Return the next pause, in seconds."""
        bound, self._bound = self._bound, min(2 * self._bound, self._longest)
        return random.uniform(0, bound)  # noqa: S311 - spreads load, guards nothing

    def reset(self) -> None:
        """Start again from the first bound, after a success."""
        self._bound = self._first

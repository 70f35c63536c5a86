"""A circuit breaker: while no node of Cassandra answers, requests fail at once instead of waiting for a time-out."""

from collections.abc import Callable


class Breaker:
    """Decides whether requests may be sent, from their results. Without I/O; times are in seconds of one clock.

    It opens when a request fails and no other was answered since it began: then no node has answered while the request
    waited. While any node answers, failures leave it closed. The first answer closes it, so a probe must be sent while
    it is open. A false alarm thus costs no more than one probe takes.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answered_at = clock()
        self._is_open = False

    @property
    def is_open(self) -> bool:
        """Whether requests must be refused."""
        return self._is_open

    def answered(self) -> bool:
        """Record an answer of a node, also an error; return whether this closed the breaker."""
        self._answered_at = self._clock()
        was_open, self._is_open = self._is_open, False
        return was_open

    def failed(self, began_at: float) -> bool:
        """Record a request that began at this time and was not answered; return whether this opened the breaker."""
        if self._is_open or self._answered_at > began_at:
            return False
        self._is_open = True
        return True

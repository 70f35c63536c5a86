"""A circuit breaker: while Cassandra is silent, requests are refused at once and do not wait for a time-out each."""

from collections.abc import Callable


class Breaker:
    """Says whether requests may be sent. Without I/O: it is told what came of them, on one clock, in seconds.

    It opens on the first failure of a request since whose beginning nothing was answered: then not one node has given a
    sign of life for as long as the request waited. While any node answers, failures leave it closed. It closes with the
    first answer, which a probe must look for while it is open. A false alarm thus costs no more than one probe takes.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answered_at = clock()
        self._is_open = False

    @property
    def is_open(self) -> bool:
        """Whether requests are to be refused."""
        return self._is_open

    def answered(self) -> bool:
        """A node has answered, be it with an error. Whether that has closed the breaker."""
        self._answered_at = self._clock()
        was_open, self._is_open = self._is_open, False
        return was_open

    def failed(self, began_at: float) -> bool:
        """A request, begun at the moment, got no answer. Whether that has opened the breaker."""
        if self._is_open or self._answered_at > began_at:
            return False
        self._is_open = True
        return True

"""Whether a failed call is made again, and when: gRPC's own rules (its proposal A6), without I/O."""

import math
from collections.abc import Collection

from shared.rpc.client.backoff import Backoff
from shared.rpc.status import RpcError, Status

RETRYABLE = frozenset({Status.UNAVAILABLE})
"""What is made again if nobody says otherwise. RESOURCE_EXHAUSTED is not: it also says that a message is too large."""

FIRST_PAUSE = 0.05
"""Seconds: the first retry comes at random within this time, each further one within twice the time."""

LONGEST_PAUSE = 1.0
"""Seconds that it grows to."""

THROTTLE_TOKENS = 100.0
"""So many tokens has a channel's throttle: half of them are failures in a row that may each be retried."""

TOKENS_PER_SUCCESS = 0.1
"""What a call that succeeds gives back: in a lasting overload, retries are a tenth of what succeeds."""


class RetryThrottle:
    """A bucket of tokens that keeps a channel's retries from multiplying an overload.

    Each failure takes a token, each success gives a tenth of one; calls are made again while the bucket is more than
    half full.
    """

    def __init__(self, tokens: float = THROTTLE_TOKENS, per_success: float = TOKENS_PER_SUCCESS) -> None:
        self._most = tokens
        self._tokens = tokens
        self._per_success = per_success

    @property
    def allows(self) -> bool:
        """Whether a call may be made again."""
        return self._tokens > self._most / 2

    def failed(self) -> None:
        """A call has failed in a way that could be retried."""
        self._tokens = max(self._tokens - 1, 0)

    def succeeded(self) -> None:
        """A call has succeeded."""
        self._tokens = min(self._tokens + self._per_success, self._most)


class Retries:
    """What one call has left of its attempts."""

    def __init__(self, attempts: int, retry_on: Collection[Status], throttle: RetryThrottle) -> None:
        self._attempts_left = attempts - 1
        self._retry_on = retry_on
        self._throttle = throttle
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._passed_over = False  # whether it was made again because no handler had seen it

    @property
    def has_more(self) -> bool:
        """Whether another attempt would follow a failure."""
        return self._attempts_left > 0 and self._throttle.allows

    def succeeded(self) -> None:
        """The call has its answer."""
        self._throttle.succeeded()

    def pause_after(self, error: RpcError, *, cut_short: bool) -> float | None:
        """Seconds until the call is made again; None if it is not.

        `cut_short` says that the attempt had less time than the call: its DEADLINE_EXCEEDED may be retried. A call
        that no handler has seen is made again at once, once, and it costs no attempt.
        """
        if error.unprocessed and not self._passed_over:
            self._passed_over = True
            return 0.0
        if error.status not in self._retry_on and not (cut_short and error.status is Status.DEADLINE_EXCEEDED):
            return None
        if not error.unprocessed:
            self._throttle.failed()
        if not self.has_more or error.retry_after == math.inf:
            return None
        self._attempts_left -= 1
        if error.retry_after is not None:
            self._backoff.reset()
            return error.retry_after
        return self._backoff.next()

"""Whether and when a failed call is retried: gRPC's own rules (its proposal A6), without I/O."""

import math
from collections.abc import Collection

from shared.rpc.client.backoff import Backoff
from shared.rpc.status import RpcError, Status

RETRYABLE = frozenset({Status.UNAVAILABLE})
"""The statuses that are retried by default. RESOURCE_EXHAUSTED is not: it may mean that a message is too large."""

FIRST_PAUSE = 0.05
"""Seconds: the bound of the random pause before the first retry; it doubles with each further one."""

LONGEST_PAUSE = 1.0
"""Seconds: the largest such bound."""

THROTTLE_TOKENS = 100.0
"""The tokens of a channel's throttle: half as many failures in a row may be retried."""

TOKENS_PER_SUCCESS = 0.1
"""Tokens per successful call: in a lasting overload, retries are a tenth of the successful calls."""


class RetryThrottle:
    """A bucket of tokens that keeps a channel's retries from multiplying an overload.

    A failure takes one token, a success adds a tenth of one; calls are retried while the bucket is over half full.
    """

    def __init__(self, tokens: float = THROTTLE_TOKENS, per_success: float = TOKENS_PER_SUCCESS) -> None:
        self._most = tokens
        self._tokens = tokens
        self._per_success = per_success

    @property
    def allows(self) -> bool:
        """Whether calls may be retried."""
        return self._tokens > self._most / 2

    def failed(self) -> None:
        """Count a failure that could be retried."""
        self._tokens = max(self._tokens - 1, 0)

    def succeeded(self) -> None:
        """Count a success."""
        self._tokens = min(self._tokens + self._per_success, self._most)


class Retries:
    """The remaining attempts of one call."""

    def __init__(self, attempts: int, retry_on: Collection[Status], throttle: RetryThrottle) -> None:
        self._attempts_left = attempts - 1
        self._retry_on = retry_on
        self._throttle = throttle
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._retried_unprocessed = False  # the one free retry of an unprocessed call is used

    @property
    def has_more(self) -> bool:
        """Whether another attempt would follow a failure."""
        return self._attempts_left > 0 and self._throttle.allows

    def succeeded(self) -> None:
        """Count the call as a success."""
        self._throttle.succeeded()

    def pause_after(self, error: RpcError, *, cut_short: bool) -> float | None:
        """Return the seconds until the call is retried; None if it is not.

        `cut_short`: the attempt had less time than the call, so its DEADLINE_EXCEEDED may be retried. An unprocessed
        call is retried once, at once, without using an attempt.
        """
        if error.unprocessed and not self._retried_unprocessed:
            self._retried_unprocessed = True
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

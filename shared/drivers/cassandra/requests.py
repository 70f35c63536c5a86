"""Requests in flight: sent from the Trio thread, their results returned in batches, without a thread per query.

The driver calls back in a thread of its own, which queues the results and wakes Trio once for all that are queued. A
task that sent several requests is woken once, when all are answered or one has failed.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import trio
from cassandra.cluster import Session

from shared.contract.errors import Unavailable
from shared.drivers.cassandra.driver import translate

Row = tuple[Any, ...]

MAX_REQUESTS = 16_384
"""Upper bound of `max_requests`: half of the streams of one connection, since requests that timed out keep theirs until
the answer arrives, and the driver blocks when none is left."""

MAX_WAITING = 10_000
"""Bound of the queue of calls; further ones are refused."""

REQUESTS_PER_TURN = 32
"""Requests passed to the driver before other tasks run: some 3 ms of work."""


class _Call:
    """Requests of one task, which is woken when all are answered or one has failed."""

    __slots__ = ("arrived", "is_over", "landed", "next", "outcome", "results", "task", "work")

    def __init__(self, work: Sequence[Any]) -> None:
        self.work = work  # statements, bound
        self.results: list[list[Row]] = [[] for _ in work]
        self.next = 0  # index of the next statement to send
        self.arrived = 0  # answers in the driver's threads, changed under the lock
        self.landed = 0  # answers in the Trio thread
        self.outcome: Exception | None = None
        self.is_over = False  # no task waits for it any more
        self.task: trio.lowlevel.Task | None = None


class Requests:
    """The requests of a session, at most `max_requests` in flight. Further calls wait and take turns, request by
    request, so that a large call does not delay a small one.

    `noted` is called in the Trio thread for each completed request, with the driver's error or None, and the time at
    which it was sent. It may refuse waiting calls.
    """

    def __init__(self, driver: Session, max_requests: int, noted: Callable[[Exception | None, float], None]) -> None:
        self._driver = driver
        self._noted = noted
        self._token = trio.lowlevel.current_trio_token()
        self._max_requests = min(max_requests, MAX_REQUESTS)
        self._free = self._max_requests
        self._queue: deque[_Call] = deque()
        self._calls: set[_Call] = set()
        self._sent = 0
        self._lock = threading.Lock()
        self._returned: deque[tuple[_Call, Exception | None, float]] = deque()
        self._scheduled = False

    @property
    def max_requests(self) -> int:
        return self._max_requests

    @property
    def under_way(self) -> int:
        return self._max_requests - self._free - len(self._returned)

    @property
    def waiting(self) -> int:
        """Number of calls with requests still to be sent."""
        return len(self._queue)

    @property
    def sent(self) -> int:
        """Number of requests since the start."""
        return self._sent

    async def run(self, work: Sequence[Any]) -> list[list[Row]]:
        """Send bound statements, and return the rows of each when all are answered. Raises when the first one fails."""
        if len(self._queue) >= MAX_WAITING:
            raise Unavailable(f"{MAX_WAITING} calls wait for Cassandra already")
        call = _Call(work)
        if work:
            self._queue.append(call)
            await self._wait(call)
        else:
            await trio.lowlevel.checkpoint()
        return call.results

    async def run_now(self, statement: Any, *, seconds: float) -> None:
        """Send one statement at once, past the queue and with its own time-out: a probe is sent when all slots may be
        in use."""
        call = _Call([statement])
        call.next = 1
        self._send(call, 0, timeout=seconds)
        await self._wait(call)

    def refuse_waiting(self, reason: str) -> None:
        """Raise Unavailable in the calls that have requests still to be sent."""
        self._refuse(tuple(self._queue), reason)

    def refuse_all(self, reason: str) -> None:
        """Raise Unavailable in all calls: a closed driver may never answer."""
        self._refuse(tuple(self._calls), reason)

    async def _wait(self, call: _Call) -> None:
        self._calls.add(call)
        self._collect()  # sends as many requests as there are free slots
        try:
            if call.is_over:
                await trio.lowlevel.cancel_shielded_checkpoint()
            else:
                call.task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(partial(_abort_wait, call))
        finally:
            call.task = None
            self._end(call)
        if call.outcome is not None:
            raise call.outcome

    def _end(self, call: _Call) -> None:
        """Send no more of the call, and wake its task. Requests in flight keep their slots until answered or timed
        out."""
        call.is_over = True
        self._calls.discard(call)
        if call.next < len(call.work):
            with suppress(ValueError):
                self._queue.remove(call)
        if call.task is not None:
            trio.lowlevel.reschedule(call.task)
            call.task = None

    def _refuse(self, calls: Sequence[_Call], reason: str) -> None:
        for call in calls:
            call.outcome = Unavailable(reason)
            self._end(call)

    # ---- out

    def _send_queued(self) -> None:
        """Send one request of each call in turn while slots are free; after REQUESTS_PER_TURN other tasks run."""
        for _ in range(REQUESTS_PER_TURN):
            if self._free <= 0 or not self._queue:
                return
            call = self._queue.popleft()
            index = call.next
            call.next += 1
            if call.next < len(call.work):
                self._queue.append(call)
            self._send(call, index)
        self._collect_soon()

    def _send(self, call: _Call, index: int, **options: Any) -> None:
        self._free -= 1
        self._sent += 1
        began_at = trio.current_time()
        try:
            future = self._driver.execute_async(call.work[index], **options)
        except Exception as error:  # the boundary to the driver: the caller gets the error
            self._return(call, error, began_at)
            return
        future.add_callbacks(
            self._answered,
            self._failed,
            callback_args=(future, call, index, began_at),
            errback_args=(call, began_at),
        )

    # ---- back, in the driver's threads

    def _answered(self, rows: list[Row] | None, future: Any, call: _Call, index: int, began_at: float) -> None:
        try:
            if not future.is_schema_agreed:
                raise Unavailable("the nodes do not agree on the schema")
            if rows:
                call.results[index] += rows
            if future.has_more_pages:
                future.start_fetching_next_page()
                return
        except Exception as error:  # the boundary to the driver: the caller gets the error
            self._return(call, error, began_at)
            return
        self._return(call, None, began_at)

    def _failed(self, error: Exception, call: _Call, began_at: float) -> None:
        self._return(call, error, began_at)

    def _return(self, call: _Call, error: Exception | None, began_at: float) -> None:
        """Queue a result for Trio, and wake it if a task or the queue of calls waits for this result."""
        with self._lock:
            call.arrived += 1
            self._returned.append((call, error, began_at))
            is_awaited = error is not None or call.arrived == call.next or bool(self._queue)
        if is_awaited:
            self._collect_soon()

    def _collect_soon(self) -> None:
        """Schedule one call of `_collect` in the Trio thread."""
        with self._lock:
            if self._scheduled:
                return
            self._scheduled = True
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._collect)

    # ---- back, in the Trio thread

    def _collect(self) -> None:
        """Process the queued results, wake the tasks whose calls are complete, and use the free slots."""
        with self._lock:
            self._scheduled = False
            returned, self._returned = self._returned, deque()
        for call, error, began_at in returned:
            self._free += 1
            call.landed += 1
            self._noted(error, began_at)
            if call.is_over:
                continue
            if error is not None:
                call.outcome = translate(error)
                call.outcome.__cause__ = error
            if error is not None or call.landed == len(call.work):
                self._end(call)
        self._send_queued()


def _abort_wait(call: _Call, _: object) -> trio.lowlevel.Abort:
    """Abort a cancelled wait: the task must not be rescheduled by an answer as well."""
    call.task = None
    return trio.lowlevel.Abort.SUCCEEDED

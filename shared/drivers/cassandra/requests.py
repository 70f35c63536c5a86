"""Requests on their way: out from the Trio thread, their results back in bunches, and no query has a thread.

The driver answers in a thread of its own. What it answers is gathered there, and Trio is woken once for all that came
until it looks; a task that asked many things at once is woken once, when all of them are there.
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
"""Under way at once at most, whatever the settings say: half of the streams of one connection, since those of requests
that timed out stay taken until their answer comes, and the driver blocks when there is none left."""

MAX_WAITING = 10_000
"""Calls that may wait for their turn, before more are refused."""

REQUESTS_PER_TURN = 32
"""Requests that are given to the driver before other tasks have a turn: some 3 ms of work."""


class _Call:
    """Requests of one task, which is woken when all are answered or one has failed."""

    __slots__ = ("arrived", "is_over", "landed", "next", "outcome", "results", "task", "work")

    def __init__(self, work: Sequence[Any]) -> None:
        self.work = work  # statements, bound
        self.results: list[list[Row]] = [[] for _ in work]
        self.next = 0  # of the work, still to be sent
        self.arrived = 0  # answers in the driver's threads, under the session's lock
        self.landed = 0  # answers in the Trio thread
        self.outcome: Exception | None = None
        self.is_over = False  # nobody waits any more
        self.task: trio.lowlevel.Task | None = None


class Requests:
    """What a session has under way: at most `max_requests` at once. Further ones wait in Trio, and calls take turns,
    request by request, so that a big one does not keep a small one waiting.

    `noted` is called in the Trio thread for each request that came back: with the driver's error or None, and with the
    moment at which it was sent. It may refuse those that wait.
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
        """Calls that have requests still to be sent."""
        return len(self._queue)

    @property
    def sent(self) -> int:
        """Requests, since the start."""
        return self._sent

    async def run(self, work: Sequence[Any]) -> list[list[Row]]:
        """Send bound statements; the rows of each, when all are there. Raises as soon as one has failed."""
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
        """Send one at once, whatever waits, and give it so long: a sign of life is asked for when all slots may be
        taken."""
        call = _Call([statement])
        call.next = 1
        self._send(call, 0, timeout=seconds)
        await self._wait(call)

    def refuse_waiting(self, reason: str) -> None:
        """Raise Unavailable in those that have not sent all of theirs."""
        self._refuse(tuple(self._queue), reason)

    def refuse_all(self, reason: str) -> None:
        """Raise Unavailable in all that wait for an answer too: from a closed driver there may be none."""
        self._refuse(tuple(self._calls), reason)

    async def _wait(self, call: _Call) -> None:
        self._calls.add(call)
        self._collect()  # sends what there is room for
        try:
            if call.is_over:
                await trio.lowlevel.cancel_shielded_checkpoint()
            else:
                call.task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(partial(_give_up, call))
        finally:
            call.task = None
            self._end(call)
        if call.outcome is not None:
            raise call.outcome

    def _end(self, call: _Call) -> None:
        """Nothing more of the call is sent. What is under way keeps its slot until it is answered or timed out."""
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
        """One request of each call in turn, while there is room. After some, other tasks have a turn."""
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
        """Bring it to Trio: at once if someone waits for that, else with what comes next."""
        with self._lock:
            call.arrived += 1
            self._returned.append((call, error, began_at))
            is_awaited = error is not None or call.arrived == call.next or bool(self._queue)
        if is_awaited:
            self._collect_soon()

    def _collect_soon(self) -> None:
        """Have `_collect` called once, in the Trio thread."""
        with self._lock:
            if self._scheduled:
                return
            self._scheduled = True
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._collect)

    # ---- back, in the Trio thread

    def _collect(self) -> None:
        """Take what has come back, wake those who have all of theirs, and use the slots that are free again."""
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


def _give_up(call: _Call, _: object) -> trio.lowlevel.Abort:
    """The wait is cancelled: the task must not be woken by an answer as well."""
    call.task = None
    return trio.lowlevel.Abort.SUCCEEDED

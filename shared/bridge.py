"""The bridge between Trio and a thread that owns a blocking thing, such as a database connection.

One thread takes whatever jobs have gathered since it last looked, does them together, and brings all their results
back in one hop. So an idle system answers at once, a busy one works in bunches, and a job never costs a hop of its own.
"""

import queue
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

from shared.contract.errors import Unavailable

Job = TypeVar("Job")
Result = TypeVar("Result")

MAX_BATCH = 1_000
"""Jobs done together at most: at the 7 to 20 microseconds that a row costs, some 20 ms of work."""

MAX_PENDING = 20_000
"""Jobs that may wait at most, before `submit` refuses."""

CLOSE_DEADLINE = 10.0
"""Seconds that closing waits for the thread to finish what it was given."""


@dataclass(frozen=True, slots=True)
class BridgeStatistics:
    """What a bridge is doing."""

    pending: int
    """Jobs given and not yet answered."""
    max_pending: int
    batches: int
    """Batches done since the start."""
    jobs: int
    """Jobs done since the start."""


class BatchThread(Generic[Job, Result]):
    """A thread that does jobs in batches. Made by `open_batch_thread`; its methods are for the Trio thread.

    `done` is called in the Trio thread with a job's result or with the exception that it ended in. It must not raise.
    """

    def __init__(self, name: str, max_batch: int, max_pending: int) -> None:
        self._name = name
        self._max_batch = max_batch
        self._max_pending = max_pending
        self._queue: queue.SimpleQueue[tuple[Job, Callable[[Result | Exception], None]] | None] = queue.SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        self._pending = 0
        self._batches = 0
        self._jobs = 0
        self._closed = False

    def statistics(self) -> BridgeStatistics:
        return BridgeStatistics(self._pending, self._max_pending, self._batches, self._jobs)

    def submit(self, job: Job, done: Callable[[Result | Exception], None]) -> None:
        """Have the job done; `done` gets its result. Jobs are begun in the order in which they were given.

        Raises Unavailable, and does nothing, if `max_pending` jobs wait already or the thread is closed.
        """
        if self._closed:
            raise Unavailable(f"{self._name} is closed")
        if self._pending >= self._max_pending:
            raise Unavailable(f"{self._name} is {self._max_pending} jobs behind")
        self._pending += 1
        self._queue.put((job, done))

    async def call(self, job: Job) -> Result:
        """Have the job done and wait for its result. A cancelled wait does not undo the job."""
        waiter = trio.lowlevel.current_task()
        outcome: list[Result | Exception] = []
        waiting = True

        def done(result: Result | Exception) -> None:
            outcome.append(result)
            if waiting:
                trio.lowlevel.reschedule(waiter)

        def abort(_: object) -> trio.lowlevel.Abort:
            nonlocal waiting
            waiting = False
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.checkpoint_if_cancelled()
        self.submit(job, done)
        await trio.lowlevel.wait_task_rescheduled(abort)
        result = outcome[0]
        if isinstance(result, Exception):
            raise result
        return result

    def _close(self) -> None:
        self._closed = True
        self._queue.put(None)

    def _run(self, handle: Callable[[list[Job]], Sequence[Result | Exception]]) -> None:
        """The thread: until closed, take what has gathered, do it, bring the results back."""
        last = False
        while not last:
            batch = [self._queue.get()]
            while len(batch) < self._max_batch and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            work = [item for item in batch if item is not None]
            last = len(work) < len(batch)
            if not work:
                continue
            results: Sequence[Result | Exception]
            try:
                results = handle([job for job, _ in work])
            except Exception as error:  # supervision of the thread: the callers of the batch get the error
                results = [error] * len(work)
            try:
                self._token.run_sync_soon(self._deliver, work, results)
            except trio.RunFinishedError:
                return

    def _deliver(
        self,
        work: list[tuple[Job, Callable[[Result | Exception], None]]],
        results: Sequence[Result | Exception],
    ) -> None:
        self._pending -= len(work)
        self._batches += 1
        self._jobs += len(work)
        for (_, done), result in zip(work, results, strict=True):
            done(result)


@asynccontextmanager
async def open_batch_thread(
    name: str,
    start: Callable[[], Callable[[list[Job]], Sequence[Result | Exception]]],
    *,
    stop: Callable[[], None] = lambda: None,
    max_batch: int = MAX_BATCH,
    max_pending: int = MAX_PENDING,
    close_deadline: float = CLOSE_DEADLINE,
) -> AsyncIterator[BatchThread[Job, Result]]:
    """Run a batch thread for as long as the block is open.

    `start` runs in the thread and returns what does a batch: for each job in order, its result or an exception; what
    it raises is raised by `open_batch_thread`. `stop` runs in the thread at its end, also if `start` failed. Leaving
    the block waits until the jobs given are done, `close_deadline` seconds at most.
    """
    bridge: BatchThread[Job, Result] = BatchThread(name, max_batch, max_pending)
    started = trio.Event()
    ended = trio.Event()
    failures: list[Exception] = []
    token = trio.lowlevel.current_trio_token()

    def run() -> None:
        try:
            handle = start()
            token.run_sync_soon(started.set)
            bridge._run(handle)
        except Exception as error:  # supervision of the thread: raised again on the Trio side
            failures.append(error)
        finally:
            stop()
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(ended.set)
                token.run_sync_soon(started.set)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        with trio.CancelScope(shield=True):
            await started.wait()
        if failures:
            raise failures[0]
        yield bridge
    finally:
        bridge._close()
        with trio.move_on_after(close_deadline, shield=True):
            await ended.wait()
            thread.join()  # to say so was its last act

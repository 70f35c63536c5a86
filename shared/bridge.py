"""The bridge between Trio and a thread that owns a blocking resource, such as a database connection.

The thread takes all pending jobs, up to a limit, does them as one batch, and returns all their results in one hop. So a
job does not wait in an idle system, and costs no hop of its own in a busy one.
"""

import queue
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import trio

from shared.contract.errors import Unavailable

Job = TypeVar("Job")
Result = TypeVar("Result")

MAX_BATCH = 1_000
"""Jobs in a batch at most: some 20 ms of work, at 7 to 20 microseconds a row."""

MAX_PENDING = 20_000
"""Jobs that may wait, before `submit` refuses more."""

CLOSE_DEADLINE = 10.0
"""Seconds for the thread to finish its jobs when the bridge closes."""


@dataclass(frozen=True, slots=True)
class BridgeStatistics:
    """The load of a bridge."""

    pending: int
    """Jobs without a result yet."""
    max_pending: int
    batches: int
    """Batches since the start."""
    jobs: int
    """Finished jobs since the start."""


class _Item(NamedTuple, Generic[Job, Result]):
    job: Job
    done: Callable[[Result | Exception], None]
    failures: int
    """The failed batches that Trio's thread knew when it submitted the job."""


class BatchThread(Generic[Job, Result]):
    """A thread that does jobs in batches. Made by `open_batch_thread`; its methods are for Trio's thread.

    `done` is called in Trio's thread, with a job's result or with the exception that it raised. It must not raise.

    If a whole batch fails, the jobs that were submitted before Trio's thread knew it fail too: no later job overtakes
    an earlier one that its caller will submit again.
    """

    def __init__(self, name: str, max_batch: int, max_pending: int) -> None:
        self._name = name
        self._max_batch = max_batch
        self._max_pending = max_pending
        self._queue: queue.SimpleQueue[_Item[Job, Result] | None] = queue.SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        self._pending = 0
        self._batches = 0
        self._jobs = 0
        self._failures = 0  # failed batches whose results were delivered
        self._closed = False

    def statistics(self) -> BridgeStatistics:
        return BridgeStatistics(self._pending, self._max_pending, self._batches, self._jobs)

    def submit(self, job: Job, done: Callable[[Result | Exception], None]) -> None:
        """Schedule a job; `done` gets its result. Jobs start in the order of the calls.

        Raises Unavailable, with no effect, if `max_pending` jobs are pending or the thread is closed.
        """
        if self._closed:
            raise Unavailable(f"{self._name} is closed")
        if self._pending >= self._max_pending:
            raise Unavailable(f"{self._name} is {self._max_pending} jobs behind")
        self._pending += 1
        self._queue.put(_Item(job, done, self._failures))

    async def call(self, job: Job) -> Result:
        """Schedule a job and wait for its result. Raises Unavailable, as `submit`, and the job's exception.

        A cancelled wait does not cancel the job.
        """
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
        """Do the pending jobs in batches, until closed. Runs in the bridge's own thread."""
        last, failures, failure = False, 0, Exception()
        while not last:
            batch = [self._queue.get()]
            while len(batch) < self._max_batch and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            items = [item for item in batch if item is not None]
            last = len(items) < len(batch)
            overtaking = [item for item in items if item.failures < failures]
            work = items[len(overtaking) :]
            results: list[Result | Exception] = [failure] * len(overtaking)
            failed = False
            try:
                results += handle([item.job for item in work]) if work else ()
            except Exception as error:  # supervision: every job of the batch gets it, and the thread goes on
                failed, failure = True, error
                failures += 1
                results += [error] * len(work)
            try:
                self._token.run_sync_soon(self._deliver, items, results, failed)
            except trio.RunFinishedError:
                return

    def _deliver(self, items: "list[_Item[Job, Result]]", results: Sequence[Result | Exception], failed: bool) -> None:
        self._pending -= len(items)
        self._batches += 1
        self._jobs += len(items)
        for item, result in zip(items, results, strict=True):
            item.done(result)
        self._failures += failed


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

    `start` runs in the thread and returns the function that does a batch: it returns a result or an exception for each
    job, in order. An exception of `start` is raised here. `stop` runs in the thread at its end, also if `start` failed.
    Leaving the block waits for the pending jobs, `close_deadline` seconds at most.
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
        except Exception as error:  # raised again in Trio's thread
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
            thread.join()  # at once: setting `ended` is its last act

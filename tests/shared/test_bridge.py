"""The bridge to a thread: order, batches, failures, bounds, cancellation."""

import threading
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import trio

from shared.bridge import open_batch_thread
from shared.contract.errors import Unavailable


def doubling() -> Callable[[list[int]], Sequence[int]]:
    return lambda jobs: [2 * job for job in jobs]


class Blocked:
    """A handler that waits for `go_on` in each batch, and keeps the batches."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, jobs: list[int]) -> list[int]:
        self.batches.append(jobs)
        self.entered.set()
        self.go_on.wait(10)
        return jobs


async def test_jobs_submitted_while_the_thread_works_are_one_batch() -> None:
    blocked = Blocked()
    async with open_batch_thread("test", lambda: blocked) as bridge:
        bridge.submit(0, lambda _: None)
        await trio.to_thread.run_sync(blocked.entered.wait)
        for number in range(1, 51):
            bridge.submit(number, lambda _: None)
        blocked.go_on.set()
        await bridge.call(51)
        assert blocked.batches[0] == [0]
        assert blocked.batches[1][:50] == list(range(1, 51))
        assert bridge.statistics().pending == 0
        assert bridge.statistics().jobs == 52


async def test_an_exception_reaches_every_caller_of_the_batch_and_the_thread_continues() -> None:
    def handle(jobs: list[int]) -> list[int]:
        if 13 in jobs:
            raise RuntimeError("unlucky")
        return jobs

    async with open_batch_thread("test", lambda: handle) as bridge:
        with pytest.raises(RuntimeError, match="unlucky"):
            await bridge.call(13)
        assert await bridge.call(14) == 14


async def test_a_job_does_not_overtake_an_earlier_one_that_failed() -> None:
    """Jobs that were submitted before the failure was known fail too; the next one is done."""
    entered, go_on = threading.Event(), threading.Event()
    batches: list[list[int]] = []

    def handle(jobs: list[int]) -> list[int]:
        batches.append(jobs)
        entered.set()
        go_on.wait(10)
        if 0 in jobs:
            raise RuntimeError("the disk is full")
        return jobs

    results: dict[int, object] = {}
    async with open_batch_thread("test", lambda: handle) as bridge:
        for number in range(3):
            bridge.submit(number, partial(results.__setitem__, number))
            await trio.to_thread.run_sync(entered.wait)
        go_on.set()
        with trio.fail_after(10):
            while len(results) < 3:
                await trio.sleep(0.001)
        assert [str(results[number]) for number in range(3)] == ["the disk is full"] * 3
        assert batches == [[0]]
        assert await bridge.call(3) == 3
        assert bridge.statistics().pending == 0


async def test_a_failure_to_start_is_raised_by_open() -> None:
    def start() -> Callable[[list[int]], list[int]]:
        raise OSError("no such disk")

    with pytest.raises(OSError, match="no such disk"):
        async with open_batch_thread("test", start):
            pass


async def test_jobs_are_done_in_order_and_leaving_waits_for_them_and_stops_the_thread() -> None:
    stopped = threading.Event()
    results: list[int | Exception] = []
    async with open_batch_thread("test thread", doubling, stop=stopped.set) as bridge:
        for number in range(100):
            bridge.submit(number, results.append)
        assert await bridge.call(100) == 200
        for number in range(100, 1000):
            bridge.submit(number, results.append)
    assert stopped.is_set()
    assert results == [2 * number for number in range(1000)]
    assert "test thread" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(Unavailable):
        bridge.submit(1, results.append)


async def test_a_job_over_the_bound_is_refused_at_once() -> None:
    blocked = Blocked()
    async with open_batch_thread("test", lambda: blocked, max_pending=3) as bridge:
        for number in range(3):
            bridge.submit(number, lambda _: None)
        with pytest.raises(Unavailable, match="3 jobs behind"):
            bridge.submit(3, lambda _: None)
        blocked.go_on.set()


async def test_a_cancelled_call_leaves_its_job_alone_and_one_cancelled_before_it_begins_submits_none() -> None:
    blocked = Blocked()
    async with open_batch_thread("test", lambda: blocked) as bridge:
        with trio.CancelScope() as scope:
            scope.cancel()
            await bridge.call(0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bridge.call, 1)
            await trio.to_thread.run_sync(blocked.entered.wait)
            nursery.cancel_scope.cancel()
        blocked.go_on.set()
        assert await bridge.call(2) == 2
    assert [job for batch in blocked.batches for job in batch] == [1, 2]

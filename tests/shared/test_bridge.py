import threading
from collections.abc import Callable, Sequence

import pytest
import trio

from shared.bridge import BatchThread, open_batch_thread
from shared.contract.errors import Unavailable


def doubling() -> Callable[[list[int]], Sequence[int]]:
    return lambda jobs: [2 * job for job in jobs]


async def test_jobs_are_done_in_order_and_their_results_come_back() -> None:
    results: list[int | Exception] = []
    async with open_batch_thread("test", doubling) as bridge:
        for number in range(100):
            bridge.submit(number, results.append)
        assert await bridge.call(100) == 200
    assert results == [2 * number for number in range(100)]


async def test_what_gathers_while_the_thread_works_is_one_batch() -> None:
    entered, go_on = threading.Event(), threading.Event()
    batches: list[list[int]] = []

    def handle(jobs: list[int]) -> list[int]:
        batches.append(jobs)
        entered.set()
        go_on.wait(10)
        return jobs

    async with open_batch_thread("test", lambda: handle) as bridge:
        bridge.submit(0, lambda _: None)
        await trio.to_thread.run_sync(entered.wait)
        for number in range(1, 50):
            bridge.submit(number, lambda _: None)
        go_on.set()
        await bridge.call(50)
        assert batches[:2] == [[0], list(range(1, 50))] or batches[:2] == [[0], list(range(1, 51))]
        assert bridge.statistics().pending == 0
        assert bridge.statistics().jobs == 51


async def test_an_exception_reaches_every_caller_of_the_batch_and_the_thread_goes_on() -> None:
    def handle(jobs: list[int]) -> list[int]:
        if 13 in jobs:
            raise RuntimeError("unlucky")
        return jobs

    async with open_batch_thread("test", lambda: handle) as bridge:
        with pytest.raises(RuntimeError, match="unlucky"):
            await bridge.call(13)
        assert await bridge.call(14) == 14


async def test_a_failure_to_start_is_raised_where_it_was_opened() -> None:
    def start() -> Callable[[list[int]], list[int]]:
        raise OSError("no such disk")

    with pytest.raises(OSError, match="no such disk"):
        async with open_batch_thread("test", start):
            pass


async def test_leaving_waits_for_what_was_given_and_stops_the_thread() -> None:
    stopped = threading.Event()
    results: list[int | Exception] = []
    async with open_batch_thread("test thread", doubling, stop=stopped.set) as bridge:
        for number in range(1000):
            bridge.submit(number, results.append)
    assert stopped.is_set()
    assert len(results) == 1000
    assert "test thread" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(Unavailable):
        bridge.submit(1, results.append)


async def test_more_than_the_bound_is_refused_at_once() -> None:
    go_on = threading.Event()

    def handle(jobs: list[int]) -> list[int]:
        go_on.wait(10)
        return jobs

    async with open_batch_thread("test", lambda: handle, max_pending=3) as bridge:
        for number in range(3):
            bridge.submit(number, lambda _: None)
        with pytest.raises(Unavailable, match="3 jobs behind"):
            bridge.submit(3, lambda _: None)
        go_on.set()


async def test_a_cancelled_call_leaves_the_job_and_the_bridge_alone() -> None:
    entered, go_on = threading.Event(), threading.Event()
    done: list[int] = []

    def handle(jobs: list[int]) -> list[int]:
        entered.set()
        go_on.wait(10)
        done.extend(jobs)
        return jobs

    async with open_batch_thread("test", lambda: handle) as bridge:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bridge.call, 1)
                await trio.to_thread.run_sync(entered.wait)
                scope.cancel()
        go_on.set()
        assert await bridge.call(2) == 2
    assert done == [1, 2]


async def test_a_call_that_is_cancelled_before_it_begins_gives_no_job() -> None:
    async with open_batch_thread("test", doubling) as bridge:
        with trio.CancelScope() as scope:
            scope.cancel()
            await bridge.call(1)
        assert bridge.statistics().pending == 0
        bridge_of_ints: BatchThread[int, int] = bridge
        assert await bridge_of_ints.call(2) == 4

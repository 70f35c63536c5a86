import gc
from collections.abc import Iterator

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from shared.background import open_background
from shared.garbage import FULL_SECONDS, GROWTH_BYTES, collect_garbage


@pytest.fixture(autouse=True)
def restored_collector() -> Iterator[None]:
    """Restore the collector, which the whole process shares."""
    thresholds = gc.get_threshold()
    gc.disable()  # only the collections of the code under test
    yield
    gc.enable()
    gc.set_threshold(*thresholds)


class Node:
    """A cycle of one object."""

    def __init__(self) -> None:
        self.itself = self


def nodes() -> list[object]:
    return [thing for thing in gc.get_objects() if type(thing) is Node]


async def test_large_cycles_are_collected_once_memory_has_grown(autojump_clock: MockClock) -> None:
    memory = [GROWTH_BYTES]
    async with open_background() as nursery:
        nursery.start_soon(collect_garbage, lambda: memory[0])
        await trio.testing.wait_all_tasks_blocked()
        Node()
        memory[0] = 2 * GROWTH_BYTES
        await trio.sleep(FULL_SECONDS / 2)
        assert nodes()
        memory[0] += 1
        await trio.sleep(FULL_SECONDS / 4)
        assert not nodes()
        Node()
        await trio.sleep(FULL_SECONDS / 2)  # it has not grown since
        assert nodes()


async def test_cycles_are_collected_within_a_minute(autojump_clock: MockClock) -> None:
    full = gc.get_stats()[2]["collections"]
    async with open_background() as nursery:
        nursery.start_soon(collect_garbage)
        await trio.sleep(1)
        assert gc.get_stats()[2]["collections"] == full + 1
        Node()
        await trio.sleep(FULL_SECONDS + 1)
        assert not nodes()

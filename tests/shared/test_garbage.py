import gc
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from shared.background import open_background
from shared.garbage import FULL_SECONDS, collect_garbage


@pytest.fixture(autouse=True)
def restored_collector() -> Iterator[None]:
    """Restore the collector, which the whole process shares."""
    thresholds = gc.get_threshold()
    gc.disable()  # only the collections of the code under test
    yield
    gc.enable()
    gc.set_threshold(*thresholds)
    gc.unfreeze()


class Node:
    """A cycle of one object."""

    def __init__(self) -> None:
        self.itself = self


async def test_cycles_are_collected_within_a_minute(autojump_clock: MockClock) -> None:
    full = gc.get_stats()[2]["collections"]
    async with open_background() as nursery:
        nursery.start_soon(collect_garbage)
        await trio.sleep(1)
        assert gc.get_stats()[2]["collections"] == full + 1
        Node()
        await trio.sleep(FULL_SECONDS)
        assert not [thing for thing in gc.get_objects() if type(thing) is Node]

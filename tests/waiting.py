"""Wait in tests until a condition holds, and count the passes of Trio's scheduler."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

PATIENCE = 60.0
"""Seconds; only ends a test that has failed, on however busy a machine."""


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds. Raises trio.TooSlowError after PATIENCE."""
    with trio.fail_after(PATIENCE):
        while not condition():
            await trio.sleep(0.005)


class Passes:
    """Passes of Trio's scheduler."""

    passed = 0

    async def count(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            self.passed += 1


@asynccontextmanager
async def counting_passes() -> AsyncIterator[Passes]:
    """Count the passes during the block."""
    passes = Passes()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(passes.count)
        yield passes
        nursery.cancel_scope.cancel()

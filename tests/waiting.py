"""Wait in tests until a condition holds, and count the passes of Trio's scheduler."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

Value = TypeVar("Value")

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


async def until_read(read: Callable[[], Awaitable[Value]], is_so: Callable[[Value], object]) -> Value:
    """Read again until the answer is so, and return it: the archive records with a delay."""
    with trio.fail_after(PATIENCE):
        while not is_so(found := await read()):
            await trio.sleep(0.05)
    return found

"""Wait in tests until a condition holds."""

from collections.abc import Callable

import trio

PATIENCE = 60.0
"""Seconds; only ends a test that has failed, on however busy a machine."""


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds. Raises trio.TooSlowError after PATIENCE."""
    with trio.fail_after(PATIENCE):
        while not condition():
            await trio.sleep(0.005)

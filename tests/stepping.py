"""Cancellation at a given step of tasks."""

from collections.abc import Awaitable, Callable

import trio


class CancelAtStep(trio.abc.Instrument):
    """Cancels the scope at this step of the watched tasks, counted together."""

    def __init__(self, step: int, scope: trio.CancelScope, is_watched: Callable[[trio.lowlevel.Task], bool]) -> None:
        self._steps_left = step
        self._scope = scope
        self._is_watched = is_watched

    @property
    def fired(self) -> bool:
        return self._steps_left <= 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._is_watched(task):
            self._steps_left -= 1
            if self._steps_left == 0:
                self._scope.cancel()


async def cancel_at_step(
    step: int, is_watched: Callable[[trio.lowlevel.Task], bool], run: Callable[[], Awaitable[None]]
) -> bool:
    """Run a function, and cancel it at this step of the watched tasks. Return whether it got that far."""
    scope = trio.CancelScope()
    instrument = CancelAtStep(step, scope, is_watched)
    trio.lowlevel.add_instrument(instrument)
    try:
        with scope:
            await run()
    finally:
        trio.lowlevel.remove_instrument(instrument)
    return instrument.fired


def is_below(root: trio.lowlevel.Task) -> Callable[[trio.lowlevel.Task], bool]:
    """Return whether a task is the root or one of its descendants."""

    def is_below_root(task: trio.lowlevel.Task) -> bool:
        while task is not root and task.parent_nursery is not None:
            task = task.parent_nursery.parent_task
        return task is root

    return is_below_root

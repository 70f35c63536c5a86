"""End a test that hangs, and report where: the stack of each thread, and of each Trio task."""

import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio


@contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """Fail in the main thread, with all stacks, if the block lasts longer. Needs the main thread, and uses SIGALRM."""

    def fail(number: int, frame: object) -> None:
        pytest.fail(f"hangs: not ended after {seconds:g} s\n\n{stacks()}")

    old = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def stacks() -> str:
    """The stacks of all threads, then of the tasks of the Trio run in this thread, innermost call last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [
        f"thread {names.get(ident)}\n{_formatted(traceback.extract_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    ]
    return "\n".join(parts + [f"task {task.name}\n{_stack_of(task)}" for task in _tasks()])


def _formatted(stack: traceback.StackSummary) -> str:
    """Without the calls of the test runner."""
    runner = ("/_pytest/", "/pluggy/", "/xdist/", "/execnet/")
    return "".join(
        stack.from_list([call for call in stack if not any(each in call.filename for each in runner)]).format()
    )


def _tasks() -> Iterator[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task() if trio.lowlevel.in_trio_run() else None
    waiting = [root] if root else []
    while waiting:
        task = waiting.pop()
        yield task
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]


def _stack_of(task: trio.lowlevel.Task) -> str:
    return _formatted(traceback.StackSummary.extract(iter(task.iter_await_frames())))

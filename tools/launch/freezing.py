"""A process that stops in its tracks, all of it, before the test goes on."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

FREEZE_SECONDS = 10.0
"""Only ends a test that has failed: on a busy machine the last thread takes some milliseconds."""

STOPPED = "T"
"""What Linux calls a thread that a signal has stopped."""


def freeze(pid: int) -> None:
    """Stop the process as SIGSTOP does, and return when its last thread stands still.

    The signal alone returns at once, while threads that run go on until they are interrupted: one could still answer.
    Raises TimeoutError.
    """
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + FREEZE_SECONDS
    while set(thread_states(pid)) != {STOPPED}:
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} does not stop")
        time.sleep(0.001)


def thread_states(pid: int) -> list[str]:
    """What each thread of the process does, by Linux's letters."""
    states = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            states.append((thread / "stat").read_text().rpartition(")")[2].split()[0])
    return states

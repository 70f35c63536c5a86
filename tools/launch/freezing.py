"""Stop all threads of a process before the test continues."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

FREEZE_SECONDS = 10.0
"""Only ends a test that has failed: on a busy machine the last thread takes some milliseconds."""

STOPPED = "T"
"""State letter of Linux of a thread that a signal has stopped."""


def freeze(pid: int) -> None:
    """Send SIGSTOP, and return when the last thread has stopped. Raises TimeoutError.

    Threads run on until they are interrupted: right after the signal one could still send an answer.
    """
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + FREEZE_SECONDS
    while set(thread_states(pid)) != {STOPPED}:
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} does not stop")
        time.sleep(0.001)


def thread_states(pid: int) -> list[str]:
    """State letter of each thread of the process."""
    states = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            states.append((thread / "stat").read_text().rpartition(")")[2].split()[0])
    return states

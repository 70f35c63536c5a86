"""A clock for times on which other processes rely: Trio's clock and Python's monotonic one stop while the machine is
suspended."""

import time


def elapsed() -> float:
    """Return the seconds of a clock that never steps and that runs on while the machine is suspended. It begins
    anywhere. For all threads."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

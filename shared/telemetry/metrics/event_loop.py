"""How late the event loop is: what a process has to do, or what blocks it, delays everything by as much."""

import trio

from shared.telemetry.metrics.catalogue import EVENT_LOOP_LAG

INTERVAL = 0.1
"""Seconds between two looks: ten a second cost some 0.05 % of a CPU."""


async def measure_event_loop() -> None:
    """Sleep again and again, and measure how much too late the task runs again, until cancelled.

    The kernel wakes a sleeper up to a millisecond late: that much is no lag.
    """
    while True:
        due = trio.current_time() + INTERVAL
        await trio.sleep_until(due)
        EVENT_LOOP_LAG.observe(trio.current_time() - due)

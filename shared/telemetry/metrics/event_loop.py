"""Lag of the event loop: how much a busy or blocked process delays every task."""

import trio

from shared.telemetry.metrics.catalogue import EVENT_LOOP_LAG

INTERVAL = 0.1
"""Seconds between two measurements: ten a second cost some 0.05 % of a CPU."""


async def measure_event_loop() -> None:
    """Sleep repeatedly, and measure how late the task resumes, until cancelled.

    The kernel wakes a task up to a millisecond late: that much is no lag.
    """
    while True:
        due = trio.current_time() + INTERVAL
        await trio.sleep_until(due)
        EVENT_LOOP_LAG.observe(trio.current_time() - due)

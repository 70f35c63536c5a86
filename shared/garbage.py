"""Schedule of Python's garbage collector: rare collections, at a bounded share of the time.

By default Python collects after every 700 new objects, and often traverses long-lived objects such as a gateway's tail.
Under load that was a fifth of all CPU and most of the longest delays (see docs/performance.md). Cycles are few here,
some 70 objects of each closed connection, so collections of young objects suffice between full ones.
"""

import gc
import resource
import time
from collections.abc import Callable
from pathlib import Path

import trio

STATM = Path("/proc/self/statm")

YOUNG_OBJECTS = 50_000
"""New objects between two collections of the youngest generation: some 5 ms of work. After 20 of these and one of the
middle generation, so after some 2 million objects or 30,000 closed connections, Python makes a full collection."""

FULL_SECONDS = 60.0
"""Shortest interval of the full collections that `collect_garbage` makes."""

FULL_SHARE = 0.002
"""Largest share of the time for these: they took 115 ms with full tails, and 126 ms after 2,000 closed sessions."""


CHECK_SECONDS = 1.0
"""Interval of the checks of the process's memory."""

GROWTH_BYTES = 64 * 1024 * 1024
"""Growth of the process's memory since the last full collection that calls for another: Python counts objects, not
bytes, and a few large ones may be in cycles. About half of what an idle process takes."""

GROWTH_SHARE = 0.02
"""Largest share of the time for these."""


async def collect_garbage(memory: Callable[[], int] | None = None) -> None:
    """Set the thresholds, exclude existing objects (modules live as long as the process), and collect at intervals.

    `memory` returns the bytes that the process takes; by default its resident memory.
    """
    memory = memory or resident_bytes
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 1)
    collected_at, seconds, base = trio.current_time(), 0.0, memory()
    while True:
        await trio.sleep(CHECK_SECONDS)
        age = trio.current_time() - collected_at
        has_grown = memory() - base > GROWTH_BYTES and age >= seconds / GROWTH_SHARE
        if has_grown or age >= max(FULL_SECONDS, seconds / FULL_SHARE):
            began = time.perf_counter()
            gc.collect()
            collected_at, seconds, base = trio.current_time(), time.perf_counter() - began, memory()


def resident_bytes() -> int:
    """The resident memory of this process; 0 where there is no `/proc`."""
    try:
        pages = int(STATM.read_bytes().split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()

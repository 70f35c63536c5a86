"""Schedule of Python's garbage collector: rare collections, at a bounded share of the time.

By default Python collects after every 700 new objects, and often traverses long-lived objects such as a gateway's tail.
Under load that was a fifth of all CPU and most of the longest delays (see docs/performance.md). Cycles are few here,
some 70 objects of each closed connection, so collections of young objects suffice between full ones.
"""

import gc
import time

import trio

YOUNG_OBJECTS = 50_000
"""New objects between two collections of the youngest generation: some 5 ms of work. After 20 of these and one of the
middle generation, so after some 2 million objects or 30,000 closed connections, Python makes a full collection."""

FULL_SECONDS = 60.0
"""Shortest interval of the full collections that `collect_garbage` makes."""

FULL_SHARE = 0.002
"""Largest share of the time for these: they took 115 ms with full tails, and 126 ms after 2,000 closed sessions."""


async def collect_garbage() -> None:
    """Set the thresholds, exclude existing objects (modules live as long as the process), and collect at intervals."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 1)
    pause = FULL_SECONDS
    while True:
        await trio.sleep(pause)
        began = time.perf_counter()
        gc.collect()
        pause = max(FULL_SECONDS, (time.perf_counter() - began) / FULL_SHARE)

"""When Python looks for cycles of garbage: seldom, and when it costs least.

By default it looks after every 700 new objects, and again and again through everything that lives long, such as a
gateway's tail. Under load that was a fifth of all CPU and most of the longest delays (see docs/performance.md). Cycles
are few here, some 70 objects of each connection that ended: a look at what is young is enough between full ones.
"""

import gc
import time

import trio

YOUNG_OBJECTS = 50_000
"""More objects than at the last look at the young, for the next: some 5 ms of work. After 20 such looks at the young
and one more at the middle, so after some 2 million objects or 30,000 ended connections, Python makes a full one."""

FULL_SECONDS = 60.0
"""Between two full collections at other times."""

FULL_SHARE = 0.002
"""Of all time, at most, for those: they took 115 ms with full tails, and 126 ms after 2,000 sessions had ended."""


async def collect_garbage() -> None:
    """Set the thresholds, leave out what is there already (modules live as long as the process), collect at times."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 1)
    pause = FULL_SECONDS
    while True:
        await trio.sleep(pause)
        began = time.perf_counter()
        gc.collect()
        pause = max(FULL_SECONDS, (time.perf_counter() - began) / FULL_SHARE)

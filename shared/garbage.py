"""When Python looks for cycles of garbage: seldom, and when it costs least.

By default it looks after every 700 new objects, and again and again through everything that lives long, such as a
gateway's tail. Under load that was a fifth of all CPU and most of the longest delays (see docs/performance.md). Cycles
are few here, mostly of connections that ended: a look at what is young is enough between full ones at fixed times.
"""

import gc

import trio

YOUNG_OBJECTS = 50_000
"""New objects between two looks at the young: some 5 ms of work."""

FULL_SECONDS = 20.0
"""Between two full collections. Until then, connections that ended may leave some 30 KiB each."""

_NEVER = 1_000_000
"""Of the middle generation's collections before a full one: those are made by time instead."""


async def collect_for_ever() -> None:
    """Set the thresholds, leave out what is there already (modules live as long as the process), collect at times."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, _NEVER)
    while True:
        await trio.sleep(FULL_SECONDS)
        gc.collect()

"""The event id up to which history is complete.

The events of one chat are in several partitions, which several archives record, so they do not appear in history in the
order of their ids. The watermark of a partition is a time of the log up to which its events are recorded. The id of an
event is at most MAX_AGE_MS older than its time in the log; otherwise the event is late, and `ChatStore.events_after`
finds it by the time of the log.
"""

import math

import trio

from messaging.archive.store.protocol import ChatStore
from shared.contract.errors import Unavailable
from shared.contract.ids import MAX_AGE_MS, first_id_at

CACHE_SECONDS = 1.0
"""How long the watermarks are not read again. Older ones are valid too: they are lower."""

STALE_SECONDS = 2.0
"""Up to this age the known watermarks are returned, and newer ones are read in the background. Then the calls wait, so
that no archive returns less than another one returned this long before."""


class Watermark:
    """Computes the event id up to which history is complete; one for each archive."""

    def __init__(self, chats: ChatStore, partitions: int) -> None:
        """`partitions` is the number of partitions of the log."""
        self._chats = chats
        self._partitions = partitions
        self._complete_up_to = 0
        self._read_at = -math.inf  # when the read began that returned it
        self._reading = trio.Lock()
        self._wanted = trio.Event()  # set once newer watermarks are to be read
        self._ended_at = -math.inf  # when the read began that ended last
        self._failure = ""  # of that read

    async def complete_up_to(self) -> int:
        """Every event up to this id is recorded, or will be late; 0 if it is not known yet, since a partition has no
        watermark. Raises Unavailable.

        Read it before the events for which it is to hold.
        """
        now = trio.current_time()
        age = now - self._read_at
        if age < STALE_SECONDS:
            if age >= CACHE_SECONDS:
                self._wanted.set()
            return self._complete_up_to
        await self._read_after(now)
        if self._failure:
            raise Unavailable(self._failure)
        return self._complete_up_to

    async def refresh(self) -> None:
        """Read the watermarks again once a call has returned older ones, for ever: of an archive that is asked more
        than once a second, no call waits for a read."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            await self._read_after(trio.current_time())

    async def _read_after(self, now: float) -> None:
        """Read the watermarks, unless the read that this task waited for began less than CACHE_SECONDS before `now`."""
        async with self._reading:
            if now - self._ended_at >= CACHE_SECONDS:
                await self._read()

    async def _read(self) -> None:
        began_at = trio.current_time()
        try:
            watermarks = await self._chats.watermarks()
        except Unavailable as error:
            self._ended_at, self._failure = began_at, str(error) or "The watermarks can't be read."
            return
        lowest = min(watermarks.get(partition, 0) for partition in range(self._partitions))
        self._complete_up_to = max(self._complete_up_to, first_id_at(lowest - MAX_AGE_MS))
        self._read_at, self._ended_at, self._failure = began_at, began_at, ""

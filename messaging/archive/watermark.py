"""The event id up to which history is complete.

The events of one chat are in several partitions, which several archives record, so they do not appear in history in the
order of their ids. The watermark of a partition is a time of the log up to which its events are recorded. The id of an
event is at most MAX_AGE_MS older than its time in the log; otherwise the event is late, and `ChatStore.events_after`
finds it by the time of the log.
"""

import trio

from messaging.archive.store.laws import MAX_AGE_MS
from messaging.archive.store.protocol import ChatStore
from shared.contract.ids import first_id_at

CACHE_SECONDS = 1.0
"""How long the watermarks are not read again. Older ones are valid too: they are lower."""


class Watermark:
    """One for each archive."""

    def __init__(self, chats: ChatStore, partitions: int) -> None:
        """`partitions` is the number of partitions of the log."""
        self._chats = chats
        self._partitions = partitions
        self._complete_up_to = 0
        self._valid_until = -1.0

    async def complete_up_to(self) -> int:
        """Every event up to this id is recorded, or will be late; 0 if it is not known yet, since a partition has no
        watermark. Raises Unavailable.

        Read it before the events for which it is to hold.
        """
        now = trio.current_time()
        if now >= self._valid_until:
            self._valid_until = now + CACHE_SECONDS  # other calls return the known one meanwhile
            watermarks = await self._chats.watermarks()
            lowest = min(watermarks.get(partition, 0) for partition in range(self._partitions))
            self._complete_up_to = max(self._complete_up_to, first_id_at(lowest - MAX_AGE_MS))
        return self._complete_up_to

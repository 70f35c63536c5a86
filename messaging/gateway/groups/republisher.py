"""The copies of control changes that a former owner of their home partition may not have published.

A gateway may die after the record of truth of a control change, and before its copies. So the next owner publishes the
copies of the control changes in its tail, from the newest CopiesStored on, which an owner publishes once the log has
all copies before it.
"""

from collections.abc import Sequence

import structlog

from messaging.envelopes import copies_of
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.tail import Tail
from rookery.v1.backplane_pb2 import CopiesStored, Envelope
from shared.backplane import Backplane, Record
from shared.backplane.publishing import publish_and_wait
from shared.contract.errors import Unavailable
from shared.telemetry.logs import Interval

AT_ONCE = 20
"""Control changes whose copies are published in one call: 220 records with 12 partitions."""

_log = structlog.get_logger(__name__)


class Republisher:
    """Publishes copies of the control changes of gained partitions; one for each gateway."""

    def __init__(self, backplane: Backplane, partitions: OwnedPartitions) -> None:
        self._backplane = backplane
        self._partitions = partitions
        self._waiting: dict[int, tuple[int, list[Envelope]]] = {}
        """By partition, the epoch, and the control changes of it whose copies are not published yet."""
        self._may_warn = Interval()

    async def republish(self, partition: int, tail: Tail) -> None:
        """Publish the copies of an owned partition's control changes that this gateway has not published in this epoch.
        Return early if the log refuses the copies, or if the partition is lost."""
        waiting = self._unpublished(partition, tail)
        while waiting and self._partitions.tail_at(partition) is tail:
            batch = waiting[:AT_ONCE]
            try:
                await self._publish_copies(batch, partition)
            except Unavailable as error:
                if self._may_warn.has_passed():
                    _log.warning("controls_not_republished", partition=partition, error=str(error))
                chat_ids = {each.event.message.chat_id for each in batch}
                waiting.sort(key=lambda each: each.event.message.chat_id in chat_ids)  # other groups come first
                return
            done = {each.event.event_id for each in batch}
            waiting[:] = [each for each in waiting if each.event.event_id not in done]

    async def complete(self, partition: int, tail: Tail, event_id: int) -> None:
        """Publish the copies of a control change, unless this gateway has done so. Raises Unavailable."""
        waiting = self._unpublished(partition, tail)
        if change := next((each for each in waiting if each.event.event_id == event_id), None):
            await self._publish_copies([change], partition)
            waiting[:] = [each for each in waiting if each is not change]

    async def mark(self, partition: int, tail: Tail) -> None:
        """Publish a CopiesStored for all records that were read, if no copies wait. Call this for a tail that lacks a
        mark, while no control change of the partition is in flight. If the log refuses it, call again later."""
        is_owned = self._partitions.tail_at(partition) is tail
        if is_owned and not self._unpublished(partition, tail):
            mark = Envelope(copies_stored=CopiesStored(up_to=tail.next_offset))
            record = Record(partition, mark.SerializeToString())
            try:
                await publish_and_wait(self._backplane, [record], until=self._partitions.held_until)
            except Unavailable as error:
                _log.debug("copies_not_marked", partition=partition, error=str(error))

    def _unpublished(self, partition: int, tail: Tail) -> list[Envelope]:
        """The control changes of an owned partition whose copies are not published yet, in this epoch."""
        epoch, waiting = self._waiting.get(partition, (0, []))
        if epoch != tail.fences.epoch:
            unmarked = tail.unmarked_controls()
            unmarked_ids = {each.event.event_id for each in unmarked}
            waiting = [*(each for each in waiting if each.event.event_id not in unmarked_ids), *unmarked]
            self._waiting[partition] = tail.fences.epoch, waiting
        return waiting

    async def _publish_copies(self, envelopes: Sequence[Envelope], partition: int) -> None:
        """Publish copies of control changes with this home partition. Raises Unavailable."""
        records = [record for each in envelopes for record in copies_of(each, self._partitions.count, partition)]
        if records:
            await publish_and_wait(self._backplane, records, until=self._partitions.held_until)

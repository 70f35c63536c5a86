"""Subclasses of kafka-python's consumer classes, each changed where the library promises less than we need.

For Kafka's thread.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from shared.backplane.kafka.batches import TRACEPARENT
from shared.backplane.kafka.kafka_python import Client, ConsumerCoordinator, Fetcher, Place, SubscriptionState, errors
from shared.backplane.protocol import StoredRecord
from shared.clock import elapsed


class PausedSubscription(SubscriptionState):  # type: ignore[misc]
    """Pauses gained partitions until they are resumed: their consumer may seek first."""

    def _apply_assignment(self, partitions: Iterable[Place], randomize: bool = False) -> None:
        before = set(self.assignment)
        super()._apply_assignment(partitions, randomize)
        for partition in set(self.assignment) - before:
            self.assignment[partition].pause()


class Coordinator(ConsumerCoordinator):  # type: ignore[misc]
    """Reports to its member: confirmed heartbeats, each with the time at which it was sent (of `elapsed`), fencing by
    another process of the same name, and completed joins.

    Does not join again once `is_leaving` is set. The library would: the group answers a pending join with "unknown
    member" when the member leaves, and the next join makes a member of the same name, without a process.
    """

    is_leaving = False
    _joined_at = -math.inf

    def __init__(
        self,
        client: Client,
        subscription: Any,
        *,
        on_heartbeat: Callable[[float], None],
        on_fenced: Callable[[], None],
        on_joined: Callable[[], None],
        **options: Any,
    ) -> None:
        self._on_heartbeat = on_heartbeat
        self._on_fenced = on_fenced
        self._on_joined = on_joined
        super().__init__(client, subscription, **options)

    def need_rejoin(self) -> bool:
        return not self.is_leaving and bool(super().need_rejoin())

    async def _send_heartbeat_request(self) -> None:
        sent_at = elapsed()
        try:
            await super()._send_heartbeat_request()
        except errors.RebalanceInProgressError:
            self._on_heartbeat(sent_at)
            raise
        except errors.FencedInstanceIdError:  # the library only logs it and keeps fetching
            self._on_fenced()
            raise
        self._on_heartbeat(sent_at)

    def _process_join_group_response(self, response: Any, send_time: float) -> None:
        super()._process_join_group_response(response, send_time)
        self._joined_at = elapsed()

    def _process_sync_group_response(self, response: Any, send_time: float) -> Any:
        assignment = super()._process_sync_group_response(response, send_time)
        self._on_heartbeat(self._joined_at)  # just before the request; `send_time` is of another clock
        return assignment

    async def _on_join_complete_async(self, *arguments: Any) -> None:
        await super()._on_join_complete_async(*arguments)
        self._on_joined()


def traceparent_in(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """Return the traceparent among the headers of a record, "" if there is none."""
    return next((value.decode("ascii", "replace") for key, value in headers if key == TRACEPARENT and value), "")


class RecordFetcher(Fetcher):  # type: ignore[misc]
    """Makes StoredRecords of a broker's batches directly, without the library's records."""

    class PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
        def _unpack_records(self, tp: Place, records: Any, *_: Any) -> Iterator[StoredRecord]:
            number = tp.partition
            while (batch := records.next_batch()) is not None:
                if not batch.validate_crc():
                    raise errors.CorruptRecordError(f"the batch at {batch.base_offset} of {tp} fails its checksum")
                self.leader_epoch = batch.leader_epoch
                if not batch.is_control_batch:
                    for record in batch:
                        self.next_fetch_offset = record.offset + 1
                        traceparent = traceparent_in(record.headers) if record.headers else ""
                        yield StoredRecord(number, record.offset, record.timestamp, record.value or b"", traceparent)
                self.next_fetch_offset = batch.next_offset
            self.bytes_read = 1  # the library rotates the partitions only if it is not 0
            self.drain()

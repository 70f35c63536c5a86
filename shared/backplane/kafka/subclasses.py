"""The parts of kafka-python's consumer that we put together, each changed where it promises less than we need."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from shared.backplane.kafka.batches import TRACEPARENT
from shared.backplane.kafka.kafka_python import Client, ConsumerCoordinator, Fetcher, Place, SubscriptionState, errors
from shared.backplane.protocol import StoredRecord


class PausedSubscription(SubscriptionState):  # type: ignore[misc]
    """A partition that was gained is not read before it is resumed: its consumer may want to begin elsewhere."""

    def _apply_assignment(self, partitions: Iterable[Place], randomize: bool = False) -> None:
        before = set(self.assignment)
        super()._apply_assignment(partitions, randomize)
        for partition in set(self.assignment) - before:
            self.assignment[partition].pause()


class Coordinator(ConsumerCoordinator):  # type: ignore[misc]
    """A member of a group that says when the group heard of it, and when another process took its name."""

    def __init__(
        self,
        client: Client,
        subscription: Any,
        *,
        heard: Callable[[float], None],
        fenced: Callable[[], None],
        joined: Callable[[], None],
        **options: Any,
    ) -> None:
        self._heard = heard
        self._fenced = fenced
        self._joined = joined
        super().__init__(client, subscription, **options)

    def _handle_heartbeat_response(self, response: Any, send_time: float) -> None:
        try:
            super()._handle_heartbeat_response(response, send_time)
        except errors.RebalanceInProgressError:
            self._heard(send_time)
            raise
        except errors.FencedInstanceIdError:  # the library only logs it, and goes on reading
            self._fenced()
            raise
        self._heard(send_time)

    def _process_sync_group_response(self, response: Any, send_time: float) -> Any:
        assignment = super()._process_sync_group_response(response, send_time)
        self._heard(send_time)
        return assignment

    async def _on_join_complete_async(self, *arguments: Any) -> None:
        await super()._on_join_complete_async(*arguments)
        self._joined()

    def forget_assignment(self) -> None:
        """Claim nothing at the next join: others may have what was ours. The library would still claim it."""
        for assignor in self._assignors.values():
            assignor.member_assignment = None


def traceparent_in(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """What the headers of a record say of its trace; what others have put there beside it is passed over."""
    return next((value.decode("ascii", "replace") for key, value in headers if key == TRACEPARENT and value), "")


class RecordFetcher(Fetcher):  # type: ignore[misc]
    """Makes our records from what a broker sends, with nothing in between."""

    class PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
        def _unpack_records(self, tp: Place, records: Any, *_: Any) -> Iterator[StoredRecord]:
            number = tp.partition
            while (batch := records.next_batch()) is not None:
                if not batch.validate_crc():
                    raise errors.CorruptRecordError(f"the batch at {batch.base_offset} of {tp} has another checksum")
                self.leader_epoch = batch.leader_epoch
                if not batch.is_control_batch:
                    for record in batch:
                        self.next_fetch_offset = record.offset + 1
                        traceparent = traceparent_in(record.headers) if record.headers else ""
                        yield StoredRecord(number, record.offset, record.timestamp, record.value or b"", traceparent)
                self.next_fetch_offset = batch.next_offset
            self.bytes_read = 1  # what the library asks before it lets other partitions go first
            self.drain()

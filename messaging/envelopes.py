"""How an event travels: one record of truth in its sender's partition, one copy in each other recipient's partition."""

from collections.abc import Iterable

from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.session_pb2 import Event
from shared.backplane import Record
from shared.contract.partitions import partition_of


def fan_out(
    event: Event, *, sender_id: int, recipient_ids: Iterable[int], partitions: int, session_id: str = ""
) -> list[Record]:
    """The records of an event that is kept, the record of truth first. The sender is a recipient, listed or not."""
    home = partition_of(sender_id, partitions)
    by_partition: dict[int, list[int]] = {home: [sender_id]}
    for recipient_id in recipient_ids:
        if recipient_id != sender_id:
            by_partition.setdefault(partition_of(recipient_id, partitions), []).append(recipient_id)
    return _records(event, sender_id, session_id, by_partition, home)


def copies(event: Event, *, sender_id: int, recipient_ids: Iterable[int], partitions: int) -> list[Record]:
    """The records of an event that is only of the moment: nothing keeps it, and its sender is not told."""
    by_partition: dict[int, list[int]] = {}
    for recipient_id in recipient_ids:
        by_partition.setdefault(partition_of(recipient_id, partitions), []).append(recipient_id)
    return _records(event, sender_id, "", by_partition, None)


def _records(
    event: Event, sender_id: int, session_id: str, by_partition: dict[int, list[int]], home: int | None
) -> list[Record]:
    """One record for each partition. The event is encoded once: protobuf joins messages that are put end to end."""
    encoded = Envelope(event=event, sender_id=sender_id, origin_session_id=session_id).SerializeToString()
    return [
        Record(partition, encoded + Envelope(recipient_ids=recipient_ids, truth=partition == home).SerializeToString())
        for partition, recipient_ids in by_partition.items()
    ]

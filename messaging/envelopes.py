"""Fans events out into records, one in each partition that has a recipient; decodes records, and names their kinds."""

from collections.abc import Iterable

from rookery.v1.backplane_pb2 import Envelope, FormerEvent
from rookery.v1.session_pb2 import Change, Event
from shared.backplane import Record
from shared.contract.partitions import partition_of


def fan_out(
    event: Event, *, sender_id: int, recipient_ids: Iterable[int], partitions: int, session_id: str = "", epoch: int = 0
) -> list[Record]:
    """Return the records of a stored event: the record of truth in the sender's partition first, then the copies. The
    sender is a recipient, listed or not. `epoch` is that of the sender's partition."""
    sender_partition = partition_of(sender_id, partitions)
    by_partition: dict[int, list[int]] = {sender_partition: [sender_id]}
    for recipient_id in recipient_ids:
        if recipient_id != sender_id:
            by_partition.setdefault(partition_of(recipient_id, partitions), []).append(recipient_id)
    return _records(event, sender_id, session_id, by_partition, sender_partition, epoch)


def fan_out_signal(event: Event, *, sender_id: int, recipient_ids: Iterable[int], partitions: int) -> list[Record]:
    """Return the records of a signal, which is not stored: no record of truth, and no recipient but the listed ones."""
    by_partition: dict[int, list[int]] = {}
    for recipient_id in recipient_ids:
        by_partition.setdefault(partition_of(recipient_id, partitions), []).append(recipient_id)
    return _records(event, sender_id, "", by_partition, None, 0)


def _records(
    event: Event,
    sender_id: int,
    session_id: str,
    by_partition: dict[int, list[int]],
    sender_partition: int | None,
    epoch: int,
) -> list[Record]:
    """Make a record for each partition. The event is encoded once: protobuf merges concatenated messages."""
    encoded = Envelope(event=event, sender_id=sender_id, origin_session_id=session_id).SerializeToString()
    return [
        Record(
            partition,
            encoded
            + (
                Envelope(recipient_ids=recipient_ids, truth=True, epoch=epoch)
                if partition == sender_partition
                else Envelope(recipient_ids=recipient_ids)
            ).SerializeToString(),
        )
        for partition, recipient_ids in by_partition.items()
    ]


def decode(value: bytes) -> Envelope:
    """Decode the value of a record; an event of a release without Change becomes one. Raises DecodeError."""
    envelope = Envelope.FromString(value)
    if envelope.HasField("event") and envelope.event.WhichOneof("event") is None:
        upgrade(envelope.event)
    return envelope


def upgrade(event: Event) -> None:
    """Make a Change of a reaction or a receipt of a release without Change. A kind of event that only a newer release
    knows stays as it is."""
    former = FormerEvent.FromString(event.SerializeToString())
    match former.WhichOneof("event"):
        case "reaction":
            reaction = former.reaction
            change = Change(chat_id=reaction.chat_id, target_id=reaction.message_id, actor_id=reaction.user_id)
            change.reacted.emoji, change.reacted.set = reaction.emoji, reaction.set
        case "receipt":
            receipt = former.receipt
            change = Change(chat_id=receipt.chat_id, actor_id=receipt.user_id)
            change.marked.delivered_up_to, change.marked.read_up_to = receipt.delivered_up_to, receipt.read_up_to
        case _:
            return
    event.CopyFrom(Event(event_id=event.event_id, change=change))


def kind_name(event: Event) -> str:
    """The name of an event's kind for people: `message`, `typing`, or that of a change, such as `edited`."""
    name = event.WhichOneof("event") or ""
    return (event.change.WhichOneof("body") if name == "change" else None) or name

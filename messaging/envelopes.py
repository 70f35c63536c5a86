"""Fans events out into records, one in each partition that has a recipient; decodes records, and names their kinds."""

from collections.abc import Iterable, Mapping, Sequence

from rookery.v1.backplane_pb2 import Envelope, FormerEvent
from rookery.v1.session_pb2 import Change, Event
from shared.backplane import Record
from shared.contract.partitions import partition_of


def fan_out(
    event: Event,
    *,
    sender_id: int,
    recipient_ids: Iterable[int],
    partitions: int,
    session_id: str = "",
    epoch: int = 0,
    truth_partition: int | None = None,
    chat_version: int = 0,
    read_for: Iterable[int] = (),
    to_members: bool = False,
) -> list[Record]:
    """Return the records of a stored event: the record of truth first, then the copies.

    The record of truth is in the sender's partition, and the sender is a recipient, listed or not. With a
    `truth_partition`, it is there, also without any recipient, and only the listed ones are recipients; the partitions
    of the users in `read_for`, who are no recipients, get copies too. With `to_members`, the event is one of a channel:
    every partition gets a record. `epoch` is that of the partition of truth; `chat_version` is 0 in direct chats, see
    backplane.proto."""
    if truth_partition is None:
        truth_partition = partition_of(sender_id, partitions)
        users = {truth_partition: [sender_id]}
        for recipient_id in recipient_ids:
            if recipient_id != sender_id:
                users.setdefault(partition_of(recipient_id, partitions), []).append(recipient_id)
    else:
        users = {truth_partition: []} | by_partition(recipient_ids, partitions, read_for)
    if to_members:
        _add_all(users, partitions)
    return _records(event, sender_id, session_id, users, truth_partition, epoch, chat_version, to_members)


def fan_out_to(
    users: Mapping[int, Sequence[int]],
    event: Event,
    *,
    sender_id: int,
    truth_partition: int,
    chat_version: int,
    session_id: str = "",
    epoch: int = 0,
) -> list[Record]:
    """As `fan_out`, to recipients whose partitions are known; no other user is a recipient."""
    truth_first = {truth_partition: users.get(truth_partition, ()), **users}
    return _records(event, sender_id, session_id, truth_first, truth_partition, epoch, chat_version, to_members=False)


def fan_out_copies(
    event: Event,
    *,
    sender_id: int,
    recipient_ids: Iterable[int],
    partitions: int,
    chat_version: int = 0,
    read_for: Iterable[int] = (),
    to_members: bool = False,
) -> list[Record]:
    """Return further copies of a stored event, to the listed recipients only: records without one of truth. `read_for`
    and `to_members` are as in `fan_out`."""
    users = by_partition(recipient_ids, partitions, read_for)
    if to_members:
        _add_all(users, partitions)
    return _records(event, sender_id, "", users, None, 0, chat_version, to_members)


def with_all_recipients(truth: Record, recipient_ids: Iterable[int], read_for: Iterable[int]) -> Record:
    """The record of truth with the event's recipients in all partitions, and the users in `read_for` as in `fan_out`.
    `copies_of` makes the copies again from this record."""
    further = Envelope(all_recipient_ids=recipient_ids, former_member_ids=read_for).SerializeToString()
    return truth._replace(value=truth.value + further)


def copies_of(truth: Envelope, partitions: int, truth_partition: int) -> list[Record]:
    """Return the copies of an event whose record of truth has all recipients, in the other partitions."""
    copies = fan_out_copies(
        truth.event,
        sender_id=truth.sender_id,
        recipient_ids=truth.all_recipient_ids,
        partitions=partitions,
        chat_version=truth.chat_version,
        read_for=truth.former_member_ids,
        to_members=truth.to_members,
    )
    return [record for record in copies if record.partition != truth_partition]


def by_partition(user_ids: Iterable[int], partitions: int, further: Iterable[int] = ()) -> dict[int, list[int]]:
    """Return the users of each partition that has one. The partitions of the further users are in it too."""
    users: dict[int, list[int]] = {}
    for user_id in user_ids:
        users.setdefault(partition_of(user_id, partitions), []).append(user_id)
    for user_id in further:
        users.setdefault(partition_of(user_id, partitions), [])
    return users


def _add_all(users: dict[int, list[int]], partitions: int) -> None:
    """Add every partition without a user, after the others."""
    for partition in range(partitions):
        users.setdefault(partition, [])


def _records(
    event: Event,
    sender_id: int,
    session_id: str,
    users: Mapping[int, Sequence[int]],
    truth_partition: int | None,
    epoch: int,
    chat_version: int,
    to_members: bool,
) -> list[Record]:
    """Make a record for each partition. The event is encoded once: protobuf merges concatenated messages."""
    encoded = Envelope(
        event=event,
        sender_id=sender_id,
        origin_session_id=session_id,
        chat_version=chat_version,
        to_members=to_members,
    ).SerializeToString()
    return [
        Record(
            partition,
            encoded
            + (
                Envelope(recipient_ids=recipient_ids, truth=True, epoch=epoch)
                if partition == truth_partition
                else Envelope(recipient_ids=recipient_ids)
            ).SerializeToString(),
        )
        for partition, recipient_ids in users.items()
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

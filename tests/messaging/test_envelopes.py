"""Fan-out: one record for each partition that has a recipient, with the record of truth first. And former records."""

from collections.abc import Sequence

import pytest

from messaging.envelopes import decode, fan_out, fan_out_copies, kind_name
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.session_pb2 import Change, Event, Marked, Reacted
from shared.backplane import Record
from shared.contract.partitions import partition_of

PARTITIONS = 4
USERS = range(1, 20)


def envelopes(records: Sequence[Record]) -> list[Envelope]:
    """The records' envelopes, each of which has the recipients of its own partition only."""
    found = [Envelope.FromString(record.value) for record in records]
    for record, envelope in zip(records, found, strict=True):
        assert {partition_of(user_id, PARTITIONS) for user_id in envelope.recipient_ids} == {record.partition}
        assert envelope.event.event_id == 9
    assert len({record.partition for record in records}) == len(records)
    return found


def test_a_kept_event_has_its_record_of_truth_first_and_its_sender_as_a_recipient() -> None:
    for recipient_ids in (USERS, USERS[1:]):
        records = fan_out(Event(event_id=9), sender_id=1, recipient_ids=recipient_ids, partitions=PARTITIONS, epoch=7)
        found = envelopes(records)
        assert [envelope.epoch for envelope in found] == [7, 0, 0, 0]
        assert records[0].partition == partition_of(1, PARTITIONS)
        assert [envelope.truth for envelope in found] == [True, False, False, False]
        assert sorted(user_id for envelope in found for user_id in envelope.recipient_ids) == list(USERS)


@pytest.mark.parametrize("recipient_ids", [USERS, [1], []])
def test_a_record_of_truth_in_another_partition_may_have_no_recipient(recipient_ids: Sequence[int]) -> None:
    """As of a control change, in the home partition of its group. Its sender may be no member any more."""
    truth_partition = (partition_of(1, PARTITIONS) + 1) % PARTITIONS
    records = fan_out(
        Event(event_id=9),
        sender_id=1,
        recipient_ids=recipient_ids,
        partitions=PARTITIONS,
        epoch=7,
        truth_partition=truth_partition,
        chat_version=3,
    )
    found = [Envelope.FromString(record.value) for record in records]
    assert [(each.truth, each.epoch, each.chat_version) for each in found[:1]] == [(True, 7, 3)]
    assert [(each.truth, each.epoch, each.chat_version) for each in found[1:]] == [(False, 0, 3)] * (len(found) - 1)
    assert records[0].partition == truth_partition
    assert sorted(user_id for envelope in found for user_id in envelope.recipient_ids) == list(recipient_ids)


def test_a_partition_that_reads_for_a_user_gets_a_copy_without_recipients() -> None:
    users = [1, *range(2, 40)]
    away = next(user_id for user_id in users if partition_of(user_id, PARTITIONS) != partition_of(1, PARTITIONS))
    for records in (
        fan_out(
            Event(event_id=9),
            sender_id=1,
            recipient_ids=[1],
            partitions=PARTITIONS,
            truth_partition=partition_of(1, PARTITIONS),
            read_for=[1, away],
        ),
        fan_out_copies(
            Event(event_id=9), sender_id=1, recipient_ids=[1], partitions=PARTITIONS, read_for=iter([1, away])
        ),
    ):
        found = {record.partition: list(Envelope.FromString(record.value).recipient_ids) for record in records}
        assert found == {partition_of(1, PARTITIONS): [1], partition_of(away, PARTITIONS): []}


def test_a_signal_has_no_record_of_truth_and_only_the_listed_recipients() -> None:
    records = fan_out_copies(Event(event_id=9), sender_id=1, recipient_ids=USERS[1:], partitions=PARTITIONS)
    found = envelopes(records)
    assert not any(envelope.truth for envelope in found)
    assert sorted(user_id for envelope in found for user_id in envelope.recipient_ids) == list(USERS[1:])


FORMER_REACTION = bytes.fromhex("0a17080722130a05642d312d32100518022204f09f918d28011a020102200128024001")
FORMER_RECEIPT = bytes.fromhex("0a1108082a0d0a05642d312d321002180620051a0101")
"""Records as the last release without Change published them."""


@pytest.mark.parametrize(
    ("value", "event_id", "change"),
    [
        (FORMER_REACTION, 7, Change(chat_id="d-1-2", target_id=5, actor_id=2, reacted=Reacted(emoji="👍", set=True))),
        (FORMER_RECEIPT, 8, Change(chat_id="d-1-2", actor_id=2, marked=Marked(delivered_up_to=6, read_up_to=5))),
    ],
)
def test_a_record_of_a_former_release_has_a_change(value: bytes, event_id: int, change: Change) -> None:
    event = decode(value).event
    assert event == Event(event_id=event_id, change=change)
    assert kind_name(event) == change.WhichOneof("body")


def test_an_event_that_only_a_newer_release_knows_stays_as_it_is() -> None:
    event = Event.FromString(b"\x08\x05\xba\x3e\x02hi")
    assert decode(Envelope(event=event).SerializeToString()).event == event
    assert [kind_name(each) for each in (event, Event(change=Change()), Event(typing={}))] == ["", "change", "typing"]

from collections import deque
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from messaging.envelopes import decode
from messaging.gateway.sent import SendKey, Sent
from messaging.gateway.tail import ENTRY_OVERHEAD, RECIPIENT_OVERHEAD, Entry, Head, Tail
from messaging.kinds.kind import Target
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.files_pb2 import FileInfo
from rookery.v1.groups_pb2 import Control, Member, Span
from rookery.v1.session_pb2 import Change, Deleted, Edited, Event, Hidden, Message, Muted, Text, WithoutPreviews


def entry(
    offset: int,
    *recipient_ids: int,
    key: SendKey | None = None,
    at_ms: int | None = None,
    target_id: int = 0,
    value: bytes = b"x" * 100,
) -> Entry:
    at_ms = offset if at_ms is None else at_ms
    return Entry(offset, at_ms, offset + 1_000, recipient_ids, key, "d-1-2", value, target_id=target_id)


def stored(offset: int, *, event_id: int = 0, **event: Message | Change) -> Entry:
    """An entry of an event between users 1 and 2."""
    envelope = Envelope(event=Event(event_id=event_id or offset + 1_000, **event))  # type: ignore[arg-type]
    target_id = envelope.event.change.target_id
    made = entry(offset, 1, 2, target_id=target_id, value=envelope.SerializeToString())
    made.event_id = envelope.event.event_id
    return made


def test_a_recipient_gets_the_newer_entries_in_order() -> None:
    tail = Tail(0)
    for offset in range(10):
        tail.append(entry(offset, 1 + offset % 2))
    assert [found.offset for found in tail.newer(1, 3)] == [4, 6, 8]
    assert [found.offset for found in tail.since(2, 6)] == [7, 9]
    assert tail.newer(3, 0) == []


def test_the_time_at_an_offset_from_before_the_tail_is_unknown_and_is_not_looked_for() -> None:
    """Each client that was away for longer than the tail reaches back asks for it."""
    visited = list[Entry]()

    class Counted(deque[Entry]):
        def __reversed__(self) -> Iterator[Entry]:
            for item in super().__reversed__():
                visited.append(item)
                yield item

    tail = Tail(5)
    assert tail.time_at(9) == 0
    for offset in range(5, 9):
        tail.append(entry(offset, 1))
    tail._entries = Counted(tail._entries)
    assert [tail.time_at(offset) for offset in (4, 5, 7, 9)] == [0, 5, 7, 8]
    visited.clear()
    assert (tail.time_at(4), visited) == (0, [])


def test_the_entries_of_some_seconds_before_an_offset_are_behind_the_offset_that_is_found() -> None:
    tail = Tail(4)
    assert tail.offset_before(3, 10) == 3
    for offset, at_ms in [(4, 100), (6, 110), (7, 120), (9, 121)]:
        tail.append(entry(offset, 1, at_ms=at_ms))
    assert tail.offset_before(2, 10) == 2, "the tail begins later"
    assert [tail.offset_before(offset, 10) for offset in (4, 5, 6, 7, 8, 9)] == [3, 3, 3, 5, 5, 6]


def test_a_send_is_recognised_until_it_is_evicted() -> None:
    tail = Tail(0)
    tail.append(entry(0, 1, 2, key=(1, "a")))
    tail.append(entry(1, 1, 2, key=(1, "a")))
    assert tail.sent_with((1, "a")) == Sent(1_000, "d-1-2", 0), "the first in the log counts"
    assert tail.sent_with((2, "a")) is None
    tail.evict(older_than_ms=1, max_bytes=10**6)
    assert tail.sent_with((1, "a")) is None


def test_an_accepted_send_is_recognised_before_its_record_is_appended() -> None:
    tail = Tail(0)
    tail.accept((1, "a"), Sent(1_000, "d-1-2", 0, [FileInfo()]), is_message=True)
    tail.accept((1, "b"), Sent(1_001, "d-1-2", 0), is_message=False)
    assert tail.target(1, "d-1-2", 1_000) == Target(1, is_deleted=False, has_files=True)
    assert tail.target(1, "d-1-3", 1_000) is tail.target(2, "d-1-2", 1_000) is tail.target(1, "d-1-2", 1_001) is None
    tail.append(entry(0, 1, key=(1, "a")))
    assert tail.sent_with((1, "a")) == Sent(1_000, "d-1-2", 0), "its record has the files"
    tail.evict(older_than_ms=1, max_bytes=10**6)
    assert tail.sent_with((1, "a")) is None


def test_a_message_is_found_for_its_recipients_in_its_chat_only() -> None:
    tail = Tail(0)
    tail.append(stored(5, message=Message(sender_id=2)))
    tail.append(stored(6, change=Change(target_id=1_005)))
    assert tail.target(1, "d-1-2", 1_005) == Target(2, is_deleted=False, changes=1)
    assert tail.target(1, "d-1-3", 1_005) is None
    assert tail.target(3, "d-1-2", 1_005) is None
    assert tail.target(1, "d-1-2", 1_006) is None, "a change"


def test_a_deletion_leaves_a_stub_of_the_message_and_of_its_repeated_copy_and_nothing_of_its_changes() -> None:
    tail, message = Tail(0), Message(message_id=1_000, sender_id=1, text=Text(body="secret"), reply_to=9)
    tail.append(stored(0, message=message))
    tail.append(stored(1, change=Change(target_id=1_000, edited=Edited(text=Text(body="secret")))))
    tail.append(stored(2, event_id=1_000, message=message))
    tail.append(stored(3, change=Change(target_id=1_000, hidden=Hidden(set=True))))
    deletion = stored(4, change=Change(target_id=1_000, deleted=Deleted()))
    tail.append(deletion)
    tail.delete(deletion)
    left = tail.newer(2, 0)
    assert [kept.offset for kept in left] == [0, 2, 3, 4], "a message stays hidden"
    assert [decode(kept.value).event.message for kept in left[:2]] == [Message(message_id=1_000, sender_id=1)] * 2
    assert tail.size == 5 * ENTRY_OVERHEAD + sum(len(kept.value) for kept in left)
    assert tail.target(1, "d-1-2", 1_000) == Target(1, is_deleted=True, changes=4)
    tail.evict(older_than_ms=5, max_bytes=10**6)
    assert (len(tail), tail.size, tail.deletions) == (0, 0, {})


def test_a_message_that_is_deleted_again_after_the_tail_has_forgotten_the_first_time_comes_back_in_no_form() -> None:
    tail, message = Tail(0), Message(message_id=1_000, sender_id=1, text=Text(body="secret"))
    deletions = [stored(offset, change=Change(target_id=1_000, deleted=Deleted())) for offset in (1, 3)]
    tail.append(stored(0, message=message))
    tail.append(deletions[0])
    tail.delete(deletions[0])
    repeated = stored(2, event_id=1_000)
    repeated.value = b""  # a copy for recipients who have received the message
    tail.append(repeated)
    tail.evict(older_than_ms=2, max_bytes=10**6)
    tail.append(deletions[1])
    tail.delete(deletions[1])
    assert [kept.offset for kept in tail.newer(2, 0)] == [3]


def of_group(
    offset: int, event_id: int, *recipient_ids: int, version: int = 1, control: Control | None = None
) -> Entry:
    """The record of truth of a message of a group."""
    event = Event(event_id=event_id, message=Message(message_id=event_id, sender_id=1, control=control))
    made = entry(offset, *recipient_ids, key=(1, str(event_id)), value=Envelope(event=event).SerializeToString())
    made.event_id, made.chat_id, made.chat_version = event_id, "g-7", version
    made.is_control = event.message.HasField("control")
    return made


def test_a_removed_member_loses_the_events_after_their_removal_whose_senders_did_not_know_it() -> None:
    tail = Tail(0)
    for offset, (event_id, version) in enumerate([(10, 1), (30, 1), (31, 3), (32, 1)]):
        tail.append(of_group(offset, event_id, 1, 2, 3, version=version))
    tail.append(entry(4, 2))
    size = tail.size
    tail.withdraw("g-8", Member(user_id=2, version=2, spans=[Span(first=1, last=2)]))
    tail.withdraw("g-7", Member(user_id=2, version=2, spans=[Span(first=1, last=20)]))
    assert [found.event_id for found in tail.newer(2, 0)] == [10, 31, 1_004]
    assert [found.event_id for found in tail.newer(3, 0)] == [10, 30, 31, 32]
    assert size - tail.size == 2 * RECIPIENT_OVERHEAD
    assert tail.target(4, "g-7", 30) is None
    tail.append(of_group(5, 30, 4))  # a copy for a member whom its sender did not know
    assert tail.target(4, "g-7", 30) is not None
    tail.evict(older_than_ms=6, max_bytes=10**6)
    assert (len(tail), tail.size, tail.newer(2, 0), tail.sent_after("g-7", 0)) == (0, 0, [], [])


def test_nothing_is_left_of_a_user_from_whom_all_events_were_withdrawn() -> None:
    tail = Tail(0)
    tail.append(of_group(0, 30, 1, 2))
    tail.withdraw("g-7", Member(user_id=2, version=2, spans=[Span(first=1, last=20)]))
    assert list(tail._by_user) == [1]


def test_the_control_changes_and_the_other_events_of_a_group_are_found() -> None:
    tail = Tail(0)
    for offset, control in enumerate([Control(version=1), None, Control(version=2), None]):
        tail.append(of_group(offset, 10 + offset, 1, 2, control=control))
    assert [found.event_id for found in tail.sent_after("g-7", 11)] == [13]
    assert [event.message.control.version for event in tail.controls("g-7")] == [1, 2]
    tail.copies_stored_up_to = 1
    assert tail.unmarked_controls() == [], "the fence is not read"
    tail.fences.epoch = 3
    assert [each.event.message.control.version for each in tail.unmarked_controls()] == [2]
    assert (tail.controls("g-8"), tail.event(9)) == ([], None)
    found = tail.event(12)
    assert found is not None
    assert found.message.control.version == 2
    assert [tail.target(2, "g-7", event_id) for event_id in (12, 13)] == [Target(1, False, 0, True), Target(1, False)]


def test_the_events_after_a_join_are_found_in_front_of_a_repeated_send_that_kept_its_lower_id() -> None:
    tail = Tail(0)
    for offset, event_id in enumerate([10, 11, 5, 12]):
        tail.append(of_group(offset, event_id, 1, 2))
    assert [found.event_id for found in tail.sent_after("g-7", 8)] == [10, 11, 12]


def test_the_events_of_a_channel_are_of_its_members_and_the_newest_is_its_head() -> None:
    tail = Tail(0)
    for offset, event_id in enumerate([20, 30, 25]):
        made = of_group(offset, event_id, 1)
        made.is_to_members = True
        tail.append(made)
        assert tail.head("g-7") == Head(offset, 30 if offset else 20)
    assert tail.sent_after("g-7", 0) == []
    member, later = [Span(first=22)], [Span(first=26, last=29)]
    assert [tail.target(2, "g-7", each, member) is not None for each in (20, 30, 25)] == [False, True, True]
    assert [tail.target(2, "g-7", each, later) for each in (30, 25)] == [None, None]
    tail.evict(older_than_ms=2, max_bytes=10**6)
    assert tail.head("g-7") == Head(2, 30)
    tail.evict(older_than_ms=3, max_bytes=10**6)
    assert (tail.head("g-7"), len(tail)) == (None, 0)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sets(st.integers(1, 4), min_size=1)), max_size=60),
    st.integers(0, 100),
    st.integers(0, 20),
)
def test_the_tail_always_has_the_newest_entries_within_its_bounds(
    steps: list[tuple[int, set[int]]], older_than: int, room: int
) -> None:
    """After any appends and evictions: exactly the newest entries, within both bounds, and by recipient."""
    tail, whole, now = Tail(0), [], 0
    for offset, (pause, recipients) in enumerate(steps):
        now += pause
        whole.append(entry(offset, *sorted(recipients), key=(1, str(offset)), at_ms=now))
        tail.append(whole[-1])
        tail.evict(older_than_ms=now - older_than, max_bytes=room * (ENTRY_OVERHEAD + 100))
    left = whole[tail.complete_from :]
    assert all(item in left for item in whole if item.at_ms >= tail.complete_from_ms)
    assert len(tail) == len(left) <= room
    assert tail.size == sum(item.size for item in left)
    assert all(item.at_ms >= now - older_than for item in left)
    for user_id in range(1, 5):
        assert tail.newer(user_id, 0) == [item for item in left if user_id in item.recipient_ids]
    for item in whole:
        assert (tail.sent_with((1, str(item.offset))) is not None) == (item in left)


def test_a_user_s_own_change_of_a_chat_is_the_newest_of_its_kind() -> None:
    tail = Tail(0)
    changes = (
        Change(without_previews=WithoutPreviews(set=True)),
        Change(without_previews=WithoutPreviews()),
        Change(muted=Muted(until_ms=1)),
    )
    for offset, change in enumerate(changes):
        made = stored(offset, change=change)
        made.key = 1, str(offset)
        tail.append(made)
    own = tail.own_change(1, "d-1-2", "without_previews")
    assert own is not None
    assert own.event_id == 1_001
    missing = (1, "d-1-3", "muted"), (2, "d-1-2", "muted"), (1, "d-1-2", "archived")
    assert [tail.own_change(*each) for each in missing] == [None] * 3

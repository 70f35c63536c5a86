from hypothesis import given
from hypothesis import strategies as st

from messaging.gateway.tail import ENTRY_OVERHEAD, Entry, SendKey, Sent, Tail


def entry(
    offset: int, *recipient_ids: int, key: SendKey | None = None, at_ms: int | None = None, chat: str = "d-1-2"
) -> Entry:
    at_ms = offset if at_ms is None else at_ms
    return Entry(offset, at_ms, offset + 1_000, recipient_ids, key, chat, b"x" * 100)


def test_a_recipient_gets_the_newer_entries_in_order() -> None:
    tail = Tail(0)
    for offset in range(10):
        tail.append(entry(offset, 1 + offset % 2))
    assert [found.offset for found in tail.newer(1, 3)] == [4, 6, 8]
    assert [found.offset for found in tail.since(2, 6)] == [7, 9]
    assert tail.newer(3, 0) == []


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
    tail.accept((1, "a"), Sent(1_000, "d-1-2", 0))
    assert tail.sent_with((1, "a")) == Sent(1_000, "d-1-2", 0)
    tail.append(entry(0, 1, key=(1, "a")))
    tail.evict(older_than_ms=1, max_bytes=10**6)
    assert tail.sent_with((1, "a")) is None


def test_a_message_is_found_for_its_recipients_in_its_chat_only() -> None:
    tail = Tail(0)
    tail.append(entry(5, 1, 2))
    assert tail.has_message(1, 1_005, "d-1-2")
    assert not tail.has_message(1, 1_005, "d-1-3")
    assert not tail.has_message(3, 1_005, "d-1-2")


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
    assert tail.size == len(left) * (ENTRY_OVERHEAD + 100)
    assert all(item.at_ms >= now - older_than for item in left)
    for user_id in range(1, 5):
        assert tail.newer(user_id, 0) == [item for item in left if user_id in item.recipient_ids]
    for item in whole:
        assert (tail.sent_with((1, str(item.offset))) is not None) == (item in left)

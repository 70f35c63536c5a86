"""Pages are whole: nothing between their first and last message is left out, and report whether more is beyond."""

from hypothesis import given
from hypothesis import strategies as st

from messaging.archive.pages import (
    MAX_PAGE_BYTES,
    around,
    decode_cursor,
    decode_public_cursor,
    encode_cursor,
    encode_public_cursor,
    fitting,
    newest_of,
    oldest_of,
)
from messaging.archive.store.protocol import ChatCursor, Page, PublicCursor
from rookery.v1.archive_pb2 import HistoryMessage
from rookery.v1.session_pb2 import Message, Text
from shared.contract.chats import direct_chat_id
from shared.contract.ids import MAX_ID

sizes = st.lists(st.sampled_from([1, 1_000, MAX_PAGE_BYTES // 3, 2 * MAX_PAGE_BYTES]), max_size=12)


def history(lengths: list[int]) -> list[HistoryMessage]:
    """Messages with ids from 1 on."""
    return [
        HistoryMessage(message=Message(message_id=n, text=Text(body="x" * length)))
        for n, length in enumerate(lengths, start=1)
    ]


def before(messages: list[HistoryMessage], message_id: int, limit: int) -> Page:
    """Return the page of a store."""
    older = [each for each in messages if each.message.message_id < message_id]
    return Page(older[-limit:], len(older) > limit, len(older) < len(messages))


def after(messages: list[HistoryMessage], message_id: int, limit: int) -> Page:
    newer = [each for each in messages if each.message.message_id > message_id]
    return Page(newer[:limit], len(newer) < len(messages), len(newer) > limit)


def ids(page: Page) -> list[int]:
    return [each.message.message_id for each in page.messages]


def check_whole(page: Page, messages: list[HistoryMessage], limit: int) -> None:
    """The page is a run of the history, within its bounds, and reports whether more is beyond."""
    seen = ids(page)
    assert seen == list(range(seen[0], seen[0] + len(seen)))
    assert len(seen) <= limit
    assert page.has_older == (seen[0] > 1)
    assert page.has_newer == (seen[-1] < len(messages))
    between = sum(each.ByteSize() for each in page.messages[1:-1])
    assert between <= MAX_PAGE_BYTES


@given(lengths=sizes, point=st.integers(0, 13), limit=st.integers(1, 12))
def test_a_page_around_a_point_is_whole(lengths: list[int], point: int, limit: int) -> None:
    messages = history(lengths)
    page = around(before(messages, point, limit), after(messages, point - 1, limit), limit)
    if not messages:
        assert page.messages == []
        return
    check_whole(page, messages, limit)
    if 1 <= point <= len(messages):
        assert point in ids(page)
    if max(lengths) <= 1_000:
        assert len(page.messages) == min(limit, len(messages))


@given(lengths=sizes, limit=st.integers(1, 12))
def test_a_shortened_page_keeps_the_requested_end(lengths: list[int], limit: int) -> None:
    messages = history(lengths)
    newest = newest_of(before(messages, MAX_ID, limit), limit)
    oldest = oldest_of(after(messages, 0, limit), limit)
    if messages:
        check_whole(newest, messages, limit)
        check_whole(oldest, messages, limit)
        assert (ids(newest)[-1], ids(oldest)[0]) == (len(messages), 1)


def test_something_always_fits() -> None:
    long, short = history([2 * MAX_PAGE_BYTES, 1])
    assert fitting([long, short], MAX_PAGE_BYTES) == [long]
    assert fitting([short, long], MAX_PAGE_BYTES) == [short]
    assert fitting([], MAX_PAGE_BYTES) == []


users = st.integers(1, MAX_ID)


@given(at_ms=st.integers(0, MAX_ID), low=users, high=users, is_pinned=st.booleans())
def test_a_cursor_comes_back_as_it_was(at_ms: int, low: int, high: int, is_pinned: bool) -> None:
    cursor, of_group = ChatCursor(at_ms, direct_chat_id(low, high), is_pinned), ChatCursor(at_ms, f"g-{low}")
    assert decode_cursor(encode_cursor(cursor)) == (cursor if low != high else None)
    assert decode_cursor(encode_cursor(of_group)) == of_group
    public = PublicCursor("straße:\n", f"g-{low}")
    assert decode_public_cursor(encode_public_cursor(public)) == public


@given(text=st.text())
def test_any_other_text_is_no_cursor(text: str) -> None:
    assert decode_cursor(text) is None
    assert decode_public_cursor(text) is None

"""Pages of history from tables in memory: the messages of a model, in few rounds of reads."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from messaging.archive.store.cassandra import history as module
from messaging.archive.store.cassandra.batch import bucket_of
from messaging.archive.store.cassandra.history import HISTORY_STATEMENTS, History
from messaging.archive.store.cassandra.schema import BUCKET_BITS
from messaging.archive.store.protocol import Page
from rookery.v1.session_pb2 import Message, Text
from shared.contract.ids import MAX_ID, time_of

CHAT = "d-1-2"
SPAN = 1 << BUCKET_BITS
"""Of a bucket, as a distance of ids."""

NOW = 100 * SPAN + SPAN // 2


class Tables:
    """A session with the messages of one chat; each has been edited."""

    def __init__(self, message_ids: Iterable[int]) -> None:
        self.message_ids = sorted(message_ids)
        self.rounds: list[int] = []
        """The numbers of the reads that were sent together."""

    async def execute_all(self, work: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Any]]:
        self.rounds.append(len(work))
        return [self._rows(statement, *values) for statement, values in work]

    def _rows(self, cql: str, chat_id: str, bucket: int = 0, anchor: int = 0, *more: int) -> list[Any]:
        assert chat_id == CHAT
        if "buckets_by_chat" in cql:
            return [(each,) for each in sorted({bucket_of(each) for each in self.message_ids}, reverse=True)]
        *_, limit = more
        here = [each for each in self.message_ids if bucket_of(each) == bucket]
        if "state_by_chat" in cql:
            return [(each, each + 1, b"") for each in here if anchor <= each <= more[0]][:limit]
        compares = {"< ?": int.__lt__, "<= ?": int.__le__, "> ?": int.__gt__, ">= ?": int.__ge__}
        (compare,) = [compares[sign] for sign in compares if f"message_id {sign}" in cql]
        found = [each for each in here if compare(each, anchor)]
        if "ASC" not in cql:  # the order of the table
            found.reverse()
        return [_row(each) for each in found[:limit]]


def _row(message_id: int) -> tuple[object, ...]:
    message = Message(message_id=message_id, chat_id=CHAT, sender_id=1, text=Text(body="hello"))
    return CHAT, message_id, 1, f"c{message_id}", message.SerializeToString()


def history_of(tables: Tables) -> History:
    session: Any = tables
    return History(session, {cql: cql for cql in HISTORY_STATEMENTS})


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "wall_clock_ms", lambda: time_of(NOW))


def plain(page: Page) -> tuple[list[int], bool, bool]:
    assert [len(each.changes) for each in page.messages] == [1] * len(page.messages)
    return [each.message.message_id for each in page.messages], page.has_older, page.has_newer


# Thin over many buckets, dense at a border of buckets, some ahead of this clock, and at both ends.
message_ids = st.sets(
    st.integers(0, 120).map(lambda bucket: bucket * SPAN + 1)
    | st.integers(-4, 4).map(lambda step: 100 * SPAN + step)
    | st.sampled_from([1, MAX_ID - 1]),
    max_size=40,
)
anchors = st.sampled_from([0, 1, MAX_ID - 1, MAX_ID]) | st.integers(0, 121 * SPAN)


@given(message_ids, anchors, st.booleans(), st.integers(-2, 2), st.integers(1, 6))
@example({1, 3}, 2, False, 0, 1)
async def test_pages_are_those_of_a_model(
    message_ids: set[int], anchor: int, is_near: bool, step: int, limit: int
) -> None:
    if is_near and message_ids:
        anchor = min(max(sorted(message_ids)[anchor % len(message_ids)] + step, 0), MAX_ID)
    ordered = sorted(message_ids)
    below, above = [each for each in ordered if each < anchor], [each for each in ordered if each > anchor]
    history = history_of(Tables(ordered))
    before = plain(await history.page_before(CHAT, anchor, limit, None))
    assert before == (below[-limit:], len(below) > limit, len(below) < len(ordered))
    after = plain(await history.page_after(CHAT, anchor, limit, None))
    assert after == (above[:limit], len(above) < len(ordered), len(above) > limit)


@pytest.mark.parametrize(
    ("before_id", "newest_id", "rounds"),
    [
        (MAX_ID, NOW, [2, 1]),  # the newest page
        (NOW - (50 << 22), NOW, [3, 1]),  # an older one
        (MAX_ID, NOW + SPAN, [2, 1, 1]),  # the clock of the gateway was ahead
        (MAX_ID, NOW - 5 * SPAN, [2, 1, 1]),  # nothing was written for two months
    ],
)
async def test_a_page_takes_a_round_for_its_messages_and_one_for_their_changes(
    before_id: int, newest_id: int, rounds: list[int]
) -> None:
    tables = Tables(newest_id - (each << 22) for each in range(100))
    page = await history_of(tables).page_before(CHAT, before_id, 20, None)
    assert len(page.messages) == 20
    assert tables.rounds == rounds

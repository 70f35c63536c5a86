"""Missed messages are read from a time before the gap, page by page, until history is complete."""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from rookery.client import Client, Gap, Refused, Unreachable
from rookery.client.catch_up import LAG_PAUSES, OVERLAP_MS, missed, read_missed
from rookery.v1 import session_pb2 as pb
from rookery.v1.archive_pb2 import Chat, HistoryMessage, ListChatsResponse, ListMessagesResponse
from shared.contract.ids import first_id_at, time_of

SINCE_MS = 1_800_000_000_000


class FakeApi:
    """Chats with messages of these times; a page has two. `failures` are raised first."""

    def __init__(self, chats: dict[str, list[int]], failures: Sequence[Exception] = ()) -> None:
        self.chats_by_id = chats
        self.changes: dict[int, list[pb.Event]] = {}
        """By the time of the message."""
        self.failures = list(failures)
        self.requests: list[dict[str, Any]] = []

    async def chats(self, **query: Any) -> ListChatsResponse:
        await self._note(query)
        chat_ids = list(self.chats_by_id)
        start = int(query["cursor"] or 0)
        more = str(start + 2) if start + 2 < len(chat_ids) else ""
        return ListChatsResponse(chats=[Chat(chat_id=each) for each in chat_ids[start : start + 2]], next_cursor=more)

    async def history(self, chat_id: str, *, limit: int, after_ms: int = 0, after_id: int = 0) -> ListMessagesResponse:
        await self._note({"chat_id": chat_id, "after_ms": after_ms, "after_id": after_id})
        after = max(after_id, first_id_at(after_ms) - 1)
        newer = [each for each in map(first_id_at, self.chats_by_id[chat_id]) if each > after]
        items = [
            HistoryMessage(
                message=pb.Message(message_id=each, chat_id=chat_id), changes=self.changes.get(time_of(each), ())
            )
            for each in newer[:2]
        ]
        return ListMessagesResponse(messages=items, has_newer=len(newer) > 2)

    async def _note(self, query: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        self.requests.append(query)
        if self.failures:
            raise self.failures.pop(0)


async def read(api: Any, since_ms: int = SINCE_MS) -> list[tuple[str, int]]:
    return [(item.message.chat_id, time_of(item.message.message_id)) async for item in read_missed(api, since_ms)]


async def test_everything_since_five_minutes_before_the_gap_is_read() -> None:
    """Also a message that was accepted on its retry, under an id from before the gap."""
    late = [SINCE_MS - OVERLAP_MS + each for each in (-1, 0, 1, OVERLAP_MS, OVERLAP_MS + 9)]
    api = FakeApi({"a": late, "b": [SINCE_MS], "c": [SINCE_MS + 1]})
    assert await read(api) == [*(("a", each) for each in late[1:]), ("b", SINCE_MS), ("c", SINCE_MS + 1)]


async def test_where_nothing_is_missing_a_chat_takes_one_request() -> None:
    api = FakeApi({"a": [SINCE_MS]})
    await read(api)
    since = SINCE_MS - OVERLAP_MS
    assert api.requests == [
        {"changed_since_ms": since, "limit": 100, "cursor": ""},
        {"chat_id": "a", "after_ms": since, "after_id": 0},
    ]


async def test_history_is_read_again_while_it_may_lag_and_a_message_is_yielded_again_only_with_new_changes(
    autojump_clock: MockClock,
) -> None:
    api = FakeApi({"a": [SINCE_MS]})
    begin, found = trio.current_time(), []
    async with aclosing(missed(api, SINCE_MS)) as items:  # type: ignore[arg-type]
        async for item in items:
            found.append((time_of(item.message.message_id), trio.current_time() - begin))
            if len(found) == 1:
                api.chats_by_id["a"] = [SINCE_MS - 7, SINCE_MS, SINCE_MS + 5]
                api.changes[SINCE_MS] = [pb.Event(event_id=1)]
    assert found == [(SINCE_MS, 0), (SINCE_MS - 7, 3), (SINCE_MS, 3), (SINCE_MS + 5, 3)]
    assert trio.current_time() - begin == sum(LAG_PAUSES)


async def test_a_failed_reading_is_repeated_unless_a_retry_makes_no_sense(autojump_clock: MockClock) -> None:
    away = Refused("unavailable", "Not now.", retryable=True, retry_after_ms=5_000)
    api = FakeApi({"a": [SINCE_MS]}, [Unreachable("away"), away])
    begin = trio.current_time()
    async with aclosing(missed(api, SINCE_MS)) as items:  # type: ignore[arg-type]
        await anext(items)
    assert trio.current_time() - begin == 3 + 5
    api.failures.append(Refused("suspended", "No."))
    with pytest.raises(Refused, match="No"):
        await anext(missed(api, SINCE_MS))  # type: ignore[arg-type]


async def test_a_gap_begins_at_the_newest_event_and_not_at_an_own_accepted_message(
    client: Client,
    connection: Any,
) -> None:
    newest = first_id_at(SINCE_MS)
    connection.message(newest)
    submission = client.submit(9, "mine")
    await connection.accept_next(first_id_at(SINCE_MS + 60_000))
    await submission.answer()
    connection.reply(pb.ServerFrame(gap=pb.Gap(dropped=579)))
    connection.reply(pb.ServerFrame(gap=pb.Gap(since_ms=17)))
    gaps: list[int] = []
    async for event in client.events():
        if isinstance(event, Gap):
            gaps.append(event.since_ms)
        if len(gaps) == 2:
            break
    assert gaps == [SINCE_MS, 17]

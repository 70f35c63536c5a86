"""After a Gap the missed events are read, each once, until history is complete up to the Gap."""

from contextlib import aclosing
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from rookery.client import CatchUp, Client, Gap, MissedEvent, Refused, TooOld, Unreachable, list_chats
from rookery.client.core import Session
from rookery.v1 import session_pb2 as pb
from rookery.v1.archive_pb2 import ListChatsResponse
from shared.contract.ids import first_id_at, time_of
from tests.rookery.client.archive import MAX_AGE_MS, START_MS, FakeArchive


@pytest.fixture
async def server() -> FakeArchive:
    return FakeArchive()


@pytest.fixture
async def catch_up(server: FakeArchive) -> CatchUp:
    api: Any = server
    catch_up = CatchUp(api, Session().is_new)
    await catch_up.begin()
    await trio.sleep(3600)
    return catch_up


async def read(catch_up: CatchUp, server: FakeArchive) -> list[MissedEvent]:
    return [event async for event in catch_up.events(Gap(at_ms=server.now_ms))]


async def test_all_missed_events_of_all_chats_are_read_until_the_server_knows_that_no_more_will_come(
    catch_up: CatchUp, server: FakeArchive, autojump_clock: MockClock
) -> None:
    missed = [server.log("a"), server.log("b"), server.log("c"), server.log("a", edited=pb.Edited())]
    server.lag_ms = 60_000
    begin = trio.current_time()
    assert await read(catch_up, server) == [missed[0].message, missed[3], missed[1].message, missed[2].message]
    assert trio.current_time() - begin == 70  # the lag, and the time that an id may be older than its record
    assert time_of(catch_up.listed_up_to) == server.now_ms - 70_000
    assert server.requests[-3:] == ["changes a", "changes b", "changes c"]


async def test_an_event_is_yielded_once_by_the_session_or_by_one_of_several_readings(
    server: FakeArchive, autojump_clock: MockClock
) -> None:
    api: Any = server
    session = Session()
    catch_up = CatchUp(api, session.is_new)
    await catch_up.begin()
    live, missed = server.log("a"), server.log("a")
    list(session.receive(pb.ServerFrame(event=live)))
    async with aclosing(catch_up.events(Gap(at_ms=server.now_ms))) as events:
        assert await anext(events) == missed.message
        assert list(session.receive(pb.ServerFrame(event=missed))) == []
        await trio.sleep(60)
        later = server.log("a")
        assert await read(catch_up, server) == []  # the first reading goes on for both
        assert [event async for event in events] == [later.message]
    assert await read(catch_up, server) == []


async def test_a_chat_that_moves_between_pages_while_they_are_read_is_read(
    catch_up: CatchUp, server: FakeArchive, autojump_clock: MockClock
) -> None:
    missed = {chat_id: server.log(chat_id).message for chat_id in "cba"}
    await trio.sleep(60)
    newer: list[pb.Message] = []

    def move() -> None:
        if not newer:
            newer.append(server.log("c").message)

    server.between_pages = move
    assert await read(catch_up, server) == [missed["a"], missed["b"], missed["c"], *newer]


async def test_a_list_whose_completeness_is_not_known_is_read_once(server: FakeArchive) -> None:
    for chat_id in "abc":
        server.log(chat_id)

    async def chats(**query: Any) -> ListChatsResponse:
        page = await server.chats(**query)
        page.complete_up_to = 0
        return page

    listed, complete_up_to = await list_chats(chats)
    assert ({*listed}, complete_up_to) == ({"a", "b", "c"}, 0)
    assert len(server.requests) == 2


async def test_a_late_event_is_read_although_its_id_is_older_than_the_newest_complete_one(
    catch_up: CatchUp, server: FakeArchive, autojump_clock: MockClock
) -> None:
    await read(catch_up, server)
    await trio.sleep(1)
    late = server.log("a", age_ms=600_000)
    assert late.event_id < catch_up.listed_up_to
    assert await read(catch_up, server) == [late.message]


async def test_a_chat_of_which_too_much_is_missing_is_yielded_and_read_on_from_there(
    catch_up: CatchUp, server: FakeArchive, autojump_clock: MockClock
) -> None:
    server.log("a")
    missed = server.log("b")
    server.too_old["a"] = first_id_at(server.now_ms)
    await trio.sleep(60)
    assert await read(catch_up, server) == [TooOld("a"), missed.message]
    server.too_old.clear()
    newer = server.log("a")
    assert await read(catch_up, server) == [newer.message]


async def test_held_messages_are_read_on_from_where_they_are_complete(
    catch_up: CatchUp, server: FakeArchive, autojump_clock: MockClock
) -> None:
    known = server.log("a")
    await trio.sleep(60)
    catch_up.holds("a", first_id_at(server.now_ms - MAX_AGE_MS))
    catch_up.holds("a", 0)  # a page whose server did not know
    newer = server.log("a")
    assert known.event_id < catch_up.after["a"] < newer.event_id
    assert await read(catch_up, server) == [newer.message]
    assert catch_up.after == {}  # the list is complete up to a higher id


async def test_a_request_without_an_answer_is_repeated_unless_a_retry_makes_no_sense(
    catch_up: CatchUp, server: FakeArchive, autojump_clock: MockClock
) -> None:
    missed = server.log("a")
    away = Refused("unavailable", "Not now.", retryable=True, retry_after_ms=60_000)
    server.failures = [*[Unreachable("away")] * 5, away]
    begin = trio.current_time()
    async with aclosing(catch_up.events(Gap(at_ms=server.now_ms))) as events:
        assert await anext(events) == missed.message
    assert trio.current_time() - begin == 5 + 10 + 20 + 30 + 30 + 60
    server.failures = [Refused("suspended", "No.")]
    with pytest.raises(Refused, match="No"):
        await read(catch_up, server)


async def test_a_client_that_began_without_an_answer_reads_all_chats(
    server: FakeArchive, autojump_clock: MockClock
) -> None:
    api: Any = server
    catch_up = CatchUp(api, Session().is_new)
    server.failures = [Unreachable("away")]
    await catch_up.begin()
    missed = server.log("a")
    assert await read(catch_up, server) == [missed.message]


async def test_a_gap_begins_at_the_newest_event_and_ends_now_if_the_server_does_not_tell(
    client: Client, connection: Any
) -> None:
    """The user's own accepted messages are no such event."""
    newest = first_id_at(START_MS)
    connection.message(newest)
    submission = client.submit(9, "mine")
    await connection.accept_next(first_id_at(START_MS + 60_000))
    await submission.answer()
    connection.reply(pb.ServerFrame(gap=pb.Gap(dropped=579)))
    connection.reply(pb.ServerFrame(gap=pb.Gap(since_ms=17, at_ms=18)))
    gaps: list[tuple[int, int]] = []
    async for event in client.events():
        if isinstance(event, Gap):
            gaps.append((event.since_ms, event.at_ms))
        if len(gaps) == 2:
            break
    assert gaps == [(START_MS, START_MS), (17, 18)]


async def test_of_a_channel_only_its_head_is_yielded_and_nothing_of_an_open_one(
    server: FakeArchive, autojump_clock: MockClock
) -> None:
    api: Any = server
    server.channels = {"a", "b"}
    noted: list[str] = []
    catch_up = CatchUp(
        api, Session().is_new, lambda: server.now_ms, lambda chat: noted.append(chat.chat_id), "b".__eq__
    )
    await catch_up.begin()
    server.log("a")
    server.log("b")
    assert await read(catch_up, server) == [pb.ChannelHead(chat_id="a")]
    assert {*noted} == {"a", "b"}

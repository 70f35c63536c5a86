"""After a Gap the missed events are read, each once, until history is complete up to the Gap."""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from rookery.client import CatchUp, Client, Gap, MissedEvent, Refused, TooOld, Unreachable
from rookery.client.core import Session
from rookery.v1 import session_pb2 as pb
from rookery.v1.archive_pb2 import Chat, ListChangesResponse, ListChatsResponse
from shared.contract.ids import first_id_at, time_of

START_MS = 1_800_000_000_000
"""The server's time at the start of the clock."""

MAX_AGE_MS = 10_000
"""An event whose id is older when the log stores it is late."""


class FakeServer:
    """An archive that has recorded the log up to `lag_ms` before now. A page of chats has two."""

    def __init__(self) -> None:
        self.lag_ms = 0
        self.too_old: set[str] = set()
        self.failures: list[Exception] = []
        """Raised first."""
        self.requests: list[str] = []
        self.between_pages: Callable[[], object] = lambda: None
        self._started = trio.current_time()
        self._log: list[tuple[int, str, pb.Event]] = []

    @property
    def now_ms(self) -> int:
        return START_MS + round((trio.current_time() - self._started) * 1000)

    def log(self, chat_id: str, *, age_ms: int = 0, **body: Any) -> pb.Event:
        """Store an event now, with an id that is so old: a change with this body, or a message."""
        event = pb.Event(event_id=first_id_at(self.now_ms - age_ms) + len(self._log))
        if body:
            event.change.CopyFrom(pb.Change(chat_id=chat_id, target_id=1, **body))
        else:
            event.message.CopyFrom(pb.Message(message_id=event.event_id, chat_id=chat_id))
        self._log.append((self.now_ms, chat_id, event))
        return event

    async def chats(self, *, changed_since_ms: int = 0, limit: int, cursor: str = "") -> ListChatsResponse:
        await self._note(f"chats {cursor}")
        changed: dict[str, int] = {}
        for at_ms, chat_id, event in self._recorded():
            changed[chat_id] = max(changed.get(chat_id, 0), time_of(event.event_id), at_ms - MAX_AGE_MS)
        order = sorted((-at_ms, chat_id) for chat_id, at_ms in changed.items() if at_ms >= changed_since_ms)
        key, _, last = cursor.partition(" ")
        left = [each for each in order if not cursor or each > (int(key), last)]
        response = ListChatsResponse(complete_up_to=self._complete_up_to())
        response.chats.extend(Chat(chat_id=chat_id) for _, chat_id in left[:2])
        if len(left) > 2:
            response.next_cursor = f"{left[1][0]} {left[1][1]}"
            self.between_pages()
        return response

    async def changes(self, chat_id: str, *, after: int) -> ListChangesResponse:
        await self._note(f"changes {chat_id}")
        if chat_id in self.too_old:
            return ListChangesResponse(too_old=True)
        events = [
            event
            for at_ms, chat, event in self._recorded()
            if chat == chat_id and max(event.event_id, first_id_at(at_ms - MAX_AGE_MS)) > after
        ]
        return ListChangesResponse(events=events, complete_up_to=self._complete_up_to())

    def _recorded(self) -> Sequence[tuple[int, str, pb.Event]]:
        return [each for each in self._log if each[0] <= self.now_ms - self.lag_ms]

    def _complete_up_to(self) -> int:
        return first_id_at(self.now_ms - self.lag_ms - MAX_AGE_MS)

    async def _note(self, request: str) -> None:
        await trio.lowlevel.checkpoint()
        self.requests.append(request)
        if self.failures:
            raise self.failures.pop(0)


@pytest.fixture
async def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
async def catch_up(server: FakeServer) -> CatchUp:
    api: Any = server
    catch_up = CatchUp(api, Session().is_new)
    await catch_up.begin()
    await trio.sleep(3600)
    return catch_up


async def read(catch_up: CatchUp, server: FakeServer) -> list[MissedEvent]:
    return [event async for event in catch_up.events(Gap(at_ms=server.now_ms))]


async def test_all_missed_events_of_all_chats_are_read_until_the_server_knows_that_no_more_will_come(
    catch_up: CatchUp, server: FakeServer, autojump_clock: MockClock
) -> None:
    missed = [server.log("a"), server.log("b"), server.log("c"), server.log("a", edited=pb.Edited())]
    server.lag_ms = 60_000
    begin = trio.current_time()
    assert await read(catch_up, server) == [missed[0].message, missed[3], missed[1].message, missed[2].message]
    assert trio.current_time() - begin == 70  # the lag, and the time that an id may be older than its record
    assert time_of(catch_up.listed_up_to) == server.now_ms - 70_000
    assert server.requests[-3:] == ["changes a", "changes b", "changes c"]


async def test_an_event_is_yielded_once_by_the_session_or_by_one_of_several_readings(
    server: FakeServer, autojump_clock: MockClock
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
    catch_up: CatchUp, server: FakeServer, autojump_clock: MockClock
) -> None:
    missed = {chat_id: server.log(chat_id).message for chat_id in "cba"}
    await trio.sleep(60)
    newer: list[pb.Message] = []

    def move() -> None:
        if not newer:
            newer.append(server.log("c").message)

    server.between_pages = move
    assert await read(catch_up, server) == [missed["a"], missed["b"], missed["c"], *newer]


async def test_a_late_event_is_read_although_its_id_is_older_than_the_newest_complete_one(
    catch_up: CatchUp, server: FakeServer, autojump_clock: MockClock
) -> None:
    await read(catch_up, server)
    await trio.sleep(1)
    late = server.log("a", age_ms=600_000)
    assert late.event_id < catch_up.listed_up_to
    assert await read(catch_up, server) == [late.message]


async def test_a_chat_of_which_too_much_is_missing_is_yielded_and_read_on_from_there(
    catch_up: CatchUp, server: FakeServer, autojump_clock: MockClock
) -> None:
    server.log("a")
    missed = server.log("b")
    server.too_old.add("a")
    await trio.sleep(60)
    assert await read(catch_up, server) == [TooOld("a"), missed.message]
    server.too_old.clear()
    newer = server.log("a")
    assert await read(catch_up, server) == [newer.message]


async def test_held_messages_are_read_on_from_where_they_are_complete(
    catch_up: CatchUp, server: FakeServer, autojump_clock: MockClock
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
    catch_up: CatchUp, server: FakeServer, autojump_clock: MockClock
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
    server: FakeServer, autojump_clock: MockClock
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

"""The client follows the user's channels, and has each event of the open ones once, whatever happens to its session."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock

from rookery.client import Client, Gap, GatewayEndpoints, Refused, SignedOut, TooOld, Unreachable, User, channels
from rookery.client.channels import READ_AGAIN_EVENTS, READ_AGAIN_SECONDS
from rookery.v1 import session_pb2 as pb
from rookery.v1.archive_pb2 import ListChangesResponse
from rookery.v1.groups_pb2 import ROLE_MEMBER, Control, GroupSettings, Member, Span
from shared.background import open_background
from shared.contract.ids import first_id_at
from shared.contract.sessions import MAX_FOLLOWED, MAX_OPEN
from tests.rookery.client.archive import FakeArchive

CHAT = "g-1"
ME = 7


class FakePlatform(FakeArchive):
    """A gateway of one user, too: it sends the events of open channels once it has accepted a Follow."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = {CHAT}
        self.me = User(ME, "ada", "Ada")
        self.follows: list[tuple[list[str], list[str]]] = []
        self.refusals: list[pb.Refused] = []
        """The next answers to Follow."""
        self.followed_at: list[float] = []
        self.is_silent = self.is_signed_out = False
        self._open: set[str] = set()
        self._connections: list[_Connection] = []
        self._missed: list[pb.Event] = []  # that concern the user: for the next connection

    async def access_token(self, *, older_than: str = "") -> str:
        if self.is_signed_out:
            raise SignedOut("unauthenticated", "Wrong password.")
        return "token"

    async def gateway(self, unreachable: str = "") -> GatewayEndpoints:
        return GatewayEndpoints("", "gateway:1")

    @asynccontextmanager
    async def connect(self, _: str) -> AsyncIterator["_Connection"]:
        connection = _Connection(self)
        yield connection
        self.lose(connection)

    def receive(self, connection: "_Connection", frame: pb.ClientFrame) -> None:
        """Answer a frame of the client."""
        connection.received += 1
        if frame.HasField("authenticate"):
            self._connections.append(connection)
            welcome = pb.Welcome(user_id=ME, at_ms=self.now_ms, limits=pb.Limits(max_unanswered_sends=8))
            self.reply(welcome=welcome)
            for event in self._missed:
                self.reply(event=event)
            self._missed.clear()
        elif frame.HasField("ping"):
            self.reply(pong=pb.Pong())
        elif frame.HasField("follow") and not self.is_silent:
            chat_ids, open_chat_ids = list(frame.follow.chat_ids), list(frame.follow.open_chat_ids)
            self.follows.append((chat_ids, open_chat_ids))
            self.followed_at.append(trio.current_time())
            unknown = [index for index, chat_id in enumerate(chat_ids) if chat_id not in self.channels]
            if unknown or self.refusals:
                refused = self.refusals.pop(0) if self.refusals else _no_member(unknown[0])
                refused.frame = connection.received
                self.reply(refused=refused)
            else:
                self._open = set(open_chat_ids)
                self.reply(accepted=pb.Accepted(frame=connection.received, at_ms=self.now_ms))

    def reply(self, **frame: Any) -> None:
        self._connections[-1].send_nowait(pb.ServerFrame(**frame))

    def lose(self, connection: "_Connection | None" = None) -> None:
        """End the connection."""
        for lost in [connection] if connection else self._connections[-1:]:
            lost.close()
            if lost in self._connections:
                self._connections.remove(lost)
                self._open.clear()

    def post(self, *, age_ms: int = 0, is_dropped: bool = False) -> int:
        """Somebody writes to the channel; the frame is sent, or dropped and reported."""
        event = self.log(CHAT, age_ms=age_ms)
        if CHAT in self._open and not is_dropped:
            self.reply(event=event)
        elif CHAT in self._open:
            self.reply(gap=pb.Gap(at_ms=self.now_ms, dropped=1))
        return event.event_id

    def change(self, chat_id: str, control: Control) -> None:
        """Make a control change that concerns the user: they receive it now, or in their next session."""
        event = self.log(chat_id)
        event.message.control.CopyFrom(control)
        if self._connections:
            self.reply(event=event)
        else:
            self._missed.append(event)

    def join(self, chat_id: str = CHAT) -> None:
        self.channels.add(chat_id)
        self.change(chat_id, Control(members=[Member(user_id=ME, role=ROLE_MEMBER)]))

    def leave(self, chat_id: str = CHAT) -> None:
        self.channels.discard(chat_id)
        self._open.discard(chat_id)
        self.change(chat_id, Control(members=[Member(user_id=ME, former_role=ROLE_MEMBER)]))


def _no_member(index: int) -> pb.Refused:
    return pb.Refused(code="not_found", message="You are no member.", field=f"follow.chat_ids[{index}]")


class _Connection:
    """The session's stream."""

    def __init__(self, platform: FakePlatform) -> None:
        self.received = 0
        self._platform = platform
        self._sequence = 0
        self._send, self._receive = trio.open_memory_channel[pb.ServerFrame](20_000)
        self.close = self._send.close

    def send_nowait(self, frame: pb.ServerFrame) -> None:
        self._sequence += 1
        frame.sequence = self._sequence
        self._send.send_nowait(frame)

    async def send(self, frame: pb.ClientFrame) -> None:
        await trio.lowlevel.checkpoint()
        self._platform.receive(self, frame)

    async def receive(self) -> pb.ServerFrame | None:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            return None


@asynccontextmanager
async def open_platform(
    other_chats: Iterable[str] = (), *, moves_up: bool = False, are_channels: bool = False
) -> AsyncIterator[tuple[FakePlatform, Client]]:
    """With `moves_up`, the channel changes between the first two pages of the list."""
    platform: Any = FakePlatform()
    platform.channels |= {*other_chats} if are_channels else set()
    for chat_id in (CHAT, *other_chats):
        platform.log(chat_id, age_ms=60_000)

    def move() -> None:
        platform.between_pages = lambda: None
        platform.log(CHAT)

    if moves_up:
        platform.between_pages = move
    client = Client(platform, "test", "grpc", platform.connect)
    async with open_background() as nursery:
        await client._open(nursery, follow_channels=True)
        await trio.sleep(20)
        yield platform, client


@pytest.fixture
async def opened() -> AsyncIterator[tuple[FakePlatform, Client]]:
    async with open_platform() as opened:
        yield opened


async def taken(client: Client) -> list[Any]:
    """The events that wait to be read."""
    found: list[Any] = []
    with trio.move_on_after(0.1):
        await receive_all(client, found)
    return found


async def receive_all(client: Client, found: list[Any]) -> None:
    async for event in client.events():
        found += [event]


def ids_of(events: list[Any]) -> list[int]:
    return [event.message_id for event in events if isinstance(event, pb.Message)]


OPERATIONS = ("post", "post", "late", "drop", "lose", "wait", "wait", "open", "close", "leave", "join")


async def play(operations: list[str], lag_ms: int) -> None:
    """An event counts if it is posted between the return of `open` and `close`, while the user is a member; at `close`,
    if it has come."""
    async with open_platform() as (platform, client), open_background() as nursery:
        platform.lag_ms = lag_ms
        found: list[Any] = []
        nursery.start_soon(receive_all, client, found)
        expected: list[int] = []
        is_open, is_member = False, True
        for operation in operations:
            match operation:
                case "post" | "late" | "drop" if is_member:
                    age_ms, is_dropped = 60_000 if operation == "late" else 0, operation == "drop"
                    event_id = platform.post(age_ms=age_ms, is_dropped=is_dropped)
                    expected += [event_id] if is_open else []
                case "lose":
                    platform.lose()
                case "wait":
                    await trio.sleep(3)
                case "rest":
                    await trio.sleep(60)
                case "open" if is_member and not is_open:
                    await client.channels.open(CHAT)
                    is_open = True
                case "close":
                    expected = ids_of(found)  # the missing events are read some seconds later
                    client.channels.close(CHAT)
                    is_open = False
                case "leave" if is_member:
                    platform.leave()
                    is_member = False
                case "join" if not is_member:
                    platform.join()
                    is_member = True
                case _:
                    pass
            await trio.sleep(0.01)
        await trio.sleep(lag_ms / 1000 + 60)
        ids = ids_of(found)
        assert len(ids) == len(set(ids))
        assert set(expected) <= set(ids)
        assert not [event for event in found if isinstance(event, TooOld)]


ENDINGS = ("lose post", "drop", "lose post leave", "leave rest join post")
"""After which nothing happens that makes the client read again."""


@example(["open", "lose", "late", "close"], "lose post", 100)
@example(["open", "drop", "wait", "close", "wait", "wait", "wait"], "lose post", 100)
@given(st.lists(st.sampled_from(OPERATIONS), max_size=20), st.sampled_from(ENDINGS), st.sampled_from((100, 20_000)))
def test_every_event_of_an_open_channel_comes_once(operations: list[str], ending: str, lag_ms: int) -> None:
    trio.run(
        play, [*operations, "join", "open", "rest", *ending.split()], lag_ms, clock=MockClock(autojump_threshold=0)
    )


async def test_the_channels_of_the_list_are_followed_until_the_user_leaves_and_so_are_those_that_they_join(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock
) -> None:
    platform, client = opened
    platform.refusals = [pb.Refused(code="rate_limited", retryable=True, retry_after_ms=30_000)]
    begin = trio.current_time()
    platform.join("g-2")
    await trio.sleep(60)
    platform.change("g-3", Control(settings=GroupSettings(is_channel=True)))  # the server refuses it
    platform.change("g-4", Control(settings=GroupSettings(), members=[Member(user_id=ME, role=ROLE_MEMBER)]))
    platform.change(CHAT, Control(members=[Member(user_id=9, role=ROLE_MEMBER)]))
    await trio.sleep(1)
    platform.leave(CHAT)
    await trio.sleep(1)
    platform.lose()
    await trio.sleep(5)
    followed = [chat_ids for chat_ids, _ in platform.follows]
    both, three = [CHAT, "g-2"], [CHAT, "g-2", "g-3"]
    assert followed == [[CHAT], both, both, three, both, ["g-2"], ["g-2"]]
    assert client.channels.followed == ("g-2",)
    assert platform.followed_at[2] - begin >= 30


async def test_a_channel_is_followed_again_if_only_history_has_the_control_change_that_adds_the_user(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock
) -> None:
    platform, client = opened
    await client.channels.open(CHAT)
    platform.leave()
    await trio.sleep(1)
    assert not client.channels.followed
    platform.channels.add(CHAT)
    added = Control(members=[Member(user_id=ME, role=ROLE_MEMBER)])
    platform.log(CHAT).message.control.CopyFrom(added)
    platform.reply(gap=pb.Gap(at_ms=platform.now_ms, dropped=1))
    await trio.sleep(60)
    assert client.channels.followed == (CHAT,)


async def test_a_channel_that_can_not_be_opened_stays_closed(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock
) -> None:
    platform, client = opened
    with pytest.raises(Refused, match="no member") as refused:
        await client.channels.open("g-9")
    assert refused.value.code == "not_found"
    platform.is_silent = True
    with pytest.raises(Unreachable, match="no answer within 30 s"):
        await client.channels.open(CHAT)
    with trio.move_on_after(1):
        await client.channels.open(CHAT)
    assert not client.channels.is_open(CHAT)
    assert CHAT in client.channels.followed
    async with trio.open_nursery() as nursery:
        for number in range(MAX_OPEN):
            nursery.start_soon(client.channels.open, f"g-{number}")
        await trio.sleep(1)
        with pytest.raises(ValueError, match="20 channels"):
            await client.channels.open("g-99")
        nursery.cancel_scope.cancel()


async def test_channels_behind_any_number_of_other_chats_are_followed(autojump_clock: MockClock) -> None:
    others = [f"d-{ME}-{user_id}" for user_id in range(10, 10 + MAX_FOLLOWED)]
    async with open_platform(others) as (platform, client):
        assert client.channels.followed == (CHAT,)
        assert len([each for each in platform.requests if each.startswith("chats")]) > MAX_FOLLOWED / 2


async def test_a_channel_that_moves_between_two_pages_of_the_list_is_followed(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_platform(["d-7-10", "d-7-11"], moves_up=True) as (_, client):
        assert client.channels.followed == (CHAT,)
    monkeypatch.setattr(channels, "MAX_FOLLOWED", 3)
    async with open_platform(["g-2", "g-3"], moves_up=True, are_channels=True) as (_, client):
        assert {*client.channels.followed} == {CHAT, "g-2", "g-3"}


async def test_all_callers_that_open_a_channel_learn_at_once_that_it_is_refused(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock
) -> None:
    _, client = opened
    codes: list[str] = []

    async def open_it() -> None:
        with pytest.raises(Refused) as refused:
            await client.channels.open("g-9")
        codes.append(refused.value.code)

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(open_it)
    assert codes == ["not_found"] * 2


async def test_a_channel_opens_for_the_second_caller_if_the_first_one_gives_up(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock
) -> None:
    platform, client = opened
    platform.is_silent = True
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as first:
            first.start_soon(client.channels.open, CHAT)
            await trio.sleep(1)
            nursery.start_soon(client.channels.open, CHAT)
            await trio.sleep(1)
            first.cancel_scope.cancel()
        platform.is_silent = False
        platform.lose()
    posted = platform.post()
    assert client.channels.is_open(CHAT)
    assert ids_of(await taken(client)) == [posted]


async def test_an_opening_that_fails_leaves_the_channel_open_that_was_closed_and_opened_again_meanwhile(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock
) -> None:
    platform, client = opened
    platform.is_silent = True

    async def give_up() -> None:
        with pytest.raises(Unreachable):
            await client.channels.open(CHAT, deadline=20)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up)
        await trio.sleep(1)
        client.channels.close(CHAT)
        platform.is_silent = False
        platform.lose()
        await client.channels.open(CHAT, deadline=15)
    assert client.channels.is_open(CHAT)


async def test_more_channels_than_a_session_may_follow_displace_the_oldest_closed_ones(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock
) -> None:
    platform, client = opened
    await client.channels.open(CHAT)
    numbers = range(2, MAX_FOLLOWED + 3)
    for number in numbers:
        platform.join(f"g-{number}")
    await trio.sleep(1)
    assert platform.follows[-1] == ([CHAT, *(f"g-{number}" for number in numbers[2:])], [CHAT])
    with pytest.raises(ValueError, match="200 channels"):
        client.follow([f"g-{number}" for number in numbers])


async def test_when_the_sign_in_ends_no_channel_opens_any_more(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock
) -> None:
    platform, client = opened
    platform.is_silent = True

    async def open_it() -> None:
        with pytest.raises(SignedOut):
            await client.channels.open(CHAT)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_it)
        await trio.sleep(1)
        platform.is_signed_out = True
        platform.lose()
    await open_it()


async def test_a_channel_of_which_too_much_is_missing_is_yielded_once_and_read_on_from_there(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock
) -> None:
    platform, client = opened
    await client.channels.open(CHAT)
    await trio.sleep(60)
    platform.too_old = {CHAT: first_id_at(platform.now_ms - 15_000)}
    platform.lose()
    await trio.sleep(3)
    missed = platform.post(is_dropped=True)
    await trio.sleep(60)
    found = await taken(client)
    assert [event for event in found if isinstance(event, TooOld)] == [TooOld(CHAT)]
    assert missed in ids_of(found)


async def test_a_periodic_reading_that_is_too_large_does_not_make_the_next_reconnect_miss_too_much(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock
) -> None:
    platform, client = opened
    await client.channels.open(CHAT)
    await trio.sleep(60)
    platform.too_old = {CHAT: first_id_at(platform.now_ms - 15_000)}
    posted = [platform.post() for _ in range(READ_AGAIN_EVENTS)]
    await trio.sleep(3)
    platform.lose()
    posted.append(platform.post())
    await trio.sleep(60)
    found = await taken(client)
    assert not [event for event in found if isinstance(event, TooOld)]
    assert ids_of(found) == posted


async def test_a_periodic_reading_that_is_too_large_counts_nothing_that_a_dead_connection_did_not_bring(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock
) -> None:
    platform, client = opened
    await client.channels.open(CHAT)
    await trio.sleep(60)
    platform.post()
    platform.log(CHAT)
    platform.too_old = {CHAT: first_id_at(platform.now_ms + 1_000)}
    await trio.sleep(READ_AGAIN_SECONDS)
    platform.lose()
    await trio.sleep(60)
    assert TooOld(CHAT) in await taken(client)


def fill_queue_during_next_reading(platform: FakePlatform, client: Client, patch: pytest.MonkeyPatch) -> None:
    read = platform.changes

    async def changes(chat_id: str, *, after: int) -> ListChangesResponse:
        patch.setattr(platform, "changes", read)
        while client._queue.put(pb.Typing(), 0):
            pass
        return await read(chat_id, after=after)

    patch.setattr(platform, "changes", changes)


async def test_too_much_is_missing_is_told_once_there_is_room_for_it(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform, client = opened
    await client.channels.open(CHAT)
    await trio.sleep(60)
    platform.too_old = {CHAT: first_id_at(platform.now_ms - 15_000)}
    fill_queue_during_next_reading(platform, client, monkeypatch)
    platform.lose()
    await trio.sleep(60)
    found = await taken(client)
    await trio.sleep(60)
    found += await taken(client)
    assert TooOld(CHAT) in found


async def test_an_event_that_was_not_known_to_be_missing_comes_once_there_is_room_for_it(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform, client = opened
    await client.channels.open(CHAT)
    await trio.sleep(60)
    missed = platform.log(CHAT)
    monkeypatch.setattr(client._session, "server_ms", lambda: platform.now_ms)
    fill_queue_during_next_reading(platform, client, monkeypatch)
    await trio.sleep(READ_AGAIN_SECONDS + 60)
    found = await taken(client)
    await trio.sleep(60)
    found += await taken(client)
    assert missed.event_id in ids_of(found)


async def test_a_channel_from_which_the_user_is_removed_while_it_is_read_holds_up_no_other(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def history(chat_id: str, *, limit: int) -> None:
        raise Refused("not_found", "You are no member.")

    platform, client = opened
    platform.join("g-2")
    for chat_id in (CHAT, "g-2"):
        await client.channels.open(chat_id)
    await trio.sleep(60)
    platform.too_old = {CHAT: first_id_at(platform.now_ms)}
    monkeypatch.setattr(platform, "history", history)
    platform.requests.clear()
    platform.reply(gap=pb.Gap(at_ms=platform.now_ms, dropped=1))
    await trio.sleep(60)
    assert platform.requests.count(f"changes {CHAT}") == 1
    assert platform.requests.count("changes g-2") > 1, "until nothing is missing"


async def test_an_open_channel_is_read_from_where_the_user_joined_though_that_was_recorded_late(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock
) -> None:
    platform, client = opened
    await client.channels.open(CHAT)
    await trio.sleep(60)
    logged = platform.hide(platform.log(CHAT))
    await trio.sleep(30)
    platform.post(is_dropped=True)
    await trio.sleep(60)  # the client has read past the hidden message
    platform.show(logged)
    joined = Member(user_id=ME, role=ROLE_MEMBER, spans=[Span(first=logged[2].event_id)])
    platform.change(CHAT, Control(version=3, members=[joined]))
    platform.change(CHAT, Control(version=2, members=[Member(user_id=ME, former_role=ROLE_MEMBER)]))
    await trio.sleep(60)
    assert logged[2].event_id in ids_of(await taken(client))
    assert client.channels.followed == (CHAT,)


async def test_an_open_channel_is_read_now_and_then_so_that_little_is_missing_after_a_reconnect(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock
) -> None:
    platform, client = opened
    await client.channels.open(CHAT)
    await trio.sleep(60)
    platform.requests.clear()
    for _ in range(READ_AGAIN_EVENTS - 1):
        platform.post()
    await trio.sleep(60)
    assert platform.requests == []
    platform.post()
    await trio.sleep(60)
    assert platform.requests == [f"changes {CHAT}"]
    await trio.sleep(2 * READ_AGAIN_SECONDS)
    assert platform.requests == [f"changes {CHAT}"] * 3
    assert len(ids_of(await taken(client))) == READ_AGAIN_EVENTS


async def test_a_failing_proxy_costs_no_event_of_an_open_channel(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock
) -> None:
    platform, client = opened
    await client.channels.open(CHAT)
    await trio.sleep(60)
    platform.failures = [Refused.from_problem(502, {})] * 2
    posted = platform.post(is_dropped=True)
    await trio.sleep(60)
    assert ids_of(await taken(client)) == [posted]


async def test_events_for_which_the_queue_had_no_room_come_once_it_has_been_read(
    opened: tuple[FakePlatform, Client], autojump_clock: MockClock
) -> None:
    platform, client = opened
    client._queue._max_events = 40
    await client.channels.open(CHAT)
    posted = [platform.post() for _ in range(50)]
    await trio.sleep(60)
    platform.requests.clear()
    await trio.sleep(600)
    assert platform.requests == []
    found = await taken(client)
    assert [type(event) for event in found if isinstance(event, Gap)] == [Gap]
    await trio.sleep(60)
    assert ids_of(found + await taken(client)) == posted

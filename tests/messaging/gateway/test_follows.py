"""Following channels: open ones give events, the others heads. Tests of delivery in any order are in
test_channel_delivery.py."""

import math
from collections.abc import Collection, Sequence
from typing import Any, cast

import pytest
import trio
import trio.testing

from messaging.envelopes import fan_out
from messaging.gateway import channels as channels_module
from messaging.gateway import follows, rosters
from messaging.gateway.access import Access
from messaging.gateway.channels import HEAD_SECONDS, HEADS_AT_ONCE, RETRY_SECONDS, Channels
from messaging.gateway.follows import Follows
from messaging.gateway.frames import ProtobufEncoding, SharedFrame, SharedHead
from messaging.gateway.gateway import Gateway
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.registry import Registry
from messaging.gateway.requests import FollowRequest
from messaging.gateway.rosters import Rosters
from messaging.gateway.session import Command, Session, State
from rookery.v1.archive_pb2 import Group
from rookery.v1.session_pb2 import (
    ChannelHead,
    ClientFrame,
    Follow,
    Mention,
    Ping,
    Position,
    Send,
    ServerFrame,
    Text,
)
from shared.backplane.publishing import publish_and_wait
from shared.configuration import LiveConfiguration
from shared.configuration.live import Live
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.groups import Roster, audience
from shared.contract.ids import SnowflakeGenerator
from shared.contract.partitions import partition_of
from tests.messaging.gateway.harness import (
    ANN,
    BEN,
    CAT,
    PARTITIONS,
    Client,
    Crew,
    Platform,
    ScriptedHistory,
    ScriptedLog,
    stored_group,
)
from tests.stepping import cancel_at_step, is_below
from tests.waiting import until

CHAT = "g-7"


def follow(*chat_ids: str, opened: Sequence[str] = ()) -> ClientFrame:
    return ClientFrame(follow=Follow(chat_ids=chat_ids, open_chat_ids=opened))


def text(client_id: str, *mentioned: int) -> ClientFrame:
    mentions = [Mention(user_id=each, name="x") for each in mentioned]
    return ClientFrame(send=Send(client_message_id=client_id, chat_id=CHAT, text=Text(body="@x", mentions=mentions)))


def channel(platform: Platform, *user_ids: int, number: int = 7, **settings: Any) -> Crew:
    """A channel that the archive has."""
    crew = Crew(*user_ids, number=number, is_channel=True, **settings)
    platform.history.groups[crew.chat_id] = crew.stored
    return crew


async def publish(platform: Platform, crew: Crew, before: Roster) -> None:
    """Publish the channel's newest control change."""
    event = crew.events[-1]
    records = fan_out(
        event,
        sender_id=ANN,
        recipient_ids=audience(before, event.message.control, ANN),
        partitions=PARTITIONS,
        truth_partition=partition_of(7, PARTITIONS),
        chat_version=crew.roster.version,
        to_members=True,
    )
    await publish_and_wait(platform.backplane, records)


async def heads(client: Client) -> list[int]:
    """The heads that the client has before the next Pong."""
    await client.send(ClientFrame(ping=Ping()))
    count = len(client.frames)
    await client.until("pong")
    return [each.channel_head.newest_id for each in client.frames[count:] if each.HasField("channel_head")]


async def test_open_channels_give_events_and_the_others_heads_at_intervals(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels_module, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(follows, "TICK_SECONDS", 0.01)
    gateway = await platform.start_gateway()
    channel(platform, ANN, BEN, CAT)
    async with (
        platform.sign_in(gateway, ANN) as ann,
        platform.sign_in(gateway, BEN) as ben,
        platform.sign_in(gateway, CAT) as cat,
    ):
        assert (await ben.accepted(follow(CHAT, opened=[CHAT]))).at_ms > 0
        assert (await cat.accepted(follow(CHAT))).at_ms > 0
        began, heads = trio.current_time(), list[int]()
        sent = [(await ann.accepted(text("a"))).event_id]
        assert (await cat.expect("channel_head")).channel_head == ChannelHead(chat_id=CHAT, newest_id=sent[0])
        sent += [(await ann.accepted(text(client_id))).event_id for client_id in "bcd"]
        assert [(await ben.expect("event")).event.event_id for _ in sent] == sent
        while heads[-1:] != sent[-1:]:  # one head, unless the sends took longer than the interval
            heads.append((await cat.expect("channel_head")).channel_head.newest_id)
        assert trio.current_time() - began >= 0.3 * len(heads)
        mention = (await ann.accepted(text("e", CAT))).event_id
        for client in (ben, cat):
            assert (await client.expect("event")).event.event_id == mention
        await ben.accepted(follow(CHAT))
        assert (await ben.expect("channel_head")).channel_head.newest_id == mention, "he may not have read it all"
        await cat.accepted(follow(CHAT, opened=[CHAT]))
        last = (await ann.accepted(text("f"))).event_id
        assert (await cat.expect("event")).event.event_id == last
        assert (await ben.expect("channel_head")).channel_head.newest_id == last


async def test_a_follow_looks_its_user_up_again_whom_look_ups_of_others_have_displaced(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rosters, "MAX_KNOWN", 1)
    monkeypatch.setattr(follows, "CONCURRENT_LOADS", 1)
    gateway = await platform.start_gateway()
    for number in (7, 8):
        channel(platform, ANN, BEN, number=number)
    find_group, displaced = platform.history.find_group, False

    async def displace(chat_id: str, user_ids: Collection[int] = ()) -> Group | Refusal | None:
        nonlocal displaced
        if chat_id == "g-8" and not displaced:
            displaced = True
            await gateway.rosters.get("g-7", [BEN])
        return await find_group(chat_id, user_ids)

    monkeypatch.setattr(platform.history, "find_group", displace)
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.accepted(follow("g-7", "g-8"))
    assert displaced


@pytest.mark.parametrize(
    ("chat_ids", "code", "field"),
    [
        ([CHAT, "g-8"], Code.NOT_FOUND, "follow.chat_ids[1]"),
        ([CHAT, "g-404"], Code.NOT_FOUND, "follow.chat_ids[1]"),
        (["g-9", CHAT], Code.INVALID, "follow.chat_ids[0]"),
    ],
)
async def test_a_refused_follow_leaves_the_former_one(
    platform: Platform, gateway: Gateway, chat_ids: list[str], code: Code, field: str
) -> None:
    channel(platform, ANN, BEN)
    channel(platform, ANN, CAT, number=8)
    platform.history.groups["g-9"] = Crew(ANN, BEN, number=9).stored
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        await ben.accepted(follow(CHAT, opened=[CHAT]))
        refused = await ben.refused(follow(*chat_ids))
        assert (refused.code, refused.field) == (code, field)
        await ann.accepted(text("a"))
        await ben.expect("event")
        await ben.accepted(follow())
        assert len(gateway.channels) == 0
        await ann.accepted(text("b"))
        await ben.send(ClientFrame(ping=Ping()))
        await ben.expect("pong")


async def test_a_user_who_was_just_added_follows_and_one_who_was_removed_gets_nothing_later(
    platform: Platform, gateway: Gateway
) -> None:
    crew = channel(platform, ANN)
    ids = SnowflakeGenerator(99)
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        await ann.accepted(text("before"))
        await ben.send(follow(CHAT, opened=[CHAT]))  # as his client may, on the answer to Ann's
        before = crew.roster
        crew.add(ids.next_nowait() or 0, BEN)
        platform.history.groups[CHAT] = crew.stored
        await publish(platform, crew, before)
        await ben.until("accepted")
        sent = (await ann.accepted(text("a"))).event_id
        assert (await ben.until("event")).event.event_id in (sent, crew.events[-1].event_id)
        before = crew.roster
        crew.remove(ids.next_nowait() or 0, BEN)
        await publish(platform, crew, before)
        while (await ben.until("event")).event.event_id != crew.events[-1].event_id:
            pass
        last = (await ann.accepted(text("b"))).event_id
        await ben.send(ClientFrame(ping=Ping()))
        await ben.until("pong")  # after the changes of members, if the sequencer publishes them again
        assert last not in [frame.event.event_id for frame in ben.frames]
        assert (await ben.refused(follow(CHAT))).code == Code.NOT_FOUND


async def test_a_resumed_session_gets_heads_of_what_it_missed_once(platform: Platform, gateway: Gateway) -> None:
    channel(platform, ANN, BEN)
    channel(platform, ANN, BEN, number=8)
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.accepted(text("a"))
        async with platform.sign_in(gateway, BEN) as ben:
            position = ben.frames[0].welcome.position
            await ben.accepted(follow(CHAT))
            assert await heads(ben) == [], "he reads history after Welcome"
        await until(lambda: len(gateway.channels) == 0)
        missed = (await ann.accepted(text("b"))).event_id
    async with platform.sign_in(gateway, BEN, Position(offset=position.offset, epoch=position.epoch)) as ben:
        await ben.accepted(follow(CHAT, "g-8"))
        assert await heads(ben) == [missed]
        await ben.accepted(follow(CHAT))
        assert await heads(ben) == []


async def test_a_head_that_a_session_still_had_to_send_is_sent_by_the_one_that_resumes_above_its_event(
    platform: Platform, gateway: Gateway
) -> None:
    channel(platform, ANN, BEN)
    async with platform.sign_in(gateway, ANN) as ann:
        async with platform.sign_in(gateway, BEN) as ben:
            await ben.accepted(follow(CHAT))
            first = (await ann.accepted(text("a"))).event_id
            assert (await ben.expect("channel_head")).channel_head.newest_id == first
            newest = (await ann.accepted(text("b"))).event_id  # its head comes HEAD_SECONDS after the first
            await ann.accepted(
                ClientFrame(send=Send(client_message_id="c", chat_id=f"d-{ANN}-{BEN}", text=Text(body="x")))
            )
            position = (await ben.expect("event")).event.position
            assert await heads(ben) == []
        await until(lambda: len(gateway.channels) == 0)
    async with platform.sign_in(gateway, BEN, Position(offset=position.offset, epoch=position.epoch)) as ben:
        await ben.accepted(follow(CHAT))
        assert await heads(ben) == [newest]


async def test_the_sessions_of_a_lost_partition_follow_nothing(platform: Platform, log: ScriptedLog) -> None:
    gateway = await platform.start_gateway()
    channel(platform, ANN, BEN)
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        for client in (ann, ben):
            await client.accepted(follow(CHAT))
        log.assign(frozenset(), frozenset([partition_of(BEN, PARTITIONS)]), 2)
        await ben.expect("reconnect")
        assert (len(gateway.channels), ann.frames[-1].WhichOneof("frame")) == (1, "accepted")


async def test_follows_have_limits(platform: Platform, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follows, "MAX_FOLLOWED_HERE", 1)
    monkeypatch.setattr(follows, "FOLLOWS_PER_MINUTE", 3)
    channel(platform, ANN, BEN)
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        for _ in range(2):
            await ann.accepted(follow(CHAT))
        assert (await ben.refused(follow(CHAT))).code == Code.UNAVAILABLE
        await ann.accepted(follow())
        assert (await ann.refused(follow())).code == Code.RATE_LIMITED
        await ben.accepted(follow(CHAT))


# ---- without a gateway


class Index:
    """An index of followers with one session of Ben, and the channels g-7 and g-8 of which he is a member."""

    def __init__(self) -> None:
        self.partitions, self.registry = OwnedPartitions(PARTITIONS), Registry()
        self.partitions.assign(partition_of(BEN, PARTITIONS), 0, 0, 0, 0.0)
        self.channels = Channels(self.registry, self.partitions)
        live = LiveConfiguration(session_queue_frames=10)
        self.session = Session("s", ProtobufEncoding(), lambda: live, 0.0)
        self.session.user_id, self.session.state = BEN, State.LIVE
        self.registry.attach(self.session)
        self.crews = [Crew(ANN, BEN, number=number, is_channel=True) for number in (7, 8)]
        self.history = ScriptedHistory()
        self.history.groups = {crew.chat_id: stored_group(crew.roster) for crew in self.crews}
        rosters = Rosters(self.history, PARTITIONS, lambda _: None, self.history.is_complete)
        access = Access(cast(Any, None), rosters, self.partitions, SnowflakeGenerator(1), Live.fixed(live))
        self.follows = Follows(self.channels, rosters, access)

    async def follow_both(self) -> None:
        request = FollowRequest(("g-7", "g-8"), frozenset(["g-8"]))
        await trio.lowlevel.checkpoint()
        await self.follows.follow(Command(self.session, request, 1, 0.0), request)
        await trio.lowlevel.checkpoint()

    def read(self, offset: int, event_id: int) -> list[Session]:
        return self.channels.readers(partition_of(BEN, PARTITIONS), CHAT, offset, event_id, ())

    def heads(self, now: float) -> list[int]:
        """The heads that the session gets at this time."""
        for each in self.channels.due(now):
            self.channels.send_heads(each, now)
        frames = [ServerFrame.FromString(each) for each in self.session.take()]
        return [each.channel_head.newest_id for each in frames if each.channel_head.chat_id == CHAT]


def test_a_head_for_which_there_is_no_room_is_sent_later() -> None:
    index = Index()
    index.channels.follow(index.session, [index.crews[0].roster], (), 0.0)
    index.read(0, 100)
    filler: SharedFrame = SharedHead(ChannelHead(chat_id="g-9"))
    while index.session.signal(filler):
        pass
    assert index.heads(1.0) == []
    assert index.heads(1.0 + RETRY_SECONDS / 2) == []
    assert index.heads(1.0 + RETRY_SECONDS) == [100]
    index.read(1, 102)
    index.read(2, 101)
    assert index.heads(HEAD_SECONDS) == []
    assert index.heads(2 + HEAD_SECONDS) == [102], "the highest id"
    assert index.channels.due(math.inf) == []


def followers(index: Index, count: int) -> list[Session]:
    """More sessions of Ben that follow the channel."""
    sessions = [Session(str(number), ProtobufEncoding(), LiveConfiguration, 0.0) for number in range(count)]
    for session in sessions:
        session.user_id, session.state = BEN, State.LIVE
        index.channels.follow(session, [index.crews[0].roster], (), 0.0)
    return sessions


def test_heads_for_many_sessions_are_sent_in_parts() -> None:
    index = Index()
    followers(index, HEADS_AT_ONCE + 1)
    index.read(0, 100)
    assert [index.channels.send_heads(each, 1.0) for _ in "ab" for each in index.channels.due(1.0)] == [
        HEADS_AT_ONCE,
        1,
    ]
    assert index.channels.due(math.inf) == []


def test_the_sessions_that_have_waited_longest_get_heads_first() -> None:
    """A gateway may send so few in the shortest interval between two heads that the first sessions are due again."""
    index = Index()
    sessions = followers(index, 2 * HEADS_AT_ONCE + 1)
    for number in range(3):
        index.read(number, 100 + number)
        for each in index.channels.due(number * HEAD_SECONDS):
            index.channels.send_heads(each, number * HEAD_SECONDS)
    assert all(session.has_frames for session in sessions)


def test_a_control_change_from_before_the_look_up_of_a_member_changes_nothing() -> None:
    index = Index()
    crew, earlier = index.crews[0], index.crews[0].roster
    crew.remove(200, BEN)
    crew.add(201, BEN)
    found = earlier.knowing({BEN: crew.roster.members[BEN]})
    index.channels.follow(index.session, [found], [CHAT], 0.0)
    index.channels.apply(CHAT, crew.control(2))
    assert index.read(0, 202) == [index.session]
    index.channels.apply(CHAT, crew.remove(300, BEN).message.control)
    assert [index.read(1, event_id) for event_id in (250, 301)] == [[index.session], []]


def test_a_follow_by_a_newer_roster_gets_a_head_of_events_that_were_outside_the_user_s_spans_until_then() -> None:
    """The event was read before the control change that adds the user again, which the archive has recorded already."""
    index = Index()
    crew = index.crews[0]
    index.channels.follow(index.session, [crew.roster], (), 0.0)
    crew.remove(200, BEN)
    crew.add(201, BEN)
    index.channels.apply(CHAT, crew.control(2))
    index.read(0, 202)
    assert index.heads(1.0) == []
    index.channels.follow(index.session, [crew.roster], (), 2.0)
    index.channels.apply(CHAT, crew.control(3))
    assert index.heads(2.0) == [202]


async def test_a_follow_that_is_cancelled_at_any_await_leaves_the_former_one_or_the_new_one() -> None:
    step, is_cancelled, outcomes, this = 1, True, set[int](), trio.lowlevel.current_task()
    while is_cancelled:
        index = Index()
        index.channels.follow(index.session, [index.crews[0].roster], (), 0.0)
        is_cancelled = await cancel_at_step(step, is_below(this), index.follow_both)
        outcomes.add(len(index.channels))
        await index.follow_both()
        assert len(index.channels) == 2
        index.channels.leave(index.session)
        assert len(index.channels) == 0
        step += 1
    assert outcomes == {1, 2}


async def test_a_session_that_ends_during_a_follow_follows_nothing() -> None:
    index = Index()
    index.history.open = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(index.follow_both)
        await trio.testing.wait_all_tasks_blocked()
        index.session.abandon()
        index.channels.leave(index.session)
        index.history.open.set()
    assert (len(index.channels), index.session.take()) == (0, [])


async def test_an_archive_that_does_not_answer_refuses_a_follow(
    platform: Platform, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(*_: object) -> bool:
        raise Unavailable("the log does not answer")

    channel(platform, ANN, BEN)
    async with platform.sign_in(gateway, BEN) as ben:
        platform.history.refusal = Refusal(Code.UNAVAILABLE, "History does not answer now.")
        assert (await ben.refused(follow(CHAT))).retryable
        platform.history.refusal = None
        monkeypatch.setattr(gateway.rosters, "_is_history_complete", unavailable)
        assert (await ben.refused(follow(CHAT))).retryable

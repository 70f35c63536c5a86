"""Marks in groups, from the gateway that accepted them to the sessions of the other members."""

from collections.abc import Mapping, Sequence

import pytest
import trio.testing

from messaging.envelopes import by_partition
from messaging.gateway.requests import GROUP, ChangeRequest, KeptRequest
from messaging.gateway.rosters import BEHIND_SECONDS
from messaging.gateway.signals import group_marks
from messaging.gateway.signals.group_marks import MAX_DELIVERED_MEMBERS, MAX_READ_MEMBERS, PERIOD_SECONDS
from messaging.kinds import KINDS
from rookery.v1.session_pb2 import Change, Event, GroupMarks, Marked, MemberMark, Muted
from shared.contract.chats import direct_chat_id
from shared.contract.errors import Code, Refusal
from shared.signals.publisher import SignalPublisher
from tests.messaging.gateway.harness import Crew
from tests.messaging.gateway.signals.world import ALL, PARTITIONS, GatewayOfUsers, UserSession, World, elapse

ANN, BEN, CAT = 1, 2, 3

Clock = trio.testing.MockClock


class Group:
    """A group whose roster the gateway has cached, and its marks."""

    def __init__(self, gateway: GatewayOfUsers, clock: Clock, crew: Crew, versions: int = 1) -> None:
        self.chat_id = crew.chat_id
        self._gateway = gateway
        self._clock = clock
        for version in range(1, versions + 1):
            gateway.rosters.read(crew.chat_id, crew.control(version), is_channel=crew.roster.is_channel)

    def mark(self, user_id: int, delivered_up_to: int, read_up_to: int = 0) -> None:
        """Have the gateway accept a mark."""
        marked = Marked(delivered_up_to=delivered_up_to, read_up_to=read_up_to)
        change = Change(chat_id=self.chat_id, actor_id=user_id, marked=marked)
        self._gateway.exchange.group_marks.note(user_id, change_request(change))

    async def announced(self) -> None:
        """Wait until all marks are announced and delivered."""
        await elapse(self._clock, PERIOD_SECONDS)


def change_request(change: Change, members: tuple[int, ...] = GROUP) -> KeptRequest:
    return ChangeRequest("", change.chat_id, members, KINDS[change.WhichOneof("body") or ""], change, None)


@pytest.fixture
def group(gateway: GatewayOfUsers, clock: Clock) -> Group:
    return Group(gateway, clock, Crew(ANN, BEN, CAT))


async def sign_in(gateway: GatewayOfUsers, *user_ids: int) -> Sequence[UserSession]:
    sessions = [gateway.sign_in(user_id) for user_id in user_ids]
    for session in sessions:
        await session.watch()
    return sessions


async def marks(session: UserSession) -> Sequence[Mapping[int, tuple[int, int]]]:
    """The marks that the session has received since the last call: by event and user."""
    events = await session.events()
    assert all(each.HasField("group_marks") and not each.event_id and not each.HasField("position") for each in events)
    return [
        {mark.user_id: (mark.delivered_up_to, mark.read_up_to) for mark in each.group_marks.marks} for each in events
    ]


async def test_a_mark_is_announced_although_the_roster_was_dropped_meanwhile(
    gateway: GatewayOfUsers, group: Group, clock: Clock
) -> None:
    (ann,) = await sign_in(gateway, ANN)
    group.mark(BEN, 7)
    gateway.rosters.drop_unfollowed(())  # as if other partitions were assigned
    gateway.history.groups[group.chat_id] = Crew(ANN, BEN, CAT).stored
    await group.announced()
    gateway.history.refusal = Refusal(Code.UNAVAILABLE, "away")
    gateway.rosters.drop_unfollowed(())
    group.mark(BEN, 8)
    await group.announced()
    assert await marks(ann) == [{BEN: (7, 0)}]
    gateway.history.refusal = None
    await group.announced()
    assert await marks(ann) == [{BEN: (8, 0)}]


async def test_an_archive_that_does_not_answer_is_asked_for_one_roster(gateway: GatewayOfUsers, clock: Clock) -> None:
    groups = [Group(gateway, clock, Crew(ANN, BEN, number=number)) for number in (1, 2, 3)]
    for group in groups:
        group.mark(BEN, 7)
    gateway.history.refusal = Refusal(Code.UNAVAILABLE, "away")
    gateway.rosters.drop_unfollowed(())
    await groups[0].announced()
    assert gateway.history.finds == 1


async def test_a_group_of_which_the_archive_is_behind_does_not_keep_the_marks_of_others(
    gateway: GatewayOfUsers, clock: Clock
) -> None:
    (ann,) = await sign_in(gateway, ANN)
    behind, other = Crew(ANN, BEN, number=1), Crew(ANN, BEN, number=2)
    gateway.history.groups = {behind.chat_id: behind.stored, other.chat_id: other.stored}
    behind.add(2, CAT)
    groups = [Group(gateway, clock, behind, versions=2), Group(gateway, clock, other)]
    for group in groups:
        group.mark(BEN, 7)
    gateway.rosters.drop_unfollowed(())
    await groups[1].announced()
    await elapse(clock, PERIOD_SECONDS + BEHIND_SECONDS)
    assert await marks(ann) == [{BEN: (7, 0)}]


async def test_the_marks_of_two_seconds_are_one_event_with_the_highest_marks_of_each_member(
    gateway: GatewayOfUsers, group: Group, clock: Clock
) -> None:
    ann, ben = await sign_in(gateway, ANN, BEN)
    group.mark(BEN, 7, 5)
    group.mark(CAT, 6)
    group.mark(BEN, 6, 6)
    await elapse(clock, PERIOD_SECONDS)
    expected = {BEN: (7, 6), CAT: (6, 0)}
    assert [await marks(each) for each in (ann, ben)] == [[expected], [expected]]
    for read_up_to in (8, 9):
        group.mark(BEN, read_up_to, read_up_to)
        await elapse(clock, PERIOD_SECONDS / 4)
    await elapse(clock, PERIOD_SECONDS)
    assert [await marks(each) for each in (ann, ben)] == [[{BEN: (9, 9)}], []], "not to the only author"
    await elapse(clock, PERIOD_SECONDS)
    assert await marks(ann) == []


async def test_only_marks_of_groups_are_announced(gateway: GatewayOfUsers, group: Group, clock: Clock) -> None:
    (ann,) = await sign_in(gateway, ANN)
    muted = Change(chat_id=group.chat_id, actor_id=BEN, muted=Muted(until_ms=1))
    marked = Change(chat_id=direct_chat_id(ANN, BEN), actor_id=BEN, marked=Marked(read_up_to=1))
    for request in (change_request(muted), change_request(marked, (ANN, BEN))):
        gateway.exchange.group_marks.note(BEN, request)
    await group.announced()
    assert await marks(ann) == []


async def test_users_who_hide_read_marks_show_and_see_none(
    world: World, gateway: GatewayOfUsers, group: Group, clock: Clock
) -> None:
    world.hiding_marks.add(BEN)
    ann, ben = await sign_in(gateway, ANN, BEN)
    group.mark(BEN, 5, 5)
    await group.announced()
    group.mark(CAT, 6, 6)
    await group.announced()
    assert [await marks(each) for each in (ann, ben)] == [[{CAT: (6, 6)}], []]


@pytest.mark.parametrize("is_cached", [True, False])
async def test_marks_reach_no_user_whose_removal_only_their_own_gateway_has_read(
    gateway: GatewayOfUsers, is_cached: bool
) -> None:
    crew = Crew(ANN, BEN, CAT)
    crew.remove(2, CAT)
    for version in (1, 2):
        gateway.rosters.read(crew.chat_id, crew.control(version), is_live=is_cached)
    ben, cat = await sign_in(gateway, BEN, CAT)
    sent = GroupMarks(chat_id=crew.chat_id, marks=[MemberMark(user_id=ANN, read_up_to=5)])
    SignalPublisher(gateway.world.signals, PARTITIONS).group_marks(sent, by_partition((ANN, BEN, CAT), PARTITIONS))
    assert [await marks(each) for each in (ben, cat)] == [[{ANN: (0, 5)}], []]


async def test_marks_of_a_former_member_are_not_announced(gateway: GatewayOfUsers, clock: Clock) -> None:
    crew = Crew(ANN, BEN, CAT)
    crew.remove(2, CAT)
    group = Group(gateway, clock, crew, versions=2)
    (ann,) = await sign_in(gateway, ANN)
    group.mark(CAT, 5, 5)
    await group.announced()
    assert await marks(ann) == []


@pytest.mark.parametrize(
    ("members", "is_channel", "expected"),
    [
        (MAX_DELIVERED_MEMBERS, False, [{BEN: (7, 5), CAT: (6, 0)}]),
        (MAX_DELIVERED_MEMBERS + 1, False, [{BEN: (0, 5)}]),
        (MAX_READ_MEMBERS, False, [{BEN: (0, 5)}]),
        (MAX_READ_MEMBERS + 1, False, []),
        (3, True, []),
    ],
)
async def test_larger_groups_have_no_delivered_marks_and_the_largest_ones_and_channels_none(
    gateway: GatewayOfUsers,
    clock: Clock,
    members: int,
    is_channel: bool,
    expected: Sequence[Mapping[int, tuple[int, int]]],
) -> None:
    group = Group(gateway, clock, Crew(*range(1, members + 1), is_channel=is_channel))
    (ann,) = await sign_in(gateway, ANN)
    group.mark(BEN, 7, 5)
    group.mark(CAT, 6)
    await group.announced()
    assert await marks(ann) == expected


async def test_what_waits_is_bounded_and_what_is_lost_does_not_end_the_announcements(
    world: World, gateway: GatewayOfUsers, group: Group, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_marks, "MAX_NOTED", 1)
    (ann,) = await sign_in(gateway, ANN)
    group.mark(BEN, 5, 5)
    group.mark(CAT, 6, 6)
    await group.announced()
    assert await marks(ann) == [{BEN: (5, 5)}]
    world.is_away = True
    group.mark(CAT, 7, 7)
    await group.announced()
    world.is_away = False
    group.mark(CAT, 8, 8)
    await group.announced()
    assert await marks(ann) == [{CAT: (8, 8)}]


async def test_signals_that_wait_for_accounts_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_marks, "MAX_RECEIVED", 2)
    gateway = await world.gateway(ALL)
    (ann,) = await sign_in(gateway, ANN)
    for read_up_to in range(1, 6):
        sent = GroupMarks(chat_id="g-7", marks=[MemberMark(user_id=BEN, read_up_to=read_up_to)])
        gateway.exchange.group_marks.receive(Event(group_marks=sent), (ANN,))
    assert await marks(ann) == [{BEN: (0, 1)}, {BEN: (0, 2)}, {BEN: (0, 3)}], "one is delivered, and two wait"

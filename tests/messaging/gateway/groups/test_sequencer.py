"""The control changes of a group: one event for each version and each client id, whatever fails in between."""

import math
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from functools import partial

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from messaging.gateway.gateway import Gateway
from messaging.gateway.groups import commands, sequencer
from messaging.gateway.groups.forms import stored_client_id
from rookery.v1.archive_pb2 import Group
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.group_service_pb2 import ChangeGroupRequest
from rookery.v1.groups_pb2 import ROLE_ADMIN, ROLE_OWNER
from rookery.v1.session_pb2 import Event, Message
from shared.backplane import Record
from shared.contract.chats import home_partition
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.groups import Roster, audience, is_kept
from shared.contract.ids import MAX_AGE_MS, time_of, wall_clock_ms
from shared.contract.partitions import partition_of
from tests.fuzzing import examples
from tests.messaging.gateway.groups import world as world_module
from tests.messaging.gateway.groups.test_commands import changed, declined, removed, requests, users
from tests.messaging.gateway.groups.test_forms import ANN, added, creation, invite, joined
from tests.messaging.gateway.groups.test_forms import settings as new_settings
from tests.messaging.gateway.groups.world import PARTITIONS, World, change, open_world

ALL = range(PARTITIONS)

CHAT = creation().chat_id

HOME = home_partition(CHAT, PARTITIONS)


def in_chat(client_id: str, request: ChangeGroupRequest, version: int = 0) -> ChangeGroupRequest:
    copy = ChangeGroupRequest(chat_id=CHAT, client_change_id=client_id, expected_version=version)
    field = str(request.WhichOneof("change"))
    getattr(copy, field).CopyFrom(getattr(request, field))
    getattr(copy, field).SetInParent()
    return copy


async def made(gateway: Gateway, user_id: int, request: ChangeGroupRequest) -> Event:
    event = await change(gateway, user_id, request)
    assert isinstance(event, Event), event
    return event


async def refused(gateway: Gateway, user_id: int, request: ChangeGroupRequest) -> Refusal:
    refusal = await change(gateway, user_id, request)
    assert isinstance(refusal, Refusal), refusal
    return refusal


def assert_whole(world: World, accepted: dict[tuple[int, str], Event]) -> Roster:
    """The group in the log: consecutive versions, one event for each client id, each accepted one among them, and each
    event at all members of its moment, in a channel at those whom it concerns. Returns its roster."""
    roster = world.roster(CHAT)
    controls = world.log.controls(CHAT, HOME)
    keys = [(event.message.sender_id, event.message.client_message_id) for event in controls]
    assert len(set(keys)) == len(keys) == roster.version
    assert [event.event_id for event in controls] == sorted(event.event_id for event in controls)
    for key, event in accepted.items():
        assert controls[keys.index(key)] == event
    before, recipients = Roster.empty(CHAT), dict[int, Sequence[int]]()
    for event in controls:
        recipients[event.event_id] = audience(before, event.message.control, event.message.sender_id)
        before = before.after(event.message.control)
        if before.is_channel:
            assert world.log.partitions_of(event.event_id) == set(ALL)
    for user_id in roster.members:
        assert world.log.received(user_id) == {each for each, users in recipients.items() if user_id in users}
    return roster


async def assert_rosters_are_the_log_s(world: World, *gateways: Gateway) -> None:
    for gateway in gateways:
        roster = await gateway.rosters.get(CHAT)
        assert isinstance(roster, Roster)
        assert_is_part(roster, world.roster(CHAT))


def assert_is_part(roster: Roster, whole: Roster) -> None:
    """It is the same group; of a channel it may know less members."""
    known = whole.members.keys() & roster.members.keys() if whole.is_channel else whole.members.keys()
    kept = {user_id: member for user_id, member in whole.members.items() if user_id in known and is_kept(member)}
    assert {user_id: member for user_id, member in roster.members.items() if is_kept(member)} == kept
    for name in ("version", "settings", "member_count", "invites"):
        assert getattr(roster, name) == getattr(whole, name)


outcomes = st.sampled_from(["stored", "stored", "lost", "unanswered", "cut", "late"])


@examples(30)
@given(
    st.lists(st.lists(st.tuples(users, requests, st.integers(0, 9)), max_size=10), max_size=4),
    st.lists(outcomes, max_size=20),
    outcomes,
    st.booleans(),
    st.booleans(),
    st.integers(0, 5),
    st.sampled_from([0, 5, 30]),
)
def test_any_commands_at_once_and_any_failures_of_the_log_keep_the_group_whole(
    rounds: list[list[tuple[int, ChangeGroupRequest, int]]],
    fates: list[str],
    last: str,
    is_channel: bool,
    is_fenced: bool,
    lag: int,
    outage: int,
) -> None:
    """Some commands are sent twice. In half of the runs another gateway owns the partition between two rounds. In the
    end, all calls have one outcome for the seconds of an outage."""

    async def main() -> None:
        async with open_world() as world:
            world.unrecorded = lag
            gateway, way = await world.start_gateway(ALL)
            await trio.sleep(2 * sequencer.TICK_SECONDS)
            accepted: dict[tuple[int, str], Event] = {}
            coming = iter(fates)
            way.outcome = lambda: next(coming, "stored")

            async def send(user_id: int, request: ChangeGroupRequest) -> None:
                with suppress(Unavailable):
                    event = await change(gateway, user_id, request)
                    if isinstance(event, Event):
                        key = user_id, stored_client_id(request)
                        assert accepted.setdefault(key, event) == event

            create = creation("a", *range(2, 8), is_channel=is_channel)
            await send(ANN, create)
            for number, commands in enumerate(rounds):
                async with trio.open_nursery() as nursery:
                    for user_id, request, each in commands:
                        nursery.start_soon(send, user_id, in_chat(f"{number} {each}", request))
                        if each < 2:
                            nursery.start_soon(send, user_id, in_chat(f"{number} {each}", request))
                if is_fenced:
                    way.assign((), ALL)
                    way.assign(ALL)
                    way.deliver_late()
                    await trio.sleep(0.1)
            way.outcome = lambda: last
            await send(ANN, in_chat("last", new_settings(name="last")))
            await trio.sleep(outage)
            way.deliver_late()
            way.outcome = lambda: "stored"
            await trio.sleep(3 * sequencer.TICK_SECONDS)  # what is pending is confirmed
            world.unrecorded = 0
            assert_whole(world, accepted)
            await made(gateway, ANN, create)
            await assert_rosters_are_the_log_s(world, gateway)

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with open_world() as opened:
        yield opened


@pytest.mark.parametrize("is_killed", [False, True])
async def test_an_owner_that_is_frozen_or_killed_in_the_middle_of_changes_of_ten_admins_forks_nothing(
    world: World, autojump_clock: MockClock, is_killed: bool
) -> None:
    """Its accepted changes stay, its later records do not count, and the admins repeat unanswered changes."""
    first, old = await world.start_gateway(ALL)
    second, new = await world.start_gateway()
    accepted: dict[tuple[int, str], Event] = {}
    await made(first, ANN, creation("a", *range(2, 11)))
    for admin in range(2, 11):
        await made(first, ANN, in_chat(f"admin {admin}", changed(admin, role=3)))
    owner = first

    async def administrate(admin: int) -> None:
        for number in range(4):
            kind = added(100 + admin) if number % 2 == 0 else removed(100 + admin)
            request = in_chat(str(number), kind)
            with trio.fail_after(60):
                while True:
                    answer: Event | Refusal | None = None
                    with trio.move_on_after(1):
                        answer = await change(owner, admin, request)
                    if isinstance(answer, Event):
                        accepted[admin, stored_client_id(request)] = answer
                        break
                    assert answer is None or answer.retryable, answer
                    await trio.sleep(0.1)

    count = iter(range(1_000))

    def freezes_after_some() -> str:
        if next(count) != 17:
            return "stored"
        old.freeze()
        return "cut" if is_killed else "stored"

    old.outcome = freezes_after_some
    async with trio.open_nursery() as nursery:
        for admin in range(1, 11):
            nursery.start_soon(administrate, admin)
        while old.frozen is None:
            await trio.sleep(0.01)
        await trio.sleep(0.5)
        new.assign(ALL)
        owner = second
        while not second.partitions.owned:
            await trio.sleep(0.01)
        if not is_killed:
            old.thaw()
    await trio.sleep(3 * sequencer.TICK_SECONDS)
    roster = assert_whole(world, accepted)
    assert len(accepted) == 40
    assert roster.version == 1 + 9 + 40
    await assert_rosters_are_the_log_s(world, second)


@pytest.fixture
async def gateway(world: World) -> Gateway:
    gateway, _ = await world.start_gateway(ALL)
    await made(gateway, ANN, creation("a", *range(2, 8)))
    return gateway


async def taken_over(world: World) -> Gateway:
    """The next owner of all partitions."""
    world.ways[-1].assign((), ALL)
    await trio.sleep(1)
    second, _ = await world.start_gateway(ALL)
    return second


async def test_a_retry_is_answered_with_the_first_event_from_history_too(
    world: World, gateway: Gateway, autojump_clock: MockClock
) -> None:
    """Also if it would be refused now: she has left. From history, once the tail has forgotten it."""
    leaving = in_chat("b", removed(2))
    first = await made(gateway, 2, leaving)
    assert await made(gateway, 2, leaving) == first
    assert world.finds == 1, "the first one was looked for, its retry is in the tail"
    world.tails_begin[HOME] = len(world.log.records[HOME])
    second = await taken_over(world)
    assert await made(second, 2, leaving) == first
    assert await made(second, ANN, creation("a", *range(2, 8)))
    assert world.finds == 3
    for request in (in_chat("b", removed(3)), in_chat("b", added(2))):
        refusal = await refused(second, 2, request)
        assert (refusal.code, refusal.field) == (Code.INVALID, "client_change_id")
    assert (await refused(second, 2, in_chat("c", removed(3)))).code == Code.NOT_FOUND


async def test_a_retry_of_a_request_to_join_makes_no_second_one_after_it_was_declined(
    world: World, gateway: Gateway, autojump_clock: MockClock
) -> None:
    await made(gateway, ANN, in_chat("b", new_settings(is_public=True, asks_to_join=True)))
    asked = await made(gateway, 50, in_chat("c", joined()))
    await made(gateway, ANN, in_chat("d", declined(50)))
    world.tails_begin[HOME] = len(world.log.records[HOME])
    assert await made(await taken_over(world), 50, in_chat("c", joined())) == asked
    assert not world.log.received(50), "they are no member"


async def test_a_retry_of_a_request_that_was_taken_back_gets_its_event_after_the_tail(
    world: World, gateway: Gateway, autojump_clock: MockClock
) -> None:
    await made(gateway, ANN, in_chat("b", new_settings(is_public=True, asks_to_join=True)))
    await made(gateway, 50, in_chat("c", joined()))
    taken_back = await made(gateway, 50, in_chat("d", declined(50)))
    world.tails_begin[HOME] = len(world.log.records[HOME])
    assert await made(await taken_over(world), 50, in_chat("d", declined(50))) == taken_back


async def test_of_many_users_who_use_a_link_at_once_only_so_many_join_as_it_allows(
    world: World, gateway: Gateway, autojump_clock: MockClock
) -> None:
    await made(gateway, ANN, in_chat("b", invite(max_uses=2)))
    answers: list[Event | Refusal] = []

    async def join(user_id: int) -> None:
        answers.append(await change(gateway, user_id, in_chat("c", joined("s"))))

    async with trio.open_nursery() as nursery:
        for user_id in range(100, 110):
            nursery.start_soon(join, user_id)
    assert sorted(isinstance(answer, Event) for answer in answers) == [False] * 8 + [True] * 2
    assert len(world.roster(CHAT).present) == 9


async def test_the_partition_of_a_member_who_has_left_gets_the_control_changes_that_follow(
    world: World, gateway: Gateway, autojump_clock: MockClock
) -> None:
    """Also by the next owner, whose predecessor may not have published all copies."""
    away = next(each for each in range(2, 8) if partition_of(each, PARTITIONS) != HOME)
    alone = [each for each in range(2, 8) if partition_of(each, PARTITIONS) == partition_of(away, PARTITIONS)]
    for user_id in alone:
        await made(gateway, user_id, in_chat(f"leave-{user_id}", removed(user_id)))
    newest = await made(gateway, ANN, in_chat("add", added(100)))

    def copies() -> int:
        envelopes = world.log.counting(partition_of(away, PARTITIONS))
        return len([each for each in envelopes if each.event == newest and not each.recipient_ids])

    assert copies() == 1
    await taken_over(world)
    await trio.sleep(2 * sequencer.TICK_SECONDS)
    assert copies() == 2


async def test_no_version_is_guessed_while_history_lacks_what_the_tail_has_forgotten(
    world: World, gateway: Gateway, autojump_clock: MockClock
) -> None:
    """The gateway was the owner before another one, whose change it has not read."""
    second = await taken_over(world)
    offset = len(world.log.records[HOME])
    await made(second, 2, in_chat("b", removed(2)))
    world.ways[1].assign((), ALL)
    world.tails_begin = {partition: len(records) for partition, records in enumerate(world.log.records)}
    world.ways[0].assign(ALL)
    await trio.sleep(1)
    world.unrecorded = len(world.log.records[HOME]) - offset
    assert isinstance(await gateway.rosters.get(CHAT), Refusal), "not the version that the archive has"
    for refusal in (None, Refusal(Code.UNAVAILABLE, "away")):
        world.refusal = refusal
        assert (await refused(gateway, 3, in_chat("b", removed(3)))).code == Code.UNAVAILABLE
    world.refusal, world.unrecorded = None, 0
    assert (await made(gateway, 3, in_chat("b", removed(3)))).message.control.version == 3


@pytest.mark.parametrize("is_join", [False, True])
async def test_a_group_is_changed_after_its_owner_s_tail_has_forgotten_its_last_change(
    world: World, gateway: Gateway, autojump_clock: MockClock, is_join: bool
) -> None:
    """Its roster is cached, so nothing else asks the log how far history is."""
    await made(gateway, ANN, in_chat("b", new_settings(is_public=True)))
    await trio.sleep(2 * sequencer.TICK_SECONDS)
    tail = gateway.partitions.tails[HOME]
    tail.evict(older_than_ms=wall_clock_ms() + 1, max_bytes=10**9)
    assert tail.complete_from > 0
    user_id, request = (50, joined()) if is_join else (2, removed(2))
    assert (await made(gateway, user_id, in_chat("c", request))).message.control.version == 3


async def test_members_must_have_accounts(world: World, gateway: Gateway) -> None:
    world.deleted.add(500)
    for user_id, code in ((1_500, Code.NOT_FOUND), (500, Code.RECIPIENT_DELETED)):
        refusal = await refused(gateway, ANN, in_chat("b", added(*range(200, 310), user_id)))
        assert (refusal.code, refusal.field) == (code, "user_ids[110]")
        assert (await refused(gateway, 99, in_chat("b", added(user_id)))).code == Code.NOT_FOUND
    await made(gateway, ANN, in_chat("b", added(*range(200, 310))))


async def test_a_group_is_handed_over_only_to_an_account_that_can_sign_in(world: World, gateway: Gateway) -> None:
    """The platform hands the group of a deleted account over to any member."""
    await made(gateway, ANN, in_chat("b", added(500, 501, 502)))
    hand_over = {each: in_chat(f"c{each}", changed(each, role=ROLE_OWNER)) for each in (500, 501, 502)}
    world.deleted.add(500)
    world.suspended.add(501)
    for user_id, code in ((500, Code.RECIPIENT_DELETED), (501, Code.FORBIDDEN)):
        refusal = await refused(gateway, ANN, hand_over[user_id])
        assert (refusal.code, refusal.field) == (code, "user_id")
        assert (await refused(gateway, 99, hand_over[user_id])).code == Code.NOT_FOUND
        await made(gateway, ANN, in_chat(f"d{user_id}", changed(user_id, role=ROLE_ADMIN)))
    await made(gateway, ANN, hand_over[502])
    world.deleted.add(502)
    await made(gateway, 502, hand_over[500])


async def test_nobody_is_added_by_a_user_whose_messages_they_do_not_accept(world: World, gateway: Gateway) -> None:
    blocks_ann, blocked_by_ann, reserved, connected = 100, 101, 102, 103
    world.blocks |= {(blocks_ann, ANN), (ANN, blocked_by_ann)}
    world.reserved |= {reserved, connected}
    world.connections.add((ANN, connected))

    def addition(*user_ids: int) -> ChangeGroupRequest:
        return in_chat("b", added(*user_ids))

    for make in (partial(creation, "new"), addition):
        refusals = {
            each: await refused(gateway, ANN, make(*range(200, 310), each))
            for each in (blocks_ann, blocked_by_ann, reserved)
        }
        assert {(refusal.code, refusal.field) for refusal in refusals.values()} == {(Code.FORBIDDEN, "user_ids[110]")}
        assert refusals[blocks_ann].message == refusals[reserved].message, "they do not learn of the block"
        assert "You have blocked" in refusals[blocked_by_ann].message
        event = await made(gateway, ANN, make(*range(200, 310), connected))
        assert connected in [each.user_id for each in event.message.control.members]
    await made(gateway, 2, in_chat("c", added(blocks_ann)))  # not blocked


async def test_a_user_who_has_asked_to_join_is_added_whatever_they_accept(world: World, gateway: Gateway) -> None:
    await made(gateway, ANN, in_chat("b", new_settings(is_public=True, asks_to_join=True)))
    world.blocks.add((100, ANN))
    world.reserved.add(101)
    for user_id in (100, 101, 102):
        await made(gateway, user_id, in_chat("c", joined()))
    world.deleted.add(102)
    assert (await refused(gateway, ANN, in_chat("d", added(100, 101, 102)))).code == Code.RECIPIENT_DELETED
    await made(gateway, ANN, in_chat("d", added(100, 101)))
    assert world.roster(CHAT).present >= {100, 101}


async def test_the_request_of_a_deleted_account_makes_room_for_another_one(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "MAX_ASKING", 2)
    await made(gateway, ANN, in_chat("b", new_settings(is_public=True, asks_to_join=True)))
    for user_id in (100, 101):
        await made(gateway, user_id, in_chat("c", joined()))
    assert (await refused(gateway, 102, in_chat("c", joined()))).code == Code.TOO_LARGE
    world.deleted.add(101)
    event = await made(gateway, 102, in_chat("c", joined()))
    assert await made(gateway, 102, in_chat("c", joined())) == event
    assert [each.user_id for each in world.roster(CHAT).asking()] == [100, 102]


async def test_a_change_whose_client_is_gone_is_settled_before_the_next_one_and_before_its_partition_is_released(
    world: World, gateway: Gateway, autojump_clock: MockClock
) -> None:
    second, way = await world.start_gateway()
    old = world.ways[0]
    await trio.sleep(2)
    old.outcome = lambda: "held"
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            await change(gateway, 2, in_chat("b", removed(2)))

        autojump_clock.autojump_threshold = math.inf  # the partition waits for 2 seconds

        @nursery.start_soon
        async def next_one() -> None:
            assert (await made(gateway, 3, in_chat("b", removed(3)))).message.control.version == 3

        await trio.testing.wait_all_tasks_blocked()
        assert len(old.held) == 1
        old.answer_held()
        await trio.testing.wait_all_tasks_blocked()
        old.assign((), ALL)
        await trio.testing.wait_all_tasks_blocked()
        assert HOME in gateway.partitions.leaving
        assert (await refused(gateway, 4, in_chat("b", removed(4)))).code == Code.UNAVAILABLE
        old.answer_held()
    autojump_clock.autojump_threshold = 0
    await trio.sleep(0.1)
    assert HOME not in gateway.partitions.tails
    way.assign(ALL)
    await trio.sleep(0.1)
    assert (await made(second, 4, in_chat("b", removed(4)))).message.control.version == 4


async def test_a_change_that_fails_when_its_partition_is_released_is_not_published_again_by_its_former_owner(
    world: World, gateway: Gateway, autojump_clock: MockClock
) -> None:
    """Its record of truth would come too late to count, but its copies would reach members."""
    second, way = await world.start_gateway()
    old = world.ways[0]
    await trio.sleep(2)
    old.outcome = lambda: "held"
    old.withdraw = lambda partitions: old.fail_held()  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            await change(gateway, 2, in_chat("b", removed(2)))

        @nursery.start_soon
        async def next_one() -> None:
            assert (await refused(gateway, 3, in_chat("b", removed(3)))).code == Code.UNAVAILABLE

        await trio.testing.wait_all_tasks_blocked()
        old.assign((), ALL)
        await trio.sleep(5 * sequencer.TICK_SECONDS)
        assert HOME not in gateway.partitions.tails
        assert not old.held
        assert gateway.sequencer._chats[CHAT].is_idle, "kept in memory for good"
    way.assign(ALL)
    await trio.sleep(0.1)
    assert (await made(second, 4, in_chat("b", removed(4)))).message.control.version == 2


async def test_a_former_owner_keeps_no_roster_from_before_the_changes_of_the_next_owner(
    world: World, gateway: Gateway, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive answers it after it has read these changes, in the partitions of members that it has kept."""
    second, way = await world.start_gateway()
    await made(gateway, ANN, in_chat("b", added(100)))
    find_group, answers = world.find_group, trio.Event()

    async def find_slowly(chat_id: str, user_ids: Collection[int] = ()) -> Group | Refusal | None:
        found = await find_group(chat_id, user_ids)
        await answers.wait()
        return found

    gateway.rosters.drop_unfollowed(())
    async with trio.open_nursery() as nursery:
        with monkeypatch.context() as patch:
            patch.setattr(world, "find_group", find_slowly)
            nursery.start_soon(refused, gateway, 3, in_chat("c", removed(3)))
            await trio.testing.wait_all_tasks_blocked()
        world.ways[0].assign((), [HOME])
        way.assign([HOME])
        await trio.sleep(2)
        await made(second, 2, in_chat("d", removed(2)))
        await trio.sleep(1)
        assert gateway.rosters.version(CHAT) == 3
        answers.set()
    roster = await gateway.rosters.get(CHAT)
    assert isinstance(roster, Roster)
    assert (roster.version, 2 in roster) == (3, False)


async def test_a_group_goes_on_after_a_change_that_the_log_can_t_take(
    world: World, gateway: Gateway, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: object, **__: object) -> None:
        raise ValueError("a record is too large")

    with monkeypatch.context() as patch:
        patch.setattr(world.ways[0], "publish", too_large)
        with pytest.raises(ValueError, match="too large"):
            await change(gateway, ANN, in_chat("b", removed(2)))
    with trio.fail_after(10):
        assert (await made(gateway, ANN, in_chat("c", removed(3)))).message.control.version == 2
        await gateway.sequencer.wait_idle()


async def test_a_change_that_the_log_did_not_acknowledge_is_not_forgotten_while_its_partition_has_no_events(
    world: World, autojump_clock: MockClock
) -> None:
    """Its record may still come, without the copies."""
    gateway, way = await world.start_gateway(ALL)
    fates = iter(["late"])
    way.outcome = lambda: next(fates, "lost")
    await refused(gateway, ANN, creation("a", *range(2, 8)))
    await trio.sleep(3 * sequencer.TICK_SECONDS)
    way.deliver_late()
    way.outcome = lambda: "stored"
    await trio.sleep(3 * sequencer.TICK_SECONDS)
    assert assert_whole(world, {}).version == 1


async def test_a_join_that_the_log_did_not_take_for_a_minute_takes_effect_when_it_does(
    world: World, gateway: Gateway, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the user could read a minute in which nobody saw them. Meanwhile the partition stays owned."""
    began_ms, way = wall_clock_ms(), world.ways[0]
    monkeypatch.setattr(world_module, "wall_clock_ms", lambda: began_ms + int(trio.current_time() * 1_000))
    await made(gateway, ANN, in_chat("b", new_settings(is_public=True)))
    other = next(each for each in ALL if each != HOME)
    way.is_away = True
    assert (await refused(gateway, 50, in_chat("c", joined()))).code == Code.UNAVAILABLE
    event_id = 0
    for number in range(60):  # messages whose partition has a leader
        event_id = await gateway.sequencer._ids.next()
        message = Message(message_id=event_id, chat_id=CHAT, sender_id=2, client_message_id=f"{number}")
        envelope = Envelope(event=Event(event_id=event_id, message=message), sender_id=2, chat_version=2)
        world.log.append(Record(other, envelope.SerializeToString()))
        await trio.sleep(1)
        assert HOME in gateway.partitions.owned
    way.is_away = False
    await trio.sleep(3 * sequencer.TICK_SECONDS)
    event = await made(gateway, 50, in_chat("c", joined()))
    (stored,) = (each for each in world.log.records[HOME] if event.SerializeToString() in each.value)
    assert stored.at_ms - time_of(event.event_id) <= MAX_AGE_MS
    roster = assert_whole(world, {(50, stored_client_id(in_chat("c", joined()))): event})
    assert (roster.version, 50 in roster, roster.includes(50, event_id)) == (3, True, False)


@pytest.mark.parametrize("outcome", ["lost", "unanswered", "cut", "late"])
@pytest.mark.parametrize("retries", [False, True])
async def test_a_change_that_the_log_did_not_acknowledge_for_a_minute_is_made_once_or_not_at_all(
    world: World, gateway: Gateway, autojump_clock: MockClock, outcome: str, retries: bool
) -> None:
    """If its record was stored, it was made, and its members get it once the log takes the copies."""
    way, accepted = world.ways[0], dict[tuple[int, str], Event]()
    fates = iter([outcome])
    way.outcome = lambda: next(fates, "lost")
    await refused(gateway, 2, in_chat("b", removed(2)))
    for _ in range(60):
        await trio.sleep(1)
        if retries:
            await change(gateway, 2, in_chat("b", removed(2)))
    way.outcome = lambda: "stored"
    await trio.sleep(3 * sequencer.TICK_SECONDS)
    way.deliver_late()
    await trio.sleep(3 * sequencer.TICK_SECONDS)
    if retries:
        request = in_chat("b", removed(2))
        accepted[2, stored_client_id(request)] = await made(gateway, 2, request)
    request = in_chat("c", removed(3))
    accepted[3, stored_client_id(request)] = await made(gateway, 3, request)
    assert assert_whole(world, accepted).version == 2 + (retries or outcome in ("unanswered", "cut"))


async def test_a_group_that_was_forgotten_goes_on(
    world: World, gateway: Gateway, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "MAX_CHATS", 0)
    for version in (2, 3):
        await trio.sleep(2 * sequencer.TICK_SECONDS)
        gateway.rosters.drop_unfollowed(())
        request = in_chat(f"{version}", removed(version), version=version - 1)
        assert (await made(gateway, ANN, request)).message.control.version == version
    assert_whole(world, {})


async def test_few_requests_wait_for_one_group(
    world: World, gateway: Gateway, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "MAX_WAITING", 2)
    world.ways[0].outcome = lambda: "held"
    async with trio.open_nursery() as nursery:
        for user_id in (2, 3, 4):
            nursery.start_soon(change, gateway, user_id, in_chat("b", removed(user_id)))
            await trio.sleep(0.1)
        assert (await refused(gateway, 5, in_chat("b", removed(5)))).code == Code.RATE_LIMITED
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("ahead_ms", "is_made"), [(50_000, True), (120_000, False)])
async def test_a_gateway_waits_for_its_clock_if_it_is_far_behind_that_of_a_former_owner(
    world: World, autojump_clock: MockClock, ahead_ms: int, is_made: bool
) -> None:
    """Else spans would end before they begin, or one bad clock would set the clocks of all."""
    first, _ = await world.start_gateway(ALL, ahead_ms=ahead_ms)
    created = await made(first, ANN, creation("a", *range(2, 8)))
    await trio.sleep(2 * sequencer.TICK_SECONDS)
    world.tails_begin = {partition: len(records) for partition, records in enumerate(world.log.records)}
    second = await taken_over(world)
    answer = await change(second, 2, in_chat("b", removed(2)))
    assert isinstance(answer, Event) == is_made
    if isinstance(answer, Event):
        assert answer.event_id > created.event_id
    else:
        assert answer.retryable


async def test_all_members_learn_that_their_group_became_a_channel_if_its_owner_died_before_it_told_them(
    world: World, gateway: Gateway, autojump_clock: MockClock
) -> None:
    """Also a channel's later changes reach all partitions then, and the members whom they concern."""
    world.ways[-1].outcome = lambda: "cut"
    await change(gateway, ANN, in_chat("b", new_settings(is_channel=True)))
    second = await taken_over(world)
    await trio.sleep(2 * sequencer.TICK_SECONDS)
    world.ways[-1].outcome = lambda: "cut"
    await change(second, ANN, in_chat("c", added(100, 101, 102, 103)))
    await taken_over(world)
    await trio.sleep(2 * sequencer.TICK_SECONDS)
    assert assert_whole(world, {}).version == 3


async def test_the_next_owner_of_a_channel_looks_up_the_creator_of_a_link_that_history_lacks(
    world: World, gateway: Gateway, autojump_clock: MockClock
) -> None:
    await made(gateway, ANN, in_chat("b", new_settings(is_channel=True)))
    await made(gateway, 2, in_chat("c", invite()))
    second = await taken_over(world)
    world.unrecorded = 2  # the link and the fence
    joining = await made(second, 50, in_chat("d", joined("s")))
    assert (joining.message.control.version, joining.message.control.member_count) == (4, 8)
    await made(second, 3, in_chat("e", removed(3)))
    assert assert_whole(world, {}).member_count == 7

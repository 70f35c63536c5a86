"""Presence, last seen and changed profiles, between the gateways of users and of those who watch them."""

import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress

import pytest
import trio
import trio.testing

from messaging.envelopes import by_partition
from messaging.gateway.frames import SharedEvent
from messaging.gateway.signals import presences, watches
from messaging.gateway.signals.presences import OFFLINE_SECONDS, TICK_SECONDS, WATCH_SECONDS
from messaging.gateway.signals.watches import BATCH_SECONDS, ROUND_SECONDS
from rookery.v1.session_pb2 import Event, Presence, ProfileChanged, ServerFrame, Typing
from rookery.v1.signals_pb2 import Signal, SignalEvent
from shared.accounts.people import Relationship
from shared.accounts.store import MAX_IDS, User
from shared.contract.errors import Code, Unavailable
from shared.contract.ids import wall_clock_ms
from shared.contract.partitions import partition_of
from shared.signals.publisher import SignalPublisher
from tests.messaging.gateway.harness import Crew
from tests.messaging.gateway.signals.world import ALL, PARTITIONS, GatewayOfUsers, World, elapse, settle

ANN, BEN, CAT = 1, 2, 3
BENS = frozenset({partition_of(BEN, PARTITIONS)})


async def test_a_session_receives_the_presence_of_each_user_and_then_each_change(
    world: World, gateway: GatewayOfUsers, clock: trio.testing.MockClock
) -> None:
    world.seen[CAT] = 5
    ann, phone = gateway.sign_in(ANN), gateway.sign_in(BEN)
    await ann.watch(BEN, CAT)
    assert await ann.presences() == {BEN: None, CAT: 5}
    laptop, cat = gateway.sign_in(BEN), gateway.sign_in(CAT)
    await elapse(clock, TICK_SECONDS)
    assert await ann.presences() == {CAT: None}
    phone.leave()
    before_ms = wall_clock_ms()
    laptop.leave()
    await elapse(clock, OFFLINE_SECONDS - 1)
    assert await ann.presences() == {}
    await elapse(clock, 2)
    (last_seen_ms,) = (await ann.presences()).values()
    assert last_seen_ms is not None
    assert before_ms <= last_seen_ms <= wall_clock_ms()
    await elapse(clock, 1)
    assert world.notes == [{BEN: last_seen_ms}]
    await ann.watch(BEN)
    assert await ann.presences() == {BEN: last_seen_ms}
    cat.leave()
    await elapse(clock, OFFLINE_SECONDS + 1)
    assert await ann.presences() == {}  # not watched any more
    await ann.watch(CAT)
    assert await ann.presences() == {CAT: world.seen[CAT]}


async def test_the_changes_of_a_second_are_published_together(
    world: World, gateway: GatewayOfUsers, clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = gateway.sign_in(ANN)
    await ann.watch(BEN, CAT)
    await ann.presences()
    await elapse(clock, TICK_SECONDS)
    published, publish = [], world.signals.publish

    def count(channel: str, value: bytes) -> None:
        published.append(channel)
        publish(channel, value)

    monkeypatch.setattr(world.signals, "publish", count)
    for user_id in (BEN, CAT):
        gateway.sign_in(user_id)
        await settle()
    await elapse(clock, TICK_SECONDS)
    assert await ann.presences() == {BEN: None, CAT: None}
    assert len(published) == 1


async def test_a_session_receives_a_change_at_once_and_the_changes_of_the_next_seconds_together(
    world: World, gateway: GatewayOfUsers, clock: trio.testing.MockClock
) -> None:
    ann, cat = gateway.sign_in(ANN), gateway.sign_in(CAT)
    users = [BEN, *range(10, 13)]
    await ann.watch(*users)
    await cat.watch(*users[1:])
    assert await ann.presences() == dict.fromkeys(users, 0)
    assert await cat.presences() == dict.fromkeys(users[1:], 0)
    gateway.sign_in(BEN)
    await elapse(clock, TICK_SECONDS)
    assert await ann.presences() == {BEN: None}
    for user_id in users[1:]:
        gateway.sign_in(user_id)
        await elapse(clock, TICK_SECONDS)
        assert await ann.presences() == {}
    assert [*await cat.presences()] == [10], "she received nothing before"
    await elapse(clock, BATCH_SECONDS)
    assert await ann.presences() == dict.fromkeys(users[1:])
    assert await cat.presences() == dict.fromkeys(users[2:])
    await elapse(clock, BATCH_SECONDS)
    assert await ann.presences() == {}


@pytest.mark.parametrize("watched", [(), (CAT,), (BEN, CAT)])
async def test_changes_that_wait_are_not_sent_to_a_session_that_has_ended_or_watches_other_users(
    world: World, gateway: GatewayOfUsers, clock: trio.testing.MockClock, watched: tuple[int, ...]
) -> None:
    ann, other = gateway.sign_in(ANN), gateway.sign_in(ANN)
    for each in (ann, other):
        await each.watch(BEN, 10)
        await each.presences()
    for user_id in (10, BEN):
        gateway.sign_in(user_id)
        await elapse(clock, TICK_SECONDS)
    assert await ann.presences() == {10: None}
    if watched:
        await ann.watch(*watched)
        assert await ann.presences() == {user_id: None if user_id == BEN else 0 for user_id in watched}
    else:
        ann.leave()
    await elapse(clock, BATCH_SECONDS)
    assert await other.presences() == {10: None, BEN: None}
    assert await ann.presences() == {}


@pytest.mark.parametrize("hidden", ["setting", "block"])
async def test_a_user_who_hides_their_presence_is_hidden_at_once_also_while_changes_wait(
    world: World, gateway: GatewayOfUsers, clock: trio.testing.MockClock, hidden: str
) -> None:
    ann = gateway.sign_in(ANN)
    await ann.watch(BEN, CAT)
    await ann.presences()
    gateway.sign_in(CAT)
    await elapse(clock, TICK_SECONDS)
    assert await ann.presences() == {CAT: None}
    gateway.sign_in(BEN)
    await elapse(clock, TICK_SECONDS)
    if hidden == "setting":
        world.hidden.add(BEN)
        SignalPublisher(world.signals, PARTITIONS).profile_changed(BEN)
    else:
        world.blocks.add(frozenset((ANN, BEN)))
        gateway.exchange.forget_relationship(ANN, BEN)
    await settle()
    shown = [each.presence for each in await ann.events() if each.HasField("presence")]
    assert Presence(user_id=BEN) in shown
    assert not any(each.is_online for each in shown if each.user_id == BEN)
    await elapse(clock, BATCH_SECONDS)
    assert await ann.presences() == {}


async def test_changes_for_which_a_session_has_no_room_are_sent_later(
    world: World, gateway: GatewayOfUsers, clock: trio.testing.MockClock
) -> None:
    ann, users = gateway.sign_in(ANN), range(10, 10 + watches.SENDS_AT_ONCE)
    await ann.watch(*users)
    await ann.presences()
    while ann.session.signal(SharedEvent(Event(typing=Typing(user_id=BEN)), 64)):
        pass
    for user_id in users:
        gateway.sign_in(user_id)
    await elapse(clock, TICK_SECONDS)
    assert not any(each.HasField("presence") for each in await ann.events())
    await elapse(clock, BATCH_SECONDS)
    assert await ann.presences() == dict.fromkeys(users)


@pytest.mark.parametrize("is_blocked", [False, True], ids=["first", "block"])
async def test_a_first_presence_and_a_hiding_for_which_a_session_has_no_room_are_sent_later(
    world: World, gateway: GatewayOfUsers, clock: trio.testing.MockClock, is_blocked: bool
) -> None:
    ann = gateway.sign_in(ANN)
    gateway.sign_in(BEN)
    await ann.watch(*([BEN, CAT] if is_blocked else []))
    await ann.presences()
    while ann.session.signal(SharedEvent(Event(typing=Typing(user_id=BEN)), 64)):
        pass
    if is_blocked:
        world.blocks.add(frozenset((ANN, BEN)))
        gateway.exchange.forget_relationship(ANN, BEN)
    else:
        assert await ann._watch((BEN, CAT)) is None
    assert not any(each.HasField("presence") for each in await ann.events())
    await elapse(clock, BATCH_SECONDS + TICK_SECONDS)
    assert await ann.presences() == {BEN: 0 if is_blocked else None, CAT: 0}
    await elapse(clock, 2 * BATCH_SECONDS)
    assert await ann.presences() == {}


async def test_a_user_who_comes_back_soon_has_not_been_away(
    world: World, gateway: GatewayOfUsers, clock: trio.testing.MockClock
) -> None:
    ann, ben = gateway.sign_in(ANN), gateway.sign_in(BEN)
    await ann.watch(BEN)
    await ann.presences()
    ben.leave()
    await elapse(clock, OFFLINE_SECONDS - 2)
    gateway.sign_in(BEN)
    await elapse(clock, OFFLINE_SECONDS)
    assert await ann.presences() == {}
    assert world.notes == []


@pytest.mark.parametrize("hidden", [ANN, BEN, "blocks", "blocked"])
async def test_presence_is_hidden_from_and_by_users_who_hide_theirs_and_between_users_of_whom_one_blocks_the_other(
    world: World, clock: trio.testing.MockClock, hidden: int | str
) -> None:
    gateway = await world.gateway(ALL)  # also when the gateway has just begun
    ann, ben = gateway.sign_in(ANN), gateway.sign_in(BEN)
    await ann.watch(BEN, ANN)
    assert await ann.presences() == {BEN: None, ANN: None}
    if isinstance(hidden, str):
        world.blocks.add(frozenset((ANN, BEN)))
        gateway.exchange.forget_relationship(*(ANN, BEN) if hidden == "blocks" else (BEN, ANN))
    else:
        world.hidden.add(hidden)
        SignalPublisher(world.signals, PARTITIONS).profile_changed(hidden)
    await settle()
    events = await ann.events()
    presence = {each.presence.user_id: each.presence for each in events if each.HasField("presence")}
    assert (presence[BEN].is_online, presence[BEN].last_seen_ms) == (False, 0)
    ben.leave()
    await elapse(clock, OFFLINE_SECONDS + 1)
    gateway.sign_in(BEN)
    await elapse(clock, TICK_SECONDS)
    assert await ann.presences() == {}
    await ann.watch(BEN)
    assert await ann.presences() == {BEN: 0}


@pytest.mark.parametrize("hidden", [ANN, BEN])
async def test_a_user_who_hides_their_presence_while_their_account_is_read_is_hidden(
    world: World, gateway: GatewayOfUsers, monkeypatch: pytest.MonkeyPatch, hidden: int
) -> None:
    ann = gateway.sign_in(ANN)
    gateway.sign_in(BEN)
    read = world.users

    async def users(user_ids: Sequence[int]) -> Sequence[User]:
        found = await read(user_ids)
        if hidden in user_ids and hidden not in world.hidden:
            world.hidden.add(hidden)
            event = Event(profile_changed=ProfileChanged(user_id=hidden))
            gateway.exchange.receive(Signal(event=SignalEvent(event=event, recipient_ids=[hidden])).SerializeToString())
        return found

    monkeypatch.setattr(world, "users", users)
    assert await ann._watch((BEN,)) is None
    await settle()
    taken = [ServerFrame.FromString(frame).event for frame in ann.session.take()]
    assert [event.presence for event in taken if event.HasField("presence")] == [Presence(user_id=BEN)]


async def test_a_changed_profile_reaches_the_user_and_everybody_who_watches_them(
    world: World, gateway: GatewayOfUsers, clock: trio.testing.MockClock
) -> None:
    ann, ben, cat = (gateway.sign_in(user_id) for user_id in (ANN, BEN, CAT))
    for session in (ann, ben, cat):
        await session.watch(*([BEN] if session is ann else []))
        await session.events()
    SignalPublisher(world.signals, PARTITIONS).profile_changed(BEN)
    for session, count in ((ann, 1), (ben, 1), (cat, 0)):
        assert [event.profile_changed.user_id for event in await session.events()] == [BEN] * count
    assert gateway.forgotten == [BEN]


@pytest.mark.parametrize("is_cached", [True, False])
async def test_typing_reaches_no_user_whose_removal_only_their_own_gateway_has_read(
    world: World, gateway: GatewayOfUsers, is_cached: bool
) -> None:
    """Also if that gateway has not cached the roster."""
    crew = Crew(ANN, BEN, CAT)
    crew.remove(2, CAT)
    for version in (1, 2):
        gateway.rosters.read(crew.chat_id, crew.control(version), is_live=is_cached)
    assert (gateway.rosters.cached(crew.chat_id) is not None) == is_cached
    ben, cat = gateway.sign_in(BEN), gateway.sign_in(CAT)
    for session in (ben, cat):
        await session.watch()
    typing = Typing(chat_id=crew.chat_id, user_id=ANN)
    SignalPublisher(world.signals, PARTITIONS).typing(typing, by_partition((ANN, BEN, CAT), PARTITIONS))
    assert [event.typing for event in await ben.events()] == [typing]
    assert await cat.events() == []


async def test_users_stay_online_while_their_partition_moves_and_are_offline_if_they_do_not_return(
    world: World, clock: trio.testing.MockClock
) -> None:
    watching, former = await world.gateway(ALL - BENS), await world.gateway(BENS)
    near, left = itertools.islice((each for each in itertools.count(4) if partition_of(each, PARTITIONS) in BENS), 2)
    ann, ben = watching.sign_in(ANN), former.sign_in(BEN)
    await ann.watch(BEN, near)
    assert await ann.presences() == {BEN: None, near: 0}
    await elapse(clock, OFFLINE_SECONDS + 1)
    former.sign_in(left).leave()
    former.own(())
    ben.leave()
    await elapse(clock, 2)
    assert {user_id for notes in world.notes for user_id in notes} == {BEN, left}
    owner = await world.gateway(BENS)
    owner.sign_in(near)
    await elapse(clock, TICK_SECONDS)
    assert await ann.presences() == {near: None}, "the new owner was asked when it was announced"
    await elapse(clock, OFFLINE_SECONDS - 2)
    assert await ann.presences() == {}
    await elapse(clock, 4)
    assert await ann.presences() == {BEN: world.seen[BEN]}
    owner.sign_in(BEN)
    await elapse(clock, BATCH_SECONDS)
    assert await ann.presences() == {BEN: None}


async def test_lost_signals_and_an_absent_store_are_repaired_by_the_next_round(
    world: World, gateway: GatewayOfUsers, clock: trio.testing.MockClock
) -> None:
    ann = gateway.sign_in(ANN)
    await ann.watch(BEN)
    await ann.presences()
    world.is_away = True
    await elapse(clock, presences.FRESH_SECONDS)
    ben = gateway.sign_in(BEN)
    await elapse(clock, TICK_SECONDS)
    assert await ann.presences() == {}
    world.is_away = False
    await elapse(clock, ROUND_SECONDS)
    assert await ann.presences() == {BEN: None}
    world.is_away = True
    ben.leave()
    await elapse(clock, OFFLINE_SECONDS + 5)
    assert world.notes == []
    world.is_away = False
    await elapse(clock, 2)
    assert len(world.notes) == 1


@pytest.mark.parametrize("hidden", [ANN, BEN])
async def test_a_user_who_hides_their_presence_is_hidden_within_two_rounds_if_the_signal_is_lost(
    world: World, gateway: GatewayOfUsers, clock: trio.testing.MockClock, hidden: int
) -> None:
    ann = gateway.sign_in(ANN)
    gateway.sign_in(BEN)
    await ann.watch(BEN)
    await ann.presences()
    world.hidden.add(hidden)
    await elapse(clock, 2 * ROUND_SECONDS)
    assert await ann.presences() == {BEN: 0}


@pytest.mark.parametrize("is_begun", [True, False])
async def test_a_block_begins_and_ends_within_five_minutes_if_its_announcement_is_lost(
    world: World, gateway: GatewayOfUsers, clock: trio.testing.MockClock, is_begun: bool
) -> None:
    """Also if the store of accounts does not answer one round."""
    pair, present = frozenset((ANN, BEN)), {True: 0, False: None}
    world.blocks = set() if is_begun else {pair}
    ann = gateway.sign_in(ANN)
    gateway.sign_in(BEN)
    await ann.watch(BEN)
    assert await ann.presences() == {BEN: present[not is_begun]}
    world.blocks ^= {pair}
    for world.is_away in (False, False, False, True, False):
        await elapse(clock, ROUND_SECONDS)
    assert await ann.presences() == {BEN: present[is_begun]}


async def test_relationships_to_users_who_are_not_watched_any_more_are_not_read_again(
    world: World, gateway: GatewayOfUsers, clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = gateway.sign_in(ANN)
    await ann.watch(BEN)
    await ann.watch(CAT)
    read, reads = world.relationships, list[Sequence[int]]()

    async def relationships(user_id: int, other_ids: Sequence[int]) -> Mapping[int, Relationship]:
        reads.append(other_ids)
        return await read(user_id, other_ids)

    monkeypatch.setattr(world, "relationships", relationships)
    await elapse(clock, 300)
    assert reads == [(CAT,)]
    await ann.watch(BEN)
    assert reads == [(CAT,), [BEN]]


async def test_an_owner_forgets_who_is_not_watched_any_more_and_bounds_who_is(
    gateway: GatewayOfUsers, clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (presences, watches):
        monkeypatch.setattr(module, "MAX_WATCHED_HERE", 2)
    ann = gateway.sign_in(ANN)
    await ann.watch(4, 5, 6)
    assert await ann.presences() == {4: 0, 5: 0}
    assert len(gateway.exchange.watches) == 2
    ann.leave()
    assert len(gateway.exchange.watches) == 0
    await elapse(clock, 2 * WATCH_SECONDS + 2)
    ann = gateway.sign_in(ANN)
    await ann.watch(6, 7)
    assert await ann.presences() == {6: 0, 7: 0}


async def test_watching_is_limited_in_its_rate_and_in_what_is_remembered(
    gateway: GatewayOfUsers, clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "MAX_RELATIONSHIPS", 3)
    ann = gateway.sign_in(ANN)
    for number in range(watches.WATCHES_PER_MINUTE):
        await ann.watch(2 * number + 4, 2 * number + 5)
        assert len(gateway.exchange.watches._viewers[ANN].is_blocked) <= 3
    assert (await ann.refused(BEN)).code is Code.RATE_LIMITED


@pytest.mark.parametrize("is_reviewed", [False, True])
@pytest.mark.parametrize("is_away", [False, True])
async def test_a_viewer_whose_session_ends_while_relationships_are_read_is_forgotten(
    world: World, gateway: GatewayOfUsers, monkeypatch: pytest.MonkeyPatch, is_reviewed: bool, is_away: bool
) -> None:
    """At the first watch, and when a relationship has changed."""
    ann = gateway.sign_in(ANN)
    if is_reviewed:
        await ann.watch(BEN)

    async def end(*_: object) -> dict[int, Relationship]:
        ann.leave()
        ann.session.abandon()
        if is_away:
            raise Unavailable("away")
        return {}

    monkeypatch.setattr(world, "relationships", end)
    if is_reviewed:
        gateway.exchange.forget_relationship(ANN, BEN)
        await settle()
    else:
        with suppress(Unavailable):
            await ann._watch((BEN,))
    assert not gateway.exchange.watches._viewers


async def test_a_gateway_that_stops_stores_when_its_users_were_last_seen(
    world: World, gateway: GatewayOfUsers, clock: trio.testing.MockClock
) -> None:
    gateway.sign_in(ANN)
    gateway.sign_in(BEN).leave()
    await gateway.exchange.presences.close()
    assert {user_id for notes in world.notes for user_id in notes} == {ANN, BEN}


async def test_a_gateway_that_stops_stores_each_time_once_also_if_others_are_being_stored(
    world: World, gateway: GatewayOfUsers, clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its task that stores times every second goes on meanwhile, and overtakes it here."""
    note, goes_on, calls = world.note_last_seen, trio.Event(), itertools.count()

    async def note_last_seen(seen: Mapping[int, int]) -> None:
        if next(calls) == 0:
            await goes_on.wait()
        await note(seen)

    monkeypatch.setattr(world, "note_last_seen", note_last_seen)
    users = range(1, 2 * MAX_IDS + 1)
    for user_id in users:
        gateway.sign_in(user_id)
    clock.jump(TICK_SECONDS / 2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gateway.exchange.presences.close)
        await settle()
        clock.jump(TICK_SECONDS / 2)
        await settle()
        goes_on.set()
    assert world.seen.keys() == {*users}


@pytest.mark.parametrize("value", [b"\xff", b"", Signal(event={"event": Event()}).SerializeToString()])
async def test_a_bad_signal_harms_nothing(gateway: GatewayOfUsers, clock: trio.testing.MockClock, value: bytes) -> None:
    gateway.exchange.receive(value)
    ann = gateway.sign_in(ANN)
    await ann.watch(ANN)
    assert await ann.presences() == {ANN: None}

"""Copies of control changes that a killed gateway did not publish: each member gets them, and few get them twice."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from messaging.gateway.gateway import Gateway
from messaging.gateway.groups import republisher, sequencer
from messaging.gateway.groups.forms import stored_client_id
from shared.contract.chats import home_partition
from shared.contract.errors import Code, Refusal, Unavailable
from tests.messaging.gateway.groups.test_forms import ANN, added, creation
from tests.messaging.gateway.groups.test_sequencer import (
    ALL,
    CHAT,
    HOME,
    assert_whole,
    in_chat,
    made,
    refused,
    taken_over,
)
from tests.messaging.gateway.groups.world import PARTITIONS, World, change, open_world

OTHER = next(
    each
    for each in (creation(str(number), *range(2, 8)) for number in range(100))
    if home_partition(each.chat_id, PARTITIONS) == HOME
)
"""The creation of another group with the same home."""

CHATS = [CHAT, OTHER.chat_id]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with open_world() as opened:
        yield opened


@pytest.fixture
async def gateway(world: World) -> Gateway:
    gateway, _ = await world.start_gateway(ALL)
    await made(gateway, ANN, creation("a", *range(2, 8)))
    return gateway


def copies_of_creation(world: World, chat_id: str) -> set[int]:
    """How many copies of the creation the members' partitions have, one of them by the first owner."""
    envelopes = [[*world.log.counting(each)] for each in ALL if each != HOME]
    counts = {len([each for each in found if each.event.message.chat_id == chat_id]) for found in envelopes}
    return counts - {0}


async def test_the_next_owner_publishes_each_control_change_once_while_the_archive_is_away(
    world: World, gateway: Gateway, autojump_clock: MockClock
) -> None:
    """The owner may die soon, and so may the next ones."""
    await made(gateway, ANN, OTHER)
    world.refusal = Refusal(Code.UNAVAILABLE, "away")
    await taken_over(world)
    await trio.sleep(1.5 * sequencer.TICK_SECONDS)
    assert [copies_of_creation(world, each) for each in CHATS] == [{2}, {2}]
    await trio.sleep(4 * sequencer.TICK_SECONDS)
    assert [copies_of_creation(world, each) for each in CHATS] == [{2}, {2}]


async def test_the_next_owners_publish_no_copy_again_that_a_mark_covers(
    world: World, gateway: Gateway, autojump_clock: MockClock
) -> None:
    """Of the first owner, and of the second one, which publishes the copies of a change that has no mark yet."""
    await trio.sleep(2 * sequencer.TICK_SECONDS)
    await made(gateway, ANN, OTHER)
    for copies in ([{1}, {2}], [{1}, {2}], [{1}, {2}]):
        await taken_over(world)
        await trio.sleep(3 * sequencer.TICK_SECONDS)
        assert [copies_of_creation(world, each) for each in CHATS] == copies
    marks = [each for each in world.log.envelopes[HOME] if each.HasField("copies_stored")]
    assert len(marks) == 2, "one of each owner that published copies"


@pytest.mark.parametrize("outcome", ["cut", "held"])
async def test_no_mark_covers_a_control_change_whose_copies_the_log_lacks(
    world: World, gateway: Gateway, autojump_clock: MockClock, outcome: str
) -> None:
    """Neither while they are on their way, nor after they have failed; a change of another group goes on."""
    await trio.sleep(2 * sequencer.TICK_SECONDS)
    request, fates = in_chat("b", added(100)), iter([outcome, "stored"])
    way = world.ways[0]
    way.outcome = lambda: next(fates, "lost")
    with trio.move_on_after(0.1):
        await change(gateway, ANN, request)
    await made(gateway, ANN, OTHER)
    await trio.sleep(3 * sequencer.TICK_SECONDS)
    way.held = [(records[:1], lambda _: None) for records, _ in way.held]  # the gateway dies before the copies
    way.answer_held()
    event = world.log.controls(CHAT, HOME)[-1]
    assert event.message.control.version == 2
    await taken_over(world)
    await trio.sleep(2 * sequencer.TICK_SECONDS)
    assert event.event_id in world.log.received(100)


async def test_copies_that_the_log_refuses_are_published_after_those_of_other_groups(
    world: World, gateway: Gateway, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(republisher, "AT_ONCE", 1)
    await made(gateway, ANN, OTHER)
    await taken_over(world)
    outcomes = iter(["lost", "stored", "lost"])
    world.ways[-1].outcome = lambda: next(outcomes, "stored")
    await trio.sleep(sequencer.TICK_SECONDS / 2)
    for copies in ([{1}, {1}], [{1}, {2}], [{2}, {2}]):
        await trio.sleep(sequencer.TICK_SECONDS)
        assert [copies_of_creation(world, each) for each in CHATS] == copies


async def test_a_retry_is_answered_once_the_log_has_the_copies_that_its_former_owner_did_not_publish(
    world: World, gateway: Gateway, autojump_clock: MockClock
) -> None:
    """Else it would be accepted, and no member would get it if this owner died, too."""
    request, fates = in_chat("b", added(100)), iter(["cut"])
    world.ways[0].outcome = lambda: next(fates, "lost")
    await refused(gateway, ANN, request)
    second = await taken_over(world)
    world.ways[-1].outcome = lambda: "lost"
    with pytest.raises(Unavailable):
        await change(second, ANN, request)
    world.ways[-1].outcome = lambda: "stored"
    event = await made(second, ANN, request)
    assert_whole(world, {(ANN, stored_client_id(request)): event})

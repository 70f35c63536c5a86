"""Relationships and reports in both account stores."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from shared.accounts.people import (
    PeopleStore,
    Relationship,
    Report,
    Resolution,
    State,
    Step,
    WhoMayStart,
    block,
    end_all,
    invite,
    part,
    take_step,
    unblock,
)
from shared.accounts.store import AccountStore, User
from shared.contract.errors import Code, Refusal, Unavailable
from tests.shared.accounts.stores import OpenStore, patiently

REPORT = Report(7, 1, 2, "d-1-2", '[{"message":{}}]', "Rude.")


async def take(store: AccountStore, user_id: int, step: Step, other_id: int, now_ms: int = 5) -> Refusal | None:
    taken = await take_step(store, user_id, other_id, step, now_ms)
    return taken if isinstance(taken, Refusal) else None


async def states(store: AccountStore, *pairs: tuple[int, int]) -> list[State]:
    return [(await store.relationships(user_id, [other_id]))[other_id].state for user_id, other_id in pairs]


@pytest.mark.parametrize("step", [part, block])
async def test_two_users_are_connected_while_both_want_it(store: AccountStore, step: Step) -> None:
    await take(store, 1, invite, 2, 5)
    assert await states(store, (1, 2), (2, 1), (1, 3)) == [State.INVITED, State.INVITES_ME, State.NONE]
    await take(store, 2, invite, 1, 8)
    await take(store, 1, invite, 2, 9)
    (found,) = await store.relationships_of(1)
    assert (found, found.state, found.since_ms) == (Relationship(1, 2, 5, 8, version=2), State.CONNECTED, 8)
    await take(store, 1, step, 2)
    assert await states(store, (1, 2), (2, 1)) == [State.NONE, State.NONE]
    assert [await store.relationships_of(user_id) for user_id in (2, 3)] == [[], []]


async def test_a_block_holds_in_both_directions_and_is_shown_to_its_user_only(store: AccountStore) -> None:
    for _ in range(2):
        await take(store, 9, block, 4)
    assert not await take(store, 4, invite, 9)
    refusal = await take(store, 9, invite, 4)
    assert refusal is not None
    assert refusal.code is Code.OUT_OF_ORDER
    assert await states(store, (9, 4), (4, 9)) == [State.NONE, State.INVITED]
    (own,), (others,) = await store.relationships_of(9), await store.relationships_of(4)
    assert (own.is_blocked, others.is_blocked) == (True, True)
    assert (own.blocks_ms, others.blocks_ms, others.blocked_ms) == (5, 0, 5)
    await take(store, 9, unblock, 4)
    assert await states(store, (9, 4), (4, 9)) == [State.INVITES_ME, State.INVITED]
    await take(store, 4, block, 9)
    assert await store.relationships_of(9) == []


async def test_a_relationship_is_changed_only_as_it_is_stored(store: AccountStore) -> None:
    new = Relationship(1, 2)
    assert await store.change_relationship(new, replace(new, wants_ms=5))
    assert not await store.change_relationship(new, replace(new, blocks_ms=5))
    found = await store.relationships(2, [1, 3])
    assert found == {1: Relationship(2, 1, wanted_ms=5, version=1), 3: Relationship(2, 3)}


async def test_the_relationships_to_hundreds_of_users_are_found_at_once(store: AccountStore) -> None:
    for user_id, other_id in ((300, 7), (300, 290), (300, 301), (640, 300)):
        await take(store, user_id, block, other_id)
    others = [*range(1, 650)]
    found = await store.relationships(300, others)
    assert list(found) == others
    blocked = {each.other_id: (each.blocks_ms, each.blocked_ms) for each in found.values() if each.is_blocked}
    assert blocked == {7: (5, 0), 290: (5, 0), 301: (5, 0), 640: (0, 5)}


async def test_concurrent_steps_of_two_processes_all_take_effect(open_store: OpenStore) -> None:
    async with open_store() as one, open_store() as other, trio.open_nursery() as nursery:
        for store, user_id, step, others in (
            (one, 1, invite, (2, 3, 4)),
            (other, 2, invite, (1, 3)),
            (one, 3, block, (4,)),
        ):
            for other_id in others:
                nursery.start_soon(patiently, partial(take, store, user_id, step, other_id))
    async with open_store() as store:
        assert await states(store, (1, 2), (2, 1), (3, 1), (3, 2), (4, 1)) == [
            State.CONNECTED,
            State.CONNECTED,
            State.INVITES_ME,
            State.INVITES_ME,
            State.INVITES_ME,
        ]
        assert [each.other_id for each in await store.relationships_of(3)] == [1, 2, 4]


class SlowRelationships:
    """The relationships of user 1 in a store of which each call takes 10 ms, and of which one change fails once."""

    def __init__(self, count: int) -> None:
        self.listed = set(range(2, count + 2))
        self.fails = True

    async def relationships_of(self, user_id: int) -> list[Relationship]:
        return [Relationship(user_id, other_id, wants_ms=1, version=1) for other_id in sorted(self.listed)]

    async def relationships(self, user_id: int, other_ids: Sequence[int]) -> dict[int, Relationship]:
        await trio.sleep(0.01)
        return {other_id: Relationship(user_id, other_id, wants_ms=1, version=1) for other_id in other_ids}

    async def change_relationship(self, before: Relationship, after: Relationship) -> bool:
        await trio.sleep(0.01)
        if before.other_id == 1_000 and self.fails:
            self.fails = False
            raise Unavailable("away")
        self.listed.remove(before.other_id)
        return True


async def test_a_deleted_account_keeps_no_relationship_but_blocks_by_others(store: AccountStore) -> None:
    for user_id, step, other_id in ((1, invite, 2), (1, block, 3), (4, invite, 1), (5, block, 1)):
        await take(store, user_id, step, other_id)
    await end_all(store, 1)
    assert [await store.relationships_of(user_id) for user_id in (1, 2, 3, 4)] == [[]] * 4
    assert [each.other_id for each in await store.relationships_of(5)] == [1]


async def test_many_relationships_of_a_deleted_account_end_at_once_and_after_a_failure_when_it_is_repeated(
    autojump_clock: MockClock,
) -> None:
    world = SlowRelationships(2_000)
    with pytest.raises(Unavailable):
        await end_all(cast(PeopleStore, world), 1)
    await end_all(cast(PeopleStore, world), 1)
    assert world.listed == set()
    assert trio.current_time() < 5


async def test_settings_of_an_account_change_with_its_profile_or_stay(store: AccountStore) -> None:
    await store.add_user(User(11, "alice", "Alice", "", 1, 1_000), "hash")
    change = partial(store.update_profile, 11, display_name="Alice", about="")
    changed = await change(
        version=1, who_may_start=WhoMayStart.CONNECTIONS, shows_presence=False, shows_read_marks=False, avatar="11.x"
    )
    assert changed is not None
    assert changed == User(11, "alice", "Alice", "", 2, 1_000, False, WhoMayStart.CONNECTIONS, False, False, "11.x")
    assert await change(version=2) == replace(changed, version=3)
    assert await store.users([11]) == [replace(changed, version=3)]
    await store.delete_user(11)
    assert (await store.users([11]))[0].avatar == ""


async def test_reports_are_open_until_they_are_closed_once(store: AccountStore) -> None:
    reports = [replace(REPORT, report_id=number) for number in (7, 8, 9, 10)]
    for report in (*reports, REPORT):
        await store.add_report(report)
    close = partial(store.close_report, note="Warned.", closed_by=3, at_ms=50)
    assert [await close(number, resolution=Resolution.HANDLED) for number in (8, 9, 99)] == [True, True, False]
    assert not await close(8, resolution=Resolution.DISMISSED)
    eight, nine = (
        replace(each, resolution=Resolution.HANDLED, note="Warned.", closed_by=3, closed_at_ms=50)
        for each in reports[1:3]
    )
    assert await store.reports(is_open=True, after=0, limit=9) == [reports[0], reports[3]]
    assert await store.reports(is_open=True, after=7, limit=9) == [reports[3]]
    assert await store.reports(is_open=False, after=0, limit=1) == [nine]
    assert await store.reports(is_open=False, after=9, limit=1) == [eight]
    assert (await store.report(9), await store.report(99)) == (nine, None)


async def test_the_opening_of_a_file_is_known_by_report_file_and_admin(store: AccountStore) -> None:
    for _ in range(2):
        await store.add_opening(7, 70, 3)
    asked = ((7, 70, 3), (8, 70, 3), (7, 71, 3), (7, 70, 4))
    assert [await store.has_opened(*each) for each in asked] == [True, False, False, False]


def test_a_report_names_the_files_of_its_messages() -> None:
    messages = [{"message": {"message_id": "5", "files": [{"file_id": "50"}, {"file_id": "51"}]}}]
    messages.append({"message": {"message_id": "6"}})
    assert replace(REPORT, messages=json.dumps(messages)).files == {(5, 50), (5, 51)}
    assert replace(REPORT, messages="[]").files == set()

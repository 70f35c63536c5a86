"""Rosters: when the archive is asked, and what is known without it. Their part in delivery is in test_access.py."""

import pytest
import trio
import trio.testing

from messaging.gateway import rosters as module
from messaging.gateway.rosters import BEHIND_SECONDS, Rosters
from rookery.v1.group_service_pb2 import ChangeSettings
from shared.contract.errors import Code, Refusal
from tests.messaging.gateway.harness import ANN, BEN, CAT, Crew, ScriptedHistory


@pytest.fixture
def history() -> ScriptedHistory:
    return ScriptedHistory()


@pytest.fixture
def rosters(history: ScriptedHistory) -> Rosters:
    return Rosters(history, 4, lambda _: None, history.is_complete)


async def test_one_query_serves_all_who_wait_also_if_the_first_of_them_is_cancelled(
    history: ScriptedHistory, rosters: Rosters
) -> None:
    crew, scope, found = Crew(ANN, BEN), trio.CancelScope(), []
    history.groups[crew.chat_id] = crew.stored
    history.open = trio.Event()

    async def get(scope: trio.CancelScope) -> None:
        with scope:
            found.append(await rosters.get(crew.chat_id))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(get, scope)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(get, trio.CancelScope())
        nursery.start_soon(get, trio.CancelScope())
        await trio.testing.wait_all_tasks_blocked()
        assert history.finds == 1
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        history.open.set()
    assert (found, history.finds) == ([crew.roster] * 2, 2)
    assert await rosters.get(crew.chat_id) is rosters.cached(crew.chat_id)
    assert await rosters.get("g-8") is None


async def test_a_version_that_was_read_is_waited_for_until_the_archive_has_recorded_it(
    history: ScriptedHistory, rosters: Rosters, autojump_clock: trio.testing.MockClock
) -> None:
    crew = Crew(ANN, BEN)
    history.groups[crew.chat_id] = crew.stored
    crew.add(2, CAT)
    rosters.read(crew.chat_id, crew.control(2))  # the roster before it is not cached
    began = trio.current_time()
    refusal = await rosters.get(crew.chat_id)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.retryable) == (Code.UNAVAILABLE, True)
    assert trio.current_time() - began == pytest.approx(BEHIND_SECONDS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rosters.get, crew.chat_id)
        await trio.testing.wait_all_tasks_blocked()
        history.groups[crew.chat_id] = crew.stored
    assert rosters.cached(crew.chat_id) == crew.roster


def test_a_roster_follows_the_log_and_is_dropped_if_a_version_is_missing(rosters: Rosters) -> None:
    crew = Crew(ANN, BEN)
    crew.change(2, change_settings=ChangeSettings(name="A"))
    crew.add(3, CAT)
    crew.remove(4, CAT)
    rosters.read(crew.chat_id, crew.control(1), is_live=False)
    assert rosters.cached(crew.chat_id) is None
    for version in (1, 2, 1, 2):
        rosters.read(crew.chat_id, crew.control(version))
    cached = rosters.cached(crew.chat_id)
    assert cached is not None
    assert (cached.version, cached.settings.name) == (2, "A")
    rosters.read(crew.chat_id, crew.control(4))
    assert (rosters.cached(crew.chat_id), rosters.size, rosters.version(crew.chat_id)) == (None, 0, 4)
    rosters.applied(crew.chat_id, crew.roster, 4)
    assert rosters.cached(crew.chat_id) is crew.roster


def test_an_older_roster_tells_nothing_of_a_recipient_and_what_was_read_is_enough_without_one(
    rosters: Rosters,
) -> None:
    crew = Crew(ANN, BEN)
    crew.remove(20, BEN)
    crew.add(40, BEN)
    rosters.read(crew.chat_id, crew.control(2))
    for read, event_id, version, is_within in [
        (2, 20, 1, True),
        (2, 30, 1, False),
        (2, 50, 3, True),
        (3, 30, 1, False),
        (3, 50, 2, True),
    ]:
        rosters.read(crew.chat_id, crew.control(read))
        assert rosters.within(crew.chat_id, version, event_id, (ANN, BEN)) == ((ANN, BEN) if is_within else (ANN,))
    assert rosters.missed(crew.chat_id, 2, 50) == {3: [BEN]}
    assert not rosters.missed(crew.chat_id, 3, 50)
    assert not rosters.missed(crew.chat_id, 2, 30)


def test_missed_users_are_members_in_the_version_that_was_read_of_them_not_in_a_newer_one(rosters: Rosters) -> None:
    crew = Crew(ANN)
    crew.add(20, BEN)
    crew.remove(40, BEN)
    crew.add(60, CAT)
    for version in (2, 4):  # version 3 is in a partition of which less is read
        rosters.read(crew.chat_id, crew.control(version))
    assert rosters.missed(crew.chat_id, 1, 70) == {2: [BEN], 4: [CAT]}


def test_rosters_are_bounded_in_bytes_and_what_was_read_in_members(
    history: ScriptedHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    rosters = Rosters(
        history, 4, lambda _: None, history.is_complete, max_bytes=2 * (module.ROSTER_BYTES + 2 * module.MEMBER_BYTES)
    )
    monkeypatch.setattr(module, "MAX_CHANGED", 6)
    crews = [Crew(ANN, BEN, number=number) for number in (1, 2, 3)]
    for crew in crews:
        rosters.read(crew.chat_id, crew.control(1))
        rosters.cached(crews[0].chat_id)
    assert [rosters.cached(crew.chat_id) for crew in crews] == [crews[0].roster, None, crews[2].roster]
    assert [rosters.version(crew.chat_id) for crew in crews] == [1, 1, 1]
    rosters.clear()
    assert [rosters.version(crew.chat_id) for crew in crews] == [0, 1, 1], "of the first, it has to ask the archive"

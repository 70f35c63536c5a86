"""Rosters: when the archive is asked, and what is known without it. Their part in delivery is in test_access.py."""

import tracemalloc
from collections.abc import Collection

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from messaging import envelopes
from messaging.gateway import rosters as module
from messaging.gateway.lookups import LOG_SECONDS
from messaging.gateway.rosters import BEHIND_SECONDS, Rosters
from rookery.v1.archive_pb2 import Group
from rookery.v1.group_service_pb2 import ChangeSettings
from rookery.v1.groups_pb2 import ROLE_MEMBER, Control, Member, Span
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.groups import Roster
from tests.messaging.gateway.harness import ANN, BEN, CAT, Crew, ScriptedHistory, looked_up


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


async def test_all_who_wait_for_a_log_that_does_not_answer_are_refused_at_once(
    history: ScriptedHistory, autojump_clock: trio.testing.MockClock
) -> None:
    async def is_complete(partition: int) -> bool:
        await trio.sleep(LOG_SECONDS)
        raise Unavailable("the log does not answer")

    rosters = Rosters(history, 4, lambda _: None, is_complete)

    async def get() -> None:
        with pytest.raises(Unavailable, match="does not answer"):
            await rosters.get("g-7")

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(get)
    assert trio.current_time() - began == pytest.approx(LOG_SECONDS)


async def test_a_version_that_was_read_is_waited_for_until_the_archive_has_recorded_it(
    history: ScriptedHistory, rosters: Rosters, autojump_clock: trio.testing.MockClock
) -> None:
    crew = Crew(ANN, BEN)
    history.groups[crew.chat_id] = crew.stored
    crew.add(2, CAT)
    rosters.read(crew.chat_id, crew.control(2))  # the roster before it is not cached
    began = trio.current_time()
    with capture_logs() as lines:
        refusal = await rosters.get(crew.chat_id)
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.retryable) == (Code.UNAVAILABLE, True)
        assert trio.current_time() - began == pytest.approx(BEHIND_SECONDS, abs=2 * module.RETRY_SECONDS)
        assert await rosters.get(crew.chat_id) == refusal
    assert lines == [
        {
            "event": "roster_not_recorded",
            "log_level": "warning",
            "chat_id": crew.chat_id,
            "recorded_version": 1,
            "needed_version": 2,
            "is_complete": True,
        }
    ], "once a minute at most"
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


HOME_OF_GROUP, OF_ANN, OF_BEN, OF_OTHERS = 1, 0, 3, 2
"""The partitions of a Crew of Ann and Ben."""


@pytest.mark.parametrize(
    ("partitions", "gained", "is_group_kept", "is_channel_kept"),
    [
        ([HOME_OF_GROUP], None, True, True),
        ([OF_ANN], None, True, True),
        ([OF_BEN], None, False, True),
        ([OF_OTHERS], None, False, True),
        ([], None, False, False),
        ([OF_ANN], OF_BEN, True, True),
        ([OF_BEN], OF_ANN, False, True),
        ([OF_ANN], HOME_OF_GROUP, False, False),
    ],
    ids=["home", "member", "former", "neither", "none", "gain", "gain of a member", "gain of the home"],
)
def test_when_partitions_move_a_roster_is_kept_if_the_others_have_all_its_control_changes(
    rosters: Rosters, partitions: Collection[int], gained: int | None, is_group_kept: bool, is_channel_kept: bool
) -> None:
    for is_channel, is_kept in ((False, is_group_kept), (True, is_channel_kept)):
        crew = Crew(ANN, BEN, is_channel=is_channel)
        crew.remove(2, BEN)
        rosters.applied(crew.chat_id, crew.roster, 2)
        rosters.drop_unfollowed(partitions, gained)
        assert (rosters.cached(crew.chat_id) is not None) == is_kept
        rosters.drop_unfollowed(())
        assert rosters.size == 0


def test_the_partitions_of_members_are_computed_once_for_all_moves_until_the_group_changes(
    rosters: Rosters, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []

    def partition_of(user_id: int, _: int) -> int:
        computed.append(user_id)
        return OF_ANN

    monkeypatch.setattr(envelopes, "partition_of", partition_of)
    crew = Crew(ANN, BEN)
    rosters.applied(crew.chat_id, crew.roster, 1)
    for _ in range(3):
        rosters.drop_unfollowed([OF_ANN])
    assert sorted(computed) == [ANN, BEN]
    crew.remove(2, BEN)
    rosters.applied(crew.chat_id, crew.roster, 2)
    rosters.drop_unfollowed([OF_ANN])
    assert sorted(computed) == [ANN, ANN, BEN]
    assert rosters.cached(crew.chat_id) is not None


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


async def test_all_who_wait_for_members_of_a_channel_share_the_next_query_and_known_ones_need_none(
    history: ScriptedHistory, rosters: Rosters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LOOKED_UP", 4)
    crew, found = Crew(ANN, BEN, CAT, is_channel=True), dict[int, Roster | Refusal | None]()
    history.groups[crew.chat_id] = crew.stored
    history.open = trio.Event()

    async def get(user_id: int) -> None:
        found[user_id] = await rosters.get(crew.chat_id, [user_id, ANN])

    async with trio.open_nursery() as nursery:
        for user_id in (ANN, BEN, CAT, 4, 5, 6):
            nursery.start_soon(get, user_id)
            await trio.testing.wait_all_tasks_blocked()
        history.open.set()
    assert history.wanted[0] == {ANN}
    assert [len(wanted) for wanted in history.wanted] == [1, 4, 1]
    for user_id, roster in found.items():
        assert isinstance(roster, Roster)
        assert (user_id in roster, ANN in roster, roster.member_count) == (user_id <= CAT, True, 3)
    roster = await rosters.get(crew.chat_id, range(1, 7))
    assert isinstance(roster, Roster)
    assert len(history.wanted) == 3
    monkeypatch.setattr(module, "MAX_KNOWN", 6)
    assert await rosters.get(crew.chat_id, [7]) is not None
    roster = rosters.cached(crew.chat_id)
    assert roster is not None
    assert {*roster.members} == {2, 3, 4, 5, 6, 7}, "the last six"
    crew.add(9, *range(10, 17))
    rosters.read(crew.chat_id, crew.control(2), is_channel=True)
    roster = rosters.cached(crew.chat_id)
    assert roster is not None
    assert ({*roster.members}, roster.version, roster.since) == ({*range(11, 17)}, 2, 2)


async def test_a_forgotten_member_is_looked_up_in_a_version_that_has_their_last_change(
    history: ScriptedHistory, rosters: Rosters, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 2)
    crew = Crew(ANN, BEN, is_channel=True)
    history.groups[crew.chat_id] = crew.stored
    await rosters.get(crew.chat_id, [ANN])
    crew.remove(2, BEN)
    crew.add(3, CAT, 4)
    for version in (2, 3):
        rosters.read(crew.chat_id, crew.control(version), is_channel=True)
    assert isinstance(await rosters.get(crew.chat_id, [BEN]), Refusal)
    history.groups[crew.chat_id] = crew.stored
    roster = await rosters.get(crew.chat_id, [BEN])
    assert isinstance(roster, Roster)
    assert roster.members[BEN] == crew.roster.members[BEN]


def test_users_who_have_asked_to_join_a_channel_stay_known(rosters: Rosters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 3)
    crew = Crew(ANN, is_channel=True)
    asking = Control(version=2, members=[Member(user_id=BEN, asked_at_ms=7, version=2)], member_count=1)
    rosters.applied(crew.chat_id, crew.roster.after(asking), 2)
    roster = rosters.cached(crew.chat_id)
    for user_id in range(10, 20):
        assert roster is not None
        joined = Member(user_id=user_id, role=ROLE_MEMBER, spans=[Span(first=user_id)], version=roster.version + 1)
        rosters.read(crew.chat_id, Control(version=roster.version + 1, members=[joined], member_count=user_id))
        roster = rosters.cached(crew.chat_id)
    assert roster is not None
    assert ({*roster.members}, [each.user_id for each in roster.asking()]) == ({BEN, 18, 19}, [BEN])


@pytest.mark.parametrize("spacing", [0, 1])
def test_the_members_of_a_large_channel_take_less_than_a_megabyte_at_four_gateways(
    history: ScriptedHistory, spacing: int
) -> None:
    """Of the members, whose spans are equal or different, each gateway keeps the last ones, once."""
    first, controls = 2**58, [Crew(ANN, is_channel=True).control(1)]
    for version in range(2, 5):
        users = [first + 1_000 * version + number for number in range(1_000)]
        spans = [[Span(first=first + spacing * user_id)] for user_id in users]
        members = [
            Member(user_id=user_id, role=ROLE_MEMBER, spans=each, version=version)
            for user_id, each in zip(users, spans, strict=True)
        ]
        controls.append(Control(version=version, members=members, member_count=1_000 * version))
    gateways = [Rosters(history, 4, lambda _: None, history.is_complete) for _ in range(4)]
    tracemalloc.start()
    for gateway in gateways:
        for control in controls:
            gateway.read("g-7", control, is_channel=True)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for gateway in gateways:
        roster = gateway.cached("g-7")
        assert roster is not None
        assert (gateway.version("g-7"), len(roster.members)) == (len(controls), module.MAX_KNOWN)
    assert max(sum(gateway.size for gateway in gateways), size) < 1_000_000


async def test_the_members_of_a_roster_and_the_ones_remembered_beside_it_are_bounded_together(
    history: ScriptedHistory, rosters: Rosters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 4)
    crew = Crew(ANN, BEN, is_channel=True)
    crew.add(20, *range(10, 20))
    history.groups[crew.chat_id] = crew.stored
    rosters.read(crew.chat_id, crew.control(2), is_channel=True)

    def known() -> list[int]:
        changed = rosters.missed(crew.chat_id, 0, 100).values()
        return sorted(user_id for user_ids in changed for user_id in user_ids)

    assert known() == [16, 17, 18, 19]
    for user_ids, expected in [([ANN], [ANN, 17, 18, 19]), ([BEN, 10], [ANN, BEN, 10, 19])]:
        assert isinstance(await rosters.get(crew.chat_id, user_ids), Roster)
        assert known() == expected


@pytest.mark.parametrize("lose", ["clear", "miss"])
def test_members_of_a_channel_stay_known_without_the_roster_that_had_them(rosters: Rosters, lose: str) -> None:
    """The sender of an event may not have read yet that a recipient has left."""
    crew = Crew(ANN, BEN, CAT, is_channel=True)
    crew.remove(20, BEN)
    for version in (1, 2):
        rosters.read(crew.chat_id, crew.control(version), is_channel=True)
    if lose == "clear":
        rosters.drop_unfollowed(())
    else:
        crew.change(30, change_settings=ChangeSettings(name="A"))
        crew.remove(40, CAT)
        rosters.read(crew.chat_id, crew.control(4), is_channel=True)
    assert (rosters.cached(crew.chat_id), rosters.size) == (None, 0)
    assert rosters.within(crew.chat_id, 1, 50, (ANN, BEN)) == (ANN,)
    assert (CAT in rosters.within(crew.chat_id, 1, 50, (CAT,))) == (lose == "clear")


async def test_an_answer_from_before_the_cached_roster_is_asked_for_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A roster that was cached meanwhile would not learn of the changes between both."""
    archive, crew = Archive(), Crew(ANN, BEN, is_channel=True)
    rosters = Rosters(archive, 4, lambda _: None, archive.is_complete)
    archive.groups[crew.chat_id] = crew.stored
    archive.open = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rosters.get, crew.chat_id, [BEN])
        await trio.testing.wait_all_tasks_blocked()
        crew.remove(2, BEN)
        rosters.applied(crew.chat_id, Roster.of(looked_up(crew.stored, ())), 2)
        archive.open.set()
        await trio.sleep(BEHIND_SECONDS / 2)
        archive.groups[crew.chat_id] = crew.stored
    roster = rosters.cached(crew.chat_id)
    assert roster is not None
    assert roster.members[BEN] == crew.roster.members[BEN]


class Archive(ScriptedHistory):
    """Answers with what it had recorded when it was asked, once the test lets it."""

    async def find_group(self, chat_id: str, user_ids: Collection[int] = ()) -> Group | Refusal | None:
        group = looked_up(self.groups[chat_id], user_ids)
        await self.open.wait()
        return group


ACTIONS = st.sampled_from(["toggle", "toggle", "read", "read", "record", "get", "get", "hold", "clear", "applied"])


@given(st.lists(st.tuples(ACTIONS, st.integers(0, 100)), min_size=10, max_size=50), st.sampled_from([2, 100]))
def test_a_roster_states_of_each_member_that_it_knows_what_the_channel_has(
    steps: list[tuple[str, int]], max_known: int
) -> None:
    """In its version, or in a later one for members that were looked up. This holds for each version that the archive
    has recorded, and for a member that the roster had forgotten."""

    async def main() -> None:
        crew, history = Crew(ANN, *range(2, 6), is_channel=True), Archive()
        rosters = Rosters(history, 4, lambda _: None, history.is_complete)
        history.groups[crew.chat_id], truths, read = crew.stored, [crew.roster], 1
        rosters.read(crew.chat_id, crew.control(1), is_live=False, is_channel=True)

        async def get(user_ids: list[int], version: int) -> None:
            roster = await rosters.get(crew.chat_id, user_ids)
            if isinstance(roster, Refusal):
                assert history.groups[crew.chat_id].version < crew.roster.version
                return
            assert roster is not None
            assert roster.knows(user_ids)
            assert roster.version >= version
            assert roster.member_count == truths[roster.version - 1].member_count
            for user_id, member in roster.members.items():
                truth = truths[max(roster.version, member.version) - 1].members.get(user_id)
                assert member == (truth or Member(user_id=user_id))

        async with trio.open_nursery() as nursery:
            for action, number in steps:
                user_id = number % 7 + 2
                if action == "toggle":
                    is_member = user_id in crew.roster
                    crew.remove(100 + len(truths), user_id) if is_member else crew.add(100 + len(truths), user_id)
                    truths.append(crew.roster)
                elif action == "read" and read < len(truths):
                    read += 1
                    rosters.read(crew.chat_id, crew.control(read), is_channel=True)
                elif action == "record":
                    history.groups[crew.chat_id] = crew.stored
                elif action == "get":
                    user_ids = [user_id, number % 5 + 2]
                    nursery.start_soon(get, user_ids, rosters.version(crew.chat_id))
                elif action == "hold":
                    history.open.set()
                    history.open = trio.Event()
                elif action == "clear":
                    rosters.drop_unfollowed(())
                else:  # a sequencer's
                    roster = Roster.of(looked_up(history.groups[crew.chat_id], ()))
                    for later in crew.events[roster.version :]:
                        roster = roster.after(later.message.control)
                    rosters.applied(crew.chat_id, roster, 0)
                await trio.testing.wait_all_tasks_blocked()
            history.open.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_KNOWN", max_known)
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


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
    rosters.drop_unfollowed(())
    assert [rosters.version(crew.chat_id) for crew in crews] == [0, 1, 1], "of the first, it has to ask the archive"

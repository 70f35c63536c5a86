"""The contract of every ChatStore for joining groups: requests, invite links, and the search of public groups."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.archive.store.cassandra import public_chats
from messaging.archive.store.protocol import FIRST_PUBLIC, ChatStore, PublicCursor
from rookery.v1.groups_pb2 import ROLE_MEMBER, ROLE_OWNER, ROLE_UNSPECIFIED, GroupSettings, Invite
from shared.accounts.names import is_match, search_terms
from shared.contract.groups import MAX_INVITES
from tests.messaging.archive.store.chats import Company, all_chats, chat_of, hypothetical, logged
from tests.messaging.archive.store.conftest import OpenChats

pytestmark = pytest.mark.usefixtures("clock")

prefixes = itertools.count()


@pytest.fixture
def crew() -> Company:
    return Company()


async def test_a_user_who_asks_to_join_reads_nothing_until_they_are_a_member(chats: ChatStore, crew: Company) -> None:
    creation = crew.creation()
    stranger, settings = crew.members[2], creation.message.control.settings
    await chats.record(logged(creation, crew.control(asking={2: True})), {})
    assert await chats.get_group(crew.chat_id) == crew.group(settings)
    assert await chats.get_member(crew.chat_id, stranger) is None
    assert await chats.get_chat(stranger, crew.chat_id) is None
    assert await all_chats(chats, stranger) == []
    await chats.record(logged(crew.control({2: ROLE_MEMBER})), {})
    assert (await chat_of(chats, crew, stranger)).member_count == 3


async def test_who_was_declined_and_never_was_a_member_is_forgotten(chats: ChatStore, crew: Company) -> None:
    events = [crew.creation(), crew.control(asking={2: True}), crew.control(asking={2: False})]
    await chats.record(logged(*events), {})
    assert await chats.get_group(crew.chat_id) == crew.group(events[0].message.control.settings)
    assert crew.members[2] not in crew.group(GroupSettings()).members


@pytest.mark.parametrize("size", [1, 9])
async def test_a_former_member_who_asks_to_join_keeps_the_group_as_it_was_when_they_left(
    chats: ChatStore, crew: Company, size: int
) -> None:
    events = [crew.creation(), crew.control({1: ROLE_UNSPECIFIED}), crew.control(settings=GroupSettings(name="Later"))]
    await chats.record(logged(*events), {})
    before = await chat_of(chats, crew, crew.members[1])
    later = [crew.control(asking={1: asks}) for asks in (True, False, True)]
    for start in range(0, 3, size):
        await chats.record(logged(*later[start : start + size]), {})
    assert await chat_of(chats, crew, crew.members[1]) == before
    group = await chats.get_group(crew.chat_id)
    assert group is not None
    assert [bool(each.asked_at_ms) for each in group.members] == [False, True]


async def test_the_newest_state_of_each_invite_link_stays_and_few_revoked_ones(chats: ChatStore, crew: Company) -> None:
    creation = crew.creation()
    events = [crew.control(invites=[Invite(invite_id=number)]) for number in range(1, MAX_INVITES + 1)]
    events += [crew.control(invites=[Invite(invite_id=5, uses=1)])]
    events += [crew.control(invites=[Invite(invite_id=number, is_revoked=True)]) for number in (9, 7)]
    events += [crew.control(invites=[Invite(invite_id=MAX_INVITES + 1)])]
    await chats.record(logged(creation, *events[3:]), {})
    await chats.record(logged(*events[:3]), {})
    del crew.invites[9]
    assert await chats.get_group(crew.chat_id) == crew.group(creation.message.control.settings)


async def names(chats: ChatStore, query: str, user_id: int = 1) -> list[str]:
    """The names that a query finds, by pages of two."""
    found: list[str] = []
    after = FIRST_PUBLIC
    while page := await chats.list_public_chats(user_id, query, after=after, limit=2):
        found += [each.settings.name for each in page]
        after = PublicCursor(page[-1].settings.name.casefold(), page[-1].chat_id)
    return found


async def test_a_public_group_is_found_while_it_is_public_and_has_members(chats: ChatStore, crew: Company) -> None:
    word = f"Rowing{next(prefixes)}"
    created = crew.creation()

    def renamed(name: str, *, is_public: bool) -> GroupSettings:
        return GroupSettings(name=name, is_public=is_public)

    await chats.record(logged(created, crew.control(settings=renamed(f"{word} club", is_public=True))), {})
    (found,) = await chats.list_public_chats(crew.members[1], f"CLUB {word}", after=FIRST_PUBLIC, limit=9)
    assert (found.chat_id, found.settings.name, found.member_count) == (crew.chat_id, f"{word} club", 2)
    assert found.own == crew.known[crew.members[1]]
    await chats.record(logged(crew.control(asking={2: True})), {})
    (found,) = await chats.list_public_chats(crew.members[2], word, after=FIRST_PUBLIC, limit=9)
    assert found.own.asked_at_ms
    for settings, expected in (
        (renamed(f"{word} team", is_public=True), [f"{word} team"]),
        (renamed(f"{word} team", is_public=False), []),
        (renamed(f"{word} Team", is_public=True), [f"{word} Team"]),
    ):
        await chats.record(logged(crew.control(settings=settings)), {})
        assert await names(chats, word) == expected
        assert await names(chats, f"{word} club") == []
    await chats.record(logged(crew.control({0: ROLE_UNSPECIFIED, 1: ROLE_UNSPECIFIED})), {})
    assert await names(chats, word) == []


async def test_settings_that_are_recorded_in_another_order_leave_no_former_name_behind(
    chats: ChatStore, crew: Company
) -> None:
    word = f"Rowing{next(prefixes)}"
    created = crew.creation()
    first, second = (crew.control(settings=GroupSettings(name=f"{word} {each}", is_public=True)) for each in "ab")
    for event in (created, second, first):
        await chats.record(logged(event), {})
    for _ in range(2):
        assert await names(chats, f"{word} a") == []
        assert await names(chats, word) == [f"{word} b"]


words = st.sampled_from(["sail", "Sailing", "row", "a", "Straße", "@club"])


@hypothetical
@given(
    titles=st.lists(st.lists(words, min_size=1, max_size=3).map(" ".join), max_size=6),
    query=st.lists(words, max_size=2).map(" ".join),
    page=st.integers(1, 3),
)
async def test_a_search_finds_what_the_rule_of_names_finds_in_order(
    open_chats: OpenChats, titles: list[str], query: str, page: int
) -> None:
    mark = f"x{next(prefixes)}x"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(public_chats, "PAGE", page)
        async with open_chats() as chats:
            for title in titles:
                crew = Company()
                settings = GroupSettings(name=f"{title} {mark}", is_public=True)
                await chats.record(logged(crew.control({0: ROLE_OWNER}, settings=settings)), {})
            found = await names(chats, f"{query} {mark}")
            everyone = await names(chats, "")
    matching = [f"{title} {mark}" for title in titles if is_match(search_terms(query), title)]
    assert [name.casefold() for name in found] == sorted(name.casefold() for name in matching)
    assert {f"{title} {mark}" for title in titles} <= set(everyone)

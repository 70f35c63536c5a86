"""The contract of every ChatStore for groups, on the engines of conftest.py."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.archive.store.laws import listed_key
from messaging.archive.store.protocol import FIRST_PUBLIC, ChatCursor, ChatStore, Membership
from rookery.v1.archive_pb2 import CHAT_KIND_GROUP, Chat, Group, HistoryMessage, ListMembersResponse, Mark
from rookery.v1.groups_pb2 import ROLE_ADMIN, ROLE_GUEST, ROLE_MEMBER, ROLE_UNSPECIFIED, GroupSettings, Invite, Member
from rookery.v1.session_pb2 import Event
from shared.contract.changes import KINDS
from shared.contract.ids import MAX_AGE_MS, MAX_ID, time_of
from tests.messaging.archive.store.chats import (
    ALL,
    MENTIONS,
    Company,
    Conversation,
    all_chats,
    chat_of,
    check_mentions,
    hypothetical,
    ids,
    logged,
    newest_page,
    state,
    users,
)
from tests.messaging.archive.store.conftest import OpenChats

pytestmark = pytest.mark.usefixtures("clock")


@pytest.fixture
def crew() -> Company:
    """Three users, of whom the third is not a member of the creation."""
    return Company()


async def everything(chats: ChatStore, crew: Company) -> Any:
    """All data of a group that can be read."""
    members = await chats.list_members(crew.chat_id, after=0, limit=100)
    marks = await chats.list_marks(crew.chat_id, from_id=0, limit=100)
    each: list[Any] = [await chats.get_member(crew.chat_id, user) for user in crew.members]
    public = await chats.list_public_chats(crew.members[2], "crew", after=FIRST_PUBLIC, limit=100)
    each += [chat for chat in public if chat.chat_id == crew.chat_id]
    groups = [await chats.get_group(crew.chat_id, user_ids) for user_ids in (crew.members, ())]
    return await state(chats, crew), groups, members, marks, each


async def test_a_group_as_its_members_and_others_see_it(chats: ChatStore, crew: Company) -> None:
    creation, message = crew.creation(), crew.message(0)
    marks = [crew.mark(0, read=1), crew.mark(1, read=creation.event_id)]
    settings = creation.message.control.settings
    await chats.record(logged(creation, message, *marks), {})
    owner, member, stranger = crew.members
    assert await chats.get_chat(member, crew.chat_id) == Chat(
        chat_id=crew.chat_id,
        kind=CHAT_KIND_GROUP,
        newest=HistoryMessage(message=message.message),
        unread=1,
        marks=[Mark(user_id=member, read_up_to=creation.event_id)],
        changed_at_ms=time_of(marks[1].event_id),
        version=1,
        settings=settings,
        member_count=2,
        own=crew.known[member],
        newest_sent_id=message.event_id,
    )
    assert (await chat_of(chats, crew, owner)).changed_at_ms == time_of(marks[0].event_id)
    members = [crew.known[owner], crew.known[member]]
    assert await chats.get_group(crew.chat_id) == crew.group(settings)
    assert [await chats.get_member(crew.chat_id, user) for user in crew.members] == [
        *(Membership(each, settings) for each in members),
        None,
    ]
    assert await chats.get_chat(stranger, crew.chat_id) is None
    assert [len(await all_chats(chats, user)) for user in crew.members] == [1, 1, 0]
    assert ids((await newest_page(chats, crew.chat_id)).messages) == [creation.event_id, message.event_id]
    assert await chats.find_sent(crew.chat_id, owner, creation.message.client_message_id) == creation


async def test_an_unknown_group_is_nothing(chats: ChatStore, crew: Company) -> None:
    assert await chats.get_group(crew.chat_id) is None
    assert await chats.get_member(crew.chat_id, crew.members[0]) is None
    assert await chats.get_chat(crew.members[0], crew.chat_id) is None
    assert await chats.list_members(crew.chat_id, after=0, limit=1) == ListMembersResponse()
    assert await chats.list_marks(crew.chat_id, from_id=0, limit=1) == []


async def test_messages_may_be_recorded_before_the_creation_of_their_group(chats: ChatStore, crew: Company) -> None:
    creation, message = crew.creation(), crew.message(1)
    await chats.record(logged(message, crew.mark(1, read=message.event_id)), {})
    assert await chats.get_group(crew.chat_id) is None
    assert [await all_chats(chats, user) for user in crew.members] == [[], [], []]
    assert await chats.get_chat(crew.members[1], crew.chat_id) is None
    await chats.record(logged(creation), {})
    (chat,) = await all_chats(chats, crew.members[0])
    assert (chat.newest.message, chat.unread, chat.changed_at_ms) == (message.message, 1, time_of(message.event_id))


async def test_a_mark_counts_in_the_list_of_its_actor_if_it_is_recorded_before_the_creation(
    chats: ChatStore, crew: Company
) -> None:
    creation, marks = crew.creation(), [crew.mark(who, read=1) for who in (1, 2)]
    await chats.record(logged(*marks), {})
    assert [await all_chats(chats, user) for user in crew.members] == [[], [], []]
    await chats.record(logged(creation), {})
    listed = [await all_chats(chats, user) for user in crew.members]
    assert [[chat.changed_at_ms for chat in each] for each in listed] == [
        [time_of(creation.event_id)],
        [time_of(marks[0].event_id)],
        [],
    ]


async def test_a_former_member_keeps_the_group_as_it_was_when_they_left(chats: ChatStore, crew: Company) -> None:
    member = crew.members[1]
    events = [
        *(crew.creation(shows_history=True), crew.message(0), crew.control({1: ROLE_UNSPECIFIED}, who=1)),
        *(crew.message(0), crew.control(settings=GroupSettings(name="Later")), crew.control({2: ROLE_GUEST})),
    ]
    left = events[2]
    await chats.record(logged(*events), {})
    assert await all_chats(chats, member) == [
        Chat(
            chat_id=crew.chat_id,
            kind=CHAT_KIND_GROUP,
            newest=HistoryMessage(message=left.message),
            changed_at_ms=time_of(left.event_id),
            version=2,
            settings=events[0].message.control.settings,
            own=crew.known[member],
        )
    ]
    assert await all_chats(chats, member) == [await chats.get_chat(member, crew.chat_id)]
    assert await chats.get_member(crew.chat_id, member) == Membership(crew.known[member], GroupSettings(name="Later"))
    (chat,) = await all_chats(chats, crew.members[0])
    assert (chat.version, chat.settings.name, chat.member_count) == (4, "Later", 2)
    read = crew.mark(1, read=left.event_id)
    await chats.record(logged(read), {})
    assert [chat.changed_at_ms for chat in await all_chats(chats, member)] == [time_of(read.event_id)]
    group = await chats.get_group(crew.chat_id)
    assert group is not None
    assert list(group.members) == [crew.known[user] for user in crew.members]


async def test_who_was_removed_late_finds_it_in_the_list_by_the_time_of_the_log(
    chats: ChatStore, crew: Company
) -> None:
    await chats.record(logged(crew.creation()), {})
    late = crew.control({1: ROLE_UNSPECIFIED})
    await chats.record(logged(late, age_ms=MAX_AGE_MS + 5), {})
    (chat,) = await all_chats(chats, crew.members[1])
    assert chat.changed_at_ms == time_of(late.event_id) + 5


async def test_who_joins_again_has_two_spans_and_unread_messages_from_the_second_on(
    chats: ChatStore, crew: Company
) -> None:
    events = [
        *(crew.creation(), crew.message(0), crew.control({1: ROLE_UNSPECIFIED}), crew.message(0)),
        *(crew.control({1: ROLE_ADMIN}), crew.message(0), crew.message(0)),
    ]
    for event in events:
        await chats.record(logged(event), {})
    (chat,) = await all_chats(chats, crew.members[1])
    assert (chat.unread, chat.member_count, chat.newest.message) == (3, 2, events[-1].message)
    assert [(span.first, span.last) for span in chat.own.spans] == [
        (events[0].event_id, events[2].event_id),
        (events[4].event_id, 0),
    ]
    await chats.record(logged(crew.mark(1, read=events[5].event_id)), {})
    assert (await chat_of(chats, crew, crew.members[1])).unread == 1


@pytest.mark.parametrize("order", [1, -1])
async def test_of_control_changes_only_the_one_by_which_another_member_adds_the_user_is_unread(
    chats: ChatStore, crew: Company, order: int
) -> None:
    joins = crew.creation(1), crew.control({1: ROLE_MEMBER}), crew.control({2: ROLE_MEMBER}, who=2)
    later = [crew.control({1: role}) for role in (ROLE_ADMIN, ROLE_GUEST)]
    for event in [*joins, crew.message(), *later, crew.message()][::order]:
        await chats.record(logged(event), {})
    assert [(await chat_of(chats, crew, user)).unread for user in crew.members] == [0, 3, 2]
    await chats.record(logged(crew.mark(1, read=joins[1].event_id)), {})
    assert (await chat_of(chats, crew, crew.members[1])).unread == 2


async def test_unread_messages_behind_many_control_changes_are_counted(chats: ChatStore, crew: Company) -> None:
    await chats.record(logged(crew.creation(), crew.message()), {})
    for _ in range(3):
        await chats.record(logged(*(crew.control({2: role}) for role in [ROLE_MEMBER, ROLE_UNSPECIFIED] * 50)), {})
    await chats.record(logged(crew.message()), {})
    assert (await chat_of(chats, crew, crew.members[1])).unread == 3


async def test_the_newest_message_that_is_no_control_change_is_known_behind_later_ones(chats: ChatStore) -> None:
    async def newest_sent(crew: Company, *batches: Sequence[Event]) -> list[int]:
        for batch in batches:
            await chats.record(logged(*batch), {})
        seen = [(await all_chats(chats, user), await chats.get_chat(user, crew.chat_id)) for user in crew.members]
        assert all(listed == [chat] for listed, chat in seen)
        return [chat.newest_sent_id for _, chat in seen if chat]

    for size in (1, 2, 3, 9):
        crew = Company()
        created, joined = crew.creation(), crew.control({2: ROLE_MEMBER})
        assert await newest_sent(crew, [created, joined]) == [0, 0, 0]
        text = crew.message(0, mentions=[1])
        behind = [crew.toggle("archived", 0, who=1), text, crew.control({2: ROLE_ADMIN}), crew.reaction(text.event_id)]
        batches = [behind[at : at + size] for at in range(0, len(behind), size)]
        assert await newest_sent(crew, *batches[::-1], *batches) == [text.event_id] * 3
        last = crew.message(2)
        assert await newest_sent(crew, [last]) == [last.event_id] * 3
        removal, later = crew.control({1: ROLE_UNSPECIFIED}), crew.message(0)
        assert await newest_sent(crew, [removal]) == [last.event_id, 0, last.event_id]
        assert await newest_sent(crew, [later, crew.deletion(later.event_id)]) == [later.event_id, 0, later.event_id]


@pytest.mark.parametrize("order", [1, -1])
async def test_an_unread_mention_is_in_the_newest_text_of_a_message_that_is_not_deleted(
    chats: ChatStore, crew: Company, order: int
) -> None:
    creation = crew.creation()
    texts = [(1,), (ALL,), (1, ALL), (0,), (), (1,), (), (0,), (1,)]
    messages = [crew.message(mentions=mentions) for mentions in texts]
    at = [message.event_id for message in messages]
    changes = [
        *(crew.edit(at[5]), crew.edit(at[6], mentions=[1]), crew.edit(at[7], mentions=[1])),
        *(crew.edit(at[7], mentions=[ALL]), crew.edit(at[4], mentions=[1]), crew.edit(at[4]), crew.deletion(at[8])),
    ]
    own = crew.message(1, mentions=[1, ALL])
    for event in [creation, *messages, *changes, own][::order]:
        await chats.record(logged(event), {})
    assert [(await chat_of(chats, crew, user)).unread_mentions for user in crew.members[:2]] == [1, 5]
    await chats.record(
        logged(crew.mark(1, read=at[1]), crew.control({2: ROLE_GUEST}), crew.message(mentions=[ALL])), {}
    )
    assert [(await chat_of(chats, crew, user)).unread_mentions for user in crew.members] == [1, 4, 1]


async def test_of_two_control_changes_with_one_version_the_first_recorded_stays(
    chats: ChatStore, crew: Company
) -> None:
    creation = crew.creation()
    rival = deepcopy(crew)
    first, fork = crew.control(settings=GroupSettings(name="First")), rival.control({1: ROLE_UNSPECIFIED})
    later = crew.control({2: ROLE_MEMBER})
    await chats.record(logged(creation, first), {})
    before = await chats.get_group(crew.chat_id)
    await chats.record(logged(fork), {})
    assert await chats.get_group(crew.chat_id) == before
    await chats.record(logged(fork, later, first, creation), {})
    assert ids((await newest_page(chats, crew.chat_id)).messages) == [e.event_id for e in (creation, first, later)]
    (chat,) = await all_chats(chats, crew.members[1])
    assert (chat.version, chat.settings.name, chat.member_count) == (3, "First", 3)
    assert await chats.find_sent(crew.chat_id, crew.members[0], fork.message.client_message_id) is None


@pytest.mark.parametrize(
    "field", ["version", "control.version", "member_count", "version of each invite", "user_id", "spans", "chat_id"]
)
async def test_an_invalid_control_change_writes_nothing(chats: ChatStore, crew: Company, field: str) -> None:
    creation = crew.creation()
    bad = Event.FromString(creation.SerializeToString())
    match field:
        case "version":
            bad.message.control.version = 0
        case "control.version":
            bad.message.control.version = 2**31
        case "member_count":
            bad.message.control.member_count = 2**31
        case "version of each invite":
            bad.message.control.invites.add(invite_id=1, version=2**63)
        case "user_id":
            bad.message.control.members[1].user_id = 0
        case "spans":
            bad.message.control.members[1].ClearField("spans")
        case _:
            bad.message.chat_id = "g-0"
    with pytest.raises(ValueError, match=field):
        await chats.record(logged(crew.message(1), bad), {})
    await chats.record(logged(creation), {})
    assert ids((await newest_page(chats, crew.chat_id)).messages) == [creation.event_id]


async def test_present_members_are_listed_page_by_page(chats: ChatStore) -> None:
    crew = Company(tuple(next(users) for _ in range(7)))
    await chats.record(logged(crew.creation(7), crew.control({2: ROLE_UNSPECIFIED, 3: ROLE_GUEST})), {})
    present = [crew.known[user] for n, user in enumerate(crew.members) if n != 2]
    seen: list[Member] = []
    has_more = True
    while has_more:
        page = await chats.list_members(crew.chat_id, after=seen[-1].user_id if seen else 0, limit=3)
        assert (len(page.members), page.version) == (3, 2)
        seen += page.members
        has_more = page.has_more
    assert seen == present


async def test_of_a_channel_the_named_members_are_read_those_who_ask_and_the_creators_of_links(
    chats: ChatStore,
) -> None:
    crew = Company(tuple(next(users) for _ in range(9)))
    creation = crew.creation(6, is_channel=True)
    events = [
        *(creation, crew.control(invites=[Invite(invite_id=1, creator_id=crew.members[3])])),
        *(crew.control(asking={6: True, 7: True}), crew.control({4: ROLE_UNSPECIFIED}, asking={7: False}, who=5)),
    ]
    await chats.record(logged(*events, crew.message(1)), {})
    for named, found in (((), (3, 6)), ((0, 3, 4, 7, 8), (0, 3, 4, 6))):
        group = await chats.get_group(crew.chat_id, [crew.members[n] for n in named])
        assert group == crew.group(creation.message.control.settings, [crew.members[n] for n in found])
    await chats.record(logged(crew.control({6: ROLE_MEMBER})), {})
    assert [each.user_id for each in (await chats.get_group(crew.chat_id) or Group()).members] == [crew.members[3]]


async def test_a_viewer_reads_no_private_changes_of_others(chats: ChatStore, crew: Company) -> None:
    creation, *messages = crew.creation(3, is_channel=True), *crew.messages(2)
    at = [message.event_id for message in messages]
    changes = [
        *(crew.reaction(at[1], "🎉", who) for who in range(3)),
        *(crew.toggle(kind, at[1], who) for kind in ("starred", "hidden") for who in range(3)),
    ]
    await chats.record(logged(creation, *messages, *changes), {})
    viewer_id, starred = crew.members[2], KINDS["starred"]
    expected = [changes[n] for n in (0, 1, 2, 5, 8)]
    for page in (
        await chats.messages_before(crew.chat_id, MAX_ID, 2, viewer_id),
        await chats.messages_after(crew.chat_id, creation.event_id, 2, viewer_id),
        await chats.messages_having(crew.chat_id, starred.number, listed_key(starred, viewer_id), MAX_ID, 2, viewer_id),
    ):
        assert [*page.messages[-1].changes] == expected
    message = await chats.get_message(crew.chat_id, at[1], viewer_id) or HistoryMessage()
    assert ([*message.changes], message) == (expected, (await chat_of(chats, crew, viewer_id)).newest)
    assert [*((await chats.get_message(crew.chat_id, at[1])) or HistoryMessage()).changes] == changes


async def test_marks_of_present_members_are_listed_the_furthest_first(chats: ChatStore) -> None:
    crew = Company(tuple(next(users) for _ in range(6)))
    creation, *messages = crew.creation(6), *crew.messages(4)
    at = [message.event_id for message in messages]
    marks = [
        crew.mark(1, read=at[1]),
        crew.mark(2, read=at[2]),
        crew.mark(3, delivered=at[3]),
        crew.mark(4, read=at[3]),
    ]
    await chats.record(logged(creation, *messages, *marks, crew.control({4: ROLE_UNSPECIFIED})), {})

    async def listed(from_id: int, limit: int = 9) -> list[int]:
        found = await chats.list_marks(crew.chat_id, from_id=from_id, limit=limit)
        return [crew.members.index(mark.user_id) for mark in found]

    assert [await listed(from_id) for from_id in (0, at[2], at[3], at[3] + 1)] == [[2, 1, 3], [2, 3], [3], []]
    assert await listed(0, limit=2) == [2, 1]
    talk = Conversation()
    await chats.record(logged(talk.mark(0, read=5), talk.mark(1, read=9, delivered=8)), {})
    found = await chats.list_marks(talk.chat_id, from_id=6, limit=9)
    assert found == [Mark(user_id=talk.members[1], delivered_up_to=8, read_up_to=9)]


async def test_marks_and_private_changes_of_a_group_change_only_the_list_of_their_actor(
    chats: ChatStore, crew: Company
) -> None:
    creation = crew.creation()
    changes = [crew.mark(1, read=creation.event_id), crew.toggle("starred", creation.event_id, who=1)]
    await chats.record(logged(creation), {})
    for change in changes:
        await chats.record(logged(change), {})
        times = [(await chat_of(chats, crew, user)).changed_at_ms for user in crew.members[:2]]
        assert times == [time_of(creation.event_id), time_of(change.event_id)]


async def test_groups_and_direct_chats_are_in_one_list_by_pins_and_their_last_change(chats: ChatStore) -> None:
    user = next(users)
    talks = [Conversation((user, next(users))), *(Company((user, next(users))) for _ in range(3))]
    for talk in talks:
        await chats.record(logged(talk.creation() if isinstance(talk, Company) else talk.message()), {})
    left = talks[3].control({1: ROLE_MEMBER, 0: ROLE_UNSPECIFIED})  # type: ignore[attr-defined]
    last = [left, talks[1].message(), talks[0].message(), talks[3].message(1)]
    pins = [talks[n].toggle("chat_pinned", 0, set=is_set) for n, is_set in ((1, True), (2, True), (1, False))]
    await chats.record(logged(*last, *pins), {})
    seen: list[str] = []
    after: ChatCursor | None = None
    while page := await chats.list_chats(user, changed_since_ms=0, limit=2, after=after):
        seen += [chat.chat_id for chat in page]
        after = ChatCursor.of(page[-1])
    assert seen == [talks[n].chat_id for n in (2, 1, 0, 3)]
    since = await chats.list_chats(user, changed_since_ms=time_of(last[1].event_id), limit=9, after=None)
    assert [chat.chat_id for chat in since] == seen[:3]


group_steps = st.lists(
    st.tuples(
        st.sampled_from(["message", "roles", "settings", "mark", "asks", "invite"]),
        st.integers(0, 2),
        st.integers(0, 4),
    ),
    max_size=15,
)


def group_history(crew: Company, steps: Sequence[tuple[str, int, int]]) -> list[Event]:
    """A creation, then messages and marks of members, joins, leaves, requests to join, and changes of roles, invite
    links and settings. A former release makes some of the changes."""
    events = [crew.creation()]
    for kind, who, choice in steps:
        crew.counts = choice != 1
        if kind == "roles" and (choice or crew.is_present(crew.members[who])):
            role = (ROLE_UNSPECIFIED, ROLE_GUEST, ROLE_MEMBER, ROLE_ADMIN, ROLE_GUEST)[choice]
            events.append(crew.control({who: role, 0: ROLE_MEMBER} if choice == 4 else {who: role}))
        elif kind == "settings":
            switches: dict[str, Any] = {
                "shows_history": bool(choice % 2),
                "is_public": choice > 1,
                "is_channel": choice > 2,
            }
            settings = GroupSettings(name=f"Crew {choice}", **switches)
            events.append(crew.control(settings=settings))
        elif kind == "asks" and not crew.is_present(crew.members[who]):
            events.append(crew.control(asking={who: bool(choice % 2)}))
        elif kind == "invite":
            invite = Invite(invite_id=1 + choice // 2, uses=choice, is_revoked=choice == 4)
            events.append(crew.control(invites=[invite]))
        elif kind == "mark":
            events.append(crew.mark(who, read=events[choice % len(events)].event_id))
        else:
            events.append(crew.message(who, mentions=MENTIONS[choice]))
    return events


@hypothetical
@given(steps=group_steps, start=st.integers(0, 12), batch=st.integers(1, 16))
async def test_a_replay_of_a_group_from_any_earlier_event_changes_nothing(
    open_chats: OpenChats, steps: Sequence[tuple[str, int, int]], start: int, batch: int
) -> None:
    crew = Company()
    events = group_history(crew, steps)
    async with open_chats() as chats:
        for event in events:
            await chats.record(logged(event), {})
        before = await everything(chats, crew)
        group, partial = before[1]
        assert group.version == crew.version
        assert group == crew.group(group.settings)
        asking = [user for user, member in sorted(crew.known.items()) if member.asked_at_ms]
        assert partial == (crew.group(group.settings, asking) if group.settings.is_channel else group)
        await check_mentions(chats, crew)
        for at in range(start, len(events), batch):
            await chats.record(logged(*events[at : at + batch]), {})
        assert await everything(chats, crew) == before

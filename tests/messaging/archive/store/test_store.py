"""The contract of every ChatStore, on the engines of conftest.py; that of groups is in test_groups.py."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.archive.store.cassandra import history as cassandra_history
from messaging.archive.store.laws import listed_key
from messaging.archive.store.protocol import MAX_CHANGES, MAX_VERSIONS, ChatCursor, ChatStore, Logged, Page
from messaging.archive.store.sqlite import store as sqlite_store
from rookery.v1.archive_pb2 import CHAT_KIND_DIRECT, Chat, HistoryMessage, Mark
from rookery.v1.session_pb2 import Change, Event, MarkedUnread, Typing
from shared.contract.changes import KINDS, LISTED
from shared.contract.ids import MAX_AGE_MS, MAX_ID, first_id_at, time_of
from tests.messaging.archive.store.chats import (
    NOW_MS,
    START,
    STEP,
    Conversation,
    all_chats,
    chat_of,
    check_files,
    check_mentions,
    firsts,
    folded,
    history,
    hypothetical,
    ids,
    logged,
    new_ids,
    newest_page,
    state,
    steps,
    stub_of,
    users,
)
from tests.messaging.archive.store.conftest import OpenChats

pytestmark = pytest.mark.usefixtures("clock")


@pytest.fixture
def keeps_offsets(request: pytest.FixtureRequest) -> bool:
    """Whether the store under test keeps offsets with the events: only one with transactions does."""
    return bool(request.node.callspec.params["open_chats"] == "sqlite")


@pytest.fixture
def talk() -> Conversation:
    return Conversation()


# ---- messages


async def test_a_message_comes_back_as_it_was(chats: ChatStore, talk: Conversation) -> None:
    sent = talk.message(body="smile 😀 '; DROP TABLE messages; --\x00")
    sent.message.reply_to = 7
    await chats.record(logged(sent), {})
    page = await newest_page(chats, talk.chat_id)
    assert [each.message for each in page.messages] == [sent.message]
    assert (page.has_older, page.has_newer) == (False, False)
    found = await chats.get_message(talk.chat_id, sent.message.message_id)
    assert found is not None
    assert found.message == sent.message


async def test_an_empty_chat_has_an_empty_page(chats: ChatStore, talk: Conversation) -> None:
    empty = Page([], has_older=False, has_newer=False)
    assert await newest_page(chats, talk.chat_id) == empty
    assert await chats.messages_after(talk.chat_id, 0, 10) == empty
    assert await chats.get_message(talk.chat_id, 1) is None
    assert await chats.get_chat(talk.members[0], talk.chat_id) is None
    assert await all_chats(chats, talk.members[0]) == []


async def test_a_message_is_in_its_own_chat_only(chats: ChatStore, talk: Conversation) -> None:
    other = Conversation()
    mine, theirs = talk.message(), other.message()
    await chats.record(logged(mine, theirs), {})
    assert ids((await newest_page(chats, talk.chat_id)).messages) == [mine.event_id]
    assert await chats.get_message(talk.chat_id, theirs.event_id) is None


async def test_of_two_with_the_same_client_message_id_the_first_recorded_stays(
    chats: ChatStore, talk: Conversation
) -> None:
    late, early = talk.message(client_message_id="x"), talk.message(client_message_id="x")
    of_the_other = talk.message(1, client_message_id="x")
    await chats.record(logged(early, late, of_the_other), {})
    await chats.record(logged(late), {})
    assert ids((await newest_page(chats, talk.chat_id)).messages) == [early.event_id, of_the_other.event_id]


async def test_a_sent_message_or_change_is_found_for_three_days(chats: ChatStore, talk: Conversation) -> None:
    first_id = first_id_at(NOW_MS - 3 * 86_400_000)
    message, retry = (talk.message(client_message_id="x", message_id=first_id + at * STEP) for at in (0, 300_000))
    change = talk.edit(first_id)
    change.event_id, change.change.client_change_id = first_id + 2, "y"
    sender, other = talk.members
    assert await chats.find_sent(talk.chat_id, sender, "x") is None
    await chats.record(logged(message, change, talk.reaction(first_id), talk.message(client_message_id="y")), {})
    await chats.record(logged(retry, talk.change(first_id, client_id="x", edited=change.change.edited)), {})
    assert await chats.find_sent(talk.chat_id, sender, "x") == message
    assert await chats.find_sent(talk.chat_id, sender, "y") == change
    assert await chats.find_sent(talk.chat_id, sender, "") is None
    assert await chats.find_sent(talk.chat_id, other, "x") is None
    page = await newest_page(chats, talk.chat_id)
    assert ids(page.messages) == [first_id]
    assert page.messages[0].changes[0] == change


async def test_the_ends_of_the_ids_are_no_errors(chats: ChatStore, talk: Conversation) -> None:
    message = talk.message()
    await chats.record(logged(message), {})
    before = await chats.messages_before(talk.chat_id, 0, 10)
    after = await chats.messages_after(talk.chat_id, MAX_ID, 10)
    assert (ids(before.messages), before.has_older, before.has_newer) == ([], False, True)
    assert (ids(after.messages), after.has_older, after.has_newer) == ([], True, False)


@pytest.mark.parametrize("change", ["message_id", "event_id", "chat_id"])
async def test_an_invalid_event_writes_nothing(chats: ChatStore, talk: Conversation, change: str) -> None:
    good, bad = talk.message(), talk.message()
    match change:
        case "message_id":
            bad.message.message_id = 0
        case "event_id":
            bad.event_id = -1
        case _:
            bad.message.chat_id = "no such kind of chat"
    with pytest.raises(ValueError, match=change):
        await chats.record(logged(good, bad), {0: 1})
    assert await chats.get_chat(talk.members[0], talk.chat_id) is None
    assert not await chats.recorded_offsets()
    await chats.record(logged(good), {})
    assert ids((await newest_page(chats, talk.chat_id)).messages) == [good.event_id]


async def test_a_message_recorded_late_is_in_the_order_of_its_id(chats: ChatStore, talk: Conversation) -> None:
    older, newer = talk.message(0), talk.message(1)
    await chats.record(logged(newer), {})
    await chats.record(logged(older), {})
    page = await newest_page(chats, talk.chat_id)
    assert ids(page.messages) == [older.event_id, newer.event_id]
    for chat in [await chats.get_chat(talk.members[0], talk.chat_id), *await all_chats(chats, talk.members[1])]:
        assert chat is not None
        assert chat.newest.message == newer.message
        assert chat.changed_at_ms == time_of(newer.event_id)


async def test_a_large_batch_is_recorded_completely(chats: ChatStore) -> None:
    talks = [Conversation() for _ in range(20)]
    events = [talk.message(n % 2, body="x" * 2_000) for n in range(20) for talk in talks]
    await chats.record(logged(*events), {})
    for n, talk in enumerate(talks):
        page = await newest_page(chats, talk.chat_id)
        assert ids(page.messages) == [event.event_id for event in events[n::20]]


# ---- history over years


MONTH = 30 * 24 * 3600 * 1000 << 22
"""As a distance of ids."""


async def test_years_with_few_messages_are_read_like_any_others(chats: ChatStore, talk: Conversation) -> None:
    start = next(new_ids)
    events = [talk.message(message_id=start + n * MONTH + m * STEP) for n in range(40) for m in range(1 + n % 2)]
    everything = [event.event_id for event in events]
    await chats.record(logged(*events), {})
    for limit in (2, 7, 100):
        await check_all_pages(chats, talk.chat_id, limit, everything)
    between = everything[30] + MONTH // 4
    before = await chats.messages_before(talk.chat_id, between, 5)
    after = await chats.messages_after(talk.chat_id, between, 5)
    assert (ids(before.messages), before.has_older, before.has_newer) == (everything[26:31], True, True)
    assert (ids(after.messages), after.has_older, after.has_newer) == (everything[31:36], True, True)


async def test_unread_messages_of_others_are_counted_over_years(chats: ChatStore, talk: Conversation) -> None:
    start = next(new_ids)
    events = [talk.message(n % 2, message_id=start + n * MONTH) for n in range(30)]
    await chats.record(logged(*events, talk.mark(1, read=events[9].event_id)), {})
    assert [(await chat_of(chats, talk, member)).unread for member in talk.members] == [15, 10]


async def test_changes_of_old_messages_are_shown_with_them(chats: ChatStore, talk: Conversation) -> None:
    start = next(new_ids)
    events = [talk.message(message_id=start + n * MONTH) for n in range(4)]
    reactions = [talk.reaction(event.event_id, who=n % 2) for n, event in enumerate(events)]
    await chats.record(logged(*events, *reactions), {})
    page = await newest_page(chats, talk.chat_id)
    assert [list(each.changes) for each in page.messages] == [[reaction] for reaction in reactions]


@pytest.mark.parametrize("together", [True, False])
async def test_a_retry_is_found_at_any_moment(chats: ChatStore, talk: Conversation, together: bool) -> None:
    """Wherever the store divides time: the steps between the messages here have no divisor in common with it."""
    start = next(new_ids)
    first = [talk.message(client_message_id=f"r{n}", message_id=start + n * MONTH // 23) for n in range(60)]
    retries = [
        talk.message(client_message_id=f"r{n}", message_id=event.event_id + MONTH // 11)
        for n, event in enumerate(first)
    ]
    if together:
        await chats.record(logged(*first, *retries), {})
    else:
        await chats.record(logged(*first), {})
        await chats.record(logged(*retries), {})
        await chats.record(logged(*first), {})
    assert ids((await newest_page(chats, talk.chat_id)).messages) == [event.event_id for event in first]


# ---- pages


@hypothetical
@given(count=st.integers(0, 40), limit=st.integers(1, 12), batch=st.integers(1, 40))
async def test_pages_neither_skip_nor_repeat(open_chats: OpenChats, count: int, limit: int, batch: int) -> None:
    talk = Conversation()
    events = talk.messages(count)
    everything = [event.event_id for event in events]
    async with open_chats() as chats:
        for start in range(0, count, batch):
            await chats.record(logged(*events[start : start + batch]), {})
        await check_all_pages(chats, talk.chat_id, limit, everything)


async def check_all_pages(chats: ChatStore, chat_id: str, limit: int, everything: list[int]) -> None:
    """Read a whole chat backwards and forwards, page by page."""
    seen: list[int] = []
    while (page := await chats.messages_before(chat_id, seen[0] if seen else MAX_ID, limit)).messages:
        assert page.has_newer == bool(seen)
        seen = ids(page.messages) + seen
        assert page.has_older == (seen != everything)
    assert seen == everything
    seen = []
    while (page := await chats.messages_after(chat_id, seen[-1] if seen else 0, limit)).messages:
        assert page.has_older == bool(seen)
        seen += ids(page.messages)
        assert page.has_newer == (seen != everything)
    assert seen == everything


# ---- replay


@hypothetical
@given(steps=steps, start=st.integers(0, 25), batch=st.integers(1, 30))
async def test_a_replay_from_any_earlier_event_changes_nothing(
    open_chats: OpenChats, steps: Sequence[tuple[str, int, int, bool]], start: int, batch: int
) -> None:
    talk = Conversation()
    events = history(talk, steps)
    async with open_chats() as chats:
        for event in events:
            await chats.record(logged(event), {})
        before = await state(chats, talk)
        for at in range(start, len(events), batch):
            await chats.record(logged(*events[at : at + batch]), {})
        assert await state(chats, talk) == before
        for each in (await newest_page(chats, talk.chat_id)).messages:
            assert list(each.changes) == folded(firsts(events), each.message.message_id)
        await check_mentions(chats, talk)
        await check_files(chats, talk)


async def test_events_of_other_kinds_are_ignored(chats: ChatStore, talk: Conversation, keeps_offsets: bool) -> None:
    typing = Event(event_id=next(new_ids), typing=Typing(chat_id=talk.chat_id, user_id=talk.members[0]))
    await chats.record(logged(typing, Event(event_id=next(new_ids))), {0: 2})
    assert await chats.get_chat(talk.members[0], talk.chat_id) is None
    assert await chats.recorded_offsets() == ({0: 2} if keeps_offsets else None)


async def test_offsets_are_kept_with_the_events_or_not_at_all(
    chats: ChatStore, talk: Conversation, keeps_offsets: bool
) -> None:
    assert await chats.recorded_offsets() == ({} if keeps_offsets else None)
    await chats.record(logged(talk.message()), {0: 5, 3: 7})
    await chats.record([], {3: 8})
    assert await chats.recorded_offsets() == ({0: 5, 3: 8} if keeps_offsets else None)


# ---- changes


@pytest.mark.parametrize("together", [True, False])
async def test_the_newest_change_of_each_key_is_the_state(chats: ChatStore, talk: Conversation, together: bool) -> None:
    message = talk.message()
    target = message.event_id
    events = [
        *(message, talk.reaction(target, "🎉"), talk.reaction(target), talk.reaction(target, who=1), talk.edit(target)),
        *(talk.reaction(target, set=False), talk.edit(target, "again"), Conversation().reaction(target)),
    ]
    for some in [events[::-1]] if together else [[event] for event in events]:
        await chats.record(logged(*some), {})
    page = await newest_page(chats, talk.chat_id)
    assert list(page.messages[0].changes) == [events[n] for n in (1, 3, 5, 6)]
    assert page.messages[0].message == message.message
    assert await chats.get_message(talk.chat_id, target) == page.messages[0]


async def test_a_change_may_come_before_its_message(chats: ChatStore, talk: Conversation) -> None:
    message, deleted = talk.message(), talk.message()
    changes = [talk.reaction(message.event_id), talk.deletion(deleted.event_id)]
    await chats.record(logged(*changes), {})
    assert (await newest_page(chats, talk.chat_id)).messages == []
    assert await chats.get_message(talk.chat_id, deleted.event_id) is None
    await chats.record(logged(message, deleted), {})
    page = await newest_page(chats, talk.chat_id)
    assert [each.message for each in page.messages] == [message.message, stub_of(deleted)]
    assert [list(each.changes) for each in page.messages] == [[change] for change in changes]


async def test_a_deletion_that_is_recorded_before_its_message_has_no_place_on_a_page(
    chats: ChatStore, talk: Conversation
) -> None:
    awaited = [next(new_ids)]
    message = talk.message()
    awaited.append(next(new_ids))
    await chats.record(logged(message, *map(talk.deletion, awaited)), {})
    for page in (
        await chats.messages_before(talk.chat_id, message.event_id + 1, 1),
        await chats.messages_after(talk.chat_id, message.event_id - 1, 1),
        await chats.messages_before(talk.chat_id, MAX_ID, 1),
        await chats.messages_after(talk.chat_id, 0, 1),
    ):
        assert (ids(page.messages), page.has_older, page.has_newer) == ([message.event_id], False, False)


async def find_now(chats: ChatStore, change: Change) -> Event | None:
    """The event that is found by the client id of the change."""
    return await chats.find_sent(change.chat_id, change.actor_id, change.client_change_id)


@pytest.mark.parametrize("order", ["as it was", "reversed", "at once"])
async def test_a_deletion_leaves_a_stub_and_removes_everything_but_that_users_have_hidden_the_message(
    chats: ChatStore, talk: Conversation, order: str
) -> None:
    other, message = talk.message(), talk.message()
    message.message.reply_to = other.event_id
    target = message.event_id
    before = [talk.edit(target), talk.reaction(target, who=1)]
    deletion, again = talk.deletion(target), talk.deletion(target)
    hidings = [talk.toggle("hidden", target), talk.toggle("hidden", target, 1)]
    events = [other, message, *before, hidings[0], deletion, again, talk.edit(target, "late"), talk.reaction(target)]
    events.insert(-2, hidings[1])
    await chats.record(logged(other), {})
    batches = {"as it was": [[event] for event in events], "reversed": [[event] for event in events[::-1]]}
    for some in batches.get(order, [events]):
        await chats.record(logged(*some), {})
    page = await newest_page(chats, talk.chat_id)
    assert [each.message for each in page.messages] == [other.message, stub_of(message)]
    assert list(page.messages[1].changes) == sorted([deletion, *hidings], key=lambda event: event.event_id)
    staying = [deletion, again, *hidings]
    assert [event for event in await chats.events_after(talk.chat_id, 0) if event in staying] == staying
    chat = await chat_of(chats, talk, talk.members[1])
    assert (chat.newest, chat.unread) == (page.messages[1], 1)
    for change in (before[0].change, events[-2].change):
        sent = Change(chat_id=talk.chat_id, target_id=target, actor_id=change.actor_id)
        sent.client_change_id = change.client_change_id
        found = await find_now(chats, change)
        assert found is not None
        assert found.change == sent
    assert await find_now(chats, deletion.change) == deletion


async def test_deletions_of_one_batch_empty_their_messages_and_no_others(chats: ChatStore, talk: Conversation) -> None:
    other, messages, awaited = Conversation(), talk.messages(42), talk.message()
    others = other.messages(2)
    edits = [
        each.edit(event.event_id) for each, event in ((talk, messages[0]), (other, others[0]), (talk, messages[40]))
    ]
    await chats.record(logged(*messages, *others, *edits[1:]), {})
    deletions = [*(talk.deletion(each.event_id) for each in messages[:40]), other.deletion(others[1].event_id)]
    of_another_chat, repeated = talk.deletion(others[0].event_id), talk.deletion(messages[41].event_id)
    repeated.change.client_change_id = deletions[0].change.client_change_id
    again, early = talk.deletion(messages[1].event_id), talk.deletion(awaited.event_id)
    await chats.record(logged(*deletions, of_another_chat, repeated, again, early, edits[0]), {})
    await chats.record(logged(awaited), {})
    page = await newest_page(chats, talk.chat_id)
    stubs = [stub_of(event) for event in messages[:40]]
    kept = [event.message for event in messages[40:]]
    assert [each.message for each in page.messages] == [*stubs, *kept, stub_of(awaited)]
    assert [list(each.changes) for each in page.messages] == [
        *([each] for each in deletions[:40]),
        [edits[2]],
        [],
        [early],
    ]
    page = await newest_page(chats, other.chat_id)
    assert [each.message for each in page.messages] == [others[0].message, stub_of(others[1])]
    assert [list(each.changes) for each in page.messages] == [[edits[1]], [deletions[40]]]


@pytest.mark.parametrize("order", ["before", "after", "at once"])
async def test_a_deletion_with_an_id_below_that_of_its_message_empties_it_too(
    chats: ChatStore, talk: Conversation, order: str
) -> None:
    """The clocks of two gateways differ."""
    message = talk.message(files=[0])
    deletion = talk.deletion(message.event_id)
    deletion.event_id = message.event_id - STEP
    batches = {"before": [[deletion], [message]], "after": [[message], [deletion]]}
    for some in batches.get(order, [[message, deletion]]):
        await chats.record(logged(*some), {})
    assert (await newest_page(chats, talk.chat_id)).messages[0].message == stub_of(message)
    assert (await chat_of(chats, talk, talk.members[1])).unread == 0
    assert await chats.files.used([talk.files[0].file_id]) == set()


async def test_a_change_of_a_kind_of_a_newer_release_is_kept_and_not_shown(
    chats: ChatStore, talk: Conversation
) -> None:
    message = talk.message()
    unknown = talk.change(message.event_id)
    unknown.change.MergeFromString(b"\xa2\x06\x02hi")  # field 100
    await chats.record(logged(message, unknown), {})
    assert not (await newest_page(chats, talk.chat_id)).messages[0].changes
    assert await find_now(chats, unknown.change) == unknown


async def test_a_change_of_a_newer_kind_is_applied_once_a_release_that_knows_it_opens_the_store(
    open_chats: OpenChats, talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    message, deleted = talk.messages(2)
    pin, of_deleted = (talk.toggle("pinned", each.event_id) for each in (message, deleted))
    archived, deletion = talk.toggle("archived", 0), talk.deletion(deleted.event_id)
    actor_id = archived.change.actor_id
    async with open_chats() as chats:
        await chats.record(logged(message, deleted), {})
        with monkeypatch.context() as former_release:
            for module in ("sqlite.recording", "cassandra.batch", "cassandra.change_rows"):
                former_release.setattr(f"messaging.archive.store.{module}.kind_of", lambda change: None)
            await chats.record(logged(pin, of_deleted, archived), {})
        await chats.record(logged(deletion), {})
    for _ in range(2):
        async with open_chats() as chats:
            shown = (await newest_page(chats, talk.chat_id)).messages
            assert [list(each.changes) for each in shown] == [[pin], [deletion]]
            kind = KINDS["pinned"]
            listed = await chats.messages_having(talk.chat_id, kind.number, listed_key(kind, actor_id), MAX_ID, 10)
            assert ids(listed.messages) == [message.event_id]
            assert archived in (await chat_of(chats, talk, actor_id)).changes
            assert await find_now(chats, pin.change) == pin


@pytest.mark.parametrize("kind", ["reaction", "deletion"])
async def test_an_invalid_target_is_an_error(chats: ChatStore, talk: Conversation, kind: str) -> None:
    bad = talk.reaction(-1) if kind == "reaction" else talk.deletion(0)
    with pytest.raises(ValueError, match="target_id"):
        await chats.record(logged(bad), {})


# ---- lists and versions of changes


@pytest.mark.parametrize("name", LISTED)
async def test_messages_with_a_listed_kind_are_listed_page_by_page(
    chats: ChatStore, talk: Conversation, name: str
) -> None:
    kind, (viewer, _) = KINDS[name], talk.members
    key = listed_key(kind, viewer)

    async def having(before_id: int = MAX_ID, limit: int = 10) -> Page:
        return await chats.messages_having(talk.chat_id, kind.number, key, before_id, limit)

    messages = talk.messages(9)
    targets = [message.event_id for message in messages]
    pins = [talk.toggle(name, target, 0 if kind.is_private else n % 2) for n, target in enumerate(targets[:8])]
    if kind.is_private:
        pins.append(talk.toggle(name, targets[8], who=1))  # is not in the list of the other member
    removals = [talk.toggle(name, targets[1], set=False), talk.deletion(targets[3]), talk.reaction(targets[8])]
    await chats.record(logged(*pins[:6], *removals, *messages[:7]), {})
    await chats.record(logged(*pins[6:]), {})
    listed = [targets[n] for n in (0, 2, 4, 5, 6)]  # the eighth message is not recorded
    assert ids((await having()).messages) == listed
    again = [talk.toggle(name, targets[n]) for n in (1, 3)]
    await chats.record(logged(*messages[7:], *pins, *again), {})
    listed = [targets[n] for n in (0, 1, 2, 4, 5, 6, 7)]
    seen: list[int] = []
    while (page := await having(seen[0] if seen else MAX_ID, 3)).messages:
        seen = ids(page.messages) + seen
        assert (page.has_older, page.has_newer) == (seen != listed, False)
    assert seen == listed
    assert page == Page([], has_older=False, has_newer=False)
    assert list((await having()).messages[0].changes) == [pins[0]]


async def test_the_newest_versions_are_listed_until_the_deletion(chats: ChatStore, talk: Conversation) -> None:
    message, other = talk.messages(2)
    target = message.event_id
    edits = [talk.edit(target, f"edit {n}") for n in range(MAX_VERSIONS + 2)]
    stars = [talk.toggle("starred", target, who) for who in (0, 1)]
    await chats.record(logged(*edits[50:], *stars, talk.edit(other.event_id), message, *edits[:50]), {})
    numbers = {name: kind.number for name, kind in KINDS.items()}
    assert await chats.versions(talk.chat_id, target, numbers["edited"]) == edits[2:]
    assert await chats.versions(talk.chat_id, target, numbers["starred"]) == stars
    assert await chats.versions(talk.chat_id, target, numbers["pinned"]) == []
    assert await chats.versions(Conversation().chat_id, target, numbers["edited"]) == []
    await chats.record(logged(talk.deletion(target)), {})
    await chats.record(logged(talk.edit(target)), {})
    assert await chats.versions(talk.chat_id, target, numbers["edited"]) == []


# ---- the feed


async def test_the_feed_has_the_events_of_a_chat_after_an_id(chats: ChatStore, talk: Conversation) -> None:
    old, new = talk.message(), talk.message()
    unread = talk.change(marked_unread=MarkedUnread(set=True))
    before_its_target = talk.reaction(next(new_ids))
    target = old.event_id
    last = [talk.edit(target), talk.edit(target, "again"), talk.toggle("pinned", target), talk.toggle("hidden", target)]
    events = [old, new, unread, before_its_target, *last]
    await chats.record(logged(*events[::-1], talk.mark(1, read=new.event_id), Conversation().message()), {})
    await chats.record(logged(events[3]), {})
    for at, event in enumerate(events):
        assert await chats.events_after(talk.chat_id, event.event_id - 1) == events[at:]
    assert await chats.events_after(talk.chat_id, 0) == events
    for after_id in (events[-1].event_id, MAX_ID):
        assert await chats.events_after(talk.chat_id, after_id) == []


@pytest.mark.parametrize("order", [1, -1])
async def test_the_feed_has_a_stub_and_the_deletion_of_a_deleted_message(
    chats: ChatStore, talk: Conversation, order: int
) -> None:
    message, unknown = talk.message(), talk.deletion(next(new_ids))
    target = message.event_id
    before, deletion = [talk.edit(target), talk.reaction(target)], talk.deletion(target)
    for event in [unknown, message, *before, deletion, talk.edit(target)][::order]:
        await chats.record(logged(event), {})
    stub = Event(event_id=target, message=stub_of(message))
    assert await chats.events_after(talk.chat_id, 0) == [stub, unknown, deletion]


@pytest.mark.parametrize("kind", ["hidden", "marked"])
async def test_a_private_change_changes_the_chat_only_in_the_list_of_its_actor(
    chats: ChatStore, talk: Conversation, kind: str
) -> None:
    message = talk.message()
    own = talk.toggle("hidden", message.event_id, who=1) if kind == "hidden" else talk.mark(1, read=message.event_id)
    own.change.is_private = kind == "marked"
    await chats.record(logged(message), {})
    await chats.record(logged(own), {})
    seen = [await chat_of(chats, talk, member) for member in talk.members]
    assert [chat.changed_at_ms for chat in seen] == [time_of(message.event_id), time_of(own.event_id)]
    assert await chats.events_after(talk.chat_id, message.event_id) == ([own] if kind == "hidden" else [])


async def test_the_feed_has_a_late_event_by_the_time_of_the_log(chats: ChatStore, talk: Conversation) -> None:
    sent = talk.message(client_message_id="x")
    retry, late, edit = talk.message(client_message_id="x"), talk.message(), talk.edit(7)
    await chats.record(logged(sent, age_ms=MAX_AGE_MS), {})
    assert (await chat_of(chats, talk, talk.members[0])).changed_at_ms == time_of(sent.event_id)
    events = logged(retry, late, talk.mark(1), edit, age_ms=MAX_AGE_MS + 1)
    for _ in range(2):
        await chats.record(events, {})
    assert (await chat_of(chats, talk, talk.members[0])).changed_at_ms == events[2].at_ms - MAX_AGE_MS
    first, second = (first_id_at(event.at_ms - MAX_AGE_MS) for event in events[1::2])
    found = [await chats.events_after(talk.chat_id, after) for after in (sent.event_id, first - 1, first, second)]
    assert found == [[late, edit], [late, edit], [edit], []]
    await chats.record(logged(late, age_ms=100_000), {})  # recorded again, when the watermark is higher
    assert await chats.events_after(talk.chat_id, first - 1) == [late, edit]
    await chats.record(logged(talk.deletion(late.event_id), age_ms=100_000), {})
    assert (await chats.events_after(talk.chat_id, first - 1))[0].message == stub_of(late)


async def test_the_feed_has_more_events_than_the_limit_if_there_are_more(chats: ChatStore, talk: Conversation) -> None:
    late, *messages = talk.messages(MAX_CHANGES // 2 + 1)
    after = first_id_at(time_of(messages[0].event_id) - 1)
    changes = [talk.edit(messages[0].event_id) for _ in range(MAX_CHANGES // 2)]
    await chats.record(logged(*messages, *changes), {})
    assert await chats.events_after(talk.chat_id, after) == [*messages, *changes]
    await chats.record(logged(late, age_ms=2 * MAX_AGE_MS), {})
    assert len(await chats.events_after(talk.chat_id, after)) > MAX_CHANGES


async def test_watermarks_only_rise(open_chats: OpenChats) -> None:
    """Of partitions that no other test has."""
    async with open_chats() as chats:
        before = await chats.watermarks()
        assert before.keys().isdisjoint({900, 905})
        await chats.raise_watermarks({900: NOW_MS, 905: 7})
        await chats.raise_watermarks({900: NOW_MS - 1, 905: 8})
        await chats.raise_watermarks({})
    async with open_chats() as chats:
        assert await chats.watermarks() == {**before, 900: NOW_MS, 905: 8}


PARTITIONS = 3
first_partitions = itertools.count(0, PARTITIONS)
windows = itertools.count(NOW_MS + 10**9, 10**7)


@dataclass
class Recording:
    """One partition as recorders record it: a batch at a time, and again from an earlier record after a crash."""

    partition: int
    log: list[Logged] = field(default_factory=list)
    recorded: int = 0
    watermark: int = 0

    def next_batch(self, size: int) -> list[Logged]:
        records = self.log[self.recorded : self.recorded + size]
        batch = [Logged(event, max(at_ms, self.watermark + 1)) for event, at_ms in records]
        self.recorded += len(records)
        self.watermark = max([self.watermark, *(at_ms - 1 for _, at_ms in records[-1:])])
        return batch

    def crash(self, again: int, stored: int) -> None:
        self.recorded, self.watermark = max(self.recorded - again, 0), stored


@dataclass
class Follower:
    """A client that follows the feed of a chat, as docs/client-guide.md describes."""

    chats: ChatStore
    partitions: Sequence[int]
    after: int = 0
    seen: dict[int, Event] = field(default_factory=dict)

    async def read(self, chat_id: str) -> None:
        watermarks = await self.chats.watermarks()
        complete_up_to = first_id_at(min(watermarks.get(part, 0) for part in self.partitions) - MAX_AGE_MS)
        self.seen |= {event.event_id: event for event in await self.chats.events_after(chat_id, self.after)}
        self.after = max(self.after, complete_up_to)


log_steps = st.tuples(
    st.sampled_from(["message", "reaction", "edit", "deletion", "pin"]),
    st.integers(0, 7),
    st.integers(0, PARTITIONS - 1),
    st.sampled_from([1, 8_000]),  # milliseconds since the record before
    st.sampled_from([0, 9_000, 12_000, 60_000]),  # age of the id
    st.sampled_from([0, 5_000]),  # by which the clock of the log is behind
)
record_steps = st.tuples(
    st.integers(0, PARTITIONS - 1),
    st.integers(1, 2),  # records in the batch
    st.sampled_from([0, 0, 0, 3]),  # records that are recorded again after a crash
)


@hypothetical
@given(log=st.lists(log_steps, min_size=20, max_size=20), work=st.lists(record_steps, min_size=14, max_size=14))
async def test_a_client_that_follows_the_feed_sees_every_event(
    open_chats: OpenChats, log: list[tuple[str, int, int, int, int, int]], work: list[tuple[int, int, int]]
) -> None:
    """In any order of partitions, with events of any age, and with events that are recorded again."""
    talk, now_ms, first = Conversation(), next(windows), next(first_partitions)
    partitions = [Recording(first + n) for n in range(PARTITIONS)]
    sent: list[int] = []
    for n, (kind, choice, partition, since_ms, age_ms, behind_ms) in enumerate(log):
        now_ms += since_ms
        event_id = first_id_at(now_ms - age_ms) + n
        target = sent[choice % len(sent)] if sent else event_id + STEP
        event = {
            "message": talk.message(message_id=event_id),
            "reaction": talk.reaction(target, "👍🎉"[choice % 2], set=choice < 6),
            "edit": talk.edit(target, f"edit {n}"),
            "deletion": talk.deletion(target),
            "pin": talk.toggle("pinned", target, set=choice < 6),
        }[kind]
        if kind == "message":
            sent.append(event_id)
        event.event_id = event_id
        partitions[partition].log.append(Logged(event, now_ms - behind_ms))
    async with open_chats() as chats:
        follower = Follower(chats, [each.partition for each in partitions])
        for n, size, again in work:
            one, of_one_recorder = partitions[n], partitions[:1] if n == 0 else partitions[1:]
            await chats.record(one.next_batch(size), {})
            if again:
                one.crash(again, (await chats.watermarks()).get(one.partition, 0))
            else:
                await chats.raise_watermarks({each.partition: each.watermark for each in of_one_recorder})
                await follower.read(talk.chat_id)
        for each in partitions:
            await chats.record(each.next_batch(len(log)), {})
            await chats.raise_watermarks({each.partition: now_ms + 60_000})
        await follower.read(talk.chat_id)
        assert {event.event_id for event in await chats.events_after(talk.chat_id, 0)} <= follower.seen.keys()
        page = await newest_page(chats, talk.chat_id)
        assert ids(page.messages) == sorted(sent)
        for message in page.messages:
            assert list(message.changes) == folded(follower.seen.values(), message.message.message_id)


# ---- chats, marks, unread


async def test_a_chat_as_a_member_sees_it(chats: ChatStore, talk: Conversation) -> None:
    events = talk.messages(3)
    unread = [talk.change(who=1, marked_unread=MarkedUnread(set=flag)) for flag in (True, False)]
    of_the_chat = [*unread, talk.reaction(0)]
    edit, read = talk.edit(events[2].event_id), talk.mark(1, delivered=events[2].event_id, read=events[0].event_id)
    await chats.record(logged(*events, *of_the_chat, edit, read), {})
    reader = talk.members[1]
    assert await chats.get_chat(reader, talk.chat_id) == Chat(
        chat_id=talk.chat_id,
        kind=CHAT_KIND_DIRECT,
        member_ids=talk.members,
        newest=HistoryMessage(message=events[2].message, changes=[edit]),
        unread=2,
        marks=[Mark(user_id=reader, delivered_up_to=events[2].event_id, read_up_to=events[0].event_id)],
        changed_at_ms=time_of(read.event_id),
        changes=of_the_chat[1:],
        newest_sent_id=events[2].event_id,
    )


async def test_a_change_without_marks_is_one_of_marks_at_zero(chats: ChatStore, talk: Conversation) -> None:
    await chats.record(logged(talk.message(), talk.mark(1)), {})
    chat = await chat_of(chats, talk, talk.members[0])
    assert list(chat.marks) == [Mark(user_id=talk.members[1])]


async def test_a_private_mark_in_a_chat_without_events_leaves_it_readable_for_the_other_member(
    chats: ChatStore, talk: Conversation
) -> None:
    own = talk.mark(1, read=START)
    own.change.is_private = True
    await chats.record(logged(own), {})
    assert [mark.read_up_to for mark in (await chat_of(chats, talk, talk.members[0])).marks] == [START]


async def test_a_chat_as_a_user_who_is_no_member_sees_it(chats: ChatStore, talk: Conversation) -> None:
    message = talk.message()
    await chats.record(logged(message), {})
    chat = await chat_of(chats, talk, next(users))
    assert (chat.newest.message, chat.unread) == (message.message, 1)


async def test_deleted_messages_count_towards_the_messages_that_are_read_for_the_unread_ones(
    chats: ChatStore, talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sqlite_store, cassandra_history):
        monkeypatch.setattr(module, "UNREAD_SCAN", 200)
    messages = talk.messages(201)
    await chats.record(logged(*messages, *(talk.deletion(each.event_id) for each in messages[1:])), {})
    chat = await chat_of(chats, talk, talk.members[1])
    assert chat.unread == 0


async def test_unread_is_counted_to_100(chats: ChatStore, talk: Conversation) -> None:
    await chats.record(logged(*talk.messages(120)), {})
    chat = await chat_of(chats, talk, talk.members[1])
    assert chat.unread == 100


async def test_mentions_are_counted_to_100_behind_other_unread_messages(chats: ChatStore, talk: Conversation) -> None:
    mentioning = [talk.message(mentions=[1]) for _ in range(120)]
    deletions = [talk.deletion(each.event_id) for each in mentioning[-10:]]
    await chats.record(logged(*mentioning, *talk.messages(110), *deletions), {})
    reader = talk.members[1]
    assert (await chat_of(chats, talk, reader)).unread_mentions == 100
    await chats.record(logged(talk.mark(1, read=mentioning[104].event_id)), {})
    assert [chat.unread_mentions for chat in await all_chats(chats, reader)] == [5]
    assert (await chat_of(chats, talk, talk.members[0])).unread_mentions == 0


@pytest.mark.parametrize(("others", "own", "unread"), [(1, 250, 1), (120, 450, 100)])
async def test_unread_is_counted_behind_many_own_messages(
    chats: ChatStore, talk: Conversation, others: int, own: int, unread: int
) -> None:
    await chats.record(logged(*talk.messages(others), *talk.messages(own, 1)), {})
    assert (await chat_of(chats, talk, talk.members[1])).unread == unread


async def test_marks_move_forward_only(chats: ChatStore, talk: Conversation) -> None:
    first, second = talk.message(), talk.message()
    await chats.record(logged(first, second, talk.mark(1, delivered=second.event_id, read=second.event_id)), {})
    await chats.record(logged(talk.mark(1, delivered=first.event_id), talk.mark(1, read=first.event_id)), {})
    chat = await chat_of(chats, talk, talk.members[1])
    assert [(each.delivered_up_to, each.read_up_to) for each in chat.marks] == [(second.event_id, second.event_id)]
    assert chat.unread == 0


async def test_a_chat_is_listed_from_its_first_message_on(chats: ChatStore, talk: Conversation) -> None:
    await chats.record(logged(talk.mark(0, read=START)), {})
    assert await all_chats(chats, talk.members[1]) == []
    message = talk.message()
    await chats.record(logged(message), {})
    for member in talk.members:
        assert [chat.newest.message for chat in await all_chats(chats, member)] == [message.message]


async def test_a_private_change_counts_in_the_list_if_it_is_recorded_before_the_first_message(
    chats: ChatStore, talk: Conversation
) -> None:
    message, pin = talk.message(), talk.toggle("chat_pinned", 0)
    await chats.record(logged(pin), {})
    assert await all_chats(chats, talk.members[0]) == []
    assert (await chat_of(chats, talk, talk.members[0])).changed_at_ms == time_of(pin.event_id)
    await chats.record(logged(message), {})
    listed = [await all_chats(chats, member) for member in talk.members]
    assert [[chat.changed_at_ms for chat in each] for each in listed] == [
        [time_of(pin.event_id)],
        [time_of(message.event_id)],
    ]


async def test_chats_are_listed_by_their_last_change(chats: ChatStore) -> None:
    user = next(users)
    talks = [Conversation((user, next(users))) for _ in range(3)]
    events = [talk.message() for talk in talks]
    await chats.record(logged(*events), {})
    await chats.record(logged(talks[0].reaction(events[0].event_id)), {})
    listed = await all_chats(chats, user)
    assert [chat.chat_id for chat in listed] == [talks[n].chat_id for n in (0, 2, 1)]
    assert [chat.chat_id for chat in await all_chats(chats, talks[1].members[1])] == [talks[1].chat_id]


@pytest.mark.parametrize("kind", ["message", "reaction", "mark"])
async def test_chats_changed_since(chats: ChatStore, talk: Conversation, kind: str) -> None:
    user = talk.members[0]
    message = talk.message()
    await chats.record(logged(message), {})
    change = {
        "message": talk.message(),
        "reaction": talk.reaction(message.event_id, who=1),
        "mark": talk.mark(1, read=message.event_id),
    }[kind]
    changed_at = time_of(change.event_id)
    assert await chats.list_chats(user, changed_since_ms=changed_at, limit=10, after=None) == []
    await chats.record(logged(change), {})
    listed = await chats.list_chats(user, changed_since_ms=changed_at, limit=10, after=None)
    assert [chat.changed_at_ms for chat in listed] == [changed_at]
    assert await chats.list_chats(user, changed_since_ms=changed_at + 1, limit=10, after=None) == []


@hypothetical
@given(
    count=st.integers(0, 12),
    limit=st.integers(1, 5),
    same_moment=st.booleans(),
    pins=st.lists(st.booleans(), max_size=9),
)
async def test_pages_of_chats_neither_skip_nor_repeat_and_begin_with_the_pinned_ones(
    open_chats: OpenChats, count: int, limit: int, same_moment: bool, pins: list[bool]
) -> None:
    user = next(users)
    talks = [Conversation((user, next(users))) for _ in range(count)]
    base = next(new_ids)
    events = [talk.message(message_id=base + n if same_moment else 0) for n, talk in enumerate(talks)]
    changes = [talk.toggle("chat_pinned", 0, set=is_set) for talk, is_set in zip(talks, pins, strict=False)]
    of_others = [talk.toggle("chat_pinned", 0, who=1) for talk in talks[3:]]
    seen: list[str] = []
    after: ChatCursor | None = None
    async with open_chats() as chats:
        await chats.record(logged(*events, *changes, *of_others), {})
        while page := await chats.list_chats(user, changed_since_ms=0, limit=limit, after=after):
            seen += [chat.chat_id for chat in page]
            after = ChatCursor.of(page[-1])
    pinned = [talk.chat_id for talk, is_set in zip(talks, pins, strict=False) if is_set]
    assert (sorted(seen[: len(pinned)]), sorted(seen)) == (sorted(pinned), sorted(talk.chat_id for talk in talks))


async def test_everything_is_stored_after_a_reopening(
    open_chats: OpenChats, talk: Conversation, keeps_offsets: bool
) -> None:
    events = [*talk.messages(3), talk.mark(1, read=START)]
    async with open_chats() as chats:
        await chats.record(logged(*events), {1: 4})
        before = await state(chats, talk)
    async with open_chats() as chats:
        assert await state(chats, talk) == before
        assert await chats.recorded_offsets() == ({1: 4} if keeps_offsets else None)

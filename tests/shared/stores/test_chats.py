"""What every ChatStore promises. A new engine adds itself to `open_chats` and must pass."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rookery.v1.archive_pb2 import CHAT_KIND_DIRECT, Chat, HistoryMessage
from rookery.v1.session_pb2 import Event, Message, Reaction, Receipt, Text, Typing
from shared.chats import direct_chat_id
from shared.ids import MAX_ID, first_id_at, time_of
from shared.stores.chats import ChatCursor, ChatStore, Page
from shared.stores.chats_sqlite import open_sqlite_chats

OpenChats = Callable[[], AbstractAsyncContextManager[ChatStore]]

hypothetical = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
"""The examples share a database, in which each has a chat of its own."""

START = first_id_at(1_800_000_000_000)
STEP = 1 << 22  # a millisecond between ids


@pytest.fixture(params=["sqlite"])
def open_chats(request: pytest.FixtureRequest, tmp_path: Path) -> OpenChats:
    """Opens the store under test, with what was recorded in it before."""
    return partial(open_sqlite_chats, tmp_path / "chats.sqlite3")


@pytest.fixture
async def chats(open_chats: OpenChats) -> AsyncIterator[ChatStore]:
    async with open_chats() as store:
        yield store


_users = itertools.count(1_000)
_ids = itertools.count(START, STEP)


@dataclass
class Conversation:
    """A new direct chat, and the events of its members."""

    members: tuple[int, int] = field(default_factory=lambda: (next(_users), next(_users)))
    sent: Iterator[int] = field(default_factory=itertools.count)

    @property
    def chat_id(self) -> str:
        return direct_chat_id(*self.members)

    def message(self, who: int = 0, client_message_id: str = "", body: str = "hello", message_id: int = 0) -> Event:
        message_id = message_id or next(_ids)
        message = Message(
            message_id=message_id,
            chat_id=self.chat_id,
            sender_id=self.members[who],
            client_message_id=client_message_id or f"c{next(self.sent)}",
            text=Text(body=body),
        )
        return Event(event_id=message_id, message=message)

    def messages(self, count: int, who: int = 0) -> list[Event]:
        return [self.message(who) for _ in range(count)]

    def reaction(self, message_id: int, emoji: str = "👍", who: int = 0, *, set: bool = True) -> Event:
        reaction = Reaction(
            chat_id=self.chat_id, message_id=message_id, user_id=self.members[who], emoji=emoji, set=set
        )
        return Event(event_id=next(_ids), reaction=reaction)

    def receipt(self, who: int = 0, *, delivered: int = 0, read: int = 0) -> Event:
        receipt = Receipt(chat_id=self.chat_id, user_id=self.members[who], delivered_up_to=delivered, read_up_to=read)
        return Event(event_id=next(_ids), receipt=receipt)


@pytest.fixture
def talk() -> Conversation:
    return Conversation()


async def newest_page(chats: ChatStore, chat_id: str, limit: int = 100) -> Page:
    return await chats.messages_before(chat_id, MAX_ID, limit)


def ids(messages: Sequence[HistoryMessage]) -> list[int]:
    return [each.message.message_id for each in messages]


def tallies(message: HistoryMessage) -> dict[str, list[int]]:
    return {tally.emoji: list(tally.user_ids) for tally in message.reactions}


async def state(chats: ChatStore, talk: Conversation) -> Any:
    """Everything that can be read of a chat."""
    page = await newest_page(chats, talk.chat_id)
    seen = [await chats.get_chat(member, talk.chat_id) for member in talk.members]
    listed = [await all_chats(chats, member) for member in talk.members]
    return page, seen, listed


async def all_chats(chats: ChatStore, user_id: int) -> Sequence[Chat]:
    return await chats.list_chats(user_id, changed_since_ms=0, limit=100, after=None)


# ---- messages


async def test_a_message_comes_back_as_it_was(chats: ChatStore, talk: Conversation) -> None:
    sent = talk.message(body="smile 😀 '; DROP TABLE messages; --\x00")
    sent.message.reply_to = 7
    await chats.record([sent], {})
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
    await chats.record([mine, theirs], {})
    assert ids((await newest_page(chats, talk.chat_id)).messages) == [mine.event_id]
    assert await chats.get_message(talk.chat_id, theirs.event_id) is None


async def test_messages_are_in_the_order_of_their_ids(chats: ChatStore, talk: Conversation) -> None:
    first, second = talk.message(0), talk.message(1)
    await chats.record([second], {})
    await chats.record([first], {})
    page = await newest_page(chats, talk.chat_id)
    assert ids(page.messages) == [first.event_id, second.event_id]


async def test_of_two_with_the_same_client_message_id_the_first_recorded_stays(
    chats: ChatStore, talk: Conversation
) -> None:
    late, early = talk.message(client_message_id="x"), talk.message(client_message_id="x")
    of_the_other = talk.message(1, client_message_id="x")
    await chats.record([early, late, of_the_other], {})
    await chats.record([late], {})
    assert ids((await newest_page(chats, talk.chat_id)).messages) == [early.event_id, of_the_other.event_id]


async def test_the_ends_of_the_ids_are_no_errors(chats: ChatStore, talk: Conversation) -> None:
    message = talk.message()
    await chats.record([message], {})
    before = await chats.messages_before(talk.chat_id, 0, 10)
    after = await chats.messages_after(talk.chat_id, MAX_ID, 10)
    assert (ids(before.messages), before.has_older, before.has_newer) == ([], False, True)
    assert (ids(after.messages), after.has_older, after.has_newer) == ([], True, False)


@pytest.mark.parametrize("change", ["message_id", "event_id", "chat_id"])
async def test_an_event_that_can_not_be_taken_writes_nothing(chats: ChatStore, talk: Conversation, change: str) -> None:
    good, bad = talk.message(), talk.message()
    match change:
        case "message_id":
            bad.message.message_id = 0
        case "event_id":
            bad.event_id = -1
        case _:
            bad.message.chat_id = "no such kind of chat"
    with pytest.raises(ValueError, match=change):
        await chats.record([good, bad], {0: 1})
    assert await chats.get_chat(talk.members[0], talk.chat_id) is None
    assert await chats.recorded_offsets() == {}
    await chats.record([good], {})
    assert ids((await newest_page(chats, talk.chat_id)).messages) == [good.event_id]


@hypothetical
@given(count=st.integers(0, 40), limit=st.integers(1, 12), batch=st.integers(1, 40))
async def test_pages_neither_skip_nor_repeat(open_chats: OpenChats, count: int, limit: int, batch: int) -> None:
    talk = Conversation()
    events = talk.messages(count)
    everything = [event.event_id for event in events]
    async with open_chats() as chats:
        for start in range(0, count, batch):
            await chats.record(events[start : start + batch], {})
        assert await read_backwards(chats, talk.chat_id, limit, everything) == everything
        assert await read_forwards(chats, talk.chat_id, limit, everything) == everything


async def read_backwards(chats: ChatStore, chat_id: str, limit: int, everything: list[int]) -> list[int]:
    seen: list[int] = []
    page = await chats.messages_before(chat_id, MAX_ID, limit)
    while page.messages:
        assert page.has_newer == bool(seen)
        seen = ids(page.messages) + seen
        assert page.has_older == (seen != everything)
        page = await chats.messages_before(chat_id, seen[0], limit)
    return seen


async def read_forwards(chats: ChatStore, chat_id: str, limit: int, everything: list[int]) -> list[int]:
    seen: list[int] = []
    page = await chats.messages_after(chat_id, 0, limit)
    while page.messages:
        assert page.has_older == bool(seen)
        seen += ids(page.messages)
        assert page.has_newer == (seen != everything)
        page = await chats.messages_after(chat_id, seen[-1], limit)
    return seen


# ---- replay


steps = st.lists(
    st.tuples(st.sampled_from(["message", "reaction", "receipt"]), st.integers(0, 1), st.integers(0, 7), st.booleans()),
    max_size=25,
)


def history(talk: Conversation, steps: Sequence[tuple[str, int, int, bool]]) -> list[Event]:
    """A chat with anything in it: messages, some of them retried, reactions set and taken back, receipts."""
    events: list[Event] = []
    sent: list[int] = []
    for kind, who, choice, flag in steps:
        if kind == "message" or not sent:
            events.append(talk.message(who, client_message_id=f"c{choice}"))
            sent.append(events[-1].event_id)
        elif kind == "reaction":
            events.append(talk.reaction(sent[choice % len(sent)], "👍🎉"[choice % 2], who, set=flag))
        else:
            mark = sent[choice % len(sent)]
            events.append(talk.receipt(who, delivered=mark, read=mark * flag))
    return events


@hypothetical
@given(steps=steps, start=st.integers(0, 25), batch=st.integers(1, 30))
async def test_a_replay_from_any_earlier_event_changes_nothing(
    open_chats: OpenChats, steps: Sequence[tuple[str, int, int, bool]], start: int, batch: int
) -> None:
    talk = Conversation()
    events = history(talk, steps)
    async with open_chats() as chats:
        for event in events:
            await chats.record([event], {})
        before = await state(chats, talk)
        for at in range(start, len(events), batch):
            await chats.record(events[at : at + batch], {})
        assert await state(chats, talk) == before


async def test_events_that_history_does_not_keep_are_ignored(chats: ChatStore, talk: Conversation) -> None:
    typing = Event(event_id=next(_ids), typing=Typing(chat_id=talk.chat_id, user_id=talk.members[0]))
    await chats.record([typing, Event(event_id=next(_ids))], {0: 2})
    assert await chats.get_chat(talk.members[0], talk.chat_id) is None
    assert await chats.recorded_offsets() == {0: 2}


async def test_offsets_are_kept_with_what_was_recorded(chats: ChatStore, talk: Conversation) -> None:
    assert await chats.recorded_offsets() == {}
    await chats.record([talk.message()], {0: 5, 3: 7})
    await chats.record([], {3: 8})
    assert await chats.recorded_offsets() == {0: 5, 3: 8}


# ---- reactions


async def test_reactions_are_by_emoji_in_the_order_in_which_they_came(chats: ChatStore, talk: Conversation) -> None:
    message = talk.message()
    low, high = talk.members
    await chats.record(
        [message, talk.reaction(message.event_id, "🎉", 1), talk.reaction(message.event_id, "👍", 1)], {}
    )
    await chats.record([talk.reaction(message.event_id, "👍", 0), talk.reaction(message.event_id, "👍", 1)], {})
    page = await newest_page(chats, talk.chat_id)
    assert list(tallies(page.messages[0]).items()) == [("🎉", [high]), ("👍", [high, low])]
    found = await chats.get_message(talk.chat_id, message.event_id)
    assert found == page.messages[0]


async def test_a_reaction_taken_back_is_gone(chats: ChatStore, talk: Conversation) -> None:
    message = talk.message()
    react, unreact = talk.reaction(message.event_id), talk.reaction(message.event_id, set=False)
    await chats.record([message, react, unreact], {})
    page = await newest_page(chats, talk.chat_id)
    assert tallies(page.messages[0]) == {}


async def test_a_reaction_may_come_before_its_message(chats: ChatStore, talk: Conversation) -> None:
    message = talk.message()
    await chats.record([talk.reaction(message.event_id)], {})
    assert (await newest_page(chats, talk.chat_id)).messages == []
    await chats.record([message], {})
    page = await newest_page(chats, talk.chat_id)
    assert tallies(page.messages[0]) == {"👍": [talk.members[0]]}


async def test_a_reaction_in_another_chat_touches_no_message(chats: ChatStore, talk: Conversation) -> None:
    message = talk.message()
    await chats.record([message, Conversation().reaction(message.event_id)], {})
    page = await newest_page(chats, talk.chat_id)
    assert tallies(page.messages[0]) == {}


# ---- chats, receipts, unread


async def test_a_chat_as_a_member_sees_it(chats: ChatStore, talk: Conversation) -> None:
    events = talk.messages(3)
    read = talk.receipt(1, delivered=events[2].event_id, read=events[0].event_id)
    await chats.record([*events, read], {})
    reader = talk.members[1]
    assert await chats.get_chat(reader, talk.chat_id) == Chat(
        chat_id=talk.chat_id,
        kind=CHAT_KIND_DIRECT,
        member_ids=talk.members,
        newest=events[2].message,
        unread=2,
        receipts=[
            Receipt(
                chat_id=talk.chat_id,
                user_id=reader,
                delivered_up_to=events[2].event_id,
                read_up_to=events[0].event_id,
            )
        ],
        changed_at_ms=time_of(read.event_id),
    )


async def test_own_messages_are_not_unread(chats: ChatStore, talk: Conversation) -> None:
    await chats.record([*talk.messages(3, who=0), *talk.messages(2, who=1)], {})
    seen = [await chats.get_chat(member, talk.chat_id) for member in talk.members]
    assert [chat and chat.unread for chat in seen] == [2, 3]


async def test_unread_is_counted_to_100(chats: ChatStore, talk: Conversation) -> None:
    await chats.record(talk.messages(120), {})
    chat = await chats.get_chat(talk.members[1], talk.chat_id)
    assert chat is not None
    assert chat.unread == 100


async def test_receipts_move_forward_only(chats: ChatStore, talk: Conversation) -> None:
    first, second = talk.message(), talk.message()
    await chats.record([first, second, talk.receipt(1, delivered=second.event_id, read=second.event_id)], {})
    await chats.record([talk.receipt(1, delivered=first.event_id), talk.receipt(1, read=first.event_id)], {})
    chat = await chats.get_chat(talk.members[1], talk.chat_id)
    assert chat is not None
    assert [(each.delivered_up_to, each.read_up_to) for each in chat.receipts] == [(second.event_id, second.event_id)]
    assert chat.unread == 0


async def test_a_chat_is_listed_from_its_first_message_on(chats: ChatStore, talk: Conversation) -> None:
    await chats.record([talk.receipt(0, read=START)], {})
    assert await all_chats(chats, talk.members[1]) == []
    message = talk.message()
    await chats.record([message], {})
    for member in talk.members:
        assert [chat.newest for chat in await all_chats(chats, member)] == [message.message]


async def test_chats_are_listed_by_their_last_change(chats: ChatStore) -> None:
    user = next(_users)
    talks = [Conversation((user, next(_users))) for _ in range(3)]
    events = [talk.message() for talk in talks]
    await chats.record(events, {})
    await chats.record([talks[0].reaction(events[0].event_id)], {})
    listed = await all_chats(chats, user)
    assert [chat.chat_id for chat in listed] == [talks[n].chat_id for n in (0, 2, 1)]
    assert [chat.chat_id for chat in await all_chats(chats, talks[1].members[1])] == [talks[1].chat_id]


@pytest.mark.parametrize("kind", ["message", "reaction", "receipt"])
async def test_chats_changed_since(chats: ChatStore, talk: Conversation, kind: str) -> None:
    user = talk.members[0]
    message = talk.message()
    await chats.record([message], {})
    change = {
        "message": talk.message(),
        "reaction": talk.reaction(message.event_id, who=1),
        "receipt": talk.receipt(1, read=message.event_id),
    }[kind]
    changed_at = time_of(change.event_id)
    assert await chats.list_chats(user, changed_since_ms=changed_at, limit=10, after=None) == []
    await chats.record([change], {})
    listed = await chats.list_chats(user, changed_since_ms=changed_at, limit=10, after=None)
    assert [chat.changed_at_ms for chat in listed] == [changed_at]
    assert await chats.list_chats(user, changed_since_ms=changed_at + 1, limit=10, after=None) == []


@hypothetical
@given(count=st.integers(0, 12), limit=st.integers(1, 5), same_moment=st.booleans())
async def test_pages_of_chats_neither_skip_nor_repeat(
    open_chats: OpenChats, count: int, limit: int, same_moment: bool
) -> None:
    user = next(_users)
    talks = [Conversation((user, next(_users))) for _ in range(count)]
    base = next(_ids)
    events = [talk.message(message_id=base + n if same_moment else 0) for n, talk in enumerate(talks)]
    seen: list[str] = []
    after: ChatCursor | None = None
    async with open_chats() as chats:
        await chats.record(events, {})
        while page := await chats.list_chats(user, changed_since_ms=0, limit=limit, after=after):
            seen += [chat.chat_id for chat in page]
            after = ChatCursor(page[-1].changed_at_ms, page[-1].chat_id)
    assert sorted(seen) == sorted(talk.chat_id for talk in talks)


async def test_everything_is_there_after_it_was_closed(open_chats: OpenChats, talk: Conversation) -> None:
    events = [*talk.messages(3), talk.receipt(1, read=START)]
    async with open_chats() as chats:
        await chats.record(events, {1: 4})
        before = await state(chats, talk)
    async with open_chats() as chats:
        assert await state(chats, talk) == before
        assert await chats.recorded_offsets() == {1: 4}

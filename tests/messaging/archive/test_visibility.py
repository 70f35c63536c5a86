"""Queries of a group for each of its users, against a naive model of what they may read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.archive.pages import around
from messaging.archive.queries import ArchiveQueries
from messaging.archive.reader import MAX_READS, Reader
from messaging.archive.store.protocol import Page
from messaging.archive.store.sqlite.store import SqliteChats, open_sqlite_chats
from messaging.archive.visibility import View
from rookery.v1.archive_pb2 import (
    Chat,
    GetChatRequest,
    GetMessageRequest,
    HistoryMessage,
    ListChangesRequest,
    ListMembersRequest,
    ListMessagesRequest,
    ListVersionsRequest,
)
from rookery.v1.groups_pb2 import ROLE_MEMBER, ROLE_UNSPECIFIED, GroupSettings, Member, Span
from rookery.v1.session_pb2 import Change, Event, Message
from shared.contract.changes import KINDS
from shared.contract.errors import Code, Refusal
from shared.contract.ids import MAX_ID
from tests.fuzzing import examples
from tests.messaging.archive.conftest import PARTITIONS
from tests.messaging.archive.store.chats import START, Company, folded, logged, new_ids, stub_of

STEPS = [
    *("message", "message", "member", "member", "settings", "reaction", "edit", "edit", "pinned", "pinned", "starred"),
    "deletion",
]
steps = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2), st.integers(0, 30)), min_size=10, max_size=40)


def history(crew: Company, steps: Sequence[tuple[str, int, int]]) -> list[Event]:
    """Events of a group that two of its users join and leave again and again."""
    events = [crew.creation()]
    for kind, who, choice in steps:
        target = events[choice % min(len(events), 3)].event_id
        if kind == "member" and who:
            role = ROLE_UNSPECIFIED if crew.is_present(crew.members[who]) else ROLE_MEMBER
            events.append(crew.control({who: role}))
        elif kind == "settings":
            events.append(crew.control(settings=GroupSettings(name="Crew", shows_history=choice % 3 == 0)))
        elif kind == "reaction":
            events.append(crew.reaction(target, "👍🎉"[choice % 2], who, set=choice % 4 > 0))
        elif kind == "edit":
            events.append(crew.edit(target, f"edit {choice}", who))
        elif kind == "deletion" and choice > 15:  # it ends the state of its message
            events.append(crew.deletion(target, who))
        elif kind in ("pinned", "starred"):
            events.append(crew.toggle(kind, target, who, set=choice % 5 > 0))
        else:
            events.append(crew.message(who))
    return events


class Model:
    """What one user may read of the events, one by one."""

    def __init__(self, events: Sequence[Event], member: Member, shows_history: bool) -> None:
        self._member = member
        self._reads_all = bool(member.role) and shows_history
        self._events = events
        self._visible = [event for event in events if self.sees(event)]
        self.history = [self._message(event) for event in self._visible if event.HasField("message")]

    def includes(self, event_id: int) -> bool:
        spans = self._member.spans
        return self._reads_all or any(each.first <= event_id <= (each.last or MAX_ID) for each in spans)

    def sees(self, event: Event) -> bool:
        if event.change.HasField("starred"):
            return event.change.actor_id == self._member.user_id
        with_message = event.change.HasField("deleted") and self.includes(event.change.target_id)
        return self.includes(event.event_id) or with_message

    def _message(self, event: Event) -> HistoryMessage:
        """The state is the fold of the changes that the user may read."""
        changes = folded(self._visible, event.event_id)
        is_deleted = any(change.change.HasField("deleted") for change in changes)
        return HistoryMessage(message=stub_of(event) if is_deleted else event.message, changes=changes)

    def before(self, at: int, limit: int) -> Page:
        older = [each for each in self.history if each.message.message_id < at]
        return Page(older[-limit:], len(older) > limit, len(older) < len(self.history))

    def after(self, at: int, limit: int) -> Page:
        newer = [each for each in self.history if each.message.message_id > at]
        return Page(newer[:limit], len(newer) < len(self.history), len(newer) > limit)

    def having(self, kind: str, at: int, limit: int) -> Page:
        def is_set(event: Event) -> bool:
            return event.change.HasField(kind) and bool(getattr(event.change, kind).set)

        older = [each for each in self.history if each.message.message_id < at]
        current = [(each, folded(self._events, each.message.message_id)) for each in older]
        listed = [each for each, events in current if any(is_set(event) and self.sees(event) for event in events)]
        return Page(listed[-limit:], len(listed) > limit, has_newer=False)


class Counted:
    """A store that counts its reads of pages."""

    def __init__(self, chats: SqliteChats) -> None:
        self._chats = chats
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        self.reads += name in ("messages_before", "messages_after", "messages_having")
        return getattr(self._chats, name)


def page_of(response: Any) -> Page:
    return Page(list(response.messages), response.has_older, response.has_newer)


@examples(20)
@given(steps=steps, at=st.integers(-1, 41), limit=st.integers(1, 6))
async def test_each_user_reads_what_the_model_says(
    tmp_path: Path, steps: Sequence[tuple[str, int, int]], at: int, limit: int
) -> None:
    crew = Company()
    events = history(crew, steps)
    async with open_sqlite_chats(tmp_path / "chats.sqlite3") as chats:
        await chats.record(logged(*events), {})
        await check(chats, crew, events, at, limit)


async def check(chats: SqliteChats, crew: Company, events: Sequence[Event], at: int, limit: int) -> None:
    counted: Any = Counted(chats)
    queries = ArchiveQueries(counted, PARTITIONS)
    anchor = events[at].event_id + at % 2 if 0 <= at < len(events) else max(0, at) and MAX_ID
    for user_id in crew.members:
        of_chat: dict[str, Any] = {"user_id": user_id, "chat_id": crew.chat_id}
        chat = await queries.GetChat(GetChatRequest(**of_chat))
        page = await queries.ListMessages(ListMessagesRequest(**of_chat, limit=limit))
        if user_id not in crew.known:
            for refusal in (chat, page, await queries.ListMembers(ListMembersRequest(**of_chat, limit=1))):
                assert isinstance(refusal, Refusal)
                assert (refusal.code, refusal.field) == (Code.NOT_FOUND, "chat_id")
            continue
        (group,) = [each for each in [await chats.get_group(crew.chat_id)] if each]
        member = crew.known[user_id]
        model = Model(events, member, group.settings.shows_history)
        assert (chat.chat.own, chat.chat.newest) == (member, model.history[-1])  # type: ignore[union-attr]
        assert page_of(page) == model.before(MAX_ID, limit)
        for name, expected in (
            ("before_id", model.before(anchor, limit)),
            ("after_id", model.after(anchor, limit)),
            ("around_id", around(model.before(anchor, limit), model.after(anchor - 1, limit), limit)),
        ):
            counted.reads = 0
            request = ListMessagesRequest(**of_chat, limit=limit)
            setattr(request, name, anchor)
            response = await queries.ListMessages(request)
            assert page_of(response) == expected, name
            assert counted.reads <= 4 * (len(member.spans) + 1)
        for kind in ("pinned", "starred"):
            response = await queries.ListMessages(
                ListMessagesRequest(**of_chat, limit=limit, having=kind, before_id=anchor)
            )
            assert page_of(response) == model.having(kind, anchor, limit)
        after = anchor or START  # 0 is too old
        feed = await queries.ListChanges(ListChangesRequest(**of_chat, after=after))
        seen = [event for event in await chats.events_after(crew.chat_id, after) if model.sees(event)]
        assert list(feed.events) == seen  # type: ignore[union-attr]
        for event in events[::4]:
            of_message: dict[str, Any] = of_chat | {"message_id": event.event_id}
            found = await queries.GetMessage(GetMessageRequest(**of_message))
            expected_messages = [each for each in model.history if each.message.message_id == event.event_id]
            assert [found.message] * found.HasField("message") == expected_messages  # type: ignore[union-attr]
            versions = await queries.ListVersions(ListVersionsRequest(**of_message, kind="edited"))
            edits = await chats.versions(crew.chat_id, event.event_id, KINDS["edited"].number)
            assert list(versions.changes) == [each for each in edits if model.sees(each)]  # type: ignore[union-attr]


async def test_a_list_ends_after_many_messages_whose_change_was_made_outside_the_spans() -> None:
    crew = Company()
    messages, left = crew.messages(60, who=1), next(new_ids)
    pins = [crew.toggle("pinned", message.event_id) for message in messages]
    reads = []

    class Endless:
        async def messages_having(self, *place: Any, viewer_id: int | None) -> Page:
            *_, before_id, _ = place
            reads.append(before_id)
            (at,) = [n for n, message in enumerate(messages) if message.event_id < before_id][-1:]
            found = HistoryMessage(message=messages[at].message, changes=[pins[at]])
            return Page([found], has_older=True, has_newer=False)

    reader = Reader(Endless(), crew.chat_id, View(crew.members[1], ((START, left),)))  # type: ignore[arg-type]
    page = await reader.messages_having(KINDS["pinned"], MAX_ID, 1)
    assert page == Page([], has_older=False, has_newer=False)
    assert (len(reads), reads[-1]) == (MAX_READS, messages[-MAX_READS + 1].event_id)


@pytest.mark.parametrize("target_id", [5, 0], ids=["of a message", "of the chat"])
def test_a_change_of_a_kind_that_only_a_newer_release_knows_is_read_by_its_actor_only(target_id: int) -> None:
    """It may be private."""
    known = Change(chat_id="d-1-2", target_id=target_id, actor_id=1)
    body = b"\xa2\x06\x00"  # the empty field 100
    change = Change.FromString(known.SerializeToString() + body)
    event = Event(event_id=7, change=change)
    assert [View(user_id).sees(event) for user_id in (1, 2)] == [True, False]


def test_the_newest_message_of_before_the_join_is_not_shown_while_the_join_is_being_recorded() -> None:
    chats = [Chat(newest=HistoryMessage(message=Message(message_id=each))) for each in (5, 10)]
    for chat in chats:
        View(1, ((10, MAX_ID),)).cut_chat(chat)
    assert [chat.HasField("newest") for chat in chats] == [False, True]


def test_the_bounds_of_reading_jump_over_what_is_between_the_spans() -> None:
    member = Member(user_id=1, spans=[Span(first=10, last=20), Span(first=30, last=40)])
    view = View.of_member(member, shows_history=True)
    assert [view.below(at) for at in (10, 11, 21, 30, 31, 99)] == [None, 11, 21, 21, 31, 41]
    assert [view.above(at) for at in (0, 9, 19, 20, 29, 39, 40)] == [9, 9, 19, 29, 29, 39, None]
    member.spans[1].last, member.role = 0, ROLE_MEMBER
    view = View.of_member(member, shows_history=False)
    assert [view.above(at) for at in (29, MAX_ID - 1, MAX_ID)] == [29, MAX_ID - 1, None]
    assert View.of_member(member, shows_history=True) == View(1)

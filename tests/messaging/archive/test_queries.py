"""Queries on the real store: the pages that a member gets, and the refusals."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from messaging.archive.pages import MAX_PAGE_BYTES, encode_cursor
from messaging.archive.queries import MAX_CHANGES_AGE_MS, ArchiveQueries
from messaging.archive.store.protocol import MAX_CHANGES, MAX_VERSIONS, ChatCursor
from messaging.archive.store.sqlite.store import SqliteChats
from messaging.envelopes import kind_name
from rookery.v1.archive_pb2 import (
    CHAT_KIND_DIRECT,
    FILE_CLASS_MEDIA,
    FILE_STATE_COMPLETE,
    FILE_STATE_UPLOADING,
    CancelFileRequest,
    Chat,
    CompleteFileRequest,
    FindSentRequest,
    FindSentResponse,
    GetChatRequest,
    GetFilesRequest,
    GetGroupRequest,
    GetGroupResponse,
    GetMessageRequest,
    GetReportedFileRequest,
    HistoryMessage,
    ListChangesRequest,
    ListChangesResponse,
    ListChatFilesRequest,
    ListChatsRequest,
    ListMarksRequest,
    ListMarksResponse,
    ListMembersRequest,
    ListMembersResponse,
    ListMessagesRequest,
    ListMessagesResponse,
    ListPublicChatsRequest,
    ListVersionsRequest,
    Mark,
    ReserveFileRequest,
    StoredFile,
)
from rookery.v1.files_pb2 import FileInfo, FileRef
from rookery.v1.groups_pb2 import ROLE_MEMBER, ROLE_OWNER, ROLE_UNSPECIFIED, GroupSettings
from rookery.v1.session_pb2 import Change, Deleted, Event, Hidden, MarkedUnread, Pinned
from shared.archive import UNAVAILABLE
from shared.contract.changes import LISTED
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import MAX_AGE_MS, MAX_ID, first_id_at, time_of
from tests.messaging.archive.conftest import ALICE, BOB, CAROL, CHAT, PARTITIONS, new_message
from tests.messaging.archive.store.chats import NOW_MS, START, Company, Conversation, logged


class Client:
    """Calls the method of a request's type."""

    def __init__(self, chats: Any, partitions: int = PARTITIONS) -> None:
        self._queries = ArchiveQueries(chats, partitions)

    async def call(self, request: Any) -> Any:
        return await getattr(self._queries, type(request).__name__.removesuffix("Request"))(request)

    async def refusal(self, request: Any) -> tuple[Code, str]:
        """The code and the field."""
        answer = await self.call(request)
        assert isinstance(answer, Refusal)
        return answer.code, answer.field


@pytest.fixture
def client(chats: SqliteChats) -> Client:
    return Client(chats)


@pytest.fixture
async def sent(chats: SqliteChats) -> Sequence[Event]:
    """Ten messages from Alice to Bob, a second apart."""
    events = [new_message() for _ in range(10)]
    await chats.record(logged(*events), {})
    return events


VERSIONED_KINDS = "one of: edited, pinned, previewed, reacted."


def ids(response: ListMessagesResponse) -> list[int]:
    return [each.message.message_id for each in response.messages]


# ---- chats


async def test_chats_page_by_page(client: Client, chats: SqliteChats) -> None:
    events = [new_message(ALICE, recipient) for recipient in range(100, 105)]
    await chats.record(logged(*events), {})
    seen: list[str] = []
    cursor = ""
    sizes = []
    while True:
        response = await client.call(ListChatsRequest(user_id=ALICE, limit=2, cursor=cursor))
        sizes.append(len(response.chats))
        seen += [chat.chat_id for chat in response.chats]
        if not (cursor := response.next_cursor):
            break
    assert seen == [event.message.chat_id for event in reversed(events)]
    assert sizes == [2, 2, 1]


async def test_chats_changed_since_a_moment(client: Client, sent: Sequence[Event]) -> None:
    at_ms = time_of(sent[-1].event_id)
    for since, count in ((at_ms, 1), (at_ms + 1, 0)):
        request = ListChatsRequest(user_id=ALICE, limit=10, changed_since_ms=since)
        assert len((await client.call(request)).chats) == count


async def test_a_chat_without_events_is_empty_to_its_members(client: Client) -> None:
    response = await client.call(GetChatRequest(user_id=BOB, chat_id=CHAT))
    assert response.chat == Chat(chat_id=CHAT, kind=CHAT_KIND_DIRECT, member_ids=[ALICE, BOB])
    page = await client.call(ListMessagesRequest(user_id=BOB, chat_id=CHAT, limit=10))
    assert page == ListMessagesResponse()


async def test_a_chat_as_a_member_sees_it(client: Client, sent: Sequence[Event]) -> None:
    chat = (await client.call(GetChatRequest(user_id=BOB, chat_id=CHAT))).chat
    assert (chat.unread, chat.newest) == (10, HistoryMessage(message=sent[-1].message))


# ---- messages


@pytest.mark.parametrize(
    ("anchor", "at", "expected", "has_older", "has_newer"),
    [
        ("", 0, [6, 7, 8, 9], True, False),
        ("before_id", 5, [1, 2, 3, 4], True, True),
        ("before_id", 2, [0, 1], False, True),
        ("after_id", 5, [6, 7, 8, 9], True, False),
        ("after_id", 1, [2, 3, 4, 5], True, True),
        ("around_id", 5, [3, 4, 5, 6], True, True),
        ("around_id", 0, [0, 1, 2, 3], False, True),
        ("around_id", 9, [6, 7, 8, 9], True, False),
        ("before_ms", 5, [1, 2, 3, 4], True, True),
        ("after_ms", 5, [5, 6, 7, 8], True, True),
        ("around_ms", 5, [3, 4, 5, 6], True, True),
    ],
)
async def test_a_page_of_four(
    client: Client, sent: Sequence[Event], anchor: str, at: int, expected: list[int], has_older: bool, has_newer: bool
) -> None:
    value = sent[at].event_id if anchor.endswith("_id") else time_of(sent[at].event_id)
    request = ListMessagesRequest(user_id=BOB, chat_id=CHAT, limit=4)
    if anchor:
        setattr(request, anchor, value)
    response = await client.call(request)
    assert ids(response) == [sent[n].event_id for n in expected]
    assert (response.has_older, response.has_newer) == (has_older, has_newer)


@pytest.mark.parametrize("anchor", ["before_id", "after_id", "around_id", "before_ms", "after_ms", "around_ms"])
@pytest.mark.parametrize("value", [0, MAX_ID])
async def test_the_ends_of_the_range_are_valid(client: Client, sent: Sequence[Event], anchor: str, value: int) -> None:
    request = ListMessagesRequest(user_id=BOB, chat_id=CHAT, limit=100)
    setattr(request, anchor, value)
    response = await client.call(request)
    reaches = anchor.startswith("around") or (value == 0) == anchor.startswith("after")
    assert len(response.messages) == (10 if reaches else 0)
    assert response.has_older == (not reaches and value > 0)


async def test_a_page_of_long_messages_ends_early(client: Client, chats: SqliteChats) -> None:
    long = "x" * (MAX_PAGE_BYTES // 3)
    events = [new_message(body=long) for _ in range(5)]
    await chats.record(logged(*events), {})
    request = ListMessagesRequest(user_id=BOB, chat_id=CHAT, limit=100)
    newest = await client.call(request)
    assert ids(newest) == [event.event_id for event in events[3:]]
    assert (newest.has_older, newest.has_newer) == (True, False)
    request.after_id = 0
    oldest = await client.call(request)
    assert ids(oldest) == [event.event_id for event in events[:2]]
    assert (oldest.has_older, oldest.has_newer) == (False, True)
    request.around_id = events[2].event_id
    middle = await client.call(request)
    assert ids(middle) == [events[1].event_id, events[2].event_id]
    assert (middle.has_older, middle.has_newer) == (True, True)


FEW_CHANGES = 500
"""Of a page, instead of MAX_PAGE_CHANGES."""


@pytest.mark.parametrize(("anchor", "end", "last"), [("before_id", MAX_ID, 0), ("after_id", 0, -1)])
async def test_the_changes_of_a_message_hide_none_of_another(
    client: Client,
    chats: SqliteChats,
    sent: Sequence[Event],
    anchor: str,
    end: int,
    last: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("reader", "store.sqlite.store"):
        monkeypatch.setattr(f"messaging.archive.{module}.MAX_PAGE_CHANGES", FEW_CHANGES)
    talk = Conversation((ALICE, BOB))
    flood = [talk.reaction(sent[2].event_id, f"{number}") for number in range(FEW_CHANGES - 1)]
    await chats.record(logged(*flood, *(talk.edit(event.event_id) for event in sent)), {})
    request = ListMessagesRequest(user_id=BOB, chat_id=CHAT, limit=10, **{anchor: end})  # type: ignore[arg-type]
    edited: list[int] = []
    while (page := await client.call(request)).messages:
        states = {each.message.message_id: {kind_name(event) for event in each.changes} for each in page.messages}
        edited += [message_id for message_id, kinds in states.items() if "edited" in kinds]
        setattr(request, anchor, page.messages[last].message.message_id)
    assert sorted(edited) == [event.event_id for event in sent]


async def test_one_message(client: Client, sent: Sequence[Event]) -> None:
    message_id = sent[3].event_id
    request = GetMessageRequest(user_id=ALICE, chat_id=CHAT, message_id=message_id)
    assert (await client.call(request)).message.message == sent[3].message
    request.message_id += 1
    assert not (await client.call(request)).HasField("message")


async def test_the_event_of_a_send(client: Client, sent: Sequence[Event]) -> None:
    message = sent[3].message
    request = FindSentRequest(user_id=message.sender_id, chat_id=CHAT, client_id=message.client_message_id)
    assert (await client.call(request)).event == sent[3]
    request.client_id = "another"
    assert not (await client.call(request)).HasField("event")
    for bad in ("", "é" * 37):
        request.client_id = bad
        assert await client.refusal(request) == (Code.INVALID, "client_id")


async def test_private_changes_are_for_their_actors_alone(
    client: Client, chats: SqliteChats, sent: Sequence[Event]
) -> None:
    target, talk = sent[-1].event_id, Conversation((ALICE, BOB))
    unread = talk.change(marked_unread=MarkedUnread(set=True))
    private, public = talk.change(target, hidden=Hidden(set=True)), talk.edit(target)
    await chats.record(logged(unread, private, public), {})
    for user, of_chat, changes in ((ALICE, [unread], [private, public]), (BOB, [], [public])):
        found = await client.call(GetMessageRequest(user_id=user, chat_id=CHAT, message_id=target))
        page = await client.call(ListMessagesRequest(user_id=user, chat_id=CHAT, limit=100))
        (listed,) = (await client.call(ListChatsRequest(user_id=user, limit=100))).chats
        chat = (await client.call(GetChatRequest(user_id=user, chat_id=CHAT))).chat
        feed = await client.call(ListChangesRequest(user_id=user, chat_id=CHAT, after=target))
        assert list(found.message.changes) == list(page.messages[-1].changes) == changes
        assert [list(each.newest.changes) for each in (listed, chat)] == [changes] * 2
        assert [list(each.changes) for each in (listed, chat)] == [of_chat] * 2
        assert list(feed.events) == of_chat + changes


# ---- catching up


@pytest.fixture(autouse=True)
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive's clock is at NOW_MS, about when the events were sent."""
    for name in ("queries", "file_queries"):
        monkeypatch.setattr(f"messaging.archive.{name}.wall_clock_ms", lambda: NOW_MS)


@pytest.mark.parametrize(
    ("events", "after", "is_too_old"),
    [
        (MAX_CHANGES, START, False),
        (MAX_CHANGES + 1, START, True),
        (4, START, True),  # too long together
        (1, first_id_at(NOW_MS - MAX_CHANGES_AGE_MS), False),
        (1, first_id_at(NOW_MS - MAX_CHANGES_AGE_MS) - 1, True),
    ],
)
async def test_a_feed_of_too_many_events_bytes_or_days_is_too_old(
    client: Client, chats: SqliteChats, events: int, after: int, is_too_old: bool
) -> None:
    await chats.raise_watermarks(dict.fromkeys(range(PARTITIONS), NOW_MS))
    body = "x" * (MAX_PAGE_BYTES // 4) if events == 4 else "hello"
    sent = [new_message(body=body) for _ in range(events)]
    await chats.record(logged(*sent), {})
    feed = await client.call(ListChangesRequest(user_id=BOB, chat_id=CHAT, after=after))
    if is_too_old:
        assert feed == ListChangesResponse(too_old=True)
    else:
        complete = first_id_at(NOW_MS - MAX_AGE_MS)
        assert feed == ListChangesResponse(events=sent, complete_up_to=complete)


@pytest.mark.parametrize("is_known", [True, False])
async def test_complete_up_to_is_read_before_the_events_and_is_0_while_a_partition_has_no_watermark(
    chats: SqliteChats, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    recorded: list[Event] = []

    async def then_record() -> Mapping[int, int]:
        recorded.append(new_message())
        await chats.record(logged(recorded[-1]), {})
        return dict.fromkeys(range(PARTITIONS), NOW_MS)

    monkeypatch.setattr(chats, "watermarks", then_record)
    for request in (
        ListChangesRequest(user_id=BOB, chat_id=CHAT, after=START - 1),
        ListMessagesRequest(user_id=BOB, chat_id=CHAT, limit=9),
        ListChatsRequest(user_id=BOB, limit=9),
    ):
        answer = await Client(chats, PARTITIONS if is_known else PARTITIONS + 1).call(request)
        assert str(recorded[-1].event_id) in str(answer)
        assert answer.complete_up_to == (first_id_at(NOW_MS - MAX_AGE_MS) if is_known else 0)


async def test_messages_with_a_pin_page_by_page_and_the_versions_of_one(
    client: Client, chats: SqliteChats, sent: Sequence[Event]
) -> None:
    talk = Conversation((ALICE, BOB))
    pins = [talk.change(sent[n].event_id, pinned=Pinned(set=True)) for n in (1, 4, 7, 8)]
    unpin = talk.change(sent[7].event_id, pinned=Pinned(set=False))
    await chats.record(logged(*pins, unpin), {})
    request = ListMessagesRequest(user_id=BOB, chat_id=CHAT, limit=2, having="pinned")
    for place, expected, has_older in ((None, [4, 8], True), (sent[4].event_id, [1], False), (0, [], False)):
        if place is not None:
            request.before_id = place
        page = await client.call(request)
        assert (ids(page), page.has_older) == ([sent[n].event_id for n in expected], has_older)
    versions = ListVersionsRequest(user_id=BOB, chat_id=CHAT, message_id=sent[7].event_id, kind="pinned")
    assert list((await client.call(versions)).changes) == [pins[2], unpin]


async def test_the_newest_versions_are_returned_that_a_response_may_hold(client: Client, chats: SqliteChats) -> None:
    talk = Conversation((ALICE, BOB))
    message = talk.message()
    edits = [talk.edit(message.event_id, "x" * 60_000) for _ in range(MAX_VERSIONS)]
    await chats.record(logged(message, *edits), {})
    versions = ListVersionsRequest(user_id=BOB, chat_id=CHAT, message_id=message.event_id, kind="edited")
    answer = await client.call(versions)
    assert answer.changes == edits[-len(answer.changes) :]
    assert MAX_PAGE_BYTES - 70_000 < answer.ByteSize() <= MAX_PAGE_BYTES + 1_000  # with the length of each


# ---- groups


@pytest.mark.parametrize("shows_history", [False, True])
async def test_who_has_seen_a_message_are_members_who_may_read_it(
    client: Client, chats: SqliteChats, *, shows_history: bool
) -> None:
    """Carol is added after the message, and Bob is away when it is sent; both read the next one."""
    crew = Company((ALICE, BOB, CAROL))
    before = [crew.creation(2, shows_history=shows_history), crew.control({1: ROLE_UNSPECIFIED}, who=1)]
    message, joining, later = crew.message(0), crew.control({1: ROLE_MEMBER, 2: ROLE_MEMBER}), crew.message(0)
    marks = [crew.mark(who, read=later.event_id) for who in range(3)]
    await chats.record(logged(*before, message, joining, later, *marks), {})
    for seen, users in ((message, [ALICE, BOB, CAROL] if shows_history else [ALICE]), (later, [ALICE, BOB, CAROL])):
        request = ListMarksRequest(user_id=ALICE, chat_id=crew.chat_id, from_id=seen.event_id)
        assert sorted(mark.user_id for mark in (await client.call(request)).marks) == users


async def test_members_marks_and_the_group_as_members_and_former_members_get_them(
    client: Client, chats: SqliteChats, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = Company((ALICE, BOB, CAROL))
    creation, message, left = crew.creation(3), crew.message(2), crew.control({2: ROLE_UNSPECIFIED}, who=2)
    marks = [crew.mark(who, read=message.event_id) for who in (1, 2)]
    await chats.record(logged(creation, message, *marks, left), {})
    for after, member, has_more in ((0, ALICE, True), (ALICE, BOB, False)):
        page = await client.call(ListMembersRequest(user_id=BOB, chat_id=crew.chat_id, limit=1, after=after))
        assert page == ListMembersResponse(members=[crew.known[member]], has_more=has_more, version=2)
    seen = ListMarksRequest(user_id=ALICE, chat_id=crew.chat_id, from_id=message.event_id)
    assert await client.call(seen) == ListMarksResponse(marks=[Mark(user_id=BOB, read_up_to=message.event_id)])
    named = ListMembersRequest(user_id=ALICE, chat_id=crew.chat_id, limit=1, user_ids=[BOB, CAROL, 7])
    found = ListMembersResponse(members=[crew.known[BOB]], version=2)
    assert await client.call(named) == found
    seen.user_id = CAROL
    assert await client.call(seen) == ListMarksResponse()
    members = ListMembersRequest(user_id=CAROL, chat_id=crew.chat_id, limit=1)
    assert await client.call(members) == ListMembersResponse(version=2)
    request = FindSentRequest(user_id=CAROL, chat_id=crew.chat_id, client_id=left.message.client_message_id)
    assert (await client.call(request)).event == left
    group = (await client.call(GetGroupRequest(chat_id=crew.chat_id))).group
    assert (group.version, list(group.members)) == (2, [crew.known[user] for user in crew.members])
    assert await client.call(GetGroupRequest(chat_id="g-1")) == GetGroupResponse()
    stars = [crew.toggle("starred", message.event_id, who) for who in (0, 1)]
    await chats.record(logged(*stars, crew.control(settings=GroupSettings(is_channel=True))), {})
    seen.user_id, found.version = ALICE, 3
    assert [await client.call(request) for request in (named, seen)] == [found, ListMarksResponse()]
    some = GetGroupRequest(chat_id=crew.chat_id, user_ids=[BOB, 7])
    assert [*(await client.call(some)).group.members] == [crew.known[BOB]]
    refusal = await client.call(GetGroupRequest(chat_id=crew.chat_id, user_ids=range(1, 1_002)))
    assert (refusal.code, refusal.field, "1000" in refusal.message) == (Code.TOO_LARGE, "user_ids", True)
    monkeypatch.setattr("messaging.archive.store.sqlite.store.MAX_PAGE_CHANGES", 1)
    for anchor in ({"before_id": message.event_id + 1}, {"after_id": creation.event_id}, {"having": "starred"}):
        fields: dict[str, Any] = {"user_id": BOB, "chat_id": crew.chat_id, "limit": 1, **anchor}
        assert [*(await client.call(ListMessagesRequest(**fields))).messages[0].changes] == stars[1:]
    one = GetMessageRequest(user_id=BOB, chat_id=crew.chat_id, message_id=message.event_id)
    assert [*(await client.call(one)).message.changes] == stars[1:]


async def test_public_groups_page_by_page(client: Client, chats: SqliteChats) -> None:
    crews = [Company((BOB, CAROL)) for _ in range(3)]
    settings = [GroupSettings(name=f"Crew {number}", is_public=True) for number in range(3)]
    for crew, each in zip(crews, settings, strict=True):
        await chats.record(logged(crew.control({0: ROLE_OWNER}, settings=each)), {})
    first = await client.call(ListPublicChatsRequest(user_id=BOB, query="crew", limit=2))
    assert [chat.settings for chat in first.chats] == settings[:2]
    assert first.chats[0].own == crews[0].known[BOB]
    second = await client.call(ListPublicChatsRequest(user_id=CAROL, limit=2, cursor=first.next_cursor))
    assert [(chat.chat_id, chat.HasField("own")) for chat in second.chats] == [(crews[2].chat_id, False)]
    assert not second.next_cursor


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [("limit", 101, Code.INVALID), ("cursor", "x", Code.INVALID), ("query", "x" * 65, Code.TOO_LARGE)],
)
async def test_an_invalid_search_of_public_groups_is_refused(
    client: Client, field: str, value: Any, code: Code
) -> None:
    request = ListPublicChatsRequest(user_id=BOB, limit=1)
    setattr(request, field, value)
    assert await client.refusal(request) == (code, field)


async def test_the_marks_of_a_direct_chat(client: Client, chats: SqliteChats, sent: Sequence[Event]) -> None:
    await chats.record(logged(Conversation((ALICE, BOB)).mark(1, read=sent[3].event_id)), {})
    response = await client.call(ListMarksRequest(user_id=ALICE, chat_id=CHAT))
    assert list(response.marks) == [Mark(user_id=BOB, read_up_to=sent[3].event_id)]


# ---- refusals


async def test_a_chat_is_not_found_by_others(client: Client, sent: Sequence[Event]) -> None:
    for chat_id in (CHAT, "", "d-22-11", "d-11-11", "'; DROP TABLE chats; --", "d-11-22\n", "g-5", "g-0"):
        for request in (
            GetChatRequest(user_id=CAROL, chat_id=chat_id),
            ListMessagesRequest(user_id=CAROL, chat_id=chat_id, limit=1),
            GetMessageRequest(user_id=CAROL, chat_id=chat_id, message_id=sent[0].event_id),
            FindSentRequest(user_id=CAROL, chat_id=chat_id, client_id="a"),
            ListChangesRequest(user_id=CAROL, chat_id=chat_id, after=START),
            ListVersionsRequest(user_id=CAROL, chat_id=chat_id, message_id=sent[0].event_id, kind="edited"),
            ListMembersRequest(user_id=CAROL, chat_id=chat_id, limit=1),
            ListMarksRequest(user_id=CAROL, chat_id=chat_id),
        ):
            if isinstance(request, FindSentRequest) and chat_id == "g-5":  # finds only one's own events
                assert await client.call(request) == FindSentResponse()
            else:
                assert await client.refusal(request) == (Code.NOT_FOUND, "chat_id")


@pytest.mark.parametrize(
    ("field", "value", "bounds"),
    [
        ("limit", 0, "1 to 100, not 0"),
        ("limit", 101, "1 to 100, not 101"),
        ("limit", 2**32 - 1, "1 to 100, not 4294967295"),
        ("user_id", 0, f"1 to {MAX_ID}, not 0"),
        ("before_id", -1, f"0 to {MAX_ID}, not -1"),
        ("around_ms", -5, f"0 to {MAX_ID}, not -5"),
    ],
)
async def test_an_invalid_field_is_named_with_its_limit(client: Client, field: str, value: int, bounds: str) -> None:
    request = ListMessagesRequest(user_id=BOB, chat_id=CHAT, limit=5)
    setattr(request, field, value)
    assert await client.call(request) == Refusal(Code.INVALID, f"`{field}` must be {bounds}.", field)


@pytest.mark.parametrize(
    ("request_type", "fields", "refused", "message"),
    [
        (ListMessagesRequest, {"having": "edited", "limit": 1}, "having", f"one of: {', '.join(LISTED)}."),
        (ListMessagesRequest, {"having": "nothing", "limit": 1}, "having", f"one of: {', '.join(LISTED)}."),
        (ListMessagesRequest, {"having": "pinned", "after_id": 1, "limit": 1}, "after_id", "with `having`"),
        (ListVersionsRequest, {"kind": "", "message_id": 1}, "kind", VERSIONED_KINDS),
        (ListVersionsRequest, {"kind": "deleted", "message_id": 1}, "kind", VERSIONED_KINDS),
        (ListVersionsRequest, {"kind": "hidden", "message_id": 1}, "kind", VERSIONED_KINDS),
        (ListVersionsRequest, {"kind": "edited", "message_id": 0}, "message_id", f"1 to {MAX_ID}, not 0."),
        (ListChangesRequest, {"after": -1}, "after", f"0 to {MAX_ID}, not -1."),
        (ListMembersRequest, {"chat_id": "g-5", "limit": 1_001}, "limit", "1 to 1000, not 1001."),
        (ListMembersRequest, {"chat_id": "g-5", "limit": 1, "after": -1}, "after", f"0 to {MAX_ID}, not -1."),
        (ListMembersRequest, {"limit": 1}, "chat_id", "that of a group"),
        (ListMembersRequest, {"chat_id": "g-5", "limit": 1, "user_ids": [1, 0]}, "user_ids[1]", f"1 to {MAX_ID}"),
        (ListMarksRequest, {"from_id": -1}, "from_id", f"0 to {MAX_ID}, not -1."),
    ],
)
async def test_bad_kinds_and_places_are_refused_by_field_and_limit(
    client: Client, request_type: Any, fields: dict[str, Any], refused: str, message: str
) -> None:
    refusal = await client.call(request_type(**{"user_id": BOB, "chat_id": CHAT} | fields))
    assert (refusal.code, refusal.field, message in refusal.message) == (Code.INVALID, refused, True)


CURSORS = [
    *("no cursor", "é", "AAAA", "x" * 5_000),
    *(encode_cursor(ChatCursor(*place)) for place in ((-1, "d-1-2"), (1, "d-2-1"), (1, "g-0"), (MAX_ID + 1, "d-1-2"))),
    encode_cursor(ChatCursor(1, "d-1-2"))[:-2],
]


@pytest.mark.parametrize(
    ("field", "value"),
    [("user_id", -1), ("limit", 0), ("limit", 101), ("changed_since_ms", -1), *(("cursor", each) for each in CURSORS)],
)
async def test_an_invalid_list_of_chats_is_refused(client: Client, field: str, value: Any) -> None:
    request = ListChatsRequest(**{"user_id": BOB, "limit": 5, field: value})
    assert await client.refusal(request) == (Code.INVALID, field)


async def test_a_store_that_does_not_answer_is_unavailable() -> None:
    async def fail(*_: object, **__: object) -> None:
        raise Unavailable("the disk is gone")

    class Away:
        def __getattr__(self, name: str) -> Any:
            return fail

    for request in (
        GetChatRequest(user_id=BOB, chat_id=CHAT),
        ListChatsRequest(user_id=BOB, limit=1),
        ListMessagesRequest(user_id=BOB, chat_id=CHAT, limit=1),
        GetMessageRequest(user_id=BOB, chat_id=CHAT, message_id=1),
        FindSentRequest(user_id=BOB, chat_id=CHAT, client_id="a"),
        ListChangesRequest(user_id=BOB, chat_id=CHAT, after=START),
        ListVersionsRequest(user_id=BOB, chat_id=CHAT, message_id=1, kind="edited"),
        ListMembersRequest(user_id=BOB, chat_id="g-5", limit=1),
        ListMarksRequest(user_id=BOB, chat_id="g-5"),
        GetGroupRequest(chat_id="g-5"),
    ):
        assert await Client(Away()).call(request) == Refusal(Code.UNAVAILABLE, UNAVAILABLE)


# ---- files


@pytest.fixture
async def files(chats: SqliteChats, client: Client) -> Sequence[StoredFile]:
    """Three complete pictures of Alice."""
    reserved = [reservation(number) for number in (1, 2, 3)]
    stored = [(await client.call(request)).file for request in reserved]
    for file in stored:
        file.state, file.file.media_type, file.file.width = FILE_STATE_COMPLETE, "image/png", 4
    return [(await client.call(CompleteFileRequest(file=file))).file for file in stored]


def reservation(file_id: int, **info: Any) -> ReserveFileRequest:
    described: dict[str, Any] = {"name": "a.png"} | info
    file = StoredFile(file=FileInfo(file_id=file_id, **described), upload_id="u")
    return ReserveFileRequest(user_id=ALICE, client_file_id=f"c{file_id}", file=file, quota_bytes=MAX_ID, max_uploads=9)


async def readable(client: Client, user_id: int, *refs: FileRef) -> list[int]:
    response = await client.call(GetFilesRequest(user_id=user_id, files=refs))
    return [stored.file.file_id for stored in response.files]


def ref(file_id: int, event: Event | None = None) -> FileRef:
    return (
        FileRef(file_id=file_id)
        if event is None
        else FileRef(file_id=file_id, chat_id=event.message.chat_id, message_id=event.event_id)
    )


async def test_a_file_is_readable_by_its_owner_and_in_the_messages_that_have_it(
    client: Client, chats: SqliteChats, files: Sequence[StoredFile]
) -> None:
    sent, other = new_message(), new_message()
    sent.message.files.append(files[0].file)
    await chats.record(logged(sent, other), {})
    assert await readable(client, ALICE, ref(3), ref(1), ref(3), ref(4)) == [3, 1]
    assert await readable(client, BOB, ref(1, sent), ref(2, sent)) == [1]
    assert await readable(client, BOB, ref(1), ref(1, other)) == []
    assert await readable(client, CAROL, ref(1, sent)) == []
    change = Change(chat_id=CHAT, target_id=sent.event_id, actor_id=ALICE, deleted=Deleted())
    await chats.record(logged(Event(event_id=sent.event_id + 1, change=change)), {})
    assert await readable(client, BOB, ref(1, sent)) == []
    assert await readable(client, ALICE, ref(1, sent)) == [1]


async def test_a_file_whose_message_may_not_be_recorded_yet_is_named(
    client: Client, chats: SqliteChats, files: Sequence[StoredFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, newest, crew = new_message(), new_message(), new_message(), Company()
    for event in (new, newest):
        event.message.files.append(files[0].file)
    in_group = crew.message(0)

    async def then_record() -> Mapping[int, int]:
        await chats.record(logged(newest), {})
        return dict.fromkeys(range(PARTITIONS), time_of(new.event_id) + MAX_AGE_MS - 1)

    async def not_recorded(user_id: int, *refs: FileRef) -> Sequence[FileRef]:
        answer = await client.call(GetFilesRequest(user_id=user_id, files=refs))
        return list(answer.not_recorded)

    monkeypatch.setattr(chats, "watermarks", then_record)
    assert await not_recorded(BOB, ref(1, newest)) == [], "the watermarks are read before the messages"
    missing = [ref(1, new), FileRef(file_id=1, chat_id=crew.chat_id, message_id=in_group.event_id)]
    assert await not_recorded(BOB, *missing, ref(1, old), ref(9, new), ref(2, newest), ref(1)) == missing
    assert await not_recorded(ALICE, *missing) == [], "they are her own"
    assert await not_recorded(CAROL, ref(1, new)) == [], "a direct chat of others"
    of_others = await client.call(GetFilesRequest(user_id=CAROL, files=[ref(1, new), ref(1)]))
    assert list(of_others.unknown_chat_ids) == [CHAT]
    deletion = Change(chat_id=CHAT, target_id=new.event_id, actor_id=ALICE, deleted=Deleted())
    await chats.record(logged(new, Event(event_id=newest.event_id + 1, change=deletion)), {})
    assert await not_recorded(BOB, ref(1, new)) == []


async def test_a_file_in_a_group_is_readable_in_the_spans_of_a_member(
    client: Client, chats: SqliteChats, files: Sequence[StoredFile]
) -> None:
    crew = Company()
    creation, before, left = crew.creation(), crew.message(0), crew.control({1: ROLE_UNSPECIFIED})
    after = crew.message(0)
    for event, file in zip((before, after), files, strict=False):
        event.message.files.append(file.file)
    await chats.record(logged(creation, before, left, after), {})
    owner, former, stranger = crew.members
    refs = ref(1, before), ref(2, after)
    assert [await readable(client, user, *refs) for user in crew.members] == [[1, 2], [1], []]
    unknown = [await client.call(GetFilesRequest(user_id=user, files=refs)) for user in (*crew.members, BOB)]
    assert [list(answer.unknown_chat_ids) for answer in unknown] == [[], [], [crew.chat_id], [crew.chat_id]]
    listing = ListChatFilesRequest(chat_id=crew.chat_id, limit=9, file_class=FILE_CLASS_MEDIA)
    listed = []
    for listing.user_id in (owner, former):
        listed.append([each.message.message_id for each in (await client.call(listing)).messages])
    assert listed == [[after.event_id, before.event_id], [before.event_id]]
    listing.user_id = stranger
    assert await client.refusal(listing) == (Code.NOT_FOUND, "chat_id")


async def test_files_that_are_not_complete_are_found_by_their_owner_only(client: Client, chats: SqliteChats) -> None:
    file = (await client.call(reservation(1))).file
    assert (file.owner_id, file.state, file.upload_id) == (ALICE, FILE_STATE_UPLOADING, "u")
    assert file.reserved_at_ms == NOW_MS
    event = new_message()
    event.message.files.append(file.file)
    await chats.record(logged(event), {})
    assert await readable(client, BOB, ref(1, event)) == []
    assert await readable(client, ALICE, ref(1)) == [1]
    await client.call(CancelFileRequest(user_id=ALICE, file_id=1))
    assert await readable(client, ALICE, ref(1)) == []


async def test_pages_of_the_files_of_a_chat(client: Client, chats: SqliteChats, files: Sequence[StoredFile]) -> None:
    events = [new_message() for _ in range(5)]
    for event in events:
        event.message.files.append(files[0].file)
    await chats.record(logged(*events), {})
    request = ListChatFilesRequest(user_id=BOB, chat_id=CHAT, limit=2, file_class=FILE_CLASS_MEDIA)
    seen: list[int] = []
    for has_older in (True, True, False):
        response = await client.call(request)
        assert response.has_older == has_older
        seen += [each.message.message_id for each in response.messages]
        request.before_id = seen[-1]
    assert seen == [event.event_id for event in reversed(events)]


async def test_a_reported_file_is_found_without_a_user_until_its_message_is_deleted(
    client: Client, chats: SqliteChats, files: Sequence[StoredFile]
) -> None:
    sent, other = new_message(), new_message()
    for event in (sent, other):
        event.message.files.append(files[0].file)
    await chats.record(logged(sent, other), {})
    gone = (Code.NOT_FOUND, "file_id")
    assert (await client.call(GetReportedFileRequest(file=ref(1, sent)))).file == files[0]
    assert await client.refusal(GetReportedFileRequest(file=ref(2, sent))) == gone
    change = Change(chat_id=CHAT, target_id=sent.event_id, actor_id=ALICE, deleted=Deleted())
    await chats.record(logged(Event(event_id=sent.event_id + 1, change=change)), {})
    assert await client.refusal(GetReportedFileRequest(file=ref(1, sent))) == gone
    assert (await client.call(GetReportedFileRequest(file=ref(1, other)))).file == files[0]


@pytest.mark.parametrize("missing", ["chat_id", "message_id", "file_id"])
async def test_a_reported_file_needs_its_message(client: Client, missing: str) -> None:
    named: dict[str, Any] = {"file_id": 1, "chat_id": CHAT, "message_id": 1}
    del named[missing]
    assert (await client.refusal(GetReportedFileRequest(file=FileRef(**named))))[1] == missing


async def test_refused_files(client: Client, files: Sequence[StoredFile]) -> None:
    full, busy, long = reservation(9, size=2), reservation(9), reservation(9, name="n" * 256)
    full.quota_bytes, busy.max_uploads = 1, 0
    assert await client.refusal(full) == (Code.TOO_LARGE, "size")
    assert await client.refusal(busy) == (Code.RATE_LIMITED, "client_file_id")
    assert await client.refusal(long) == (Code.INVALID, "name")
    done = StoredFile(file=FileInfo(file_id=9), owner_id=ALICE, state=FILE_STATE_COMPLETE)
    assert await client.refusal(CompleteFileRequest(file=done)) == (Code.NOT_FOUND, "file_id")
    done.state = FILE_STATE_UPLOADING
    assert await client.refusal(CompleteFileRequest(file=done)) == (Code.INVALID, "state")
    assert await client.refusal(CancelFileRequest(user_id=ALICE, file_id=1)) == (Code.OUT_OF_ORDER, "file_id")
    many = GetFilesRequest(user_id=ALICE, files=[ref(1)] * 101)
    assert await client.refusal(many) == (Code.TOO_LARGE, "files")
    listing = ListChatFilesRequest(user_id=ALICE, chat_id=CHAT, limit=1)
    assert await client.refusal(listing) == (Code.INVALID, "file_class")

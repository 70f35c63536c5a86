"""Every path on which the archive returns messages of a group, for every role at every moment, on every engine."""

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
import trio

from messaging.archive.queries import ArchiveQueries
from messaging.archive.store.protocol import ChatStore
from rookery.v1.archive_pb2 import (
    FILE_CLASS_LINKS,
    FILE_CLASS_MEDIA,
    FILE_STATE_COMPLETE,
    GetChatRequest,
    GetFilesRequest,
    GetMessageRequest,
    ListChangesRequest,
    ListChatFilesRequest,
    ListMarksRequest,
    ListMembersRequest,
    ListMessagesRequest,
    ListVersionsRequest,
    StoredFile,
)
from rookery.v1.files_pb2 import FileInfo, FileRef
from rookery.v1.groups_pb2 import ROLE_ADMIN, ROLE_GUEST, ROLE_MEMBER, ROLE_OWNER, ROLE_UNSPECIFIED, GroupSettings
from shared.contract.errors import Code, Refusal
from shared.contract.groups import DEFAULT_PERMISSIONS
from shared.contract.ids import MAX_ID, time_of
from tests.messaging.archive.conftest import PARTITIONS
from tests.messaging.archive.store.chats import ALL, START, Company, logged, users

if TYPE_CHECKING:
    from rookery.v1.session_pb2 import Event

ROLES = ["owner", "admin", "member", "guest", "former", "returned", "asking", "stranger"]
OWNER, ADMIN, MEMBER, GUEST, FORMER, RETURNED, ASKING, STRANGER = range(8)

PRESENT = {OWNER, ADMIN, MEMBER, GUEST, RETURNED}

IN_SPANS = {OWNER: {0, 1, 2, 3}, ADMIN: {1, 2, 3}, MEMBER: {1, 2, 3}, GUEST: {1, 2, 3}, FORMER: {1}, RETURNED: {1, 3}}
"""The moments, by their number, at which the user was a member. Before each but the first, members changed."""


class Talk:
    """A group whose owner writes at four moments: an edited and pinned message with a file and a link, which replies to
    the one before. It mentions everyone; after the edit at two of the moments, each user by name."""

    def __init__(self, *, shows_history: bool) -> None:
        self.crew = crew = Company(members=tuple(islice(users, len(ROLES))))
        self.shows_history = shows_history
        settings = GroupSettings(name="Crew", permissions=DEFAULT_PERMISSIONS, shows_history=shows_history)
        self.messages: list[Event] = []
        self.events = [crew.control({OWNER: ROLE_OWNER}, settings=settings)]
        self._write()
        joining = {ADMIN: ROLE_ADMIN, GUEST: ROLE_GUEST, MEMBER: ROLE_MEMBER, FORMER: ROLE_MEMBER}
        self.events.append(crew.control(joining | {RETURNED: ROLE_MEMBER}))
        self._write()
        self.events.append(crew.mark(FORMER, read=self.messages[-1].event_id))
        self.events.append(crew.control({FORMER: ROLE_UNSPECIFIED, RETURNED: ROLE_UNSPECIFIED}))
        self._write()
        self.events.append(crew.control({RETURNED: ROLE_MEMBER}, asking={ASKING: True}))
        self._write()

    def _write(self) -> None:
        message = self.crew.message(OWNER, body="see https://example.com", mentions=[ALL])
        message.message.files.append(FileInfo(file_id=message.event_id, media_type="image/png", width=1))
        message.message.reply_to = self.messages[-1].event_id if self.messages else 0
        mentions = [*range(len(ROLES))] if len(self.messages) % 2 else [ALL]
        self.messages.append(message)
        pin = self.crew.toggle("pinned", message.event_id, OWNER)
        self.events += [message, self.crew.edit(message.event_id, "see https://example.org", OWNER, mentions), pin]

    @property
    def stored_files(self) -> list[StoredFile]:
        """The complete files of the messages, which a user outside the group has uploaded."""
        files = [message.message.files[0] for message in self.messages]
        states = {"owner_id": 1, "state": FILE_STATE_COMPLETE}
        return [StoredFile(file=file, reserved_at_ms=time_of(file.file_id), **states) for file in files]  # type: ignore[arg-type]

    def readable(self, user: int) -> list[int]:
        """The ids of the messages that the user may read."""
        moments = IN_SPANS.get(user, set())
        if self.shows_history and user in PRESENT:
            moments = {0, 1, 2, 3}
        return [self.messages[moment].event_id for moment in sorted(moments)]

    def written(self, message_ids: Sequence[int]) -> list[int]:
        """Those of the ids that are of messages of the owner, without the lines of control changes."""
        return [each for each in message_ids if each in {message.event_id for message in self.messages}]


@pytest.fixture(params=[False, True], ids=["from joining on", "all history"])
async def talk(request: pytest.FixtureRequest, chats: ChatStore) -> Talk:
    talk = Talk(shows_history=request.param)
    for file in talk.stored_files:
        await chats.files.reserve(str(file.file.file_id), file, quota_bytes=MAX_ID, max_uploads=10)
        await chats.files.complete(file, file.reserved_at_ms)
    await chats.record(logged(*talk.events), {})
    return talk


async def test_users_who_were_never_members_read_nothing_on_any_path(chats: ChatStore, talk: Talk) -> None:
    async with trio.open_nursery() as nursery:
        for user in (ASKING, STRANGER):
            nursery.start_soon(check_refused, chats, talk, user)


async def test_users_read_the_messages_of_their_spans_on_every_path(chats: ChatStore, talk: Talk) -> None:
    async with trio.open_nursery() as nursery:
        for user in IN_SPANS:
            nursery.start_soon(check_paths, chats, talk, user)


async def test_unread_mentions_count_from_the_last_joining_and_end_with_the_membership(
    chats: ChatStore, talk: Talk
) -> None:
    """Each user reads one moment after the other."""
    last = {OWNER: set[int](), ADMIN: {1, 2, 3}, MEMBER: {1, 2, 3}, GUEST: {1, 2, 3}, FORMER: set[int](), RETURNED: {3}}
    for moment in (-1, *range(len(talk.messages))):
        if moment >= 0:
            newest = talk.messages[moment].event_id
            await chats.record(logged(*[talk.crew.mark(each, read=newest) for each in sorted(PRESENT)]), {})
        for user, moments in last.items():
            queries, of_chat = queries_of(chats, talk, user)
            answer: Any = await queries.GetChat(GetChatRequest(**of_chat))
            assert answer.chat.unread_mentions == sum(each > moment for each in moments), (ROLES[user], moment)


async def test_the_members_and_the_readers_of_a_message_are_listed_for_members(chats: ChatStore, talk: Talk) -> None:
    newest = talk.messages[-1].event_id
    await chats.record(logged(*[talk.crew.mark(each, read=newest) for each in sorted(PRESENT)]), {})
    for user in IN_SPANS:
        queries, of_chat = queries_of(chats, talk, user)
        members: Any = await queries.ListMembers(ListMembersRequest(**of_chat, limit=50))
        present = sorted(talk.crew.members[each] for each in PRESENT) if user in PRESENT else []
        assert sorted(member.user_id for member in members.members) == present, ROLES[user]
        search = ListMembersRequest(**of_chat, limit=1, user_ids=talk.crew.members)
        found: Any = await queries.ListMembers(search)
        assert sorted(member.user_id for member in found.members) == present, ROLES[user]
        for message in talk.messages:
            seen: Any = await queries.ListMarks(ListMarksRequest(**of_chat, from_id=message.event_id))
            readers = [each for each in PRESENT if message.event_id in talk.readable(each)] if user in PRESENT else []
            assert {mark.user_id for mark in seen.marks} == {talk.crew.members[each] for each in readers}, ROLES[user]


async def check_refused(chats: ChatStore, talk: Talk, user: int) -> None:
    queries, of_chat = queries_of(chats, talk, user)
    message_id = talk.messages[1].event_id
    requests: list[tuple[Any, Any]] = [
        (ListMessagesRequest(**of_chat, limit=9), queries.ListMessages),
        (ListMessagesRequest(**of_chat, limit=9, having="pinned"), queries.ListMessages),
        (GetMessageRequest(**of_chat, message_id=message_id), queries.GetMessage),
        (ListChangesRequest(**of_chat, after=START), queries.ListChanges),
        (ListVersionsRequest(**of_chat, message_id=message_id, kind="edited"), queries.ListVersions),
        (ListChatFilesRequest(**of_chat, file_class=FILE_CLASS_MEDIA, limit=9), queries.ListChatFiles),
        (ListMembersRequest(**of_chat, limit=9), queries.ListMembers),
        (ListMembersRequest(**of_chat, limit=1, user_ids=talk.crew.members), queries.ListMembers),
        (ListMarksRequest(**of_chat), queries.ListMarks),
    ]
    for request, query in requests:
        answer = await query(request)
        assert isinstance(answer, Refusal), (ROLES[user], request)
        assert (answer.code, answer.field) == (Code.NOT_FOUND, "chat_id")
    assert await readable_files(queries, talk, user) == [], ROLES[user]


async def check_paths(chats: ChatStore, talk: Talk, user: int) -> None:
    queries, of_chat = queries_of(chats, talk, user)
    role, readable = ROLES[user], talk.readable(user)
    begin, end = talk.messages[0].event_id, talk.messages[-1].event_id
    anchors: list[dict[str, Any]] = [{}, {"before_id": end + 1}, {"after_id": begin - 1}, {"around_id": end}]
    anchors.append({"around_ms": time_of(end)})
    for anchor in anchors:
        page: Any = await queries.ListMessages(ListMessagesRequest(**of_chat, limit=50, **anchor))
        assert talk.written([each.message.message_id for each in page.messages]) == readable, (role, anchor)
    pinned: Any = await queries.ListMessages(ListMessagesRequest(**of_chat, limit=50, having="pinned"))
    assert [each.message.message_id for each in pinned.messages] == readable, role
    feed: Any = await queries.ListChanges(ListChangesRequest(**of_chat, after=START))
    assert talk.written([event.event_id for event in feed.events]) == readable, role
    assert {event.change.target_id for event in feed.events if event.change.target_id} == set(readable), role
    for file_class in (FILE_CLASS_MEDIA, FILE_CLASS_LINKS):
        request = ListChatFilesRequest(**of_chat, file_class=file_class, limit=9, before_id=MAX_ID)
        listed: Any = await queries.ListChatFiles(request)
        assert sorted(each.message.message_id for each in listed.messages) == readable, role
    assert await readable_files(queries, talk, user) == readable, role
    for message_id, quoted_id in ((each.event_id, each.message.reply_to) for each in talk.messages):
        found: Any = await queries.GetMessage(GetMessageRequest(**of_chat, message_id=message_id))
        assert found.HasField("message") == (message_id in readable), role
        assert found.message.message.reply_to == (quoted_id if message_id in readable else 0), role
        if message_id in readable and quoted_id:
            quoted: Any = await queries.GetMessage(GetMessageRequest(**of_chat, message_id=quoted_id))
            assert quoted.HasField("message") == (quoted_id in readable), role
        versions: Any = await queries.ListVersions(ListVersionsRequest(**of_chat, message_id=message_id, kind="edited"))
        assert bool(versions.changes) == (message_id in readable), role


def queries_of(chats: ChatStore, talk: Talk, user: int) -> tuple[ArchiveQueries, dict[str, Any]]:
    """The queries, and the fields of a request of this user for the group."""
    return ArchiveQueries(chats, PARTITIONS), {"user_id": talk.crew.members[user], "chat_id": talk.crew.chat_id}


async def readable_files(queries: ArchiveQueries, talk: Talk, user: int) -> list[int]:
    """The ids of the messages whose file the user may read."""
    refs = [
        FileRef(file_id=each.event_id, chat_id=talk.crew.chat_id, message_id=each.event_id) for each in talk.messages
    ]
    found: Any = await queries.GetFiles(GetFilesRequest(user_id=talk.crew.members[user], files=refs))
    return [each.file.file_id for each in found.files]

"""The query service: validates requests, and answers them from the store."""

# The generated base class calls every request `input_message`:
# pyright: reportIncompatibleMethodOverride=false

from collections.abc import Sequence

from messaging.archive.checks import (
    MAX_LIMIT,
    check_bytes,
    check_chat,
    check_cursor,
    check_group,
    check_having,
    check_kind,
    check_range,
    check_users,
    unless_unavailable,
)
from messaging.archive.file_queries import FileQueries
from messaging.archive.pages import (
    MAX_PAGE_BYTES,
    around,
    decode_cursor,
    decode_public_cursor,
    encode_cursor,
    encode_public_cursor,
    fitting,
    newest_of,
    oldest_of,
)
from messaging.archive.reader import Reader, open_reader
from messaging.archive.store.protocol import FIRST_PUBLIC, ChatCursor, ChatStore, Page, PublicCursor
from messaging.archive.visibility import View
from messaging.archive.watermark import Watermark
from rookery.v1.archive_pb2 import (
    CHAT_KIND_DIRECT,
    CHAT_KIND_GROUP,
    Chat,
    FindSentRequest,
    FindSentResponse,
    GetChatRequest,
    GetChatResponse,
    GetGroupRequest,
    GetGroupResponse,
    GetMessageRequest,
    GetMessageResponse,
    Group,
    ListChangesRequest,
    ListChangesResponse,
    ListChatsRequest,
    ListChatsResponse,
    ListMarksRequest,
    ListMarksResponse,
    ListMembersRequest,
    ListMembersResponse,
    ListMessagesRequest,
    ListMessagesResponse,
    ListPublicChatsRequest,
    ListPublicChatsResponse,
    ListVersionsRequest,
    ListVersionsResponse,
)
from shared.contract.changes import KINDS, VERSIONED
from shared.contract.chats import MAX_STORED_CLIENT_ID, direct_members, no_such_chat
from shared.contract.errors import Code, Refusal
from shared.contract.groups import MAX_LOOKED_UP, MAX_MEMBERS, MAX_QUERY, is_within
from shared.contract.ids import MAX_ID, first_id_at, time_of, wall_clock_ms

MAX_CHANGES_AGE_MS = 30 * 24 * 3600 * 1000
"""How old the `after` of ListChanges may be: see archive.proto."""


class ArchiveQueries(FileQueries):
    """ArchiveService, as archive.proto describes it. Each method returns the response, or a refusal."""

    def __init__(self, chats: ChatStore, partitions: int) -> None:
        """`partitions` is the number of partitions of the log."""
        super().__init__(chats, Watermark(chats, partitions))

    async def run(self) -> None:
        """Prepare the responses to further queries, for ever."""
        await self._watermark.refresh()

    async def ListChats(self, request: ListChatsRequest) -> ListChatsResponse | Refusal:
        after = decode_cursor(request.cursor) if request.cursor else None
        refusal = (
            check_range("user_id", request.user_id, 1, MAX_ID)
            or check_range("limit", request.limit, 1, MAX_LIMIT)
            or check_range("changed_since_ms", request.changed_since_ms, 0, MAX_ID)
            or check_cursor(request.cursor, after)
        )
        if refusal:
            return refusal
        return await unless_unavailable(self._list_chats(request, after))

    async def GetChat(self, request: GetChatRequest) -> GetChatResponse | Refusal:
        if refusal := check_chat(request):
            return refusal
        return await unless_unavailable(self._get_chat(request))

    async def ListMessages(self, request: ListMessagesRequest) -> ListMessagesResponse | Refusal:
        anchor = request.WhichOneof("anchor")
        anchor_value = 0 if anchor is None else getattr(request, anchor)
        refusal = (
            check_chat(request)
            or check_range("limit", request.limit, 1, MAX_LIMIT)
            or check_range(anchor or "anchor", anchor_value, 0, MAX_ID)
            or check_having(request.having, anchor)
        )
        if refusal:
            return refusal
        return await unless_unavailable(self._list_messages(request, anchor))

    async def GetMessage(self, request: GetMessageRequest) -> GetMessageResponse | Refusal:
        refusal = check_chat(request) or check_range("message_id", request.message_id, 1, MAX_ID)
        if refusal:
            return refusal
        return await unless_unavailable(self._get_message(request))

    async def FindSent(self, request: FindSentRequest) -> FindSentResponse | Refusal:
        """In a group, former members and other users are allowed too: each finds only their own events."""
        refusal = check_chat(request) or check_bytes("client_id", request.client_id, MAX_STORED_CLIENT_ID)
        if refusal:
            return refusal
        event = await unless_unavailable(self._chats.find_sent(request.chat_id, request.user_id, request.client_id))
        return event if isinstance(event, Refusal) else FindSentResponse(event=event)

    async def ListChanges(self, request: ListChangesRequest) -> ListChangesResponse | Refusal:
        refusal = check_chat(request) or check_range("after", request.after, 0, MAX_ID)
        if refusal:
            return refusal
        return await unless_unavailable(self._list_changes(request))

    async def ListVersions(self, request: ListVersionsRequest) -> ListVersionsResponse | Refusal:
        refusal = (
            check_chat(request)
            or check_kind("kind", request.kind, VERSIONED)
            or check_range("message_id", request.message_id, 1, MAX_ID)
        )
        if refusal:
            return refusal
        return await unless_unavailable(self._list_versions(request))

    async def ListMembers(self, request: ListMembersRequest) -> ListMembersResponse | Refusal:
        refusal = (
            check_chat(request)
            or check_group(request.chat_id)
            or check_range("limit", request.limit, 1, MAX_MEMBERS)
            or check_range("after", request.after, 0, MAX_ID)
            or check_users(request.user_ids, MAX_LIMIT)
        )
        if refusal:
            return refusal
        return await unless_unavailable(self._list_members(request))

    async def ListMarks(self, request: ListMarksRequest) -> ListMarksResponse | Refusal:
        refusal = check_chat(request) or check_range("from_id", request.from_id, 0, MAX_ID)
        if refusal:
            return refusal
        return await unless_unavailable(self._list_marks(request))

    async def ListPublicChats(self, request: ListPublicChatsRequest) -> ListPublicChatsResponse | Refusal:
        after = decode_public_cursor(request.cursor) if request.cursor else None
        refusal = (
            check_range("user_id", request.user_id, 1, MAX_ID)
            or check_range("limit", request.limit, 1, MAX_LIMIT)
            or check_cursor(request.cursor, after)
        )
        if refusal:
            return refusal
        if len(request.query) > MAX_QUERY:
            return Refusal(Code.TOO_LARGE, f"`query` must have at most {MAX_QUERY} characters.", field="query")
        return await unless_unavailable(self._list_public(request, after or FIRST_PUBLIC))

    async def GetGroup(self, request: GetGroupRequest) -> GetGroupResponse | Refusal:
        if refusal := check_group(request.chat_id) or check_users(request.user_ids, MAX_LOOKED_UP):
            return refusal
        group = await unless_unavailable(self._chats.get_group(request.chat_id, request.user_ids))
        return group if isinstance(group, Refusal) else GetGroupResponse(group=group)

    async def _get_chat(self, request: GetChatRequest) -> GetChatResponse | Refusal:
        chat = await self._chats.get_chat(request.user_id, request.chat_id)
        if chat is None:
            members = direct_members(request.chat_id)
            if members is None:
                return no_such_chat()
            chat = Chat(chat_id=request.chat_id, kind=CHAT_KIND_DIRECT, member_ids=members)
        _cut(chat, request.user_id)
        return GetChatResponse(chat=chat)

    async def _get_message(self, request: GetMessageRequest) -> GetMessageResponse | Refusal:
        complete_up_to = await self._watermark.complete_up_to()
        reader = await open_reader(self._chats, request.user_id, request.chat_id)
        if isinstance(reader, Refusal):
            return reader
        message = await reader.get_message(request.message_id)
        return GetMessageResponse(message=message, complete_up_to=complete_up_to)

    async def _list_chats(self, request: ListChatsRequest, after: ChatCursor | None) -> ListChatsResponse:
        complete_up_to = await self._watermark.complete_up_to()
        chats = await self._chats.list_chats(
            request.user_id, changed_since_ms=request.changed_since_ms, limit=request.limit + 1, after=after
        )
        for chat in chats:
            _cut(chat, request.user_id)
        return _page_of_chats(chats, request.limit, complete_up_to)

    async def _list_messages(self, request: ListMessagesRequest, anchor: str | None) -> ListMessagesResponse | Refusal:
        complete_up_to = await self._watermark.complete_up_to()
        reader = await open_reader(self._chats, request.user_id, request.chat_id)
        if isinstance(reader, Refusal):
            return reader
        page = await _page(reader, request, anchor)
        return ListMessagesResponse(
            messages=page.messages, has_older=page.has_older, has_newer=page.has_newer, complete_up_to=complete_up_to
        )

    async def _list_changes(self, request: ListChangesRequest) -> ListChangesResponse | Refusal:
        complete_up_to = await self._watermark.complete_up_to()
        reader = await open_reader(self._chats, request.user_id, request.chat_id)
        if isinstance(reader, Refusal):
            return reader
        if time_of(request.after) < wall_clock_ms() - MAX_CHANGES_AGE_MS:
            return ListChangesResponse(too_old=True)
        events = await reader.events_after(request.after)
        if events is None or sum(event.ByteSize() for event in events) > MAX_PAGE_BYTES:
            return ListChangesResponse(too_old=True)
        return ListChangesResponse(events=events, complete_up_to=complete_up_to)

    async def _list_versions(self, request: ListVersionsRequest) -> ListVersionsResponse | Refusal:
        reader = await open_reader(self._chats, request.user_id, request.chat_id)
        if isinstance(reader, Refusal):
            return reader
        changes = await reader.versions(request.message_id, KINDS[request.kind])
        return ListVersionsResponse(changes=fitting(reversed(changes), MAX_PAGE_BYTES)[::-1])

    async def _list_members(self, request: ListMembersRequest) -> ListMembersResponse | Refusal:
        membership = await self._chats.get_member(request.chat_id, request.user_id)
        if membership is None:
            return no_such_chat()
        if not membership.member.role:
            return ListMembersResponse(version=membership.member.version)
        if request.user_ids:
            return await self._named_members(request)
        return await self._chats.list_members(request.chat_id, after=request.after, limit=request.limit)

    async def _named_members(self, request: ListMembersRequest) -> ListMembersResponse:
        named = {*request.user_ids}
        group = await self._chats.get_group(request.chat_id, named) or Group()
        members = (member for member in group.members if member.role and member.user_id in named)
        return ListMembersResponse(members=members, version=group.version)

    async def _list_public(self, request: ListPublicChatsRequest, after: PublicCursor) -> ListPublicChatsResponse:
        limit = request.limit
        chats = await self._chats.list_public_chats(request.user_id, request.query, after=after, limit=limit + 1)
        next_cursor = ""
        if len(chats) > limit:
            last = chats[limit - 1]
            next_cursor = encode_public_cursor(PublicCursor(last.settings.name.casefold(), last.chat_id))
        return ListPublicChatsResponse(chats=chats[:limit], next_cursor=next_cursor)

    async def _list_marks(self, request: ListMarksRequest) -> ListMarksResponse | Refusal:
        shows_history = True
        if direct_members(request.chat_id) is None:
            membership = await self._chats.get_member(request.chat_id, request.user_id)
            if membership is None:
                return no_such_chat()
            if not membership.member.role or membership.settings.is_channel:
                return ListMarksResponse()
            shows_history = membership.settings.shows_history
        marks = await self._chats.list_marks(request.chat_id, from_id=request.from_id, limit=MAX_MEMBERS)
        if request.from_id and not shows_history:
            readers = await self._readers(request.chat_id, request.from_id)
            marks = [mark for mark in marks if mark.user_id in readers]
        return ListMarksResponse(marks=marks)

    async def _readers(self, chat_id: str, event_id: int) -> set[int]:
        """The members of a group without `shows_history` in whose spans the event is."""
        page = await self._chats.list_members(chat_id, after=0, limit=MAX_MEMBERS)
        return {member.user_id for member in page.members if is_within(member.spans, event_id)}


async def _page(reader: Reader, request: ListMessagesRequest, anchor: str | None) -> Page:
    match anchor:
        case None | "before_id" if request.having:
            before_id = request.before_id if anchor else MAX_ID
            page = await reader.messages_having(KINDS[request.having], before_id, request.limit)
            return newest_of(page, request.limit)
        case None:
            return await _before(reader, MAX_ID, request.limit)
        case "before_id":
            return await _before(reader, request.before_id, request.limit)
        case "after_id":
            return await _after(reader, request.after_id, request.limit)
        case "around_id":
            return await _around(reader, request.around_id, request.limit)
        case "before_ms":
            return await _before(reader, first_id_at(request.before_ms), request.limit)
        case "after_ms":  # from the moment on
            return await _after(reader, first_id_at(request.after_ms) - 1, request.limit)
        case "around_ms":
            return await _around(reader, first_id_at(request.around_ms), request.limit)
        case _:
            raise AssertionError(f"archive.proto has an anchor without a query: {anchor}")


async def _before(reader: Reader, before_id: int, limit: int) -> Page:
    return newest_of(await reader.messages_before(before_id, limit), limit)


async def _after(reader: Reader, after_id: int, limit: int) -> Page:
    return oldest_of(await reader.messages_after(after_id, limit), limit)


async def _around(reader: Reader, around_id: int, limit: int) -> Page:
    older = await reader.messages_before(around_id, limit)
    newer = await reader.messages_after(around_id - 1, limit)
    return around(older, newer, limit)


def _page_of_chats(chats: Sequence[Chat], limit: int, complete_up_to: int) -> ListChatsResponse:
    """The first `limit` chats, or as many as one response may hold, and the cursor of the next page if there is one."""
    page = fitting(chats[:limit], MAX_PAGE_BYTES)
    if len(page) == len(chats):
        return ListChatsResponse(chats=page, complete_up_to=complete_up_to)
    next_cursor = encode_cursor(ChatCursor.of(page[-1]))
    return ListChatsResponse(chats=page, next_cursor=next_cursor, complete_up_to=complete_up_to)


def _cut(chat: Chat, user_id: int) -> None:
    """Remove the changes that the user may not read."""
    view = View(user_id)
    if chat.kind == CHAT_KIND_GROUP:
        view = View.of_member(chat.own, shows_history=chat.settings.shows_history)
    view.cut_chat(chat)

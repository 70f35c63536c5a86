"""The query service: validates requests, and answers them from the store."""

# The generated base class calls every request `input_message`:
# pyright: reportIncompatibleMethodOverride=false

from collections.abc import Awaitable, Sequence
from typing import Protocol, TypeVar

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
from messaging.archive.reader import Reader
from messaging.archive.store.files import Exceeded
from messaging.archive.store.protocol import FIRST_PUBLIC, ChatCursor, ChatStore, Page, PublicCursor
from messaging.archive.visibility import View
from messaging.archive.watermark import Watermark
from rookery.v1.archive_grpc import ArchiveServiceServicer
from rookery.v1.archive_pb2 import (
    CHAT_KIND_DIRECT,
    CHAT_KIND_GROUP,
    FILE_CLASS_MEDIA,
    FILE_CLASS_OTHER,
    FILE_STATE_BLOCKED,
    FILE_STATE_COMPLETE,
    FILE_STATE_UPLOADING,
    CancelFileRequest,
    CancelFileResponse,
    Chat,
    CompleteFileRequest,
    CompleteFileResponse,
    FindSentRequest,
    FindSentResponse,
    GetChatRequest,
    GetChatResponse,
    GetFilesRequest,
    GetFilesResponse,
    GetGroupRequest,
    GetGroupResponse,
    GetMessageRequest,
    GetMessageResponse,
    Group,
    ListChangesRequest,
    ListChangesResponse,
    ListChatFilesRequest,
    ListChatFilesResponse,
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
    ReserveFileRequest,
    ReserveFileResponse,
    StoredFile,
)
from rookery.v1.files_pb2 import FileRef
from shared.archive import UNAVAILABLE
from shared.contract.changes import KINDS, LISTED, VERSIONED
from shared.contract.chats import MAX_CLIENT_ID, MAX_STORED_CLIENT_ID, direct_members, is_group, no_such_chat
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.groups import MAX_LOOKED_UP, MAX_MEMBERS
from shared.contract.ids import MAX_ID, first_id_at, time_of, wall_clock_ms

MAX_LIMIT = 100
"""Chats or messages on a page at most: see archive.proto."""

MAX_QUERY = 64
"""Characters of a search: see archive.proto."""

MAX_CHANGES_AGE_MS = 30 * 24 * 3600 * 1000
"""How old the `after` of ListChanges may be: see archive.proto."""

MAX_FILES = 100
"""References of GetFiles at most: see archive.proto."""

MAX_FILE_NAME = 255
"""Bytes of a file's name: see files.proto."""

Result = TypeVar("Result")


class _OfChat(Protocol):
    """A request of a user for a chat."""

    @property
    def user_id(self) -> int: ...
    @property
    def chat_id(self) -> str: ...


class ArchiveQueries(ArchiveServiceServicer):
    """ArchiveService, as archive.proto describes it. Each method returns the response, or a refusal."""

    def __init__(self, chats: ChatStore, partitions: int) -> None:
        """`partitions` is the number of partitions of the log."""
        self._chats = chats
        self._watermark = Watermark(chats, partitions)

    async def ListChats(self, request: ListChatsRequest) -> ListChatsResponse | Refusal:
        after = decode_cursor(request.cursor) if request.cursor else None
        refusal = (
            _check_range("user_id", request.user_id, 1, MAX_ID)
            or _check_range("limit", request.limit, 1, MAX_LIMIT)
            or _check_range("changed_since_ms", request.changed_since_ms, 0, MAX_ID)
            or _check_cursor(request.cursor, after)
        )
        if refusal:
            return refusal
        return await _unless_unavailable(self._list_chats(request, after))

    async def GetChat(self, request: GetChatRequest) -> GetChatResponse | Refusal:
        if refusal := _check_chat(request):
            return refusal
        return await _unless_unavailable(self._get_chat(request))

    async def ListMessages(self, request: ListMessagesRequest) -> ListMessagesResponse | Refusal:
        anchor = request.WhichOneof("anchor")
        anchor_value = 0 if anchor is None else getattr(request, anchor)
        refusal = (
            _check_chat(request)
            or _check_range("limit", request.limit, 1, MAX_LIMIT)
            or _check_range(anchor or "anchor", anchor_value, 0, MAX_ID)
            or _check_having(request.having, anchor)
        )
        if refusal:
            return refusal
        return await _unless_unavailable(self._list_messages(request, anchor))

    async def GetMessage(self, request: GetMessageRequest) -> GetMessageResponse | Refusal:
        refusal = _check_chat(request) or _check_range("message_id", request.message_id, 1, MAX_ID)
        if refusal:
            return refusal
        return await _unless_unavailable(self._get_message(request))

    async def FindSent(self, request: FindSentRequest) -> FindSentResponse | Refusal:
        """In a group, former members and other users are allowed too: each finds only their own events."""
        refusal = _check_chat(request) or _check_bytes("client_id", request.client_id, MAX_STORED_CLIENT_ID)
        if refusal:
            return refusal
        event = await _unless_unavailable(self._chats.find_sent(request.chat_id, request.user_id, request.client_id))
        return event if isinstance(event, Refusal) else FindSentResponse(event=event)

    async def ListChanges(self, request: ListChangesRequest) -> ListChangesResponse | Refusal:
        refusal = _check_chat(request) or _check_range("after", request.after, 0, MAX_ID)
        if refusal:
            return refusal
        return await _unless_unavailable(self._list_changes(request))

    async def ListVersions(self, request: ListVersionsRequest) -> ListVersionsResponse | Refusal:
        refusal = (
            _check_chat(request)
            or _check_kind("kind", request.kind, VERSIONED)
            or _check_range("message_id", request.message_id, 1, MAX_ID)
        )
        if refusal:
            return refusal
        return await _unless_unavailable(self._list_versions(request))

    async def ListMembers(self, request: ListMembersRequest) -> ListMembersResponse | Refusal:
        refusal = (
            _check_chat(request)
            or _check_group(request.chat_id)
            or _check_range("limit", request.limit, 1, MAX_MEMBERS)
            or _check_range("after", request.after, 0, MAX_ID)
            or _check_users(request.user_ids, MAX_LIMIT)
        )
        if refusal:
            return refusal
        return await _unless_unavailable(self._list_members(request))

    async def ListMarks(self, request: ListMarksRequest) -> ListMarksResponse | Refusal:
        refusal = _check_chat(request) or _check_range("from_id", request.from_id, 0, MAX_ID)
        if refusal:
            return refusal
        return await _unless_unavailable(self._list_marks(request))

    async def ListPublicChats(self, request: ListPublicChatsRequest) -> ListPublicChatsResponse | Refusal:
        after = decode_public_cursor(request.cursor) if request.cursor else None
        refusal = (
            _check_range("user_id", request.user_id, 1, MAX_ID)
            or _check_range("limit", request.limit, 1, MAX_LIMIT)
            or _check_cursor(request.cursor, after)
        )
        if refusal:
            return refusal
        if len(request.query) > MAX_QUERY:
            return Refusal(Code.TOO_LARGE, f"`query` must have at most {MAX_QUERY} characters.", field="query")
        return await _unless_unavailable(self._list_public(request, after or FIRST_PUBLIC))

    async def GetGroup(self, request: GetGroupRequest) -> GetGroupResponse | Refusal:
        if refusal := _check_group(request.chat_id) or _check_users(request.user_ids, MAX_LOOKED_UP):
            return refusal
        group = await _unless_unavailable(self._chats.get_group(request.chat_id, request.user_ids))
        return group if isinstance(group, Refusal) else GetGroupResponse(group=group)

    async def ReserveFile(self, request: ReserveFileRequest) -> ReserveFileResponse | Refusal:
        file = request.file.file
        refusal = (
            _check_range("user_id", request.user_id, 1, MAX_ID)
            or _check_bytes("client_file_id", request.client_file_id, MAX_CLIENT_ID)
            or _check_range("file_id", file.file_id, 1, MAX_ID)
            or _check_bytes("name", file.name, MAX_FILE_NAME)
            or _check_range("size", file.size, 0, MAX_ID)
        )
        if refusal:
            return refusal
        return await _unless_unavailable(self._reserve_file(request))

    async def CompleteFile(self, request: CompleteFileRequest) -> CompleteFileResponse | Refusal:
        file = request.file
        refusal = (
            _check_range("owner_id", file.owner_id, 1, MAX_ID)
            or _check_range("file_id", file.file.file_id, 1, MAX_ID)
            or _check_range("state", file.state, FILE_STATE_COMPLETE, FILE_STATE_BLOCKED)
            or _check_range("size", file.file.size, 0, MAX_ID)
        )
        if refusal:
            return refusal
        stored = await _unless_unavailable(self._chats.files.complete(file, wall_clock_ms()))
        if stored is None:
            return Refusal(Code.NOT_FOUND, "There is no such file among yours.", field="file_id")
        return stored if isinstance(stored, Refusal) else CompleteFileResponse(file=stored)

    async def CancelFile(self, request: CancelFileRequest) -> CancelFileResponse | Refusal:
        refusal = _check_range("user_id", request.user_id, 1, MAX_ID) or _check_range(
            "file_id", request.file_id, 1, MAX_ID
        )
        if refusal:
            return refusal
        cancel = self._chats.files.cancel(request.user_id, request.file_id, wall_clock_ms())
        is_cancelled = await _unless_unavailable(cancel)
        if not is_cancelled:
            return Refusal(Code.OUT_OF_ORDER, "The file is complete: it can't be cancelled.", field="file_id")
        return is_cancelled if isinstance(is_cancelled, Refusal) else CancelFileResponse()

    async def GetFiles(self, request: GetFilesRequest) -> GetFilesResponse | Refusal:
        if refusal := _check_range("user_id", request.user_id, 1, MAX_ID):
            return refusal
        if len(request.files) > MAX_FILES:
            return Refusal(Code.TOO_LARGE, f"`files` must have at most {MAX_FILES} references.", field="files")
        return await _unless_unavailable(self._get_files(request))

    async def ListChatFiles(self, request: ListChatFilesRequest) -> ListChatFilesResponse | Refusal:
        refusal = (
            _check_chat(request)
            or _check_range("before_id", request.before_id, 0, MAX_ID)
            or _check_range("limit", request.limit, 1, MAX_LIMIT)
            or _check_range("file_class", request.file_class, FILE_CLASS_MEDIA, FILE_CLASS_OTHER)
        )
        if refusal:
            return refusal
        return await _unless_unavailable(self._list_chat_files(request))

    async def _reader(self, user_id: int, chat_id: str) -> Reader | Refusal:
        """The reader of the chat for the user. After the watermark is read: joins up to the watermark count then."""
        if direct_members(chat_id) is not None:
            return Reader(self._chats, chat_id, View(user_id))
        membership = await self._chats.get_member(chat_id, user_id)
        if membership is None:
            return no_such_chat()
        view = View.of_member(membership.member, shows_history=membership.settings.shows_history)
        return Reader(self._chats, chat_id, view, is_channel=membership.settings.is_channel)

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
        reader = await self._reader(request.user_id, request.chat_id)
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
        reader = await self._reader(request.user_id, request.chat_id)
        if isinstance(reader, Refusal):
            return reader
        page = await _page(reader, request, anchor)
        return ListMessagesResponse(
            messages=page.messages, has_older=page.has_older, has_newer=page.has_newer, complete_up_to=complete_up_to
        )

    async def _list_changes(self, request: ListChangesRequest) -> ListChangesResponse | Refusal:
        complete_up_to = await self._watermark.complete_up_to()
        reader = await self._reader(request.user_id, request.chat_id)
        if isinstance(reader, Refusal):
            return reader
        if time_of(request.after) < wall_clock_ms() - MAX_CHANGES_AGE_MS:
            return ListChangesResponse(too_old=True)
        events = await reader.events_after(request.after)
        if events is None or sum(event.ByteSize() for event in events) > MAX_PAGE_BYTES:
            return ListChangesResponse(too_old=True)
        return ListChangesResponse(events=events, complete_up_to=complete_up_to)

    async def _list_versions(self, request: ListVersionsRequest) -> ListVersionsResponse | Refusal:
        reader = await self._reader(request.user_id, request.chat_id)
        if isinstance(reader, Refusal):
            return reader
        return ListVersionsResponse(changes=await reader.versions(request.message_id, KINDS[request.kind]))

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
        if direct_members(request.chat_id) is None:
            membership = await self._chats.get_member(request.chat_id, request.user_id)
            if membership is None:
                return no_such_chat()
            if not membership.member.role or membership.settings.is_channel:
                return ListMarksResponse()
        marks = await self._chats.list_marks(request.chat_id, from_id=request.from_id, limit=MAX_MEMBERS)
        return ListMarksResponse(marks=marks)

    async def _reserve_file(self, request: ReserveFileRequest) -> ReserveFileResponse | Refusal:
        file = StoredFile()
        file.CopyFrom(request.file)
        file.owner_id, file.state, file.reserved_at_ms = request.user_id, FILE_STATE_UPLOADING, wall_clock_ms()
        quota_bytes, max_uploads = request.quota_bytes, request.max_uploads
        match await self._chats.files.reserve(
            request.client_file_id, file, quota_bytes=quota_bytes, max_uploads=max_uploads
        ):
            case Exceeded.QUOTA:
                message = f"Your files must have at most {quota_bytes} bytes together."
                return Refusal(Code.TOO_LARGE, message, field="size")
            case Exceeded.UPLOADS:
                message = f"At most {max_uploads} files can be uploaded at once: complete or cancel one first."
                return Refusal(Code.RATE_LIMITED, message, field="client_file_id")
            case stored:
                return ReserveFileResponse(file=stored)

    async def _get_files(self, request: GetFilesRequest) -> GetFilesResponse:
        user_id, refs = request.user_id, request.files
        rows = await self._chats.files.rows({ref.file_id for ref in refs})
        known = {file_id: row.file for file_id, row in rows.items() if not row.condemned_ms}
        own = {file_id for file_id, file in known.items() if file.owner_id == user_id}
        complete = {file_id for file_id, file in known.items() if file.state == FILE_STATE_COMPLETE}
        readable = own | await self._readable(user_id, [ref for ref in refs if ref.file_id in complete - own])
        in_order = dict.fromkeys(ref.file_id for ref in refs)
        return GetFilesResponse(files=[known[file_id] for file_id in in_order if file_id in readable])

    async def _readable(self, user_id: int, refs: Sequence[FileRef]) -> set[int]:
        """The files that the user may read in the messages that the references name. Access costs one read of the
        message, however many other messages use the file."""
        messages: set[tuple[str, int]] = set()
        for chat_id in {ref.chat_id for ref in refs}:
            in_chat = [ref.message_id for ref in refs if ref.chat_id == chat_id]
            if _check_chat(GetChatRequest(user_id=user_id, chat_id=chat_id)):
                continue
            reader = await self._reader(user_id, chat_id)
            if not isinstance(reader, Refusal):
                messages |= {(chat_id, each) for each in in_chat if 0 < each <= MAX_ID and reader.includes(each)}
        held = await self._chats.files.held_by(messages) if messages else {}
        return {ref.file_id for ref in refs if ref.file_id in held.get((ref.chat_id, ref.message_id), ())}

    async def _list_chat_files(self, request: ListChatFilesRequest) -> ListChatFilesResponse | Refusal:
        reader = await self._reader(request.user_id, request.chat_id)
        if isinstance(reader, Refusal):
            return reader
        before_id, limit = request.before_id or MAX_ID, request.limit
        page = newest_of(await reader.messages_with_files(request.file_class, before_id, limit), limit)
        return ListChatFilesResponse(messages=page.messages[::-1], has_older=page.has_older)


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


def _check_range(field: str, value: int, low: int, high: int) -> Refusal | None:
    if low <= value <= high:
        return None
    return Refusal(Code.INVALID, f"`{field}` must be {low} to {high}, not {value}.", field=field)


def _check_bytes(field: str, text: str, most: int) -> Refusal | None:
    if 0 < len(text.encode()) <= most:
        return None
    return Refusal(Code.INVALID, f"`{field}` must have 1 to {most} bytes.", field=field)


def _check_cursor(text: str, decoded: ChatCursor | PublicCursor | None) -> Refusal | None:
    if not text or decoded is not None:
        return None
    return Refusal(Code.INVALID, "`cursor` must be the `next_cursor` of an earlier page, or empty.", field="cursor")


def _check_chat(request: _OfChat) -> Refusal | None:
    """Refuse a request for a chat that can't be the user's. Of a group, the store knows its members."""
    if refusal := _check_range("user_id", request.user_id, 1, MAX_ID):
        return refusal
    members = direct_members(request.chat_id)
    is_possible = is_group(request.chat_id) if members is None else request.user_id in members
    return None if is_possible else no_such_chat()


def _check_group(chat_id: str) -> Refusal | None:
    if is_group(chat_id):
        return None
    return Refusal(Code.INVALID, "`chat_id` must be that of a group.", field="chat_id")


def _check_users(user_ids: Sequence[int], most: int) -> Refusal | None:
    if len(user_ids) > most:
        message = f"`user_ids` must have at most {most} ids."
        return Refusal(Code.TOO_LARGE, message, field="user_ids")
    bad = (_check_range(f"user_ids[{index}]", user_id, 1, MAX_ID) for index, user_id in enumerate(user_ids))
    return next((refusal for refusal in bad if refusal), None)


def _check_having(name: str, anchor: str | None) -> Refusal | None:
    if not name:
        return None
    if anchor not in (None, "before_id"):
        return Refusal(Code.INVALID, f"`{anchor}` can't be combined with `having`.", field=anchor or "")
    return _check_kind("having", name, LISTED)


def _check_kind(field: str, name: str, allowed: Sequence[str]) -> Refusal | None:
    if name in allowed:
        return None
    return Refusal(Code.INVALID, f"`{field}` must be one of: {', '.join(allowed)}.", field=field)


def _cut(chat: Chat, user_id: int) -> None:
    """Remove the changes that the user may not read."""
    view = View(user_id)
    if chat.kind == CHAT_KIND_GROUP:
        view = View.of_member(chat.own, shows_history=chat.settings.shows_history)
    view.cut_chat(chat)


async def _unless_unavailable(query: Awaitable[Result]) -> Result | Refusal:
    """The store's result; `unavailable` if the engine does not answer."""
    try:
        return await query
    except Unavailable:
        return Refusal(Code.UNAVAILABLE, UNAVAILABLE)

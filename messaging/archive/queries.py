"""The query service: validates requests, and answers them from the store."""

# The generated base class calls every request `input_message`:
# pyright: reportIncompatibleMethodOverride=false

from collections.abc import Awaitable, Callable, Iterable, MutableSequence, Sequence
from functools import partial
from typing import TypeVar

from messaging.archive.pages import MAX_PAGE_BYTES, around, decode_cursor, encode_cursor, fitting, newest_of, oldest_of
from messaging.archive.store.laws import listed_key
from messaging.archive.store.protocol import MAX_CHANGES, MAX_PAGE_CHANGES, ChatCursor, ChatStore, Page
from messaging.archive.watermark import Watermark
from rookery.v1.archive_grpc import ArchiveServiceServicer
from rookery.v1.archive_pb2 import (
    CHAT_KIND_DIRECT,
    Chat,
    FindSentRequest,
    FindSentResponse,
    GetChatRequest,
    GetChatResponse,
    GetMessageRequest,
    GetMessageResponse,
    ListChangesRequest,
    ListChangesResponse,
    ListChatsRequest,
    ListChatsResponse,
    ListMessagesRequest,
    ListMessagesResponse,
    ListVersionsRequest,
    ListVersionsResponse,
)
from rookery.v1.session_pb2 import Change, Event
from shared.archive import UNAVAILABLE
from shared.contract.changes import KINDS, LISTED, VERSIONED, kind_of
from shared.contract.chats import MAX_CLIENT_ID, direct_members
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import MAX_ID, first_id_at, time_of, wall_clock_ms

MAX_LIMIT = 100
"""Chats or messages on a page at most: see archive.proto."""

MAX_CHANGES_AGE_MS = 30 * 24 * 3600 * 1000
"""How old the `after` of ListChanges may be: see archive.proto."""

Result = TypeVar("Result")


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
        members = _members(request.user_id, request.chat_id)
        if isinstance(members, Refusal):
            return members
        chat = await _unless_unavailable(self._chats.get_chat(request.user_id, request.chat_id))
        if isinstance(chat, Refusal):
            return chat
        if chat is None:
            chat = Chat(chat_id=request.chat_id, kind=CHAT_KIND_DIRECT, member_ids=members)
        _hide_in_chat(chat, request.user_id)
        return GetChatResponse(chat=chat)

    async def ListMessages(self, request: ListMessagesRequest) -> ListMessagesResponse | Refusal:
        members = _members(request.user_id, request.chat_id)
        if isinstance(members, Refusal):
            return members
        anchor = request.WhichOneof("anchor")
        anchor_value = 0 if anchor is None else getattr(request, anchor)
        refusal = (
            _check_range("limit", request.limit, 1, MAX_LIMIT)
            or _check_range(anchor or "anchor", anchor_value, 0, MAX_ID)
            or _check_having(request.having, anchor)
        )
        if refusal:
            return refusal
        return await _unless_unavailable(self._list_messages(request, anchor))

    async def GetMessage(self, request: GetMessageRequest) -> GetMessageResponse | Refusal:
        members = _members(request.user_id, request.chat_id)
        if isinstance(members, Refusal):
            return members
        if refusal := _check_range("message_id", request.message_id, 1, MAX_ID):
            return refusal
        return await _unless_unavailable(self._get_message(request))

    async def FindSent(self, request: FindSentRequest) -> FindSentResponse | Refusal:
        members = _members(request.user_id, request.chat_id)
        if isinstance(members, Refusal):
            return members
        if not 0 < len(request.client_id.encode()) <= MAX_CLIENT_ID:
            limits = f"`client_id` must have 1 to {MAX_CLIENT_ID} bytes."
            return Refusal(Code.INVALID, limits, field="client_id")
        event = await _unless_unavailable(self._chats.find_sent(request.chat_id, request.user_id, request.client_id))
        return event if isinstance(event, Refusal) else FindSentResponse(event=event)

    async def ListChanges(self, request: ListChangesRequest) -> ListChangesResponse | Refusal:
        members = _members(request.user_id, request.chat_id)
        if isinstance(members, Refusal):
            return members
        if refusal := _check_range("after", request.after, 0, MAX_ID):
            return refusal
        return await _unless_unavailable(self._list_changes(request))

    async def ListVersions(self, request: ListVersionsRequest) -> ListVersionsResponse | Refusal:
        members = _members(request.user_id, request.chat_id)
        if isinstance(members, Refusal):
            return members
        refusal = _check_kind("kind", request.kind, VERSIONED) or _check_range(
            "message_id", request.message_id, 1, MAX_ID
        )
        if refusal:
            return refusal
        number = KINDS[request.kind].number
        changes = await _unless_unavailable(self._chats.versions(request.chat_id, request.message_id, number))
        return changes if isinstance(changes, Refusal) else ListVersionsResponse(changes=changes)

    async def _get_message(self, request: GetMessageRequest) -> GetMessageResponse:
        complete_up_to = await self._watermark.complete_up_to()
        message = await self._chats.get_message(request.chat_id, request.message_id)
        if message is not None:
            _hide_private(message.changes, request.user_id)
        return GetMessageResponse(message=message, complete_up_to=complete_up_to)

    async def _list_chats(self, request: ListChatsRequest, after: ChatCursor | None) -> ListChatsResponse:
        complete_up_to = await self._watermark.complete_up_to()
        chats = await self._chats.list_chats(
            request.user_id, changed_since_ms=request.changed_since_ms, limit=request.limit + 1, after=after
        )
        for chat in chats:
            _hide_in_chat(chat, request.user_id)
        return _page_of_chats(chats, request.limit, complete_up_to)

    async def _list_messages(self, request: ListMessagesRequest, anchor: str | None) -> ListMessagesResponse:
        complete_up_to = await self._watermark.complete_up_to()
        page = await self._page(request, anchor)
        for message in page.messages:
            _hide_private(message.changes, request.user_id)
        return ListMessagesResponse(
            messages=page.messages, has_older=page.has_older, has_newer=page.has_newer, complete_up_to=complete_up_to
        )

    async def _list_changes(self, request: ListChangesRequest) -> ListChangesResponse:
        complete_up_to = await self._watermark.complete_up_to()
        if time_of(request.after) < wall_clock_ms() - MAX_CHANGES_AGE_MS:
            return ListChangesResponse(too_old=True)
        events = await self._chats.events_after(request.chat_id, request.after)
        if len(events) > MAX_CHANGES or sum(event.ByteSize() for event in events) > MAX_PAGE_BYTES:
            return ListChangesResponse(too_old=True)
        return ListChangesResponse(events=_visible(events, request.user_id), complete_up_to=complete_up_to)

    async def _page(self, request: ListMessagesRequest, anchor: str | None) -> Page:
        match anchor:
            case None | "before_id" if request.having:
                return await self._having(request)
            case None:
                return await self._before(request, MAX_ID)
            case "before_id":
                return await self._before(request, request.before_id)
            case "after_id":
                return await self._after(request, request.after_id)
            case "around_id":
                return await self._around(request, request.around_id)
            case "before_ms":
                return await self._before(request, first_id_at(request.before_ms))
            case "after_ms":  # from the moment on
                return await self._after(request, first_id_at(request.after_ms) - 1)
            case "around_ms":
                return await self._around(request, first_id_at(request.around_ms))
            case _:
                raise AssertionError(f"archive.proto has an anchor without a query: {anchor}")

    async def _having(self, request: ListMessagesRequest) -> Page:
        kind = KINDS[request.having]
        key = listed_key(kind, request.user_id)
        before_id = request.before_id if request.HasField("before_id") else MAX_ID
        read = partial(self._chats.messages_having, request.chat_id, kind.number, key, before_id)
        return newest_of(await _with_states(read, request.limit), request.limit)

    async def _before(self, request: ListMessagesRequest, before_id: int) -> Page:
        read = partial(self._chats.messages_before, request.chat_id, before_id)
        return newest_of(await _with_states(read, request.limit), request.limit)

    async def _after(self, request: ListMessagesRequest, after_id: int) -> Page:
        read = partial(self._chats.messages_after, request.chat_id, after_id)
        return oldest_of(await _with_states(read, request.limit), request.limit)

    async def _around(self, request: ListMessagesRequest, around_id: int) -> Page:
        older = await _with_states(partial(self._chats.messages_before, request.chat_id, around_id), request.limit)
        newer = await _with_states(partial(self._chats.messages_after, request.chat_id, around_id - 1), request.limit)
        return around(older, newer, request.limit)


async def _with_states(read: Callable[[int], Awaitable[Page]], limit: int) -> Page:
    """The page that `read` returns for `limit`, or for less if the store leaves changes of its messages out."""
    page = await read(limit)
    while limit > 1 and sum(len(each.changes) for each in page.messages) >= MAX_PAGE_CHANGES:
        limit //= 2
        page = await read(limit)
    return page


def _page_of_chats(chats: Sequence[Chat], limit: int, complete_up_to: int) -> ListChatsResponse:
    """The first `limit` chats, or as many as one response may hold, and the cursor of the next page if there is one."""
    page = fitting(chats[:limit], MAX_PAGE_BYTES)
    if len(page) == len(chats):
        return ListChatsResponse(chats=page, complete_up_to=complete_up_to)
    last = ChatCursor(page[-1].changed_at_ms, page[-1].chat_id)
    return ListChatsResponse(chats=page, next_cursor=encode_cursor(last), complete_up_to=complete_up_to)


def _check_range(field: str, value: int, low: int, high: int) -> Refusal | None:
    if low <= value <= high:
        return None
    return Refusal(Code.INVALID, f"`{field}` must be {low} to {high}, not {value}.", field=field)


def _check_cursor(text: str, decoded: ChatCursor | None) -> Refusal | None:
    if not text or decoded is not None:
        return None
    return Refusal(Code.INVALID, "`cursor` must be the `next_cursor` of an earlier page, or empty.", field="cursor")


def _members(user_id: int, chat_id: str) -> tuple[int, int] | Refusal:
    """The members of the chat, if the user is one of them. To others it does not exist."""
    if refusal := _check_range("user_id", user_id, 1, MAX_ID):
        return refusal
    members = direct_members(chat_id)
    if members is None or user_id not in members:
        return Refusal(Code.NOT_FOUND, "There is no such chat among yours.", field="chat_id")
    return members


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


def _hide_in_chat(chat: Chat, user_id: int) -> None:
    _hide_private(chat.changes, user_id)
    if chat.HasField("newest"):
        _hide_private(chat.newest.changes, user_id)


def _hide_private(changes: MutableSequence[Event], user_id: int) -> None:
    """Remove the private changes of other users."""
    visible = _visible(changes, user_id)
    if len(visible) < len(changes):
        del changes[:]
        changes.extend(visible)


def _visible(events: Iterable[Event], user_id: int) -> list[Event]:
    """The events without the private changes of other users."""
    return [event for event in events if not _is_hidden(event.change, user_id)]


def _is_hidden(change: Change, user_id: int) -> bool:
    kind = kind_of(change)
    return kind is not None and kind.is_private and change.actor_id != user_id


async def _unless_unavailable(query: Awaitable[Result]) -> Result | Refusal:
    """The store's result; `unavailable` if the engine does not answer."""
    try:
        return await query
    except Unavailable:
        return Refusal(Code.UNAVAILABLE, UNAVAILABLE)

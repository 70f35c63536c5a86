"""The query service: checks what is asked, and answers from the store."""

# The generated base class calls every request `input_message`:
# pyright: reportIncompatibleMethodOverride=false

from collections.abc import Awaitable
from typing import TypeVar

from messaging.archive.pages import MAX_PAGE_BYTES, around, decode_cursor, encode_cursor, fitting, newest_of, oldest_of
from messaging.archive.store.protocol import ChatCursor, ChatStore, Page
from rookery.v1.archive_grpc import ArchiveServiceServicer
from rookery.v1.archive_pb2 import (
    CHAT_KIND_DIRECT,
    Chat,
    GetChatRequest,
    GetChatResponse,
    GetMessageRequest,
    GetMessageResponse,
    ListChatsRequest,
    ListChatsResponse,
    ListMessagesRequest,
    ListMessagesResponse,
)
from shared.contract.chats import direct_members
from shared.contract.errors import Unavailable
from shared.contract.ids import MAX_ID, first_id_at
from shared.rpc import RpcError, Status

MAX_LIMIT = 100
"""Chats or messages on a page at most: see archive.proto."""

Answer = TypeVar("Answer")


class ArchiveQueries(ArchiveServiceServicer):
    """ArchiveService: what its methods do is in archive.proto."""

    def __init__(self, chats: ChatStore) -> None:
        self._chats = chats

    async def ListChats(self, request: ListChatsRequest) -> ListChatsResponse:
        _check_range("user_id", request.user_id, 1, MAX_ID)
        _check_range("limit", request.limit, 1, MAX_LIMIT)
        _check_range("changed_since_ms", request.changed_since_ms, 0, MAX_ID)
        after = decode_cursor(request.cursor) if request.cursor else None
        if request.cursor and after is None:
            raise RpcError(Status.INVALID_ARGUMENT, "cursor must be the next_cursor of a page before, or empty")
        chats = await _answered(
            self._chats.list_chats(
                request.user_id, changed_since_ms=request.changed_since_ms, limit=request.limit + 1, after=after
            )
        )
        shown = fitting(chats[: request.limit], MAX_PAGE_BYTES)
        if len(shown) == len(chats):
            return ListChatsResponse(chats=shown)
        last = ChatCursor(shown[-1].changed_at_ms, shown[-1].chat_id)
        return ListChatsResponse(chats=shown, next_cursor=encode_cursor(last))

    async def GetChat(self, request: GetChatRequest) -> GetChatResponse:
        members = _check_member(request.user_id, request.chat_id)
        chat = await _answered(self._chats.get_chat(request.user_id, request.chat_id))
        empty = Chat(chat_id=request.chat_id, kind=CHAT_KIND_DIRECT, member_ids=members)
        return GetChatResponse(chat=chat or empty)

    async def ListMessages(self, request: ListMessagesRequest) -> ListMessagesResponse:
        _check_member(request.user_id, request.chat_id)
        _check_range("limit", request.limit, 1, MAX_LIMIT)
        anchor = request.WhichOneof("anchor")
        if anchor is not None:
            _check_range(anchor, getattr(request, anchor), 0, MAX_ID)
        page = await _answered(self._page(request, anchor or ""))
        return ListMessagesResponse(messages=page.messages, has_older=page.has_older, has_newer=page.has_newer)

    async def GetMessage(self, request: GetMessageRequest) -> GetMessageResponse:
        _check_member(request.user_id, request.chat_id)
        _check_range("message_id", request.message_id, 1, MAX_ID)
        message = await _answered(self._chats.get_message(request.chat_id, request.message_id))
        if message is None:
            raise RpcError(Status.NOT_FOUND, "there is no such message in this chat")
        return GetMessageResponse(message=message)

    async def _page(self, request: ListMessagesRequest, anchor: str) -> Page:
        match anchor:
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
                return await self._before(request, MAX_ID)

    async def _before(self, request: ListMessagesRequest, before_id: int) -> Page:
        page = await self._chats.messages_before(request.chat_id, before_id, request.limit)
        return newest_of(page, request.limit)

    async def _after(self, request: ListMessagesRequest, after_id: int) -> Page:
        page = await self._chats.messages_after(request.chat_id, after_id, request.limit)
        return oldest_of(page, request.limit)

    async def _around(self, request: ListMessagesRequest, around_id: int) -> Page:
        older = await self._chats.messages_before(request.chat_id, around_id, request.limit)
        newer = await self._chats.messages_after(request.chat_id, around_id - 1, request.limit)
        return around(older, newer, request.limit)


def _check_range(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise RpcError(Status.INVALID_ARGUMENT, f"{field} must be {low} to {high}, not {value}")


def _check_member(user_id: int, chat_id: str) -> tuple[int, int]:
    """The members of the chat, of whom the user is one. To others it is not there."""
    _check_range("user_id", user_id, 1, MAX_ID)
    members = direct_members(chat_id)
    if members is None or user_id not in members:
        raise RpcError(Status.NOT_FOUND, "the user has no such chat")
    return members


async def _answered(asked: Awaitable[Answer]) -> Answer:
    """What the store answers, or UNAVAILABLE."""
    try:
        return await asked
    except Unavailable as error:
        raise RpcError(Status.UNAVAILABLE, "history can't be read now") from error

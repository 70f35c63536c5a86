"""Chats and their history, read from the archive: `/v1/chats`."""

from collections.abc import Iterable
from typing import Any

from bff.http.endpoints import Response, endpoint
from bff.models.chats import ChangesQuery, ChatsQuery, MessagesQuery, VersionsQuery
from bff.read_marks import blocked_marks, hidden_marks
from bff.services import Services
from rookery.v1.archive_pb2 import (
    Chat,
    GetChatRequest,
    ListChangesRequest,
    ListChangesResponse,
    ListChatsRequest,
    ListChatsResponse,
    ListMessagesRequest,
    ListMessagesResponse,
    ListVersionsRequest,
    ListVersionsResponse,
)
from shared.accounts.tokens import Claims
from shared.contract.errors import Code, Refusal
from shared.contract.wire import to_object
from shared.unknown_chats import UnknownChatLimit

ANCHORS = ("before_id", "after_id", "around_id", "before_ms", "after_ms", "around_ms")


class Chats:
    """The user's chats and their history."""

    def __init__(self, services: Services, chat_limit: UnknownChatLimit) -> None:
        self._services = services
        self._chat_limit = chat_limit

    @endpoint("GET", "/v1/chats", ListChatsResponse)
    async def list_chats(self, claims: Claims, query: ChatsQuery) -> Response | Refusal:
        """The user's chats, pinned ones first, then most recently changed first."""
        response = await self._services.archive.list_chats(
            ListChatsRequest(
                user_id=claims.user_id,
                changed_since_ms=query.changed_since_ms,
                limit=query.limit or self._services.live.value.chats_page_size,
                cursor=query.cursor,
            )
        )
        if isinstance(response, Refusal):
            return response
        await self._hide_marks(claims.user_id, response.chats)
        return Response({"chats": [], "next_cursor": "", "complete_up_to": "0", **to_object(response)})

    @endpoint("GET", "/v1/chats/<chat_id>", Chat)
    async def get_chat(self, claims: Claims, chat_id: str) -> Response | Refusal:
        """One chat."""
        request = GetChatRequest(user_id=claims.user_id, chat_id=chat_id)
        response = await self._chat_limit.call(claims.user_id, self._services.archive.get_chat, request)
        if isinstance(response, Refusal):
            return response
        await self._hide_marks(claims.user_id, [response.chat])
        return Response(to_object(response.chat))

    @endpoint("GET", "/v1/chats/<chat_id>/messages", ListMessagesResponse)
    async def list_messages(self, claims: Claims, chat_id: str, query: MessagesQuery) -> Response | Refusal:
        """A page of a chat's history, oldest first: before, after or around a message or a time."""
        anchors = {name: value for name in ANCHORS if (value := getattr(query, name)) is not None}
        if len(anchors) > 1:
            first, second, *_ = anchors
            return Refusal(Code.INVALID, f"Give either `{first}` or `{second}`.", field=second)
        limit = query.limit or self._services.live.value.messages_page_size
        fields: dict[str, Any] = {"user_id": claims.user_id, "chat_id": chat_id, "limit": limit, **anchors}
        request = ListMessagesRequest(**fields, having=query.having or "")
        response = await self._chat_limit.call(claims.user_id, self._services.archive.list_messages, request)
        if isinstance(response, Refusal):
            return response
        empty = {"messages": [], "has_older": False, "has_newer": False, "complete_up_to": "0"}
        return Response({**empty, **to_object(response)})

    @endpoint("GET", "/v1/chats/<chat_id>/changes", ListChangesResponse)
    async def list_changes(self, claims: Claims, chat_id: str, query: ChangesQuery) -> Response | Refusal:
        """The events of a chat that a client missed: messages, and changes of messages of any age."""
        request = ListChangesRequest(user_id=claims.user_id, chat_id=chat_id, after=query.after)
        response = await self._chat_limit.call(claims.user_id, self._services.archive.list_changes, request)
        if isinstance(response, Refusal):
            return response
        return Response({"events": [], "too_old": False, "complete_up_to": "0", **to_object(response)})

    @endpoint("GET", "/v1/chats/<chat_id>/messages/<message_id>/versions", ListVersionsResponse)
    async def list_versions(
        self, claims: Claims, chat_id: str, message_id: int, query: VersionsQuery
    ) -> Response | Refusal:
        """The changes of one kind and message, oldest first, such as the history of its edits."""
        request = ListVersionsRequest(user_id=claims.user_id, chat_id=chat_id, message_id=message_id, kind=query.kind)
        response = await self._chat_limit.call(claims.user_id, self._services.archive.list_versions, request)
        return response if isinstance(response, Refusal) else Response({"changes": [], **to_object(response)})

    async def _hide_marks(self, user_id: int, chats: Iterable[Chat]) -> None:
        """Clear the marks that the user may not see. Only direct chats have marks of another user."""
        accounts, marks = self._services.accounts, [mark for chat in chats for mark in chat.marks]
        for mark in await hidden_marks(accounts, user_id, marks):
            mark.ClearField("read_up_to")
        for mark in await blocked_marks(accounts, user_id, marks):
            mark.ClearField("read_up_to")
            mark.ClearField("delivered_up_to")

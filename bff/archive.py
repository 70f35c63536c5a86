"""The archive, as the BFF asks it: over gRPC, each call with a deadline."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from rookery.v1.archive_grpc import ArchiveServiceStub
from rookery.v1.archive_pb2 import (
    GetChatRequest,
    GetChatResponse,
    ListChatsRequest,
    ListChatsResponse,
    ListMessagesRequest,
    ListMessagesResponse,
)
from shared.rpc import Balancer, Channel, call_unary

CALL_DEADLINE = 5.0
"""Seconds for a query and all its attempts: half of a request's, so that its caller hears that it was the archive."""

ATTEMPTS = 3
"""A query changes nothing, so one that an archive took to its end is asked of another."""

ATTEMPT_TIMEOUT = 1.0
"""Seconds after which another archive is asked: one that hangs costs a query no more. The last attempt has what is
left, since a store may be slow."""


Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class ArchiveClient(Protocol):
    """The calls of `ArchiveService` that the BFF makes. Each raises RpcError if it ends with a status other than OK."""

    async def list_chats(self, request: ListChatsRequest) -> ListChatsResponse: ...

    async def get_chat(self, request: GetChatRequest) -> GetChatResponse: ...

    async def list_messages(self, request: ListMessagesRequest) -> ListMessagesResponse: ...


class RpcArchive:
    """An `ArchiveClient` over a channel."""

    def __init__(self, channel: Channel | Balancer) -> None:
        self._stub = ArchiveServiceStub(channel)

    async def list_chats(self, request: ListChatsRequest) -> ListChatsResponse:
        return await _query(self._stub.ListChats, request)

    async def get_chat(self, request: GetChatRequest) -> GetChatResponse:
        return await _query(self._stub.GetChat, request)

    async def list_messages(self, request: ListMessagesRequest) -> ListMessagesResponse:
        return await _query(self._stub.ListMessages, request)


async def _query(method: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    return await call_unary(method, request, timeout=CALL_DEADLINE, attempts=ATTEMPTS, attempt_timeout=ATTEMPT_TIMEOUT)

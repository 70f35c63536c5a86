"""The archive, as the BFF asks it: over gRPC, each call with a deadline."""

from typing import Protocol

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
"""Seconds for one call: half of a request's, so that its caller still hears that it was the archive."""


ATTEMPTS = 2
"""A query changes nothing, so one that an archive took to its end is asked of another."""


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
        return await call_unary(self._stub.ListChats, request, timeout=CALL_DEADLINE, attempts=ATTEMPTS)

    async def get_chat(self, request: GetChatRequest) -> GetChatResponse:
        return await call_unary(self._stub.GetChat, request, timeout=CALL_DEADLINE, attempts=ATTEMPTS)

    async def list_messages(self, request: ListMessagesRequest) -> ListMessagesResponse:
        return await call_unary(self._stub.ListMessages, request, timeout=CALL_DEADLINE, attempts=ATTEMPTS)

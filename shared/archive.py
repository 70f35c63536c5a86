"""The archive's gRPC client, for the BFF and for gateways."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import Message

from rookery.v1.archive_grpc import ArchiveServiceStub
from rookery.v1.archive_pb2 import (
    CancelFileRequest,
    CancelFileResponse,
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
    GetReportedFileRequest,
    GetReportedFileResponse,
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
)
from shared.contract.errors import Refusal
from shared.rpc import Balancer, Channel, RpcError, call_unary
from shared.rpc.refusals import refusal_of_call

ARCHIVE_GROUP = "archive"
"""The consumer group of the archives: up to the offsets that it has committed, history is complete."""

ATTEMPTS = 3
"""Archives that a call is sent to at most. Each may be repeated even if an archive has run it: queries change nothing,
and a repeated ReserveFile, CompleteFile or CancelFile has no second effect."""

ATTEMPT_TIMEOUT = 1.0
"""Seconds after which the query is sent to another archive, if there is one. The last attempt has the rest of the
deadline, since the store may be slow."""

UNAVAILABLE = "Chats and history are not available now: try again soon."

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class ArchiveClient:
    """ArchiveService over a channel. Every method returns the response, or the refusal: the archive's own, else
    `unavailable`, `timed_out` or `internal` without any detail of the fault."""

    def __init__(self, channel: Channel | Balancer, *, timeout: float) -> None:
        """`timeout` is the deadline of a query in seconds, all its attempts included."""
        self._stub = ArchiveServiceStub(channel)
        self._timeout = timeout

    async def list_chats(self, request: ListChatsRequest) -> ListChatsResponse | Refusal:
        return await self._query(self._stub.ListChats, request)

    async def get_chat(self, request: GetChatRequest) -> GetChatResponse | Refusal:
        return await self._query(self._stub.GetChat, request)

    async def list_messages(self, request: ListMessagesRequest) -> ListMessagesResponse | Refusal:
        return await self._query(self._stub.ListMessages, request)

    async def get_message(self, request: GetMessageRequest) -> GetMessageResponse | Refusal:
        return await self._query(self._stub.GetMessage, request)

    async def list_changes(self, request: ListChangesRequest) -> ListChangesResponse | Refusal:
        return await self._query(self._stub.ListChanges, request)

    async def list_versions(self, request: ListVersionsRequest) -> ListVersionsResponse | Refusal:
        return await self._query(self._stub.ListVersions, request)

    async def find_sent(self, request: FindSentRequest) -> FindSentResponse | Refusal:
        return await self._query(self._stub.FindSent, request)

    async def list_members(self, request: ListMembersRequest) -> ListMembersResponse | Refusal:
        return await self._query(self._stub.ListMembers, request)

    async def list_marks(self, request: ListMarksRequest) -> ListMarksResponse | Refusal:
        return await self._query(self._stub.ListMarks, request)

    async def list_public_chats(self, request: ListPublicChatsRequest) -> ListPublicChatsResponse | Refusal:
        return await self._query(self._stub.ListPublicChats, request)

    async def get_group(self, request: GetGroupRequest) -> GetGroupResponse | Refusal:
        return await self._query(self._stub.GetGroup, request)

    async def reserve_file(self, request: ReserveFileRequest) -> ReserveFileResponse | Refusal:
        return await self._query(self._stub.ReserveFile, request)

    async def complete_file(self, request: CompleteFileRequest) -> CompleteFileResponse | Refusal:
        return await self._query(self._stub.CompleteFile, request)

    async def cancel_file(self, request: CancelFileRequest) -> CancelFileResponse | Refusal:
        return await self._query(self._stub.CancelFile, request)

    async def get_files(self, request: GetFilesRequest) -> GetFilesResponse | Refusal:
        return await self._query(self._stub.GetFiles, request)

    async def get_reported_file(self, request: GetReportedFileRequest) -> GetReportedFileResponse | Refusal:
        return await self._query(self._stub.GetReportedFile, request)

    async def list_chat_files(self, request: ListChatFilesRequest) -> ListChatFilesResponse | Refusal:
        return await self._query(self._stub.ListChatFiles, request)

    async def _query(self, method: Callable[[Request], Awaitable[Response]], request: Request) -> Response | Refusal:
        try:
            return await call_unary(
                method, request, timeout=self._timeout, attempts=ATTEMPTS, attempt_timeout=ATTEMPT_TIMEOUT
            )
        except RpcError as error:
            return refusal_of_call(error, UNAVAILABLE)

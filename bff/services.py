"""The services and engines that the routes of the BFF use."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from rookery.v1.archive_pb2 import (
    CancelFileRequest,
    CancelFileResponse,
    CompleteFileRequest,
    CompleteFileResponse,
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
    StoredFile,
)
from rookery.v1.group_service_pb2 import ChangeGroupRequest, ChangeGroupResponse
from shared.accounts.administration import Administration
from shared.accounts.sign_outs import ALL_SIGN_INS, announce_or_log
from shared.accounts.store import AccountStore
from shared.accounts.tokens import PasswordHasher, TokenIssuer, TokenVerifier
from shared.backplane import Backplane
from shared.configuration import ConfigurationStore
from shared.configuration.live import Live
from shared.contract.errors import Refusal
from shared.contract.ids import SnowflakeGenerator
from shared.coordination.ownership import Directory
from shared.coordination.processes import ProcessRegistry
from shared.files.protocol import FileStore
from shared.net.client_address import Network
from shared.signals.publisher import SignalPublisher
from shared.telemetry.health import Health

ARCHIVE_TIMEOUT = 5.0
"""Seconds for a query of the archive, all attempts included: half of a request's deadline, so that the client still
receives the reason."""


class ArchiveQueries(Protocol):
    """The part of `shared.archive.ArchiveClient` that the BFF uses."""

    async def list_chats(self, request: ListChatsRequest) -> ListChatsResponse | Refusal: ...

    async def get_chat(self, request: GetChatRequest) -> GetChatResponse | Refusal: ...

    async def get_message(self, request: GetMessageRequest) -> GetMessageResponse | Refusal: ...

    async def list_messages(self, request: ListMessagesRequest) -> ListMessagesResponse | Refusal: ...

    async def list_changes(self, request: ListChangesRequest) -> ListChangesResponse | Refusal: ...

    async def list_versions(self, request: ListVersionsRequest) -> ListVersionsResponse | Refusal: ...

    async def list_members(self, request: ListMembersRequest) -> ListMembersResponse | Refusal: ...

    async def list_marks(self, request: ListMarksRequest) -> ListMarksResponse | Refusal: ...

    async def list_public_chats(self, request: ListPublicChatsRequest) -> ListPublicChatsResponse | Refusal: ...

    async def get_group(self, request: GetGroupRequest) -> GetGroupResponse | Refusal: ...

    async def reserve_file(self, request: ReserveFileRequest) -> ReserveFileResponse | Refusal: ...

    async def complete_file(self, request: CompleteFileRequest) -> CompleteFileResponse | Refusal: ...

    async def cancel_file(self, request: CancelFileRequest) -> CancelFileResponse | Refusal: ...

    async def get_files(self, request: GetFilesRequest) -> GetFilesResponse | Refusal: ...

    async def get_reported_file(self, request: GetReportedFileRequest) -> GetReportedFileResponse | Refusal: ...

    async def list_chat_files(self, request: ListChatFilesRequest) -> ListChatFilesResponse | Refusal: ...


class GroupChanges(Protocol):
    """The part of `bff.group_client.GroupClient` that the BFF uses."""

    async def change(self, request: ChangeGroupRequest, access_token: str) -> ChangeGroupResponse | Refusal: ...


@dataclass(frozen=True, slots=True)
class Services:
    """Dependencies of the routes, shared by all requests. `clock_ms` returns milliseconds since 1970."""

    accounts: AccountStore
    archive: ArchiveQueries
    groups: GroupChanges
    directory: Directory
    live: Live
    configuration: ConfigurationStore
    processes: ProcessRegistry
    publisher: Backplane
    signals: SignalPublisher
    files: FileStore
    health: Health
    ids: SnowflakeGenerator
    passwords: PasswordHasher
    issuer: TokenIssuer
    verifier: TokenVerifier
    clock_ms: Callable[[], int]
    make_squares: Callable[[bytes], Awaitable[Mapping[int, bytes] | None]]
    """Makes the squares of an avatar of a picture, by their edges in pixels; None if it is no picture. Raises
    Unavailable."""
    complete_file: Callable[[int, int], Awaitable[StoredFile | Refusal]]
    """Completes the upload of a file, by the ids of its owner and of itself."""
    deletions: trio.Nursery
    """Runs deletions of accounts: they go on when their requests end."""
    leave_groups: Callable[[int], None]
    """Takes a deleted account, by its user id, out of its groups, in the background."""
    files_origin: str = ""
    """Origin of the object store for clients, if they download there by its own links."""
    websocket_origins: tuple[str, ...] = ()
    """Origins that the page may connect to, besides the gateways that own a partition now."""
    strict_transport_seconds: int = 0
    """`max-age` of Strict-Transport-Security in answers over HTTPS; 0 sends no such header."""
    trusted_proxies: Sequence[Network] = ()
    """Proxies whose `X-Forwarded-*` headers are trusted."""
    serves_metrics: bool = True
    """Whether `/metrics` is a route: not if the process has a health port."""


def administration_of(services: Services) -> Administration:
    """The acts of admins, announced to the gateways."""

    async def announce(user_id: int, *, is_deleted: bool = False) -> None:
        await announce_or_log(services.publisher, user_id, ALL_SIGN_INS, is_deleted=is_deleted)
        if is_deleted:
            services.signals.profile_changed(user_id)

    return Administration(services.accounts, services.configuration, announce, clock_ms=services.clock_ms)

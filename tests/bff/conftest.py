"""A BFF without a server: real accounts in SQLite, fakes of other services, a clock that is set by hand."""

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import argon2
import pytest
import trio
from quart import Response
from werkzeug.datastructures import Headers

from bff.app import make_app
from bff.files.completion import open_completions
from bff.files.scanner import Scanner
from bff.services import Services
from rookery.v1.archive_pb2 import (
    FILE_STATE_UPLOADING,
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
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.group_service_pb2 import ChangeGroupRequest, ChangeGroupResponse
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.store import AccountStore
from shared.accounts.tokens import PasswordHasher, TokenIssuer, TokenVerifier
from shared.background import open_background
from shared.backplane import Backplane, Record
from shared.backplane.protocol import Done
from shared.configuration import ConfigurationStore
from shared.configuration.live import Live
from shared.configuration.model import LiveConfiguration
from shared.configuration.sqlite import open_sqlite_configuration
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import MAX_ID, SnowflakeGenerator
from shared.coordination.ownership import GatewayAddress, LocalDirectory
from shared.coordination.processes import LocalProcessRegistry
from shared.files.folder import open_folder_files
from shared.net.client_address import Network
from shared.pictures.renditions import Pictures
from shared.signals.memory import LocalSignals
from shared.signals.protocol import Listener
from shared.signals.publisher import SignalPublisher, partition_channel
from shared.telemetry.health import Health

PASSWORD = "correct horse battery"
FAST = argon2.Parameters(
    argon2.Type.ID, argon2.low_level.ARGON2_VERSION, 16, 32, time_cost=1, memory_cost=8, parallelism=1
)


R = TypeVar("R")


class Clock:
    """A wall clock that is set by hand, in milliseconds since 1970."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


class FakeArchive:
    """Returns `response`, and records the requests. Without a response, files are as in the file table."""

    def __init__(self) -> None:
        self.files: dict[int, StoredFile] = {}
        self.reserved: dict[tuple[int, str], int] = {}
        self.complete_up_to = MAX_ID
        self.requests: list[Any] = []
        self.response: Any = None

    def _reply(self, request: Any, empty: R) -> R | Refusal:
        self.requests.append(request)
        return empty if self.response is None else cast(R | Refusal, self.response)

    async def list_chats(self, request: ListChatsRequest) -> ListChatsResponse | Refusal:
        return self._reply(request, ListChatsResponse())

    async def get_chat(self, request: GetChatRequest) -> GetChatResponse | Refusal:
        return self._reply(request, GetChatResponse())

    async def get_message(self, request: GetMessageRequest) -> GetMessageResponse | Refusal:
        return self._reply(request, GetMessageResponse())

    async def list_messages(self, request: ListMessagesRequest) -> ListMessagesResponse | Refusal:
        return self._reply(request, ListMessagesResponse())

    async def list_changes(self, request: ListChangesRequest) -> ListChangesResponse | Refusal:
        return self._reply(request, ListChangesResponse())

    async def list_versions(self, request: ListVersionsRequest) -> ListVersionsResponse | Refusal:
        return self._reply(request, ListVersionsResponse())

    async def list_members(self, request: ListMembersRequest) -> ListMembersResponse | Refusal:
        return self._reply(request, ListMembersResponse())

    async def list_marks(self, request: ListMarksRequest) -> ListMarksResponse | Refusal:
        return self._reply(request, ListMarksResponse())

    async def list_public_chats(self, request: ListPublicChatsRequest) -> ListPublicChatsResponse | Refusal:
        return self._reply(request, ListPublicChatsResponse())

    async def get_group(self, request: GetGroupRequest) -> GetGroupResponse | Refusal:
        return self._reply(request, GetGroupResponse())

    async def reserve_file(self, request: ReserveFileRequest) -> ReserveFileResponse | Refusal:
        key = request.user_id, request.client_file_id
        if self.reserved.get(key) not in self.files:
            self.reserved[key] = request.file.file.file_id
            file = self.files[request.file.file.file_id] = request.file
            file.owner_id, file.state = request.user_id, FILE_STATE_UPLOADING
        return self._reply(request, ReserveFileResponse(file=self.files[self.reserved[key]]))

    async def complete_file(self, request: CompleteFileRequest) -> CompleteFileResponse | Refusal:
        file_id = request.file.file.file_id
        if file_id not in self.files:
            return Refusal(Code.NOT_FOUND, "gone", field="file_id")
        if self.files[file_id].state == FILE_STATE_UPLOADING:
            self.files[file_id] = request.file
        return self._reply(request, CompleteFileResponse(file=self.files[file_id]))

    async def cancel_file(self, request: CancelFileRequest) -> CancelFileResponse | Refusal:
        if self.files[request.file_id].state != FILE_STATE_UPLOADING:
            return Refusal(Code.OUT_OF_ORDER, "complete", field="file_id")
        del self.files[request.file_id]
        return self._reply(request, CancelFileResponse())

    async def get_files(self, request: GetFilesRequest) -> GetFilesResponse | Refusal:
        found = [self.files[ref.file_id] for ref in request.files if ref.file_id in self.files]
        missing = [ref for ref in request.files if ref.file_id not in self.files]
        not_recorded = [ref for ref in missing if ref.message_id > self.complete_up_to]
        return self._reply(request, GetFilesResponse(files=found, not_recorded=not_recorded))

    async def get_reported_file(self, request: GetReportedFileRequest) -> GetReportedFileResponse | Refusal:
        if file := self.files.get(request.file.file_id):
            return self._reply(request, GetReportedFileResponse(file=file))
        return Refusal(Code.NOT_FOUND, "gone", field="file_id")

    async def list_chat_files(self, request: ListChatFilesRequest) -> ListChatFilesResponse | Refusal:
        return self._reply(request, ListChatFilesResponse())


class FakeGroups:
    """Returns `response` to each change, and records the requests with their tokens."""

    def __init__(self) -> None:
        self.changes: list[tuple[ChangeGroupRequest, str]] = []
        self.left: list[int] = []
        """Deleted accounts that leave their groups."""
        self.response: ChangeGroupResponse | Refusal = ChangeGroupResponse()

    async def change(self, request: ChangeGroupRequest, access_token: str) -> ChangeGroupResponse | Refusal:
        self.changes.append((request, access_token))
        return self.response


class FakeLog:
    """Records published envelopes by partition. While `down`, it rejects them."""

    partitions = 4

    def __init__(self) -> None:
        self.published: list[tuple[int, Envelope]] = []
        self.down = False

    def publish(self, records: Sequence[Record], done: Done, *, until: float = math.inf) -> None:
        if self.down:
            raise Unavailable("the fake is down")
        self.published += [(record.partition, Envelope.FromString(record.value)) for record in records]
        done([0] * len(records))

    def ended(self) -> list[str]:
        """Return the sign-ins whose end was published."""
        return [envelope.sign_out.family_id for _, envelope in self.published]


@dataclass
class Reply:
    """A response. `body` is the JSON value; None if it is not JSON."""

    status: int
    headers: Headers
    text: bytes
    body: Any = field(default=None)

    @property
    def refusal(self) -> tuple[int, str, str]:
        """Status, code and field of a problem; raises KeyError if it is none."""
        return self.status, self.body["code"], self.body.get("field", "")


class Api:
    """The API under test, and the services behind it."""

    def __init__(
        self,
        services: Services,
        archive: FakeArchive,
        groups: FakeGroups,
        log: FakeLog,
        clock: Clock,
        web_root: Path,
        signals: Listener,
    ) -> None:
        self.services = services
        self.archive = archive
        self.groups = groups
        self.log = log
        self.clock = clock
        self.web_root = web_root
        self.signals = signals
        """Receives what the BFF signals to gateways."""
        self.app = make_app(services, web_root)

    @property
    def accounts(self) -> AccountStore:
        return self.services.accounts

    @property
    def configuration(self) -> ConfigurationStore:
        return self.services.configuration

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        address: str = "192.0.2.1",
    ) -> Reply:
        """Make a request with a JSON body, or a raw one of a stated size."""
        sent = ({} if raw is None else {"Content-Length": str(len(raw))}) | (headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        client: Any = self.app.test_client()
        response = await client.open(
            path, method=method, data=data, headers=sent, scope_base={"client": (address, 50_000)}
        )
        return await _reply(response)

    async def register(self, name: str = "alice", **fields: Any) -> dict[str, Any]:
        """Make an account and return its user."""
        reply = await self.call("POST", "/v1/users", {"name": name, "password": PASSWORD, **fields})
        assert reply.status == 201, reply.text
        return dict(reply.body)

    async def sign_in(self, name: str = "alice", password: str = PASSWORD) -> dict[str, Any]:
        """Sign in and return the tokens."""
        reply = await self.call("POST", "/v1/tokens", {"name": name, "password": password})
        assert reply.status == 200, reply.text
        return dict(reply.body)


async def disconnect_after_write(accounts: AccountStore, write: str, request: Callable[[], Awaitable[Reply]]) -> None:
    """Make a request, and cancel it, as a disconnected client does, when this method of the store has written."""
    written, is_cancelled = trio.Event(), trio.Event()

    async def write_slowly(*arguments: Any, **named: Any) -> Any:
        result = await method(*arguments, **named)
        written.set()
        await is_cancelled.wait()
        return result

    method = getattr(accounts, write)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, write, write_slowly)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(request)
            await written.wait()
            nursery.cancel_scope.cancel()
            is_cancelled.set()


async def _reply(response: Any) -> Reply:
    assert isinstance(response, Response)
    text = await response.get_data(as_text=False)
    is_json = "json" in response.headers.get("Content-Type", "")
    return Reply(response.status_code, response.headers, text, json.loads(text) if is_json and text else None)


@pytest.fixture
def web_root(tmp_path: Path) -> Path:
    """A small page."""
    root = tmp_path / "web"
    (root / "styles").mkdir(parents=True)
    (root / "index.html").write_text("<!doctype html><title>page</title>")
    (root / "main.js").write_text("export {};")
    (root / "styles" / "main.css").write_text("body {}")
    (root / "secret.key").write_text("secret")
    (root / ".hidden.js").write_text("hidden")
    (tmp_path / "outside.js").write_text("outside")
    return root


@pytest.fixture
def configuration() -> LiveConfiguration:
    """The live configuration; a test file overrides it to change limits."""
    return LiveConfiguration()


@pytest.fixture
def trusted_proxies() -> Sequence[Network]:
    """The proxies whose headers are trusted; a test file overrides it."""
    return ()


@pytest.fixture
def scanner() -> Scanner | None:
    """The scanner of files; a test file overrides it."""
    return None


@pytest.fixture
async def api(
    tmp_path: Path,
    web_root: Path,
    configuration: LiveConfiguration,
    trusted_proxies: Sequence[Network],
    scanner: Scanner | None,
) -> AsyncIterator[Api]:
    """The API, with a gateway that owns all partitions."""
    directory = LocalDirectory()
    directory.publish(GatewayAddress("ws://:8081/session", ":8082"), range(FakeLog.partitions), 1)
    archive, groups, log, clock, health = FakeArchive(), FakeGroups(), FakeLog(), Clock(), Health()
    signals, live = LocalSignals(), Live.fixed(configuration)
    health.mark_started()
    async with (
        open_sqlite_accounts(tmp_path / "accounts.db") as accounts,
        open_sqlite_configuration(tmp_path / "configuration.db") as store,
        open_folder_files(tmp_path / "files") as files,
        open_completions(archive, files, pictures := Pictures(), scanner, live) as completions,
        open_background() as deletions,
    ):
        services = Services(
            accounts=accounts,
            archive=archive,
            groups=groups,
            directory=directory,
            live=live,
            configuration=store,
            processes=LocalProcessRegistry(tmp_path / "processes.json", clock_ms=clock),
            publisher=cast(Backplane, log),  # the BFF only publishes
            signals=SignalPublisher(signals, FakeLog.partitions),
            files=files,
            health=health,
            ids=SnowflakeGenerator(1),
            passwords=PasswordHasher(FAST),
            issuer=TokenIssuer(accounts, clock_ms=clock),
            verifier=TokenVerifier(accounts, clock_ms=clock),
            clock_ms=clock,
            make_squares=pictures.make_squares,
            complete_file=completions.complete,
            deletions=deletions,
            leave_groups=lambda user_id: groups.left.append(user_id),
            trusted_proxies=trusted_proxies,
        )
        async with signals.listen() as listener:
            listener.listen_to([partition_channel(partition) for partition in range(FakeLog.partitions)])
            yield Api(services, archive, groups, log, clock, web_root, listener)


@pytest.fixture
async def token(api: Api) -> str:
    """The access token of alice, who was just registered."""
    await api.register()
    return str((await api.sign_in())["access_token"])
